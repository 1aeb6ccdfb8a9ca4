//! What became of each file: one line for people at the end, one object a line for programs at once.
//!
//! Owns standard output in `--json` mode and the summary on standard error. Decides the exit code.

use super::cancel::INTERRUPTED;
use super::exit;
use super::terminal::capability::charset_of_locale;
use super::terminal::quantity::{counted, duration, rate, size};
use super::terminal::width::{fold, spelled};
use super::terminal::{Charset, Size, Terminal};
use crate::error::Error;
use crate::escape::harmless;
use crate::wire::{RemotePath, TransferId};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures and new names that the summary tells one by one; the rest is counted.
const NAMED: usize = 20;

/// How a file ended.
#[derive(Debug)]
pub(super) enum Status {
    /// Moved, verified and in place, under this name if it is another one.
    Done { renamed: Option<String> },
    /// It was there already.
    Identical,
    /// Other content has the name, and was left.
    Skipped,
    /// It failed; `partial` bytes are kept for the next attempt.
    Failed { error: Error, partial: u64 },
    /// Ctrl-C came first; `partial` bytes are kept.
    Interrupted { partial: u64 },
}

/// What became of one file.
#[derive(Debug)]
pub(super) struct FileReport {
    /// The remote path.
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    /// Bytes that were moved for it, in this run.
    pub(super) moved: u64,
    /// Bytes that an earlier attempt had left.
    pub(super) resumed: u64,
    pub(super) transfer: Option<TransferId>,
    /// The number of its arrival, where it is one.
    pub(super) number: Option<u64>,
    pub(super) status: Status,
    /// What a command tells programs beyond that.
    pub(super) details: Map<String, Value>,
}

/// How much is said, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
}

/// Collects what became of the files of one command.
#[derive(Debug)]
pub(super) struct Report {
    style: Style,
    began: Instant,
    totals: Mutex<Totals>,
    /// Files that are told later, when their receivers are known: only of a report that holds them back.
    held: Option<Mutex<Vec<FileReport>>>,
}

#[derive(Debug, Default)]
struct Totals {
    done: u64,
    identical: u64,
    skipped: u64,
    failed: u64,
    interrupted: u64,
    resumed: u64,
    bytes: u64,
    left_out: u64,
    /// Failures that are no file's.
    problems: u64,
    /// Whether the same command may do better.
    retryable: bool,
    /// What failed, harmless, and why.
    failures: Vec<(String, String)>,
    /// What got another name, harmless, and the name.
    renamed: Vec<(String, String)>,
    exit: Option<u8>,
}

impl Report {
    pub(super) fn new(style: Style) -> Self {
        Self { style, began: Instant::now(), totals: Mutex::default(), held: None }
    }

    /// A report that counts arrivals at once, and tells of them when it is asked to: see [`Report::take_held`].
    pub(super) fn holding(style: Style) -> Self {
        Self { held: Some(Mutex::default()), ..Self::new(style) }
    }

    /// The arrivals that were held back, to be told with [`Report::tell`].
    pub(super) fn take_held(&self) -> Vec<FileReport> {
        let held = self.held.as_ref().map(|held| held.lock().unwrap_or_else(PoisonError::into_inner));
        held.map(|mut held| std::mem::take(&mut *held)).unwrap_or_default()
    }

    /// Whether standard output carries one object a line.
    pub(super) fn is_json(&self) -> bool {
        self.style.json
    }

    /// Notes what became of a file.
    pub(super) fn file(&self, file: FileReport) {
        self.count(&file);
        match &self.held {
            Some(held) if file.number.is_some() => held.lock().unwrap_or_else(PoisonError::into_inner).push(file),
            _ => self.tell(&file),
        }
    }

    /// Tells of a file that was counted.
    pub(super) fn tell(&self, file: &FileReport) {
        if self.style.json {
            print_json(&file_json(file));
        } else if self.style.verbose {
            say(&verbose_line(file));
        }
    }

    fn count(&self, file: &FileReport) {
        let mut totals = self.totals();
        totals.bytes += file.moved;
        totals.resumed += u64::from(file.resumed > 0);
        match &file.status {
            Status::Done { renamed } => {
                totals.done += 1;
                totals.renamed.extend(renamed.clone().map(|name| (harmless(&file.path), name)));
            }
            Status::Identical => totals.identical += 1,
            Status::Skipped => totals.skipped += 1,
            Status::Interrupted { partial } => {
                totals.interrupted += 1;
                if *partial > 0 {
                    totals.failures.push((harmless(&file.path), format!("stopped; {} kept", size(*partial))));
                }
            }
            Status::Failed { error, partial } => {
                totals.failed += 1;
                totals.worst(exit::code(error));
                totals.retryable |= *partial > 0 || error.is_worth_a_retry();
                totals.failures.push((harmless(&file.path), failure(error, *partial)));
            }
        }
    }

