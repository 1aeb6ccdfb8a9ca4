//! The arrivals journal: what arrived, numbered, across restarts (PROTOCOL.md, section 16).
//!
//! Owns the folder `.hostdir/journal/`. Knows nothing of connections, nor of the files that arrive.
//!
//! # On disk
//!
//! ```text
//! journal/id                      64 bytes, written once: what makes this journal this one
//!         last                    32 bytes, written after each flush: the newest durable arrival
//!         00000000000000000001    segments, each named by the number of its first arrival;
//!         00000000000000004097      only the newest is written to
//!         removed, removed.old    why files are gone
//! ```
//!
//! Numbers are big-endian; a check is the first 8 bytes of a BLAKE3 of all that stands before it in the same box.
//!
//! ```text
//! id       0           8                24                        56        64
//!          +-----------+----------------+-------------------------+---------+
//!          | hostdirI  |   journal id   |         secret          |  check  |
//!          +-----------+----------------+-------------------------+---------+
//!
//! last     0                16        24        32
//!          +----------------+---------+---------+
//!          |   journal id   |  number |  check  |
//!          +----------------+---------+---------+
//!
//! segment  0           8         12               28        36        44        52
//!          +-----------+---------+----------------+---------+---------+---------+----------+----------+--
//!          | hostdirJ  | version |   journal id   |  first  |  made   |  check  |  record  |  record  | ...
//!          +-----------+---------+----------------+---------+---------+---------+----------+----------+--
//!
//! record   0         4         8         16                16 + length
//!          +---------+---------+---------+-----------------+   check: of journal id, marker, length and payload
//!          | marker  | length  |  check  |     payload     |   payload: a CBOR map with integer keys, at most 2,048 bytes
//!          +---------+---------+---------+-----------------+
//!
//! arrival  marker a7 41 52 d1   0 number, 1 path, 2 size, 3 digest, 4 modified, 5 time, 6 live?, 7 publisher?, 8 inode
//! removal  marker a7 52 4d d1   0 last arrival before it, 1 path, 2 seconds after which it expired?,
//!                             3 length of the folder's path?, 4 its quota?
//! ```
//!
//! # What is safe when
//!
//! An arrival counts when its record is in the newest segment and that file is flushed; only then is it in memory, where
//! readers look. Whoever appends does so when the file is durable under its name. So after a kill between the two, or
//! between write and flush, there are two cases, both harmless: the record is there, and is an arrival that nobody was told of
//! yet (it is flushed at the next start, before anybody is shown it); or it is not, and its number, which nobody has seen,
//! is given to another.
//!
//! * A write that fails is cut off again, and the segment goes on. Where that is not possible, and after a flush that
//!   failed, nothing is appended to that segment any more: the next batch begins another. So what stands in a segment with
//!   a number of the next one or above was refused, and is ignored.
//! * At the start every record is checked. What follows the last good one of the newest segment is cut off. What is
//!   damaged elsewhere is skipped: the next marker with a good record goes on. The numbers that are missing are told
//!   ([`Opened::damaged`]), and stay missing: who reads is told too ([`Span::Lost`]).
//! * A record that was torn and one that rotted look alike at the end. `last` tells them apart: numbers up to it were told
//!   to somebody, are reported as lost, and are not given again. It is not flushed, so after a power cut it may lag; then the
//!   records that it does not know were flushed a moment ago, and are good.
//! * Without `id`, the id is taken from a segment's header. Without a header, records are found all the same. Without either,
//!   a new journal begins: no record can be told from noise.
//!
//! Nothing that a peer chooses can be mistaken for a record by a search: after the marker comes the zero byte of a length. A
//! path has no zero bytes, and in text the last byte of the marker is never followed by one (RFC 3629).
//!
//! # What it costs
//!
//! A flush for all who append at the same time. In memory about 35 bytes an arrival. A segment is dropped as a whole, so up
//! to an eighth more than [`Keep`] says is there, or a batch. Removals have files of their own, because they would otherwise push
//! arrivals out, and need no flush.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod folder;
mod index;
mod open;
mod queue;
mod record;
mod removals;
mod scan;
mod tail;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::wire::{Digest, JournalId, LiveId, RemotePath};
use folder::{Failure, Folder, Origin, Watermark, failed, nanoseconds};
use index::{Index, Next, Run};
use queue::Queue;
use record::{Kind, MAX_RECORD, decode_arrival, payload};
use removals::Removals;
use rustix::fs::OFlags;
use rustix::io::Errno;
use scan::read_at;
use std::fmt;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};
use tail::Tail;

