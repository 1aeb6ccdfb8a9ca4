//! Opening a journal: what is on disk, whatever its bytes are, becomes an index; and what was found is told.

use super::folder::{Failure, Folder, Origin, Watermark, failed, new_origin};
use super::index::{Index, Segment};
use super::record::{Kind, NoHeader, SEGMENT_HEADER, SegmentHeader, decode_arrival};
use super::removals::Removals;
use super::scan::{Scanned, read_at, scan};
use super::tail::{Active, Tail};
use super::{Journal, Keep, Opened};
use crate::error::{Error, Result};
use crate::wire::JournalId;
use rustix::fs::{OFlags, fdatasync, ftruncate};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, RwLock};

/// A segment that is there.
struct Found {
    /// From its name.
    first: u64,
    header: std::result::Result<SegmentHeader, NoHeader>,
}

/// Reads segments from the newest to the oldest, because the first number of one bounds those of the one before.
struct Loader {
    id: JournalId,
    index: Index,
    removals: Removals,
    opened: Opened,
    /// Every number of an older segment is below this.
    limit: u64,
    active: Option<Active>,
    /// The lowest number of a segment that was lost as a whole.
    lost_from: u64,
}

pub(super) fn open(state: BorrowedFd<'_>, keep: Keep) -> Result<(Journal, Opened)> {
    let folder = Folder::open(state)?;
    let found = find_segments(&folder)?;
    let mut opened = Opened::default();
    let origin = find_origin(&folder, &found, &mut opened)?;
    let removals = Removals::open(&folder, origin.id)?;
    let watermark = folder.watermark()?;
    let (index, active) = (Index::default(), None);
    let mut loader = Loader { id: origin.id, index, removals, opened, limit: u64::MAX, active, lost_from: u64::MAX };
    for segment in found.into_iter().rev() {
        loader.load(segment, &folder)?;
    }
    let Loader { index, removals, opened, active, lost_from, .. } = loader;
    finish(Parts { folder, origin, watermark, index, removals, active, lost_from }, opened, keep)
}

/// What an open journal is made of.
struct Parts {
    folder: Folder,
    origin: Origin,
    watermark: Watermark,
    index: Index,
    removals: Removals,
    active: Option<Active>,
    lost_from: u64,
}

fn finish(parts: Parts, mut opened: Opened, keep: Keep) -> Result<(Journal, Opened)> {
    let Parts { folder, origin, watermark, mut index, removals, active, lost_from } = parts;
    let acknowledged = watermark.read(origin.id)?.unwrap_or(0);
    index.last = index.last.max(acknowledged);
    opened.arrivals = index.arrivals;
    opened.segments = index.segments().len() as u64;
    opened.damaged = index.holes(lost_from);
    opened.removals = removals.len() as u64;
    let is_empty = index.segments().is_empty();
    let last = index.last;
    let journal = Journal {
        folder,
        origin,
        keep,
        watermark,
        queue: super::queue::Queue::default(),
        tail: Mutex::new(Tail { active }),
        index: RwLock::new(index),
        removals: Mutex::new(removals),
    };
    if is_empty {
        journal.tail().active = Some(journal.begin_segment(last.saturating_add(1))?);
    }
    Ok((journal, opened))
}

fn find_segments(folder: &Folder) -> std::result::Result<Vec<Found>, Failure> {
    let open = |first| {
        let file = folder.open_segment(first, OFlags::RDWR).map_err(failed("open a segment of"))?;
        let mut bytes = [0; SEGMENT_HEADER];
        let count = read_at(&file, &mut bytes, 0).map_err(failed("read"))?;
        let header = SegmentHeader::decode(bytes.get(..count).unwrap_or_default());
        // Not kept open: there may be more of them than descriptors.
        Ok(Found { first, header })
    };
    folder.segments()?.into_iter().map(open).collect()
}

