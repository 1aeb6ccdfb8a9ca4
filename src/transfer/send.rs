//! A file's bytes on their way out: from the page cache to the socket, without a copy through this process.

use super::Counter;
use crate::connection::{Connection, Sent};
use crate::error::Result;
use crate::wire::MAX_DATA;
use rustix::io::{Errno, pread};
use std::fs::File;
use std::io;

/// Sends `length` bytes of `file` from `offset` on, as DATA frames of up to 1 MiB.
///
/// The answer is [`Sent::Short`] with the number of bytes that were real if the file gave fewer; the last frame was padded.
///
/// # Errors
/// Those of the connection.
pub fn send_range(
    connection: &mut Connection,
    file: &File,
    offset: u64,
    length: u64,
    progress: &dyn Counter,
) -> Result<Sent> {
    let mut done = 0;
    while done < length {
        let count = u32::try_from(length - done).unwrap_or(MAX_DATA).min(MAX_DATA);
        match connection.send_file(file, offset + done, count)? {
            Sent::Whole => done += u64::from(count),
            Sent::Short(sent) => return Ok(Sent::Short(done + sent)),
        }
        progress.add(u64::from(count));
    }
    Ok(Sent::Whole)
}

/// Reads up to `size` bytes of a file from `offset` on; fewer only if the file ends.
///
/// # Errors
/// What reading gave.
pub fn read_exactly(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
