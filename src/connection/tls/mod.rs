//! Bytes over TLS, over a socket (PROTOCOL.md, section 1): what [`super::transport`] does with a plain socket, encrypted.
//!
//! Owns the handshake and the passing of bytes between the socket and [`engine`]. One thread at a time uses a connection,
//! also to read and to write in turns; others only end it, by [`super::Interrupt`], which touches the socket alone. So
//! nothing is locked, least of all over a system call.
//!
//! | Module | Owns |
//! |---|---|
//! | `engine` | TLS as bytes in and bytes out |
//! | `identity` | what a server proves itself with |
//! | `pin` | how a client checks that |
//! | `fingerprint` | a key, as people compare it |
//! | `failure` | why a client has no TLS connection |
//! | `provider` | the cryptography, in the order of what is quick here |

mod engine;
mod failure;
mod fingerprint;
mod identity;
mod pin;
mod provider;

pub use failure::NotSecured;
pub use fingerprint::{Fingerprint, NoFingerprint};
pub use identity::Identity;

use super::limiter::Way;
use super::pace::Pace;
use super::socket::{Interrupt, More, Ready, Socket};
use super::transport::in_time;
use engine::{Engine, Side};
use failure::blame;
use pin::Pin;
use rustix::io::{Errno, pread};
use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes read from the socket at a time at first, and after a rest.
const APPETITE_AT_FIRST: usize = 4 * 1024;
/// Bytes read at a time while many come.
const APPETITE: usize = engine::MOST_INCOMING / 2;
/// Bytes encrypted at a time: enough for few system calls, few enough to stay in the processor's cache.
const BLOCK: usize = 64 * 1024;
/// A wait that is longer holds no memory.
const REST: Duration = Duration::from_millis(50);
/// Looks at a socket that always has something and never plaintext, before it counts as silent.
const MOST_LOOKS: u32 = 16;

/// What somebody who speaks TLS is told where it is not spoken: the fatal alert handshake_failure (RFC 8446, section 6).
pub const REFUSES_TLS: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];
/// What a newcomer is told for whom there is no room: the fatal alert internal_error, "unrelated to the peer".
pub const TAKES_NONE_NOW: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// A connection that speaks TLS.
#[derive(Debug)]
pub(super) struct Tls {
    socket: Socket,
    engine: Engine,
    appetite: usize,
    /// Times in a row that something was received and no plaintext came of it.
    fruitless: u32,
    /// A block of a file, before it is encrypted.
    block: Vec<u8>,
    /// Bytes that were encrypted, and could not be sent in time.
    unsent: usize,
}

/// How long encrypted bytes may take to be sent.
enum Until<'a> {
    Time(Instant),
    Pace(&'a mut Pace),
}

impl Tls {
    /// The server's side: reads and answers a handshake, whose first bytes were read already.
    pub(super) fn accept(socket: Socket, identity: &Identity, first: &[u8], deadline: Instant) -> io::Result<Self> {
        let side = UnbufferedServerConnection::new(identity.config()).map_err(io::Error::other)?;
        let mut tls = Self::new(socket, Side::Server(side));
        tls.engine.append(first.len(), |incoming| incoming.extend_from_slice(first));
        tls.shake_hands(deadline)?;
        Ok(tls)
    }

