//! `client get`.

use super::Context;
use crate::client::download::{download, say_left_out};
use crate::client::exit;
use crate::client::folder::{Before, Folder, Growth, look};
use crate::client::job::Job;
use crate::client::report::{FileReport, Report, Status, say};
use crate::client::select::{Depth, Selection};
use crate::client::session::Session;
use crate::client::terminal::progress::Progress;
use crate::client::terminal::quantity::{counted, size};
use crate::error::{Error, Result};
use crate::escape::is_harmless;
use crate::root::Root;
use crate::transfer::Sink;
use crate::wire::{EntryKind, ErrorCode, Get, OnConflict, Receipt, ReceiptOutcome, RemotePath, Request, Violation};
use serde_json::Map;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Downloads what the words stand for.
pub(super) fn run(context: &Context, words: &[OsString], output: Option<&Path>) -> Result<u8> {
    if let Some(why) = output.and_then(no_file) {
        say(&format!("get: -o {why}"));
        return Ok(exit::USAGE);
    }
    let mut session = context.open()?;
    let report = context.report();
    let mut selection = Selection::default();
    for word in words {
        match context.persist(&mut session, |session| selection.add(session, word.as_bytes(), Depth::Whole)) {
            Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                report.problem(&crate::escape::harmless(word.as_bytes()), &error);
            }
            result => result?,
        }
    }
    if selection.entries.is_empty() && report.came_to_nothing("get") {
        return Ok(report.exit_code());
    }
    if let Some(output) = output {
        return get_one(context, session, &selection, output, &report);
    }
    fetch(context, session, &selection, &report, None)?;
    if (!context.settings.dry_run || report.exit_code() != exit::OK) && !report.came_to_nothing("get") {
        report.summary(&context.terminal, &again(), Some(&context.settings.dir.display().to_string()));
    }
    Ok(report.exit_code())
}

/// Why `-o` cannot name a file, if so.
fn no_file(output: &Path) -> Option<String> {
    let shown = crate::escape::harmless(output.as_os_str().as_bytes());
    if output.as_os_str().as_bytes().ends_with(b"/") || output.is_dir() {
        let folder = shown.trim_end_matches('/');
        return Some(format!("{shown}: that is a folder; name a file in it (-o {folder}/NAME), or use --dir {shown}"));
    }
    let parsed = output.file_name().map(|name| RemotePath::parse(name.as_bytes()));
    match parsed {
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(format!("{shown}: {error}")),
        None => Some("takes the name of a file".into()),
    }
}

