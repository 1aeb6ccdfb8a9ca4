//! The sums of a command, and the summary that is made of them.
//!
//! Owns the wording of the summary and the exit code. Prints nothing, and knows no clock: it is told how long it took.

use super::{FileReport, Status};
use crate::client::cancel::INTERRUPTED;
use crate::client::exit;
use crate::client::terminal::Charset;
use crate::client::terminal::quantity::{count, counted, duration, rate, size};
use crate::error::Error;
use crate::escape::harmless;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// Failures and new names that the summary tells one by one; the rest is counted.
const NAMED: usize = 20;

/// What became of all files together.
#[derive(Debug, Default)]
pub(super) struct Totals {
    done: u64,
    identical: u64,
    skipped: u64,
    failed: u64,
    interrupted: u64,
    resumed: u64,
    /// Of those that were resumed: the bytes that were there, and all of them.
    resumed_at: (u64, u64),
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

impl Totals {
    /// A file ended.
    pub(super) fn count(&mut self, file: &FileReport) {
        self.bytes += file.moved;
        if file.resumed > 0 {
            self.resumed += 1;
            let (there, all) = self.resumed_at;
            self.resumed_at = (there.saturating_add(file.resumed), all.saturating_add(file.size.max(file.resumed)));
        }
        match &file.status {
            Status::Done { renamed } => {
                self.done += 1;
                self.renamed.extend(renamed.clone().map(|name| (harmless(&file.path), name)));
            }
            Status::Identical => self.identical += 1,
            Status::Skipped => self.skipped += 1,
            Status::Interrupted { partial } => {
                self.interrupted += 1;
                if *partial > 0 {
                    self.failures.push((harmless(&file.path), format!("stopped; {} kept", size(*partial))));
                }
            }
            Status::Failed { error, partial } => {
                self.failed += 1;
                self.worst(exit::code(error));
                self.retryable |= *partial > 0 || error.is_worth_a_retry();
                self.failures.push((harmless(&file.path), failure(error, *partial)));
            }
        }
    }

    /// Something failed that is no file.
    pub(super) fn problem(&mut self, what: &str, error: &Error) {
        self.failed += 1;
        self.worst(exit::code(error));
        self.problems += 1;
        self.failures.push((what.to_owned(), reason(what, error)));
    }

    /// Names were left out.
    pub(super) fn left_out(&mut self, count: u64) {
        self.left_out += count;
    }

    /// Whether nothing could even be begun, or the only file was refused.
    pub(super) fn came_to_nothing(&self) -> bool {
        let was_refused = self.failed == 1 && !self.retryable;
        let nothing = self.problems == self.files() || (self.files() == 1 && was_refused);
        self.failed > 0 && nothing
    }

    /// What failed, and why.
    pub(super) fn failures(&self) -> impl Iterator<Item = &(String, String)> {
        self.failures.iter()
    }

    /// Whether anything failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// The smallest of the failures', as wget does; that of an interrupted program, if it was.
    pub(super) fn exit_code(&self) -> u8 {
        if self.interrupted > 0 { INTERRUPTED } else { self.exit.unwrap_or(exit::OK) }
    }

    /// Files that ended.
    pub(super) fn files(&self) -> u64 {
        self.done + self.identical + self.skipped + self.failed + self.interrupted
    }

