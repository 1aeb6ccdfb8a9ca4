//! The closed list of error codes (PROTOCOL.md, section 10).

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::fmt;

macro_rules! error_codes {
    ($($number:literal $variant:ident $name:literal $doc:literal;)*) => {
        /// Why a request was refused or a session ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $doc] $variant,)*
            /// A code that this version does not know; treated as [`ErrorCode::Unavailable`].
            Other(u16),
        }

        impl ErrorCode {
            /// Every code of this version.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// The code of a number.
            #[must_use]
            pub fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    number => Self::Other(number),
                }
            }

            /// The stable name, as in PROTOCOL.md, logs and `--json`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(_) => "other",
                }
            }
        }
    };
}

error_codes! {
    1 Protocol "protocol" "The peer broke a rule of the protocol.";
    2 UnsupportedVersion "unsupported-version" "No protocol version in common.";
    3 Busy "busy" "Too many connections.";
    4 Timeout "timeout" "Nothing, or too little, came in time.";
    5 ShuttingDown "shutting-down" "The server is stopping.";
    6 BadPath "bad-path" "Not a valid remote path.";
    7 NotFound "not-found" "There is nothing of that name.";
    8 NotAFile "not-a-file" "A folder, or something that is never served.";
    9 Changed "changed" "Not, or no longer, the version asked for.";
    10 OutOfRange "out-of-range" "The offset lies beyond the end of the file.";
    11 Exists "exists" "The name is taken.";
    12 ReadOnly "read-only" "The server takes no uploads.";
    13 Forbidden "forbidden" "Not allowed here.";
    14 TooLarge "too-large" "Larger than the server's limit.";
    15 NoSpace "no-space" "The server's disk is full, or would be.";
    16 Mismatch "mismatch" "Bytes and announcement differ.";
    17 Abandoned "abandoned" "The upload was given up.";
    18 Superseded "superseded" "Another connection took this upload over.";
    19 Unavailable "unavailable" "The server could not do it.";
    20 BadName "bad-name" "A name that other systems cannot hold.";
    21 Expired "expired" "It was here, and was removed by a rule of the operator.";
    22 Unauthorized "unauthorized" "No token, or none that holds.";
}

impl ErrorCode {
    /// Whether the session ends with this error.
    #[must_use]
    pub fn ends_session(self) -> bool {
        matches!(
            self,
            Self::Protocol
                | Self::UnsupportedVersion
                | Self::Busy
                | Self::Timeout
                | Self::ShuttingDown
                | Self::Superseded
                | Self::Unauthorized
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<C> Encode<C> for ErrorCode {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u16(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ErrorCode {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.u16().map(Self::from_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_the_documented_ones() {
        let document = include_str!("../../docs/PROTOCOL.md");
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), *code);
            let fate = if code.ends_session() { "closes |" } else { "goes on |" };
            let start = format!("| {} | {} |", code.number(), code.name());
            let row = document.lines().find(|line| line.starts_with(&start));
            assert!(row.is_some_and(|row| row.ends_with(fate)), "{start} {fate}");
        }
    }

    #[test]
    fn an_unknown_code_survives() {
        assert_eq!(ErrorCode::from_number(999), ErrorCode::Other(999));
        assert_eq!(ErrorCode::Other(999).number(), 999);
    }
}
