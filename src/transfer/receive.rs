//! A file's bytes on their way in: received, stored and hashed, each while the others go on.
//!
//! One thread receives and stores; for all but small files a second one hashes, where one is to be had. They hand [`BUFFERS`] buffers of [`BUFFER`]
//! bytes to and fro, so a transfer takes 1 MiB of memory however large the file is.

use super::handover::{End, handover};
use super::{Counter, Helper, finish};
use crate::connection::{Await, Connection, Incoming};
use crate::error::{Error, Result};
use crate::staged::Staged;
use crate::wire::{Digest, ErrorCode, Kind};
use std::thread::JoinHandle;

const BUFFER: usize = 128 * 1024;
const BUFFERS: usize = 8;
/// Up to this size a file is hashed by the receiving thread: a second one would cost more than it gains.
const HASH_INLINE: u64 = 1024 * 1024;

/// Where received bytes go.
pub trait Sink {
    /// Takes the next bytes, in order.
    ///
    /// # Errors
    /// Those of the place; the transfer ends with it.
    fn store(&mut self, bytes: &[u8]) -> Result<()>;

    /// The last DATA frame is not to be trusted: forgets the last `bytes` bytes that were stored, if it can.
    ///
    /// # Errors
    /// Those of the place.
    fn take_back(&mut self, bytes: u64) -> Result<()>;

    /// Whether somebody may want the bytes as soon as they come, and not when a buffer is full of them.
    fn is_followed(&self) -> bool {
        false
    }
}

impl Received {
    /// The digest of what came before and what came in.
    #[must_use]
    pub fn digest(&self) -> Digest {
        finish(&self.hasher)
    }
}

impl Taken {
    /// The digest of what came before and what came in.
    #[must_use]
    pub fn digest(&self) -> Digest {
        finish(&self.hasher)
    }
}

impl Sink for Staged {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes)
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.truncate(self.length().saturating_sub(bytes))
    }
}

/// Where the bytes of a transfer come from.
pub trait Source {
    /// Reads some of the bytes that are left; 0 when there are no more.
    ///
    /// # Errors
    /// Those of the connection; [`ErrorCode::Mismatch`] if more bytes come than may.
    fn read(&mut self, room: &mut [u8]) -> Result<usize>;

    /// Whether the next bytes would have to be waited for, as far as that is worth asking now.
    fn is_dry(&mut self) -> bool;
}

/// What came from a [`Source`].
#[derive(Debug)]
pub struct Taken {
    /// The hasher: it was given what came before, and what came in.
    pub hasher: Box<blake3::Hasher>,
    /// Bytes that came in.
    pub bytes: u64,
    /// Whether the last bytes could be stored. The source is at its end either way.
    pub stored: Result<()>,
}

/// How a run of DATA frames ended.
#[derive(Debug)]
pub struct Received {
    /// The hasher: it was given what came before, and what came in.
    pub hasher: Box<blake3::Hasher>,
    /// Bytes that came in.
    pub bytes: u64,
    /// Bytes of the last DATA frame, in case the frame after it takes them back.
    pub last_frame: u64,
    /// The kind of the control frame that ended it.
    pub kind: Kind,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the last bytes could be stored. The connection is in step either way: the control frame was taken.
    pub stored: Result<()>,
}

/// Receives DATA frames into `sink`, at most `limit` bytes, up to the next control frame.
///
/// `hasher` holds what came before (a resumed prefix). `expected` is the number of bytes that are likely to come.
///
/// # Errors
/// [`ErrorCode::Mismatch`] if more than `limit` bytes come; the connection is then within a DATA frame or after one, and
/// [`discard`] brings it back into step. Those of connection and sink; after one of the sink the same holds.
pub fn receive(
    connection: &mut Connection,
    sink: &mut dyn Sink,
    hasher: blake3::Hasher,
    expected: u64,
    limit: u64,
    progress: &dyn Counter,
) -> Result<Received> {
    let mut frames = Frames { connection, left: limit, last_frame: 0, end: None };
    let Taken { hasher, bytes, stored } = take(&mut frames, sink, hasher, expected, progress)?;
    let Frames { last_frame, end, .. } = frames;
    let (kind, body) = end.ok_or_else(|| Error::disconnected("receive"))?;
    Ok(Received { hasher, bytes, last_frame, kind, body, stored })
}

/// Takes what a source has into `sink`, to its end; `hasher` and `expected` as for [`receive`].
///
/// # Errors
/// Those of source and sink. What came before is in the sink, as far as that can be.
pub fn take(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    hasher: blake3::Hasher,
    expected: u64,
    progress: &dyn Counter,
) -> Result<Taken> {
    let hashing = match (expected > HASH_INLINE).then(Helper::take).flatten() {
        Some(helper) => Hashing::threaded(hasher, helper)?,
        None => Hashing::inline(hasher),
    };
    let buffer = hashing.first_buffer(expected);
    let mut intake = Intake { sink, hashing, buffer, bytes: 0, progress };
    match intake.take_all(source) {
        Ok(()) => intake.finish(),
        Err(error) => {
            // What came is worth keeping for a resume; the first error is the one that matters.
            let _ = intake.sink.store(intake.buffer.filled());
            Err(error)
        }
    }
}

