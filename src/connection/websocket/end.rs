//! The closing handshake, from either side (RFC 6455, section 7).

use super::{Came, Outbound, WebSocket};
use crate::connection::after;
use crate::connection::stream::INPUT;
use crate::error::Result;
use crate::wire::websocket::{Close, Opcode};
use std::time::{Duration, Instant};

impl WebSocket {
    /// Ends the connection: answers the peer's close frame, or tells it why. For `patience`, twice at most, what the peer
    /// still sends is thrown away, so that it can read that.
    pub fn close(mut self, close: &Close, patience: Duration) {
        let close = self.answer.take().unwrap_or_else(|| close.clone());
        if self.outbound != Outbound::Over && self.say_close(&close).is_ok() {
            // Whatever goes wrong here, the connection ends.
            let _ = self.await_close(patience);
        }
        self.stream.close(patience);
    }

    /// Takes the close frame whose header was taken. It is answered when its turn comes: whoever is not done with what
    /// came before it has not come to it yet.
    pub(super) fn take_close(&mut self) -> Result<Came> {
        let payload = self.control_payload()?;
        // Also where it makes no sense: no other one will come.
        self.is_closed = true;
        let code = Close::decode(&payload)?.code;
        self.answer = Some(Close { code, reason: String::new() });
        Ok(Came::Closed)
    }

    /// Answers the peer's close frame, if there is one to be answered.
    pub(super) fn answer_close(&mut self) {
        if let Some(close) = self.answer.take() {
            // A peer that is gone already needs no answer.
            let _ = self.say_close(&close);
        }
    }

    fn say_close(&mut self, close: &Close) -> Result<()> {
        let said = self.send_control(Opcode::Close, &close.encode());
        self.outbound = Outbound::Over;
        said
    }

    /// Waits for the peer's close frame, the end of its stream, or anything that makes no sense.
    fn await_close(&mut self, patience: Duration) -> Result<()> {
        let deadline = after(Instant::now(), patience);
        let mut sink = vec![0; INPUT];
        while !self.is_closed && Instant::now() < deadline {
            let has_progressed = match self.inbound.left() {
                0 => self.take_frame()?.is_some(),
                _ => self.discard_some(&mut sink)?,
            };
            if !has_progressed && self.stream.fill(deadline, ("close", patience))? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes what was read of the payload of a frame; whether anything was.
    fn discard_some(&mut self, sink: &mut [u8]) -> Result<bool> {
        let count = self.stream.unread().len().min(sink.len());
        let room = sink.get_mut(..count).unwrap_or_default();
        if count > 0 { self.read_payload(room).map(|_| true) } else { Ok(false) }
    }
}
