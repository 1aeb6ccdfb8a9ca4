//! Names and messages from the other side, made harmless before a terminal or a log sees them.
//!
//! Owns the one decision of which characters may be shown as they are. Knows nothing of widths, colours or log
//! formats: those belong to whoever prints.
//!
//! What is escaped: C0 and C1 control characters and DEL (they move cursors and retitle windows), the backslash (so
//! that an escape cannot be imitated), bidirectional controls ([Unicode UAX #9], they make `exe.txt` look like
//! `txt.exe`), line and paragraph separators, invisible format characters, and bytes that are not UTF-8.
//!
//! [Unicode UAX #9]: https://www.unicode.org/reports/tr9/
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt::Write;

/// `bytes` as one line of harmless text: `\xNN` for a byte that is not UTF-8, `\u{N}` for a character that must not
/// reach a terminal, `\n`, `\r`, `\t` and `\\` for the usual ones.
///
/// ```
/// assert_eq!(hostdir::escape::harmless(b"a\x1b[2J.txt"), r"a\u{1b}[2J.txt");
/// assert_eq!(hostdir::escape::harmless("año nuevo.jpg".as_bytes()), "año nuevo.jpg");
/// assert_eq!(hostdir::escape::harmless(b"\xff"), r"\xff");
/// ```
#[must_use]
pub fn harmless(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut shown, character);
        }
        for byte in chunk.invalid() {
            push_formatted(&mut shown, format_args!("\\x{byte:02x}"));
        }
    }
    shown
}

/// The bytes that [`harmless`] made `shown` of. What it did not make stays as it is.
///
/// ```
/// assert_eq!(hostdir::escape::original(r"a\u{1b}\xff\\ñ"), b"a\x1b\xff\\\xc3\xb1");
/// ```
#[must_use]
pub fn original(shown: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(shown.len());
    let mut rest = shown;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = match unescape(escaped, &mut bytes) {
            Some(after) => after,
            None => {
                bytes.push(b'\\');
                escaped
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Takes what follows the backslash of an escape, and gives what follows the escape; `None` if it is none.
fn unescape<'a>(escaped: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (kind, after) = (escaped.chars().next()?, escaped.get(1..)?);
    match kind {
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        '\\' => bytes.push(b'\\'),
        'x' => {
            bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            return after.get(2..);
        }
        'u' => {
            let (digits, after) = after.strip_prefix('{')?.split_once('}')?;
            let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(after);
        }
        _ => return None,
    }
    Some(after)
}

/// Whether a character may reach a terminal or a log as it is.
#[must_use]
pub fn is_harmless(character: char) -> bool {
    !character.is_control() && character != '\\' && !is_invisible_format(character)
}

fn push(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        '\\' => shown.push_str("\\\\"),
        character if is_harmless(character) => shown.push(character),
        character => push_formatted(shown, format_args!("\\u{{{:x}}}", u32::from(character))),
    }
}

fn push_formatted(shown: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = shown.write_fmt(text);
}

/// Format characters (Unicode category Cf) that reorder or hide what stands around them, and the two separators that
/// some terminals treat as line ends. The zero-width joiner stays: emoji and several scripts need it.
fn is_invisible_format(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_controls_and_line_ends_are_escaped() {
        assert_eq!(harmless(b"\x07\x7f\r\n\t"), r"\u{7}\u{7f}\r\n\t");
        assert_eq!(harmless("\u{9b}31m".as_bytes()), r"\u{9b}31m");
    }

    #[test]
    fn bidirectional_overrides_are_escaped() {
        assert_eq!(harmless("gpj.\u{202e}exe".as_bytes()), r"gpj.\u{202e}exe");
        assert_eq!(harmless("\u{2066}a\u{2069}".as_bytes()), r"\u{2066}a\u{2069}");
    }

    #[test]
    fn an_escape_cannot_be_imitated() {
        assert_eq!(harmless(br"\xff"), r"\\xff");
    }

    proptest! {
        #[test]
        fn nothing_harmful_survives(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(harmless(&bytes).chars().all(|character| character == '\\' || is_harmless(character)));
        }

        #[test]
        fn what_was_made_harmless_can_be_had_again(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(original(&harmless(&bytes)), bytes);
        }

        #[test]
        fn no_text_is_too_strange_to_be_read_back(text in r"(\\|[nrtxu{}0-9a-f+]|\PC){0,20}") {
            let _ = original(&text);
        }

        #[test]
        fn different_names_stay_different(a in proptest::collection::vec(any::<u8>(), 0..6), b in proptest::collection::vec(any::<u8>(), 0..6)) {
            prop_assert_eq!(a == b, harmless(&a) == harmless(&b));
        }
    }
}
