//! What a subscriber says: a line for people, or an object for programs, for everything that happens.
//!
//! Owns the words. Nothing that was missed goes without one.

use super::arrival::Arrival;
use crate::client::report::{FileReport, Report, Status, name, print_json, say};
use crate::client::session::Session;
use crate::client::terminal::progress::{Display, Outcome, Progress, Transfer};
use crate::client::terminal::quantity::{counted, size};
use crate::client::terminal::{Charset, Terminal};
use crate::error::Error;
use crate::escape::harmless;
use crate::wire::{Gap, RemoteFolder, RemotePath, TransferId};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Whom it is told to, and how.
#[derive(Debug)]
pub(super) struct Teller {
    progress: Progress,
    has_bars: bool,
    charset: Charset,
    quiet: bool,
    pub(super) report: Report,
}

/// What became of a file.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) arrival: Arrival,
    /// Its name below the download folder, if it is there.
    pub(super) place: Option<RemotePath>,
    pub(super) transfer: Option<TransferId>,
    pub(super) moved: u64,
    pub(super) resumed: u64,
    pub(super) status: Status,
}

impl Teller {
    pub(super) fn new(terminal: &Terminal, quiet: bool, report: Report) -> Self {
        // Plain lines of progress would go on for ever: each file has a line of its own.
        let display = match Display::suited_to(terminal) {
            Display::Bars if !quiet => Display::Bars,
            _ => Display::Quiet,
        };
        let has_bars = display == Display::Bars;
        Self { progress: Progress::new(terminal, display), has_bars, charset: terminal.charset(), quiet, report }
    }

    /// A transfer begins.
    pub(super) fn start(&self, path: &RemotePath, size: Option<u64>, already: u64) -> Arc<Transfer> {
        self.progress.start(path.as_bytes(), size, already)
    }

    /// Somebody can press Enter and Esc while the server is away.
    pub(super) fn has_keys(&self) {
        self.progress.leave_keys_to_owner();
    }

    /// The bars are taken away.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }

    pub(super) fn following(&self, topics: &[RemoteFolder], session: &Session, after: u64, place: &str) {
        let names: Vec<String> = topics.iter().map(shown).collect();
        self.progress.regained();
        self.event("subscribed", json!({ "topics": names, "server": session.name(), "after": after }));
        self.line(&[
            format!("Following {} on {}", names.join(", "), session.name()),
            format!("after arrival {after}"),
            format!("saving to {place}"),
        ]);
    }

    pub(super) fn lost(&self, error: &Error, target: &str, rest: Duration) {
        let message = error.to_string();
        self.event("disconnected", json!({ "message": message, "retry_ms": rest.as_millis() as u64 }));
        if self.has_bars {
            self.progress.lost(&message, target, rest);
        } else {
            self.line(&[format!("{message}; trying {target} again in {:.1} s", rest.as_secs_f64())]);
        }
    }

    /// The server is being dialled again.
    pub(super) fn trying(&self) {
        self.progress.trying();
    }

    pub(super) fn back(&self, session: &Session, away: Duration) {
        self.progress.regained();
        self.event("reconnected", json!({ "server": session.name(), "away_ms": away.as_millis() as u64 }));
        self.line(&[format!("Connected again to {} after {:.1} s", session.name(), away.as_secs_f64())]);
    }

    /// Files that arrived while nobody was there, and are here now.
    pub(super) fn caught_up(&self, missed: u64) {
        self.event("caught_up", json!({ "files": missed }));
        self.line(&[format!("{} fetched", counted(missed, "missed file"))]);
    }

    pub(super) fn gap(&self, gap: Gap) {
        let Gap { after, missed } = gap;
        self.event("gap", json!({ "after": after, "missed": missed }));
        let line = match missed {
            Some(1) => "1 arrival is gone from the server".to_owned(),
            Some(missed) => format!("{missed} arrivals are gone from the server"),
            None => "the server has a new journal: what arrived meanwhile is not known".to_owned(),
        };
        self.warn(&line);
    }