/// What makes the journal this one: from its own file, or, if that is gone or damaged, from the newest segment.
fn find_origin(folder: &Folder, found: &[Found], opened: &mut Opened) -> Result<Origin> {
    if let Some(newer) = found.iter().find_map(|segment| match segment.header {
        Err(NoHeader::Newer(version)) => Some(version),
        _ => None,
    }) {
        let cause = std::io::Error::other(format!("a newer version made it (format {newer})"));
        return Err(Error::local("open", "the arrivals journal", cause));
    }
    if let Some(origin) = folder.read_origin()? {
        return Ok(origin);
    }
    let known = found.iter().rev().find_map(|segment| segment.header.ok()).map(|header| header.id);
    let mut origin = new_origin()?;
    match known {
        Some(id) => {
            origin.id = id;
            opened.is_restored = true;
        }
        None => opened.is_new = true,
    }
    folder.write_origin(&origin)?;
    Ok(origin)
}

impl Loader {
    fn load(&mut self, found: Found, folder: &Folder) -> std::result::Result<(), Failure> {
        let header = found.header.ok();
        if header.is_some_and(|header| header.id != self.id) {
            self.opened.foreign = self.opened.foreign.saturating_add(1);
            return Ok(());
        }
        let header = header.filter(|header| header.first == found.first);
        let file = folder.open_segment(found.first, OFlags::RDWR).map_err(failed("open a segment of"))?;
        let (segment, scanned) = self.scan(&file, found.first, header)?;
        if header.is_none() && segment.len() == 0 {
            // It was not made to its end, or nothing in it can be told from noise any more.
            self.opened.unusable = self.opened.unusable.saturating_add(1);
            self.opened.torn_bytes = self.opened.torn_bytes.saturating_add(scanned.torn);
            if scanned.torn > 0 {
                self.lost_from = found.first.min(self.lost_from);
            }
            return folder.remove_segment(found.first).map_err(failed("remove a segment of"));
        }
        self.opened.damaged_headers = self.opened.damaged_headers.saturating_add(u64::from(header.is_none()));
        let is_newest = self.index.segments().is_empty();
        if is_newest {
            self.settle(file, header, &segment, scanned)?;
        }
        let torn = if is_newest { &mut self.opened.torn_bytes } else { &mut self.opened.damaged_bytes };
        *torn = torn.saturating_add(scanned.torn);
        self.opened.damaged_bytes = self.opened.damaged_bytes.saturating_add(scanned.skipped);
        self.limit = found.first;
        self.index.push_older(segment);
        Ok(())
    }

    fn scan(
        &mut self,
        file: &File,
        first: u64,
        header: Option<SegmentHeader>,
    ) -> std::result::Result<(Segment, Scanned), Failure> {
        let mut segment = Segment::new(first, header.map(|header| header.made));
        let (index, removals, limit) = (&mut self.index, &mut self.removals, self.limit);
        let refused = &mut self.opened.refused;
        let mut take = |offset, payload: &[u8]| {
            let Some((arrival, inode)) = decode_arrival(payload) else { return false };
            if arrival.number >= limit {
                *refused = refused.saturating_add(1);
                return true;
            }
            let is_taken = segment.add(arrival.number, arrival.time, offset);
            if is_taken {
                index.note_older(&arrival, inode);
                removals.forget_before(&arrival.path, arrival.number);
            }
            is_taken
        };
        let scanned = scan(file, SEGMENT_HEADER as u64, self.id, Kind::Arrival, &mut take);
        let scanned = scanned.map_err(failed("read"))?;
        segment.end = scanned.end;
        Ok((segment, scanned))
    }

    /// What the newest segment holds was perhaps never flushed: its writer may have been killed before. It must be before
    /// anybody is shown it. Then it can be appended to, if its header is good.
    fn settle(
        &mut self,
        file: File,
        header: Option<SegmentHeader>,
        segment: &Segment,
        scanned: Scanned,
    ) -> std::result::Result<(), Failure> {
        if header.is_some() && scanned.torn > 0 {
            ftruncate(&file, scanned.end).map_err(failed("cut"))?;
        }
        fdatasync(&file).map_err(failed("flush"))?;
        let since = segment.oldest;
        let active = Active { file, end: scanned.end, arrivals: segment.len() as u64, since };
        self.active = header.map(|_| active);
        Ok(())
    }
}
