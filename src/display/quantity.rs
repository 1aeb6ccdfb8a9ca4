//! Sizes, rates, counts, ages and durations as a person reads them.
//!
//! Owns units and rounding. Knows nothing of where the figures stand.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;

const RATE_UNITS: [(u32, &str); 5] = [(10, "KiB/s"), (20, "MiB/s"), (30, "GiB/s"), (40, "TiB/s"), (50, "PiB/s")];

/// A size in IEC units with one decimal: `512 B`, `8.0 MiB`. At most 10 columns.
#[must_use]
pub fn size(bytes: u64) -> String {
    let shown = ByteSize::b(bytes).display().iec().to_string();
    // 1 MiB less one byte would be "1024.0 KiB": the next unit says the same with fewer digits.
    match shown.strip_prefix("1024.0 ") {
        Some(_) => ByteSize::b(bytes.saturating_add(bytes >> 10)).display().iec().to_string(),
        None => shown,
    }
}

/// A rate in IEC units with two decimals, `2.24 MiB/s`, or in whole bytes: `112 B/s`. At most 12 columns.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    let bytes_per_second = if bytes_per_second.is_finite() { bytes_per_second.max(0.0) } else { 0.0 };
    // Rounded first: what would be 1,024 B/s is told in the next unit.
    if bytes_per_second.round() < 1_024.0 {
        return format!("{bytes_per_second:.0} B/s");
    }
    for (shift, unit) in RATE_UNITS {
        let value = bytes_per_second / (1_u64 << shift) as f64;
        if value < 999.995 {
            return format!("{value:.2} {unit}");
        }
    }
    "very fast".to_owned()
}

/// A count with its thousands apart: `1,204`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A count with the right form of its noun: `1 file`, `1,204 files`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A duration in its two largest units: `41s`, `3m 10s`, `2h 05m`, `3d 04h`. At most 7 columns up to 99 days.
#[must_use]
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A duration in one unit, for narrow columns: `41s`, `3m`, `2h`, `9d`. At most 3 columns up to 99 days.
#[must_use]
pub fn short_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..360_000 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago `then` was, seen from `now`: `2 h ago`. At most 10 columns. A time to come is `ahead`: the clocks of
/// the two machines differ, or the file's time was set by hand.
#[must_use]
pub fn age(then: SystemTime, now: SystemTime) -> String {
    let Ok(passed) = now.duration_since(then) else {
        let ahead = then.duration_since(now).unwrap_or_default();
        return if ahead < Duration::from_secs(60) { "now".to_owned() } else { "ahead".to_owned() };
    };
    let seconds = passed.as_secs();
    match seconds {
        0..5 => "now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..5_184_000 => format!("{} d ago", seconds / 86_400),
        5_184_000..63_072_000 => format!("{} mo ago", seconds / 2_592_000),
        _ => format!("{} y ago", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_the_smallest_number_of_digits() {
        let cases = [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (8 << 20, "8.0 MiB"), (31 << 30, "31.0 GiB")];
        for (bytes, shown) in cases {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert!(size(u64::MAX).len() <= 10);
    }

    #[test]
    fn rates_stay_within_twelve_columns() {
        assert_eq!([rate(0.0), rate(112.4), rate(1_023.6)], ["0 B/s", "112 B/s", "1.00 KiB/s"]);
        assert_eq!(rate(2_350_000.0), "2.24 MiB/s");
        assert_eq!(rate(1_023.0 * 1_024.0), "1.00 MiB/s");
        assert_eq!(rate(f64::NAN), "0 B/s");
        let mut speed = 1.0;
        while speed < 1e30 {
            assert!(rate(speed).len() <= 12, "{}", rate(speed));
            speed *= 1.01;
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)].map(|c| c),
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned)
        );
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1_204, "file"), "1,204 files");
    }

    #[test]
    fn durations_name_their_two_largest_units() {
        let cases = [(41, "41s"), (190, "3m 10s"), (7_500, "2h 05m"), (273_600, "3d 04h")];
        for (seconds, shown) in cases {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
        let short = [(41, "41s"), (190, "3m"), (7_500, "2h"), (864_000, "10d")];
        for (seconds, shown) in short {
            assert_eq!(short_duration(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn ages_round_down_and_never_fail() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let cases = [
            (2, "now"),
            (12, "12 s ago"),
            (3_599, "59 min ago"),
            (7_300, "2 h ago"),
            (86_400 * 59, "59 d ago"),
            (86_400 * 300, "10 mo ago"),
            (86_400 * 365 * 3, "3 y ago"),
        ];
        for (seconds, shown) in cases {
            assert_eq!(age(now - Duration::from_secs(seconds), now), shown);
        }
        assert_eq!(age(now + Duration::from_secs(3_600), now), "ahead");
    }
}
