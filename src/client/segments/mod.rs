//! One large file over several connections, in segments (PROTOCOL.md, section 7).
//!
//! Owns a file that is on its way in that manner: which segments are there, which are to be had, and how it ends. Whoever takes
//! the file from the queue leads ([`lead`]): asks for its version, begins the partial file, and gives the file its name in
//! the end. Workers that find nothing else to do help ([`help`]). Each takes the next segment that nobody has, so a slow
//! connection holds up no more than its own; what a broken one had goes back, less the bytes that came.
//!
//! A segment's bytes are written to their place and hashed in passing. The hashes of all segments merge into the digest of the
//! whole, which must be the announced one before the file gets its name.
//!
//! # What a kill or a power cut leaves
//!
//! The bytes of the partial file come in no order, so its length says nothing, and its name says that it does not
//! ([`Growth::Segmented`]). Behind the place of its last byte is a record for each segment: the segment's hash, written after
//! its bytes. A record is a claim, not a fact. A later attempt hashes the bytes again, and only a segment that has the hash that
//! is noted for it counts as there. So a kill between the bytes and the record, a torn record, and bytes that a power cut
//! took although their record survived all come to the same: that segment is fetched again. What a segment had when it
//! was broken off is used within the run only.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod crew;
mod file;
mod member;

use super::cancel::hash_unless_stopped;
use super::folder::{Folder, Growth, Placed};
use super::job::Job;
use super::line::Line;
use super::options::{Options, Segmenting, Strategy};
use super::session::Session;
use super::terminal::progress::Transfer;
use crate::error::{Error, Result};
use crate::staged::Staged;
use crate::transfer::{Node, Segments, read_exactly};
use crate::wire::{
    ErrorCode, FileHeader, Get, OnConflict, Receipt, ReceiptOutcome, RemotePath, Request, TransferId, Version,
    Violation,
};
pub(super) use crew::{Awaited, Crew};
use file::{Segmented, record};
use member::Member;
use std::sync::Arc;
use std::time::Duration;

/// From this size on a file is fetched in segments, where the server is far: below, the first connection is done before the
/// others have found their speed.
const LARGE: u64 = 64 * 1024 * 1024;
/// From this round trip on a server is far. One connection moves at most a window a round trip (3 MiB with what Linux allows
/// by default), and after a loss it is slow for hundreds of round trips: with one packet lost in 100,000 and 5 ms it
/// averages about 100 MB/s (M. Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997).
/// Nearer than that one connection fills the line, and on one machine several only take the processor from each other.
const FAR: Duration = Duration::from_millis(5);

/// Decides from which size on files are fetched in segments; `None`: none are. May ask the server how far it is.
pub(super) fn threshold(options: &Options, session: &mut Session, largest: u64) -> Option<u64> {
    let is_possible = options.strategy == Strategy::Auto && options.jobs > 1;
    match options.segments {
        _ if !is_possible => None,
        Segmenting::Never => None,
        Segmenting::Always => Some(0),
        Segmenting::Auto => (largest >= LARGE && session.is_far(FAR)).then_some(LARGE),
    }
}

/// What came of a file.
#[derive(Debug)]
pub(super) enum Fetched {
    /// It is verified, and has its name or needs none; so many bytes were there before.
    Placed(Placed, TransferId, u64),
    /// To be begun anew, with this size: it changed, or what was there is of no use.
    Again(u64, Error),
}

/// Fetches a file in segments, with the help of the crew if there is one.
pub(super) fn lead(
    line: &mut Line<'_, Job>,
    folder: &Folder,
    crew: Option<&Crew>,
    job: &Job,
    policy: OnConflict,
    shown: &Arc<Transfer>,
) -> Result<Fetched> {
    let Some(segments) = Segments::of(job.size) else { return Ok(Fetched::Again(job.size, changed())) };
    let kept = Kept::find(line, folder, job, segments);
    let held = kept.as_ref().map_or(0, |kept| kept.bytes(segments));
    shown.restart_from(held);
    let result = match about(line, &job.path, kept.as_ref().map(|kept| &kept.version)) {
        Ok(header) if header.size != job.size => {
            kept.into_iter().for_each(|kept| folder.leave(kept.staged));
            return Ok(Fetched::Again(header.size, changed()));
        }
        Ok(header) => {
            let Kept { staged, nodes, .. } = kept.map_or_else(|| Kept::begin(folder, job, &header), Ok)?;
            let file = Arc::new(Segmented::new(job, segments, header.version, staged, nodes, shown));
            fetch(line, folder, crew, job, policy, &file)
        }
        Err(error) => {
            kept.into_iter().for_each(|kept| kept.give_up(folder, &error));
            Err(error)
        }
    };
    match result {
        Ok((placed, transfer)) => Ok(Fetched::Placed(placed, transfer, held)),
        Err(error) if error.code() == ErrorCode::Changed => Ok(Fetched::Again(job.size, error)),
        // What an earlier attempt left may be at fault; a whole new copy is not.
        Err(error) if error.code() == ErrorCode::Mismatch && held > 0 => Ok(Fetched::Again(job.size, error)),
        Err(error) => Err(error),
    }
}

