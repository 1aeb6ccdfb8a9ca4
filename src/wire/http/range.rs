//! The part of a file that is asked for (RFC 9110, section 14).

/// What a `Range` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: what is asked for is no range in bytes, and counts as if it were not there.
    Whole,
    /// So many bytes, at least one, from this offset on.
    Part {
        /// The first byte.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Nothing that is there, or several parts.
    Unsatisfiable,
}

/// One range of a list.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// What the value of a `Range` comes to for a file of `size` bytes.
///
/// Several ranges are not answered with several parts; whoever asks for them can ask for one after the other.
#[must_use]
pub fn wanted(range: &str, size: u64) -> Wanted {
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let members = set.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let Some(specs) = members.map(Spec::parse).collect::<Option<Vec<_>>>() else { return Wanted::Whole };
    match specs.as_slice() {
        [] => Wanted::Whole,
        [spec] => spec.of(size),
        _ => Wanted::Unsatisfiable,
    }
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first, last) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn of(self, size: u64) -> Wanted {
        let (offset, end) = match self {
            Self::From(first) => (first, size),
            Self::Between(first, last) => (first, last.saturating_add(1).min(size)),
            Self::Last(0) => return Wanted::Unsatisfiable,
            // The last bytes of nothing are there, but no answer can name them (RFC 9110, section 14.4).
            Self::Last(_) if size == 0 => return Wanted::Whole,
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        match end.checked_sub(offset) {
            None | Some(0) => Wanted::Unsatisfiable,
            Some(length) => Wanted::Part { offset, length },
        }
    }
}

/// A number of any length; what is beyond all files is beyond this one.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What a request with `Content-Range` sends (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The first byte, which is the size if nothing is sent.
    pub offset: u64,
    /// Bytes of the whole file.
    pub size: u64,
}

/// Parses a `Content-Range` whose bytes go up to the end of the file: `bytes A-B/SIZE` with B the last byte, or
/// `bytes */SIZE`, which sends none. `None` for anything else.
#[must_use]
pub fn content_range(value: &str) -> Option<Sent> {
    let (unit, range) = value.split_once(' ')?;
    let (range, size) = range.split_once('/')?;
    let size = number(size).filter(|size| *size < u64::MAX)?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if range == "*" {
        return Some(Sent { offset: size, size });
    }
    let (first, last) = range.split_once('-')?;
    let (offset, last) = (number(first)?, number(last)?);
    (offset <= last && last.checked_add(1) == Some(size)).then_some(Sent { offset, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{Unsatisfiable, Whole};

    fn part(offset: u64, length: u64) -> Wanted {
        Wanted::Part { offset, length }
    }

    #[test]
    fn each_form_of_a_range_is_understood() {
        let cases = [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=0-9", 10, part(0, 10)),
            ("bytes=0-10", 10, part(0, 10)),
            ("bytes=9-9", 10, part(9, 1)),
            ("bytes=9-99999999999999999999999", 10, part(9, 1)),
            ("bytes=0-18446744073709551615", 10, part(0, 10)),
            ("bytes=3-", 10, part(3, 7)),
            ("bytes=0-", 10, part(0, 10)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-10", 10, part(0, 10)),
            ("bytes=-99999999999999999999999", 10, part(0, 10)),
            ("BYTES=1-2", 10, part(1, 2)),
            ("bytes=, 1-2 ,", 10, part(1, 2)),
            ("bytes=\t1-2", 10, part(1, 2)),
            ("bytes=00-01", 10, part(0, 2)),
        ];
        for (range, size, expected) in cases {
            assert_eq!(wanted(range, size), expected, "{range} of {size}");
        }
    }

    #[test]
    fn what_lies_beyond_the_end_or_is_several_cannot_be_had() {
        let cases = [
            ("bytes=10-", 10),
            ("bytes=10-20", 10),
            ("bytes=99999999999999999999999-", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=0-0", 0),
            ("bytes=0-0,2-3", 10),
            ("bytes=0-0, -1", 10),
            ("bytes=0-,0-,0-,0-,0-", 10),
        ];
        for (range, size) in cases {
            assert_eq!(wanted(range, size), Unsatisfiable, "{range} of {size}");
        }
    }

    #[test]
    fn what_is_no_range_in_bytes_counts_as_absent() {
        let cases = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-",
            "bytes=0",
            "bytes=3-2",
            "bytes=0--1",
            "bytes=+0-1",
            "bytes=0-1x",
            "bytes= 0 - 1",
            "bytes =0-1",
            "items=0-1",
            "bytes=0-1;",
            "bytes=0-1,x",
            "bytes:0-1",
            "0-1",
        ];
        for range in cases {
            assert_eq!(wanted(range, 10), Whole, "{range}");
        }
        assert_eq!(wanted("bytes=-1", 0), Whole);
    }

    #[test]
    fn a_content_range_goes_up_to_the_end() {
        let sent = |offset, size| Some(Sent { offset, size });
        let cases = [
            ("bytes 0-9/10", sent(0, 10)),
            ("Bytes 9-9/10", sent(9, 10)),
            ("bytes */10", sent(10, 10)),
            ("bytes */0", sent(0, 0)),
            ("bytes 0-8/10", None),
            ("bytes 0-10/10", None),
            ("bytes 9-8/9", None),
            ("bytes 0-9/*", None),
            ("bytes=0-9/10", None),
            ("bytes 0-9", None),
            ("items 0-9/10", None),
            ("bytes -0-9/10", None),
            ("bytes 0-18446744073709551615/18446744073709551616", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(content_range(value), expected, "{value}");
        }
    }
}
