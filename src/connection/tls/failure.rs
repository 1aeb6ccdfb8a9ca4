//! Why a client has no TLS connection: it decides whether the client tries again, or never.

use super::fingerprint::Fingerprint;
use super::pin::Pin;
use rustls::{AlertDescription, CertificateError, Error};
use std::fmt;
use std::io;

/// Why a client has no TLS connection.
#[derive(Debug)]
pub enum NotSecured {
    /// The server has another key than the one that was expected.
    OtherKey(Fingerprint),
    /// What answers speaks no TLS, or none that is good enough; a sentence.
    NoTls(String),
    /// The handshake was not right: a wrong signature, an altered message. Says what it was.
    Forged(String),
    /// The connection failed.
    Io(io::Error),
}

/// Whom a failed handshake of a client is to be blamed on.
pub(super) fn blame(error: io::Error, pin: &Pin, expected: Option<Fingerprint>) -> NotSecured {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return NotSecured::Io(error);
    };
    match (cause, pin.seen()) {
        (Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure), Some(seen))
            if Some(seen) != expected =>
        {
            NotSecured::OtherKey(seen)
        }
        (Error::InvalidMessage(_), None) => NotSecured::NoTls("what answers is no TLS".into()),
        (Error::AlertReceived(AlertDescription::HandshakeFailure), None) => {
            NotSecured::NoTls("the server speaks no TLS".into())
        }
        (Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_), None) => {
            NotSecured::NoTls("the server speaks no TLS 1.3".into())
        }
        (Error::AlertReceived(AlertDescription::InternalError), None) => {
            let why = "the server takes no connection now: it is busy, or stopping";
            NotSecured::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why))
        }
        (cause, _) => NotSecured::Forged(cause.to_string()),
    }
}

impl fmt::Display for NotSecured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey(seen) => write!(f, "the server has another key: {seen}"),
            Self::NoTls(what) => f.write_str(what),
            Self::Forged(what) => write!(f, "the TLS handshake is not right: {what}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotSecured {}
