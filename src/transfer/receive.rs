//! A file's bytes on their way in: received, stored and hashed, each while the others go on.
//!
//! One thread receives and stores; for all but small files a second one hashes. They hand [`BUFFERS`] buffers of [`BUFFER`]
//! bytes to and fro, so a transfer takes 1 MiB of memory however large the file is.

use super::handover::{End, handover};
use super::{Counter, finish};
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
}

impl Sink for Staged {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes)
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.truncate(self.length().saturating_sub(bytes))
    }
}

/// How a run of DATA frames ended.
#[derive(Debug)]
pub struct Received {
    /// Digest of everything that the hasher was given: what it had before, and what came in.
    pub digest: Digest,
    /// Bytes that came in.
    pub bytes: u64,
    /// Bytes of the last DATA frame, in case the frame after it takes them back.
    pub last_frame: u64,
    /// The kind of the control frame that ended it.
    pub kind: Kind,
    /// Its body.
    pub body: Vec<u8>,
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
    let mut hashing = if expected <= HASH_INLINE { Hashing::inline(hasher) } else { Hashing::threaded(hasher)? };
    let mut buffer = hashing.first_buffer(expected);
    let (mut filled, mut bytes, mut last_frame) = (0, 0, 0);
    loop {
        let left = match connection.next_frame(Await::Transfer)? {
            None => {
                sink.store(&buffer[..filled])?;
                return Err(Error::disconnected("receive"));
            }
            Some(Incoming::Data(length)) => u64::from(length),
            Some(Incoming::Control(kind, body)) => {
                let body = body.to_vec();
                sink.store(&buffer[..filled])?;
                hashing.update(buffer, filled);
                return Ok(Received { digest: hashing.finish()?, bytes, last_frame, kind, body });
            }
        };
        if bytes + left > limit {
            return Err(Error::refused(ErrorCode::Mismatch, "more bytes than announced"));
        }
        last_frame = left;
        loop {
            let count = match connection.read_data(&mut buffer[filled..]) {
                Ok(count) => count,
                Err(error) => {
                    // What came is worth keeping for a resume; the first error is the one that matters.
                    let _ = sink.store(&buffer[..filled]);
                    return Err(error);
                }
            };
            if count == 0 {
                break;
            }
            filled += count;
            bytes += count as u64;
            progress.add(count as u64);
            if filled == buffer.len() {
                sink.store(&buffer)?;
                buffer = hashing.update(buffer, filled);
                filled = 0;
            }
        }
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
    Threaded { receiver: End, thread: JoinHandle<blake3::Hasher> },
}

impl Hashing {
    fn inline(hasher: blake3::Hasher) -> Self {
        Self::Inline(Box::new(hasher))
    }

    fn threaded(mut hasher: blake3::Hasher) -> Result<Self> {
        let (receiver, end) = handover((1..BUFFERS).map(|_| vec![0; BUFFER]).collect());
        let work = move || {
            while let Some(full) = end.take() {
                for (buffer, length) in full {
                    hasher.update(&buffer[..length]);
                    end.give_back(buffer);
                }
            }
            hasher
        };
        let thread = std::thread::Builder::new()
            .name("hash".into())
            .spawn(work)
            .map_err(|error| Error::local("start", "a hashing thread", error))?;
        Ok(Self::Threaded { receiver, thread })
    }

    fn first_buffer(&self, expected: u64) -> Vec<u8> {
        match self {
            Self::Inline(_) => vec![0; usize::try_from(expected).unwrap_or(BUFFER).clamp(1, BUFFER)],
            Self::Threaded { .. } => vec![0; BUFFER],
        }
    }

    /// Hashes the first `length` bytes of a buffer, and gives one to go on with.
    fn update(&mut self, buffer: Vec<u8>, length: usize) -> Vec<u8> {
        match self {
            Self::Inline(hasher) => {
                hasher.update(&buffer[..length]);
                buffer
            }
            // A dead thread is found by `finish`.
            Self::Threaded { receiver, .. } => receiver.exchange((buffer, length)).unwrap_or_else(|| vec![0; BUFFER]),
        }
    }

    fn finish(self) -> Result<Digest> {
        match self {
            Self::Inline(hasher) => Ok(finish(&hasher)),
            Self::Threaded { receiver, thread } => {
                drop(receiver);
                let hasher = thread
                    .join()
                    .map_err(|_| Error::local("hash", "the file", std::io::Error::other("the thread died")))?;
                Ok(finish(&hasher))
            }
        }
    }
}
