//! Bytes over a TCP socket, as they are: non-blocking calls, and waits with absolute deadlines.
//!
//! The standard library's read and write timeouts begin anew with every call, so a peer that sends a byte now and then
//! never meets them. Here a call is tried first, and only if it would block is the socket waited for with `poll`, until a
//! fixed time.

use super::limiter::Way;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whoever rests looks so often whether it still may.
const LOOK: Duration = Duration::from_millis(50);

/// Whether more bytes follow at once, so that the kernel need not send what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// More follows.
    Follows,
    /// Nothing, for now.
    Nothing,
}

/// What a wait for one of two came back for; neither if its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The peer has sent something, or has closed.
    pub input: bool,
    /// The other one is readable.
    pub other: bool,
}

/// A TCP socket, shared so that another thread can end it.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// This side has ended the reading: no peer could have said so.
    is_stopped: AtomicBool,
}

/// The means to end a connection from another thread.
#[derive(Debug, Clone)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

impl Interrupt {
    /// Makes the connection's reader see the end of the stream; what was not sent yet can still be sent.
    pub fn stop_reading(&self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        // Fails only if the peer is gone already, which is the same end.
        let _ = self.shared.stream.shutdown(Shutdown::Read);
    }

    /// Ends the connection at once, both ways.
    pub fn cut(&self) {
        let _ = self.shared.stream.shutdown(Shutdown::Both);
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { shared: Arc::new(Shared { stream, is_stopped: AtomicBool::new(false) }) })
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        Interrupt { shared: Arc::clone(&self.shared) }
    }

    /// Whether the end of the stream is this side's own doing ([`Interrupt::stop_reading`]).
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Ordering::Acquire)
    }

    /// Reads some bytes; 0 at the end of the stream.
    pub(super) fn read(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.retry(PollFlags::IN, deadline, |socket| {
            recv(socket, &mut *buffer, RecvFlags::empty()).map(|(count, _)| count)
        })
    }

    /// Appends what is there to a buffer, about `room` bytes at most; `None` if nothing is, 0 at the end of the stream.
    pub(super) fn read_now(&self, buffer: &mut Vec<u8>, room: usize) -> io::Result<Option<usize>> {
        buffer.reserve(room);
        loop {
            match recv(&self.shared.stream, spare_capacity(buffer), RecvFlags::empty()) {
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                result => return Ok(result.map(|(count, _)| Some(count))?),
            }
        }
    }

    /// Writes some bytes, at least one.
    pub(super) fn write(&self, bytes: &[u8], more: More, deadline: Instant) -> io::Result<usize> {
        let flags = match more {
            More::Follows => SendFlags::NOSIGNAL | SendFlags::MORE,
            More::Nothing => SendFlags::NOSIGNAL,
        };
        self.retry(PollFlags::OUT, deadline, |socket| send(socket, bytes, flags))
    }

    /// Sends some bytes of a file from the page cache; 0 if the file ends at `offset`.
    pub(super) fn send_file(&self, file: &File, offset: u64, count: usize, deadline: Instant) -> io::Result<usize> {
        let mut position = offset;
        self.retry(PollFlags::OUT, deadline, |socket| sendfile(socket, file, Some(&mut position), count))
    }

    /// Waits until there is something to read, or the end of the stream.
    pub(super) fn wait_readable(&self, deadline: Instant) -> io::Result<()> {
        self.wait(PollFlags::IN, deadline)
    }

    /// Waits until there is something to read here, or from `other`, or the deadline comes.
    pub(super) fn wait_either(&self, other: BorrowedFd<'_>, deadline: Instant) -> io::Result<Ready> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let here = PollFd::from_borrowed_fd(self.shared.stream.as_fd(), PollFlags::IN);
            let mut descriptors = [here, PollFd::from_borrowed_fd(other, PollFlags::IN)];
            match poll(&mut descriptors, Some(&timespec(left))) {
                Err(Errno::INTR) => {}
                result => {
                    result?;
                    let [input, other] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
                    return Ok(Ready { input, other });
                }
            }
        }
    }

    /// Whether a read would return at once.
    pub(super) fn is_readable(&self) -> bool {
        self.wait(PollFlags::IN, Instant::now()).is_ok()
    }

    /// Does nothing until a time, unless the connection is ended before: a reader also notices that its reading was.
    pub(super) fn rest(&self, until: Instant, way: Way) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || (way == Way::In && self.is_stopped()) {
                return;
            }
            // Without an event to wait for, only the end of both ways is told (`poll(2)`).
            let mut descriptors = [PollFd::from_borrowed_fd(self.shared.stream.as_fd(), PollFlags::empty())];
            match poll(&mut descriptors, Some(&timespec(left.min(LOOK)))) {
                Ok(0) | Err(Errno::INTR) => {}
                // What comes next fails, and says why.
                _ => return,
            }
        }
    }

    /// Tells the peer that nothing more will come; reading goes on.
    pub(super) fn finish_writing(&self) {
        let _ = self.shared.stream.shutdown(Shutdown::Write);
    }

    fn retry<T>(
        &self,
        events: PollFlags,
        deadline: Instant,
        mut call: impl FnMut(&TcpStream) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match call(&self.shared.stream) {
                Err(Errno::AGAIN) => self.wait(events, deadline)?,
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn wait(&self, events: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut descriptors = [PollFd::from_borrowed_fd(self.shared.stream.as_fd(), events)];
            match poll(&mut descriptors, Some(&timespec(left))) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Err(Errno::INTR) => {}
                result => return result.map(|_| ()).map_err(Into::into),
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up by a microsecond, so that a wait never ends just before its deadline and spins.
    let duration = if duration.is_zero() { duration } else { duration.saturating_add(Duration::from_micros(1)) };
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Socket::new(listener.accept().unwrap().0).unwrap(), peer)
    }

    /// Whether a rest of a minute is ended by what another thread does.
    fn is_woken(way: Way, end: impl FnOnce(Interrupt) + Send) -> bool {
        let (socket, _peer) = pair();
        let (interrupt, until) = (socket.interrupt(), Instant::now() + Duration::from_secs(60));
        std::thread::scope(|scope| {
            scope.spawn(|| end(interrupt));
            socket.rest(until, way);
        });
        Instant::now() < until
    }

    #[test]
    fn who_rests_is_woken_when_the_connection_is_ended() {
        assert!(is_woken(Way::In, |interrupt| interrupt.cut()));
        assert!(is_woken(Way::Out, |interrupt| interrupt.cut()));
        assert!(is_woken(Way::In, |interrupt| interrupt.stop_reading()));
    }

    #[test]
    fn who_sends_rests_to_the_end_also_where_nothing_is_read_any_more() {
        let (socket, mut peer) = pair();
        let until = Instant::now() + Duration::from_millis(200);
        socket.interrupt().stop_reading();
        std::io::Write::write_all(&mut peer, b"x").unwrap();
        socket.rest(until, Way::Out);
        assert!(Instant::now() >= until);
    }
}
