//! Who is limited with whom (`--rate`): all connections of a token share one [`Limiter`], and all of an address those that have
//! no token.
//!
//! Owns the limiters, by whose they are. Knows nothing of how they hold anybody back (`connection`). One is kept until it
//! would allow no more than a new one, so that nobody gains by coming back.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::admission::Live;
use crate::access::{Caller, Rate, source};
use crate::connection::{Limiter, Share};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// From so many limiters on, those that nobody needs are looked for.
const MANY: usize = 64;

/// The limits on all who are there, and on those who were a moment ago.
#[derive(Debug)]
pub(super) struct Rates {
    /// What `--rate` says.
    of_all: Option<Rate>,
    limiters: Mutex<Limiters>,
}

#[derive(Debug)]
struct Limiters {
    of: HashMap<Whose, Arc<Limiter>>,
    /// When there are so many it is time to look again.
    many: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    /// Of a token, by its hash.
    Token([u8; 32]),
    /// Of an address, or of a network of IPv6.
    Address(IpAddr),
}

impl Rates {
    pub(super) fn new(of_all: Option<Rate>) -> Self {
        Self { of_all, limiters: Mutex::new(Limiters { of: HashMap::new(), many: MANY }) }
    }

    /// The share that a session has from here on, as the one of this caller; none if nothing limits it.
    pub(super) fn share(&self, live: &Live, caller: &Caller) -> Option<Arc<Share>> {
        let rate = caller.grant().rate.or(self.of_all)?;
        let limiter = self.limiter(whose(live, caller), rate);
        Some(live.share_in(limiter))
    }

    fn limiter(&self, whose: Whose, rate: Rate) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = limiters.of.get(&whose) {
            if limiter.rate() != rate.bytes() {
                limiter.set_rate(rate.bytes());
            }
            return Arc::clone(limiter);
        }
        limiters.forget();
        let limiter = Arc::new(Limiter::new(rate.bytes()));
        limiters.of.insert(whose, Arc::clone(&limiter));
        limiter
    }
}

impl Limiters {
    /// Makes room, now and then.
    fn forget(&mut self) {
        if self.of.len() < self.many {
            return;
        }
        self.of.retain(|_, limiter| Arc::strong_count(limiter) > 1 || !limiter.is_full());
        self.many = self.of.len().saturating_mul(2).max(MANY);
    }
}

fn whose(live: &Live, caller: &Caller) -> Whose {
    match caller.token() {
        Some(token) => Whose::Token(*token.as_bytes()),
        None => Whose::Address(source(live.peer.ip())),
    }
}

/// Says in the log that a session was held back, and for how long, if it was.
pub(super) fn tell(live: &Live) {
    let Some(share) = live.share().filter(|share| share.held_back() > Duration::ZERO) else { return };
    let token = live.caller().map(|caller| caller.grant().to_string()).unwrap_or_default();
    let (rate, held_back_ms) = (share.limiter().rate(), share.held_back().as_millis());
    let held_back_ms = u64::try_from(held_back_ms).unwrap_or(u64::MAX);
    log::info!(event = "limited", client:% = live.peer, token:%, rate = rate.get(), held_back_ms; "");
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::super::admission::Registry;
    use super::*;
    use crate::access::{Access, Grant, TokenFile, TokenHash, generate};
    use crate::wire::Rights;

    fn rate(kibibytes: u64) -> Rate {
        Rate::new(kibibytes * 1024).unwrap()
    }

    /// A session of an address.
    fn session(address: &str) -> super::super::admission::Admitted {
        Arc::new(Registry::new(8)).admit(format!("{address}:1").parse().unwrap()).unwrap()
    }

    /// Somebody with a token, which has a rate of its own or not.
    fn holder(rate: Option<Rate>) -> Caller {
        let (dir, token) = (tempfile::tempdir().unwrap(), generate().unwrap());
        let grant = Grant::named("x", Rights::ALL, Vec::new()).unwrap().at(rate);
        let file = TokenFile::of(dir.path()).unwrap();
        file.edit(|tokens| {
            tokens.push((TokenHash::of(&token), grant));
            Ok(())
        })
        .unwrap();
        Access::open(dir.path(), None).unwrap().caller(Some(&token)).unwrap()
    }

    fn limiter(rates: &Rates, address: &str, caller: &Caller) -> Option<Arc<Limiter>> {
        rates.share(session(address).live(), caller).map(|share| Arc::clone(share.limiter()))
    }

    fn is_one(one: Option<Arc<Limiter>>, other: Option<Arc<Limiter>>) -> bool {
        Arc::ptr_eq(&one.unwrap(), &other.unwrap())
    }

    #[test]
    fn nobody_is_limited_unasked_and_nothing_is_kept_of_them() {
        let rates = Rates::new(None);
        assert!(limiter(&rates, "192.0.2.1", &Caller::nobody()).is_none());
        assert!(limiter(&rates, "192.0.2.1", &holder(None)).is_none());
        assert!(rates.limiters.lock().unwrap().of.is_empty());
        assert_eq!(limiter(&rates, "192.0.2.1", &holder(Some(rate(100)))).unwrap().rate(), rate(100).bytes());
    }

    #[test]
    fn an_address_is_one_whatever_its_port_and_so_is_a_network_of_ipv6() {
        let (rates, nobody) = (Rates::new(Some(rate(64))), Caller::nobody());
        let of = |address| limiter(&rates, address, &nobody);
        assert!(is_one(of("192.0.2.1"), of("192.0.2.1")) && !is_one(of("192.0.2.1"), of("192.0.2.2")));
        assert!(is_one(of("[2001:db8::1]"), of("[2001:db8::2]")));
        assert!(!is_one(of("[2001:db8::1]"), of("[2001:db8:0:1::1]")));
    }

    #[test]
    fn a_token_is_one_wherever_it_is_used_and_its_own_rate_goes_before() {
        let rates = Rates::new(Some(rate(64)));
        let (one, other) = (holder(Some(rate(100))), holder(None));
        assert!(is_one(limiter(&rates, "192.0.2.1", &one), limiter(&rates, "192.0.2.2", &one)));
        assert!(!is_one(limiter(&rates, "192.0.2.1", &one), limiter(&rates, "192.0.2.1", &other)));
        let found = [&one, &other].map(|caller| limiter(&rates, "192.0.2.1", caller).unwrap().rate());
        assert_eq!(found, [rate(100), rate(64)].map(Rate::bytes));
    }

    #[test]
    fn a_session_keeps_its_share_from_request_to_request() {
        let rates = Rates::new(Some(rate(64)));
        let (session, nobody) = (session("192.0.2.1"), Caller::nobody());
        let shares = [0, 1].map(|_| rates.share(session.live(), &nobody).unwrap());
        assert!(Arc::ptr_eq(&shares[0], &shares[1]));
        let other = rates.share(session.live(), &holder(None)).unwrap();
        assert!(!Arc::ptr_eq(&shares[0], &other));
    }

    #[test]
    fn limiters_that_nobody_needs_are_forgotten_and_others_are_not() {
        let (rates, nobody) = (Rates::new(Some(rate(64))), Caller::nobody());
        let kept = session("192.0.2.255");
        let share = rates.share(kept.live(), &nobody).unwrap();
        for number in 0..10_u8 {
            for last in 0..255_u8 {
                drop(limiter(&rates, &format!("192.0.{number}.{last}"), &nobody));
            }
        }
        assert!(rates.limiters.lock().unwrap().of.len() <= 2 * MANY);
        assert!(is_one(limiter(&rates, "192.0.2.255", &nobody), Some(Arc::clone(share.limiter()))));
    }
}
