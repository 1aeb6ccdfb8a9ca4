//! What a peer can do wrong by RFC 6455, each with the code that the connection is closed with.

use super::CloseCode;
use std::fmt;

/// A broken rule of RFC 6455. The connection fails with it (section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the Display texts say it")]
pub enum Failure {
    ReservedBits,
    UnknownOpcode(u8),
    NotMasked,
    FragmentedControl,
    LongControl,
    LengthTooLarge,
    LengthNotMinimal,
    NothingToContinue,
    MessageInMessage,
    NotUtf8,
    HalfACloseCode,
    CloseCode(u16),
    Binary,
}

impl Failure {
    /// What the connection is closed with.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::NOT_UTF8,
            Self::Binary => CloseCode::UNSUPPORTED,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("a frame with a reserved bit"),
            Self::UnknownOpcode(opcode) => write!(f, "a frame with the unknown opcode {opcode:#x}"),
            Self::NotMasked => f.write_str("a frame that is not masked"),
            Self::FragmentedControl => f.write_str("a control frame in fragments"),
            Self::LongControl => f.write_str("a control frame of more than 125 bytes"),
            Self::LengthTooLarge => f.write_str("a frame of 2^63 bytes or more"),
            Self::LengthNotMinimal => f.write_str("a frame whose length is written longer than it need be"),
            Self::NothingToContinue => f.write_str("a continuation of no message"),
            Self::MessageInMessage => f.write_str("a message that begins before the one before it has ended"),
            Self::NotUtf8 => f.write_str("text that is not UTF-8"),
            Self::HalfACloseCode => f.write_str("a close frame with one byte"),
            Self::CloseCode(code) => write!(f, "a close frame with the code {code}, which no peer may send"),
            Self::Binary => f.write_str("a message of bytes where text is due"),
        }
    }
}

impl std::error::Error for Failure {}
