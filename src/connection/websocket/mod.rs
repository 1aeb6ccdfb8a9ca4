//! A WebSocket over a stream, as a server has it (RFC 6455): messages in pieces, pings and pongs, and the end.
//!
//! Owns what is said without anybody asking: pongs, pings to a peer that is silent, the answer to a close frame. Knows
//! nothing of what messages mean. No message is held whole, and no buffer while it waits for one.
//!
//! Whoever sends a long message goes on reading control frames between its parts, and sends a ping with every [`PART`], so
//! that a peer that takes it slowly can show that it lives.

mod end;
mod send;

use super::stream::{INPUT, Stream};
use super::{Interrupt, Ready, after};
use crate::error::{Error, Result};
use crate::wire::websocket::{Close, Inbound, MAX_CONTROL_PAYLOAD, MessageKind, Opcode};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use send::PART;

/// A connection on which the handshake is done.
#[derive(Debug)]
pub struct WebSocket {
    stream: Stream,
    heartbeat: Heartbeat,
    inbound: Inbound,
    /// A message that began while this side was sending.
    begun: Option<MessageKind>,
    outbound: Outbound,
    /// When something was heard of the peer, or it took a part of a long message.
    heard: Instant,
    /// When it was pinged first since then, and last, because it was silent.
    pinged: Option<(Instant, Instant)>,
    /// Bytes of messages sent since the last ping of any kind.
    since_ping: usize,
    /// Whether the peer has sent a close frame.
    is_closed: bool,
    /// What it is to be answered with.
    answer: Option<Close>,
}

/// How a silent peer is told from a dead one.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// A peer that was silent for so long is pinged, again and again.
    pub ping: Duration,
    /// One that then says nothing for so long is gone.
    pub gone: Duration,
}

/// Where the frames of this side stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outbound {
    BetweenMessages,
    InMessage,
    /// A close frame was sent, or a frame could not be sent whole: nothing more can be.
    Over,
}

/// What a wait came back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A message began: its bytes are to be had from [`WebSocket::read`].
    Message(MessageKind),
    /// The peer has ended the connection, and was answered.
    Closed,
    /// The other descriptor is readable.
    Other,
    /// Nothing was heard for [`Heartbeat::ping`]: it is time for a [`WebSocket::ping`].
    Quiet,
}

/// What came in, or did not.
enum Came {
    Message(MessageKind),
    /// More of the message that began before.
    Continuation,
    Closed,
    Other,
    Nothing,
}

impl Heartbeat {
    /// What a server grants its clients (docs/WEB.md, section 9).
    pub const SERVER: Self = Self { ping: Duration::from_secs(20), gone: Duration::from_secs(40) };
}

impl WebSocket {
    /// A WebSocket over a stream on which the handshake was answered.
    #[must_use]
    pub fn over(stream: Stream, heartbeat: Heartbeat) -> Self {
        let now = Instant::now();
        Self {
            stream,
            heartbeat,
            inbound: Inbound::default(),
            begun: None,
            outbound: Outbound::BetweenMessages,
            heard: now,
            pinged: None,
            since_ping: 0,
            is_closed: false,
            answer: None,
        }
    }

