//! GET and HEAD of files (WEB.md, section 4).

use super::super::admission::Direction;
use super::super::get::{SMALL, read_unchanged, send_unchanged};
use super::super::record::{Record, Status, Via};
use super::exchange::{Answered, Exchange};
use super::outlet::Plain;
use super::response::{Content, Problem, Response, now};
use super::{following, kind};
use crate::connection::More;
use crate::error::Error;
use crate::escape::harmless;
use crate::root::{FileState, OpenFile};
use crate::transfer::{Counter, Progress};
use crate::wire::http::{
    Access, Method, Validators, Verdict, Wanted, attachment, evaluate, percent_decode, percent_encode, range_counts,
    wanted,
};
use crate::wire::{ErrorCode, RemotePath};
use httpdate::HttpDate;
use std::time::{Duration, SystemTime};

/// Bytes at the end of a file that are not sent before the rest is known to be of one state of it.
const HELD_BACK: u64 = 4096;

/// The part of a file that is sent.
#[derive(Debug, Clone, Copy)]
struct Part {
    status: u16,
    offset: u64,
    length: u64,
}

/// What a request for a file comes to.
enum Found {
    /// This part of it is wanted.
    Part(Part),
    /// The client has it.
    NotModified,
}

/// Answers `GET /files/PATH` and HEAD.
pub(super) fn answer(exchange: &mut Exchange<'_>, rest: &str) -> Answered {
    let path = percent_decode(rest)?;
    if let Some(id) = exchange.head.target.parameter("live")? {
        return following::answer(exchange, &path, &id);
    }
    let found = open(exchange, &path).and_then(|(path, open)| {
        let found = find(exchange, &open)?;
        Ok((path, open, found))
    });
    match found {
        Ok((path, open, Found::Part(part))) => send(exchange, &path, &open, part),
        Ok((path, open, Found::NotModified)) => {
            Ok(exchange.respond_head(describe(exchange, &path, &open, 304), Content::None)?)
        }
        Err(problem) => Err(refused(exchange, &path, problem)),
    }
}

/// Logs a download that is refused, and gives its problem back.
pub(super) fn refused(exchange: &Exchange<'_>, path: &[u8], problem: Problem) -> Problem {
    if exchange.is_head() {
        return problem;
    }
    let record = record(exchange, harmless(path), None);
    record.fail(exchange.shared, Status::Refused, problem.error());
    problem.logged()
}

/// Begins the record of a download.
pub(super) fn record(exchange: &Exchange<'_>, path: String, size: Option<u64>) -> Record {
    exchange.live.name_transfer(&path);
    Record::begin(exchange.shared, exchange.live.peer, Via::Web, Direction::Download, path, size)
}

/// What tells one content of a file from another.
pub(super) fn validators(state: &FileState) -> Validators {
    let now = now();
    // RFC 9110, section 8.8.2.1: nothing was modified after it was sent.
    let modified = modified(state).map(|modified| modified.min(now));
    let age = modified.and_then(|modified| now.duration_since(modified).ok());
    Validators {
        tag: state.version.to_string(),
        modified: modified.map(HttpDate::from),
        is_date_weak: age.is_none_or(|age| age < Duration::from_secs(2)),
    }
}

/// The fields that say how a file is to be taken: as its kind, by its name, and never as a page of this server.
pub(super) fn mark_as_file(response: Response, path: &RemotePath) -> Response {
    let response = response.field("Content-Type", kind::of(path.name()));
    response.field("Content-Disposition", attachment(path.name()))
}

fn open(exchange: &Exchange<'_>, path: &[u8]) -> Result<(RemotePath, OpenFile), Problem> {
    if path.is_empty() || path.ends_with(b"/") {
        return Err(folder(path));
    }
    let path = RemotePath::parse(path).map_err(Error::from)?;
    exchange.caller.may_fetch(&path)?;
    match exchange.shared.store.open_file(&path) {
        Ok(open) => Ok((path, open)),
        Err(error) if error.code() == ErrorCode::NotAFile => Err(folder(path.as_bytes())),
        Err(error) => Err(error.into()),
    }
}

fn folder(path: &[u8]) -> Problem {
    let why = format!("this is not a file; a folder is to be had from /tar/{}", percent_encode(path));
    Problem::new(404, ErrorCode::NotAFile, why)
}

