//! What became of each file: one line for people at the end, one object a line for programs at once.
//!
//! Owns standard output in `--json` mode and standard error, and when something is said there. What is said is made of the
//! sums (`totals`) and the objects (`object`).

mod object;
mod totals;

pub(super) use object::{error_json, name};

use super::terminal::capability::charset_of_locale;
use super::terminal::quantity::size;
use super::terminal::width::{fold, spelled};
use super::terminal::{Charset, Size, Terminal};
use crate::error::Error;
use crate::escape::harmless;
use crate::wire::{RemotePath, TransferId};
use object::file_json;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use totals::{Totals, failure};

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

/// Whether it says something about the files how long the command took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Told,
    /// The command waited for them.
    Untold,
}

/// Collects what became of the files of one command.
#[derive(Debug)]
pub(super) struct Report {
    style: Style,
    began: Instant,
    pace: Pace,
    totals: Mutex<Totals>,
    /// Files that are told later, when their receivers are known: only of a report that holds them back.
    held: Option<Mutex<Vec<FileReport>>>,
}

impl Report {
    pub(super) fn new(style: Style) -> Self {
        Self { style, began: Instant::now(), pace: Pace::Told, totals: Mutex::default(), held: None }
    }

    /// A report of files that are waited for: how many there are in a time says nothing.
    pub(super) fn waiting(style: Style) -> Self {
        Self { pace: Pace::Untold, ..Self::new(style) }
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
        self.totals().count(&file);
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

    /// Notes something that failed and is no file: a pattern that matches nothing, a folder that cannot be read.
    pub(super) fn problem(&self, what: &str, error: &Error) {
        self.totals().problem(what, error);
        if self.style.json {
            print_json(&error_json(Some(what), error));
        }
    }

    /// Notes names that were left out: links, devices.
    pub(super) fn left_out(&self, count: u64) {
        self.totals().left_out(count);
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
        if !totals.came_to_nothing() || self.style.json {
            return false;
        }
        totals.failures().for_each(|(what, why)| say(&format!("{command} {what}: {why}")));
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
        } else if !self.style.quiet || totals.has_failed() {
            let took = (self.pace == Pace::Told).then_some(took);
            totals.lines(took, terminal.charset()).iter().for_each(|line| say(line));
            totals.ends(retry, place).iter().for_each(|line| say_whole(line));
        }
    }

    /// The exit code that fits what happened: the smallest of the failures', as wget does.
    pub(super) fn exit_code(&self) -> u8 {
        self.totals().exit_code()
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
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
