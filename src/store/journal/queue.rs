//! Many callers, one flush: whoever comes while a batch is being written waits, and the next batch takes all that wait.
//!
//! The first caller that finds no leader becomes it and writes for all; the others find their answer when it is done.

use super::NewArrival;
use super::folder::Failure;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Arrivals that are written at once, unless a single caller brings more.
const BATCH: usize = 4096;

type Answer = Result<Vec<u64>, Failure>;

/// The callers that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    waiting: Vec<Waiting>,
    is_led: bool,
    answers: HashMap<u64, Answer>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    arrivals: Vec<NewArrival>,
}

impl Queue {
    /// Has `arrivals` written together with those of other callers, by `write`: on this thread or another's.
    pub(super) fn submit(
        &self,
        arrivals: Vec<NewArrival>,
        write: impl Fn(Vec<NewArrival>) -> Result<u64, Failure>,
    ) -> Answer {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket = ticket.wrapping_add(1);
        state.waiting.push(Waiting { ticket, arrivals });
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            if state.is_led {
                state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_led = true;
            let batch = take_batch(&mut state.waiting);
            drop(state);
            let answers = write_batch(batch, &write);
            state = self.lock();
            state.is_led = false;
            state.answers.extend(answers);
            self.done.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes callers in their order while there is room; at least one.
fn take_batch(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut room = BATCH;
    let fits = waiting.iter().take_while(|caller| {
        let is_first = room == BATCH;
        let fits = caller.arrivals.len() <= room;
        room = room.saturating_sub(caller.arrivals.len());
        fits || is_first
    });
    let count = fits.count();
    waiting.drain(..count).collect()
}

/// Writes a batch, and tells each caller the numbers of its own arrivals.
fn write_batch(batch: Vec<Waiting>, write: &impl Fn(Vec<NewArrival>) -> Result<u64, Failure>) -> Vec<(u64, Answer)> {
    let shares: Vec<_> = batch.iter().map(|caller| (caller.ticket, caller.arrivals.len() as u64)).collect();
    match write(batch.into_iter().flat_map(|caller| caller.arrivals).collect()) {
        Err(failure) => shares.into_iter().map(|(ticket, _)| (ticket, Err(failure))).collect(),
        Ok(mut next) => shares
            .into_iter()
            .map(|(ticket, count)| {
                let first = next;
                next = next.saturating_add(count);
                (ticket, Ok((first..next).collect()))
            })
            .collect(),
    }
}