    /// Notes something that failed and is no file: a pattern that matches nothing, a folder that cannot be read.
    pub(super) fn problem(&self, what: &str, error: &Error) {
        let mut totals = self.totals();
        totals.failed += 1;
        totals.worst(exit::code(error));
        totals.problems += 1;
        totals.failures.push((what.to_owned(), reason(what, error)));
        drop(totals);
        if self.style.json {
            print_json(&error_json(Some(what), error));
        }
    }

    /// Notes names that were left out: links, devices.
    pub(super) fn left_out(&self, count: u64) {
        self.totals().left_out += count;
    }

    /// Says what would be moved, where nothing is.
    pub(super) fn planned(&self, path: &RemotePath, bytes: u64) {
        if self.style.json {
            let mut object = json!({ "type": "file", "status": "dry-run", "bytes": 0, "size": bytes });
            name(&mut object, path.as_bytes());
            print_json(&object);
        } else {
            print_line(&format!("{:>10}  {path}", size(bytes)));
        }
    }

    /// If nothing could even be begun, or the only file was refused: says why, a line for each reason, which then needs
    /// no summary.
    pub(super) fn came_to_nothing(&self, command: &str) -> bool {
        let totals = self.totals();
        let was_refused = totals.failed == 1 && !totals.retryable;
        let nothing = totals.problems == totals.files() || (totals.files() == 1 && was_refused);
        if totals.failed == 0 || !nothing || self.style.json {
            return false;
        }
        totals.failures.iter().for_each(|(what, why)| say(&format!("{command} {what}: {why}")));
        true
    }

    /// Whether no file was told of.
    pub(super) fn is_empty(&self) -> bool {
        self.totals().files() == 0
    }

    /// Prints the summary. `retry` is the command that tries again, `place` where the files are.
    pub(super) fn summary(&self, terminal: &Terminal, retry: &str, place: Option<&str>) {
        let totals = self.totals();
        let took = self.began.elapsed();
        if self.style.json {
            print_json(&totals.json(took));
        } else if !self.style.quiet || totals.failed > 0 {
            totals.lines(took, terminal).iter().for_each(|line| say(line));
            totals.ends(retry, place).iter().for_each(|line| say_whole(line));
        }
    }

