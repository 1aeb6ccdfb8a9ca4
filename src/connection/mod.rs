//! A framed stream over a socket: buffering, deadlines, and the two ways that file bytes travel.
//!
//! Owns the order of frames on one connection and the time that the peer may take. Knows frames and messages; knows
//! nothing of what a request means, of files' names, or of stores.
//!
//! Memory: a connection that waits for a request holds no buffer. One that reads holds [`INPUT`] bytes, one that writes
//! at most [`OUTPUT`] and one frame.

mod pace;
mod transport;

pub use pace::Deadlines;
pub use transport::Interrupt;

use crate::error::{Error, Result};
use crate::wire::{FRAME_HEADER, FrameHeader, Kind, MAX_DATA, PREAMBLE, Phase, Reply, Request, Violation};
use pace::Pace;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use transport::{More, Transport};

/// Bytes read at a time while frames are small and many of them come.
const INPUT: usize = 64 * 1024;
/// Bytes read at a time at first, and after a rest: a request, or a few.
const INPUT_AT_FIRST: usize = 4 * 1024;
/// Bytes read at a time between large DATA frames: what is read with a header is copied once more.
const INPUT_BETWEEN_DATA: usize = 512;
/// Bytes of output gathered before they are written.
const OUTPUT: usize = 64 * 1024;

/// A frame as it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole control frame.
    Control(Kind, &'a [u8]),
    /// A DATA frame began: this many bytes follow, to be taken with [`Connection::read_data`].
    Data(u32),
}

/// What the next frame is waited for as: it decides how long the peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Await {
    /// A request, or the answer to one: the peer may be idle before it.
    Message,
    /// Part of a transfer: the minimum rate holds, also between frames.
    Transfer,
}

/// How a file's bytes ended on their way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All of them were sent.
    Whole,
    /// The file ended or could not be read at this many bytes; the frame was padded.
    Short(u64),
}

/// One side of a session.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    deadlines: Deadlines,
    phase: Phase,
    opened: Instant,
    input: Vec<u8>,
    consumed: usize,
    /// Bytes to be read at a time.
    appetite: usize,
    output: Vec<u8>,
    data_left: u32,
    receiving: Pace,
    sending: Pace,
}

impl Connection {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// [`Error::Network`] if the socket's options cannot be set.
    pub fn new(socket: TcpStream, deadlines: Deadlines) -> Result<Self> {
        let opened = Instant::now();
        Ok(Self {
            transport: Transport::new(socket).map_err(|error| Error::network("set up the connection", error))?,
            phase: Phase::Greeting,
            opened,
            input: Vec::new(),
            consumed: 0,
            appetite: INPUT_AT_FIRST,
            output: Vec::new(),
            data_left: 0,
            receiving: Pace::new(&deadlines, opened),
            sending: Pace::new(&deadlines, opened),
            deadlines,
        })
    }

