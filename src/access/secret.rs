//! The making of a token, and the hash that is kept of it.
//!
//! A token is `hd_` and 256 random bits in the alphabet of base32 (RFC 4648, section 6, in lower case): easy to recognise,
//! and a double click takes all of it. Nobody can guess it, so one fast hash is enough to store it by.

use crate::error::{Error, Result};
use crate::wire::Token;
use std::fmt;

/// What every token begins with.
const PREFIX: &[u8] = b"hd_";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Keeps the hash apart from every other use of BLAKE3.
const CONTEXT: &str = "hostdir 2026-11-21 hash of an access token";

/// What is kept of a token: its hash. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

/// A new token, from the kernel's random numbers.
///
/// # Errors
/// [`Error::Local`] if there are none.
pub fn generate() -> Result<Token> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Error::local("make", "a token", std::io::Error::other(error)))?;
    let mut text = PREFIX.to_vec();
    text.extend(base32(&random));
    Token::new(&text).ok_or_else(|| Error::local("make", "a token", std::io::ErrorKind::InvalidData))
}

/// Five bits a character, the last one filled up with zeros.
fn base32(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or(0);
        byte & 0x80_u8.checked_shr(u32::try_from(at % 8).unwrap_or(0)).unwrap_or(0) != 0
    };
    let count = bytes.len().saturating_mul(8);
    (0..count)
        .step_by(5)
        .map(|start| {
            let end = start.saturating_add(5);
            let value = (start..end).fold(0_usize, |value, at| value << 1 | usize::from(bit(at)));
            ALPHABET.get(value).copied().unwrap_or(b'a')
        })
        .collect()
}

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &Token) -> Self {
        Self(blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, token.secret())))
    }

    /// As it is stored: 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        blake3::Hash::from_hex(text).ok().filter(|_| is_lower).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// Of the hash only enough to tell two apart: who has all of it has no more than that, but needs no more than this.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.0.to_hex().get(..8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognisable_and_no_two_are_alike() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        let text = str::from_utf8(one.secret()).unwrap();
        assert_eq!((text.len(), &text[..3]), (55, "hd_"));
        assert!(text[3..].bytes().all(|byte| ALPHABET.contains(&byte)), "{text}");
        assert_ne!(TokenHash::of(&one), TokenHash::of(&other));
        assert_eq!(TokenHash::parse(&TokenHash::of(&one).to_string()), Some(TokenHash::of(&one)));
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        // RFC 4648, section 10, without padding.
        for (bytes, text) in [(&b"f"[..], "my"), (b"fo", "mzxq"), (b"foo", "mzxw6"), (b"foobar", "mzxw6ytboi")] {
            assert_eq!(base32(bytes), text.as_bytes());
        }
    }

    #[test]
    fn only_the_stored_form_is_a_hash() {
        let good = "0123456789abcdef".repeat(4);
        assert!(TokenHash::parse(&good).is_some());
        for bad in [&good[1..], &good.to_uppercase(), &format!("{good}0"), "", &good.replace('0', "g")] {
            assert!(TokenHash::parse(bad).is_none(), "{bad}");
        }
    }
}