    /// The exit code that fits what happened: the smallest of the failures', as wget does.
    pub(super) fn exit_code(&self) -> u8 {
        let totals = self.totals();
        if totals.interrupted > 0 { INTERRUPTED } else { totals.exit.unwrap_or(exit::OK) }
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn worst(&mut self, code: u8) {
        self.exit = Some(self.exit.map_or(code, |before| before.min(code)));
    }

    fn files(&self) -> u64 {
        self.done + self.identical + self.skipped + self.failed + self.interrupted
    }

    fn json(&self, took: Duration) -> Value {
        json!({
            "type": "summary", "files": self.files(), "ok": self.done, "identical": self.identical,
            "skipped": self.skipped, "failed": self.failed, "interrupted": self.interrupted, "resumed": self.resumed,
            "left_out": self.left_out, "bytes": self.bytes, "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn lines(&self, took: Duration, terminal: &Terminal) -> Vec<String> {
        let charset = terminal.charset();
        let mut first = format!("{} of {}", self.done + self.identical, counted(self.files(), "file"));
        if self.bytes > 0 {
            let speed = rate(self.bytes as f64 / took.as_secs_f64().max(0.001));
            let _ = write!(first, "{}{} in {} ({speed})", charset.separator(), size(self.bytes), short(took));
        }
        let counts = [
            (self.done, "verified"),
            (self.identical, "already there"),
            (self.skipped, "skipped"),
            (self.resumed, "resumed"),
            (self.failed, "failed"),
            (self.interrupted, "not finished"),
            (self.left_out, "left out (links and devices)"),
        ];
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            let _ = write!(first, "{}{count} {what}", charset.separator());
        }
        let mut lines = vec![first];
        lines.extend(named(&self.renamed, |path, name| format!(" {path} -> {name}   (the name was taken)")));
        lines.extend(named(&self.failures, |path, why| format!(" {} {path}   {why}", charset.cross())));
        lines
    }

    /// What to do next, and where the files are.
    fn ends(&self, retry: &str, place: Option<&str>) -> Vec<String> {
        let retry = (self.failed + self.interrupted > 0).then(|| format!(" Retry: {retry}"));
        let place = place.filter(|_| self.done + self.identical > 0).map(|place| format!(" Saved in: {place}"));
        [retry, place].into_iter().flatten().collect()
    }
}

/// The first lines of a list, and how many there are beyond them.
fn named(list: &[(String, String)], line: impl Fn(&str, &str) -> String) -> Vec<String> {
    let mut lines: Vec<String> = list.iter().take(NAMED).map(|(path, what)| line(path, what)).collect();
    if list.len() > NAMED {
        lines.push(format!(" ... and {} more", list.len() - NAMED));
    }
    lines
}

/// A short time with a tenth, a longer one in whole units.
fn short(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        return format!("{} ms", took.as_millis().max(1));
    }
    if took < Duration::from_secs(60) { format!("{:.1} s", took.as_secs_f64()) } else { duration(took) }
}

fn failure(error: &Error, partial: u64) -> String {
    if partial == 0 { error.to_string() } else { format!("{error}; {} kept", size(partial)) }
}

/// Why something failed, without the name of it where the error begins with that.
fn reason(what: &str, error: &Error) -> String {
    match error {
        Error::Local { operation, path, source } if path == what => format!("cannot {operation}: {source}"),
        error => error.to_string(),
    }
}

fn verbose_line(file: &FileReport) -> String {
    let id = file.transfer.map(|id| format!(" [{id}]")).unwrap_or_default();
    let what = match &file.status {
        Status::Done { renamed: None } => "ok".into(),
        Status::Done { renamed: Some(name) } => format!("ok, as {name}"),
        Status::Identical => "already there".into(),
        Status::Skipped => "skipped".into(),
        Status::Interrupted { .. } => "not finished".into(),
        Status::Failed { error, partial } => failure(error, *partial),
    };
    format!("{}: {what}{id}", harmless(&file.path))
}

fn file_json(file: &FileReport) -> Value {
    let mut object = json!({ "type": "file", "bytes": file.moved, "size": file.size });
    name(&mut object, &file.path);
    if let Some(id) = file.transfer {
        object["id"] = id.to_string().into();
    }
    if let Some(number) = file.number {
        object["number"] = number.into();
    }
    for (key, value) in &file.details {
        object[key] = value.clone();
    }
    if file.resumed > 0 {
        object["resumed_from"] = file.resumed.into();
    }
    let (status, partial) = match &file.status {
        Status::Done { renamed } => {
            if let Some(renamed) = renamed {
                object["stored_as"] = renamed.as_str().into();
            }
            ("ok", 0)
        }
        Status::Identical => ("identical", 0),
        Status::Skipped => ("skipped", 0),
        Status::Interrupted { partial } => ("interrupted", *partial),
        Status::Failed { error, partial } => {
            object["code"] = exit::name(error).into();
            object["message"] = error.to_string().into();
            ("failed", *partial)
        }
    };
    object["status"] = status.into();
    if partial > 0 {
        object["partial"] = partial.into();
    }
    object
}

/// Adds a path as text, and exactly, in hexadecimal, if it is not plain UTF-8.
pub(super) fn name(object: &mut Value, path: &[u8]) {
    let shown = harmless(path);
    if shown.as_bytes() != path {
        object["path_hex"] = path.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    object["path"] = shown.into();
}

/// An error as an object for programs.
pub(super) fn error_json(what: Option<&str>, error: &Error) -> Value {
    let mut object = json!({ "type": "error", "code": exit::name(error), "message": error.to_string() });
    if let Some(what) = what {
        object["what"] = what.into();
    }
    object
}

/// Prints one object as one line of data.
pub(super) fn print_json(object: &Value) {
    print_line(&object.to_string());
}

/// Prints one line of data. A reader that went away wants no more: that is no error.
pub(super) fn print_line(line: &str) {
    let _ = writeln!(stdout().lock(), "{line}");
}

/// Says one line to a person. On a terminal it is broken where it reads well, and made of what the locale has.
pub(super) fn say(line: &str) {
    if stderr().is_terminal() {
        let charset = charset_of_locale();
        for line in fold(line, usize::from(Size::now().columns), charset) {
            say_whole(&line);
        }
    } else {
        say_whole(line);
    }
}

/// Says one line that is to be copied: a command, a path. It stays one, whatever its length.
pub(super) fn say_whole(line: &str) {
    let mut stderr = stderr().lock();
    let charset = if stderr.is_terminal() { charset_of_locale() } else { Charset::Unicode };
    let _ = writeln!(stderr, "{}", spelled(line, charset));
}
