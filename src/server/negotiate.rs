//! What a new connection speaks, and whether it may: TLS or not, and the protocol in it.
//!
//! Owns the rule that a server with a certificate speaks TLS only, and what is said to whom who does not keep to it.
//! Knows nothing of what is spoken after that.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::admission::Live;
use crate::connection::{Connection, Identity, REFUSES_TLS, Stream, guess};
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, Guess, Reply};
use std::net::TcpStream;
use std::time::Duration;

/// How long somebody who is refused may take to read why.
const LAST_WORD: Duration = Duration::from_secs(2);
const TLS_ONLY: &str = "this server speaks TLS only: use --tls";
/// What a program that speaks HTTP hears of it (RFC 9110, section 15.5.22).
const HTTP_TLS_ONLY: &str = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade, close\r\n\
    Content-Type: text/plain\r\nContent-Length: 44\r\n\r\nThis server speaks TLS only: use https://.\r\n";

/// Takes a connection to where its protocol begins, within TLS where that is spoken, and tells which it is.
///
/// # Errors
/// [`Error::Refused`] if it may not go on; it has been told. Those of the connection.
pub(super) fn negotiate(socket: TcpStream, live: &Live, shared: &Shared) -> Result<(Stream, Guess)> {
    let mut stream = Stream::new(socket, shared.config.deadlines)?;
    live.set_interrupt(stream.interrupt());
    let spoken = guess(&mut stream)?;
    match (&shared.config.tls, spoken) {
        (Some(credentials), Guess::Tls) => encrypt(stream, &credentials.identity(), live),
        (None, Guess::Tls) => Err(refuse_tls(stream)),
        (Some(_), Guess::Native) => Err(refuse_native(stream)),
        (Some(_), Guess::Http) => Err(refuse_http(stream)),
        (_, spoken) => Ok((stream, spoken)),
    }
}

fn encrypt(mut stream: Stream, identity: &Identity, live: &Live) -> Result<(Stream, Guess)> {
    if let Err(error) = stream.accept_tls(identity) {
        stream.close(LAST_WORD);
        return Err(error);
    }
    log::debug!(event = "tls", client:% = live.peer, agreed = stream.tls().unwrap_or_default(); "");
    match guess(&mut stream)? {
        // Once is enough.
        Guess::Tls => Ok((stream, Guess::Unknown)),
        spoken => Ok((stream, spoken)),
    }
}

fn refuse_tls(mut stream: Stream) -> Error {
    let _ = stream.send(&REFUSES_TLS);
    stream.close(LAST_WORD);
    Error::refused(ErrorCode::Forbidden, "it speaks TLS, and this server runs without --tls")
}

fn refuse_native(stream: Stream) -> Error {
    let error = Error::refused(ErrorCode::Forbidden, TLS_ONLY);
    let mut connection = Connection::over(stream);
    let _ = connection.send_preamble().and_then(|()| connection.send_reply(&Reply::Error(error.to_fault())));
    connection.close(LAST_WORD);
    error
}

fn refuse_http(mut stream: Stream) -> Error {
    let _ = stream.send(HTTP_TLS_ONLY.as_bytes());
    stream.close(LAST_WORD);
    Error::refused(ErrorCode::Forbidden, TLS_ONLY)
}
