//! A buffered byte stream over a socket, with deadlines: what every protocol on the port is spoken over.
//!
//! Owns the buffers, the time that the peer may take, and the waiting for turns where there is a limit. Knows nothing of
//! frames or heads: it gives what was read, as long as it is wanted, and sends what it is given.
//!
//! Memory: a stream that waits for its peer holds no buffer. One that reads holds 64 KiB, one that writes at most as many.

use super::after;
use super::bucket::Draw;
use super::input::Input;
use super::limiter::{Meter, Share, Way};
use super::pace::{Deadlines, Pace, WaitFrame};
use super::socket::{Interrupt, Socket};
use super::tls::{Fingerprint, Identity, NotSecured, Tls};
use super::transport::Transport;
use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::socket::{More, Ready};

/// Bytes read at a time while pieces are small and many of them come.
pub(super) const INPUT: usize = 64 * 1024;
/// Bytes read at a time at first, and after a rest: a request, or a few.
const INPUT_AT_FIRST: usize = 4 * 1024;
/// Bytes read at a time between large pieces: what is read with a header is copied once more.
const INPUT_BETWEEN_DATA: usize = 512;
/// Bytes of output gathered before they are written.
pub(super) const OUTPUT: usize = 64 * 1024;

/// What is waited for, and its limit, for the message if it takes longer.
pub type Awaited = (&'static str, Duration);

/// One side of a connection, as bytes.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    deadlines: Deadlines,
    opened: Instant,
    input: Input,
    /// Bytes to be read at a time.
    appetite: usize,
    output: Vec<u8>,
    receiving: Pace,
    sending: Pace,
    meter: Meter,
}

impl Stream {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// [`Error::Network`] if the socket's options cannot be set.
    pub fn new(socket: TcpStream, deadlines: Deadlines) -> Result<Self> {
        let opened = Instant::now();
        Ok(Self {
            transport: Socket::new(socket)
                .map(Transport::Plain)
                .map_err(|error| Error::network("set up the connection", error))?,
            opened,
            input: Input::default(),
            appetite: INPUT_AT_FIRST,
            output: Vec::new(),
            receiving: Pace::new(&deadlines),
            sending: Pace::new(&deadlines),
            meter: Meter::default(),
            deadlines,
        })
    }

