//! Exit codes: wget's numbers.

use crate::error::Error;
use crate::wire::ErrorCode;

/// Nothing went wrong.
pub(super) const OK: u8 = 0;
/// Something that has no number of its own.
pub(super) const OTHER: u8 = 1;
/// The command line makes no sense.
pub(super) const USAGE: u8 = 2;
const LOCAL: u8 = 3;
const NETWORK: u8 = 4;
const PROTOCOL: u8 = 7;
const REFUSED: u8 = 8;

/// The exit code that an error deserves.
pub(super) fn code(error: &Error) -> u8 {
    match error {
        Error::Local { .. } => LOCAL,
        Error::Network { .. } | Error::Timeout { .. } => NETWORK,
        Error::Violation(_) | Error::Untrusted { .. } => PROTOCOL,
        Error::Refused { code, .. } => match code {
            ErrorCode::Protocol | ErrorCode::UnsupportedVersion | ErrorCode::Mismatch => PROTOCOL,
            ErrorCode::Timeout => NETWORK,
            _ => REFUSED,
        },
    }
}

/// The stable name of an error, for `--json`: the wire's where it came over the wire.
pub(super) fn name(error: &Error) -> &'static str {
    match error {
        Error::Refused { code, .. } => code.name(),
        Error::Violation(_) => ErrorCode::Protocol.name(),
        Error::Untrusted { .. } => "untrusted",
        Error::Timeout { .. } => ErrorCode::Timeout.name(),
        Error::Network { .. } => "network",
        Error::Local { .. } if error.code() == ErrorCode::NoSpace => "disk-full",
        Error::Local { .. } => "local",
    }
}
