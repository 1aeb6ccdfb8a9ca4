//! Slows down whoever tries tokens that are none, and nobody else.
//!
//! A wrong token is answered later the more of them came from its address lately. Only answers to wrong tokens wait: a right one,
//! from wherever, does not. Who waits holds a thread, so few may wait for an address, and those beyond are told at once that
//! there is no room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered; beyond them the one that was quiet for longest is forgotten.
const REMEMBERED: usize = 4096;
/// How long an address must be quiet to be forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// The second wrong token waits so long, each after it twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait: below what clients grant a server for its greeting.
const LONGEST: Duration = Duration::from_secs(5);
/// Answers that wait for one address, and for all together.
const WAITING_OF_ONE: u32 = 8;
const WAITING_OF_ALL: u32 = 256;

/// Who tried wrong tokens lately.
#[derive(Debug, Default)]
pub struct Throttle {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<IpAddr, Failures>,
    waiting: u32,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    waiting: u32,
}

/// An answer that waits; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Waiting<'a> {
    throttle: &'a Throttle,
    source: IpAddr,
    delay: Duration,
}

impl Throttle {
    /// A wrong token came from this address: how long its answer is to wait, or `None` if too many wait already.
    #[must_use]
    pub fn failed(&self, address: IpAddr) -> Option<Waiting<'_>> {
        self.failed_at(address, Instant::now())
    }

    fn failed_at(&self, address: IpAddr, now: Instant) -> Option<Waiting<'_>> {
        let source = source(address);
        let mut table = self.lock();
        table.forget(now);
        let waiting_of_all = table.waiting;
        let failures = table.sources.entry(source).or_insert(Failures { count: 0, last: now, waiting: 0 });
        if now.saturating_duration_since(failures.last) >= FORGOTTEN_AFTER {
            failures.count = 0;
        }
        let delay = delay(failures.count);
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if failures.waiting >= WAITING_OF_ONE || waiting_of_all >= WAITING_OF_ALL {
            return None;
        }
        failures.waiting = failures.waiting.saturating_add(1);
        table.waiting = table.waiting.saturating_add(1);
        Some(Waiting { throttle: self, source, delay })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// How long.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.throttle.lock();
        table.waiting = table.waiting.saturating_sub(1);
        if let Some(failures) = table.sources.get_mut(&self.source) {
            failures.waiting = failures.waiting.saturating_sub(1);
        }
    }
}

impl Table {
    /// Makes room for one more, if there is none. Looking at all of them costs little beside what an address pays to be here.
    fn forget(&mut self, now: Instant) {
        if self.sources.len() < REMEMBERED {
            return;
        }
        let age = |failures: &Failures| now.saturating_duration_since(failures.last);
        self.sources.retain(|_, failures| failures.waiting > 0 || age(failures) < FORGOTTEN_AFTER);
        while self.sources.len() >= REMEMBERED {
            let quiet = self.sources.iter().filter(|(_, failures)| failures.waiting == 0);
            let Some(oldest) = quiet.max_by_key(|(_, failures)| age(failures)).map(|(source, _)| *source) else {
                return;
            };
            self.sources.remove(&oldest);
        }
    }
}

/// What an address counts as: of IPv6 the network of 64 bits, which one customer has all of.
#[must_use]
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// How long the answer waits after so many wrong tokens before it: the first may be a mistake.
fn delay(before: u32) -> Duration {
    match before.checked_sub(1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST.saturating_mul(1 << doubled.min(16)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_up_to_a_limit_and_only_for_one_address() {
        let throttle = Throttle::default();
        let mut delays = (0..12).map(|_| throttle.failed(address("192.0.2.1")).unwrap().delay());
        let millis = [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert!(millis.into_iter().all(|expected| delays.next().unwrap().as_millis() == expected));
        assert_eq!(throttle.failed(address("192.0.2.2")).unwrap().delay(), Duration::ZERO);
    }

    #[test]
    fn what_is_long_ago_is_no_matter_any_more() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let delay = |later| throttle.failed_at(address("192.0.2.1"), now + later).unwrap().delay();
        let first: Duration = (0..8).map(|_| delay(Duration::ZERO)).sum();
        assert!(first > LONGEST);
        assert!(delay(FORGOTTEN_AFTER - Duration::from_secs(1)) > Duration::from_secs(1));
        assert_eq!(delay(FORGOTTEN_AFTER * 2), Duration::ZERO);
    }

    #[test]
    fn few_wait_for_one_address_and_others_find_room() {
        let throttle = Throttle::default();
        let waiting: Vec<_> =
            (0..WAITING_OF_ONE).map(|_| throttle.failed(address("::ffff:192.0.2.1")).unwrap()).collect();
        assert!(throttle.failed(address("192.0.2.1")).is_none());
        assert!(throttle.failed(address("192.0.2.2")).is_some());
        drop(waiting);
        assert!(throttle.failed(address("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let throttle = Throttle::default();
        drop(throttle.failed(address("2001:db8::1")));
        assert!(!throttle.failed(address("2001:db8::ffff:2")).unwrap().delay().is_zero());
        assert!(throttle.failed(address("2001:db8:0:1::1")).unwrap().delay().is_zero());
    }

    #[test]
    fn the_table_does_not_grow_for_ever() {
        let throttle = Throttle::default();
        for number in 0..2 * REMEMBERED as u32 {
            drop(throttle.failed(IpAddr::V4(number.into())));
        }
        assert!(throttle.lock().sources.len() <= REMEMBERED);
    }
}
