//! Files in base64 within messages, both ways, a piece at a time.

use crate::connection::{PART, Sent, WebSocket};
use crate::error::{Error, Result};
use crate::server::web::relay::refused;
use crate::transfer::{Outlet, Source, read_exactly};
use crate::wire::relay::{Base64Decoder, encode_base64};
use crate::wire::websocket::{MessageKind, Part};
use std::fs::File;

/// Bytes that are a part of a message in base64.
const PIECE: usize = PART / 4 * 3;

/// The rest of a message, as the bytes that it says in base64.
pub(super) struct Decoding<'a> {
    socket: &'a mut WebSocket,
    decoder: Base64Decoder,
    text: Vec<u8>,
    decoded: Vec<u8>,
    given: usize,
    is_over: bool,
}

impl<'a> Decoding<'a> {
    /// The message that is being read, of which `text` was read already.
    pub(super) fn new(socket: &'a mut WebSocket, text: Vec<u8>) -> Self {
        Self { socket, decoder: Base64Decoder::default(), text, decoded: Vec::new(), given: 0, is_over: false }
    }

    /// Decodes what was read, or reads more of it.
    fn more(&mut self) -> Result<()> {
        self.decoded.clear();
        self.given = 0;
        if self.text.is_empty() {
            self.text.resize(PART, 0);
            let count = self.socket.read(&mut self.text)?;
            self.text.truncate(count);
            self.is_over = count == 0;
        }
        self.decoder.push(&self.text, &mut self.decoded).map_err(refused)?;
        self.text.clear();
        if self.is_over { self.decoder.finish().map_err(refused) } else { Ok(()) }
    }
}

impl Source for Decoding<'_> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        while self.given >= self.decoded.len() && !self.is_over {
            self.more()?;
        }
        let ready = self.decoded.get(self.given..).unwrap_or_default();
        let count = ready.len().min(room.len());
        if let (Some(room), Some(ready)) = (room.get_mut(..count), ready.get(..count)) {
            room.copy_from_slice(ready);
        }
        self.given = self.given.saturating_add(count);
        Ok(count)
    }

    fn is_dry(&mut self) -> bool {
        self.given >= self.decoded.len() && !self.socket.has_input()
    }
}

/// A message that has a file in base64 after its head.
pub(super) struct Encoding<'a> {
    socket: &'a mut WebSocket,
    text: String,
    /// What was read of the file and is not a whole group yet.
    begun: Vec<u8>,
}

impl<'a> Encoding<'a> {
    /// A message that begins with `head`.
    pub(super) fn new(socket: &'a mut WebSocket, head: String) -> Self {
        Self { socket, text: head, begun: Vec::new() }
    }

    /// The file is whole, and so is the message.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn finish(mut self) -> Result<()> {
        encode_base64(&self.begun, &mut self.text);
        self.socket.send_part(MessageKind::Text, self.text.as_bytes(), Part::Last)
    }

    /// Sends the next bytes of the file.
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.begun.extend_from_slice(bytes);
        let whole = self.begun.len().saturating_sub(self.begun.len() % 3);
        encode_base64(self.begun.get(..whole).unwrap_or_default(), &mut self.text);
        self.begun.drain(..whole);
        self.socket.send_part(MessageKind::Text, self.text.as_bytes(), Part::MoreFollow)?;
        self.text.clear();
        Ok(())
    }
}

impl Outlet for Encoding<'_> {
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        let mut sent = 0_u32;
        while let left @ 1.. = count.saturating_sub(sent) {
            let wanted = PIECE.min(left as usize);
            let bytes = read_exactly(file, offset.saturating_add(u64::from(sent)), wanted)
                .map_err(|error| Error::local("read", "the file", error))?;
            self.send(&bytes)?;
            sent = sent.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            if bytes.len() < wanted {
                return Ok(Sent::Short(u64::from(sent)));
            }
        }
        Ok(Sent::Whole)
    }
}
