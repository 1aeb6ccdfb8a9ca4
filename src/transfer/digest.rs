//! BLAKE3 of files and of bytes in passing.

use super::send::read_some;
use crate::wire::Digest;
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
    let mut left = size;
    let mut position = offset;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(buffer.len());
        let bytes = read_some(file, position, buffer.get_mut(..wanted).unwrap_or_default())?;
        if bytes.is_empty() {
            return Ok(false);
        }
        hasher.update(bytes);
        left = left.saturating_sub(bytes.len() as u64);
        position = position.saturating_add(bytes.len() as u64);
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
