//! What is counted: for all transfers, and by client, path, hour, status and cause.
//!
//! Owns the sums. Memory grows with the keys that are different, and with the rows that are asked for, never with lines.

use super::arguments::By;
use super::arrivals::Arrivals;
use super::entry::{Direction, Entry, Status, Transfer};
use super::filter::Filter;
use super::kept::{Latest, Longest};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// What a group of transfers comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) downloads: u64,
    pub(super) uploads: u64,
    /// Those of both that ended neither `ok` nor `sent`.
    pub(super) failed: u64,
    /// Downloads from the beginning of the file: resuming it, and its further segments, are not wanting it again.
    pub(super) wanted: u64,
    /// Bytes that were moved, also of transfers that failed.
    pub(super) bytes_down: u64,
    pub(super) bytes_up: u64,
    /// When the latest ended.
    pub(super) last: Timestamp,
}

/// The transfers that were refused, or that something kept from being done, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Cause {
    pub(super) status: Status,
    pub(super) cause: Box<str>,
}

/// Everything that a report says.
#[derive(Debug)]
pub(super) struct Tally {
    filter: Filter,
    wanted: Option<By>,
    pub(super) all: Counts,
    /// When the first and the last transfer ended.
    pub(super) period: Option<(Timestamp, Timestamp)>,
    pub(super) clients: HashMap<Box<str>, Counts>,
    pub(super) paths: HashMap<Box<str>, Counts>,
    /// By the start of the hour, in seconds since 1970.
    pub(super) hours: BTreeMap<i64, Counts>,
    pub(super) statuses: BTreeMap<Status, Counts>,
    causes: HashMap<Status, HashMap<Box<str>, Counts>>,
    pub(super) longest: Longest,
    pub(super) latest: Latest,
    pub(super) arrivals: Arrivals,
}

/// Seconds.
pub(super) const HOUR: i64 = 3600;

impl Counts {
    pub(super) const NONE: Self = Self {
        downloads: 0,
        uploads: 0,
        failed: 0,
        wanted: 0,
        bytes_down: 0,
        bytes_up: 0,
        last: Timestamp::UNIX_EPOCH,
    };

    pub(super) fn transfers(&self) -> u64 {
        self.downloads.saturating_add(self.uploads)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes_down.saturating_add(self.bytes_up)
    }

    fn add(&mut self, transfer: &Transfer<'_>) {
        let increase = |count: &mut u64, by: u64| *count = count.saturating_add(by);
        match transfer.direction {
            Direction::Download => {
                increase(&mut self.downloads, 1);
                increase(&mut self.wanted, u64::from(transfer.offset == 0));
                increase(&mut self.bytes_down, transfer.bytes);
            }
            Direction::Upload => {
                increase(&mut self.uploads, 1);
                increase(&mut self.bytes_up, transfer.bytes);
            }
        }
        increase(&mut self.failed, u64::from(!transfer.status.is_good()));
        self.last = self.last.max(transfer.time);
    }

    /// Adds what another group comes to.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, by) in [
            (&mut self.downloads, other.downloads),
            (&mut self.uploads, other.uploads),
            (&mut self.failed, other.failed),
            (&mut self.wanted, other.wanted),
            (&mut self.bytes_down, other.bytes_down),
            (&mut self.bytes_up, other.bytes_up),
        ] {
            *count = count.saturating_add(by);
        }
        self.last = self.last.max(other.last);
    }
}

impl Tally {
    /// Nothing yet. Counts what `filter` admits; only what the one table needs if only that is `wanted`; keeps `rows` of
    /// what is kept one by one.
    pub(super) fn new(filter: Filter, wanted: Option<By>, rows: usize) -> Self {
        let listed = if wanted.is_none() { rows } else { 0 };
        Self {
            filter,
            wanted,
            all: Counts::default(),
            period: None,
            clients: HashMap::new(),
            paths: HashMap::new(),
            hours: BTreeMap::new(),
            statuses: BTreeMap::new(),
            causes: HashMap::new(),
            longest: Longest::new(listed),
            latest: Latest::new(listed),
            arrivals: Arrivals::new(listed),
        }
    }

    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Transfer(transfer) if self.filter.admits(transfer.client, &transfer.path) => self.count(transfer),
            Entry::Received(received) if self.filter.admits_client(received.client) => {
                let is_asked_for = |path: &str| self.filter.admits_path(path);
                self.arrivals.received(received, is_asked_for);
            }
            _ => {}
        }
    }

    /// The causes, with what they kept from being done.
    pub(super) fn causes(&self) -> impl Iterator<Item = (Cause, &Counts)> {
        let all = self.causes.iter().flat_map(|(status, causes)| causes.iter().map(move |it| (*status, it)));
        all.map(|(status, (cause, counts))| (Cause { status, cause: cause.clone() }, counts))
    }

    fn count(&mut self, transfer: &Transfer<'_>) {
        self.all.add(transfer);
        let (first, last) = self.period.unwrap_or((transfer.time, transfer.time));
        self.period = Some((first.min(transfer.time), last.max(transfer.time)));
        if self.wants(By::Client) {
            count_in(&mut self.clients, transfer.client, transfer);
        }
        if self.wants(By::Path) {
            count_in(&mut self.paths, &transfer.path, transfer);
        }
        if self.wants(By::Hour) {
            let second = transfer.time.as_second();
            let hour = second.saturating_sub(second.rem_euclid(HOUR));
            self.hours.entry(hour).or_default().add(transfer);
        }
        if self.wants(By::Status) {
            self.statuses.entry(transfer.status).or_default().add(transfer);
            if !transfer.status.is_good() {
                let cause = transfer.cause.as_deref().unwrap_or_default();
                count_in(self.causes.entry(transfer.status).or_default(), cause, transfer);
            }
        }
        self.longest.offer(transfer);
        self.latest.push(transfer);
        self.arrivals.uploaded(transfer);
    }

    pub(super) fn wants(&self, by: By) -> bool {
        self.wanted.is_none_or(|wanted| wanted == by)
    }
}

/// Looked up first: most keys are there already, and then nothing is allocated.
fn count_in(map: &mut HashMap<Box<str>, Counts>, key: &str, transfer: &Transfer<'_>) {
    if let Some(counts) = map.get_mut(key) {
        return counts.add(transfer);
    }
    let mut counts = Counts::default();
    counts.add(transfer);
    map.insert(key.into(), counts);
}
