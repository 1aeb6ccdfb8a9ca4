//! A limit on what connections move together, and a connection's share in it.
//!
//! Owns the waiting times, by the clock; the rule is in [`super::bucket`]. A [`Limiter`] is locked to draw, which is arithmetic, and
//! nobody sleeps meanwhile: a stream is told when its turn is, and rests until then by itself.

use super::after;
use super::bucket::{BURST, Bucket, Draw};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many bytes a second, each way, for all connections that have a [`Share`] in it.
#[derive(Debug)]
pub struct Limiter {
    started: Instant,
    sending: Mutex<Bucket>,
    receiving: Mutex<Bucket>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

impl Limiter {
    /// With a rate in bytes a second.
    #[must_use]
    pub fn new(rate: NonZeroU64) -> Self {
        let bucket = || Mutex::new(Bucket::new(rate));
        Self { started: Instant::now(), sending: bucket(), receiving: bucket() }
    }

    /// Bytes a second.
    #[must_use]
    pub fn rate(&self) -> NonZeroU64 {
        self.lock(Way::Out).rate()
    }

    /// Another rate, for all that is moved from now on.
    pub fn set_rate(&self, rate: NonZeroU64) {
        for way in [Way::In, Way::Out] {
            self.lock(way).set_rate(rate);
        }
    }

    /// Whether it may be forgotten: a new one would not allow more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let now = self.now();
        [Way::In, Way::Out].into_iter().all(|way| self.lock(way).is_full(now))
    }

    /// When so many bytes may be moved; `None` if that is now.
    fn draw(&self, way: Way, bytes: usize, draw: Draw) -> Option<Instant> {
        let now = self.now();
        let turn = self.lock(way).draw(bytes, draw, now);
        (turn > now).then(|| after(self.started, turn.saturating_sub(BURST)))
    }

    /// The buckets are full at the start.
    fn now(&self) -> Duration {
        self.started.elapsed().saturating_add(BURST)
    }

    fn lock(&self, way: Way) -> MutexGuard<'_, Bucket> {
        let bucket = match way {
            Way::In => &self.receiving,
            Way::Out => &self.sending,
        };
        bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection has in a [`Limiter`]; others may look at how long it had to wait.
#[derive(Debug)]
pub struct Share {
    limiter: Arc<Limiter>,
    held_back: AtomicU64,
}

impl Share {
    /// In this limiter, of a connection that was held back for so long before.
    #[must_use]
    pub fn new(limiter: Arc<Limiter>, held_back: Duration) -> Self {
        let share = Self { limiter, held_back: AtomicU64::new(0) };
        share.add(held_back);
        share
    }

    /// In what it is.
    #[must_use]
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// How long the connection had to wait for its turns.
    #[must_use]
    pub fn held_back(&self) -> Duration {
        Duration::from_micros(self.held_back.load(Ordering::Relaxed))
    }

    fn add(&self, held_back: Duration) {
        let micros = u64::try_from(held_back.as_micros()).unwrap_or(u64::MAX);
        self.held_back.fetch_add(micros, Ordering::Relaxed);
    }
}

/// What a stream knows of its limit, if it has one.
#[derive(Debug, Default)]
pub(super) struct Meter {
    share: Option<Arc<Share>>,
    /// Bytes that were drawn and not sent yet.
    drawn: usize,
    rested: Duration,
}

impl Meter {
    pub(super) fn set(&mut self, share: Option<Arc<Share>>) {
        self.share = share;
    }

    /// Whether nothing is limited.
    pub(super) fn is_off(&self) -> bool {
        self.share.is_none()
    }

    /// How many of so many bytes may be moved in one turn.
    pub(super) fn most(&self, wanted: usize, way: Way) -> usize {
        self.share.as_ref().map_or(wanted, |share| wanted.min(share.limiter.lock(way).turn()))
    }

    /// Of so many bytes that are to be sent, how many may be, and when.
    pub(super) fn send(&mut self, wanted: usize) -> (usize, Option<Instant>) {
        let most = self.most(wanted, Way::Out);
        let Some(share) = &self.share else { return (wanted, None) };
        if self.drawn > 0 {
            return (wanted.min(self.drawn), None);
        }
        self.drawn = most;
        (most, share.limiter.draw(Way::Out, most, Draw::of(wanted)))
    }

    /// So many bytes of those were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.drawn = self.drawn.saturating_sub(bytes);
    }

    /// So many bytes came in: when they may be used.
    pub(super) fn received(&self, bytes: usize, draw: Draw) -> Option<Instant> {
        self.share.as_ref()?.limiter.draw(Way::In, bytes, draw)
    }

    /// The stream has waited for its turn.
    pub(super) fn rested(&mut self, time: Duration) {
        self.rested = self.rested.saturating_add(time);
        if let Some(share) = &self.share {
            share.add(time);
        }
    }

    /// How long it has waited in all.
    pub(super) fn rest(&self) -> Duration {
        self.rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(limiter: &Arc<Limiter>) -> Meter {
        Meter { share: Some(Arc::new(Share::new(Arc::clone(limiter), Duration::ZERO))), ..Meter::default() }
    }

    fn limiter() -> Arc<Limiter> {
        // So slow that what a test takes does not count.
        Arc::new(Limiter::new(1000.try_into().unwrap()))
    }

    #[test]
    fn without_a_limit_everything_may_be_sent_at_once() {
        let mut meter = Meter::default();
        assert_eq!((meter.send(usize::MAX), meter.is_off()), ((usize::MAX, None), true));
        assert_eq!(meter.received(usize::MAX, Draw::Bulk), None);
    }

    #[test]
    fn what_was_drawn_and_not_sent_is_not_drawn_again() {
        let limiter = limiter();
        let (mut meter, mut other) = (meter(&limiter), meter(&limiter));
        let (first, _) = meter.send(100_000);
        meter.sent(first - 100);
        assert_eq!(meter.send(100_000), (100, None), "what is left of the turn");
        let (_, after_one) = other.send(100_000);
        meter.sent(100);
        let (_, after_two) = meter.send(100_000);
        assert!(after_one.is_some() && after_two > after_one);
    }

    #[test]
    fn both_ways_have_their_own_rate() {
        let limiter = limiter();
        let mut meter = meter(&limiter);
        while meter.received(4000, Draw::Bulk).is_none() {}
        assert_eq!(meter.send(100_000).1, None);
        assert!(!limiter.is_full());
    }

    #[test]
    fn the_time_that_was_waited_is_told_also_after_a_change_of_limit() {
        let limiter = limiter();
        let mut meter = meter(&limiter);
        meter.rested(Duration::from_millis(7));
        let share = Share::new(limiter, meter.share.as_ref().unwrap().held_back());
        meter.set(Some(Arc::new(share)));
        meter.rested(Duration::from_millis(5));
        assert_eq!(meter.share.as_ref().unwrap().held_back(), Duration::from_millis(12));
        assert_eq!(meter.rest(), Duration::from_millis(12));
    }
}
