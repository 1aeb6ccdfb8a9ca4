//! A framed stream over a socket: buffering, deadlines, and the two ways that file bytes travel.
//!
//! Owns the order of frames on one connection, the time that the peer may take, and what connections may move together. Knows frames and messages; knows
//! nothing of what a request means, of files' names, or of stores. [`Stream`] is what it, and every other protocol on the
//! port, is spoken over.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod bucket;
mod input;
mod limiter;
mod pace;
mod socket;
mod stream;
mod tls;
mod transport;
mod websocket;

pub use limiter::{Limiter, Share};
pub use pace::{Deadlines, WaitFrame};
pub use socket::Interrupt;
pub use stream::{Awaited, More, Ready, Stream};
pub use tls::{Fingerprint, Identity, NoFingerprint, NotSecured, REFUSES_TLS, TAKES_NONE_NOW};
pub use websocket::{Event, Heartbeat, PART, WebSocket};

use crate::error::{Error, Result};
use crate::wire::{
    FRAME_HEADER, FrameHeader, Guess, Kind, MAX_DATA, PREAMBLE, Phase, Reply, Request, Violation, sniff,
};
use std::fs::File;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::INPUT;

/// A frame as it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole control frame.
    Control(Kind, &'a [u8]),
    /// A DATA frame began: this many bytes follow, to be taken with [`Connection::read_data`].
    Data(u32),
}

/// What comes in where a request is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextRequest<'a> {
    /// A frame that is not ignorable.
    Frame(Incoming<'a>),
    /// An ignorable one, which was taken: what was asked before it need not wait for what comes after.
    Nothing,
    /// The peer closed between frames.
    End,
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

/// What a connection turned out to speak, by its first bytes, which are still to be read.
///
/// # Errors
/// [`Error::Timeout`] if they take longer than a greeting may; [`Error::Network`], also if the connection ends before them.
pub fn guess(stream: &mut Stream) -> Result<Guess> {
    loop {
        match sniff(stream.unread()) {
            Guess::Incomplete => {
                let awaited = ("greeting", stream.deadlines().greeting);
                if stream.fill(stream.greeting_deadline(), awaited)? == 0 {
                    return Err(Error::disconnected("greeting"));
                }
            }
            guess => return Ok(guess),
        }
    }
}

/// A peer that is held back is told after so much rest that this side goes on (PROTOCOL.md, section 12).
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// One side of a session.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    phase: Phase,
    data_left: u32,
    /// How much this side had rested when the peer was told last.
    told: Duration,
}

impl Connection {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// [`Error::Network`] if the socket's options cannot be set.
    pub fn new(socket: TcpStream, deadlines: Deadlines) -> Result<Self> {
        Stream::new(socket, deadlines).map(Self::over)
    }

    /// A session over a stream of which nothing was taken yet.
    #[must_use]
    pub fn over(stream: Stream) -> Self {
        Self { stream, phase: Phase::Greeting, data_left: 0, told: Duration::ZERO }
    }

