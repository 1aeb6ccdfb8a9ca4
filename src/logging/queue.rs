//! Between those who log and the one thread that writes: bounded, and full rather than slow.
//!
//! Owns the count of lines that were dropped: whoever drops one, here or at the disk, says so here.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Lines that wait at most. At a few hundred bytes each they outlast a disk that stalls for a moment.
pub(super) const MAX_LINES: usize = 8192;

/// Bytes that wait at most: hostile names are long.
const MAX_BYTES: usize = 16 << 20;

/// How long anybody waits for a disk that does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Which log a line goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Events = 0,
    Transfers = 1,
}

#[derive(Debug)]
pub(super) enum Message {
    Line(Destination, String),
    /// Write what came before, then answer.
    Flush(Sender<()>),
    /// Open the files anew.
    Reopen,
    /// Write what came before, then end.
    Stop,
}

/// The end where lines go in.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    sender: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    drops: Arc<Drops>,
}

/// The end where lines come out.
#[derive(Debug)]
pub(super) struct Outlet {
    receiver: Receiver<Message>,
    waiting: Arc<AtomicUsize>,
    pub(super) drops: Arc<Drops>,
}

/// Lines that were dropped.
#[derive(Debug, Default)]
pub(super) struct Drops {
    total: AtomicU64,
    unreported: [AtomicU64; 2],
}

/// A queue of at most `lines`.
pub(super) fn queue(lines: usize) -> (Queue, Outlet) {
    let (sender, receiver) = bounded(lines);
    let (waiting, drops) = (Arc::default(), Arc::<Drops>::default());
    let outlet = Outlet { receiver, waiting: Arc::clone(&waiting), drops: Arc::clone(&drops) };
    (Queue { sender, waiting, drops }, outlet)
}

impl Queue {
    /// Hands a line over, or drops and counts it. Never waits.
    pub(super) fn line(&self, to: Destination, text: String) {
        let length = text.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed) + length;
        if waiting > MAX_BYTES || self.sender.try_send(Message::Line(to, text)).is_err() {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            self.drops.add(to, 1);
        }
    }

    /// Waits until what was handed over is written, or lost, but no longer than [`PATIENCE`] for each step.
    pub(super) fn flush(&self) {
        let (done, wait) = bounded(1);
        if self.control(Message::Flush(done)) {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    /// Whether `message` was handed over, after waiting for room.
    pub(super) fn control(&self, message: Message) -> bool {
        self.sender.send_timeout(message, PATIENCE).is_ok()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.drops.total.load(Ordering::Relaxed)
    }
}

impl Outlet {
    /// The next message; `None` when there will be none. With `patience`, a [`Message::Line`] without text when there
    /// was none in that time.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Option<Message> {
        let Some(patience) = patience else { return self.taken(self.receiver.recv().ok()) };
        match self.receiver.recv_timeout(patience) {
            Err(error) if error.is_timeout() => Some(Message::Line(Destination::Events, String::new())),
            result => self.taken(result.ok()),
        }
    }

    /// The next message, if there is one now.
    pub(super) fn next(&self) -> Option<Message> {
        self.taken(self.receiver.try_recv().ok())
    }

    fn taken(&self, message: Option<Message>) -> Option<Message> {
        if let Some(Message::Line(_, text)) = &message {
            self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        }
        message
    }
}

impl Drops {
    /// Counts `lines` that were meant for `to` and are lost.
    pub(super) fn add(&self, to: Destination, lines: u64) {
        self.total.fetch_add(lines, Ordering::Relaxed);
        self.unreported[to as usize].fetch_add(lines, Ordering::Relaxed);
    }

    /// How many lines are to be reported as dropped. Whoever takes the number reports it, or gives it back.
    pub(super) fn take_unreported(&self, to: Destination) -> u64 {
        self.unreported[to as usize].swap(0, Ordering::Relaxed)
    }

    /// The report itself was lost.
    pub(super) fn give_back(&self, to: Destination, lines: u64) {
        self.unreported[to as usize].fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn any_unreported(&self) -> bool {
        self.unreported.iter().any(|lines| lines.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_for_its_log() {
        let (queue, outlet) = queue(2);
        for _ in 0..5 {
            queue.line(Destination::Transfers, "x\n".to_owned());
        }
        assert_eq!(queue.dropped(), 3);
        assert_eq!(outlet.drops.take_unreported(Destination::Events), 0);
        assert_eq!(outlet.drops.take_unreported(Destination::Transfers), 3);
        assert!(!outlet.drops.any_unreported());
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes_and_make_room_when_taken() {
        let (queue, outlet) = queue(100);
        let long = "x".repeat(MAX_BYTES / 4);
        for _ in 0..6 {
            queue.line(Destination::Events, long.clone());
        }
        assert_eq!(queue.dropped(), 2);
        outlet.next().unwrap();
        queue.line(Destination::Events, long);
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn when_the_writer_is_gone_lines_are_counted_and_nobody_waits() {
        let (queue, outlet) = queue(2);
        drop(outlet);
        queue.line(Destination::Events, "x\n".to_owned());
        queue.flush();
        assert_eq!(queue.dropped(), 1);
    }
}
