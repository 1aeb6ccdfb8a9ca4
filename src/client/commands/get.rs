//! `client get`.

use super::Context;
use crate::client::download::{Job, download, say_left_out};
use crate::client::exit;
use crate::client::folder::Folder;
use crate::client::report::{FileReport, Report, Status, print_line, say};
use crate::client::select::{Depth, Selection};
use crate::client::session::Session;
use crate::client::terminal::progress::Progress;
use crate::client::terminal::quantity::{counted, size};
use crate::error::{Error, Result};
use crate::transfer::Sink;
use crate::wire::{
    EntryKind, ErrorCode, Get, OnConflict, RawBytes, Receipt, ReceiptOutcome, RemotePath, Request, Violation,
};
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Downloads what the words stand for.
pub(super) fn run(context: &Context, words: &[OsString], output: Option<&Path>) -> Result<u8> {
    let mut session = context.open()?;
    let report = context.report();
    let mut selection = Selection::default();
    for word in words {
        match selection.add(&mut session, word.as_bytes(), Depth::Tree) {
            Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                report.problem(&crate::escape::harmless(word.as_bytes()), &error);
            }
            result => result?,
        }
    }
    match output {
        Some(output) if output == Path::new("-") => to_standard_output(session, &one_file(&selection)?, &report),
        Some(output) => to_file(context, session, &selection, output, &report),
        None => fetch(context, session, &selection, &report, None),
    }?;
    if output != Some(Path::new("-")) || report.exit_code() != exit::OK {
        let retry = format!(
            "client get {}",
            words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
        );
        let place = output.is_none().then(|| context.settings.dir.display().to_string());
        report.summary(&context.terminal, &retry, place.as_deref());
    }
    Ok(report.exit_code())
}

/// What to do about one file whose name is taken by other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Decision {
    /// As this policy says.
    Policy(OnConflict),
    /// Download nothing at all.
    Stop,
}

/// Decides about a file whose name is taken by something of another size.
pub(in crate::client) type Decide<'a> = dyn FnMut(&Job) -> Result<Decision> + 'a;

/// Downloads a selection into the download folder. Without `decide`, the settings say what happens to taken names.
pub(in crate::client) fn fetch(
    context: &Context,
    session: Session,
    selection: &Selection,
    report: &Report,
    decide: Option<&mut Decide<'_>>,
) -> Result<()> {
    if !context.settings.quiet {
        say_left_out(selection.skipped, selection.unreadable);
    }
    report.left_out(selection.skipped);
    if context.settings.dry_run {
        dry_run(selection);
        return Ok(());
    }
    let folder = Folder::open(&context.settings.dir)?;
    let mut jobs: Vec<Job> =
        selection.files().map(|(path, entry)| Job::new(path.clone(), entry.size, entry.modified)).collect();
    if let Some(decide) = decide
        && decide_all(&folder, &mut jobs, decide)?.is_break()
    {
        return Ok(());
    }
    check_space(&folder, &jobs, context)?;
    let folders = selection.entries.iter().filter(|(_, entry)| entry.kind == EntryKind::Folder);
    let folders: Vec<_> = folders.map(|(path, entry)| (path, entry.modified)).collect();
    for (path, _) in &folders {
        if let Err(error) = folder.make_folder(path, None) {
            report.problem(&path.to_string(), &error);
        }
    }
    let progress = context.progress();
    download(jobs, session, &folder, &context.options(), &progress, report);
    progress.finish();
    // Deepest first, and after the files: making a file changes the time of its folder.
    for (path, modified) in folders.iter().rev() {
        if let Err(error) = folder.make_folder(path, Some(*modified)) {
            report.problem(&path.to_string(), &error);
        }
    }
    Ok(())
}