/// `-o`: the one file goes to a place of its own.
fn get_one(context: &Context, session: Session, selection: &Selection, output: &Path, report: &Report) -> Result<u8> {
    let Some(path) = one_file(selection, report) else {
        say("get: -o takes exactly one file");
        return Ok(exit::USAGE);
    };
    if context.settings.dry_run {
        dry_run(context, selection, report);
        return Ok(report.exit_code());
    }
    if output == Path::new("-") {
        return to_standard_output(session, path, report).map(|()| report.exit_code());
    }
    to_file(context, session, selection, path, output, report)?;
    if !report.came_to_nothing("get") {
        report.summary(&context.terminal, &again(), None);
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
        dry_run(context, selection, report);
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

/// What is there already needs no space, nor what was begun: that has its space since then. Only if all together does not fit
/// is each file looked at.
fn check_space(folder: &Folder, jobs: &[Job], context: &Context) -> Result<()> {
    let free = folder.free_space()?;
    // Sizes are the server's word: their sum may be anything.
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
    if sum(&mut jobs.iter().map(|job| job.size)) <= free {
        return Ok(());
    }
    let policy = context.settings.on_conflict.into();
    let is_begun =
        |job: &Job| [Growth::Appended, Growth::Segmented].iter().any(|growth| folder.has_partial(job.place(), *growth));
    let is_missing = |job: &&Job| {
        let policy = job.on_conflict.unwrap_or(policy);
        let before = folder.look(job.place(), job.size, job.modified, policy);
        matches!(before, Ok(Before::Fetch)) && !is_begun(job)
    };
    let needed = sum(&mut jobs.iter().filter(is_missing).map(|job| job.size));
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

/// Says what is not there yet, and touches nothing.
fn dry_run(context: &Context, selection: &Selection, report: &Report) {
    let there = Root::open(&context.settings.dir).ok();
    let policy = context.settings.on_conflict.into();
    let (mut count, mut bytes) = (0, 0);
    for (path, entry) in selection.files() {
        let before =
            there.as_ref().map_or(Ok(Before::Fetch), |root| look(root, path, entry.size, entry.modified, policy));
        match before {
            Ok(Before::There(_) | Before::Skipped) => {}
            Ok(Before::Fetch | Before::Compare) => {
                report.planned(path, entry.size);
                count += 1;
                bytes = u64::saturating_add(bytes, entry.size);
            }
            Err(error) => report.problem(&path.to_string(), &error),
        }
    }
    say(&format!("{}, {} would be downloaded (dry run)", counted(count, "file"), size(bytes)));
}

fn one_file<'a>(selection: &'a Selection, report: &Report) -> Option<&'a RemotePath> {
    let mut files = selection.files();
    let (first, second) = (files.next(), files.next());
    first.filter(|_| second.is_none() && report.exit_code() == exit::OK).map(|(path, _)| path)
}

/// Streams one file to standard output. What was printed cannot be taken back: the exit code tells whether it is right.
fn to_standard_output(mut session: Session, path: &RemotePath, report: &Report) -> Result<()> {
    session.request(&Request::Get(Get::whole(path.as_bytes())))?;
    session.flush()?;
    let header = session.file_header()?;
    if header.offset != 0 || header.length != header.size {
        return Err(Violation::Contradiction("FILE with another part than was asked for").into());
    }
    let moved = crate::transfer::Progress::default();
    let mut printed = Printed::open()?;
    let (received, announced) = session.file_body(&header, &mut printed, blake3::Hasher::new(), &moved)?;
    let verified = announced == Some(received.digest());
    let outcome = if verified { ReceiptOutcome::Verified } else { ReceiptOutcome::Mismatch };
    session.request(&Request::Receipt(Receipt::new(header.transfer, outcome)))?;
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
        let (moved, resumed, details) = (moved.moved(), 0, Map::new());
        report.file(FileReport { path, size, moved, resumed, transfer, number: None, status, details });
    }
    Ok(())
}

/// Standard output without the buffer of the standard library, which looks for the last line in whatever is written.
struct Printed(File);

impl Printed {
    fn open() -> Result<Self> {
        let same = stdout().as_fd().try_clone_to_owned().map_err(not_printed)?;
        Ok(Self(same.into()))
    }
}

impl Sink for Printed {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).map_err(not_printed)
    }

    fn take_back(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

fn not_printed(error: std::io::Error) -> Error {
    Error::local("write to", "standard output", error)
}

/// `-o FILE`: the folder of FILE takes the place of the download folder, and its name that of the file.
fn to_file(
    context: &Context,
    session: Session,
    selection: &Selection,
    path: &RemotePath,
    output: &Path,
    report: &Report,
) -> Result<()> {
    let entry = &selection.entries[path];
    let name = output.file_name().ok_or_else(|| Error::refused(ErrorCode::BadPath, "-o needs the name of a file"))?;
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = Folder::open(parent)?;
    let local = RemotePath::parse(name.as_bytes())?;
    let job = Job::new(path.clone(), entry.size, entry.modified).stored_as(local);
    check_space(&folder, std::slice::from_ref(&job), context)?;
    let progress: Progress = context.progress();
    download(vec![job], session, &folder, &context.options(), &progress, report);
    progress.finish();
    Ok(())
}

/// The command line as it was given: what tries again.
pub(in crate::client) fn again() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted_bytes(word.as_bytes()));
    std::iter::once("client".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell would need it.
pub(in crate::client) fn quoted(word: &str) -> String {
    quoted_bytes(word.as_bytes())
}

/// Bytes as a shell would need them; those that must not reach a terminal as they are in `$'…'`.
fn quoted_bytes(word: &[u8]) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-+,=@%".contains(character);
    match str::from_utf8(word) {
        Ok(word) if !word.is_empty() && word.chars().all(plain) => word.into(),
        Ok(word) if word.chars().all(|character| character == '\\' || is_harmless(character)) => {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
        _ => format!("$'{}'", word.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell_and_harmless() {
        assert_eq!(quoted("photos/a-b.jpg"), "photos/a-b.jpg");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(r"it's \"), r"'it'\''s \'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a\u{1b}[2J'"), r"$'a\x1b[2J\''");
        assert_eq!(quoted_bytes(b"a\xff"), r"$'a\xff'");
    }
}
