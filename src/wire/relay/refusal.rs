//! Why a message of a relay's client is not taken. The text is what the client is told when it is closed.

use std::fmt;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the Display texts say it")]
pub enum RelayRefusal {
    Unknown,
    LongOpening,
    NoTopic,
    BadMime,
    NameIsAPath,
    NotBase64,
    NoName,
    TextInFile,
}

impl fmt::Display for RelayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "neither subscribe:TOPIC nor message:TOPIC:MIME:NAME:BASE64",
            Self::LongOpening => "more than 8192 bytes before the base64",
            Self::NoTopic => "no topic",
            Self::BadMime => "the MIME type is too long or has a control character in it",
            Self::NameIsAPath => "the name has a slash in it, or there is none",
            Self::NotBase64 => "the file is not in base64 (RFC 4648, section 4)",
            Self::NoName => "bytes before the name of their file",
            Self::TextInFile => "text before the end of a file",
        })
    }
}

impl std::error::Error for RelayRefusal {}