    /// The means to end this connection from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.stream.interrupt()
    }

    /// Waits for a message, whose kind is the answer; `None` if the peer has ended the connection. A silent peer is pinged.
    /// What was not read of the message before is skipped.
    ///
    /// # Errors
    /// As for [`WebSocket::wait`].
    pub fn next_message(&mut self) -> Result<Option<MessageKind>> {
        self.skip()?;
        if let Some(kind) = self.begun.take() {
            return Ok(Some(kind));
        }
        loop {
            match self.next_frame()? {
                Came::Message(kind) => return Ok(Some(kind)),
                Came::Closed => return Ok(None),
                _ => {}
            }
        }
    }

    /// Waits for a message, the end, or `other` becoming readable, until it is time for a ping. What was not read of the
    /// message before is skipped.
    ///
    /// # Errors
    /// [`Error::Violation`] with the rule that the peer broke; [`Error::Timeout`] if it is gone ([`Heartbeat`]);
    /// [`Error::Network`], also if the connection ends without a close frame.
    pub fn wait(&mut self, other: BorrowedFd<'_>) -> Result<Event> {
        self.skip()?;
        if let Some(kind) = self.begun.take() {
            return Ok(Event::Message(kind));
        }
        loop {
            match self.frame(Some(other))? {
                Came::Message(kind) => return Ok(Event::Message(kind)),
                Came::Closed => return Ok(Event::Closed),
                Came::Other => return Ok(Event::Other),
                Came::Nothing => return Ok(Event::Quiet),
                Came::Continuation => {}
            }
        }
    }

    /// Reads bytes of the message that began, in order; 0 at its end. Pings among them are answered.
    ///
    /// # Errors
    /// As for [`WebSocket::wait`]; [`Error::Timeout`] also if too little of a frame comes, [`Error::Network`] also if the
    /// peer closes within the message.
    pub fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        while self.inbound.left() == 0 {
            if !self.inbound.is_in_message() {
                return Ok(0);
            }
            if let Came::Closed = self.next_frame()? {
                return Err(Error::disconnected("receive"));
            }
        }
        self.read_payload(room)
    }

    /// Whether more of the message that began is still to be read, perhaps nothing but its end.
    #[must_use]
    pub fn is_in_message(&self) -> bool {
        self.inbound.is_in_message()
    }

    /// How many bytes of the message that began are still to come, where that is known: its last frame has begun, or ended.
    #[must_use]
    pub fn left_of_message(&self) -> Option<u64> {
        self.inbound.left_of_message()
    }

    /// Whether something is there to be read without waiting.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        self.stream.has_input()
    }

    /// Reads and forgets what is left of the message that began.
    fn skip(&mut self) -> Result<()> {
        if self.begun.is_some() || !self.inbound.is_in_message() {
            return Ok(());
        }
        let mut sink = vec![0; INPUT];
        while self.read(&mut sink)? != 0 {}
        Ok(())
    }

    /// The next frame of a message, or the end; a silent peer is pinged.
    fn next_frame(&mut self) -> Result<Came> {
        loop {
            match self.frame(None)? {
                Came::Nothing => self.ping()?,
                came => return Ok(came),
            }
        }
    }

    fn frame(&mut self, other: Option<BorrowedFd<'_>>) -> Result<Came> {
        let mut is_other_ready = false;
        loop {
            if let Some(came) = self.take_frame()? {
                self.answer_close();
                return Ok(came);
            }
            if self.stream.has_buffered_input() {
                self.fill()?;
                continue;
            }
            // What came in is looked at first: however much there is to be sent, the peer is heard.
            if is_other_ready {
                return self.keep_alive().map(|()| Came::Other);
            }
            self.flush()?;
            let ready = self.wait_for_input(other, self.until_ping())?;
            is_other_ready = ready.other;
            if ready.input {
                self.fill()?;
            } else if !ready.other && self.until_ping().is_zero() {
                self.check_alive()?;
                return Ok(Came::Nothing);
            }
        }
    }

    /// Takes the header of the next frame of a message, or the end, if all of it was read. Pings and pongs before it are
    /// dealt with.
    fn take_frame(&mut self) -> Result<Option<Came>> {
        if self.is_closed {
            return Ok(Some(Came::Closed));
        }
        while let Some((header, taken)) = self.inbound.begin(self.stream.unread())? {
            self.stream.take(taken);
            if header.length >= INPUT as u64 {
                self.stream.expect_large_pieces();
            }
            self.stream.restart_pace();
            return Ok(Some(match header.opcode {
                Opcode::Text => Came::Message(MessageKind::Text),
                Opcode::Binary => Came::Message(MessageKind::Binary),
                Opcode::Continuation => Came::Continuation,
                Opcode::Close => self.take_close()?,
                Opcode::Ping => {
                    let payload = self.control_payload()?;
                    if self.outbound != Outbound::Over {
                        self.send_control(Opcode::Pong, &payload)?;
                    }
                    continue;
                }
                Opcode::Pong => {
                    self.control_payload()?;
                    continue;
                }
            }));
        }
        Ok(None)
    }

    fn control_payload(&mut self) -> Result<Vec<u8>> {
        let mut payload = [0; MAX_CONTROL_PAYLOAD];
        let mut filled = 0_usize;
        while self.inbound.left() > 0 {
            let room = payload.get_mut(filled..).unwrap_or_default();
            filled = filled.saturating_add(self.read_payload(room)?);
        }
        Ok(payload.get(..filled).unwrap_or_default().to_vec())
    }

    /// Reads bytes of the frame that began, which has some left.
    fn read_payload(&mut self, room: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.inbound.left()).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let count = self.stream.read(room)?;
        self.hears();
        self.inbound.payload(room.get_mut(..count).unwrap_or_default())?;
        Ok(count)
    }

    /// Reads what is there. Once a header has begun, the rest of it is not long in coming.
    fn fill(&mut self) -> Result<()> {
        let limit = self.stream.deadlines().frame;
        let count = self.stream.fill(after(Instant::now(), limit), ("rest of a frame", limit))?;
        if count == 0 {
            return Err(Error::disconnected("receive"));
        }
        self.hears();
        Ok(())
    }

    /// How long it is until a silent peer is pinged.
    fn until_ping(&self) -> Duration {
        let last = self.pinged.map_or(self.heard, |(_, last)| last);
        after(last, self.heartbeat.ping).saturating_duration_since(Instant::now())
    }

    /// A peer that was pinged, and said nothing, is gone after a while. One that was not asked need not have said anything.
    fn check_alive(&self) -> Result<()> {
        let limit = self.heartbeat.gone;
        match self.pinged {
            Some((first, _)) if first.elapsed() >= limit => Err(Error::Timeout { operation: "sign of life", limit }),
            _ => Ok(()),
        }
    }

    fn hears(&mut self) {
        self.heard = Instant::now();
        self.pinged = None;
    }

    fn wait_for_input(&mut self, other: Option<BorrowedFd<'_>>, patience: Duration) -> Result<Ready> {
        match other {
            Some(other) => self.stream.wait_for_input_or(other, patience),
            None => Ok(Ready { input: self.stream.wait_for_input(patience)?, other: false }),
        }
    }
}