    /// The client's side. Without an expected key every key is taken, and is to be decided on before anything is sent.
    pub(super) fn connect(
        socket: Socket,
        host: &str,
        peer: IpAddr,
        expected: Option<Fingerprint>,
        deadline: Instant,
    ) -> Result<(Self, Fingerprint), NotSecured> {
        let pin = Arc::new(Pin::new(expected));
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::IpAddress(peer.into()));
        let side = UnbufferedClientConnection::new(pin.config().map_err(NotSecured::Io)?, name);
        let side = side.map_err(|error| NotSecured::Io(io::Error::other(error)))?;
        let mut tls = Self::new(socket, Side::Client(side));
        tls.shake_hands(deadline).map_err(|error| blame(error, &pin, expected))?;
        match pin.seen() {
            Some(seen) => Ok((tls, seen)),
            None => Err(NotSecured::Forged("the server has shown no certificate".into())),
        }
    }

    fn new(socket: Socket, side: Side) -> Self {
        Self {
            socket,
            engine: Engine::new(side),
            appetite: APPETITE_AT_FIRST,
            fruitless: 0,
            block: Vec::new(),
            unsent: 0,
        }
    }

    fn shake_hands(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let looked = self.engine.has_plaintext();
            // Also the alert that says why it comes to nothing.
            let sent = self.send_outgoing(More::Nothing, &mut Until::Time(deadline));
            looked.map_err(failed)?;
            sent?;
            if !self.engine.is_handshaking() {
                return Ok(());
            }
            if self.is_overdue(deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.receive()? {
                Some(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
                Some(_) => {}
                None => self.socket.wait_readable(deadline)?,
            }
        }
    }

    /// What was agreed on, for a log.
    pub(super) fn agreed(&self) -> String {
        let common = self.engine.common();
        let version = common.protocol_version().map(|it| format!("{it:?}")).unwrap_or_default();
        let suite = common.negotiated_cipher_suite().map(|it| format!("{:?}", it.suite())).unwrap_or_default();
        format!("{version} {suite}")
    }

    /// Reads some bytes; 0 at the end of the stream, which only the peer can say.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            if let Some(count) = self.take_into(buffer)? {
                return Ok(count);
            }
            if self.is_overdue(deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.receive()? {
                None => self.socket.wait_readable(deadline)?,
                Some(0) => return self.end(),
                Some(_) => {}
            }
        }
    }

    /// Appends what is there to a buffer, `room` bytes at most; `None` if nothing is, 0 at the end of the stream.
    pub(super) fn read_now(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<Option<usize>> {
        for _ in 0..MOST_LOOKS {
            if let Some(count) = self.append_plaintext(buffer, room)? {
                return Ok(Some(count));
            }
            match self.receive()? {
                None => return Ok(None),
                Some(0) => return self.end().map(Some),
                Some(_) => {}
            }
        }
        // Whatever came last must be looked at: the socket will not tell of it again.
        self.append_plaintext(buffer, room)
    }

    /// Writes some of the bytes, as fast as `pace` asks for. If that times out, the next call goes on with the same bytes.
    pub(super) fn write(&mut self, bytes: &[u8], more: More, pace: &mut Pace) -> io::Result<usize> {
        if self.unsent == 0 {
            let block = bytes.get(..BLOCK).unwrap_or(bytes);
            self.engine.encrypt(block).map_err(failed)?;
            self.unsent = block.len();
        }
        let more = if self.unsent < bytes.len() { More::Follows } else { more };
        self.send_outgoing(more, &mut Until::Pace(pace))?;
        Ok(std::mem::take(&mut self.unsent))
    }

    /// Sends some bytes of a file; 0 if the file ends at `offset`. After a timeout as [`Tls::write`].
    pub(super) fn send_file(&mut self, file: &File, offset: u64, count: usize, pace: &mut Pace) -> io::Result<usize> {
        if self.unsent == 0 {
            self.unsent = self.encrypt_block(file, offset, count)?;
        }
        let more = if self.unsent < count { More::Follows } else { More::Nothing };
        self.send_outgoing(more, &mut Until::Pace(pace))?;
        Ok(std::mem::take(&mut self.unsent))
    }

    fn encrypt_block(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        self.block.resize(BLOCK, 0);
        let room = self.block.get_mut(..count.min(BLOCK)).unwrap_or_default();
        let read = loop {
            match pread(file, &mut *room, offset) {
                Err(Errno::INTR) => {}
                result => break result?,
            }
        };
        self.engine.encrypt(self.block.get(..read).unwrap_or_default()).map_err(failed)?;
        Ok(read)
    }

    /// Waits until there is something to read, or the end of the stream.
    pub(super) fn wait_readable(&mut self, deadline: Instant) -> io::Result<()> {
        if self.is_overdue(deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let soon = super::after(Instant::now(), REST);
        if soon < deadline {
            match self.socket.wait_readable(soon) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => self.release(),
                result => return result,
            }
        }
        self.socket.wait_readable(deadline)
    }

    /// Waits until a read would return at once; whether that came before the deadline. The socket alone does not tell: what
    /// it had may be here already, and what it has may be a part of a record.
    pub(super) fn wait_for_input(&mut self, deadline: Instant) -> io::Result<bool> {
        while !self.is_readable() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.release();
            if !in_time(self.socket.wait_readable(deadline))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does nothing until a time, unless the connection is ended before.
    pub(super) fn rest(&self, until: Instant, way: Way) {
        self.socket.rest(until, way);
    }

    /// Waits until there is something to read here, or from `other`, or the deadline comes.
    pub(super) fn wait_either(&mut self, other: BorrowedFd<'_>, deadline: Instant) -> io::Result<Ready> {
        loop {
            if self.is_readable() {
                return Ok(Ready { input: true, other: false });
            }
            self.release();
            let ready = self.socket.wait_either(other, deadline)?;
            // A part of a record is nothing to read yet; whoever waits here would be woken for nothing.
            let input = ready.input && self.is_readable();
            if input || ready.other || Instant::now() >= deadline {
                return Ok(Ready { input, ..ready });
            }
        }
    }

    /// Whether a read would return at once.
    pub(super) fn is_readable(&mut self) -> bool {
        for _ in 0..MOST_LOOKS {
            if self.has_news() {
                return true;
            }
            match self.receive() {
                Ok(None) => return false,
                // The end: the next read sees it again.
                Ok(Some(0)) | Err(_) => return true,
                Ok(Some(_)) => {}
            }
        }
        self.has_news()
    }

    /// Tells the peer that nothing more will come, until `deadline` at most; reading goes on.
    pub(super) fn finish_writing(&mut self, deadline: Instant) {
        // What cannot be told is not told: the peer then knows that something is missing.
        if self.engine.close_notify().is_ok() {
            let _ = self.send_outgoing(More::Nothing, &mut Until::Time(deadline));
        }
        self.socket.finish_writing();
    }

    /// Throws away what comes, without a look at it; 0 at the end of the stream.
    pub(super) fn discard(&self, sink: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.socket.read(sink, deadline)
    }

    /// Whether what was received is something to read: plaintext, the end, or a failure.
    fn has_news(&mut self) -> bool {
        let has_plaintext = self.engine.has_plaintext();
        self.answer();
        let has_news = has_plaintext.unwrap_or(true) || self.engine.has_ended();
        self.fruitless = if has_news { 0 } else { self.fruitless };
        has_news
    }

    /// Whether the peer only sends records without plaintext, which must not hold anybody up beyond the deadline: there, a
    /// wait for the socket would always end well.
    fn is_overdue(&self, deadline: Instant) -> bool {
        self.fruitless >= MOST_LOOKS && Instant::now() >= deadline
    }

    /// Appends what is there already; 0 at the end of the stream, `None` if more must come first.
    fn append_plaintext(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<Option<usize>> {
        let count = self.engine.take(room, &mut |bytes| buffer.extend_from_slice(bytes)).map_err(failed)?;
        Ok(self.taken(count))
    }

    /// The same, to where it is wanted.
    fn take_into(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut filled = 0_usize;
        let room = buffer.len();
        let mut fill = |bytes: &[u8]| {
            let end = filled.saturating_add(bytes.len());
            if let Some(place) = buffer.get_mut(filled..end) {
                place.copy_from_slice(bytes);
            }
            filled = end;
        };
        let count = self.engine.take(room, &mut fill).map_err(failed)?;
        Ok(self.taken(count))
    }

    fn taken(&mut self, count: usize) -> Option<usize> {
        self.answer();
        let is_something = count > 0 || self.engine.has_ended();
        self.fruitless = if is_something { 0 } else { self.fruitless };
        is_something.then_some(count)
    }

    /// Reads what the socket has; `None` if it has nothing, 0 at its end.
    fn receive(&mut self) -> io::Result<Option<usize>> {
        let (appetite, socket) = (self.appetite, &self.socket);
        let count = self.engine.append(appetite, |incoming| socket.read_now(incoming, appetite))?;
        self.fruitless = self.fruitless.saturating_add(1);
        if count >= Some(appetite) {
            self.appetite = appetite.saturating_mul(4).min(APPETITE);
        }
        Ok(count)
    }

    /// The socket's end where the peer has not said so: somebody has cut the stream, unless it was this side.
    fn end(&self) -> io::Result<usize> {
        if self.socket.is_stopped() {
            return Ok(0);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut off, within TLS"))
    }

    /// Sends what TLS itself has to say, as far as that goes without waiting; the rest goes before what is written next.
    fn answer(&mut self) {
        if !self.engine.outgoing().is_empty() {
            let _ = self.send_outgoing(More::Nothing, &mut Until::Time(Instant::now()));
        }
    }

    /// Sends all that is encrypted.
    fn send_outgoing(&mut self, more: More, until: &mut Until<'_>) -> io::Result<()> {
        while !self.engine.outgoing().is_empty() {
            let moved = self.socket.write(self.engine.outgoing(), more, until.deadline())?;
            self.engine.sent(moved);
            until.moved(moved);
        }
        Ok(())
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        self.socket.interrupt()
    }

    fn release(&mut self) {
        self.engine.release();
        (self.block, self.appetite) = (Vec::new(), APPETITE_AT_FIRST);
    }
}

/// As a plain socket that is dropped: it has nothing more to say, and says so where that takes no time. Somebody who has cut
/// the stream could not.
impl Drop for Tls {
    fn drop(&mut self) {
        self.finish_writing(Instant::now());
    }
}

fn failed(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Until<'_> {
    fn deadline(&mut self) -> Instant {
        match self {
            Self::Time(deadline) => *deadline,
            Self::Pace(pace) => pace.deadline(),
        }
    }

    fn moved(&mut self, bytes: usize) {
        if let Self::Pace(pace) = self {
            pace.moved(bytes);
        }
    }
}
