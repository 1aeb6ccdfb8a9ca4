//! A report for programs: one object a line, each with a `type` (docs/OPERATING.md has the fields).

use super::arrivals::{Arrival, Receiver};
use super::kept::Kept;
use super::rows::Rows;
use super::tally::Counts;
use super::time;
use crate::escape::original;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// An object that is put together.
#[derive(Debug, Default)]
struct Object(Map<String, Value>);

/// Writes all objects.
pub(super) fn write(rows: &Rows, out: &mut dyn Write) -> io::Result<()> {
    let clients = rows.clients.rows.iter().map(|(client, counts)| counted("client", counts).with("client", &**client));
    let paths = rows.paths.rows.iter().map(|(path, counts)| {
        let object = counted("path", counts).with("wanted", counts.wanted);
        object.named(path)
    });
    let hours = rows.hours.iter().map(|(start, counts)| {
        let start = Timestamp::from_second(*start).unwrap_or_default();
        counted("hour", counts).with("hour", time::exact(start))
    });
    let statuses = rows.statuses.iter().map(|(status, counts)| counted("status", counts).with("status", status.name()));
    let causes = rows.causes.rows.iter().map(|(cause, counts)| {
        counted("cause", counts).with("status", cause.status.name()).with("cause", &*cause.cause)
    });
    let slowest = rows.longest.iter().map(|kept| transfer("slowest", kept));
    let arrivals = rows.arrivals.rows.iter().map(arrival);
    let latest = rows.latest.iter().map(|kept| transfer("transfer", kept));
    let counts = clients.chain(paths).chain(hours).chain(statuses).chain(causes);
    for object in std::iter::once(summary(rows)).chain(counts).chain(slowest).chain(arrivals).chain(latest) {
        writeln!(out, "{}", Value::Object(object.0))?;
    }
    Ok(())
}

impl Object {
    fn new(kind: &str) -> Self {
        Self::default().with("type", kind)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a cause, if there is one.
    fn because(self, cause: &str) -> Self {
        if cause.is_empty() { self } else { self.with("cause", cause) }
    }

    /// Adds a path as text, and exactly, in hexadecimal, if it is not plain UTF-8: as `client --json` does.
    fn named(self, path: &str) -> Self {
        let bytes = original(path);
        let object = self.with("path", path);
        if bytes == path.as_bytes() {
            return object;
        }
        object.with("path_hex", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

fn summary(rows: &Rows) -> Object {
    let unreadable = rows.reading.unreadable.iter();
    let unreadable = unreadable.map(|(file, cause)| Object::default().with("file", file.as_str()).because(cause).0);
    counted("summary", &rows.all)
        .with("first", rows.period.map(|(first, _)| time::exact(first)))
        .with("last", rows.period.map(|(_, last)| time::exact(last)))
        .with("damaged", rows.reading.damaged)
        .with("dropped", rows.reading.dropped)
        .with("unreadable", unreadable.collect::<Value>())
}

fn counted(kind: &str, counts: &Counts) -> Object {
    Object::new(kind)
        .with("downloads", counts.downloads)
        .with("uploads", counts.uploads)
        .with("failed", counts.failed)
        .with("bytes_down", counts.bytes_down)
        .with("bytes_up", counts.bytes_up)
        .with("last", time::exact(counts.last))
}

fn transfer(kind: &str, kept: &Kept) -> Object {
    Object::new(kind)
        .with("time", time::exact(kept.time))
        .with("event", kept.direction().name())
        .with("id", kept.id.as_str())
        .with("client", kept.client.as_str())
        .with("via", kept.via.as_str())
        .with("size", kept.size)
        .with("offset", kept.offset)
        .with("bytes", kept.bytes)
        .with("ms", kept.ms)
        .with("status", kept.status().name())
        .because(&kept.cause)
        .named(&kept.path)
}

fn arrival(arrival: &Arrival) -> Object {
    let object = Object::new("arrival")
        .with("number", arrival.number)
        .with("received", arrival.verified())
        .with("receivers", arrival.receivers.iter().map(|it| receiver(it).0).collect::<Value>())
        .named(&arrival.path);
    let Some(published) = &arrival.published else { return object };
    object
        .with("time", time::exact(published.time))
        .with("client", published.client.as_str())
        .with("size", published.size)
        .with("followers", published.followers)
}

fn receiver(receiver: &Receiver) -> Object {
    Object::default()
        .with("client", receiver.client.as_str())
        .with("subscriber", receiver.subscriber.as_str())
        .with("time", time::exact(receiver.time))
        .with("status", receiver.status.name())
        .because(&receiver.cause)
}
