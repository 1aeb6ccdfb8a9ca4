//! Where a subscriber stands: which arrivals it was told of, which of them it has, and from where it must be told again.
//!
//! Owns the arithmetic of arrival numbers. The cursor stands before the oldest arrival that is not safely here; what is
//! here above it is noted by number, so that nothing is fetched twice. Knows no files and no connections.

use crate::wire::JournalId;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// More numbers than these in one saved line are a damaged file.
const MOST: u64 = 10_000_000;

/// The arrivals of one journal, seen by one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    journal: JournalId,
    /// Everything up to this arrival was told.
    told: u64,
    /// Told, and not here yet.
    pending: BTreeSet<u64>,
    /// Here, and above the cursor.
    done: BTreeSet<u64>,
}

/// What is worth telling of an arrival that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is to be fetched.
    New,
    /// It is here, or being fetched.
    Known,
}

impl Cursor {
    /// A subscriber that has everything up to `after`, and those in `done` above it.
    pub(super) fn new(journal: JournalId, after: u64, done: BTreeSet<u64>) -> Self {
        let mut cursor = Self { journal, told: after, pending: BTreeSet::new(), done };
        cursor.prune();
        cursor
    }

    pub(super) fn journal(&self) -> JournalId {
        self.journal
    }

    /// Everything up to this arrival was told: what SUBSCRIBE asks after on a new connection.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Everything up to this arrival is here: what is asked after when nothing else is known any more.
    pub(super) fn after(&self) -> u64 {
        self.pending.first().map_or(self.told, |first| first.saturating_sub(1).min(self.told))
    }

    /// The arrivals above [`Cursor::after`] that are here.
    pub(super) fn done(&self) -> &BTreeSet<u64> {
        &self.done
    }

    /// An arrival was told. Others below it that were not are in other folders.
    pub(super) fn tell(&mut self, number: u64) -> News {
        let is_known = number <= self.told && !self.done.contains(&number) && !self.pending.contains(&number);
        self.told = self.told.max(number);
        let news = if is_known || self.done.contains(&number) || !self.pending.insert(number) {
            News::Known
        } else {
            News::New
        };
        self.prune();
        news
    }

    /// Everything up to this arrival was told.
    pub(super) fn pass(&mut self, after: u64) {
        self.told = self.told.max(after);
        self.prune();
    }

    /// Whether an arrival was told, or is here.
    pub(super) fn knows(&self, number: u64) -> bool {
        number <= self.told || self.pending.contains(&number) || self.done.contains(&number)
    }

    /// An arrival is in its place, and not finished yet; it may not have been told yet, and is no news then.
    pub(super) fn hold(&mut self, number: u64) {
        if !self.knows(number) {
            self.pending.insert(number);
        }
    }

    /// An arrival is safely here, or can never be; it may not have been told yet.
    pub(super) fn finish(&mut self, number: u64) {
        self.pending.remove(&number);
        self.done.insert(number);
        self.prune();
    }

    fn prune(&mut self) {
        let after = self.after();
        while self.done.first().is_some_and(|first| *first <= after) {
            self.done.pop_first();
        }
    }
}

/// Numbers as text: `3-7 9`.
pub(super) fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut text = String::new();
    let mut open: Option<(u64, u64)> = None;
    let mut write = |(first, last): (u64, u64)| {
        let space = if text.is_empty() { "" } else { " " };
        let _ = if first == last { write!(text, "{space}{first}") } else { write!(text, "{space}{first}-{last}") };
    };
    for number in numbers {
        open = match open {
            Some((first, last)) if last.saturating_add(1) == *number => Some((first, *number)),
            Some(range) => {
                write(range);
                Some((*number, *number))
            }
            None => Some((*number, *number)),
        };
    }
    open.into_iter().for_each(write);
    text
}

/// The numbers of a text that [`ranges`] made; `None` if it is none.
pub(super) fn parse_ranges(text: &str) -> Option<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    let mut left = MOST;
    for word in text.split_whitespace() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        left = left.checked_sub(last.checked_sub(first)?.checked_add(1)?)?;
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(after: u64) -> Cursor {
        Cursor::new(JournalId([1; 16]), after, BTreeSet::new())
    }

    #[test]
    fn it_stands_before_the_oldest_arrival_that_is_missing() {
        let mut cursor = cursor(10);
        assert_eq!([11, 13, 14].map(|number| cursor.tell(number)), [News::New; 3]);
        assert_eq!((cursor.after(), cursor.told()), (10, 14));
        cursor.finish(13);
        assert_eq!((cursor.after(), cursor.done().len()), (10, 1));
        cursor.finish(11);
        assert_eq!((cursor.after(), cursor.done().len()), (13, 0));
        cursor.finish(14);
        assert_eq!((cursor.after(), cursor.done().len()), (14, 0));
    }

    #[test]
    fn a_position_moves_it_only_when_nothing_is_missing_below() {
        let mut cursor = cursor(0);
        cursor.tell(2);
        cursor.pass(9);
        assert_eq!((cursor.after(), cursor.told()), (1, 9));
        cursor.finish(2);
        assert_eq!(cursor.after(), 9);
        cursor.pass(4);
        assert_eq!(cursor.after(), 9);
    }

    #[test]
    fn what_is_here_is_not_news_when_it_is_told_again() {
        let mut first = cursor(0);
        assert_eq!([1, 2, 3].map(|number| first.tell(number)), [News::New; 3]);
        first.finish(2);
        let mut second = Cursor::new(first.journal(), first.after(), first.done().clone());
        assert_eq!([1, 2, 3].map(|number| second.tell(number)), [News::New, News::Known, News::New]);
        assert_eq!(second.tell(1), News::Known, "it is being fetched");
        second.finish(1);
        assert_eq!(second.after(), 2);
        assert_eq!(second.tell(1), News::Known, "it is below the cursor");
    }

    #[test]
    fn what_came_before_it_was_told_is_not_fetched_again() {
        let mut cursor = cursor(5);
        cursor.finish(6);
        assert_eq!(cursor.after(), 5);
        assert_eq!(cursor.tell(6), News::Known);
        assert_eq!(cursor.after(), 6);
    }

    #[test]
    fn what_is_held_is_no_news_and_the_cursor_does_not_pass_it() {
        let mut cursor = cursor(5);
        cursor.hold(7);
        assert_eq!((cursor.after(), cursor.told()), (5, 5));
        assert_eq!([6, 7].map(|number| cursor.tell(number)), [News::New, News::Known]);
        cursor.finish(6);
        assert_eq!(cursor.after(), 6);
        cursor.hold(6);
        cursor.finish(7);
        assert_eq!(cursor.after(), 7);
    }

    #[test]
    fn numbers_survive_as_ranges() {
        let numbers: BTreeSet<u64> = [1, 2, 3, 7, 9, 10, u64::MAX].into();
        assert_eq!(ranges(&numbers), format!("1-3 7 9-10 {}", u64::MAX));
        assert_eq!(parse_ranges(&ranges(&numbers)), Some(numbers));
        assert_eq!(parse_ranges(""), Some(BTreeSet::new()));
        for bad in ["x", "3-1", "1-", "0-18446744073709551615", "1-99999999999"] {
            assert_eq!(parse_ranges(bad), None, "{bad}");
        }
    }
}
