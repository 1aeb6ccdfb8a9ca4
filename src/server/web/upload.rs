//! PUT of files, and where an upload goes on (WEB.md, section 5).
//!
//! The same uploads as those of the native protocol, one at a time: what is asked for is checked, what an earlier attempt
//! left is gone on with, the bytes are received and hashed, and the answer comes when the file is durable under its name.

use super::super::admission::Direction;
use super::super::record::{Record, Status, Via};
use super::body::Incoming;
use super::exchange::{Answered, Exchange};
use super::files::validators;
use super::response::{Problem, Response};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::store::{Answer, Offered, Plan, Upload};
use crate::transfer::{Progress, take};
use crate::wire::http::{
    Access, Framing, Sent, Verdict, content_range, evaluate, parse_digest, parse_number, parse_seconds,
    parse_upload_id, percent_decode, percent_encode,
};
use crate::wire::{Digest, ErrorCode, OnConflict, Put, PutKind, RemotePath, StoredOutcome};

/// What a PUT asks for.
struct Asked {
    put: Put,
    /// The part of the file that comes, if it is not all of it.
    part: Option<Sent>,
    /// The digest of what comes before that part, as the client has it.
    prefix: Option<Digest>,
    /// `If-None-Match: *`: a name that is taken is a condition that failed.
    only_new: bool,
}

/// An upload that was answered.
struct Stored {
    answer: Answer,
    size: Option<u64>,
    digest: Option<Digest>,
}

/// Answers `PUT /files/PATH`.
pub(super) fn answer(exchange: &mut Exchange<'_>, rest: &str) -> Answered {
    let path = percent_decode(rest)?;
    // It is shown before it is asked whether the server stops: a session that shows nothing may find its input closed then.
    let progress = exchange.live.begin_transfer(Direction::Upload, exchange.body.length());
    let (client, via) = (exchange.live.peer, Via::Web);
    exchange.live.name_transfer(&harmless(&path));
    let mut record = Record::begin(exchange.shared, client, via, Direction::Upload, harmless(&path), None);
    let result = store(exchange, &path, &mut record, &progress);
    record.bytes = progress.moved();
    exchange.live.end_transfer();
    match result {
        Ok(stored) => {
            record.path = stored.answer.path.to_string();
            record.stored(exchange.shared, stored.answer.number);
            tell(exchange, &stored)
        }
        Err((problem, status)) => {
            record.fail(exchange.shared, status, problem.error());
            Err(problem.logged())
        }
    }
}

/// Answers `GET /api/upload`: how much of an upload is here.
pub(super) fn progress(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let target = &exchange.head.target;
    let missing = |name| Problem::new(400, ErrorCode::Protocol, format!("the parameter {name} is missing"));
    let path = target.parameter("path")?.ok_or_else(|| missing("path"))?;
    let id = parse_upload_id(&target.parameter("upload")?.ok_or_else(|| missing("upload"))?)?;
    let size = target.parameter("size")?.map(|size| parse_number(&size)).transpose()?;
    let put = Put { size, upload: Some(id), ..put(&path) };
    check(exchange, &put)?;
    let plan = exchange.shared.store.plan(&put)?;
    // Whoever holds it is sent away first, so that nothing is added any more to what is told here.
    let (offset, prefix) = match exchange.shared.store.offer(plan, exchange.stream.interrupt(), &mut || Ok(()))? {
        Offered::Upload(upload) => upload.offer(),
        Offered::Answer(_) => (0, None),
    };
    let body = match prefix {
        Some(prefix) => serde_json::json!({ "offset": offset, "prefix": prefix.to_string() }),
        None => serde_json::json!({ "offset": offset }),
    };
    Ok(exchange.respond_json(Response::new(200), &body)?)
}

/// Takes an upload; an error comes with what it makes of the transfer.
fn store(
    exchange: &mut Exchange<'_>,
    path: &[u8],
    record: &mut Record,
    progress: &Progress,
) -> std::result::Result<Stored, (Problem, Status)> {
    let refused = |problem| (problem, Status::Refused);
    let asked = ask(exchange, path).map_err(refused)?;
    record.size = asked.put.size;
    let offered = offer(exchange, &asked).map_err(refused)?;
    match offered {
        Offered::Upload(upload) => {
            let upload = begin(exchange, *upload, &asked).map_err(refused)?;
            record.offset = upload.length();
            receive(exchange, upload, progress).map_err(|error| {
                let status = Status::of(&error);
                (in_its_place(&asked, error), status)
            })
        }
        Offered::Answer(answer) => {
            // Whoever sends all the same has to be listened to, or would not hear the answer.
            if !exchange.awaits_continue() {
                exchange.discard_body().map_err(|error| {
                    let status = Status::of(&error);
                    (error.into(), status)
                })?;
            }
            let is_there = answer.outcome != StoredOutcome::Skipped;
            let (size, digest) = (asked.put.size.filter(|_| is_there), asked.put.digest.filter(|_| is_there));
            Ok(Stored { answer, size, digest })
        }
    }
}

