//! BLAKE3 of files and of bytes in passing.

use crate::wire::Digest;
use rustix::io::{Errno, pread};
use std::fs::File;
use std::io;

/// Bytes hashed at a time when a file is read for nothing else.
const CHUNK: usize = 1024 * 1024;

/// The digest of the first `size` bytes of a file; `None` if it has fewer.
///
/// # Errors
/// What reading gave.
pub fn digest_file(file: &File, size: u64) -> io::Result<Option<Digest>> {
    let mut hasher = blake3::Hasher::new();
    Ok(hash_range(&mut hasher, file, 0, size)?.then(|| finish(&hasher)))
}

/// Adds `size` bytes of a file, from `offset` on, to a hasher; `false` if the file has fewer.
///
/// # Errors
/// What reading gave.
pub fn hash_range(hasher: &mut blake3::Hasher, file: &File, offset: u64, size: u64) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
    let mut done = 0;
    while done < size {
        let wanted = buffer.len().min(usize::try_from(size - done).unwrap_or(CHUNK));
        match pread(file, &mut buffer[..wanted], offset + done) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                done += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// The digest of what a hasher was given.
#[must_use]
pub fn finish(hasher: &blake3::Hasher) -> Digest {
    Digest(*hasher.finalize().as_bytes())
}

/// The digest of bytes in memory.
#[must_use]
pub fn digest_bytes(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}
