//! `client put`.

use super::Context;
use crate::client::exit;
use crate::client::report::{FileReport, Report, Status, say};
use crate::client::select::check_count;
use crate::client::session::Session;
use crate::client::stream::{Source, Spool, stream};
use crate::client::terminal::progress::Outcome;
use crate::client::terminal::quantity::{counted, size};
use crate::client::upload::{FolderJob, Job, There, make_folders, outcome, status, upload};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::root::nanoseconds;
use crate::wire::{Entry, EntryKind, ErrorCode, List, PathError, RawBytes, RemoteFolder, RemotePath};
use serde_json::Map;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// What is to be sent.
#[derive(Debug, Default)]
struct Plan {
    files: Vec<Job>,
    folders: Vec<FolderJob>,
    left_out: u64,
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Words<'a> {
    /// The command, for what is said.
    pub(in crate::client) command: &'static str,
    /// Files and folders, or standard input.
    pub(in crate::client) paths: &'a [PathBuf],
    /// The folder on the server.
    pub(in crate::client) to: &'a OsStr,
    /// The name there of the one file or folder.
    pub(in crate::client) name: Option<&'a OsStr>,
}

/// Uploads files and folders into a folder of the server.
pub(in crate::client) fn run(context: &Context, words: Words<'_>) -> Result<u8> {
    let report = context.report();
    match send_words(context, words, &report)? {
        Some(code) => Ok(code),
        None => Ok(conclude(context, words, &report)),
    }
}

/// Sends what the words stand for. A code, if that is the end of it; otherwise the report tells what became of each file.
pub(super) fn send_words(context: &Context, words: Words<'_>, report: &Report) -> Result<Option<u8>> {
    let Words { command, paths, to, name } = words;
    let usage = |message: &str| {
        say(&format!("{command}: {message}"));
        Some(exit::USAGE)
    };
    let flag = if command == "put" { "--to" } else { "topic" };
    let bad = |flag: &str, word: &OsStr, error: PathError| {
        let what = "it is a path on the server, below its host directory";
        Ok(usage(&format!("{flag} {}: {error} ({what})", harmless(word.as_bytes()))))
    };
    let folder = match RemoteFolder::parse(crate::client::select::trim(to.as_bytes())) {
        Ok(folder) => folder,
        Err(error) => return bad(flag, to, error),
    };
    if let Some((name, Err(error))) = name.map(|name| (name, folder.join(name.as_bytes()))) {
        return bad("--name", name, error);
    }
    let to = folder;
    let is_input = |path: &PathBuf| path.as_os_str() == "-";
    if paths.iter().any(is_input) && (paths.len() > 1 || name.is_none()) {
        return Ok(usage("standard input (-) goes alone, with --name"));
    }
    if name.is_some() && paths.len() > 1 {
        return Ok(usage("--name goes with one file or folder"));
    }
    let mut session = context.open()?;
    if session.welcome().read_only {
        return Err(Error::refused(ErrorCode::ReadOnly, format!("{} takes no uploads", session.name())));
    }
    if let (true, Some(name)) = (is_input(&paths[0]), name) {
        send_input(context, session, &to.join(name.as_bytes())?, report);
        return Ok(None);
    }
    let mut plan = Plan::default();
    for path in paths {
        let target = target(path, &to, name).and_then(|target| add(&mut plan, path, &target, report).map(|()| target));
        match target {
            Ok(target) => context.persist(&mut session, |session| compare(&mut plan, session, &target))?,
            Err(error) => report.problem(&harmless(path.as_os_str().as_bytes()), &error),
        }
    }
    if plan.files.is_empty() && plan.folders.is_empty() && report.came_to_nothing(command) {
        return Ok(Some(report.exit_code()));
    }
    if let Some(limit) = session.welcome().max_file_size {
        leave_out_too_large(&mut plan, limit, report);
    }
    report.left_out(plan.left_out);
    if context.settings.dry_run {
        dry_run(&plan, report);
    } else {
        if command == "publish" {
            ask_for_arrivals(&mut plan);
        }
        send(context, plan, session, report);
    }
    Ok(None)
}

