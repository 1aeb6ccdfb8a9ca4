//! So many bytes a second, drawn by several connections in turns.
//!
//! Pure: the time comes from outside. A draw is told when it may be used, and whoever draws next comes after it. A connection draws
//! a turn's worth at a time, and again only when that is used up; so those that have much to move stand in a queue that nobody has
//! to keep, and N of them get an Nth each.
//!
//! Small draws (an answer to LIST or PING, the header before a file's bytes) do not stand in it: up to half of the rate is theirs
//! first. They are paid for like all others, by whoever comes after them.

use std::num::NonZeroU64;
use std::time::Duration;

/// What may be drawn at once after a rest. It also makes up for sleepers that wake late.
pub(super) const BURST: Duration = Duration::from_millis(100);
/// A turn is what the rate brings in this time,
const TURN: u64 = 20;
/// but so many bytes at least and at most.
const TURN_LEAST: usize = 4 * 1024;
const TURN_MOST: usize = 1024 * 1024;
/// Up to so many bytes, a draw is small.
pub(super) const SMALL: usize = 4 * 1024;

/// How a draw stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// It goes before the others, within bounds.
    Small,
    /// It is one of many.
    Bulk,
}

impl Draw {
    /// What a draw is of which so many bytes are wanted in all.
    pub(super) fn of(wanted: usize) -> Self {
        if wanted <= SMALL { Self::Small } else { Self::Bulk }
    }
}

/// What was drawn so far. Times are those since any moment that is the same for all calls.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: NonZeroU64,
    /// When all that was drawn is paid for.
    paid: Duration,
    /// The same of small draws alone, at half the rate.
    small_paid: Duration,
}

