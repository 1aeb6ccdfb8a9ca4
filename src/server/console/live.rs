//! The line at the bottom of the terminal: how much goes on, and, when the server stops, what it waits for.
//!
//! Owns the wording and the figures that only a person looks at: the rate, and what ended today.

use super::super::Shared;
use super::super::admission::Direction;
use super::super::shutdown::{self, Bound};
use crate::display::Charset;
use crate::display::quantity::{count, counted, size};
use crate::display::width::flow;
use jiff::civil::Date;
use std::time::{Duration, Instant};

/// How long the end of a transfer may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

/// What is needed to tell rates, and what is of today, from counters that only grow.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the bytes were last read, and how many there were.
    read: Option<(Instant, u64)>,
    /// The day, and how many transfers had ended when it began.
    day: Option<(Date, u64, u64)>,
}

/// What the live line tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) clients: usize,
    pub(super) downloads: usize,
    pub(super) uploads: usize,
    /// Bytes a second.
    pub(super) rate: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
}

impl Meter {
    /// Bytes a second since the last look. A transfer that has moved its bytes is not counted until its end is known, which a
    /// flush or a receipt may take: for so long the sum is short of what it was, and tells nothing.
    fn rate(&mut self, bytes: u64, now: Instant) -> u64 {
        let Some((then, had)) = self.read else {
            self.read = Some((now, bytes));
            return 0;
        };
        if bytes < had && now.duration_since(then) < KNOWN_WITHIN {
            return 0;
        }
        self.read = Some((now, bytes));
        let passed = now.duration_since(then).as_secs_f64().max(0.001);
        (bytes.saturating_sub(had) as f64 / passed) as u64
    }

    /// How many of `ok` and `failed` ended since midnight, or since the start.
    fn today(&mut self, today: Date, ok: u64, failed: u64) -> (u64, u64) {
        let (_, ok_before, failed_before) = match self.day {
            Some(day) if day.0 == today => day,
            // What ended before the first look is of today too.
            None => *self.day.insert((today, 0, 0)),
            Some(_) => *self.day.insert((today, ok, failed)),
        };
        (ok.saturating_sub(ok_before), failed.saturating_sub(failed_before))
    }
}

impl Figures {
    pub(super) fn of(shared: &Shared, meter: &mut Meter) -> Self {
        let sessions = shared.registry.sessions();
        let running: Vec<_> = sessions.iter().filter_map(|live| live.transfer()).collect();
        let count = |direction| running.iter().filter(|transfer| transfer.direction == direction).count();
        let moving: u64 = running.iter().map(|transfer| transfer.progress.moved()).sum();
        let stats = &shared.stats;
        let bytes = stats.bytes().saturating_add(moving);
        let (ok, failed) = stats.good_and_bad();
        let (ok, failed) = meter.today(jiff::Zoned::now().date(), ok, failed);
        let (downloads, uploads) = (count(Direction::Download), count(Direction::Upload));
        Self { clients: sessions.len(), downloads, uploads, rate: meter.rate(bytes, Instant::now()), ok, failed }
    }

    /// One line: as many facts as fit, the most wanted first.
    pub(super) fn line(&self, columns: usize, charset: Charset, takes_keys: bool) -> String {
        let Self { clients, downloads, uploads, rate, ok, failed } = self;
        let mut facts = vec![
            counted(*clients as u64, "client"),
            format!("{downloads} {} {uploads} {}", charset.down(), charset.up()),
            format!("{}/s", size(*rate)),
            format!("{} ok {} failed today", count(*ok), count(*failed)),
        ];
        facts.extend(takes_keys.then(|| "s: who".to_owned()));
        let lines = flow(&facts, charset.separator(), columns.saturating_sub(2), charset);
        format!(" {}", lines.first().map_or("", String::as_str))
    }
}

/// What a server that stops waits for; `bound` is how long it waits at most.
pub(super) fn waiting(shared: &Shared, bound: Option<Duration>) -> String {
    shutdown::announce(&shutdown::running(shared), bound.map_or(Bound::Untold, Bound::AtMost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_as_much_as_fits() {
        let figures = Figures { clients: 3, downloads: 2, uploads: 1, rate: 84 << 20, ok: 1_204, failed: 3 };
        let line = |columns, charset, keys| figures.line(columns, charset, keys);
        assert_eq!(
            line(100, Charset::Unicode, true),
            " 3 clients · 2 ↓ 1 ↑ · 84.0 MiB/s · 1,204 ok 3 failed today · s: who"
        );
        assert_eq!(line(100, Charset::Ascii, false), " 3 clients - 2 down 1 up - 84.0 MiB/s - 1,204 ok 3 failed today");
        assert_eq!(line(40, Charset::Unicode, true), " 3 clients · 2 ↓ 1 ↑ · 84.0 MiB/s");
        assert_eq!(line(24, Charset::Unicode, true), " 3 clients · 2 ↓ 1 ↑");
    }

    #[test]
    fn a_file_whose_end_is_known_late_does_not_count_as_if_it_came_at_once() {
        let (mut meter, began) = (Meter::default(), Instant::now());
        let mut rate = |bytes, seconds| meter.rate(bytes, began + Duration::from_secs(seconds));
        assert_eq!([rate(0, 0), rate(100, 1), rate(200, 2)], [0, 100, 100]);
        // It has moved all, and is being flushed; meanwhile another one moves a little.
        assert_eq!([rate(0, 3), rate(10, 4)], [0, 0]);
        assert_eq!([rate(230, 5), rate(240, 6)], [10, 10]);
        // What is lost for good is not waited for for ever.
        assert_eq!([rate(0, 7), rate(0, 70), rate(50, 71)], [0, 0, 50]);
    }

    #[test]
    fn today_begins_at_midnight() {
        let mut meter = Meter::default();
        let day = Date::constant(2026, 11, 20);
        assert_eq!(meter.today(day, 2, 1), (2, 1));
        assert_eq!(meter.today(day, 5, 1), (5, 1));
        let next = Date::constant(2026, 11, 21);
        assert_eq!(meter.today(next, 6, 1), (0, 0));
        assert_eq!(meter.today(next, 8, 2), (2, 1));
    }
}
