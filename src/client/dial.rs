//! From a name to a connection that may be spoken on: the one place where the client dials.
//!
//! Owns addresses, and the order of things: a server that must be spoken to with TLS has shown the right key before
//! anything is sent. Greets nobody; that is [`Session::greet`]'s.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::Registration;
use super::options::Link;
use super::session::Session;
use super::trust::{Expected, Verdict};
use crate::connection::{Deadlines, Stream};
use crate::error::{Error, Result};
use crate::escape::harmless;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long each address of a name may take to answer; shorter than the silence that a working server is granted.
const DIAL: Duration = Duration::from_secs(10);
/// How long a connection is given that was only there to see the server's key.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// An address or a name.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
}

impl Target {
    /// What it is known as: two ways to write one address are the same.
    pub(super) fn known_as(&self) -> String {
        let address: Option<IpAddr> = self.host.parse().ok();
        let host = address.map_or_else(
            || harmless(self.host.trim_end_matches('.').to_lowercase().as_bytes()).replace(' ', "\\x20"),
            |address| address.to_canonical().to_string(),
        );
        Self { host, port: self.port }.to_string()
    }

    fn resolve(&self) -> Result<Vec<SocketAddr>> {
        let found: Vec<_> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| unreachable(format!("the name cannot be resolved ({error}): check --ip")))?
            .collect();
        if found.is_empty() { Err(unreachable("the name has no address: check --ip".into())) } else { Ok(found) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = harmless(self.host.as_bytes());
        if host.contains(':') { write!(f, "[{host}]:{}", self.port) } else { write!(f, "{host}:{}", self.port) }
    }
}

impl Link {
    /// Dials and greets.
    ///
    /// # Errors
    /// [`Error::Network`] with the cure; [`Error::Untrusted`]; [`Error::Violation`] if it is not a hostdir server;
    /// [`Error::Refused`].
    pub(super) fn open(&self) -> Result<Session> {
        loop {
            let expected = self.trust.expected(&self.target, self.tls)?;
            let (mut stream, peer, registration) = self.connect()?;
            if self.secure(&mut stream, peer, expected)? == Verdict::Trusted {
                return Session::greet(stream, peer, self.token.clone(), registration);
            }
            stream.close(LAST_WORD);
        }
    }

    fn connect(&self) -> Result<(Stream, SocketAddr, Registration)> {
        let socket = dial(&self.target, self.silence.min(DIAL))?;
        let peer = socket.peer_addr().map_err(|error| Error::network("connect", error))?;
        let stream = Stream::new(socket, Deadlines::client(self.silence))?;
        let registration = self.cancel.register(stream.interrupt());
        Ok((stream, peer, registration))
    }

    /// Speaks TLS from here on, unless plaintext is all that was ever spoken with this server.
    fn secure(&self, stream: &mut Stream, peer: SocketAddr, expected: Expected) -> Result<Verdict> {
        let key = match expected {
            Expected::Plain => return Ok(Verdict::Trusted),
            Expected::Key(key) => Some(key),
            Expected::NewKey => None,
        };
        let seen = stream.connect_tls(&self.target.host, peer.ip(), key);
        let seen = seen.map_err(|why| self.trust.explain(&self.target, expected, why))?;
        self.trust.decide(&self.target, seen)
    }
}

fn dial(target: &Target, patience: Duration) -> Result<TcpStream> {
    let mut last = None;
    for address in target.resolve()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    let port = target.port;
    Err(match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            unreachable(format!("nothing listens there: is the server running? Start it with `server --port {port}`"))
        }
        io::ErrorKind::TimedOut => {
            unreachable(format!("no answer in {} s: is the address right, and the port open?", patience.as_secs()))
        }
        _ => Error::network("connect", error),
    })
}

fn unreachable(why: String) -> Error {
    Error::network("connect", io::Error::new(io::ErrorKind::NotConnected, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_known_under_one_name_however_it_is_written() {
        let name = |host: &str| Target { host: host.into(), port: 9000 }.known_as();
        assert_eq!(name("NAS.local."), "nas.local:9000");
        assert_eq!(name("::ffff:192.168.1.20"), "192.168.1.20:9000");
        assert_eq!(name("FD00:0::2"), "[fd00::2]:9000");
        assert_eq!(name("a b\n").split(' ').count(), 1);
    }
}
