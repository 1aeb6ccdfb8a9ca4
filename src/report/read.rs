//! The lines of the logs, one after another, from files that are there, were put away, or were compressed.
//!
//! Owns what a damaged line and an unreadable file cost: they are counted, and reading goes on. Holds one line at a time.

use super::entry::{Entry, parse};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::logging::{LogFile, files};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The log that is read.
const LOG: &str = "transfers.log";
/// Longest line that is taken for one. The longest that the server writes has two values of 8 KiB each, twice that if
/// all of it is quotes.
const LONGEST: u64 = 64 * 1024;
const BUFFER: usize = 256 * 1024;
/// A file that was put away so long before what is asked for is not read. More than any clock is set back.
const MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// How the reading went.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Lines that could not be understood.
    pub(super) damaged: u64,
    /// Lines that the server says it could not write.
    pub(super) dropped: u64,
    /// Files that could not be read, or not to their end: names, harmless, and causes.
    pub(super) unreadable: Vec<(String, String)>,
}

/// Passes every entry from `since` on to `take`, the oldest file first.
///
/// # Errors
/// There is no such directory, it cannot be listed, or has no log in it; and what `take` gave.
pub(super) fn each_entry(
    directory: &Path,
    since: Option<Timestamp>,
    take: &mut dyn FnMut(&Entry<'_>) -> io::Result<()>,
) -> Result<Reading> {
    let shown = harmless(directory.as_os_str().as_bytes());
    let found = files(directory, LOG).map_err(|error| with_cure(&shown, error))?;
    if found.is_empty() {
        let missing = format!("there is no {LOG}: give the --log-dir of the server");
        return Err(Error::local("report on", shown, io::Error::new(ErrorKind::NotFound, missing)));
    }
    let mut reading = Reading::default();
    let is_asked_for = |file: &LogFile| match (file.put_away(), since) {
        (Some(put_away), Some(since)) => put_away.saturating_add(MARGIN).is_ok_and(|latest| latest >= since),
        _ => true,
    };
    for file in found.into_iter().filter(is_asked_for) {
        let name = file.path().file_name().map(|name| harmless(name.as_bytes())).unwrap_or_default();
        match file.open() {
            Ok(None) => {}
            Ok(Some(source)) => match each_line(source, since, &mut reading, take) {
                Err(Stopped::Reading(cause)) => reading.unreadable.push((name, cause.to_string())),
                Err(Stopped::Taking(cause)) => return Err(Error::local("write", "the report", cause)),
                Ok(()) => {}
            },
            Err(cause) => reading.unreadable.push((name, cause.to_string())),
        }
    }
    Ok(reading)
}

fn with_cure(shown: &str, error: io::Error) -> Error {
    let kind = error.kind();
    let cure = match kind {
        ErrorKind::NotFound => "there is no such folder: give the --log-dir of the server".to_owned(),
        ErrorKind::NotADirectory => format!("{kind}: give the --log-dir of the server"),
        ErrorKind::PermissionDenied => format!("{kind}: run this as the user of the server"),
        _ => return Error::local("report on", shown, error),
    };
    Error::local("report on", shown, io::Error::new(kind, cure))
}

/// Why a file was not read to its end.
enum Stopped {
    Reading(io::Error),
    Taking(io::Error),
}

fn each_line(
    source: Box<dyn Read>,
    since: Option<Timestamp>,
    reading: &mut Reading,
    take: &mut dyn FnMut(&Entry<'_>) -> io::Result<()>,
) -> std::result::Result<(), Stopped> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let mut line = Vec::with_capacity(4096);
    loop {
        line.clear();
        let result = (&mut source).take(LONGEST).read_until(b'\n', &mut line);
        if let Err(error) = result {
            reading.damaged = reading.damaged.saturating_add(u64::from(!line.is_empty()));
            return Err(Stopped::Reading(error));
        }
        let text = match line.strip_suffix(b"\n") {
            Some(text) => text,
            None if line.is_empty() => return Ok(()),
            // The last line of a file may be without its end.
            None if line.len() as u64 == LONGEST => {
                source.skip_until(b'\n').map_err(Stopped::Reading)?;
                b""
            }
            None => &line,
        };
        match str::from_utf8(text).ok().and_then(parse) {
            None => reading.damaged = reading.damaged.saturating_add(1),
            Some(entry) if !is_since(&entry, since) => {}
            Some(Entry::Dropped(_, lines)) => reading.dropped = reading.dropped.saturating_add(lines),
            Some(entry) => take(&entry).map_err(Stopped::Taking)?,
        }
    }
}

fn is_since(entry: &Entry<'_>, since: Option<Timestamp>) -> bool {
    let time = match entry {
        Entry::Transfer(transfer) => transfer.time,
        Entry::Received(received) => received.time,
        Entry::Dropped(time, _) => *time,
        Entry::Other => return false,
    };
    since.is_none_or(|since| time >= since)
}
