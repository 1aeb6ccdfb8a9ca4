//! What is known in memory of the arrivals on disk: where each is, which file it was, and of which upload.
//!
//! Eight bytes an arrival for its place, and about twenty-five for its identity; for uploads a fixed number.

use super::Arrival;
use super::record::SEGMENT_HEADER;
use crate::wire::{LiveId, RemotePath};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

/// Uploads that are remembered.
const LIVES: usize = 4096;

/// The arrivals of all segments.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: VecDeque<Segment>,
    /// Number of the newest durable arrival, also if it is lost or trimmed.
    pub(super) last: u64,
    /// Arrivals that can be read.
    pub(super) arrivals: u64,
    identities: HashMap<u64, u64>,
    hasher: RandomState,
    lives: Lives,
}

/// The arrivals of a segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// No arrival in it has a lower number.
    pub(super) first: u64,
    /// When it was made, if that is known: nanoseconds since the epoch.
    pub(super) made: Option<i64>,
    /// In the order of their numbers.
    entries: Vec<Entry>,
    /// Where the last record ends.
    pub(super) end: u64,
    /// The time of the first arrival in it.
    pub(super) oldest: Option<i64>,
    /// The latest time of an arrival in it.
    pub(super) newest: i64,
}

/// Where an arrival is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Its number less the first of the segment.
    number: u32,
    offset: u32,
}

/// Consecutive arrivals in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Names the segment.
    pub(super) segment: u64,
    /// Number of the first of them.
    pub(super) number: u64,
    /// Where the record of each begins.
    pub(super) offsets: Vec<u64>,
    /// Where the last of them ends, at most.
    pub(super) end: u64,
}

/// What comes after a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Run(Run),
    /// The first that is known comes later; or none is, and this is one after the last.
    Hole {
        next: u64,
    },
    End,
}

impl Segment {
    pub(super) fn new(first: u64, made: Option<i64>) -> Self {
        Self { first, made, end: SEGMENT_HEADER as u64, newest: i64::MIN, ..Self::default() }
    }

    /// Adds an arrival; `false` if it cannot be one of this segment, whatever its record says.
    pub(super) fn add(&mut self, number: u64, time: i64, offset: u64) -> bool {
        let relative = number.checked_sub(self.first).and_then(|relative| u32::try_from(relative).ok());
        let (Some(relative), Ok(offset)) = (relative, u32::try_from(offset)) else { return false };
        if self.entries.last().is_some_and(|last| last.number >= relative) {
            return false;
        }
        self.entries.push(Entry { number: relative, offset });
        self.newest = self.newest.max(time);
        self.oldest.get_or_insert(time);
        true
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The numbers of its arrivals, ascending.
    fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.entries.iter().map(|entry| self.first.saturating_add(u64::from(entry.number)))
    }

    /// Where their records begin.
    #[cfg(test)]
    pub(super) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| u64::from(entry.offset))
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.numbers().next_back()
    }

    /// The arrivals from the first one after `after` on, without a hole, at most `most`.
    fn run(&self, after: u64, most: usize) -> Option<Run> {
        let number_of = |entry: &Entry| self.first.saturating_add(u64::from(entry.number));
        let start = self.entries.partition_point(|entry| number_of(entry) <= after);
        let rest = self.entries.get(start..)?;
        let number = number_of(rest.first()?);
        let is_next = |(entry, expected): &(&Entry, u64)| number_of(entry) == *expected;
        let offsets: Vec<u64> = rest
            .iter()
            .zip(number..)
            .take(most)
            .take_while(is_next)
            .map(|(entry, _)| u64::from(entry.offset))
            .collect();
        let end = rest.get(offsets.len()).map_or(self.end, |entry| u64::from(entry.offset));
        Some(Run { segment: self.first, number, offsets, end })
    }
}

impl Index {
    /// Adds an empty segment, newer than all others.
    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    /// Adds a segment, older than all others.
    pub(super) fn push_older(&mut self, segment: Segment) {
        self.arrivals = self.arrivals.saturating_add(segment.len() as u64);
        let last = segment.last().unwrap_or_else(|| segment.first.saturating_sub(1));
        self.last = self.last.max(last);
        self.segments.push_front(segment);
    }

    /// Removes the newest segment if it begins with `first` and there is no arrival in it.
    pub(super) fn pop_empty(&mut self, first: u64) {
        if self.segments.back().is_some_and(|segment| segment.first == first && segment.len() == 0) {
            self.segments.pop_back();
        }
    }