fn put(path: &[u8]) -> Put {
    Put {
        path: path.into(),
        kind: PutKind::File,
        size: None,
        modified: None,
        on_conflict: OnConflict::Rename,
        upload: None,
        digest: None,
        ask: true,
    }
}

/// What the fields of a request ask for.
fn ask(exchange: &Exchange<'_>, path: &[u8]) -> std::result::Result<Asked, Problem> {
    let fields = &exchange.head.fields;
    let only_new = fields.sole("if-none-match")? == Some("*");
    let on_conflict = match fields.sole("hostdir-on-conflict")? {
        _ if only_new => OnConflict::Fail,
        None | Some("rename") => OnConflict::Rename,
        Some("skip") => OnConflict::Skip,
        Some("fail") => OnConflict::Fail,
        Some("overwrite") => OnConflict::Overwrite,
        Some(_) => return Err(protocol("Hostdir-On-Conflict is none of rename, skip, fail and overwrite")),
    };
    let digest = fields.sole("hostdir-digest")?.map(parse_digest).transpose()?;
    let prefix = fields.sole("hostdir-prefix")?.map(parse_digest).transpose()?;
    let upload = fields.sole("hostdir-upload")?.map(|id| parse_upload_id(id.as_bytes())).transpose()?;
    let modified = fields.sole("hostdir-modified")?.map(parse_seconds).transpose()?;
    let part = match fields.sole("content-range")? {
        None => None,
        Some(_) if upload.is_none() || (prefix.is_none() && digest.is_none()) => {
            let why = "a Content-Range needs Hostdir-Upload, and Hostdir-Prefix or Hostdir-Digest";
            return Err(Problem::new(428, ErrorCode::Protocol, why));
        }
        Some(range) => Some(
            content_range(range)
                .ok_or_else(|| protocol("Content-Range is not bytes A-B/SIZE up to the last byte, nor bytes */SIZE"))?,
        ),
    };
    let size = size(exchange, part)?;
    let put = Put { size, modified, on_conflict, upload, digest, ..put(path) };
    Ok(Asked { put, part, prefix, only_new })
}

/// Bytes of the whole file, if they are known: those who say it must agree.
fn size(exchange: &Exchange<'_>, part: Option<Sent>) -> std::result::Result<Option<u64>, Problem> {
    let announced = exchange.head.fields.sole("hostdir-size")?;
    let announced = announced.map(|size| parse_number(size.as_bytes())).transpose()?;
    let before = part.map_or(0, |part| part.offset);
    let of_body = match exchange.head.framing {
        Framing::None => Some(before),
        Framing::Length(length) => Some(before.saturating_add(length)),
        Framing::Chunked => None,
    };
    let mut said = [of_body, announced, part.map(|part| part.size)].into_iter().flatten();
    let size = said.next();
    if said.any(|other| Some(other) != size) {
        return Err(protocol("Content-Length, Content-Range and Hostdir-Size do not agree"));
    }
    Ok(size)
}

/// Asks the store whether the upload may come, and what of it is here.
fn offer(exchange: &Exchange<'_>, asked: &Asked) -> std::result::Result<Offered, Problem> {
    let store = &exchange.shared.store;
    if exchange.shared.registry.is_draining() {
        return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping").into());
    }
    check(exchange, &asked.put)?;
    let plan = store.plan(&asked.put)?;
    if !asked.only_new {
        check_conditions(exchange, &plan.path)?;
    }
    let plan = Plan { publisher: Some(exchange.live.peer.ip().to_string()), ..plan };
    // Whether a name is taken by the same content is only known of bytes that are here, or from their digest. Who sends them
    // without asking is answered when they are here.
    let asks = exchange.awaits_continue() || plan.upload.is_some() || plan.digest.is_some();
    let offered = if asks {
        store.offer(plan, exchange.stream.interrupt(), &mut || Ok(()))
    } else {
        store.begin_small(plan).map(|upload| Offered::Upload(Box::new(upload)))
    };
    offered.map_err(|error| in_its_place(asked, error))
}

/// Whether whoever asks may put this here. A path that is none is refused by the store.
fn check(exchange: &Exchange<'_>, put: &Put) -> Result<()> {
    RemotePath::parse(&put.path).map_or(Ok(()), |path| exchange.caller.may_put(&path, put.kind, put.on_conflict))
}

/// Conditions compare with what is there under the name that is asked for.
fn check_conditions(exchange: &Exchange<'_>, path: &RemotePath) -> std::result::Result<(), Problem> {
    let fields = &exchange.head.fields;
    if !["if-match", "if-none-match", "if-unmodified-since"].iter().any(|name| fields.first(name).is_some()) {
        return Ok(());
    }
    let current = exchange.shared.store.open_file(path).ok().map(|open| validators(&open.state));
    match evaluate(fields, Access::Writes, current.as_ref()) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified | Verdict::Failed => {
            Err(Error::refused(ErrorCode::Changed, "what is there is another version").into())
        }
    }
}

