//! Transfers that are kept one by one: those that took longest, and the latest. As many as were asked for, no more.

use super::entry::{Direction, Status, Transfer};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A transfer, out of its line.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    pub(super) ms: u64,
    pub(super) time: Timestamp,
    pub(super) id: String,
    pub(super) client: String,
    pub(super) via: String,
    /// Escaped, as it stands in the log.
    pub(super) path: String,
    pub(super) cause: String,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    is_upload: bool,
    status: Option<Status>,
}

/// The transfers that took longest.
#[derive(Debug)]
pub(super) struct Longest {
    limit: usize,
    /// The shortest of them on top. Of two that took the same, the later one is above.
    heap: BinaryHeap<Reverse<(u64, Reverse<u64>, Kept)>>,
    seen: u64,
}

/// The latest transfers.
#[derive(Debug)]
pub(super) struct Latest {
    limit: usize,
    ring: VecDeque<Kept>,
}

impl Kept {
    pub(super) fn direction(&self) -> Direction {
        if self.is_upload { Direction::Upload } else { Direction::Download }
    }

    pub(super) fn status(&self) -> Status {
        self.status.unwrap_or(Status::Failed)
    }

    /// Takes another transfer's place, and uses its memory again.
    fn assign(&mut self, transfer: &Transfer<'_>) {
        let texts = [
            (&mut self.id, &*transfer.id),
            (&mut self.client, transfer.client),
            (&mut self.via, &*transfer.via),
            (&mut self.path, &*transfer.path),
            (&mut self.cause, transfer.cause.as_deref().unwrap_or_default()),
        ];
        for (kept, text) in texts {
            kept.clear();
            kept.push_str(text);
        }
        (self.ms, self.time) = (transfer.ms, transfer.time);
        (self.size, self.offset, self.bytes) = (transfer.size, transfer.offset, transfer.bytes);
        (self.is_upload, self.status) = (transfer.direction == Direction::Upload, Some(transfer.status));
    }
}

impl Longest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new(), seen: 0 }
    }

    pub(super) fn offer(&mut self, transfer: &Transfer<'_>) {
        self.seen = self.seen.saturating_add(1);
        let mut kept = Kept::default();
        if self.heap.len() >= self.limit {
            match self.heap.peek() {
                Some(Reverse((shortest, ..))) if *shortest < transfer.ms => {}
                _ => return,
            }
            kept = self.heap.pop().map(|Reverse((.., kept))| kept).unwrap_or_default();
        }
        kept.assign(transfer);
        self.heap.push(Reverse((transfer.ms, Reverse(self.seen), kept)));
    }

    /// The longest first.
    pub(super) fn into_sorted(self) -> Vec<Kept> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse((.., kept))| kept).collect()
    }
}

impl Latest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ring: VecDeque::new() }
    }

    pub(super) fn push(&mut self, transfer: &Transfer<'_>) {
        let oldest = if self.ring.len() >= self.limit { self.ring.pop_front() } else { None };
        if self.limit > 0 {
            let mut kept = oldest.unwrap_or_default();
            kept.assign(transfer);
            self.ring.push_back(kept);
        }
    }

    /// The latest first.
    pub(super) fn into_sorted(self) -> Vec<Kept> {
        self.ring.into_iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entry, parse};
    use super::*;

    fn each(mut take: impl FnMut(&Transfer<'_>)) {
        for ms in [5, 9, 1, 9, 7] {
            let line = format!(
                "time=2026-11-20T14:03:21.48{ms}Z event=upload client=10.0.0.1:1 path=p{ms} size=1 offset=0 bytes=1 ms={ms} status=ok"
            );
            let Some(Entry::Transfer(transfer)) = parse(&line) else { panic!("{line}") };
            take(&transfer);
        }
    }

    #[test]
    fn the_longest_are_kept_in_order() {
        for (limit, expected) in [(0, vec![]), (2, vec![9, 9]), (3, vec![9, 9, 7]), (9, vec![9, 9, 7, 5, 1])] {
            let mut longest = Longest::new(limit);
            each(|transfer| longest.offer(transfer));
            assert_eq!(longest.into_sorted().iter().map(|kept| kept.ms).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_latest_are_kept_the_last_first() {
        for (limit, expected) in [(0, vec![]), (2, vec!["p7", "p9"]), (9, vec!["p7", "p9", "p1", "p9", "p5"])] {
            let mut latest = Latest::new(limit);
            each(|transfer| latest.push(transfer));
            assert_eq!(latest.into_sorted().iter().map(|kept| kept.path.as_str()).collect::<Vec<_>>(), expected);
        }
    }
}
