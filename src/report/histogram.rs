//! Bytes and transfers over time, as bars that can be looked at in a terminal.

use super::tally::{Counts, HOUR};
use super::time;
use crate::display::Charset;
use crate::display::quantity::{count, counted, size};
use crate::display::width::{fit_left, fit_right, truncate};
use std::collections::BTreeMap;

/// Seconds that a bar may stand for: 1, 3, 6 and 12 hours, a day, a week, four weeks.
const STEPS: [i64; 7] = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 168 * HOUR, 672 * HOUR];
/// So many bars are looked at with ease.
const BARS: usize = 24;
/// So many hours in a row without a transfer are told in one line.
const QUIET: usize = 3;
const SIZE: usize = 10;
const COUNT: usize = 7;
/// What the label, the figures and the spaces between take.
const FIGURES: usize = 9 + SIZE + 2;
const WIDE_FIGURES: usize = 16 + SIZE + COUNT + 6;
/// From so many columns on, transfers have bars too.
const WIDE: usize = 52;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A bar, or hours of which there is nothing to tell.
enum Row<'a> {
    Bar(i64, &'a Counts),
    Quiet(usize),
}

/// What a bar stands for.
pub(super) fn step_of(hours: &BTreeMap<i64, Counts>) -> i64 {
    let span = match (hours.first_key_value(), hours.last_key_value()) {
        (Some((first, _)), Some((last, _))) => last.saturating_sub(*first),
        _ => 0,
    };
    let fits = |step: &i64| span.checked_div(*step).is_some_and(|bars| bars < BARS as i64);
    STEPS.into_iter().find(fits).unwrap_or(672 * HOUR)
}

/// A step as it stands in a title.
pub(super) fn step_name(step: i64) -> String {
    match step / HOUR {
        1 => "hour".into(),
        24 => "day".into(),
        168 => "week".into(),
        672 => "four weeks".into(),
        hours => format!("{hours} hours"),
    }
}

/// The lines, none wider than `columns`; a bar for each `step`.
pub(super) fn lines(hours: &BTreeMap<i64, Counts>, step: i64, columns: usize, charset: Charset) -> Vec<String> {
    let merged = merge(hours, step);
    let rows = rows(&merged, step);
    let most_bytes = merged.values().map(Counts::bytes).max().unwrap_or(0);
    let most_transfers = merged.values().map(Counts::transfers).max().unwrap_or(0);
    let is_wide = columns >= WIDE;
    let (label, figures) = if is_wide { (16, WIDE_FIGURES) } else { (9, FIGURES) };
    let room = columns.saturating_sub(figures);
    let (bytes_room, transfers_room) = if is_wide { (room.div_ceil(2), room / 2) } else { (room, 0) };
    let line = |row: Row<'_>| match row {
        Row::Quiet(steps) => format!("({} quiet)", quiet_name(steps, step)),
        Row::Bar(start, counts) => {
            let bytes = bar(counts.bytes(), most_bytes, bytes_room, charset);
            let when = time::of_bar(start, step, label);
            let narrow = format!("{when} {bytes} {}", fit_right(&size(counts.bytes()), SIZE, charset));
            let transfers = bar(counts.transfers(), most_transfers, transfers_room, charset);
            let count = fit_right(&count(counts.transfers()), COUNT, charset);
            if is_wide { format!("{narrow}  {transfers}  {count}") } else { narrow }
        }
    };
    rows.into_iter().map(|row| truncate(&line(row), columns, charset)).collect()
}

fn quiet_name(steps: usize, step: i64) -> String {
    let hours = (steps as u64).saturating_mul(u64::try_from(step / HOUR).unwrap_or(0));
    if hours < 100 { counted(hours, "hour") } else { counted(hours / 24, "day") }
}

fn merge(hours: &BTreeMap<i64, Counts>, step: i64) -> BTreeMap<i64, Counts> {
    let mut merged: BTreeMap<i64, Counts> = BTreeMap::new();
    for (hour, counts) in hours {
        let start = hour.saturating_sub(hour.checked_rem_euclid(step).unwrap_or(0));
        merged.entry(start).or_default().merge(counts);
    }
    merged
}

/// Every step from the first to the last, so that the bars stand in true distances; many empty ones are one row.
fn rows(merged: &BTreeMap<i64, Counts>, step: i64) -> Vec<Row<'_>> {
    static NOTHING: Counts = Counts::NONE;
    let mut rows = Vec::new();
    let mut expected = None;
    for (start, counts) in merged {
        let gap = start.saturating_sub(expected.unwrap_or(*start)).checked_div(step).unwrap_or(0);
        match usize::try_from(gap).unwrap_or(0) {
            many @ QUIET.. => rows.push(Row::Quiet(many)),
            few => rows.extend((0..few).map(|nth| {
                let back = step.saturating_mul(few.saturating_sub(nth) as i64);
                Row::Bar(start.saturating_sub(back), &NOTHING)
            })),
        }
        rows.push(Row::Bar(*start, counts));
        expected = Some(start.saturating_add(step));
    }
    rows
}

/// A bar of exactly `room` columns. What is not nothing is seen.
fn bar(value: u64, most: u64, room: usize, charset: Charset) -> String {
    let units = if charset == Charset::Unicode { room.saturating_mul(8) } else { room };
    let share = u128::from(value).saturating_mul(units as u128).checked_div(u128::from(most)).unwrap_or(0);
    let filled = usize::try_from(share).unwrap_or(units).max(usize::from(value > 0)).min(units);
    let drawn = match charset {
        Charset::Ascii => "#".repeat(filled),
        Charset::Unicode => "█".repeat(filled / 8) + EIGHTHS.get(filled % 8).unwrap_or(&""),
    };
    fit_left(&drawn, room, charset)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use crate::display::width::width;

    fn hours(values: &[(i64, u64)]) -> BTreeMap<i64, Counts> {
        let counts = |bytes: u64| Counts { bytes_down: bytes, downloads: bytes.min(9), ..Counts::NONE };
        values.iter().map(|(hour, bytes)| (hour.saturating_mul(HOUR), counts(*bytes))).collect()
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_what_is_not_nothing_is_seen() {
        assert_eq!(bar(50, 100, 10, Charset::Ascii), "#####     ");
        assert_eq!(bar(1, 1_000_000, 4, Charset::Ascii), "#   ");
        assert_eq!(bar(0, 100, 4, Charset::Ascii), "    ");
        assert_eq!(bar(9, 16, 2, Charset::Unicode), "█▏");
        assert_eq!(bar(u64::MAX, u64::MAX, 3, Charset::Unicode), "███");
        assert_eq!(bar(0, 0, 2, Charset::Unicode), "  ");
    }

    #[test]
    fn hours_without_a_transfer_are_rows_and_many_are_one() {
        let lines = lines(&hours(&[(0, 4), (2, 2), (9, 1)]), HOUR, 40, Charset::Ascii);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[1].starts_with("01-01 01h ") && lines[1].ends_with(" 0 B"), "{lines:#?}");
        assert_eq!(lines[3].trim(), "(6 hours quiet)");
    }

    #[test]
    fn the_step_grows_with_the_span() {
        for (last, expected) in [(0, 1), (23, 1), (24, 3), (100, 6), (400, 24), (2_000, 168), (1_000_000, 672)] {
            assert_eq!(step_of(&hours(&[(0, 1), (last, 1)])) / HOUR, expected, "{last}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 0..130 {
            for charset in [Charset::Unicode, Charset::Ascii] {
                let lines = lines(&hours(&[(0, u64::MAX / 4), (7, 3)]), HOUR, columns, charset);
                assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            }
        }
    }
}