/// What the conditions and the range of a request come to.
fn find(exchange: &Exchange<'_>, open: &OpenFile) -> Result<Found, Problem> {
    let (fields, size) = (&exchange.head.fields, open.state.size);
    let validators = validators(&open.state);
    match evaluate(fields, Access::Reads, Some(&validators)) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(Found::NotModified),
        Verdict::Failed => return Err(Error::refused(ErrorCode::Changed, "the file is another version").into()),
    }
    let whole = Part { status: 200, offset: 0, length: size };
    let has_range = exchange.head.method == Method::Get && range_counts(fields, &validators);
    // What is there twice is no range.
    let Ok(Some(range)) = fields.sole("range") else { return Ok(Found::Part(whole)) };
    if !has_range {
        return Ok(Found::Part(whole));
    }
    match wanted(range, size) {
        Wanted::Whole => Ok(Found::Part(whole)),
        Wanted::Part { offset, length } => Ok(Found::Part(Part { status: 206, offset, length })),
        Wanted::Unsatisfiable => {
            let why = format!("one range of the file's {size} bytes can be had at a time");
            let problem = Problem::new(416, ErrorCode::OutOfRange, why);
            Err(problem.field("Content-Range", format!("bytes */{size}")))
        }
    }
}

/// The head of an answer about a file.
fn describe(exchange: &Exchange<'_>, path: &RemotePath, open: &OpenFile, status: u16) -> Response {
    let validators = validators(&open.state);
    let response = mark_as_file(Response::new(status), path)
        .field("Accept-Ranges", "bytes")
        .field("ETag", format_args!("\"{}\"", validators.tag))
        .field("Cache-Control", "no-cache");
    let response = match validators.modified {
        Some(modified) => response.field("Last-Modified", modified),
        None => response,
    };
    match exchange.shared.store.digests().recall(&open.state.version) {
        Some(digest) => response.field("Hostdir-Digest", format_args!("blake3={digest}")),
        None => response,
    }
}

fn send(exchange: &mut Exchange<'_>, path: &RemotePath, open: &OpenFile, part: Part) -> Answered {
    let mut response = describe(exchange, path, open, part.status);
    if part.status == 206 {
        let last = part.offset.saturating_add(part.length).saturating_sub(1);
        response = response.field("Content-Range", format!("bytes {}-{last}/{}", part.offset, open.state.size));
    }
    if exchange.is_head() {
        return Ok(exchange.respond_head(response, Content::Length(part.length))?);
    }
    let mut record = record(exchange, path.to_string(), Some(open.state.size));
    record.offset = part.offset;
    let result = if part.length == open.state.size && part.length <= SMALL {
        send_small(exchange, response, open, &mut record)
    } else {
        send_large(exchange, response, open, part, &mut record)
    };
    exchange.live.end_transfer();
    conclude(exchange, &record, result)
}

/// Logs how a download ended.
pub(super) fn conclude(exchange: &Exchange<'_>, record: &Record, result: crate::error::Result<()>) -> Answered {
    match result {
        Ok(()) => {
            record.end(exchange.shared, Status::Sent, None);
            Ok(())
        }
        Err(error) => {
            record.fail(exchange.shared, Status::of(&error), &error);
            let has_changed = error.code() == ErrorCode::Changed;
            let problem = Problem::from(error).logged();
            // It changed under our hands: no condition of the client's failed.
            Err(if has_changed { problem.with_status(503) } else { problem })
        }
    }
}

/// A small whole file: read first, so that the head already tells the truth about it.
fn send_small(
    exchange: &mut Exchange<'_>,
    response: Response,
    open: &OpenFile,
    record: &mut Record,
) -> crate::error::Result<()> {
    let bytes = read_unchanged(open, 0, open.state.size)?;
    exchange.respond(response, &bytes)?;
    exchange.stream.flush(More::Nothing)?;
    record.bytes = open.state.size;
    Ok(())
}

fn send_large(
    exchange: &mut Exchange<'_>,
    response: Response,
    open: &OpenFile,
    part: Part,
    record: &mut Record,
) -> crate::error::Result<()> {
    let progress = exchange.live.begin_transfer(Direction::Download, Some(part.length));
    exchange.begin(response, Content::Length(part.length))?;
    let sent = send_part(exchange, open, part, &progress);
    record.bytes = progress.moved();
    sent?;
    exchange.conclude();
    Ok(())
}

/// The client takes the file for whole when it has the announced number of bytes, so that the last ones are not sent before
/// it is known that the file is still the same.
fn send_part(
    exchange: &mut Exchange<'_>,
    open: &OpenFile,
    part: Part,
    progress: &Progress,
) -> crate::error::Result<()> {
    let held_back = part.length.min(HELD_BACK);
    let before = part.length.saturating_sub(held_back);
    send_unchanged(&mut Plain(exchange.stream), open, part.offset, before, progress)?;
    let last = read_unchanged(open, part.offset.saturating_add(before), held_back)?;
    exchange.stream.send(&last)?;
    exchange.stream.flush(More::Nothing)?;
    progress.add(held_back);
    Ok(())
}

/// The modification time, where HTTP can tell it.
fn modified(state: &FileState) -> Option<SystemTime> {
    let since = u64::try_from(state.modified).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(since))
}
