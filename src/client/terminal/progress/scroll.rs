//! How many finished files get a line of their own.
//!
//! Owns the bound: ten thousand small files must not be ten thousand lines. Knows nothing of what a line says.

use std::time::{Duration, Instant};

/// Lines a second; beyond them, files are counted.
const LINES: usize = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// The lines of the current second.
#[derive(Debug)]
pub(super) struct Scroll {
    window: Instant,
    printed: usize,
    held_back: u64,
}

impl Scroll {
    pub(super) fn new(now: Instant) -> Self {
        Self { window: now, printed: 0, held_back: 0 }
    }

    /// Whether one more file gets a line; if not, it is counted.
    pub(super) fn admit(&mut self) -> bool {
        let admitted = self.printed < LINES;
        self.printed += usize::from(admitted);
        self.held_back += u64::from(!admitted);
        admitted
    }

    /// How many files went without a line, once the second is over.
    pub(super) fn turn(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.window) < WINDOW {
            return None;
        }
        self.window = now;
        self.printed = 0;
        self.flush()
    }

    /// How many files went without a line so far.
    pub(super) fn flush(&mut self) -> Option<u64> {
        let held_back = std::mem::take(&mut self.held_back);
        (held_back > 0).then_some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_fifty_lines_and_the_rest_is_counted() {
        let begun = Instant::now();
        let mut scroll = Scroll::new(begun);
        assert_eq!((0..170).filter(|_| scroll.admit()).count(), 50);
        assert_eq!(scroll.turn(begun + WINDOW / 2), None);
        assert_eq!(scroll.turn(begun + WINDOW), Some(120));
        assert!(scroll.admit());
        assert_eq!(scroll.flush(), None);
    }
}