    /// Adds an arrival to the newest segment; its record ends at `end`.
    pub(super) fn add(&mut self, arrival: &Arrival, inode: u64, offset: u64, end: u64) {
        let Some(segment) = self.segments.back_mut() else { return };
        if segment.add(arrival.number, arrival.time, offset) {
            segment.end = end;
            self.last = arrival.number;
            self.arrivals = self.arrivals.saturating_add(1);
            self.note(arrival, inode);
        }
    }

    /// Remembers which file and which upload an arrival was.
    pub(super) fn note(&mut self, arrival: &Arrival, inode: u64) {
        let identity = self.identity(&arrival.path, inode, arrival.size, arrival.modified);
        self.identities.insert(identity, arrival.number);
        if let Some(live) = arrival.live {
            self.lives.add(live, arrival.number);
        }
    }

    /// The same for an arrival that is older than those that were noted before.
    pub(super) fn note_older(&mut self, arrival: &Arrival, inode: u64) {
        let identity = self.identity(&arrival.path, inode, arrival.size, arrival.modified);
        let known = self.identities.entry(identity).or_insert(arrival.number);
        *known = arrival.number.max(*known);
        if let Some(live) = arrival.live {
            self.lives.add(live, arrival.number);
        }
    }

    pub(super) fn holds(&self, path: &RemotePath, inode: u64, size: u64, modified: i64) -> Option<u64> {
        self.identities.get(&self.identity(path, inode, size, modified)).copied()
    }

    /// 64 bits, with a key of this process: nobody can find two files that collide.
    fn identity(&self, path: &RemotePath, inode: u64, size: u64, modified: i64) -> u64 {
        self.hasher.hash_one((path, inode, size, modified))
    }

    pub(super) fn find_live(&self, live: LiveId) -> Option<u64> {
        self.lives.numbers.get(&live).copied().filter(|number| *number >= self.oldest())
    }

    /// Number of the oldest arrival that is known, or of the next one to come.
    pub(super) fn oldest(&self) -> u64 {
        self.segments.iter().find_map(|segment| segment.numbers().next()).unwrap_or_else(|| self.last.saturating_add(1))
    }

    pub(super) fn next(&self, after: u64, most: usize) -> Next {
        if after >= self.last {
            return Next::End;
        }
        // Numbers ascend from segment to segment, so those before this one have none that is higher than `after`.
        let start = self.segments.partition_point(|segment| segment.first <= after.saturating_add(1)).saturating_sub(1);
        let found = self.segments.iter().skip(start).find_map(|segment| segment.run(after, most));
        match found {
            Some(run) if run.number == after.saturating_add(1) => Next::Run(run),
            Some(run) => Next::Hole { next: run.number },
            None => Next::Hole { next: self.last.saturating_add(1) },
        }
    }

    /// Numbers that are missing between the first segment's, or `from` if that is lower, and the last one.
    pub(super) fn holes(&self, from: u64) -> Vec<RangeInclusive<u64>> {
        let mut holes = Vec::new();
        let end = self.last.saturating_add(1);
        let mut expected = self.segments.front().map_or(end, |segment| segment.first).min(from);
        for number in self.segments.iter().flat_map(Segment::numbers).chain([end]) {
            if number > expected {
                holes.push(expected..=number.saturating_sub(1));
            }
            expected = number.saturating_add(1);
        }
        holes
    }

    pub(super) fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// Forgets the oldest segment.
    pub(super) fn forget_oldest(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.arrivals = self.arrivals.saturating_sub(segment.len() as u64);
        Some(segment)
    }

    /// Forgets the identities of what is not known any more.
    pub(super) fn forget_identities(&mut self) {
        let oldest = self.oldest();
        self.identities.retain(|_, number| *number >= oldest);
        self.identities.shrink_to(self.identities.len().saturating_mul(2));
    }
}

/// The numbers of recent uploads: of each its newest.
#[derive(Debug, Default)]
struct Lives {
    numbers: HashMap<LiveId, u64>,
    by_number: BTreeMap<u64, LiveId>,
}

impl Lives {
    fn add(&mut self, live: LiveId, number: u64) {
        let is_full = self.by_number.len() >= LIVES;
        let is_old = is_full && self.by_number.first_key_value().is_some_and(|(oldest, _)| *oldest > number);
        if is_old || self.numbers.get(&live).is_some_and(|known| *known >= number) {
            return;
        }
        if let Some(known) = self.numbers.insert(live, number) {
            self.by_number.remove(&known);
        }
        self.by_number.insert(number, live);
        if self.by_number.len() > LIVES
            && let Some((_, oldest)) = self.by_number.pop_first()
        {
            self.numbers.remove(&oldest);
        }
    }
}
