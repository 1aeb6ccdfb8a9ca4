//! What was counted, in the order in which it is told: sorted, and cut to the rows that were asked for.

use super::arguments::By;
use super::arrivals::Arrival;
use super::entry::Status;
use super::kept::Kept;
use super::read::Reading;
use super::tally::{Cause, Counts, Tally};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A report, ready to be printed.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) wanted: Option<By>,
    pub(super) reading: Reading,
    pub(super) all: Counts,
    pub(super) period: Option<(Timestamp, Timestamp)>,
    pub(super) clients: Top<(Box<str>, Counts)>,
    pub(super) paths: Top<(Box<str>, Counts)>,
    pub(super) hours: BTreeMap<i64, Counts>,
    pub(super) statuses: BTreeMap<Status, Counts>,
    pub(super) causes: Top<(Cause, Counts)>,
    pub(super) longest: Vec<Kept>,
    pub(super) latest: Vec<Kept>,
    pub(super) arrivals: Top<Arrival>,
}

/// The first of a number of rows.
#[derive(Debug)]
pub(super) struct Top<T> {
    pub(super) rows: Vec<T>,
    /// How many there are in all.
    pub(super) of: usize,
}

impl Rows {
    pub(super) fn new(tally: Tally, reading: Reading, wanted: Option<By>, rows: usize) -> Self {
        let causes = tally.causes().map(|(cause, counts)| (cause, counts.clone())).collect();
        let (arrivals, of) = tally.arrivals.into_sorted(rows);
        Self {
            wanted,
            reading,
            all: tally.all,
            period: tally.period,
            clients: Top::new(tally.clients.into_iter().collect(), rows, Counts::bytes),
            paths: Top::new(tally.paths.into_iter().collect(), rows, |counts| counts.wanted),
            hours: tally.hours,
            statuses: tally.statuses,
            causes: Top::new(causes, rows, Counts::transfers),
            longest: tally.longest.into_sorted(),
            latest: tally.latest.into_sorted(),
            arrivals: Top { rows: arrivals, of },
        }
    }
}

impl<K: Ord> Top<(K, Counts)> {
    /// Those with the most by `measure` first, then those with the most bytes, then by name.
    fn new<V: Ord>(mut all: Vec<(K, Counts)>, rows: usize, measure: impl Fn(&Counts) -> V) -> Self {
        let of = all.len();
        let rank = |counts: &Counts| Reverse((measure(counts), counts.bytes()));
        all.sort_unstable_by(|(key, counts), (other_key, other)| (rank(counts), key).cmp(&(rank(other), other_key)));
        all.truncate(rows);
        Self { rows: all, of }
    }
}
