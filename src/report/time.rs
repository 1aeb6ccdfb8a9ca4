//! Times as a report shows them: in UTC, as in the logs, so that a line can be found again.

use super::tally::HOUR;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `11-20 14:03:21`, for tables below a head that has the year.
pub(super) fn to_second(time: Timestamp) -> String {
    formatted(time, "%m-%d %T")
}

/// `2026-11-20 14:03`.
pub(super) fn to_minute(time: Timestamp) -> String {
    formatted(time, "%F %H:%M")
}

/// `2026-11-20T14:03:21.482Z`, as in the logs.
pub(super) fn exact(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// `20/Nov/2026:14:03:21 +0000`, as web servers log it.
pub(super) fn of_web_servers(time: Timestamp) -> String {
    formatted(time, "%d/%b/%Y:%H:%M:%S +0000")
}

/// The start of a bar, as wide as `columns` (16 or 9): the hour, or the day where a bar stands for days.
pub(super) fn of_bar(start: i64, step: i64, columns: usize) -> String {
    let form = match (columns, step < 24 * HOUR) {
        (16.., true) => "%F %H:%M",
        (16.., false) => "%F      ",
        (_, true) => "%m-%d %Hh",
        (_, false) => "%m-%d    ",
    };
    formatted(Timestamp::from_second(start).unwrap_or_default(), form)
}

fn formatted(time: Timestamp, form: &str) -> String {
    time.to_zoned(TimeZone::UTC).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let time: Timestamp = "2026-11-20T14:03:21.482Z".parse().unwrap();
        assert_eq!(to_second(time), "11-20 14:03:21");
        assert_eq!(to_minute(time), "2026-11-20 14:03");
        assert_eq!(exact(time), "2026-11-20T14:03:21.482Z");
        assert_eq!(of_web_servers(time), "20/Nov/2026:14:03:21 +0000");
    }

    #[test]
    fn the_label_of_a_bar_has_its_width() {
        for (step, columns) in [(HOUR, 16), (HOUR, 9), (24 * HOUR, 16), (24 * HOUR, 9)] {
            assert_eq!(of_bar(1_795_183_200, step, columns).len(), columns);
        }
    }
}