/// Begins with the bytes where the client does, if that is where they are wanted.
fn begin(exchange: &mut Exchange<'_>, mut upload: Upload, asked: &Asked) -> std::result::Result<Upload, Problem> {
    let offset = asked.part.map_or(0, |part| part.offset);
    let (held, digest) = upload.offer();
    let is_other = held > 0 && asked.prefix.is_some() && asked.prefix != digest;
    // Also at 0, if the client says so: a browser sends a request again by itself on a connection that it had used before,
    // and must not throw away what came of the first one.
    if asked.part.is_some() && (offset != held || is_other) {
        let why = format!("{held} bytes of this upload are here, and not those that came before yours");
        // Who sends what is not wanted would otherwise be heard out, perhaps for gigabytes, before it learns what is.
        exchange.stop_listening();
        return Err(Problem::new(409, ErrorCode::Changed, why));
    }
    exchange.shared.store.begin_upload(&mut upload, offset)?;
    exchange.want_body()?;
    Ok(upload)
}

/// Receives the bytes of an upload, and gives it its name.
fn receive(exchange: &mut Exchange<'_>, mut upload: Upload, progress: &Progress) -> Result<Stored> {
    exchange.stream.restart_pace();
    let (held, size) = (upload.length(), upload.plan.size);
    if size.is_none() {
        exchange.stream.expect_a_stream();
    }
    let expected = size.map_or(u64::MAX, |size| size.saturating_sub(held));
    let limit = size.unwrap_or(u64::MAX).min(upload.plan.limit).saturating_sub(held);
    let mut source = Incoming::new(exchange.stream, &mut exchange.body, limit);
    let hasher = upload.hasher();
    let received = take(&mut source, &mut upload, hasher, expected, progress).and_then(|received| {
        let digest = received.digest();
        received.stored.map(|()| digest)
    });
    exchange.stream.restart_pace();
    let digest = match received {
        Ok(digest) => digest,
        Err(error) => {
            if matches!(error, Error::Network { .. } | Error::Timeout { .. } | Error::Violation(_)) {
                exchange.stop_listening();
            }
            return Err(broken(upload, error));
        }
    };
    let (size, announced) = (upload.length(), upload.plan.digest.unwrap_or(digest));
    let finished = upload.finish(digest, announced)?;
    let answer = exchange.shared.store.commit(vec![finished], &mut || Ok(())).pop();
    let answer =
        answer.unwrap_or_else(|| Err(Error::refused(ErrorCode::Unavailable, "the commit was not answered")))?;
    let is_there = answer.outcome != StoredOutcome::Skipped;
    Ok(Stored { answer, size: is_there.then_some(size), digest: is_there.then_some(digest) })
}

/// What it is that broke an upload off, and what becomes of it.
fn broken(mut upload: Upload, error: Error) -> Error {
    if upload.is_superseded() {
        return Error::refused(ErrorCode::Superseded, "another connection took this upload over");
    }
    if error.code() != ErrorCode::Mismatch {
        return error;
    }
    upload.discard();
    match upload.plan.size {
        Some(_) => error,
        None => {
            let why = format!("the server takes at most {} bytes here, and more came", upload.plan.limit);
            Error::refused(ErrorCode::TooLarge, why)
        }
    }
}

/// A name that is taken is a failed condition where the client made one of it.
fn in_its_place(asked: &Asked, error: Error) -> Problem {
    if asked.only_new && error.code() == ErrorCode::Exists {
        return Problem::new(412, ErrorCode::Exists, error.to_fault().message.unwrap_or_default());
    }
    error.into()
}

fn protocol(why: &'static str) -> Problem {
    Problem::new(400, ErrorCode::Protocol, why)
}

fn tell(exchange: &mut Exchange<'_>, stored: &Stored) -> Answered {
    let Stored { answer, size, digest } = stored;
    let (status, outcome) = match answer.outcome {
        StoredOutcome::New => (201, "new"),
        StoredOutcome::Renamed => (201, "renamed"),
        StoredOutcome::Overwritten => (200, "overwritten"),
        StoredOutcome::Identical => (200, "identical"),
        StoredOutcome::Skipped => (200, "skipped"),
    };
    let href = format!("/files/{}", percent_encode(answer.path.as_bytes()));
    let mut body = serde_json::Map::new();
    body.insert("path".into(), String::from_utf8_lossy(answer.path.as_bytes()).into());
    body.insert("href".into(), href.clone().into());
    body.insert("outcome".into(), outcome.into());
    body.extend(size.map(|size| ("size".into(), size.into())));
    body.extend(digest.map(|digest| ("digest".into(), digest.to_string().into())));
    body.extend(answer.number.map(|number| ("number".into(), number.into())));
    Ok(exchange.respond_json(Response::new(status).field("Location", href), &body.into())?)
}