/// A run of DATA frames, as the bytes that are in them.
struct Frames<'a> {
    connection: &'a mut Connection,
    /// Bytes that may still come.
    left: u64,
    last_frame: u64,
    /// The control frame after them.
    end: Option<(Kind, Vec<u8>)>,
}

impl Source for Frames<'_> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        while !self.connection.is_in_data() {
            match self.connection.next_frame(Await::Transfer)? {
                None => return Err(Error::disconnected("receive")),
                Some(Incoming::Control(kind, body)) => {
                    self.end = Some((kind, body.to_vec()));
                    return Ok(0);
                }
                Some(Incoming::Data(length)) => self.last_frame = u64::from(length),
            }
            let Some(left) = self.left.checked_sub(self.last_frame) else {
                return Err(Error::refused(ErrorCode::Mismatch, "more bytes than announced"));
            };
            self.left = left;
        }
        self.connection.read_data(room)
    }

    fn is_dry(&mut self) -> bool {
        !self.connection.is_in_data() && !self.connection.has_input()
    }
}

/// Bytes on their way from a source into the sink and the hasher.
struct Intake<'a> {
    sink: &'a mut dyn Sink,
    hashing: Hashing,
    buffer: Filling,
    bytes: u64,
    progress: &'a dyn Counter,
}

impl Intake<'_> {
    fn take_all(&mut self, source: &mut dyn Source) -> Result<()> {
        loop {
            if self.sink.is_followed() && !self.buffer.filled().is_empty() && source.is_dry() {
                self.hand_on()?;
            }
            let count = source.read(self.buffer.room())?;
            if count == 0 {
                return Ok(());
            }
            self.buffer.grow(count);
            self.bytes = self.bytes.saturating_add(count as u64);
            self.progress.add(count as u64);
            if self.buffer.room().is_empty() {
                self.hand_on()?;
            }
        }
    }

    /// Stores a buffer, has it hashed, and goes on with an empty one.
    fn hand_on(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.buffer);
        self.sink.store(full.filled())?;
        self.buffer = self.hashing.update(full);
        Ok(())
    }

    fn finish(mut self) -> Result<Taken> {
        let stored = self.hand_on();
        Ok(Taken { hasher: self.hashing.finish()?, bytes: self.bytes, stored })
    }
}

/// A buffer, and how much of it holds received bytes.
#[derive(Debug, Default)]
pub(super) struct Filling {
    bytes: Vec<u8>,
    filled: usize,
}

impl Filling {
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    pub(super) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// `count` more bytes were put into the room.
    pub(super) fn grow(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.bytes.len());
    }

    pub(super) fn emptied(self) -> Self {
        Self { filled: 0, ..self }
    }

    pub(super) fn empty(size: usize) -> Self {
        Self { bytes: vec![0; size], filled: 0 }
    }
}

/// Reads and forgets what the peer still sends of a transfer, up to the control frame that ends it, which is returned.
///
/// # Errors
/// Those of the connection.
pub fn discard(connection: &mut Connection) -> Result<(Kind, Vec<u8>)> {
    connection.skip_data()?;
    loop {
        match connection.next_frame(Await::Transfer)? {
            None => return Err(Error::disconnected("receive")),
            Some(Incoming::Data(_)) => connection.skip_data()?,
            Some(Incoming::Control(kind, body)) => return Ok((kind, body.to_vec())),
        }
    }
}

enum Hashing {
    Inline(Box<blake3::Hasher>),
    Threaded { receiver: End, thread: JoinHandle<blake3::Hasher>, _helper: Helper },
}

impl Hashing {
    fn inline(hasher: blake3::Hasher) -> Self {
        Self::Inline(Box::new(hasher))
    }

    fn threaded(mut hasher: blake3::Hasher, helper: Helper) -> Result<Self> {
        let (receiver, end) = handover((1..BUFFERS).map(|_| Filling::empty(BUFFER)).collect());
        let work = move || {
            while let Some(full) = end.take() {
                for buffer in full {
                    hasher.update(buffer.filled());
                    end.give_back(buffer.emptied());
                }
            }
            hasher
        };
        let thread = std::thread::Builder::new()
            .name("hash".into())
            .spawn(work)
            .map_err(|error| Error::local("start", "a hashing thread", error))?;
        Ok(Self::Threaded { receiver, thread, _helper: helper })
    }

    fn first_buffer(&self, expected: u64) -> Filling {
        match self {
            Self::Inline(_) => Filling::empty(usize::try_from(expected).unwrap_or(BUFFER).clamp(1, BUFFER)),
            Self::Threaded { .. } => Filling::empty(BUFFER),
        }
    }

    /// Hashes what a buffer holds, and gives an empty one to go on with.
    fn update(&mut self, buffer: Filling) -> Filling {
        match self {
            Self::Inline(hasher) => {
                hasher.update(buffer.filled());
                buffer.emptied()
            }
            // A dead thread is found by `finish`.
            Self::Threaded { receiver, .. } => receiver.exchange(buffer).unwrap_or_else(|| Filling::empty(BUFFER)),
        }
    }

    fn finish(self) -> Result<Box<blake3::Hasher>> {
        match self {
            Self::Inline(hasher) => Ok(hasher),
            Self::Threaded { receiver, thread, _helper } => {
                drop(receiver);
                let hasher = thread
                    .join()
                    .map_err(|_| Error::local("hash", "the file", std::io::Error::other("the thread died")))?;
                Ok(Box::new(hasher))
            }
        }
    }
}
