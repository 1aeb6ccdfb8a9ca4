//! Buffers on their way from the thread that receives to the one that hashes, and back.
//!
//! Owns the waiting. Nobody spins, as a channel does before it sleeps: the processor is needed by the sender, if it is
//! on the same machine, and by other transfers. The hashing thread is woken for [`BATCH`] buffers at a time.

use super::receive::Filling;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Full buffers that are worth waking a thread for.
const BATCH: usize = 4;

/// One end of a handover; when it is dropped the other end waits no more.
#[derive(Debug)]
pub(super) struct End(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    full: Vec<Filling>,
    empty: Vec<Filling>,
    hasher_waits: bool,
    receiver_waits: bool,
    closed: bool,
}

/// The ends of a new handover, which has these empty buffers to begin with.
pub(super) fn handover(empty: Vec<Filling>) -> (End, End) {
    let shared = Arc::new(Shared { state: Mutex::new(State { empty, ..State::default() }), ..Shared::default() });
    (End(Arc::clone(&shared)), End(shared))
}

impl End {
    /// Hands over a full buffer for an empty one; `None` if the other end is gone.
    pub(super) fn exchange(&self, full: Filling) -> Option<Filling> {
        let mut state = self.lock();
        state.full.push(full);
        if state.hasher_waits && (state.full.len() >= BATCH || state.empty.is_empty()) {
            state.hasher_waits = false;
            self.0.filled.notify_one();
        }
        loop {
            if let Some(empty) = state.empty.pop() {
                return Some(empty);
            }
            if state.closed {
                return None;
            }
            state.receiver_waits = true;
            state = self.0.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for full buffers; `None` when there will be no more.
    pub(super) fn take(&self) -> Option<Vec<Filling>> {
        let mut state = self.lock();
        while state.full.is_empty() {
            if state.closed {
                return None;
            }
            state.hasher_waits = true;
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut state.full))
    }

    /// Gives an empty buffer back.
    pub(super) fn give_back(&self, empty: Filling) {
        let mut state = self.lock();
        state.empty.push(empty);
        if std::mem::take(&mut state.receiver_waits) {
            self.0.returned.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.lock().closed = true;
        self.0.filled.notify_all();
        self.0.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_is_taken_once_and_in_order() {
        let (receiver, hasher) = handover(vec![Filling::empty(8), Filling::empty(8)]);
        let taken = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while let Some(full) = hasher.take() {
                for buffer in full {
                    taken.push(u64::from_le_bytes(buffer.filled().try_into().unwrap()));
                    hasher.give_back(buffer.emptied());
                }
            }
            taken
        });
        let mut buffer = Filling::empty(8);
        for number in 0..10_000_u64 {
            buffer.room().copy_from_slice(&number.to_le_bytes());
            buffer.grow(8);
            buffer = receiver.exchange(buffer).unwrap();
        }
        drop(receiver);
        assert_eq!(taken.join().unwrap(), (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_waits_for_an_end_that_is_gone() {
        let (receiver, hasher) = handover(Vec::new());
        drop(hasher);
        assert!(receiver.exchange(Filling::default()).is_none());
        let (receiver, hasher) = handover(Vec::new());
        drop(receiver);
        assert!(hasher.take().is_none());
    }
}
