//! File bytes as the body of an answer.

use super::super::live::LiveOutlet;
use crate::connection::{More, Sent, Stream};
use crate::error::{Error, Result};
use crate::transfer::Outlet;
use std::fs::File;

/// A body with a length that was announced.
#[derive(Debug)]
pub(super) struct Plain<'a>(pub(super) &'a mut Stream);

/// A body in chunks (RFC 9112, section 7.1).
#[derive(Debug)]
pub(super) struct Chunks<'a>(pub(super) &'a mut Stream);

impl Outlet for Plain<'_> {
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        let sent = self.0.send_file(file, offset, count)?;
        Ok(whole_or_short(sent, count))
    }
}

impl Outlet for Chunks<'_> {
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        self.begin_chunk(u64::from(count))?;
        let sent = self.0.send_file(file, offset, count)?;
        self.0.send(b"\r\n")?;
        Ok(whole_or_short(sent, count))
    }
}

impl Chunks<'_> {
    /// Sends bytes that are here as one chunk; nothing for none, which would be the end.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.begin_chunk(bytes.len() as u64)?;
        self.0.send(bytes)?;
        self.0.send(b"\r\n")
    }

    /// Sends the last chunk: the body is whole.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn end(&mut self) -> Result<()> {
        self.0.send(b"0\r\n\r\n")
    }

    fn begin_chunk(&mut self, length: u64) -> Result<()> {
        self.0.send(format!("{length:x}\r\n").as_bytes())
    }
}

impl LiveOutlet for Chunks<'_> {
    fn restart_pace(&mut self) {
        self.0.restart_pace();
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush(More::Nothing)
    }

    /// Nothing can be said without bytes, so that a client that has left is found by what it says: a connection that it has
    /// closed is readable, and at its end.
    fn keep_waiting(&mut self) -> Result<()> {
        if self.0.has_buffered_input() || !self.0.has_input() {
            return Ok(());
        }
        let (deadline, awaited) = self.0.pace();
        match self.0.fill(deadline, awaited)? {
            0 => Err(Error::disconnected("send")),
            _ => Ok(()),
        }
    }
}

fn whole_or_short(sent: u32, count: u32) -> Sent {
    if sent == count { Sent::Whole } else { Sent::Short(u64::from(sent)) }
}
