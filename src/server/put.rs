//! PUT, BEGIN, FINISH and ABANDON (PROTOCOL.md, section 8).
//!
//! Small uploads that come one after another are gathered into a [`Group`] and become durable together, when the client
//! has nothing more to say or the group is full: many files, few flushes, and none acknowledged before its flush. The same
//! holds for folders. Files and folders are not gathered together: a file that gets its name changes the time of its
//! folder, which may have been set by a PUT after it.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::admission::Direction;
use super::record::{Record, Status};
use super::session::{Session, wait_frame};
use crate::error::{Error, Result};
use crate::store::{Answer, Finished, NewFolder, Offered, Plan, Upload};
use crate::transfer::{Received, discard, receive};
use crate::wire::{
    Abandon, Begin, ErrorCode, Finish, Kind, Offer, Put, PutKind, RawBytes, RemotePath, Reply, Request, Stored,
    TransferId, Violation,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Most files of a group: as many as a client may send ahead (PROTOCOL.md, section 11). Each holds a descriptor until it is
/// durable. A flush of the file system costs about the same for few files as for many.
const GROUP_FILES: usize = 1024;
/// While the groups of all sessions hold this share of the descriptors that the process may have, none grows beyond
/// [`GROUP_FILES_WHEN_MANY`].
const SHARE_OF_DESCRIPTORS: usize = 4;
const GROUP_FILES_WHEN_MANY: usize = 16;
/// Most bytes of a group.
const GROUP_BYTES: u64 = 16 * 1024 * 1024;

/// Uploads that were received whole, and are not durable yet.
#[derive(Debug, Default)]
pub(super) struct Group {
    finished: Vec<Finished>,
    records: Vec<Record>,
    bytes: u64,
    folders: Vec<(NewFolder, TransferId)>,
    places: Vec<Place>,
}

/// How many files and folders wait in the groups of all sessions.
#[derive(Debug, Clone)]
pub(super) struct Grouped {
    count: Arc<AtomicUsize>,
    /// From this many on there are many.
    many: usize,
}

/// A file or folder counted in [`Grouped`], until this is dropped.
#[derive(Debug)]
struct Place(Grouped);

impl Grouped {
    /// None yet, in a process that may have so many descriptors.
    pub(super) fn new(descriptors: usize) -> Self {
        Self { count: Arc::default(), many: descriptors / SHARE_OF_DESCRIPTORS }
    }

    fn place(&self) -> Place {
        self.count.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    fn most_of_a_group(&self) -> usize {
        let held = self.count.load(Ordering::Relaxed);
        let room = self.many.saturating_sub(held);
        room.clamp(GROUP_FILES_WHEN_MANY, GROUP_FILES)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Group {
    fn push(&mut self, finished: Finished, record: Record, grouped: &Grouped) {
        self.places.push(grouped.place());
        self.bytes = self.bytes.saturating_add(record.bytes);
        self.finished.push(finished);
        self.records.push(record);
    }

    fn push_folder(&mut self, folder: NewFolder, transfer: TransferId, grouped: &Grouped) {
        self.places.push(grouped.place());
        self.folders.push((folder, transfer));
    }

    /// Whether nothing waits to become durable.
    pub(super) fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.folders.is_empty()
    }

    /// The session ended before they were made durable: none of them is stored.
    pub(super) fn close(&mut self, shared: &Shared) {
        for record in std::mem::take(self).records {
            record.end(shared, Status::Incomplete, Some("the connection ended before it was stored"));
        }
    }

    fn is_full(&self, grouped: &Grouped) -> bool {
        self.places.len() >= grouped.most_of_a_group() || self.bytes >= GROUP_BYTES
    }
}

/// Answers PUT: a folder at once, a file by OFFER or, where its bytes follow, by STORED after them.
pub(super) fn answer(session: &mut Session<'_>, put: &Put) -> Result<()> {
    match (put.kind, put.ask) {
        (PutKind::Folder, _) => make_folder(session, put),
        (PutKind::File, true) => offer(session, put),
        (PutKind::File, false) => take_at_once(session, put),
    }
}

/// Answers BEGIN: the bytes of the upload that was offered follow.
pub(super) fn begin(session: &mut Session<'_>, begin: Begin) -> Result<()> {
    let Some((mut upload, mut record)) = session.offered.take() else {
        return Err(Violation::Unexpected(Kind::Begin).into());
    };
    if begin.offset != 0 && begin.offset != upload.length() {
        return Err(Violation::Contradiction("BEGIN with an offset that was not offered").into());
    }
    record.began = Instant::now();
    match session.shared.store.begin_upload(&mut upload, begin.offset) {
        Ok(()) => take(session, upload, record),
        Err(error) => refuse_and_discard(session, record, error),
    }
}

/// Makes the group durable and answers its uploads, in order.
pub(super) fn settle(session: &mut Session<'_>) -> Result<()> {
    if session.group.is_empty() {
        return Ok(());
    }
    let group = std::mem::take(&mut session.group);
    settle_folders(session, group.folders)?;
    let connection = &mut session.connection;
    let answers = session.shared.store.commit(group.finished, &mut || wait_frame(connection));
    // All of them are in the log before any of them is told: the client may be gone.
    let concluded = group.records.into_iter().zip(answers);
    let replies: Vec<Reply> = concluded.map(|(record, answer)| conclude(session, record, answer)).collect();
    replies.iter().try_for_each(|reply| session.connection.send_reply(reply))
}

fn settle_folders(session: &mut Session<'_>, folders: Vec<(NewFolder, TransferId)>) -> Result<()> {
    let (folders, transfers): (Vec<_>, Vec<_>) = folders.into_iter().unzip();
    let connection = &mut session.connection;
    let answers = session.shared.store.commit_folders(folders, &mut || wait_frame(connection));
    for (answer, transfer) in answers.into_iter().zip(transfers) {
        let reply = match answer {
            Ok(Answer { path, outcome, .. }) => {
                Reply::Stored(Stored { transfer, path: RawBytes(path.as_bytes().to_vec()), outcome, number: None })
            }
            Err(error) => Reply::Error(error.to_fault()),
        };
        session.connection.send_reply(&reply)?;
    }
    Ok(())
}

/// Whether whoever asks may put this here. A path that is none is refused by the store.
fn check(session: &Session<'_>, put: &Put) -> Result<()> {
    RemotePath::parse(&put.path).map_or(Ok(()), |path| session.caller.may_put(&path, put.kind, put.on_conflict))
}

fn make_folder(session: &mut Session<'_>, put: &Put) -> Result<()> {
    if !session.group.finished.is_empty() {
        session.settle()?;
    }
    let made = check(session, put).and_then(|()| session.shared.store.make_folder(&put.path, put.modified));
    match made {
        Ok(folder) => {
            let transfer = session.shared.next_transfer();
            session.group.push_folder(folder, transfer, &session.shared.grouped);
        }
        Err(error) => return Err(session.refuse(Direction::Upload, &put.path, error)),
    }
    if session.group.is_full(&session.shared.grouped) { session.settle() } else { Ok(()) }
}

/// A PUT that asks: is the file there, or part of it?
fn offer(session: &mut Session<'_>, put: &Put) -> Result<()> {
    session.settle()?;
    let store = &session.shared.store;
    let publisher = Some(session.live.peer.ip().to_string());
    let plan = check(session, put).and_then(|()| store.plan(put)).map(|plan| Plan { publisher, ..plan });
    let connection = &mut session.connection;
    let interrupt = connection.interrupt();
    let found = plan.and_then(|plan| store.offer(plan, interrupt, &mut || wait_frame(connection)));
    let record = |path: String| session.record(Direction::Upload, path, put.size);
    match found {
        Ok(Offered::Upload(upload)) => {
            let record = record(upload.plan.path.to_string());
            let (offset, digest) = upload.offer();
            let offer = Offer { transfer: record.id, offset, digest };
            session.offered = Some((*upload, Record { offset, ..record }));
            session.connection.send_reply(&Reply::Offer(offer))
        }
        Ok(Offered::Answer(answer)) => {
            let reply = conclude(session, record(answer.path.to_string()), Ok(answer));
            session.connection.send_reply(&reply)
        }
        Err(error) => Err(session.refuse(Direction::Upload, &put.path, error)),
    }
}

/// A PUT whose bytes follow at once.
fn take_at_once(session: &mut Session<'_>, put: &Put) -> Result<()> {
    if !session.group.folders.is_empty() {
        session.settle()?;
    }
    let store = &session.shared.store;
    let mut record = session.record(Direction::Upload, crate::escape::harmless(&put.path), put.size);
    let publisher = Some(session.live.peer.ip().to_string());
    let plan = check(session, put).and_then(|()| store.plan(put));
    match plan.and_then(|plan| store.begin_small(Plan { publisher, ..plan })) {
        Ok(upload) => take(session, upload, record),
        Err(error) => {
            session.asked("PUT", &put.path).log(&error);
            record.size = None;
            refuse_and_discard(session, record, error)
        }
    }
}

/// Receives the bytes of an upload and what ends them.
fn take(session: &mut Session<'_>, mut upload: Upload, mut record: Record) -> Result<()> {
    session.connection.restart_pace();
    if upload.plan.size.is_none() {
        session.connection.expect_a_stream();
    }
    let held = upload.length();
    record.offset = held;
    let expected = upload.plan.size.map(|size| size.saturating_sub(held));
    let limit = upload.plan.size.unwrap_or(u64::MAX).min(upload.plan.limit).saturating_sub(held);
    let progress = session.live.begin_transfer(Direction::Upload, expected);
    let hasher = upload.hasher();
    let expected = expected.unwrap_or(u64::MAX);
    let received = receive(&mut session.connection, &mut upload, hasher, expected, limit, &*progress);
    record.bytes = progress.moved();
    let result = match received {
        Ok(received) => conclude_bytes(session, upload, record, received),
        Err(error @ (Error::Network { .. } | Error::Timeout { .. } | Error::Violation(_))) => {
            let error = if upload.is_superseded() { superseded() } else { error };
            record.fail(session.shared, Status::of(&error), &error);
            Err(error)
        }
        Err(error) if error.code().ends_session() => {
            record.fail(session.shared, Status::Failed, &error);
            Err(error)
        }
        Err(error) => {
            let mut error = error;
            if error.code() == ErrorCode::Mismatch {
                upload.discard();
                if upload.plan.size.is_none() {
                    let limit = upload.plan.limit;
                    let why = format!("the server takes at most {limit} bytes here, and more came");
                    error = Error::refused(ErrorCode::TooLarge, why);
                }
            }
            drop(upload);
            refuse_and_discard(session, record, error)
        }
    };
    session.live.end_transfer();
    result
}

/// All bytes are there; the frame after them says what to do with them.
fn conclude_bytes(session: &mut Session<'_>, mut upload: Upload, record: Record, received: Received) -> Result<()> {
    let finished = match Request::decode(received.kind, &received.body) {
        Ok(Request::Finish(Finish { digest })) => {
            let of_bytes = received.digest();
            received.stored.and_then(|()| upload.finish(of_bytes, digest))
        }
        Ok(Request::Abandon(Abandon { keep })) => {
            use crate::transfer::Sink;
            if !keep || upload.take_back(received.last_frame).is_err() {
                upload.discard();
            }
            Err(Error::refused(ErrorCode::Abandoned, "the sender gave up"))
        }
        Ok(other) => Err(Violation::Unexpected(other.kind()).into()),
        Err(violation) => Err(violation.into()),
    };
    match finished {
        Ok(finished) => {
            let grouped = &session.shared.grouped;
            session.group.push(finished, record, grouped);
            if session.group.is_full(grouped) { session.settle() } else { Ok(()) }
        }
        Err(error) => {
            record.fail(session.shared, Status::of(&error), &error);
            Err(error)
        }
    }
}

/// Tells the client that its upload is refused while it may still be sending, and forgets what it sends.
fn refuse_and_discard(session: &mut Session<'_>, record: Record, error: Error) -> Result<()> {
    record.fail(session.shared, Status::Refused, &error);
    session.reply(&Reply::Error(error.to_fault()))?;
    session.connection.flush()?;
    match discard(&mut session.connection)? {
        (Kind::Finish | Kind::Abandon, _) => Ok(()),
        (kind, _) => Err(Violation::Unexpected(kind).into()),
    }
}

fn conclude(session: &Session<'_>, mut record: Record, answer: Result<Answer>) -> Reply {
    match answer {
        Ok(answer) => {
            record.path = answer.path.to_string();
            record.stored(session.shared, answer.number);
            Reply::Stored(Stored {
                transfer: record.id,
                path: RawBytes(answer.path.as_bytes().to_vec()),
                outcome: answer.outcome,
                number: answer.number,
            })
        }
        Err(error) => {
            record.fail(session.shared, Status::Failed, &error);
            Reply::Error(error.to_fault())
        }
    }
}

fn superseded() -> Error {
    Error::refused(ErrorCode::Superseded, "another connection took this upload over")
}