/// Asks about every file whose name is taken, before the first byte.
fn decide_all(folder: &Folder, jobs: &mut [Job], decide: &mut Decide<'_>) -> Result<ControlFlow<()>> {
    for job in jobs {
        if folder.is_taken(job.place(), job.size)? {
            match decide(job)? {
                Decision::Policy(policy) => job.on_conflict = Some(policy),
                Decision::Stop => return Ok(ControlFlow::Break(())),
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What is there already needs no space; only if all together does not fit is each file looked at.
fn check_space(folder: &Folder, jobs: &[Job], context: &Context) -> Result<()> {
    let free = folder.free_space()?;
    let all: u64 = jobs.iter().map(|job| job.size).sum();
    if all <= free {
        return Ok(());
    }
    let policy = context.settings.on_conflict.into();
    let is_missing = |job: &&Job| {
        let before = folder.look(&job.path, job.size, job.modified, policy);
        matches!(before, Ok(crate::client::folder::Before::Fetch))
    };
    let needed: u64 = jobs.iter().filter(is_missing).map(|job| job.size).sum();
    if needed <= free {
        return Ok(());
    }
    let why = format!("need {}, {} free. Nothing written.", size(needed), size(free));
    Err(Error::local(
        "download to",
        context.settings.dir.display(),
        std::io::Error::new(std::io::ErrorKind::StorageFull, why),
    ))
}

fn dry_run(selection: &Selection) {
    let mut total = 0;
    for (path, entry) in selection.files() {
        print_line(&format!("{:>10}  {path}", size(entry.size)));
        total += entry.size;
    }
    let count = selection.files().count() as u64;
    say(&format!("{}, {} would be downloaded (dry run)", counted(count, "file"), size(total)));
}

fn one_file(selection: &Selection) -> Result<RemotePath> {
    let mut files = selection.files();
    match (files.next(), files.next()) {
        (Some((path, _)), None) => Ok(path.clone()),
        _ => Err(Error::refused(ErrorCode::NotAFile, "-o takes exactly one file")),
    }
}

/// Streams one file to standard output. What was printed cannot be taken back: the exit code tells whether it is right.
fn to_standard_output(mut session: Session, path: &RemotePath, report: &Report) -> Result<()> {
    let path_bytes = RawBytes(path.as_bytes().to_vec());
    session.request(&Request::Get(Get { path: path_bytes, offset: 0, length: None, version: None, digest: None }))?;
    session.flush()?;
    let header = session.file_header()?;
    if header.offset != 0 || header.length != header.size {
        return Err(Violation::Contradiction("FILE with another part than was asked for").into());
    }
    let moved = crate::transfer::Progress::default();
    let (received, announced) = session.file_body(&header, &mut Printed, blake3::Hasher::new(), &moved)?;
    stdout().flush().map_err(|error| Error::local("write to", "standard output", error))?;
    let verified = announced == Some(received.digest);
    let outcome = if verified { ReceiptOutcome::Verified } else { ReceiptOutcome::Mismatch };
    session.request(&Request::Receipt(Receipt { transfer: header.transfer, outcome }))?;
    session.close();
    if !verified {
        return Err(Error::refused(
            ErrorCode::Mismatch,
            format!("{path}: what was printed is not what the server has"),
        ));
    }
    let status = Status::Done { renamed: None };
    let (path, size, transfer) = (path.as_bytes().to_vec(), header.size, Some(header.transfer));
    // Standard output is the file's: nothing else may be printed on it.
    if !report.is_json() {
        report.file(&FileReport { path, size, moved: moved.moved(), resumed: 0, transfer, status });
    }
    Ok(())
}

struct Printed;

impl Sink for Printed {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        stdout().lock().write_all(bytes).map_err(|error| Error::local("write to", "standard output", error))
    }

    fn take_back(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

/// `-o FILE`: the folder of FILE takes the place of the download folder, and its name that of the file.
fn to_file(context: &Context, session: Session, selection: &Selection, output: &Path, report: &Report) -> Result<()> {
    let path = one_file(selection)?;
    let entry = &selection.entries[&path];
    let name = output.file_name().ok_or_else(|| Error::refused(ErrorCode::BadPath, "-o needs the name of a file"))?;
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = Folder::open(parent)?;
    let local = RemotePath::parse(name.as_bytes())?;
    let job = Job::new(path, entry.size, entry.modified).stored_as(local);
    check_space(&folder, std::slice::from_ref(&job), context)?;
    if context.settings.dry_run {
        dry_run(selection);
        return Ok(());
    }
    let progress: Progress = context.progress();
    download(vec![job], session, &folder, &context.options(), &progress, report);
    progress.finish();
    Ok(())
}

/// A word as a shell would need it.
pub(in crate::client) fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+,=@%".contains(character);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
