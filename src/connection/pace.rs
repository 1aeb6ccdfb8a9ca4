//! Deadlines: absolute times, so that a peer that drips bytes cannot push them ahead of itself.

use super::after;
use std::time::{Duration, Instant};

/// How long a peer may take, by what is waited for (PROTOCOL.md, section 12).
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the connection's start to a whole HELLO.
    pub greeting: Duration,
    /// Between requests, or for the next answer.
    pub idle: Duration,
    /// From the first byte of a control frame to its last.
    pub frame: Duration,
    /// The window in which `minimum` bytes of a transfer must move.
    pub window: Duration,
    /// Bytes that must move in every window.
    pub minimum: u64,
    /// What WAIT is worth during a transfer, either way.
    pub wait: WaitFrame,
}

/// What a WAIT frame is worth to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFrame {
    /// A new window: a server that works on something says so.
    Window,
    /// Nothing: a client could hold a transfer up for ever with it.
    Nothing,
}

impl Deadlines {
    /// What a server grants its clients.
    pub const SERVER: Self = Self {
        greeting: Duration::from_secs(10),
        idle: Duration::from_secs(300),
        frame: Duration::from_secs(10),
        window: Duration::from_secs(30),
        minimum: 32 * 1024,
        wait: WaitFrame::Nothing,
    };

    /// What a client grants a server that may be silent for `silence` at most.
    #[must_use]
    pub fn client(silence: Duration) -> Self {
        let wait = WaitFrame::Window;
        let greeting = silence.min(Self::SERVER.greeting);
        Self { greeting, idle: silence, frame: silence, window: silence, minimum: 1, wait }
    }
}

/// Holds a transfer to its minimum rate: `minimum` bytes in every `window`.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    minimum: u64,
    /// Set when the window is waited in for the first time: reading the clock for every small file costs more than it tells.
    until: Option<Instant>,
    moved: u64,
}

impl Pace {
    pub(super) fn new(deadlines: &Deadlines) -> Self {
        Self { window: deadlines.window, minimum: deadlines.minimum, until: None, moved: 0 }
    }

    /// For a stream whose bytes come when they come: something within the time that a connection may be silent.
    pub(super) fn of_a_stream(deadlines: &Deadlines) -> Self {
        Self { window: deadlines.idle, minimum: 1, until: None, moved: 0 }
    }

    /// The time that a window takes.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// When the current window ends.
    pub(super) fn deadline(&mut self) -> Instant {
        *self.until.get_or_insert_with(|| after(Instant::now(), self.window))
    }

    /// Notes that bytes moved; enough of them open a new window.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
        if self.moved >= self.minimum {
            self.restart();
        }
    }

    /// Makes the current window longer: this side moved nothing for so long, on purpose.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.until = self.until.map(|until| after(until, time));
    }

    /// Opens a new window, for instance because this side made the peer wait.
    pub(super) fn restart(&mut self) {
        self.moved = 0;
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_does_not_move_the_deadline_but_enough_bytes_do() {
        let before = Instant::now();
        let mut pace = Pace::new(&Deadlines::SERVER);
        let first = pace.deadline();
        assert!(first >= before + Deadlines::SERVER.window);
        for _ in 1..30 {
            pace.moved(1);
        }
        assert_eq!(pace.deadline(), first);
        let before = Instant::now();
        pace.moved(32 * 1024);
        assert!(pace.deadline() >= before + Deadlines::SERVER.window);
    }

    #[test]
    fn the_time_that_this_side_rests_is_added_and_no_more() {
        let mut pace = Pace::new(&Deadlines::SERVER);
        pace.excuse(Duration::from_secs(7));
        let first = pace.deadline();
        assert!(first <= Instant::now() + Deadlines::SERVER.window, "no window had begun");
        pace.excuse(Duration::from_secs(7));
        assert_eq!(pace.deadline(), first + Duration::from_secs(7));
    }
}