    /// The means to end this connection from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.stream.interrupt()
    }

    /// Whether what passes is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// What passes from here on is limited, as [`Stream::limit`] says.
    pub fn limit(&mut self, share: Option<Arc<Share>>) {
        self.stream.limit(share);
    }

    /// WELCOME was sent or received: larger frames are allowed from here on.
    pub fn welcomed(&mut self) {
        self.phase = Phase::Session;
    }

    /// Sends the preamble with the next flush.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_preamble(&mut self) -> Result<()> {
        self.stream.send(&PREAMBLE)
    }

    /// Reads the peer's preamble.
    ///
    /// # Errors
    /// [`Violation::Contradiction`] if it is another protocol; [`Error::Network`], [`Error::Timeout`].
    pub fn read_preamble(&mut self) -> Result<()> {
        if guess(&mut self.stream)? != Guess::Native {
            return Err(Violation::Contradiction("the other side does not speak the hostdir protocol").into());
        }
        self.stream.take(PREAMBLE.len());
        Ok(())
    }

    /// The next frame that is not ignorable; `None` if the peer closed between frames. What was not read of a DATA frame
    /// is skipped.
    ///
    /// # Errors
    /// [`Error::Violation`], [`Error::Timeout`], [`Error::Network`].
    pub fn next_frame(&mut self, waiting: Await) -> Result<Option<Incoming<'_>>> {
        loop {
            let Some(header) = self.next_of_any_kind(waiting)? else { return Ok(None) };
            if !header.kind.is_ignorable() {
                return Ok(Some(self.incoming(header)));
            }
            self.ignore(header);
        }
    }

    /// The same where a request is waited for.
    ///
    /// # Errors
    /// As for [`Connection::next_frame`].
    pub fn next_request(&mut self) -> Result<NextRequest<'_>> {
        let Some(header) = self.next_of_any_kind(Await::Message)? else { return Ok(NextRequest::End) };
        if !header.kind.is_ignorable() {
            return Ok(NextRequest::Frame(self.incoming(header)));
        }
        self.ignore(header);
        Ok(NextRequest::Nothing)
    }

    fn next_of_any_kind(&mut self, waiting: Await) -> Result<Option<FrameHeader>> {
        if self.data_left > 0 {
            self.skip_data()?;
        }
        self.next_header(waiting)
    }

    fn incoming(&mut self, header: FrameHeader) -> Incoming<'_> {
        if header.kind != Kind::Data {
            return Incoming::Control(header.kind, self.stream.take(header.length as usize));
        }
        self.data_left = header.length;
        if header.length as usize >= INPUT {
            self.stream.expect_large_pieces();
        }
        Incoming::Data(header.length)
    }

    fn ignore(&mut self, header: FrameHeader) {
        self.stream.take(header.length as usize);
        if header.kind == Kind::Wait && self.stream.deadlines().wait == WaitFrame::Window {
            self.stream.excuse();
        }
    }

    /// Reads bytes of the DATA frame that began; 0 when it is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] if too little comes, [`Error::Network`] also if the connection ends.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(self.data_left as usize);
        let count = self.stream.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        self.data_left = self.data_left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.give_sign_of_life()?;
        Ok(count)
    }

    /// Whether the DATA frame that began has bytes that were not read.
    #[must_use]
    pub fn is_in_data(&self) -> bool {
        self.data_left > 0
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
        self.stream.has_buffered_input()
    }

    /// Whether something is there to be read without waiting. To a client WAIT is nothing: it is taken.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        if self.is_in_data() || self.stream.deadlines().wait == WaitFrame::Nothing {
            return self.stream.has_input();
        }
        self.has_message()
    }

    /// The same between frames, where whole frames that are ignorable are nothing to either side: they are taken.
    #[must_use]
    pub fn has_message(&mut self) -> bool {
        loop {
            match FrameHeader::decode(self.stream.unread(), self.phase) {
                Ok(Some(header)) if header.kind.is_ignorable() => {
                    let length = FRAME_HEADER.saturating_add(header.length as usize);
                    if self.stream.unread().len() >= length {
                        self.stream.take(length);
                        self.stream.excuse();
                        continue;
                    }
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            match self.stream.fill_now() {
                Ok(None) => return false,
                // The end: whoever reads next sees it again.
                Ok(Some(0)) | Err(_) => return true,
                Ok(Some(_)) => {}
            }
        }
    }

    /// Waits until something is there to be read, or `other` is readable, for `patience` at most. No buffer is held
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Network`] if the kernel cannot wait.
    pub fn wait_for_input_or(&mut self, other: BorrowedFd<'_>, patience: Duration) -> Result<Ready> {
        self.stream.wait_for_input_or(other, patience)
    }

    /// What comes next is a stream whose sender does not have its bytes yet, up to the next [`Connection::restart_pace`].
    pub fn expect_a_stream(&mut self) {
        self.stream.expect_a_stream();
    }

    /// Gives the peer a fresh window: a transfer begins, or this side made it wait.
    pub fn restart_pace(&mut self) {
        self.stream.restart_pace();
    }

    /// Queues a reply; it is sent when enough has gathered, or by [`Connection::flush`].
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_reply(&mut self, reply: &Reply) -> Result<()> {
        self.stream.queue(|output| reply.encode(output))
    }

    /// Queues a request; as [`Connection::send_reply`].
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_request(&mut self, request: &Request) -> Result<()> {
        self.stream.queue(|output| request.encode(output))
    }

    /// Queues bytes as DATA frames.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(MAX_DATA as usize) {
            self.push_data_header(chunk.len())?;
            self.stream.send(chunk)?;
        }
        Ok(())
    }

    /// Sends one DATA frame of `count` bytes (1 to [`MAX_DATA`]) of a file, from the page cache. If the file gives fewer,
    /// the frame is padded with zero bytes, and the answer says how many were real.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        self.push_data_header(count as usize)?;
        let sent = self.stream.send_file(file, offset, count)?;
        if sent == count {
            return Ok(Sent::Whole);
        }
        self.stream.pad(count.saturating_sub(sent))?;
        Ok(Sent::Short(u64::from(sent)))
    }

    /// Sends what was queued.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn flush(&mut self) -> Result<()> {
        self.stream.flush(More::Nothing)
    }

    /// Ends the connection; as [`Stream::close`].
    pub fn close(self, patience: Duration) {
        self.stream.close(patience);
    }

    /// The next header, with the whole body behind it in the buffer if it is a control frame.
    fn next_header(&mut self, waiting: Await) -> Result<Option<FrameHeader>> {
        // Most frames are there already, and need no clock.
        let mut until: Option<(Instant, Awaited)> = None;
        let mut begun = false;
        let rested = self.stream.rested();
        loop {
            if let Some(header) = FrameHeader::decode(self.stream.unread(), self.phase)? {
                let body = if header.kind == Kind::Data { 0 } else { header.length as usize };
                if self.stream.unread().len() >= FRAME_HEADER.saturating_add(body) {
                    self.stream.take(FRAME_HEADER);
                    return Ok(Some(header));
                }
            }
            let (mut deadline, mut awaited) = until.unwrap_or_else(|| self.patience(waiting));
            if self.stream.has_buffered_input() && !begun {
                begun = true;
                let limit = self.stream.deadlines().frame;
                let rest = after(Instant::now(), limit);
                if rest < deadline {
                    (deadline, awaited) = (rest, ("rest of a frame", limit));
                }
            }
            until = Some((deadline, awaited));
            if self.stream.fill(self.stream.later(deadline, rested), awaited)? == 0 {
                return if begun { Err(Error::disconnected("receive")) } else { Ok(None) };
            }
            self.give_sign_of_life()?;
        }
    }

    /// How long the next frame is waited for, and what to say if it takes longer.
    fn patience(&mut self, waiting: Await) -> (Instant, Awaited) {
        let Deadlines { greeting, idle, .. } = *self.stream.deadlines();
        let (deadline, limit) = match (self.phase, waiting) {
            (Phase::Greeting, _) => (self.stream.greeting_deadline(), greeting),
            (Phase::Session, Await::Message) => (after(Instant::now(), idle), idle),
            (Phase::Session, Await::Transfer) => {
                let (deadline, (_, limit)) = self.stream.pace();
                (deadline, limit)
            }
        };
        (deadline, ("next frame", limit))
    }

    /// Whoever sends to a side that takes it slowly on purpose must not believe that it is gone.
    fn give_sign_of_life(&mut self) -> Result<()> {
        let rested = self.stream.rested();
        if rested.saturating_sub(self.told) < SIGN_OF_LIFE {
            return Ok(());
        }
        self.told = rested;
        self.send_reply(&Reply::Wait)?;
        self.flush()
    }

    fn push_data_header(&mut self, length: usize) -> Result<()> {
        let length = u32::try_from(length).unwrap_or(MAX_DATA);
        self.stream.queue(|output| output.extend_from_slice(&FrameHeader { kind: Kind::Data, length }.encode()))
    }
}

/// The time that lies `duration` after `start`; a duration beyond all clocks counts as a year.
fn after(start: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    start.checked_add(duration).or_else(|| start.checked_add(YEAR)).unwrap_or(start)
}