fn fetch(
    line: &mut Line<'_, Job>,
    folder: &Folder,
    crew: Option<&Crew>,
    job: &Job,
    policy: OnConflict,
    file: &Arc<Segmented>,
) -> Result<(Placed, TransferId)> {
    let member = Member::new(line, file);
    crew.iter().for_each(|crew| crew.open(file));
    let done = member.run();
    // Without this connection, the others may still bring it.
    file.wait_for_end();
    crew.iter().for_each(|crew| crew.close(file));
    let placed = file.conclude(folder, job, policy);
    send_receipts(line, &done.transfers, file.give_verdict(&placed));
    placed
}

/// Helps with a file until it is done; `false` if this worker cannot be of help any more.
pub(super) fn help(line: &mut Line<'_, Job>, file: &Segmented) -> bool {
    let done = Member::new(line, file).run();
    if done.left {
        return false;
    }
    send_receipts(line, &done.transfers, file.wait_for_verdict());
    true
}

/// Bytes that a partial file claims to hold, for people: nobody relies on it.
pub(super) fn claimed_bytes(staged: &Staged, size: u64) -> u64 {
    let Some(segments) = Segments::of(size) else { return 0 };
    let claimed = (0..segments.count()).filter(|index| claim(staged, segments, *index).is_some());
    claimed.fold(0, |sum, index| segments.part(index).1.saturating_add(sum))
}

/// What an earlier attempt left, with the segments that are there.
struct Kept {
    staged: Staged,
    version: Version,
    nodes: Vec<Option<Node>>,
}

impl Kept {
    /// What is left of an earlier attempt. Hashed before the file is asked for: a server does not wait for it.
    fn find(line: &Line<'_, Job>, folder: &Folder, job: &Job, segments: Segments) -> Option<Self> {
        let partial = folder.partial(job.place(), Growth::Segmented).ok().flatten()?;
        let stop = || line.is_cancelled();
        let there = |index| {
            let claim = claim(&partial.staged, segments, index)?;
            let (offset, length) = segments.part(index);
            let mut hasher = segments.hasher(index);
            let end = offset.saturating_add(length);
            let read = hash_unless_stopped(&mut hasher, partial.staged.file(), offset, end, &stop);
            Node::of(&hasher).filter(|node| read.unwrap_or(false) && *node == claim)
        };
        let nodes = (0..segments.count()).map(there).collect();
        Some(Self { staged: partial.staged, version: partial.version, nodes })
    }

    /// Nothing yet.
    fn begin(folder: &Folder, job: &Job, header: &FileHeader) -> Result<Self> {
        let staged = folder.begin(job.place(), header, Growth::Segmented)?;
        Ok(Self { staged, version: header.version.clone(), nodes: Vec::new() })
    }

    /// Leaves it for a later attempt, unless it is of another version than the server has.
    fn give_up(mut self, folder: &Folder, error: &Error) {
        if error.code() == ErrorCode::Changed {
            self.staged.discard();
        } else {
            folder.leave(self.staged);
        }
    }

    fn bytes(&self, segments: Segments) -> u64 {
        let there = self.nodes.iter().enumerate().filter(|(_, node)| node.is_some());
        there.fold(0, |sum, (index, _)| segments.part(index).1.saturating_add(sum))
    }
}

/// The record of a segment, if one was written.
fn claim(staged: &Staged, segments: Segments, index: usize) -> Option<Node> {
    let bytes = read_exactly(staged.file(), record(segments, index), Node::LENGTH).ok()?;
    let bytes: [u8; Node::LENGTH] = bytes.try_into().ok()?;
    (bytes != [0; Node::LENGTH]).then(|| Node::claimed(bytes))
}

/// Asks about a file, without its bytes and digest.
fn about(line: &mut Line<'_, Job>, path: &RemotePath, version: Option<&Version>) -> Result<FileHeader> {
    let session = line.session()?;
    session.request(&Request::Get(Get { version: version.cloned(), digest: Some(false), ..get(path, 0, 0) }))?;
    session.flush()?;
    let header = session.file_header()?;
    if version.is_some_and(|version| *version != header.version) {
        return Err(Violation::Contradiction("FILE of another version than was asked for").into());
    }
    session.no_body(&header)?;
    Ok(header)
}

fn get(path: &RemotePath, offset: u64, length: u64) -> Get {
    Get { offset, length: Some(length), ..Get::whole(path.as_bytes()) }
}

fn changed() -> Error {
    Error::refused(ErrorCode::Changed, "the file changed again and again")
}

fn send_receipts(line: &mut Line<'_, Job>, transfers: &[TransferId], outcome: ReceiptOutcome) {
    let Some(session) = line.open_session() else { return };
    let mut receipts = transfers.iter().map(|transfer| Request::Receipt(Receipt::new(*transfer, outcome)));
    // A receipt that cannot be sent is one that the server does without; the next request finds the line broken.
    let _ = receipts.try_for_each(|receipt| session.request(&receipt)).and_then(|()| session.flush());
}
