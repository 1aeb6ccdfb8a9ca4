//! The frame layout (PROTOCOL.md, section 2): a `u32` length, a kind byte, and that many bytes.
//!
//! Owns kinds and size limits. Knows nothing of what a body means.

use super::Violation;

/// Bytes before a frame's body: length and kind.
pub const FRAME_HEADER: usize = 5;
/// Largest control body before WELCOME, in bytes.
pub const MAX_CONTROL_BEFORE_WELCOME: u32 = 1024;
/// Largest control body after WELCOME, in bytes.
pub const MAX_CONTROL: u32 = 64 * 1024;
/// Largest DATA body, in bytes.
pub const MAX_DATA: u32 = 1024 * 1024;

/// Where a session stands: it decides how large a control frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// WELCOME was neither sent nor received yet.
    Greeting,
    /// WELCOME was sent or received.
    Session,
}

/// The kind byte of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is a row of the table in PROTOCOL.md, section 2, under the same name")]
pub enum Kind {
    Hello,
    List,
    Get,
    Receipt,
    Put,
    Begin,
    Finish,
    Abandon,
    Ping,
    Subscribe,
    Receivers,
    Data,
    Welcome,
    Entries,
    Listed,
    File,
    End,
    Offer,
    Stored,
    Pong,
    Live,
    Received,
    Error,
    Subscribed,
    Arriving,
    Arrived,
    Abandoned,
    Gap,
    Position,
    Paused,
    Wait,
    /// A kind that this version does not know and may skip (0x40–0x7f, 0xc0–0xff).
    Ignorable(u8),
}

impl Kind {
    /// The kind of a byte, or the violation that it is.
    ///
    /// # Errors
    /// [`Violation::UnknownKind`] for a byte that is neither known nor ignorable.
    pub fn from_byte(byte: u8) -> Result<Self, Violation> {
        Ok(match byte {
            0x01 => Self::Hello,
            0x02 => Self::List,
            0x03 => Self::Get,
            0x04 => Self::Receipt,
            0x05 => Self::Put,
            0x06 => Self::Begin,
            0x07 => Self::Finish,
            0x08 => Self::Abandon,
            0x09 => Self::Ping,
            0x0a => Self::Subscribe,
            0x0b => Self::Receivers,
            0x10 => Self::Data,
            0x81 => Self::Welcome,
            0x82 => Self::Entries,
            0x83 => Self::Listed,
            0x84 => Self::File,
            0x85 => Self::End,
            0x86 => Self::Offer,
            0x87 => Self::Stored,
            0x88 => Self::Pong,
            0x89 => Self::Live,
            0x8a => Self::Received,
            0x8f => Self::Error,
            0x90 => Self::Subscribed,
            0x91 => Self::Arriving,
            0x92 => Self::Arrived,
            0x93 => Self::Abandoned,
            0x94 => Self::Gap,
            0x95 => Self::Position,
            0x96 => Self::Paused,
            0xc0 => Self::Wait,
            0x40..=0x7f | 0xc1..=0xff => Self::Ignorable(byte),
            _ => return Err(Violation::UnknownKind(byte)),
        })
    }

    /// The byte that stands for this kind.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Hello => 0x01,
            Self::List => 0x02,
            Self::Get => 0x03,
            Self::Receipt => 0x04,
            Self::Put => 0x05,
            Self::Begin => 0x06,
            Self::Finish => 0x07,
            Self::Abandon => 0x08,
            Self::Ping => 0x09,
            Self::Subscribe => 0x0a,
            Self::Receivers => 0x0b,
            Self::Data => 0x10,
            Self::Welcome => 0x81,
            Self::Entries => 0x82,
            Self::Listed => 0x83,
            Self::File => 0x84,
            Self::End => 0x85,
            Self::Offer => 0x86,
            Self::Stored => 0x87,
            Self::Pong => 0x88,
            Self::Live => 0x89,
            Self::Received => 0x8a,
            Self::Error => 0x8f,
            Self::Subscribed => 0x90,
            Self::Arriving => 0x91,
            Self::Arrived => 0x92,
            Self::Abandoned => 0x93,
            Self::Gap => 0x94,
            Self::Position => 0x95,
            Self::Paused => 0x96,
            Self::Wait => 0xc0,
            Self::Ignorable(byte) => byte,
        }
    }

    /// Whether a receiver skips this frame.
    #[must_use]
    pub fn is_ignorable(self) -> bool {
        matches!(self, Self::Wait | Self::Ignorable(_))
    }
}

