//! What a peer can do wrong on the wire (PROTOCOL.md, section 13). Always the peer's fault, never this machine's.

use super::Kind;
use super::websocket::Failure;
use std::fmt;

/// A broken rule of the protocol. The session ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A kind byte that is neither known nor ignorable.
    UnknownKind(u8),
    /// A frame that is not due here.
    Unexpected(Kind),
    /// A body above the limit of its kind.
    TooLong {
        /// The frame's kind.
        kind: Kind,
        /// Its announced length in bytes.
        length: u32,
        /// The largest length allowed, in bytes.
        limit: u32,
    },
    /// A DATA frame without a byte.
    EmptyData,
    /// A control body that is not one well-formed map with the fields of its kind.
    Body {
        /// The frame's kind.
        kind: Kind,
        /// What the decoder said.
        reason: String,
    },
    /// An answer or a request that contradicts what was agreed before; says how.
    Contradiction(&'static str),
    /// A rule of WebSocket (RFC 6455).
    WebSocket(Failure),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(byte) => write!(f, "unknown frame kind 0x{byte:02x}"),
            Self::Unexpected(kind) => write!(f, "unexpected {kind:?} frame"),
            Self::TooLong { kind, length, limit } => {
                write!(f, "{kind:?} frame of {length} bytes, the limit is {limit}")
            }
            Self::EmptyData => write!(f, "Data frame without bytes"),
            Self::Body { kind, reason } => write!(f, "malformed {kind:?} frame: {reason}"),
            Self::Contradiction(how) => f.write_str(how),
            Self::WebSocket(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Violation {}
