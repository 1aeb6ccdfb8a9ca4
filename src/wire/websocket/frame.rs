//! The header of a frame (RFC 6455, section 5.2).
//!
//! ```text
//!  0               1               2 …                       … then
//! +-+---+-------+-+-------------+-------------------------+-------------+
//! |F|RSV|opcode |M| length 7    | 16 or 64 bits more of   | mask        |
//! |I|   |       | |             | length if 126 or 127    | (4 bytes,   |
//! |N|   |       | |             |                         | if M is set)|
//! +-+---+-------+-+-------------+-------------------------+-------------+
//! ```

use super::{Failure, Mask};

/// Longest header, in bytes: both extensions of the length's field, and the mask.
pub const MAX_FRAME_HEADER: usize = 14;
/// Most bytes that a control frame can carry.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_IN_16: u8 = 126;
const LENGTH_IN_64: u8 = 127;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that began.
    Continuation,
    /// A message of text begins.
    Text,
    /// A message of bytes begins.
    Binary,
    /// The end of the connection.
    Close,
    /// To be answered by a pong with the same bytes.
    Ping,
    /// The answer to a ping, or a sign of life.
    Pong,
}

/// Where a frame stands in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The last frame of its message, perhaps the only one. A control frame is always one.
    Last,
    /// More frames of this message follow.
    MoreFollow,
}

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8, which is checked.
    Text,
    /// Bytes.
    Binary,
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it is for.
    pub opcode: Opcode,
    /// Whether more of its message follows.
    pub part: Part,
    /// Bytes that it carries, below 2^63.
    pub length: u64,
}

impl Opcode {
    /// The opcode of four bits; `None` if they are reserved.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Its four bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether it may come between the frames of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl FrameHeader {
    /// Decodes the header of a frame of a client: what it says, its mask, and how many bytes it takes. `None` if bytes are
    /// missing; what is there is judged already.
    ///
    /// # Errors
    /// [`Failure`] says which rule is broken.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, Mask, usize)>, Failure> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Failure::ReservedBits);
        }
        let bits = first & OPCODE;
        let opcode = Opcode::from_bits(bits).ok_or(Failure::UnknownOpcode(bits))?;
        let part = if first & FINAL == 0 { Part::MoreFollow } else { Part::Last };
        if opcode.is_control() && part == Part::MoreFollow {
            return Err(Failure::FragmentedControl);
        }
        let Some((second, rest)) = rest.split_first() else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Failure::NotMasked);
        }
        if opcode.is_control() && usize::from(second & LENGTH) > MAX_CONTROL_PAYLOAD {
            return Err(Failure::LongControl);
        }
        let Some((length, rest)) = decode_length(second & LENGTH, rest)? else { return Ok(None) };
        let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let taken = bytes.len().saturating_sub(rest.len());
        Ok(Some((Self { opcode, part, length }, Mask::new(*key), taken)))
    }

    /// Appends the header as a server sends it: without a mask.
    pub fn encode(&self, output: &mut Vec<u8>) {
        let last = if self.part == Part::Last { FINAL } else { 0 };
        output.push(last | self.opcode.bits());
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(short), _) if short < LENGTH_IN_16 => output.push(short),
            (_, Ok(medium)) => {
                output.push(LENGTH_IN_16);
                output.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                output.push(LENGTH_IN_64);
                output.extend_from_slice(&self.length.to_be_bytes());
            }
        }
    }
}

/// The length that the seven bits and what follows them say, and what follows that.
fn decode_length(bits: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Failure> {
    let (length, least, rest) = match bits {
        LENGTH_IN_16 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_IN_16), rest),
            None => return Ok(None),
        },
        LENGTH_IN_64 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), 1 << 16, rest),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if length < least {
        return Err(Failure::LengthNotMinimal);
    }
    if i64::try_from(length).is_err() {
        return Err(Failure::LengthTooLarge);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(opcode: Opcode, part: Part, length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        FrameHeader { opcode, part, length }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_examples_of_section_5_7_are_encoded_as_they_stand_there() {
        assert_eq!(encoded(Opcode::Text, Part::Last, 5), [0x81, 0x05]);
        assert_eq!(encoded(Opcode::Text, Part::MoreFollow, 3), [0x01, 0x03]);
        assert_eq!(encoded(Opcode::Continuation, Part::Last, 2), [0x80, 0x02]);
        assert_eq!(encoded(Opcode::Ping, Part::Last, 5), [0x89, 0x05]);
        assert_eq!(encoded(Opcode::Binary, Part::Last, 256), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(encoded(Opcode::Binary, Part::Last, 65_536), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn lengths_are_encoded_as_short_as_they_can_be() {
        for (length, bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (u64::MAX >> 1, 10)] {
            assert_eq!(encoded(Opcode::Binary, Part::Last, length).len(), bytes, "{length}");
        }
    }

    #[test]
    fn a_header_is_refused_at_the_first_byte_that_breaks_a_rule() {
        let cases: [(&[u8], Failure); 11] = [
            (&[0xc1], Failure::ReservedBits),
            (&[0xa1], Failure::ReservedBits),
            (&[0x91], Failure::ReservedBits),
            (&[0x83], Failure::UnknownOpcode(3)),
            (&[0x8b], Failure::UnknownOpcode(0xb)),
            (&[0x09], Failure::FragmentedControl),
            (&[0x81, 0x05], Failure::NotMasked),
            (&[0x89, 0xfe], Failure::LongControl),
            (&[0x82, 0xfe, 0x00, 0x7d], Failure::LengthNotMinimal),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Failure::LengthNotMinimal),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Failure::LengthTooLarge),
        ];
        for (bytes, failure) in cases {
            for end in 0..bytes.len() {
                assert_eq!(FrameHeader::decode(&bytes[..end]), Ok(None), "{bytes:x?} up to {end}");
            }
            assert_eq!(FrameHeader::decode(bytes), Err(failure), "{bytes:x?}");
        }
    }
}