    /// The means to end this connection from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.transport.interrupt()
    }

    /// WELCOME was sent or received: larger frames are allowed from here on.
    pub fn welcomed(&mut self) {
        self.phase = Phase::Session;
    }

    /// Sends the preamble with the next flush.
    pub fn send_preamble(&mut self) {
        self.output.extend_from_slice(&PREAMBLE);
    }

    /// Reads the peer's preamble.
    ///
    /// # Errors
    /// [`Violation::Contradiction`] if it is another protocol; [`Error::Network`], [`Error::Timeout`].
    pub fn read_preamble(&mut self) -> Result<()> {
        let deadline = self.opened + self.deadlines.greeting;
        while self.buffered().len() < PREAMBLE.len() {
            if !PREAMBLE.starts_with(self.buffered()) {
                break;
            }
            if self.fill(deadline, "greeting")? == 0 {
                return Err(Error::disconnected("greeting"));
            }
        }
        if !self.buffered().starts_with(&PREAMBLE) {
            return Err(Violation::Contradiction("the other side does not speak the hostdir protocol").into());
        }
        self.consumed += PREAMBLE.len();
        Ok(())
    }

    /// The next frame that is not ignorable; `None` if the peer closed between frames.
    ///
    /// # Errors
    /// [`Error::Violation`], [`Error::Timeout`], [`Error::Network`].
    pub fn next_frame(&mut self, waiting: Await) -> Result<Option<Incoming<'_>>> {
        debug_assert_eq!(self.data_left, 0, "a DATA frame is read before the next one is asked for");
        let (kind, body) = loop {
            let Some(header) = self.next_header(waiting)? else { return Ok(None) };
            if header.kind == Kind::Data {
                self.data_left = header.length;
                if header.length as usize >= INPUT {
                    self.appetite = INPUT_BETWEEN_DATA;
                }
                return Ok(Some(Incoming::Data(header.length)));
            }
            let body = self.consumed..self.consumed + header.length as usize;
            self.consumed = body.end;
            if !header.kind.is_ignorable() {
                break (header.kind, body);
            }
        };
        Ok(Some(Incoming::Control(kind, &self.input[body])))
    }

    /// Reads bytes of the DATA frame that began; 0 when it is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] if too little comes, [`Error::Network`] also if the connection ends.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(self.data_left as usize);
        if wanted == 0 {
            return Ok(0);
        }
        let buffered = self.buffered();
        let count = if buffered.is_empty() {
            self.transport
                .read(&mut buffer[..wanted], self.receiving.deadline())
                .map_err(|error| timed("receive", self.deadlines.window, error))?
        } else {
            let count = wanted.min(buffered.len());
            buffer[..count].copy_from_slice(&buffered[..count]);
            self.consumed += count;
            count
        };
        if count == 0 {
            return Err(Error::disconnected("receive"));
        }
        self.receiving.moved(count, Instant::now());
        self.data_left -= u32::try_from(count).unwrap_or(u32::MAX);
        Ok(count)
    }

    /// Reads and forgets what is left of the DATA frame that began.
    ///
    /// # Errors
    /// As for [`Connection::read_data`].
    pub fn skip_data(&mut self) -> Result<()> {
        let mut sink = vec![0; INPUT];
        while self.read_data(&mut sink)? != 0 {}
        Ok(())
    }

    /// Whether a part of what follows was read already.
    #[must_use]
    pub fn has_buffered_input(&self) -> bool {
        !self.buffered().is_empty()
    }

    /// Whether something is there to be read without waiting.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.has_buffered_input() || self.transport.is_readable()
    }

    /// Gives the peer a fresh window: a transfer begins, or this side made it wait.
    pub fn restart_pace(&mut self) {
        let now = Instant::now();
        self.receiving.restart(now);
        self.sending.restart(now);
    }

    /// Queues a reply; it is sent when enough has gathered, or by [`Connection::flush`].
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_reply(&mut self, reply: &Reply) -> Result<()> {
        reply.encode(&mut self.output);
        self.relieve()
    }

    /// Queues a request; as [`Connection::send_reply`].
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_request(&mut self, request: &Request) -> Result<()> {
        request.encode(&mut self.output);
        self.relieve()
    }

    /// Queues bytes as DATA frames.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(MAX_DATA as usize) {
            self.push_data_header(chunk.len());
            if chunk.len() < OUTPUT {
                self.output.extend_from_slice(chunk);
                self.relieve()?;
            } else {
                self.write_output(More::Follows)?;
                self.write_all(chunk, More::Nothing)?;
            }
        }
        Ok(())
    }

    /// Sends one DATA frame of `count` bytes (1 to [`MAX_DATA`]) of a file, from the page cache. If the file gives fewer,
    /// the frame is padded with zero bytes, and the answer says how many were real.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        self.push_data_header(count as usize);
        self.write_output(More::Follows)?;
        let mut sent = 0;
        while sent < count {
            let deadline = self.sending.deadline();
            match self.transport.send_file(file, offset + u64::from(sent), (count - sent) as usize, deadline) {
                Ok(0) => return self.pad(sent, count),
                Ok(moved) => {
                    sent += u32::try_from(moved).unwrap_or(u32::MAX);
                    self.sending.moved(moved, Instant::now());
                }
                Err(error) if is_of_the_file(&error) => return self.pad(sent, count),
                Err(error) => return Err(timed("send", self.deadlines.window, error)),
            }
        }
        Ok(Sent::Whole)
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn flush(&mut self) -> Result<()> {
        self.write_output(More::Nothing)
    }

    /// Ends the connection so that the peer receives what was sent last: no more is written, and for `patience` what
    /// still comes in is thrown away. Without this, unread input would turn the close into a reset, and the peer might
    /// never see the error that explains it.
    pub fn close(mut self, patience: Duration) {
        let _ = self.flush();
        self.transport.finish_writing();
        let deadline = Instant::now() + patience;
        let mut sink = vec![0; INPUT];
        while matches!(self.transport.read(&mut sink, deadline), Ok(count) if count > 0) && Instant::now() < deadline {}
    }

    fn buffered(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// The next header, with the whole body behind it in the buffer if it is a control frame.
    fn next_header(&mut self, waiting: Await) -> Result<Option<FrameHeader>> {
        let mut deadline = match (self.phase, waiting) {
            (Phase::Greeting, _) => self.opened + self.deadlines.greeting,
            (Phase::Session, Await::Message) => Instant::now() + self.deadlines.idle,
            (Phase::Session, Await::Transfer) => self.receiving.deadline(),
        };
        let mut begun = false;
        loop {
            if !self.buffered().is_empty() && !begun {
                begun = true;
                deadline = deadline.min(Instant::now() + self.deadlines.frame);
            }
            if let Some(header) = FrameHeader::decode(self.buffered(), self.phase)? {
                let body = if header.kind == Kind::Data { 0 } else { header.length as usize };
                if self.buffered().len() >= FRAME_HEADER + body {
                    self.consumed += FRAME_HEADER;
                    return Ok(Some(header));
                }
            }
            if self.fill(deadline, if begun { "rest of a frame" } else { "next frame" })? == 0 {
                return if begun { Err(Error::disconnected("receive")) } else { Ok(None) };
            }
        }
    }

    /// Reads once into the buffer, which is given back while nothing is there.
    fn fill(&mut self, deadline: Instant, operation: &'static str) -> Result<usize> {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        if self.input.is_empty() && self.input.capacity() > 4 * self.appetite {
            self.input = Vec::new();
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        loop {
            // Asking first whether something is there would be one call more whenever something is.
            match self.transport.read_now(&mut self.input, self.appetite) {
                Ok(Some(count)) => {
                    if count >= self.appetite {
                        self.appetite = (4 * self.appetite).min(INPUT);
                    }
                    return Ok(count);
                }
                Ok(None) => {}
                Err(error) => return Err(timed(operation, limit, error)),
            }
            if self.input.is_empty() {
                self.input = Vec::new();
                self.appetite = self.appetite.min(INPUT_AT_FIRST);
            }
            self.transport.wait_readable(deadline).map_err(|error| timed(operation, limit, error))?;
        }
    }

    fn push_data_header(&mut self, length: usize) {
        let length = u32::try_from(length).unwrap_or(MAX_DATA);
        self.output.extend_from_slice(&FrameHeader { kind: Kind::Data, length }.encode());
    }

    fn relieve(&mut self) -> Result<()> {
        if self.output.len() >= OUTPUT { self.write_output(More::Nothing) } else { Ok(()) }
    }

    fn write_output(&mut self, more: More) -> Result<()> {
        let mut output = std::mem::take(&mut self.output);
        let result = self.write_all(&output, more);
        output.clear();
        if output.capacity() <= 2 * OUTPUT {
            self.output = output;
        }
        result
    }

    fn write_all(&mut self, mut bytes: &[u8], more: More) -> Result<()> {
        while !bytes.is_empty() {
            let deadline = self.sending.deadline();
            let count = self
                .transport
                .write(bytes, more, deadline)
                .map_err(|error| timed("send", self.deadlines.window, error))?;
            self.sending.moved(count, Instant::now());
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn pad(&mut self, sent: u32, count: u32) -> Result<Sent> {
        let zeros = vec![0; INPUT];
        let mut left = (count - sent) as usize;
        while left > 0 {
            let step = left.min(zeros.len());
            self.write_all(&zeros[..step], More::Nothing)?;
            left -= step;
        }
        Ok(Sent::Short(u64::from(sent)))
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