    /// For programs.
    pub(super) fn json(&self, took: Duration) -> Value {
        json!({
            "type": "summary", "files": self.files(), "ok": self.done, "identical": self.identical,
            "skipped": self.skipped, "failed": self.failed, "interrupted": self.interrupted, "resumed": self.resumed,
            "left_out": self.left_out, "bytes": self.bytes, "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// For people: the sums in one line, then what needs a line of its own. Without a time, no rate is told either.
    pub(super) fn lines(&self, took: Option<Duration>, charset: Charset) -> Vec<String> {
        let mut first = format!("{} of {}", count(self.done + self.identical), counted(self.files(), "file"));
        if self.bytes > 0 {
            let _ = write!(first, "{}{}", charset.separator(), size(self.bytes));
            if let Some(took) = took {
                let speed = rate(self.bytes as f64 / took.as_secs_f64().max(0.001));
                let _ = write!(first, " in {} ({speed})", short(took));
            }
        }
        let resumed = format!("resumed from {}%", share(self.resumed_at));
        let counts = [
            (self.done, "verified"),
            (self.identical, "already there"),
            (self.skipped, "skipped"),
            (self.resumed, resumed.as_str()),
            (self.failed, "failed"),
            (self.interrupted, "not finished"),
            (self.left_out, "left out (links and devices)"),
        ];
        for (number, what) in counts.iter().filter(|(number, _)| *number > 0) {
            let _ = write!(first, "{}{} {what}", charset.separator(), count(*number));
        }
        let mut lines = vec![first];
        lines.extend(named(&self.renamed, |path, name| format!(" {path} -> {name}   (the name was taken)")));
        lines.extend(named(&self.failures, |path, why| format!(" {} {path}   {why}", charset.cross())));
        lines
    }

    /// What to do next, and where the files are.
    pub(super) fn ends(&self, retry: &str, place: Option<&str>) -> Vec<String> {
        let retry = (self.failed + self.interrupted > 0).then(|| format!(" Retry: {retry}"));
        let place = place.filter(|_| self.done + self.identical > 0).map(|place| format!(" Saved in: {place}"));
        [retry, place].into_iter().flatten().collect()
    }

    fn worst(&mut self, code: u8) {
        self.exit = Some(self.exit.map_or(code, |before| before.min(code)));
    }
}

/// The first lines of a list, and how many there are beyond them.
fn named(list: &[(String, String)], line: impl Fn(&str, &str) -> String) -> Vec<String> {
    let mut lines: Vec<String> = list.iter().take(NAMED).map(|(path, what)| line(path, what)).collect();
    if list.len() > NAMED {
        lines.push(format!(" ... and {} more", count((list.len() - NAMED) as u64)));
    }
    lines
}

/// How much of all of it was there, in percent, rounded down.
fn share((there, all): (u64, u64)) -> u128 {
    u128::from(there).saturating_mul(100) / u128::from(all.max(1))
}

/// A short time with a tenth, a longer one in whole units.
fn short(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        return format!("{} ms", took.as_millis().max(1));
    }
    if took < Duration::from_secs(60) { format!("{:.1} s", took.as_secs_f64()) } else { duration(took) }
}

/// Why a file failed, and what is kept of it.
pub(super) fn failure(error: &Error, partial: u64) -> String {
    if partial == 0 { error.to_string() } else { format!("{error}; {} kept", size(partial)) }
}

/// Why something failed, without the name of it where the error begins with that.
fn reason(what: &str, error: &Error) -> String {
    match error {
        Error::Local { operation, path, source } if path == what => format!("cannot {operation}: {source}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::golden::{WIDTHS, compare, section};
    use crate::display::width::fold;
    use serde_json::Map;

    fn ended(path: &str, moved: u64, resumed: u64, status: Status) -> FileReport {
        let (path, size) = (path.as_bytes().to_vec(), moved + resumed);
        FileReport { path, size, moved, resumed, transfer: None, number: None, status, details: Map::new() }
    }

    /// Seven files: five as wished, one under another name, one that broke off.
    fn totals() -> Totals {
        let mut totals = Totals::default();
        for (name, moved, resumed) in [("a", 300 << 20, 0), ("b", 0, 0), ("c", 60 << 20, 40 << 20), ("d", 700 << 20, 0)]
        {
            totals.count(&ended(name, moved, resumed, Status::Done { renamed: None }));
        }
        totals.count(&ended("e", 0, 0, Status::Identical));
        let renamed = Some("photos/2026/beach (1).jpg".to_owned());
        totals.count(&ended("photos/2026/beach.jpg", 8 << 20, 0, Status::Done { renamed }));
        let error = Error::disconnected("the server went away");
        totals.count(&ended("videos/año nuevo.iso", 734 << 20, 0, Status::Failed { error, partial: 734 << 20 }));
        totals
    }

    #[test]
    fn the_summary_at_every_width() {
        let mut shown = String::new();
        for columns in WIDTHS {
            let lines = totals().lines(Some(Duration::from_millis(14_200)), Charset::Unicode);
            let folded = lines.iter().flat_map(|line| fold(line, usize::from(columns), Charset::Unicode));
            let ends = totals().ends("client get videos", Some("./downloads"));
            shown.push_str(&section(columns, &folded.chain(ends).collect::<Vec<_>>().join("\n")));
        }
        compare("summary", &shown);
    }

    #[test]
    fn what_came_over_hours_has_no_rate() {
        let mut totals = Totals::default();
        totals.count(&ended("a", 4, 0, Status::Done { renamed: None }));
        assert_eq!(totals.lines(None, Charset::Ascii), ["1 of 1 file - 4 B - 1 verified"]);
    }

    #[test]
    fn thousands_stand_apart_everywhere() {
        let mut totals = Totals::default();
        (0..1_204).for_each(|_| totals.count(&ended("a", 0, 0, Status::Identical)));
        let lines = totals.lines(Some(Duration::from_secs(1)), Charset::Ascii);
        assert_eq!(lines, ["1,204 of 1,204 files - 1,204 already there"]);
    }

    #[test]
    fn what_was_resumed_says_how_much_of_it_was_there() {
        let line = |resumed: &[(u64, u64)]| {
            let mut totals = Totals::default();
            resumed.iter().for_each(|(moved, resumed)| {
                totals.count(&ended("a", *moved, *resumed, Status::Done { renamed: None }));
            });
            totals.lines(Some(Duration::from_secs(1)), Charset::Ascii).remove(0)
        };
        assert!(line(&[(60, 40)]).ends_with(" - 1 verified - 1 resumed from 40%"));
        // Of several, the share of their bytes.
        assert!(line(&[(60, 40), (900, 0), (0, 100)]).ends_with(" - 3 verified - 2 resumed from 70%"));
        // All of it was never there, or it would not have been resumed; and a part that large cannot overflow.
        assert!(line(&[(1, u64::MAX - 1)]).ends_with("resumed from 99%"));
        assert!(!line(&[(60, 0)]).contains("resumed"));
    }
}
