//! A token, as it crosses the wire: a secret, which nothing in here shows.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;

/// The secret that shows who asks. It has no `Display`, and its `Debug` says nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<[u8]>);

impl Token {
    /// Longest token, in bytes.
    pub const MAX: usize = 128;

    /// A token of these bytes; `None` unless there are 1 to 128.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The secret itself: for hashing, for sending, and for showing it once to who made it.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<C> Encode<C> for Token {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Token {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let bytes = ByteVec::decode(d, context)?;
        Self::new(&bytes).ok_or_else(|| decode::Error::message("a token has 1 to 128 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new(b"hd_secret").unwrap();
        assert!(!format!("{token:?} {:#?}", Some(&token)).contains("secret"));
        assert!(Token::new(b"").is_none() && Token::new(&[b'a'; 129]).is_none());
    }
}