impl Bucket {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Duration::ZERO, small_paid: Duration::ZERO }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Another rate, for all that is drawn from now on.
    pub(super) fn set_rate(&mut self, rate: NonZeroU64) {
        self.rate = rate;
    }

    /// Most bytes of a draw.
    pub(super) fn turn(&self) -> usize {
        let bytes = self.rate.get().saturating_mul(TURN).checked_div(1000).unwrap_or_default();
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(TURN_LEAST, TURN_MOST)
    }

    /// Draws so many bytes: when they may be used, which is `now` at the earliest.
    pub(super) fn draw(&mut self, bytes: usize, draw: Draw, now: Duration) -> Duration {
        let (cost, oldest) = (self.cost(bytes), now.saturating_sub(BURST));
        let turn = self.paid.max(oldest);
        self.paid = turn.saturating_add(cost);
        let small = self.small_paid.max(oldest);
        if draw == Draw::Small && small <= now {
            self.small_paid = small.saturating_add(cost).saturating_add(cost);
            return now;
        }
        turn.max(now)
    }

    /// Whether nobody would notice if this were a new one.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.paid.max(self.small_paid) <= now.saturating_sub(BURST)
    }

    /// The time that the rate takes for so many bytes.
    fn cost(&self, bytes: usize) -> Duration {
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000);
        let nanos = nanos.checked_div(u128::from(self.rate.get())).unwrap_or(u128::MAX);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: u64 = 1_000_000;

    fn bucket() -> Bucket {
        Bucket::new(RATE.try_into().unwrap())
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A connection that draws whenever its last draw may be used, for a second: how many bytes came of each.
    fn compete(bucket: &mut Bucket, connections: &mut [(Duration, usize, u64)]) {
        while let Some(next) = connections.iter_mut().min_by_key(|(when, ..)| *when).filter(|it| it.0 < millis(2000)) {
            let (when, size, moved) = next;
            let usable = bucket.draw(*size, Draw::Bulk, *when);
            // A moment passes before it draws again.
            *when = usable + Duration::from_micros(10);
            *moved += *size as u64;
        }
    }

    #[test]
    fn one_connection_gets_the_rate_and_a_burst() {
        let mut bucket = bucket();
        let mut one = [(millis(1000), bucket.turn(), 0)];
        compete(&mut bucket, &mut one);
        let most = RATE + RATE / 10 + bucket.turn() as u64;
        assert!((RATE..=most).contains(&one[0].2), "{one:?}");
    }

    #[test]
    fn many_get_the_same_part_each_and_the_rate_together() {
        let mut bucket = bucket();
        let mut many = [(millis(1000), bucket.turn(), 0); 7];
        compete(&mut bucket, &mut many);
        let parts = many.map(|(_, _, moved)| moved);
        let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
        assert!(most - least <= bucket.turn() as u64, "{parts:?}");
        assert!(parts.iter().sum::<u64>() <= RATE + RATE / 10 + 7 * bucket.turn() as u64, "{parts:?}");
    }

    #[test]
    fn turns_are_in_the_order_of_the_draws() {
        let mut bucket = bucket();
        let now = millis(1000);
        let times: Vec<_> = (0..20).map(|_| bucket.draw(10_000, Draw::Bulk, now)).collect();
        // A burst of ten, and then one every ten milliseconds.
        assert!(times[..=10].iter().all(|time| *time == now), "{times:?}");
        assert!(times[10..].windows(2).all(|pair| pair[1] == pair[0] + millis(10)), "{times:?}");
    }

    #[test]
    fn what_is_small_does_not_wait_behind_a_backlog_but_is_paid_for() {
        let (mut bucket, now) = (bucket(), millis(1000));
        while bucket.draw(20_000, Draw::Bulk, now) < now + millis(500) {}
        assert_eq!(bucket.draw(SMALL, Draw::of(SMALL), now), now);
        let before = bucket.paid;
        bucket.draw(1000, Draw::Small, now);
        assert_eq!(bucket.paid, before + millis(1));
        assert!(bucket.draw(SMALL + 1, Draw::of(SMALL + 1), now) > now + millis(500));
    }

    #[test]
    fn small_draws_get_half_of_the_rate_before_others_and_no_more() {
        let mut bucket = bucket();
        while bucket.draw(20_000, Draw::Bulk, millis(1000)) < millis(9000) {}
        let at_once = (1000..2000).filter(|now| bucket.draw(1000, Draw::Small, millis(*now)) == millis(*now)).count();
        assert!((500..=560).contains(&at_once), "{at_once} KB in a second");
    }

    #[test]
    fn a_turn_is_short_and_within_bounds() {
        let turn = |rate: u64| Bucket::new(rate.try_into().unwrap()).turn();
        assert_eq!([1, RATE, u64::MAX].map(turn), [TURN_LEAST, 20_000, TURN_MOST]);
    }

    #[test]
    fn a_bucket_that_rested_is_as_good_as_new() {
        let mut bucket = bucket();
        assert!(bucket.is_full(BURST));
        bucket.draw(50_000, Draw::Bulk, millis(1000));
        assert!(!bucket.is_full(millis(1049)) && bucket.is_full(millis(1050)));
    }

    #[test]
    fn another_rate_holds_from_the_next_draw_on() {
        let mut bucket = bucket();
        let before = bucket.paid.max(millis(900));
        bucket.set_rate((RATE * 2).try_into().unwrap());
        bucket.draw(100_000, Draw::Bulk, millis(1000));
        assert_eq!(bucket.paid, before + millis(50));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_two_bursts(draws in proptest::collection::vec((1_usize..100_000, 0_u64..200, any::<bool>()), 1..200)) {
            let (mut bucket, mut now, mut used) = (bucket(), millis(1000), Vec::new());
            for (bytes, pause, is_small) in draws {
                now += millis(pause);
                let draw = if is_small { Draw::of(bytes % SMALL + 1) } else { Draw::Bulk };
                let bytes = if is_small { bytes % SMALL + 1 } else { bytes };
                used.push((bucket.draw(bytes, draw, now), bytes as u64));
            }
            used.sort_unstable();
            let end = used.last().unwrap().0;
            let (last, most) = (used.last().unwrap().1, used.iter().map(|(_, bytes)| *bytes).max().unwrap());
            let total: u64 = used.iter().map(|(_, bytes)| bytes).sum::<u64>() - last;
            // Bytes of the rate, what small draws may go ahead by, and the bursts.
            let allowed = (end - millis(1000)).as_micros() as u64 * 3 / 2 + RATE / 5 + 2 * most;
            prop_assert!(total <= allowed, "{total} of {allowed}");
        }
    }
}