    pub(super) fn arriving(&self, path: &RemotePath, bytes: Option<u64>) {
        self.event("arriving", named(path, json!({ "size": bytes })));
        if !self.has_bars {
            self.line(&[format!("{path} is arriving"), bytes.map_or(String::new(), size)]);
        }
    }

    pub(super) fn arrived(&self, arrival: &Arrival) {
        let facts = json!({
            "number": arrival.number.map(|number| number.value), "size": arrival.size, "digest": arrival.digest.to_string(),
            "publisher": arrival.publisher.as_deref().map(|it| harmless(it.as_bytes())),
        });
        self.event("arrived", named(&arrival.path, facts));
    }

    pub(super) fn abandoned(&self, path: &RemotePath) {
        self.event("abandoned", named(path, json!({})));
        self.line(&[format!("{path} does not arrive: given up by its sender, or here already")]);
    }

    /// What became of a file.
    pub(super) fn file(&self, told: Told) {
        let Told { arrival, place, transfer, moved, resumed, status } = told;
        let facts = self.facts(&arrival, place.as_ref(), &status);
        let mut details = Map::new();
        details.insert("digest".into(), arrival.digest.to_string().into());
        if let Some(publisher) = &arrival.publisher {
            details.insert("publisher".into(), harmless(publisher.as_bytes()).into());
        }
        let (path, number) = (arrival.path.as_bytes().to_vec(), arrival.number.map(|number| number.value));
        self.line(&facts);
        self.report.file(FileReport { path, size: arrival.size, moved, resumed, transfer, number, status, details });
    }

    /// Something that went wrong and goes on.
    pub(super) fn problem(&self, message: &str) {
        self.event("problem", json!({ "message": message }));
        self.warn(message);
    }

    fn facts(&self, arrival: &Arrival, place: Option<&RemotePath>, status: &Status) -> Vec<String> {
        let word = match status {
            Status::Done { .. } => "verified".to_owned(),
            Status::Identical => "already there".to_owned(),
            Status::Skipped => "skipped: the name is taken".to_owned(),
            Status::Failed { error, .. } => format!("{} {error}", self.charset.cross()),
            Status::Interrupted { .. } => "not finished".to_owned(),
        };
        let from = arrival
            .publisher
            .as_deref()
            .filter(|it| !it.is_empty())
            .map(|it| format!("from {}", harmless(it.as_bytes())));
        let renamed = place.filter(|place| **place != arrival.path).map(|place| format!("as {place}"));
        let (path, bytes) = (arrival.path.to_string(), size(arrival.size));
        [Some(path), Some(bytes), from, Some(word), renamed].into_iter().flatten().collect()
    }

    fn event(&self, event: &str, mut object: Value) {
        if self.report.is_json() {
            if let Some(object) = object.as_object_mut() {
                object.insert("type".into(), "event".into());
                object.insert("event".into(), event.into());
            }
            print_json(&object);
        }
    }

    fn line(&self, facts: &[String]) {
        if !self.quiet && !self.report.is_json() {
            let facts: Vec<&str> = facts.iter().map(String::as_str).filter(|fact| !fact.is_empty()).collect();
            self.warn(&facts.join(self.charset.separator()));
        }
    }

    /// A line that is said in any case.
    fn warn(&self, line: &str) {
        if self.has_bars { self.progress.println(line) } else { say(line) }
    }
}

/// That a transfer ended, where a line of its own tells of it.
pub(super) fn told(shown: &Transfer) {
    shown.finish(Outcome::Told);
}

/// A topic as people write it.
fn shown(topic: &RemoteFolder) -> String {
    match topic.path() {
        Some(path) => path.to_string(),
        None => "/".into(),
    }
}

fn named(path: &RemotePath, mut object: Value) -> Value {
    name(&mut object, path.as_bytes());
    object
}
