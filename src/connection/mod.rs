//! A framed stream over a socket: buffering, deadlines, and the two ways that file bytes travel.
//!
//! Owns the order of frames on one connection and the time that the peer may take. Knows frames and messages; knows
//! nothing of what a request means, of files' names, or of stores.
//!
//! Memory: a connection that waits for a request holds no buffer. One that reads holds 64 KiB, one that writes at most
//! as many and one frame.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod input;
mod pace;
mod transport;

pub use pace::{Deadlines, WaitFrame};
pub use transport::Interrupt;

use crate::error::{Error, Result};
use crate::wire::{FRAME_HEADER, FrameHeader, Kind, MAX_DATA, PREAMBLE, Phase, Reply, Request, Violation};
use input::Input;
use pace::Pace;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
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
    input: Input,
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
            input: Input::default(),
            appetite: INPUT_AT_FIRST,
            output: Vec::new(),
            data_left: 0,
            receiving: Pace::new(&deadlines),
            sending: Pace::new(&deadlines),
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
        let deadline = after(self.opened, self.deadlines.greeting);
        while self.input.unread().len() < PREAMBLE.len() {
            if !PREAMBLE.starts_with(self.input.unread()) {
                break;
            }
            if self.fill(deadline, ("greeting", self.deadlines.greeting))? == 0 {
                return Err(Error::disconnected("greeting"));
            }
        }
        if !self.input.unread().starts_with(&PREAMBLE) {
            return Err(Violation::Contradiction("the other side does not speak the hostdir protocol").into());
        }
        self.input.take(PREAMBLE.len());
        Ok(())
    }

    /// The next frame that is not ignorable; `None` if the peer closed between frames. What was not read of a DATA frame
    /// is skipped.
    ///
    /// # Errors
    /// [`Error::Violation`], [`Error::Timeout`], [`Error::Network`].
    pub fn next_frame(&mut self, waiting: Await) -> Result<Option<Incoming<'_>>> {
        if self.data_left > 0 {
            self.skip_data()?;
        }
        loop {
            let Some(header) = self.next_header(waiting)? else { return Ok(None) };
            if header.kind == Kind::Data {
                self.data_left = header.length;
                if header.length as usize >= INPUT {
                    self.appetite = INPUT_BETWEEN_DATA;
                }
                return Ok(Some(Incoming::Data(header.length)));
            }
            let length = header.length as usize;
            if !header.kind.is_ignorable() {
                return Ok(Some(Incoming::Control(header.kind, self.input.take(length))));
            }
            self.input.take(length);
            if header.kind == Kind::Wait && self.deadlines.wait == WaitFrame::Window {
                self.receiving.restart();
            }
        }
    }

    /// Reads bytes of the DATA frame that began; 0 when it is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] if too little comes, [`Error::Network`] also if the connection ends.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(self.data_left as usize);
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = if self.input.unread().is_empty() {
            self.transport
                .read(buffer, self.receiving.deadline())
                .map_err(|error| timed("receive", self.receiving.window(), error))?
        } else {
            let bytes = self.input.take(wanted);
            if let Some(place) = buffer.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
            bytes.len()
        };
        if count == 0 {
            return Err(Error::disconnected("receive"));
        }
        self.receiving.moved(count);
        self.data_left = self.data_left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
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
        !self.input.unread().is_empty()
    }

    /// Whether something is there to be read without waiting.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.has_buffered_input() || self.transport.is_readable()
    }

    /// Waits until something is there to be read, or `other` is readable, for `patience` at most: `false` if neither came.
    /// No buffer is held meanwhile.
    ///
    /// # Errors
    /// [`Error::Network`] if the kernel cannot wait.
    pub fn wait_for_input_or(&mut self, other: BorrowedFd<'_>, patience: Duration) -> Result<bool> {
        if self.has_buffered_input() {
            return Ok(true);
        }
        self.input.release();
        self.output = Vec::new();
        let deadline = after(Instant::now(), patience);
        self.transport.wait_either(other, deadline).map_err(|error| Error::network("wait", error))
    }

    /// What comes next is a stream whose sender does not have its bytes yet, up to the next [`Connection::restart_pace`].
    pub fn expect_a_stream(&mut self) {
        self.receiving = Pace::of_a_stream(&self.deadlines);
    }

    /// Gives the peer a fresh window: a transfer begins, or this side made it wait.
    pub fn restart_pace(&mut self) {
        self.receiving = Pace::new(&self.deadlines);
        self.sending.restart();
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
        let mut left = count;
        while left > 0 {
            let sent = u64::from(count.saturating_sub(left));
            let deadline = self.sending.deadline();
            match self.transport.send_file(file, offset.saturating_add(sent), left as usize, deadline) {
                Ok(0) => return self.pad(left, count),
                Ok(moved) => {
                    left = left.saturating_sub(u32::try_from(moved).unwrap_or(u32::MAX));
                    self.sending.moved(moved);
                }
                Err(error) if is_of_the_file(&error) => return self.pad(left, count),
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
        let deadline = after(Instant::now(), patience);
        let mut sink = vec![0; INPUT];
        while matches!(self.transport.read(&mut sink, deadline), Ok(count) if count > 0) && Instant::now() < deadline {}
    }

    /// The next header, with the whole body behind it in the buffer if it is a control frame.
    fn next_header(&mut self, waiting: Await) -> Result<Option<FrameHeader>> {
        // Most frames are there already, and need no clock.
        let mut until: Option<(Instant, (&'static str, Duration))> = None;
        let mut begun = false;
        loop {
            if let Some(header) = FrameHeader::decode(self.input.unread(), self.phase)? {
                let body = if header.kind == Kind::Data { 0 } else { header.length as usize };
                if self.input.unread().len() >= FRAME_HEADER.saturating_add(body) {
                    self.input.take(FRAME_HEADER);
                    return Ok(Some(header));
                }
            }
            let (mut deadline, mut awaited) = until.unwrap_or_else(|| self.patience(waiting));
            if !self.input.unread().is_empty() && !begun {
                begun = true;
                let rest = after(Instant::now(), self.deadlines.frame);
                if rest < deadline {
                    (deadline, awaited) = (rest, ("rest of a frame", self.deadlines.frame));
                }
            }
            until = Some((deadline, awaited));
            if self.fill(deadline, awaited)? == 0 {
                return if begun { Err(Error::disconnected("receive")) } else { Ok(None) };
            }
        }
    }

    /// How long the next frame is waited for, and what to say if it takes longer.
    fn patience(&mut self, waiting: Await) -> (Instant, (&'static str, Duration)) {
        let deadline = match (self.phase, waiting) {
            (Phase::Greeting, _) => after(self.opened, self.deadlines.greeting),
            (Phase::Session, Await::Message) => after(Instant::now(), self.deadlines.idle),
            (Phase::Session, Await::Transfer) => self.receiving.deadline(),
        };
        (deadline, ("next frame", self.limit(waiting)))
    }

    /// What the peer is granted in all, for the message if it takes longer.
    fn limit(&self, waiting: Await) -> Duration {
        match (self.phase, waiting) {
            (Phase::Greeting, _) => self.deadlines.greeting,
            (Phase::Session, Await::Message) => self.deadlines.idle,
            (Phase::Session, Await::Transfer) => self.receiving.window(),
        }
    }

    /// Reads once into the buffer, which is given back while nothing is there. `awaited` is what for, and its limit.
    fn fill(&mut self, deadline: Instant, (operation, limit): (&'static str, Duration)) -> Result<usize> {
        loop {
            let (appetite, transport) = (self.appetite, &self.transport);
            // Asking first whether something is there would be one call more whenever something is.
            match self.input.append(appetite, |bytes| transport.read_now(bytes, appetite)) {
                Ok(Some(count)) => {
                    if count >= appetite {
                        self.appetite = appetite.saturating_mul(4).min(INPUT);
                    }
                    return Ok(count);
                }
                Ok(None) => {}
                Err(error) => return Err(timed(operation, limit, error)),
            }
            if self.input.unread().is_empty() {
                self.input.release();
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
            self.sending.moved(count);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Completes a frame of `count` bytes, of which `left` cannot be had.
    fn pad(&mut self, left: u32, count: u32) -> Result<Sent> {
        let zeros = vec![0; INPUT];
        let mut missing = left as usize;
        while let Some(zeros) = zeros.get(..missing.min(INPUT)).filter(|zeros| !zeros.is_empty()) {
            self.write_all(zeros, More::Nothing)?;
            missing = missing.saturating_sub(zeros.len());
        }
        Ok(Sent::Short(u64::from(count.saturating_sub(left))))
    }
}

/// The time that lies `duration` after `start`; a duration beyond all clocks counts as a year.
fn after(start: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    start.checked_add(duration).or_else(|| start.checked_add(YEAR)).unwrap_or(start)
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
