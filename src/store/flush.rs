//! The thread that flushes for a session, so that the session can tell its peer meanwhile that the server still works
//! (PROTOCOL.md, section 12).
//!
//! Knows nothing of what is flushed. One thread serves all flushes of a group.

use super::{OnWait, PATIENCE};
use crate::transfer::Helper;
use crossbeam_channel::{RecvTimeoutError, SendError, Sender, bounded};

type Job<'env> = Box<dyn FnOnce() + Send + 'env>;

/// The thread, or where none is to be had, whoever asks.
pub(super) struct Flusher<'env> {
    jobs: Option<Sender<Job<'env>>>,
}

/// Runs `work` with a flusher, whose thread ends with it.
pub(super) fn with_flusher<'env, T>(work: impl FnOnce(&Flusher<'env>) -> T) -> T {
    let Some(_helper) = Helper::take() else { return work(&Flusher { jobs: None }) };
    std::thread::scope(|scope| {
        let (jobs, queue) = bounded::<Job<'env>>(1);
        let run = move || queue.iter().for_each(|job| job());
        let spawned = std::thread::Builder::new().name("flush".into()).spawn_scoped(scope, run);
        work(&Flusher { jobs: spawned.is_ok().then_some(jobs) })
    })
}

impl<'env> Flusher<'env> {
    /// What `flush` returns; `on_wait` is called now and then until it does. `None` if it panicked.
    pub(super) fn run<T: Send + 'env>(
        &self,
        flush: impl FnOnce() -> T + Send + 'env,
        on_wait: &mut OnWait<'_>,
    ) -> Option<T> {
        let (done, result) = bounded(1);
        let job: Job<'env> = Box::new(move || drop(done.send(flush())));
        match &self.jobs {
            None => job(),
            Some(jobs) => {
                if let Err(SendError(job)) = jobs.send(job) {
                    job();
                }
            }
        }
        loop {
            match result.recv_timeout(PATIENCE) {
                Ok(result) => return Some(result),
                // A peer that is gone is noticed later; what it sent is flushed all the same.
                Err(RecvTimeoutError::Timeout) => drop(on_wait()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}