/// The five bytes before a body, checked against the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: Kind,
    /// Its length in bytes; within the limit for its kind.
    pub length: u32,
}

impl FrameHeader {
    /// Decodes the header at the start of `bytes`; `None` if fewer than [`FRAME_HEADER`] bytes are there.
    ///
    /// # Errors
    /// [`Violation`] if the kind is unknown, or the length above the limit of its kind in this `phase`.
    pub fn decode(bytes: &[u8], phase: Phase) -> Result<Option<Self>, Violation> {
        let Some(&[a, b, c, d, kind]) = bytes.first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let kind = Kind::from_byte(kind)?;
        let length = u32::from_be_bytes([a, b, c, d]);
        let limit = match (kind, phase) {
            (Kind::Data, Phase::Session) => MAX_DATA,
            (Kind::Data, Phase::Greeting) => return Err(Violation::Unexpected(kind)),
            (_, Phase::Greeting) => MAX_CONTROL_BEFORE_WELCOME,
            (_, Phase::Session) => MAX_CONTROL,
        };
        if length > limit {
            return Err(Violation::TooLong { kind, length, limit });
        }
        if kind == Kind::Data && length == 0 {
            return Err(Violation::EmptyData);
        }
        Ok(Some(Self { kind, length }))
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; FRAME_HEADER] {
        let [a, b, c, d] = self.length.to_be_bytes();
        [a, b, c, d, self.kind.byte()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_has_its_golden_bytes() {
        let header = FrameHeader { kind: Kind::Data, length: 0x0001_0203 };
        assert_eq!(header.encode(), [0x00, 0x01, 0x02, 0x03, 0x10]);
        assert_eq!(FrameHeader::decode(&header.encode(), Phase::Session), Ok(Some(header)));
    }

    #[test]
    fn a_truncated_header_asks_for_more_at_every_point() {
        let bytes = FrameHeader { kind: Kind::Get, length: 9 }.encode();
        for end in 0..FRAME_HEADER {
            assert_eq!(FrameHeader::decode(&bytes[..end], Phase::Session), Ok(None));
        }
    }

    #[test]
    fn every_kind_and_its_byte_belong_together() {
        let mut known = 0;
        for byte in 0..=u8::MAX {
            if let Ok(kind) = Kind::from_byte(byte) {
                assert_eq!(kind.byte(), byte);
                known += usize::from(!kind.is_ignorable());
            }
        }
        assert_eq!(known, 30);
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let at = |kind, length, phase| FrameHeader::decode(&FrameHeader { kind, length }.encode(), phase).is_ok();
        assert!(at(Kind::Hello, MAX_CONTROL_BEFORE_WELCOME, Phase::Greeting));
        assert!(!at(Kind::Hello, MAX_CONTROL_BEFORE_WELCOME + 1, Phase::Greeting));
        assert!(at(Kind::List, MAX_CONTROL, Phase::Session));
        assert!(!at(Kind::List, MAX_CONTROL + 1, Phase::Session));
        assert!(at(Kind::Data, MAX_DATA, Phase::Session));
        assert!(!at(Kind::Data, MAX_DATA + 1, Phase::Session));
        assert!(!at(Kind::Data, 0, Phase::Session));
        assert!(!at(Kind::Data, 1, Phase::Greeting));
        assert!(!at(Kind::Ignorable(0x41), MAX_CONTROL + 1, Phase::Session));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in any::<[u8; 5]>()) {
            if let Ok(Some(header)) = FrameHeader::decode(&bytes, Phase::Session) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
