//! `escape::harmless`: one line, nothing harmful in it, and the original can be told from it.
#![no_main]

use hostdir::escape::{harmless, is_harmless};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let shown = harmless(bytes);
    assert!(shown.chars().all(|character| character == '\\' || is_harmless(character)));
    assert!(!shown.contains(['\n', '\r', '\t', '\0', '\x1b', '\x7f', '\u{9b}', '\u{202e}', '\u{2028}', '\u{feff}']));
    assert_eq!(original(&shown).as_deref(), Some(bytes), "the original cannot be told from {shown}");

    // Whatever is harmless already is shown as it is, but for the backslash.
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(is_harmless)
    {
        assert_eq!(shown, text);
    }

    let (start, end) = bytes.split_at(bytes.len() / 2);
    if std::str::from_utf8(start).is_ok() {
        assert_eq!(harmless(start) + &harmless(end), shown, "what stands before does not change what follows");
    }
});

/// Undoes the escaping. That it can be undone means that different names are shown differently.
fn original(shown: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = shown;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if character != '\\' {
            bytes.extend(character.to_string().bytes());
            continue;
        }
        let (kind, after) = rest.split_at_checked(1)?;
        rest = after;
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            "u" => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                bytes.extend(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?.to_string().bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    Some(bytes)
}