/// Bytes of records that are read at once, at most.
const READ: u64 = 1024 * 1024;
/// Arrivals that are read at once, at most.
const READ_ARRIVALS: usize = 4096;
/// How often a reader looks again whose segment was dropped meanwhile.
const LOOKS: usize = 8;
/// Ranges of lost numbers that stand in a log line.
const TOLD: usize = 16;

/// One arrival as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 1 on.
    pub number: u64,
    /// The name that the file has.
    pub path: RemotePath,
    /// Its size in bytes.
    pub size: u64,
    /// Of its content.
    pub digest: Digest,
    /// Modification time, nanoseconds since the epoch.
    pub modified: i64,
    /// When it arrived, nanoseconds since the epoch.
    pub time: i64,
    /// The upload that it was, if that had an id.
    pub live: Option<LiveId>,
    /// Who sent it, for people; at most 128 bytes.
    pub publisher: Option<String>,
}

/// What [`Journal::append`] takes.
#[derive(Debug, Clone)]
pub struct NewArrival {
    /// The name that the file has.
    pub path: RemotePath,
    /// Its size in bytes.
    pub size: u64,
    /// Of its content.
    pub digest: Digest,
    /// Modification time, nanoseconds since the epoch.
    pub modified: i64,
    /// When it arrived, nanoseconds since the epoch.
    pub time: i64,
    /// Of the file, for [`Journal::holds`].
    pub inode: u64,
    /// The upload that it was, if that had an id.
    pub live: Option<LiveId>,
    /// Who sent it, for people; cut to 128 bytes.
    pub publisher: Option<String>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Arrivals, at least one. Up to an eighth more may be there, or as many more as were appended at once.
    pub arrivals: u64,
    /// Time since they arrived.
    pub age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { arrivals: 100_000, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// Why a file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was older than files may get.
    Expired {
        /// How old they may get; whole seconds are kept.
        after: Duration,
    },
    /// The files of a folder had more bytes than they may have together.
    OverQuota {
        /// How many bytes at the start of the path name the folder; 0 for the host directory.
        folder: u64,
        /// How many bytes the files may have.
        quota: u64,
    },
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// Nothing was there, or nothing that could be used: numbers begin at 1.
    pub is_new: bool,
    /// The file with the id was gone or damaged, and the id was taken from a segment. The secret is another one.
    pub is_restored: bool,
    /// Arrivals that can be read.
    pub arrivals: u64,
    /// Segments that they are in.
    pub segments: u64,
    /// Removals that can be explained.
    pub removals: u64,
    /// Bytes at the end that were cut off, because they were no whole record.
    pub torn_bytes: u64,
    /// Bytes elsewhere that belong to no whole record.
    pub damaged_bytes: u64,
    /// Segments whose header is damaged; what is in them was found without it.
    pub damaged_headers: u64,
    /// Numbers of arrivals that are lost.
    pub damaged: Vec<RangeInclusive<u64>>,
    /// Records that are ignored: their batch was refused, and their numbers given again.
    pub refused: u64,
    /// Segments of another journal, which are left alone.
    pub foreign: u64,
    /// Segments without header and without a good record, which were removed.
    pub unusable: u64,
}

impl Opened {
    /// Whether nothing was torn, damaged or out of place.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let odd =
            [self.torn_bytes, self.damaged_bytes, self.damaged_headers, self.refused, self.foreign, self.unusable];
        odd.iter().all(|count| *count == 0) && self.damaged.is_empty() && !self.is_restored
    }
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Arrivals, ascending, without a hole; at least one.
    Arrivals(Vec<Arrival>),
    /// Arrivals that are not known any more.
    Lost {
        /// The last of them.
        up_to: u64,
        /// How many.
        missed: u64,
    },
    /// There is nothing after.
    End,
}

/// The journal, open.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    origin: Origin,
    keep: Keep,
    watermark: Watermark,
    queue: Queue,
    /// Locked before the index, by whoever changes that.
    tail: Mutex<Tail>,
    index: RwLock<Index>,
    removals: Mutex<Removals>,
}

impl Journal {
    /// Opens the journal in a state folder, making it if there is none.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if its files cannot be read or written, or are of a newer format. Damage is no error.
    pub fn open(state: BorrowedFd<'_>, keep: Keep) -> Result<(Self, Opened)> {
        open::open(state, keep)
    }

