//! When to try again: exponential backoff with full jitter, so that the clients of a server that comes back do not all
//! arrive at once (<https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(20);

/// The attempts since something last went well.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// No rest is longer than `longest`.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// The next rest; there always is one.
    pub(super) fn again(&mut self) -> Duration {
        self.next(u32::MAX).unwrap_or(self.longest)
    }

    /// Something went well: the next failure is the first one.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }

    /// Whether something failed since something last went well.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// How long to rest before the next attempt; `None` after `limit` failures in a row.
    pub(super) fn next(&mut self, limit: u32) -> Option<Duration> {
        if self.failures >= limit {
            return None;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        // At least half of it, so that a series of lucky draws does not use all attempts up at once.
        Some(ceiling.mul_f64(0.5 + random_fraction() / 2.0))
    }
}

/// From 0 to 1. Jitter needs no more than the system's randomness, and no less if it fails.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_are_bounded_and_end() {
        let mut backoff = Backoff::default();
        let rests: Vec<_> = std::iter::from_fn(|| backoff.next(12)).collect();
        assert_eq!(rests.len(), 12);
        assert!(rests[0] >= FIRST / 2 && rests[0] <= FIRST);
        assert!(rests.iter().all(|rest| *rest <= LONGEST));
        assert!(rests[11] >= LONGEST / 2);
        backoff.progress();
        assert!(backoff.next(12).is_some_and(|rest| rest <= FIRST));
    }
}
