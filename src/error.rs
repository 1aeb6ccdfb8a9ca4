//! The error type of everything below the two programs, and the one table from an error to a wire code.
//!
//! Blame is visible in the variant: the peer broke the protocol, the other side refused, the network failed, or this
//! machine failed.

use crate::wire::websocket::Failure;
use crate::wire::{ErrorCode, Fault, NameError, PathError, Violation};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::time::Duration;

/// What went wrong, with what it was done to and the cause.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol.
    Violation(Violation),
    /// A request was refused: by us (on the server), or by the server (on the client).
    Refused {
        /// The code on the wire.
        code: ErrorCode,
        /// A safe sentence, already harmless for terminals and logs.
        message: String,
    },
    /// The other side could not show that it is who it should be; nothing was told to it.
    Untrusted {
        /// What is wrong, and what to do about it; harmless text.
        message: String,
    },
    /// The connection failed or ended where it should not.
    Network {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The peer sent or took nothing, or too little, in time.
    Timeout {
        /// What was waited for.
        operation: &'static str,
        /// The limit that passed.
        limit: Duration,
    },
    /// This machine failed: its disk, its permissions, its limits.
    Local {
        /// What was being done.
        operation: &'static str,
        /// To what; harmless text.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

/// What most functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A refusal with a safe sentence.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// The error of a system call on a local path.
    pub fn local(operation: &'static str, path: impl fmt::Display, source: impl Into<io::Error>) -> Self {
        Self::Local { operation, path: path.to_string(), source: source.into() }
    }

    /// The error of a connection.
    pub fn network(operation: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Network { operation, source: source.into() }
    }

    /// A connection that ended in the middle of something.
    #[must_use]
    pub fn disconnected(operation: &'static str) -> Self {
        Self::network(operation, io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"))
    }

    /// The wire code that tells the peer. This is the only place where a cause becomes a code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Violation(_) => ErrorCode::Protocol,
            Self::Refused { code, .. } => *code,
            Self::Untrusted { .. } => ErrorCode::Forbidden,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::Network { .. } => ErrorCode::Unavailable,
            Self::Local { source, .. } => local_code(source),
        }
    }

    /// What the peer is told: the code and a sentence without paths or details of this machine.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let code = self.code();
        let message = match self {
            Self::Refused { message, .. } => message.clone(),
            Self::Violation(violation) => violation.to_string(),
            Self::Timeout { operation, limit } => format!("{operation}: not in {} s", limit.as_secs()),
            Self::Network { .. } => "the connection failed".into(),
            Self::Untrusted { .. } => "the other side is not trusted".into(),
            Self::Local { operation, .. } => format!("{operation}: {}", local_sentence(code)),
        };
        Fault { code, message: Some(truncate(message, MAX_MESSAGE)) }
    }

    /// Whether trying again on a new connection may help.
    #[must_use]
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Timeout { .. } => true,
            Self::Refused { code, .. } => {
                matches!(code, ErrorCode::Busy | ErrorCode::Timeout | ErrorCode::ShuttingDown)
            }
            Self::Violation(_) | Self::Untrusted { .. } | Self::Local { .. } => false,
        }
    }
}

/// Longest message of an ERROR frame, in bytes (PROTOCOL.md, section 10).
const MAX_MESSAGE: usize = 512;

fn truncate(mut message: String, limit: usize) -> String {
    message.truncate(message.floor_char_boundary(limit));
    message
}

fn local_code(source: &io::Error) -> ErrorCode {
    match Errno::from_io_error(source) {
        // A link (LOOP) and an escape (XDEV) get the answer of a name that is not there: neither is anybody's business.
        Some(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR) => ErrorCode::NotFound,
        Some(Errno::NOSPC | Errno::DQUOT) => ErrorCode::NoSpace,
        Some(Errno::FBIG) => ErrorCode::TooLarge,
        Some(Errno::NAMETOOLONG) => ErrorCode::BadPath,
        _ => ErrorCode::Unavailable,
    }
}

fn local_sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotFound => "not found",
        ErrorCode::NoSpace => "the disk is full",
        ErrorCode::TooLarge => "the file is too large for the server's file system or limits",
        ErrorCode::BadPath => "the name is too long for the server's file system",
        _ => "the server cannot do this now; its log has the cause",
    }
}

/// What the system says of an error, without the number that means nothing to most people.
fn plain(source: &io::Error) -> String {
    let text = source.to_string();
    let number = source.raw_os_error().map(|number| format!(" (os error {number})"));
    number.and_then(|number| text.strip_suffix(&number).map(str::to_owned)).unwrap_or(text)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "the other side broke the protocol: {violation}"),
            Self::Refused { message, .. } | Self::Untrusted { message } => f.write_str(message),
            Self::Network { operation, source } => write!(f, "{operation}: {}", plain(source)),
            Self::Timeout { operation, limit } => write!(f, "{operation}: nothing in {} s", limit.as_secs()),
            Self::Local { operation, path, source } => write!(f, "{operation} {path}: {}", plain(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Violation(violation) => Some(violation),
            Self::Network { source, .. } | Self::Local { source, .. } => Some(source),
            Self::Refused { .. } | Self::Untrusted { .. } | Self::Timeout { .. } => None,
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Violation(Violation::WebSocket(failure))
    }
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::refused(ErrorCode::BadPath, error.to_string())
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::refused(ErrorCode::BadName, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_become_the_documented_codes() {
        let code = |errno: Errno| Error::local("open", "x", errno).code();
        assert_eq!(code(Errno::NOENT), ErrorCode::NotFound);
        assert_eq!(code(Errno::XDEV), code(Errno::LOOP));
        assert_eq!(code(Errno::NOSPC), ErrorCode::NoSpace);
        assert_eq!(code(Errno::MFILE), ErrorCode::Unavailable);
        assert_eq!(code(Errno::IO), ErrorCode::Unavailable);
    }

    #[test]
    fn the_peer_learns_no_path_of_this_machine() {
        let fault = Error::local("open", "/srv/secret/x", Errno::ACCESS).to_fault();
        assert!(!fault.message.unwrap().contains("secret"));
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        assert_eq!(truncate("año".into(), 2), "a");
    }
}
