//! Who received which arrival, by the receivers' own word (PROTOCOL.md, section 16).
//!
//! Owns a bounded memory of the late arrivals: who followed the folder when each came, and what became of it there.

use crate::wire::{ReceiptOutcome, SubscriberId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Arrivals that are remembered, and their receivers, together; beyond them the oldest arrival is forgotten.
const MOST: usize = 100_000;

/// The receivers of the late arrivals.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    of_arrivals: BTreeMap<u64, HashMap<SubscriberId, Received>>,
    /// Receivers of all of them. An arrival counts as well: most have no receiver, and each is an entry.
    receivers: usize,
}

/// A receiver of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who.
    pub subscriber: SubscriberId,
    /// Its address.
    pub name: String,
    /// Its word; `None` if it has said nothing yet.
    pub outcome: Option<ReceiptOutcome>,
}

impl Receivers {
    /// An arrival came while these were there.
    pub(super) fn expect(&self, number: u64, present: Vec<(SubscriberId, String)>) {
        let mut known = self.lock();
        // One that was quick has had its say before this.
        for (subscriber, name) in present {
            known.receiver(number, subscriber, &name);
        }
        known.of_arrivals.entry(number).or_default();
        known.forget_oldest();
    }

    /// The word of a receiver, from `name`. Whether it is news: a receipt that was lost with a connection comes again.
    pub(super) fn note(&self, number: u64, subscriber: SubscriberId, name: &str, outcome: ReceiptOutcome) -> bool {
        let mut known = self.lock();
        let before = known.receiver(number, subscriber, name).outcome.replace(outcome);
        known.forget_oldest();
        drop(known);
        self.changed.notify_all();
        before != Some(outcome)
    }

    /// Whether a subscriber was there when an arrival came.
    pub(super) fn is_expected(&self, number: u64, subscriber: SubscriberId) -> bool {
        self.lock().of_arrivals.get(&number).is_some_and(|them| them.contains_key(&subscriber))
    }

    /// The receivers of an arrival; `None` if they are not known (any more).
    pub(super) fn of(&self, number: u64) -> Option<Vec<Received>> {
        Some(self.lock().of_arrivals.get(&number)?.values().cloned().collect())
    }

    /// Waits until somebody has said something, or for `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        drop(self.changed.wait_timeout(self.lock(), patience));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn receiver(&mut self, number: u64, subscriber: SubscriberId, name: &str) -> &mut Received {
        let receivers = self.of_arrivals.entry(number).or_default();
        receivers.entry(subscriber).or_insert_with(|| {
            self.receivers = self.receivers.saturating_add(1);
            Received { subscriber, name: name.to_owned(), outcome: None }
        })
    }

    fn forget_oldest(&mut self) {
        while self.of_arrivals.len().saturating_add(self.receivers) > MOST
            && let Some((_, forgotten)) = self.of_arrivals.pop_first()
        {
            self.receivers = self.receivers.saturating_sub(forgotten.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_forgotten_whether_they_have_receivers_or_not() {
        let receivers = Receivers::default();
        let somebody = || vec![(SubscriberId([1; 16]), "somebody".to_owned())];
        receivers.expect(1, somebody());
        for number in 2..=MOST as u64 {
            receivers.expect(number, Vec::new());
        }
        // With its receiver, the first was one too many.
        assert_eq!((receivers.of(1), receivers.of(2)), (None, Some(Vec::new())));
        receivers.expect(MOST as u64 + 1, somebody());
        assert_eq!((receivers.of(2), receivers.of(3)), (None, Some(Vec::new())));
        assert_eq!(receivers.of(MOST as u64 + 1).map(|them| them.len()), Some(1));
        let known = receivers.lock();
        assert_eq!((known.of_arrivals.len(), known.receivers), (MOST - 1, 1));
    }
}
