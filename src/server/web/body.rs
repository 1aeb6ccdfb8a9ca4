//! The body of a request, as it comes in.
//!
//! Owns where it ends: not a byte beyond it is taken, since the next request may follow.

use crate::connection::Stream;
use crate::error::{Error, Result};
use crate::transfer::Source;
use crate::wire::http::{BadRequest, ChunkPlace, Framing, chunk_head, trailer_length};
use crate::wire::{ErrorCode, Violation};

/// Chunks from this size on are read to where they are wanted.
const LARGE: u64 = 64 * 1024;
/// Bytes thrown away at a time.
const SINK: usize = 32 * 1024;

/// What is left of a body.
#[derive(Debug)]
pub(super) struct Body {
    left: Left,
}

#[derive(Debug)]
enum Left {
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of this chunk, and then perhaps others.
    Chunk(u64, ChunkPlace),
}

impl Body {
    pub(super) fn of(framing: Framing) -> Self {
        let left = match framing {
            Framing::None => Left::Nothing,
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunk(0, ChunkPlace::First),
        };
        Self { left }
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// How many bytes are left, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self.left {
            Left::Nothing => Some(0),
            Left::Bytes(length) => Some(length),
            Left::Chunk(..) => None,
        }
    }

    /// Reads some bytes; 0 at its end.
    ///
    /// # Errors
    /// Those of the connection; [`Violation`] for what is no chunk.
    pub(super) fn read(&mut self, stream: &mut Stream, room: &mut [u8]) -> Result<usize> {
        if let Left::Chunk(0, place) = self.left {
            self.left = next_chunk(stream, place)?;
        }
        let (Left::Bytes(left) | Left::Chunk(left, _)) = &mut self.left else { return Ok(0) };
        let wanted = room.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let count = stream.read(room.get_mut(..wanted).unwrap_or_default())?;
        *left = left.saturating_sub(count as u64);
        if let Left::Bytes(0) = self.left {
            self.left = Left::Nothing;
        }
        Ok(count)
    }

    /// Whether the next bytes would have to be waited for. The end of a line that comes behind a chunk is none of them.
    fn is_dry(&self, stream: &mut Stream) -> bool {
        match self.left {
            Left::Chunk(0, place) => matches!(chunk_head(stream.unread(), place), Ok(None)),
            _ => !stream.has_input(),
        }
    }

    /// Reads and forgets what is left, `most` bytes of it at most; whether it is at its end.
    ///
    /// # Errors
    /// As for [`Body::read`].
    pub(super) fn discard(&mut self, stream: &mut Stream, most: u64) -> Result<bool> {
        let mut sink = vec![0; SINK];
        let mut read: u64 = 0;
        while read < most {
            match self.read(stream, &mut sink)? {
                0 => break,
                count => read = read.saturating_add(count as u64),
            }
        }
        Ok(self.is_done())
    }
}

/// A body whose bytes are wanted.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    stream: &'a mut Stream,
    body: &'a mut Body,
    /// Bytes that may still come.
    left: u64,
}

impl<'a> Incoming<'a> {
    /// The rest of a body, of which at most `limit` bytes are taken.
    pub(super) fn new(stream: &'a mut Stream, body: &'a mut Body, limit: u64) -> Self {
        Self { stream, body, left: limit }
    }
}

impl Source for Incoming<'_> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        let count = self.body.read(self.stream, room)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| Error::refused(ErrorCode::Mismatch, "more bytes than announced"))?;
        Ok(count)
    }

    fn is_dry(&mut self) -> bool {
        self.body.is_dry(self.stream)
    }
}

/// What comes after the bytes of a chunk.
fn next_chunk(stream: &mut Stream, place: ChunkPlace) -> Result<Left> {
    match take(stream, |bytes| chunk_head(bytes, place))? {
        0 => {
            take(stream, |bytes| Ok(trailer_length(bytes)?.map(|length| (length, 0))))?;
            Ok(Left::Nothing)
        }
        size => {
            if size >= LARGE {
                stream.expect_large_pieces();
            }
            Ok(Left::Chunk(size, ChunkPlace::Next))
        }
    }
}

/// Takes what `parse` finds at the start of what comes in, and gives what it tells.
fn take(
    stream: &mut Stream,
    mut parse: impl FnMut(&[u8]) -> std::result::Result<Option<(usize, u64)>, BadRequest>,
) -> Result<u64> {
    loop {
        let found = parse(stream.unread()).map_err(|bad| Violation::Contradiction(bad.reason))?;
        if let Some((length, told)) = found {
            stream.take(length);
            return Ok(told);
        }
        let (deadline, awaited) = stream.pace();
        if stream.fill(deadline, awaited)? == 0 {
            return Err(Error::disconnected("receive"));
        }
    }
}