/// What a listing shows may not have arrived yet, and has no number there: only the server's answer to an upload says both.
fn ask_for_arrivals(plan: &mut Plan) {
    let same = plan.files.iter_mut().filter(|job| job.there == There::Same);
    same.for_each(|job| job.there = There::Taken);
}

/// Sums up what was sent; the exit code.
pub(super) fn conclude(context: &Context, words: Words<'_>, report: &Report) -> u8 {
    if words.paths.iter().any(|path| path.as_os_str() == "-") {
        report.summary(&context.terminal, "(standard input cannot be read again)", None);
    } else if (!context.settings.dry_run || report.exit_code() != exit::OK) && !report.came_to_nothing(words.command) {
        report.summary(&context.terminal, &super::get::again(), None);
    }
    report.exit_code()
}

fn send(context: &Context, plan: Plan, session: Session, report: &Report) {
    let progress = context.progress();
    let session = upload(plan.files, session, &context.options(), &progress, report);
    progress.finish();
    if plan.folders.is_empty() || context.cancel.is_cancelled() {
        session.into_iter().for_each(Session::close);
        return;
    }
    let made = session.map_or_else(|| context.open(), Ok).and_then(|mut session| {
        context.persist(&mut session, |session| make_folders(&plan.folders, session, report))?;
        session.close();
        Ok(())
    });
    if let Err(error) = made {
        // What became of the files is worth a summary all the same.
        report.problem(&counted(plan.folders.len() as u64, "folder"), &error);
    }
}

/// Sends standard input as it comes.
fn send_input(context: &Context, session: Session, path: &RemotePath, report: &Report) {
    let progress = context.progress();
    let shown = progress.start(path.as_bytes(), None, 0);
    let input = stdin();
    let source = Source { input: input.as_fd(), spool: Spool::open(&context.settings.dir) };
    let result = stream(session, source, path, &context.options(), &progress, &shown);
    let (status, stored) = match result {
        Ok(stored) => {
            let status = status(&stored, path);
            shown.finish(outcome(&status));
            (status, Some(stored))
        }
        Err(_) if context.cancel.is_cancelled() => {
            shown.finish(Outcome::Failed("stopped".into()));
            (Status::Interrupted { partial: 0 }, None)
        }
        Err(error) => {
            shown.finish(Outcome::Failed(error.to_string()));
            (Status::Failed { error, partial: 0 }, None)
        }
    };
    progress.finish();
    let (path, moved, details) = (path.as_bytes().to_vec(), shown.moved(), Map::new());
    let (transfer, number) = (stored.as_ref().map(|it| it.transfer), stored.and_then(|it| it.number));
    report.file(FileReport { path, size: moved, moved, resumed: 0, transfer, number, status, details });
}

/// The remote path of a file or folder given on the command line.
fn target(path: &Path, to: &RemoteFolder, name: Option<&OsStr>) -> Result<RemotePath> {
    if let Some(name) = name {
        return Ok(to.join(name.as_bytes())?);
    }
    // `.` and `..` have a name only when they are resolved.
    let resolved = match path.file_name() {
        Some(_) => path.to_owned(),
        None => std::fs::canonicalize(path).map_err(|error| Error::local("open", path.display(), error))?,
    };
    let name = resolved
        .file_name()
        .ok_or_else(|| Error::refused(ErrorCode::BadPath, "/ has no name: give one with --name"))?;
    Ok(to.join(name.as_bytes())?)
}

/// Adds a file, or a folder with all that is below it, to the plan. What cannot be sent is reported.
fn add(plan: &mut Plan, path: &Path, target: &RemotePath, report: &Report) -> Result<()> {
    // A link that is named is meant; one that is met on the way is left out.
    let metadata = std::fs::metadata(path).map_err(|error| Error::local("open", path.display(), error))?;
    target.check_portable()?;
    if metadata.is_file() {
        plan.files.push(job(path.to_owned(), target.clone(), &metadata));
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(Error::refused(ErrorCode::NotAFile, "neither a file nor a folder"));
    }
    plan.folders.push(FolderJob { path: target.clone(), modified: modified(&metadata) });
    for entry in WalkDir::new(path).min_depth(1).sort_by_file_name() {
        match entry {
            Ok(entry) => add_entry(plan, path, target, &entry)
                .unwrap_or_else(|error| report.problem(&shown(entry.path()), &error)),
            Err(error) => {
                let failed = shown(error.path().unwrap_or(path));
                report.problem(&failed, &Error::local("read", &failed, std::io::Error::from(error)));
            }
        }
    }
    Ok(())
}

