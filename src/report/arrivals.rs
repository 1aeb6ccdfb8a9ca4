//! Who received what was published: arrivals, joined with their receivers' words by their numbers.
//!
//! Owns a bounded memory: of more uploads than [`MOST`], or than rows were asked for, the oldest are forgotten.

use super::entry::{Received, Status, Transfer};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Uploads whose receivers are still waited for.
const MOST: usize = 10_000;

/// The latest arrivals.
#[derive(Debug)]
pub(super) struct Arrivals {
    limit: usize,
    /// In the order in which they came.
    all: BTreeMap<u64, Arrival>,
    by_number: HashMap<u64, u64>,
    next: u64,
}

/// Something that was published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) number: u64,
    /// Escaped, as it stands in the log.
    pub(super) path: String,
    /// When and by whom; `None` if that is not in the logs.
    pub(super) published: Option<Published>,
    pub(super) receivers: Vec<Receiver>,
}

/// How an arrival came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) time: Timestamp,
    pub(super) client: String,
    pub(super) size: u64,
    /// How many followed the folder then.
    pub(super) followers: u64,
}

/// Somebody who said what became of an arrival there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receiver {
    pub(super) subscriber: String,
    pub(super) client: String,
    pub(super) time: Timestamp,
    pub(super) status: Status,
    pub(super) cause: String,
}

impl Arrival {
    /// Those who have it.
    pub(super) fn verified(&self) -> usize {
        self.receivers.iter().filter(|receiver| receiver.status == Status::Ok).count()
    }

    /// Whether anybody was there to receive it, or did later.
    fn was_followed(&self) -> bool {
        !self.receivers.is_empty() || self.published.as_ref().is_some_and(|published| published.followers > 0)
    }
}

impl Arrivals {
    /// None yet; none ever if no row is asked for.
    pub(super) fn new(rows: usize) -> Self {
        let limit = if rows == 0 { 0 } else { rows.max(MOST) };
        Self { limit, all: BTreeMap::new(), by_number: HashMap::new(), next: 0 }
    }

    /// An upload that is an arrival.
    pub(super) fn uploaded(&mut self, transfer: &Transfer<'_>) {
        let Some(number) = transfer.arrival.filter(|_| self.limit > 0) else { return };
        let known = self.by_number.get(&number).and_then(|order| self.all.get_mut(order));
        let published = Published {
            time: transfer.time,
            client: transfer.client.to_owned(),
            size: transfer.size,
            followers: transfer.followers,
        };
        match known {
            // Sent again, and recognised.
            Some(known) if known.published.is_some() && known.path == *transfer.path => {}
            // A receiver was quicker than the line of the upload.
            Some(known) if known.published.is_none() => {
                known.published = Some(published);
                known.path = transfer.path.clone().into_owned();
            }
            // Numbers begin anew with a new journal.
            _ => {
                self.push(Arrival {
                    number,
                    path: transfer.path.clone().into_owned(),
                    published: Some(published),
                    ..Arrival::default()
                });
            }
        }
    }

    /// A receiver's word. On an arrival that is not known it counts if its path is known and asked for.
    pub(super) fn received(&mut self, received: &Received<'_>, is_asked_for: impl Fn(&str) -> bool) {
        if self.limit == 0 {
            return;
        }
        if !self.by_number.contains_key(&received.arrival) {
            let Some(path) = received.path.as_deref().filter(|path| is_asked_for(path)) else { return };
            self.push(Arrival { number: received.arrival, path: path.to_owned(), ..Arrival::default() });
        }
        let order = self.by_number.get(&received.arrival);
        let Some(arrival) = order.and_then(|order| self.all.get_mut(order)) else { return };
        let receiver = Receiver {
            subscriber: received.subscriber.clone().into_owned(),
            client: received.client.to_owned(),
            time: received.time,
            status: received.status,
            cause: received.cause.as_deref().unwrap_or_default().to_owned(),
        };
        match arrival.receivers.iter_mut().find(|known| known.subscriber == receiver.subscriber) {
            // Its last word counts: what failed once may have worked later.
            Some(known) => *known = receiver,
            None => arrival.receivers.push(receiver),
        }
    }

    /// The latest that anybody followed, the last first, and how many there are in all.
    pub(super) fn into_sorted(self, rows: usize) -> (Vec<Arrival>, usize) {
        let mut followed: Vec<Arrival> = self.all.into_values().rev().filter(Arrival::was_followed).collect();
        let count = followed.len();
        followed.truncate(rows);
        (followed, count)
    }

    fn push(&mut self, arrival: Arrival) {
        if self.all.len() >= self.limit
            && let Some((order, oldest)) = self.all.pop_first()
            && self.by_number.get(&oldest.number) == Some(&order)
        {
            self.by_number.remove(&oldest.number);
        }
        self.by_number.insert(arrival.number, self.next);
        self.all.insert(self.next, arrival);
        self.next = self.next.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entry, parse};
    use super::*;

    fn arrivals(lines: &[&str]) -> Vec<Arrival> {
        let mut arrivals = Arrivals::new(10);
        for line in lines {
            match parse(&format!("time=2026-11-20T14:03:21.482Z client=10.0.0.1:1 status=ok {line}")) {
                Some(Entry::Transfer(transfer)) => arrivals.uploaded(&transfer),
                Some(Entry::Received(received)) => arrivals.received(&received, |path| path != "unasked"),
                other => panic!("{line}: {other:?}"),
            }
        }
        arrivals.into_sorted(10).0
    }

    const UPLOAD: &str = "event=upload path=a size=3 offset=0 bytes=3 ms=1 arrival=7 followers=2";

    #[test]
    fn words_are_joined_with_their_arrival_and_the_last_of_a_receiver_counts() {
        let found = arrivals(&[
            UPLOAD,
            "event=received arrival=7 subscriber=x path=a",
            "event=received arrival=7 subscriber=y status=failed cause=full",
            "event=received arrival=7 subscriber=y",
            UPLOAD,
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].verified(), found[0].published.as_ref().unwrap().followers), (2, 2));
    }

    #[test]
    fn a_receiver_may_be_quicker_than_the_line_of_the_upload() {
        let found = arrivals(&["event=received arrival=7 subscriber=x path=a", UPLOAD]);
        assert_eq!((found.len(), found[0].verified()), (1, 1));
        assert_eq!(found[0].published.as_ref().unwrap().size, 3);
    }

    #[test]
    fn what_nobody_followed_is_not_told_and_neither_is_what_is_not_asked_for() {
        let found = arrivals(&[
            "event=upload path=b size=3 offset=0 bytes=3 ms=1 arrival=8",
            "event=received arrival=9 subscriber=x path=unasked",
            "event=received arrival=10 subscriber=x",
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn numbers_may_begin_anew() {
        let found = arrivals(&[UPLOAD, "event=upload path=z size=3 offset=0 bytes=3 ms=1 arrival=7 followers=1"]);
        assert_eq!(found.iter().map(|arrival| arrival.path.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut arrivals = Arrivals::new(1);
        arrivals.limit = 2;
        for number in 1..=5 {
            arrivals.push(Arrival { number, ..Arrival::default() });
        }
        assert_eq!((arrivals.all.len(), arrivals.by_number.len()), (2, 2));
    }
}
