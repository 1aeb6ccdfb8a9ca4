//! What somebody may do: the rights of a token, or of whoever has none (PROTOCOL.md, section 5).

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

/// One thing that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// List, and fetch what is listed.
    Read,
    /// Upload what adds.
    Add,
    /// Upload what replaces, where the operator allows that; besides [`Right::Add`] or [`Right::Publish`].
    Overwrite,
    /// Upload, and ask who received it.
    Publish,
    /// Be told of arrivals, and fetch them.
    Subscribe,
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u64);

impl Right {
    /// Every right, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Read, Self::Add, Self::Overwrite, Self::Publish, Self::Subscribe];

    /// Its name, as in `--rights`, the log and PROTOCOL.md.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Add => "add",
            Self::Overwrite => "overwrite",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Its bit on the wire.
    #[must_use]
    pub fn bit(self) -> u64 {
        match self {
            Self::Read => 1,
            Self::Add => 2,
            Self::Overwrite => 4,
            Self::Publish => 8,
            Self::Subscribe => 16,
        }
    }
}

impl Rights {
    /// To do nothing.
    pub const NONE: Self = Self(0);
    /// To do everything.
    pub const ALL: Self = Self(0b1_1111);

    /// The sum of their bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether this right is among them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether one of these is among them.
    #[must_use]
    pub fn has_any(self, rights: Self) -> bool {
        self.0 & rights.0 != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Those that are there, in order.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }

    /// Their names with `between` between them.
    #[must_use]
    pub fn joined(self, between: &str) -> String {
        self.iter().map(Right::name).collect::<Vec<_>>().join(between)
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Self {
        Self(right.bit())
    }
}

impl BitOr for Right {
    type Output = Rights;

    fn bitor(self, other: Self) -> Rights {
        Rights(self.bit() | other.bit())
    }
}

impl BitOr<Right> for Rights {
    type Output = Self;

    fn bitor(self, other: Right) -> Self {
        Self(self.0 | other.bit())
    }
}

/// `all`, `none`, or names with commas between them.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::ALL => f.write_str("all"),
            some => f.write_str(&some.joined(",")),
        }
    }
}

/// As [`Rights`]' `Display` writes it.
impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::NONE),
            "all" => return Ok(Self::ALL),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |rights, name| {
            let right = Right::ALL.into_iter().find(|right| right.name() == name);
            right.map(|right| rights | right).ok_or_else(|| {
                format!(
                    "{} is no right: they are {}, all, none",
                    crate::escape::harmless(name.as_bytes()),
                    Self::ALL.joined(", ")
                )
            })
        })
    }
}

impl<C> Encode<C> for Rights {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u64(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Rights {
    /// Bits of later versions are no right of this one.
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Ok(Self(d.u64()? & Self::ALL.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for bits in 0..=Rights::ALL.0 {
            let rights = Rights(bits);
            assert_eq!(rights.to_string().parse(), Ok(rights));
        }
        for wrong in ["", "read,", "READ", "read add", "write", "all,read"] {
            assert!(wrong.parse::<Rights>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_bits_are_the_documented_ones() {
        let document = include_str!("../../docs/PROTOCOL.md");
        for right in Right::ALL {
            let row = format!("| {} | {} |", right.bit(), right.name());
            assert!(document.contains(&row), "{row}");
        }
        assert_eq!(Rights::ALL, Right::ALL.into_iter().fold(Rights::NONE, |rights, right| rights | right));
    }
}
