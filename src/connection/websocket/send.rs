//! Frames on their way out, and what is heard between them.

use super::{Came, MessageKind, Outbound, WebSocket};
use crate::connection::Sent;
use crate::connection::stream::{More, Stream};
use crate::error::{Error, Result};
use crate::wire::websocket::{FrameHeader, Opcode, Part};
use std::fs::File;
use std::time::Instant;

/// Most bytes of a part of a long message: so many are sent before what came in meanwhile is looked at.
pub const PART: usize = 64 * 1024;

impl WebSocket {
    /// Sends a short message.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn send(&mut self, kind: MessageKind, bytes: &[u8]) -> Result<()> {
        self.queue(kind, bytes)?;
        self.flush()
    }

    /// As [`WebSocket::send`], where others may follow: it is sent when enough has gathered, or with the next wait.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn queue(&mut self, kind: MessageKind, bytes: &[u8]) -> Result<()> {
        self.frame_out(opcode(kind), Part::Last, bytes)
    }

    /// Sends a part of a long message, [`PART`] bytes at most; if more follow, control frames that have come are taken.
    ///
    /// # Errors
    /// [`Error::Network`], also if the peer has ended the connection; [`Error::Timeout`]; [`Error::Violation`].
    pub fn send_part(&mut self, kind: MessageKind, bytes: &[u8], part: Part) -> Result<()> {
        let opcode = if self.outbound == Outbound::InMessage { Opcode::Continuation } else { opcode(kind) };
        self.frame_out(opcode, part, bytes)?;
        if part == Part::MoreFollow {
            self.outbound = Outbound::InMessage;
            return self.between_parts(bytes.len());
        }
        self.outbound = Outbound::BetweenMessages;
        self.flush()
    }

    /// Sends `count` bytes of a file, from the page cache, as one message of bytes. If the file gives fewer, the rest of
    /// the message is zeros, and the answer says how many were real. Otherwise as [`WebSocket::send_part`].
    ///
    /// # Errors
    /// As for [`WebSocket::send_part`].
    pub fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        let length = u64::from(count);
        let header = FrameHeader { opcode: Opcode::Binary, part: Part::Last, length };
        let sent = self.whole_or_over(|stream| {
            stream.queue(|output| header.encode(output))?;
            let sent = stream.send_file(file, offset, count)?;
            stream.pad(count.saturating_sub(sent))?;
            stream.flush(More::Nothing).map(|()| sent)
        })?;
        self.between_parts(count as usize)?;
        Ok(if sent == count { Sent::Whole } else { Sent::Short(u64::from(sent)) })
    }

    /// Asks the peer for a sign of life.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Timeout`].
    pub fn ping(&mut self) -> Result<()> {
        let now = Instant::now();
        self.pinged = Some((self.pinged.map_or(now, |(first, _)| first), now));
        self.send_ping()
    }

    fn send_ping(&mut self) -> Result<()> {
        self.since_ping = 0;
        self.send_control(Opcode::Ping, b"")
    }

    /// Does what is due while this side works on something: takes the control frames that have come, and pings a peer that
    /// was silent for long.
    ///
    /// # Errors
    /// As for [`WebSocket::send_part`]; [`Error::Timeout`] if the peer is gone.
    pub fn keep_alive(&mut self) -> Result<()> {
        self.listen()?;
        // Behind a message that waits to be taken no pong is heard; that the peer lives is seen by its taking what it is sent.
        if self.begun.is_some() || !self.until_ping().is_zero() {
            return self.flush();
        }
        self.check_alive()?;
        self.ping()
    }

    /// Takes the control frames that have come. A message is left where it begins.
    fn listen(&mut self) -> Result<()> {
        while self.inbound.left() == 0 && self.begun.is_none() {
            match self.take_frame()? {
                Some(Came::Closed) => return Err(Error::disconnected("send")),
                Some(Came::Message(kind)) => self.begun = Some(kind),
                Some(_) => {}
                None if self.stream.has_input() => self.fill()?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) fn send_control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<()> {
        self.frame_out(opcode, Part::Last, payload)?;
        self.flush()
    }

    /// Sends what was queued.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.stream.flush(More::Nothing).inspect_err(|_| self.outbound = Outbound::Over)
    }

    /// A peer that takes long messages lives; how far it got is told by its pongs.
    fn between_parts(&mut self, bytes: usize) -> Result<()> {
        self.hears();
        self.since_ping = self.since_ping.saturating_add(bytes);
        if self.since_ping >= PART {
            self.send_ping()?;
        }
        self.flush()?;
        self.listen()
    }

    fn frame_out(&mut self, opcode: Opcode, part: Part, bytes: &[u8]) -> Result<()> {
        let header = FrameHeader { opcode, part, length: bytes.len() as u64 };
        self.whole_or_over(|stream| {
            stream.queue(|output| header.encode(output))?;
            stream.send(bytes)
        })
    }

    /// Sends something. Where that fails, part of a frame may be on its way, and nothing can follow it.
    fn whole_or_over<T>(&mut self, send: impl FnOnce(&mut Stream) -> Result<T>) -> Result<T> {
        if self.outbound == Outbound::Over {
            return Err(Error::disconnected("send"));
        }
        // The peer may have rested since the last frame, as it should.
        self.stream.restart_pace();
        send(&mut self.stream).inspect_err(|_| self.outbound = Outbound::Over)
    }
}

fn opcode(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}
