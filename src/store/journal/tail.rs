//! The end of the journal: the segment that is being written, and how a batch of arrivals becomes durable in it.

use super::folder::{Failure, failed, nanoseconds, write_all, written};
use super::index::Segment;
use super::record::{SEGMENT_HEADER, SegmentHeader, encode_arrival};
use super::{Arrival, Journal, NewArrival};
use rustix::fs::{OFlags, fdatasync, ftruncate};
use rustix::io::Errno;
use std::fs::File;
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most arrivals of a segment, unless a single batch has more. A segment is the least that can be dropped.
const SEGMENT_ARRIVALS: u64 = 4096;
/// A segment that has reached this many bytes takes no more batches.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// A segment holds at most this part of what is kept, so that no more than this is kept beyond it.
const PARTS: u32 = 8;

/// Where the next record goes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// None if the next batch must begin a segment.
    pub(super) active: Option<Active>,
}

/// A segment that can be appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    /// Where its last good record ends.
    pub(super) end: u64,
    pub(super) arrivals: u64,
    /// The time of its first arrival.
    pub(super) since: Option<i64>,
}

/// A batch as it will be written: arrivals with their inodes and where each record ends, and the bytes of all.
struct Batch {
    arrivals: Vec<(Arrival, u64, u64)>,
    bytes: Vec<u8>,
}

impl Active {
    /// Appends bytes, durably. `None` in place of `self` if nothing must be appended to this file any more.
    fn append(mut self, bytes: &[u8]) -> (Option<Self>, Result<(), Failure>) {
        if let Err(error) = write_all(&self.file, bytes, self.end) {
            // A file that keeps a part of the batch at its end is left as it is: what is refused must not be followed.
            let is_cut = ftruncate(&self.file, self.end).is_ok();
            return (is_cut.then_some(self), Err(failed("write to")(error)));
        }
        if let Err(error) = fdatasync(&self.file) {
            // A failed flush is final: the kernel may have dropped the pages, so a second one that succeeds would prove nothing
            // (<https://wiki.postgresql.org/wiki/Fsync_Errors>). What was refused is taken away as well as can be.
            let _ = ftruncate(&self.file, self.end);
            return (None, Err(failed("flush")(error)));
        }
        self.end = self.end.saturating_add(bytes.len() as u64);
        (Some(self), Ok(()))
    }
}

impl Journal {
    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch; the number of its first arrival.
    pub(super) fn write(&self, batch: Vec<NewArrival>) -> Result<u64, Failure> {
        let mut tail = self.tail();
        let now = nanoseconds(SystemTime::now());
        // Only who holds the tail changes it.
        let first = self.index().last.saturating_add(1);
        first.checked_add(batch.len() as u64).ok_or(Errno::OVERFLOW).map_err(failed("number an arrival in"))?;
        if tail.active.as_ref().is_none_or(|active| self.is_full(active, batch.len() as u64, now)) {
            tail.active = None;
            tail.active = Some(self.begin_segment(first)?);
        }
        let Some(active) = tail.active.take() else { return Err(failed("write to")(Errno::BADF)) };
        let start = active.end;
        let batch = self.encode(batch, first, start)?;
        let count = batch.arrivals.len() as u64;
        let (active, result) = active.append(&batch.bytes);
        tail.active = active;
        result?;
        if let Some(active) = &mut tail.active {
            active.arrivals = active.arrivals.saturating_add(count);
            active.since.get_or_insert(now);
        }
        self.publish(batch, start);
        Ok(first)
    }

    fn is_full(&self, active: &Active, coming: u64, now: i64) -> bool {
        let arrivals = self.keep.arrivals.checked_div(u64::from(PARTS)).unwrap_or(0).clamp(1, SEGMENT_ARRIVALS);
        let age = self.keep.age.checked_div(PARTS).unwrap_or_default();
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let is_old = active.since.is_some_and(|since| now.saturating_sub(since) > age);
        (active.arrivals > 0 && active.arrivals.saturating_add(coming) > arrivals)
            || active.end >= SEGMENT_BYTES
            || is_old
    }

    fn encode(&self, batch: Vec<NewArrival>, first: u64, start: u64) -> Result<Batch, Failure> {
        let (mut bytes, mut arrivals) = (Vec::new(), Vec::with_capacity(batch.len()));
        for (new, number) in batch.into_iter().zip(first..) {
            let NewArrival { path, size, digest, modified, time, inode, live, publisher } = new;
            let arrival = Arrival { number, path, size, digest, modified, time, live, publisher };
            encode_arrival(self.origin.id, &arrival, inode, &mut bytes);
            arrivals.push((arrival, inode, start.saturating_add(bytes.len() as u64)));
        }
        let end = start.saturating_add(bytes.len() as u64);
        // What the index can address.
        u32::try_from(end).map_err(|_| failed("write to")(Errno::FBIG))?;
        Ok(Batch { arrivals, bytes })
    }

    /// Lets everybody see what is durable.
    fn publish(&self, batch: Batch, start: u64) {
        let mut index = self.index_mut();
        let mut offset = start;
        for (arrival, inode, end) in &batch.arrivals {
            index.add(arrival, *inode, offset, *end);
            offset = *end;
        }
        let last = index.last;
        drop(index);
        self.watermark.write(self.origin.id, last);
        self.removals().forget(batch.arrivals.iter().map(|(arrival, ..)| &arrival.path));
    }

    /// Makes a segment, durably. One of that number may be there if a flush of its first batch failed: nothing in it counts.
    pub(super) fn begin_segment(&self, first: u64) -> Result<Active, Failure> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = match self.folder.open_segment(first, flags) {
            Err(Errno::EXIST) => {
                self.folder.remove_segment(first).map_err(failed("remove a segment of"))?;
                self.folder.open_segment(first, flags)
            }
            result => result,
        };
        let file = file.map_err(failed("begin a segment of"))?;
        let made = written(&file).unwrap_or_else(|| nanoseconds(SystemTime::now()));
        let header = SegmentHeader { id: self.origin.id, first, made };
        let settle = || {
            write_all(&file, &header.encode(), 0)?;
            fdatasync(&file)?;
            self.folder.flush()
        };
        if let Err(error) = settle() {
            // Nothing is in it; if it stays, the next attempt removes it.
            let _ = self.folder.remove_segment(first);
            return Err(failed("begin a segment of")(error));
        }
        let mut index = self.index_mut();
        index.pop_empty(first);
        index.push(Segment::new(first, Some(made)));
        Ok(Active { file, end: SEGMENT_HEADER as u64, arrivals: 0, since: None })
    }
}
