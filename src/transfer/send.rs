//! A file's bytes on their way out: from the page cache to the socket, without a copy through this process.

use super::Counter;
use crate::connection::{Connection, Sent};
use crate::error::Result;
use crate::wire::MAX_DATA;
use rustix::io::{Errno, pread};
use std::fs::File;
use std::io;

/// Where the bytes of files go.
pub trait Outlet {
    /// Sends one piece of `count` bytes of a file, [`MAX_DATA`] at most.
    ///
    /// # Errors
    /// Those of the connection.
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent>;
}

impl Outlet for Connection {
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        Self::send_file(self, file, offset, count)
    }
}

/// Sends `length` bytes of `file` from `offset` on, in pieces of up to 1 MiB: over a session, as DATA frames.
///
/// The answer is [`Sent::Short`] with the number of bytes that were real if the file gave fewer.
///
/// # Errors
/// Those of the connection.
pub fn send_range(
    outlet: &mut dyn Outlet,
    file: &File,
    offset: u64,
    length: u64,
    progress: &dyn Counter,
) -> Result<Sent> {
    let mut done = 0_u64;
    while let left @ 1.. = length.saturating_sub(done) {
        let count = u32::try_from(left).unwrap_or(MAX_DATA).min(MAX_DATA);
        match outlet.send_file(file, offset.saturating_add(done), count)? {
            Sent::Whole => done = done.saturating_add(u64::from(count)),
            Sent::Short(sent) => return Ok(Sent::Short(done.saturating_add(sent))),
        }
        progress.add(u64::from(count));
    }
    Ok(Sent::Whole)
}

/// Reads some bytes of a file from `offset` on; none only if the file ends there.
///
/// # Errors
/// What reading gave.
pub(super) fn read_some<'a>(file: &File, offset: u64, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match pread(file, &mut *buffer, offset) {
            Err(Errno::INTR) => {}
            result => return Ok(buffer.get(..result?).unwrap_or_default()),
        }
    }
}

/// Reads up to `size` bytes of a file from `offset` on; fewer only if the file ends.
///
/// # Errors
/// What reading gave.
pub fn read_exactly(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut filled = 0_usize;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match read_some(file, offset.saturating_add(filled as u64), room)?.len() {
            0 => break,
            count => filled = filled.saturating_add(count),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
