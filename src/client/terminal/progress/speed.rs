//! A rate that is steady enough to read.
//!
//! Owns the smoothing. Time comes from the caller.

use std::time::{Duration, Instant};

/// Bytes of this long ago weigh a third (1/e) of those of now.
const MEMORY: Duration = Duration::from_secs(3);

/// An exponentially weighted mean of a counter's growth. While it is younger than its memory it is the plain mean, so
/// that a first burst does not promise too much.
#[derive(Debug)]
pub(super) struct Speed {
    begun: Instant,
    read: Instant,
    counter: u64,
    rate: f64,
}

impl Speed {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, read: now, counter: 0, rate: 0.0 }
    }

    /// The counter stands at `counter` now.
    pub(super) fn update(&mut self, now: Instant, counter: u64) {
        let passed = now.saturating_duration_since(self.read).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let current = counter.saturating_sub(self.counter) as f64 / passed;
        let age = now.saturating_duration_since(self.begun).as_secs_f64();
        let weight = (1.0 - (-passed / MEMORY.as_secs_f64()).exp()).max(passed / age);
        self.rate += weight * (current - self.rate);
        self.read = now;
        self.counter = counter;
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// How long `bytes` more take at this rate, in whole seconds, rounded up; none when nothing moves.
    pub(super) fn time_for(&self, bytes: u64) -> Option<Duration> {
        (self.rate >= 1.0).then(|| Duration::from_secs_f64((bytes as f64 / self.rate).ceil().min(1e12)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_gives_its_rate_at_once_and_a_stall_fades() {
        let begun = Instant::now();
        let mut speed = Speed::new(begun);
        for tick in 1..=50_u64 {
            speed.update(begun + FRAME * u32::try_from(tick).unwrap(), tick * 100);
            assert!((speed.rate() - 1_000.0).abs() < 1.0);
        }
        assert_eq!(speed.time_for(41_000).map(|left| left.as_secs()), Some(41));
        speed.update(begun + FRAME * 50 + MEMORY * 10, 5_000);
        assert!(speed.rate() < 1.0);
        assert_eq!(speed.time_for(1), None);
    }

    #[test]
    fn a_counter_that_starts_over_is_no_negative_rate() {
        let begun = Instant::now();
        let mut speed = Speed::new(begun);
        speed.update(begun + FRAME, 1_000);
        speed.update(begun + FRAME * 2, 10);
        assert!(speed.rate() >= 0.0);
    }

    const FRAME: Duration = Duration::from_millis(100);
}