    /// Names it: numbers of two journals have nothing to do with each other.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.origin.id
    }

    /// Random bytes that were made with the journal and never leave this machine.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.origin.secret
    }

    /// Number of the oldest arrival that is known; of the next one to come if none is.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.index().oldest()
    }

    /// Number of the newest durable arrival, also if it is not known any more; 0 if there never was one.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.index().last
    }

    /// Appends arrivals. Their numbers, in order; they are durable. Callers on many threads share flushes.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`]: none of them is in the journal. It can be tried again.
    pub fn append(&self, new: Vec<NewArrival>) -> Result<Vec<u64>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.queue.submit(new, |batch| self.write(batch))?)
    }

    /// The arrivals after number `after`, from disk: some of them, at most `most`.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the disk cannot be read.
    pub fn read(&self, after: u64, most: usize) -> Result<Span> {
        let mut lost = Span::End;
        for _ in 0..LOOKS {
            let next = self.index().next(after, most.clamp(1, READ_ARRIVALS));
            let run = match next {
                Next::End => return Ok(Span::End),
                Next::Hole { next } => return Ok(lost_between(after, next)),
                Next::Run(run) => run,
            };
            match self.load(&run)? {
                Some(arrivals) if arrivals.is_empty() => return Ok(lost_between(after, run.number.saturating_add(1))),
                Some(arrivals) => return Ok(Span::Arrivals(arrivals)),
                // The segment is gone: by `trim`, and then the index knows; or else somebody has removed it.
                None => lost = lost_between(after, run.number.saturating_add(run.offsets.len() as u64)),
            }
        }
        Ok(lost)
    }

    /// Reads arrivals; as many as are undamaged. `None` if the file is gone.
    fn load(&self, run: &Run) -> std::result::Result<Option<Vec<Arrival>>, Failure> {
        let file = match self.folder.open_segment(run.segment, OFlags::RDONLY) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(failed("open a segment of"))?,
        };
        let start = run.offsets.first().copied().unwrap_or(run.end);
        let length = run.end.saturating_sub(start).min(READ).max(MAX_RECORD as u64);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(MAX_RECORD)];
        let count = read_at(&file, &mut bytes, start).map_err(failed("read"))?;
        bytes.truncate(count);
        let arrival = |(offset, number): (&u64, u64)| {
            let at = usize::try_from(offset.saturating_sub(start)).ok()?;
            let (arrival, _) = decode_arrival(payload(self.origin.id, Kind::Arrival, bytes.get(at..)?)?)?;
            (arrival.number == number).then_some(arrival)
        };
        Ok(Some(run.offsets.iter().zip(run.number..).map_while(arrival).collect()))
    }

    /// Number of the arrival of exactly this file, if it is known. The answer is from memory: by a hash of 64 bits.
    #[must_use]
    pub fn holds(&self, path: &RemotePath, inode: u64, size: u64, modified: i64) -> Option<u64> {
        self.index().holds(path, inode, size, modified)
    }

    /// Number of the arrival of this upload, if it is one of the last 4,096 that had a live id.
    #[must_use]
    pub fn find_live(&self, live: LiveId) -> Option<u64> {
        self.index().find_live(live)
    }

    /// The arrival of a number, if it is known.
    ///
    /// # Errors
    /// As for [`Journal::read`].
    pub fn find_number(&self, number: u64) -> Result<Option<Arrival>> {
        let Some(before) = number.checked_sub(1) else { return Ok(None) };
        match self.read(before, 1)? {
            Span::Arrivals(arrivals) => Ok(arrivals.into_iter().next().filter(|arrival| arrival.number == number)),
            Span::Lost { .. } | Span::End => Ok(None),
        }
    }

    /// Whether a file that was last changed then can be an arrival that never came into the journal, given that it does not
    /// [hold](Journal::holds) it.
    ///
    /// A server that is killed after it has named a file and before it has appended the arrival leaves one. Its sender
    /// comes back, perhaps much later and after other restarts, and the file is found to be there; before that is
    /// acknowledged, the arrival must be appended. `changed` is the change time of the file, which the rename sets and nobody
    /// can set back. Arrivals since the oldest segment was made are all known, so a file that changed after that and is not
    /// held was either lost, or came by other means than an upload, or was changed afterwards; to append it is right in the
    /// first case, allowed in the others (PROTOCOL.md, section 16), and happens once, for then it is held. What changed
    /// before the journal's very first segment was made cannot have been lost. What changed before the oldest segment of
    /// a journal that was trimmed would have been dropped by now.
    ///
    /// Both times come from the clock of the file system. If that is set back, a loss in this time is not seen. If it is set
    /// forward, too much is called lost. No allowance is made for either: where the journal was trimmed, all that arrived
    /// shortly before would arrive again at every start.
    #[must_use]
    pub fn may_have_lost(&self, changed: SystemTime) -> bool {
        let index = self.index();
        let Some(oldest) = index.segments().front() else { return true };
        let Some(made) = oldest.made else { return true };
        let changed = nanoseconds(changed);
        // In the moment in which it was made: of the first segment that is after, of others the end of the one that was dropped.
        if oldest.first == 1 { changed >= made } else { changed > made }
    }

    /// Notes why a file is gone. A kill does not lose it, a power cut may.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`]: it is known until the journal is closed.
    pub fn note_removed(&self, path: &RemotePath, reason: Removal) -> Result<()> {
        let after = self.last();
        Ok(self.removals().add(&self.folder, self.origin.id, path, reason, after)?)
    }

    /// Why a file is gone, if that was noted lately and nothing has arrived under its name since.
    #[must_use]
    pub fn why_removed(&self, path: &RemotePath) -> Option<Removal> {
        self.removals().find(path)
    }

    /// Drops the oldest segments, as long as enough is kept. Returns how many arrivals went.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if a segment cannot be removed; those before it are gone.
    pub fn trim(&self, now: SystemTime) -> Result<u64> {
        let mut tail = self.tail();
        let age = i64::try_from(self.keep.age.as_nanos()).unwrap_or(i64::MAX);
        let expired = nanoseconds(now).saturating_sub(age);
        let mut dropped: u64 = 0;
        while let Some(step) = self.next_trim(expired) {
            if step.is_newest {
                tail.active = None;
                tail.active = Some(self.begin_segment(step.next)?);
            }
            let mut index = self.index_mut();
            self.folder.remove_segment(step.segment).map_err(failed("remove a segment of"))?;
            index.forget_oldest();
            dropped = dropped.saturating_add(step.arrivals);
            drop(index);
            // One after the other, so that no power cut brings an old one back without those after it.
            self.folder.flush().map_err(failed("flush the folder of"))?;
        }
        if dropped > 0 {
            self.index_mut().forget_identities();
        }
        Ok(dropped)
    }

    fn next_trim(&self, expired: i64) -> Option<Trim> {
        let index = self.index();
        let oldest = index.segments().front()?;
        let (arrivals, is_newest) = (oldest.len() as u64, index.segments().len() == 1);
        let is_enough = index.arrivals.saturating_sub(arrivals) >= self.keep.arrivals.max(1);
        let is_dropped = (!is_newest && is_enough) || oldest.newest < expired;
        let is_dropped = if arrivals == 0 { !is_newest } else { is_dropped };
        let next = index.last.saturating_add(1);
        is_dropped.then_some(Trim { segment: oldest.first, arrivals, is_newest, next })
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn removals(&self) -> MutexGuard<'_, Removals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment that can be dropped.
struct Trim {
    segment: u64,
    arrivals: u64,
    is_newest: bool,
    /// Number of the next arrival.
    next: u64,
}

/// What is missing after `after` and before `next`.
fn lost_between(after: u64, next: u64) -> Span {
    let up_to = next.saturating_sub(1);
    Span::Lost { up_to, missed: up_to.saturating_sub(after) }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} arrivals in {} segments", self.arrivals, self.segments)?;
        let counts = [
            (self.torn_bytes, "bytes cut off at the end"),
            (self.damaged_bytes, "damaged bytes"),
            (self.damaged_headers, "damaged headers"),
            (self.refused, "records of refused batches"),
            (self.foreign, "segments of another journal"),
            (self.unusable, "unusable segments removed"),
        ];
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        for (position, range) in self.damaged.iter().take(TOLD).enumerate() {
            f.write_str(if position == 0 { ", lost: " } else { " " })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        match self.damaged.len().saturating_sub(TOLD) {
            0 => {}
            more => write!(f, " and {more} more ranges")?,
        }
        if self.is_restored {
            f.write_str(", the id was restored from a segment")?;
        }
        Ok(())
    }
}
