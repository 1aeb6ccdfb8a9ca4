//! Values in fields and addresses: paths, names of files, times, identities (WEB.md, sections 4 and 5).

use super::BadRequest;
use crate::wire::{Digest, LiveId, UploadId};
use std::fmt::Write;

const NANOSECONDS: i64 = 1_000_000_000;

/// A path of a file as it stands in an address: each byte but letters, digits, `-._~` and `/` percent-encoded.
#[must_use]
pub fn percent_encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(*byte))
            }
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

/// The value of a `Content-Disposition` that has a browser save a file under its name (RFC 6266).
#[must_use]
pub fn attachment(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    // What old clients would take for something else stands only in the second form.
    let is_plain = |character: char| character.is_ascii_graphic() && !matches!(character, '"' | '\\' | '%');
    let plain: String = text.chars().map(|it| if it == ' ' || is_plain(it) { it } else { '_' }).collect();
    if plain == *text {
        return format!("attachment; filename=\"{plain}\"");
    }
    let encoded = percent_encode(text.as_bytes()).replace('/', "%2F");
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// Nanoseconds since the epoch as seconds, exactly, with one decimal at least.
#[must_use]
pub fn seconds(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let one = NANOSECONDS.unsigned_abs();
    let fraction = format!("{:09}", all.checked_rem(one).unwrap_or_default());
    let fraction = match fraction.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    format!("{sign}{}.{fraction}", all.checked_div(one).unwrap_or_default())
}

/// Seconds since the epoch with up to nine decimals, as nanoseconds.
///
/// # Errors
/// 400.
pub fn parse_seconds(text: &str) -> Result<i64, BadRequest> {
    let parse = |text: &str| -> Option<i64> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let are_digits = [whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        if !are_digits || whole.is_empty() || !(1..=9).contains(&fraction.len()) {
            return None;
        }
        let whole = whole.parse::<i64>().ok()?.checked_mul(NANOSECONDS)?;
        let all = whole.checked_add(format!("{fraction:0<9}").parse().ok()?)?;
        if text.starts_with('-') { all.checked_neg() } else { Some(all) }
    };
    parse(text).ok_or_else(|| BadRequest::malformed("a time is not seconds since 1970 with up to nine decimals"))
}

/// A digest as it stands in a field: `blake3=` and 64 hexadecimal digits.
///
/// # Errors
/// 400.
pub fn parse_digest(text: &str) -> Result<Digest, BadRequest> {
    let digits = text.strip_prefix("blake3=");
    let digest = digits.and_then(|digits| hexadecimal(digits.as_bytes())).map(Digest);
    digest.ok_or_else(|| BadRequest::malformed("a digest is not blake3= and 64 hexadecimal digits"))
}

/// The identity of an upload: 32 hexadecimal digits.
///
/// # Errors
/// 400.
pub fn parse_upload_id(text: &[u8]) -> Result<UploadId, BadRequest> {
    let id = hexadecimal(text).map(UploadId);
    id.ok_or_else(|| BadRequest::malformed("the identity of an upload is not 32 hexadecimal digits"))
}

/// The live id of an upload: 32 hexadecimal digits.
///
/// # Errors
/// 400.
pub fn parse_live_id(text: &[u8]) -> Result<LiveId, BadRequest> {
    hexadecimal(text).map(LiveId).ok_or_else(|| BadRequest::malformed("a live id is not 32 hexadecimal digits"))
}

/// A number that a client writes: digits only, below 2^63.
///
/// # Errors
/// 400.
pub fn parse_number(text: &[u8]) -> Result<u64, BadRequest> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<i64>().ok()).map(i64::unsigned_abs);
    number.ok_or_else(|| BadRequest::malformed("not a number below 2^63"))
}

fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::percent_decode;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_addresses_and_attachments() {
        assert_eq!(percent_encode("a b/ñ+%".as_bytes()), "a%20b/%C3%B1%2B%25");
        let cases: [(&[u8], &str); 5] = [
            (b"a b.txt", "attachment; filename=\"a b.txt\""),
            ("año.txt".as_bytes(), "attachment; filename=\"a_o.txt\"; filename*=UTF-8''a%C3%B1o.txt"),
            (b"a\"b\\c%41", "attachment; filename=\"a_b_c_41\"; filename*=UTF-8''a%22b%5Cc%2541"),
            (b"a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
            (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        ];
        for (name, value) in cases {
            assert_eq!(attachment(name), value);
        }
    }

    #[test]
    fn times_are_exact() {
        let cases =
            [(0, "0.0"), (1_767_225_600_000_000_000, "1767225600.0"), (-1, "-0.000000001"), (1_500_000_000, "1.5")];
        for (nanoseconds, text) in cases {
            assert_eq!(seconds(nanoseconds), text);
            assert_eq!(parse_seconds(text), Ok(nanoseconds));
        }
        assert_eq!(parse_seconds("12"), Ok(12 * NANOSECONDS));
        for text in ["", ".", "1.", ".5", "-", "--1", "+1", "1.0000000001", "1e3", "9223372037", "a", "1 ", "-1.-5"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn identities_have_their_length_and_digits() {
        assert_eq!(parse_digest(&format!("blake3={}", "0a".repeat(32))), Ok(Digest([10; 32])));
        assert_eq!(parse_upload_id("FF".repeat(16).as_bytes()), Ok(UploadId([255; 16])));
        for text in ["", "0a", &"0".repeat(31), &"0".repeat(33), &"0".repeat(34), &"+a".repeat(16), &"é".repeat(16)] {
            assert!(parse_live_id(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse_digest(&"0a".repeat(32)).is_err() && parse_digest("blake3=").is_err());
        assert_eq!(parse_number(b"9223372036854775807"), Ok(i64::MAX.unsigned_abs()));
        for text in [&b""[..], b"-1", b"+1", b"1.0", b"9223372036854775808", b"\xff"] {
            assert!(parse_number(text).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(path in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(percent_decode(&percent_encode(&path)), Ok(path));
        }

        #[test]
        fn any_time_comes_back(nanoseconds in any::<i64>()) {
            // The smallest of all has no positive counterpart.
            prop_assume!(nanoseconds != i64::MIN);
            prop_assert_eq!(parse_seconds(&seconds(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn an_attachment_is_one_harmless_value(name in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(attachment(&name).bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        }
    }
}
