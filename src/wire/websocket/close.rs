//! Close frames (RFC 6455, sections 5.5.1 and 7.4).

use super::frame::MAX_CONTROL_PAYLOAD;
use super::{Failure, Utf8Check};
use std::fmt;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Done.
    pub const NORMAL: Self = Self(1000);
    /// The server is stopping, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const NOT_UTF8: Self = Self(1007);
    /// Something that is not allowed.
    pub const POLICY: Self = Self(1008);
    /// A message that is too large.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server failed.
    pub const SERVER_ERROR: Self = Self(1011);

    /// A code that a peer may send: those of the standard and of its registry, and those for applications.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        // 1004 means nothing; 1005, 1006 and 1015 say that there was no close frame.
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a close frame says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Close {
    /// Why; `None` if it does not say.
    pub code: Option<CloseCode>,
    /// The same in words, perhaps.
    pub reason: String,
}

impl Close {
    /// A reason to close.
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code: Some(code), reason: reason.into() }
    }

    /// Decodes what a close frame carries.
    ///
    /// # Errors
    /// [`Failure`] for one byte, a code that no peer may send, and a reason that is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Self, Failure> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(Self::default()) } else { Err(Failure::HalfACloseCode) };
        };
        let number = u16::from_be_bytes(*code);
        let code = CloseCode::new(number).ok_or(Failure::CloseCode(number))?;
        let mut check = Utf8Check::default();
        check.push(reason).and_then(|()| check.finish())?;
        Ok(Self::new(code, String::from_utf8_lossy(reason)))
    }

    /// What the close frame carries; a reason that is too long for it is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some(code) = self.code else { return Vec::new() };
        let mut payload = code.0.to_be_bytes().to_vec();
        let room = MAX_CONTROL_PAYLOAD.saturating_sub(payload.len());
        let end = self.reason.floor_char_boundary(room);
        payload.extend_from_slice(self.reason.as_bytes().get(..end).unwrap_or_default());
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_no_peer_may_send_are_refused() {
        for number in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            let close = Close::decode(&[number_bytes(number), b"why".to_vec()].concat());
            assert_eq!(close.map(|close| close.code.map(CloseCode::number)), Ok(Some(number)));
        }
        for number in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(Close::decode(&number_bytes(number)), Err(Failure::CloseCode(number)));
        }
    }

    #[test]
    fn a_payload_is_empty_or_has_a_code_and_perhaps_text() {
        assert_eq!(Close::decode(b""), Ok(Close::default()));
        assert_eq!(Close::decode(b"\x03"), Err(Failure::HalfACloseCode));
        assert_eq!(Close::decode(b"\x03\xe8"), Ok(Close::new(CloseCode::NORMAL, "")));
        assert_eq!(Close::decode("\u{3}\u{b}x".as_bytes()), Err(Failure::CloseCode(0x030b)));
        assert_eq!(Close::decode(b"\x03\xe8\xff"), Err(Failure::NotUtf8));
        assert_eq!(Close::decode(b"\x03\xe8\xe2\x82"), Err(Failure::NotUtf8));
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let payload = Close::new(CloseCode::POLICY, "€".repeat(50)).encode();
        assert_eq!(payload.len(), 2 + 41 * 3);
        assert_eq!(Close::decode(&payload).unwrap().reason, "€".repeat(41));
        assert_eq!(Close::default().encode(), b"");
    }

    fn number_bytes(number: u16) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }
}
