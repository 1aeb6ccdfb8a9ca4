//! What carries a connection's bytes: the socket as it is, or TLS over it.
//!
//! Owns nothing but the choice, which is made once, after the first bytes.

use super::limiter::Way;
use super::pace::Pace;
use super::socket::{Interrupt, More, Ready, Socket};
use super::tls::Tls;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// A socket, with or without TLS.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<Tls>),
}

impl Transport {
    /// Reads some bytes; 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer, deadline),
            Self::Tls(tls) => tls.read(buffer, deadline),
        }
    }

    /// Appends what is there to a buffer, about `room` bytes at most; `None` if nothing is, 0 at the end of the stream.
    pub(super) fn read_now(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(socket) => socket.read_now(buffer, room),
            Self::Tls(tls) => tls.read_now(buffer, room),
        }
    }

    /// Writes some bytes, at least one; `pace` says how long that may take, and is told what moved. After a timeout the same
    /// bytes may be tried again.
    pub(super) fn write(&mut self, bytes: &[u8], more: More, pace: &mut Pace) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                let count = socket.write(bytes, more, pace.deadline())?;
                pace.moved(count);
                Ok(count)
            }
            Self::Tls(tls) => tls.write(bytes, more, pace),
        }
    }

    /// Sends some bytes of a file, from the page cache where they need not be encrypted; 0 if the file ends at `offset`.
    pub(super) fn send_file(&mut self, file: &File, offset: u64, count: usize, pace: &mut Pace) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                let count = socket.send_file(file, offset, count, pace.deadline())?;
                pace.moved(count);
                Ok(count)
            }
            Self::Tls(tls) => tls.send_file(file, offset, count, pace),
        }
    }

    /// Waits until there is something to read, or the end of the stream.
    pub(super) fn wait_readable(&mut self, deadline: Instant) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.wait_readable(deadline),
            Self::Tls(tls) => tls.wait_readable(deadline),
        }
    }

    /// Waits until a read would return at once; whether that came before the deadline.
    pub(super) fn wait_for_input(&mut self, deadline: Instant) -> io::Result<bool> {
        match self {
            Self::Plain(socket) => in_time(socket.wait_readable(deadline)),
            Self::Tls(tls) => tls.wait_for_input(deadline),
        }
    }

    /// Does nothing until a time, unless the connection is ended before.
    pub(super) fn rest(&self, until: Instant, way: Way) {
        match self {
            Self::Plain(socket) => socket.rest(until, way),
            Self::Tls(tls) => tls.rest(until, way),
        }
    }

    /// Waits until there is something to read here, or from `other`, or the deadline comes.
    pub(super) fn wait_either(&mut self, other: BorrowedFd<'_>, deadline: Instant) -> io::Result<Ready> {
        match self {
            Self::Plain(socket) => socket.wait_either(other, deadline),
            Self::Tls(tls) => tls.wait_either(other, deadline),
        }
    }

    /// Whether a read would return at once.
    pub(super) fn is_readable(&mut self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_readable(),
            Self::Tls(tls) => tls.is_readable(),
        }
    }

    /// Tells the peer that nothing more will come, until `deadline` at most; reading goes on.
    pub(super) fn finish_writing(&mut self, deadline: Instant) {
        match self {
            Self::Plain(socket) => socket.finish_writing(),
            Self::Tls(tls) => tls.finish_writing(deadline),
        }
    }

    /// Throws away what comes, into a place that nobody looks at; 0 at the end of the stream.
    pub(super) fn discard(&mut self, sink: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(sink, deadline),
            Self::Tls(tls) => tls.discard(sink, deadline),
        }
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        match self {
            Self::Plain(socket) => socket.interrupt(),
            Self::Tls(tls) => tls.interrupt(),
        }
    }
}

/// Whether what was waited for came before the deadline.
pub(super) fn in_time(waited: io::Result<()>) -> io::Result<bool> {
    match waited {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        result => result.map(|()| true),
    }
}