    /// The means to end this connection from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.transport.interrupt()
    }

    /// Speaks TLS from here on, as the server: answers the handshake that the peer has begun. What was read and not taken
    /// is the beginning of it.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it is not done in the time that a greeting may take; [`Error::Network`] for everything else.
    /// The peer has been told why, as far as TLS has a word for it.
    pub fn accept_tls(&mut self, identity: &Identity) -> Result<()> {
        let Transport::Plain(socket) = &self.transport else { return Ok(()) };
        let tls = Tls::accept(socket.clone(), identity, self.input.unread(), self.greeting_deadline());
        let tls = tls.map_err(|error| timed("TLS handshake", self.deadlines.greeting, error))?;
        self.input.release();
        self.transport = Transport::Tls(Box::new(tls));
        Ok(())
    }

    /// Speaks TLS from here on, as the client of `host`, and returns the key that the server has proved to have. Nothing
    /// else may have been sent before. If a key is expected, nothing but that it was another one is told to any other.
    ///
    /// # Errors
    /// [`NotSecured`].
    pub fn connect_tls(
        &mut self,
        host: &str,
        peer: IpAddr,
        expected: Option<Fingerprint>,
    ) -> std::result::Result<Fingerprint, NotSecured> {
        let Transport::Plain(socket) = &self.transport else {
            return Err(NotSecured::Forged("TLS within TLS".into()));
        };
        let (tls, seen) = Tls::connect(socket.clone(), host, peer, expected, self.greeting_deadline())?;
        self.transport = Transport::Tls(Box::new(tls));
        Ok(seen)
    }

    /// Version and cipher suite, if this is TLS.
    #[must_use]
    pub fn tls(&self) -> Option<String> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(tls.agreed()),
        }
    }

    /// Whether what passes is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// What passes from here on is moved no faster than this share of a [`super::Limiter`] allows; without one, as fast as it
    /// goes. Bytes count as they are before they are encrypted.
    pub fn limit(&mut self, share: Option<Arc<Share>>) {
        self.meter.set(share);
    }

    /// How long this side has done nothing because of its limit.
    #[must_use]
    pub fn rested(&self) -> Duration {
        self.meter.rest()
    }

    /// A deadline of the peer that was set when this side had `rested` for so long: later by what it has since.
    #[must_use]
    pub fn later(&self, deadline: Instant, rested: Duration) -> Instant {
        after(deadline, self.rested().saturating_sub(rested))
    }

    /// The time that the peer may take.
    #[must_use]
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// When the greeting must be complete.
    #[must_use]
    pub fn greeting_deadline(&self) -> Instant {
        after(self.opened, self.deadlines.greeting)
    }

    /// The time that lies `limit` from now.
    #[must_use]
    pub fn deadline_in(&self, limit: Duration) -> Instant {
        after(Instant::now(), limit)
    }

    /// What was read and not taken yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// Takes the next `count` bytes of what was read, or as many as there are.
    pub fn take(&mut self, count: usize) -> &[u8] {
        self.input.take(count)
    }

    /// Large pieces follow, which are better read to where they are wanted.
    pub fn expect_large_pieces(&mut self) {
        self.appetite = INPUT_BETWEEN_DATA;
    }

    /// Reads once, to what is there; 0 at the end of the stream. The buffer is given back while nothing is there.
    ///
    /// # Errors
    /// [`Error::Timeout`] after the deadline, [`Error::Network`].
    pub fn fill(&mut self, deadline: Instant, (operation, limit): Awaited) -> Result<usize> {
        loop {
            let (appetite, transport) = (self.meter.most(self.appetite, Way::In), &mut self.transport);
            // Asking first whether something is there would be one call more whenever something is.
            match self.input.append(appetite, |bytes| transport.read_now(bytes, appetite)) {
                Ok(Some(count)) => {
                    if count >= appetite {
                        self.appetite = appetite.saturating_mul(4).min(INPUT);
                    }
                    self.received(count, Draw::of(count));
                    return Ok(count);
                }
                Ok(None) => {}
                Err(error) => return Err(timed(operation, limit, error)),
            }
            if self.input.unread().is_empty() {
                self.input.release();
                self.appetite = self.appetite.min(INPUT_AT_FIRST);
                self.release_large_output();
            }
            self.transport.wait_readable(deadline).map_err(|error| timed(operation, limit, error))?;
        }
    }

    /// Reads once, if something is there; `None` if nothing is, 0 at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn fill_now(&mut self) -> Result<Option<usize>> {
        let transport = &mut self.transport;
        let filled = self.input.append(INPUT_AT_FIRST, |bytes| transport.read_now(bytes, INPUT_AT_FIRST));
        filled.map_err(|error| Error::network("receive", error))
    }

    /// Reads some bytes of a transfer to where they are wanted, at the rate that is asked of the peer; 0 only for an
    /// empty buffer.
    ///
    /// # Errors
    /// [`Error::Timeout`] if too little comes; [`Error::Network`], also if the stream ends.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = if self.input.unread().is_empty() {
            let room = self.meter.most(buffer.len(), Way::In);
            let count = self
                .transport
                .read(buffer.get_mut(..room).unwrap_or_default(), self.receiving.deadline())
                .map_err(|error| timed("receive", self.receiving.window(), error))?;
            self.received(count, Draw::Bulk);
            count
        } else {
            let bytes = self.input.take(buffer.len());
            if let Some(place) = buffer.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
            bytes.len()
        };
        if count == 0 {
            return Err(Error::disconnected("receive"));
        }
        self.receiving.moved(count);
        Ok(count)
    }

    /// When the peer must have sent enough of a transfer, and what to say if it has not.
    pub fn pace(&mut self) -> (Instant, Awaited) {
        (self.receiving.deadline(), ("receive", self.receiving.window()))
    }

    /// Whether a part of what follows was read already.
    #[must_use]
    pub fn has_buffered_input(&self) -> bool {
        !self.input.unread().is_empty()
    }

    /// Whether something is there to be read without waiting.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        self.has_buffered_input() || self.transport.is_readable()
    }

    /// Waits until something is there to be read, or `other` is readable, for `patience` at most. No buffer is held
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Network`] if the kernel cannot wait.
    pub fn wait_for_input_or(&mut self, other: BorrowedFd<'_>, patience: Duration) -> Result<Ready> {
        if self.has_buffered_input() {
            return Ok(Ready { input: true, other: false });
        }
        self.input.release();
        self.output = Vec::new();
        let deadline = after(Instant::now(), patience);
        self.transport.wait_either(other, deadline).map_err(|error| Error::network("wait", error))
    }

    /// Waits until something is there to be read, for `patience` at most; whether it is. No buffer is held meanwhile.
    ///
    /// # Errors
    /// [`Error::Network`] if the kernel cannot wait.
    pub fn wait_for_input(&mut self, patience: Duration) -> Result<bool> {
        if self.has_buffered_input() {
            return Ok(true);
        }
        self.input.release();
        self.output = Vec::new();
        let deadline = after(Instant::now(), patience);
        self.transport.wait_for_input(deadline).map_err(|error| Error::network("wait", error))
    }

    /// What comes next is a stream whose sender does not have its bytes yet, up to the next [`Stream::restart_pace`].
    pub fn expect_a_stream(&mut self) {
        self.receiving = Pace::of_a_stream(&self.deadlines);
    }

    /// The peer said that it still works: it gets a fresh window.
    pub fn excuse(&mut self) {
        self.receiving.restart();
    }

    /// Gives the peer a fresh window both ways: a transfer begins, or this side made it wait.
    pub fn restart_pace(&mut self) {
        self.receiving = Pace::new(&self.deadlines);
        self.sending.restart();
    }

    /// Queues bytes by appending them to what is to be sent; they are sent when enough has gathered, or by
    /// [`Stream::flush`].
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn queue(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        append(&mut self.output);
        if self.output.len() >= OUTPUT { self.flush(More::Nothing) } else { Ok(()) }
    }

    /// Queues bytes that are there, or sends them at once if they are many.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < OUTPUT {
            return self.queue(|output| output.extend_from_slice(bytes));
        }
        self.flush(More::Follows)?;
        self.write_all(bytes, More::Nothing)
    }

    /// Sends `count` bytes of a file from the page cache, after what was queued: how many could be had.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<u32> {
        self.flush(More::Follows)?;
        let mut sent: u32 = 0;
        while let left @ 1.. = count.saturating_sub(sent) {
            let from = offset.saturating_add(u64::from(sent));
            let turn = self.turn_to_send(left as usize);
            match self.transport.send_file(file, from, turn, &mut self.sending) {
                Ok(0) => break,
                Ok(moved) => {
                    self.meter.sent(moved);
                    sent = sent.saturating_add(u32::try_from(moved).unwrap_or(u32::MAX));
                }
                Err(error) if is_of_the_file(&error) => break,
                Err(error) if self.is_spoken_to(&error) => {}
                Err(error) => return Err(timed("send", self.deadlines.window, error)),
            }
        }
        Ok(sent)
    }

    /// Sends zeros in the place of so many bytes that were announced and cannot be had.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn pad(&mut self, mut missing: u32) -> Result<()> {
        let zeros = vec![0; OUTPUT.min(missing as usize)];
        while missing > 0 {
            let piece = zeros.get(..missing as usize).unwrap_or(&zeros);
            self.send(piece)?;
            missing = missing.saturating_sub(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn flush(&mut self, more: More) -> Result<()> {
        let mut output = std::mem::take(&mut self.output);
        let result = self.write_all(&output, more);
        output.clear();
        if output.capacity() <= 2 * OUTPUT {
            self.output = output;
        }
        result
    }

    /// Ends the connection so that the peer receives what was sent last: no more is written, and for `patience` what
    /// still comes in is thrown away. Without this, unread input would turn the close into a reset, and the peer might
    /// never see the error that explains it.
    pub fn close(mut self, patience: Duration) {
        let _ = self.flush(More::Nothing);
        let deadline = after(Instant::now(), patience);
        self.transport.finish_writing(deadline);
        let mut sink = vec![0; INPUT];
        while matches!(self.transport.discard(&mut sink, deadline), Ok(count) if count > 0) && Instant::now() < deadline
        {
        }
    }

    /// What a small answer needs may stay: an exchange of short messages would take it anew each time.
    fn release_large_output(&mut self) {
        if self.output.is_empty() && self.output.capacity() > INPUT_AT_FIRST {
            self.output = Vec::new();
        }
    }

    fn write_all(&mut self, mut bytes: &[u8], more: More) -> Result<()> {
        while !bytes.is_empty() {
            let turn = self.turn_to_send(bytes.len());
            let (piece, rest) = bytes.split_at_checked(turn).unwrap_or((bytes, &[]));
            // What comes after a rest does not follow at once.
            let more = if rest.is_empty() { more } else { More::Nothing };
            match self.transport.write(piece, more, &mut self.sending) {
                Ok(count) => {
                    self.meter.sent(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if self.is_spoken_to(&error) => {}
                Err(error) => return Err(timed("send", self.deadlines.window, error)),
            }
        }
        Ok(())
    }

    /// Whether a peer that took nothing in time has said something meanwhile, where that counts: a server that takes what
    /// is sent as slowly as it wants to. It gets a fresh window.
    fn is_spoken_to(&mut self, error: &io::Error) -> bool {
        if error.kind() != io::ErrorKind::TimedOut || self.deadlines.wait == WaitFrame::Nothing {
            return false;
        }
        self.sending.restart();
        matches!(self.fill_now(), Ok(Some(1..)))
    }

    /// How many of so many bytes may be sent now; waits for a turn first.
    fn turn_to_send(&mut self, wanted: usize) -> usize {
        if self.meter.is_off() {
            return wanted;
        }
        let (count, turn) = self.meter.send(wanted);
        self.rest(turn, Way::Out);
        count
    }

    /// So many bytes came in; waits until they may be used.
    fn received(&mut self, count: usize, draw: Draw) {
        if !self.meter.is_off() {
            self.rest(self.meter.received(count, draw), Way::In);
        }
    }

    /// Does nothing until the turn comes. The peer is not to blame for that time.
    fn rest(&mut self, turn: Option<Instant>, way: Way) {
        let Some(turn) = turn else { return };
        let began = Instant::now();
        self.transport.rest(turn, way);
        let rested = began.elapsed();
        self.meter.rested(rested);
        self.receiving.excuse(rested);
        self.sending.excuse(rested);
    }
}

/// Whether a failed `sendfile` blames the file and not the socket.
fn is_of_the_file(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::INVAL | Errno::OVERFLOW | Errno::STALE))
}

fn timed(operation: &'static str, limit: Duration, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout { operation, limit },
        _ => Error::network(operation, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Limiter;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn the_time_in_which_it_rests_is_not_the_peers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = Stream::new(listener.accept().unwrap().0, Deadlines::SERVER).unwrap();
        let limiter = Arc::new(Limiter::new((64 * 1024).try_into().unwrap()));
        stream.limit(Some(Arc::new(Share::new(limiter, Duration::ZERO))));
        peer.write_all(&[0; 20_000]).unwrap();
        let (deadline, _) = stream.pace();
        // Fewer bytes than open a new window.
        let mut left = 20_000;
        while left > 0 {
            left -= stream.read(&mut vec![0; left]).unwrap();
        }
        assert!(stream.rested() > Duration::ZERO);
        assert_eq!(stream.pace().0, deadline + stream.rested());
        assert_eq!(stream.later(deadline, Duration::ZERO), deadline + stream.rested());
    }
}