/// Adds what was met below `path`, which becomes `target`.
fn add_entry(plan: &mut Plan, path: &Path, target: &RemotePath, entry: &DirEntry) -> Result<()> {
    let kind = entry.file_type();
    if !kind.is_file() && !kind.is_dir() {
        plan.left_out += 1;
        return Ok(());
    }
    let below = entry.path().strip_prefix(path).unwrap_or(entry.path());
    let remote = RemoteFolder::from(target.clone()).join(below.as_os_str().as_bytes())?;
    remote.check_portable()?;
    let metadata =
        entry.metadata().map_err(|error| Error::local("stat", shown(entry.path()), std::io::Error::from(error)))?;
    if metadata.is_file() {
        plan.files.push(job(entry.path().to_owned(), remote, &metadata));
    } else {
        plan.folders.push(FolderJob { path: remote, modified: modified(&metadata) });
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    harmless(path.as_os_str().as_bytes())
}

fn job(local: PathBuf, path: RemotePath, metadata: &Metadata) -> Job {
    Job { local, path, size: metadata.len(), modified: modified(metadata), there: There::Nothing, held: 0 }
}

fn modified(metadata: &Metadata) -> i64 {
    nanoseconds(metadata.mtime(), metadata.mtime_nsec())
}

/// What the server would refuse is not even sent.
fn leave_out_too_large(plan: &mut Plan, limit: u64, report: &Report) {
    plan.files.retain(|job| {
        let is_too_large = job.size > limit;
        if is_too_large {
            let why = format!("{} is more than the server takes: at most {}", size(job.size), size(limit));
            let status = Status::Failed { error: Error::refused(ErrorCode::TooLarge, why), partial: 0 };
            let (path, size) = (job.path.as_bytes().to_vec(), job.size);
            let (transfer, number, details) = (None, None, Map::new());
            report.file(FileReport { path, size, moved: 0, resumed: 0, transfer, number, status, details });
        }
        !is_too_large
    });
}

/// Looks what the server has already at and below a path, so that a second run moves nothing.
fn compare(plan: &mut Plan, session: &mut Session, target: &RemotePath) -> Result<()> {
    let mut there: HashMap<RemotePath, Entry> = HashMap::new();
    let request = List { path: RawBytes(target.as_bytes().to_vec()), recursive: true, limit: None };
    let listed = session.list(request, &mut |folder, entry| {
        there.insert(folder.join(&entry.name)?, entry);
        check_count(there.len())
    });
    match listed {
        Err(Error::Refused { code: ErrorCode::NotFound | ErrorCode::NotAFile, .. }) => return Ok(()),
        result => result?,
    };
    for job in &mut plan.files {
        job.there = match there.get(&job.path) {
            Some(entry) if (entry.size, entry.modified) == (job.size, job.modified) => There::Same,
            Some(_) => There::Taken,
            None => job.there,
        };
    }
    let is_there = |folder: &FolderJob| {
        there
            .get(&folder.path)
            .is_some_and(|entry| entry.kind == EntryKind::Folder && entry.modified == folder.modified)
    };
    // What goes into a folder changes its time again; only one with nothing to come can be left out.
    let to_come = plan.files.iter().filter(|job| job.there != There::Same).map(|job| job.path.parent());
    let to_make = plan.folders.iter().filter(|folder| !is_there(folder)).map(|folder| folder.path.parent());
    let changing: HashSet<RemoteFolder> = to_come.chain(to_make).collect();
    plan.folders.retain(|folder| !is_there(folder) || changing.contains(&RemoteFolder::from(folder.path.clone())));
    Ok(())
}

fn dry_run(plan: &Plan, report: &Report) {
    let new: Vec<_> = plan.files.iter().filter(|job| job.there != There::Same).collect();
    new.iter().for_each(|job| report.planned(&job.path, job.size));
    let bytes = new.iter().map(|job| job.size).sum();
    say(&format!("{}, {} would be uploaded (dry run)", counted(new.len() as u64, "file"), size(bytes)));
}
