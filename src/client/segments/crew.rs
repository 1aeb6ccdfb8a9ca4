//! The workers of a download that have nothing to do, and the files that they may help with.
//!
//! Owns the waiting. Knows nothing of what is sent.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::file::Segmented;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a worker waits with what it has.
const LONG: Duration = Duration::from_secs(1);

/// The workers of one download.
#[derive(Debug)]
pub(in crate::client) struct Crew {
    state: Mutex<State>,
    changed: Condvar,
}

/// What came of waiting.
#[derive(Debug)]
pub(in crate::client) enum Awaited {
    /// A file that needs help.
    File(Arc<Segmented>),
    /// Something else is to be done.
    OtherWork,
    /// There will be none.
    Nothing,
}

#[derive(Debug)]
struct State {
    /// Workers that may still begin a file in segments.
    busy: usize,
    /// Files that are on their way in segments.
    files: Vec<Arc<Segmented>>,
}

impl Crew {
    /// So many workers, all of them busy.
    pub(in crate::client) fn new(workers: usize) -> Self {
        Self { state: Mutex::new(State { busy: workers, files: Vec::new() }), changed: Condvar::new() }
    }

    /// Lets others help with a file.
    pub(in crate::client) fn open(&self, file: &Arc<Segmented>) {
        self.lock().files.push(Arc::clone(file));
        self.changed.notify_all();
    }

    /// A file needs no help any more.
    pub(in crate::client) fn close(&self, file: &Arc<Segmented>) {
        self.lock().files.retain(|open| !Arc::ptr_eq(open, file));
    }

    /// Waits for a file that needs help. `on_long` is called when that takes long, and tells whether there is other work now.
    pub(in crate::client) fn wait(&self, mut on_long: impl FnMut() -> bool) -> Awaited {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        loop {
            if let Some(file) = state.needs_help() {
                state.busy = state.busy.saturating_add(1);
                return Awaited::File(file);
            }
            if state.busy == 0 {
                self.changed.notify_all();
                return Awaited::Nothing;
            }
            let (guard, timeout) = self.changed.wait_timeout(state, LONG).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() {
                drop(state);
                let has_other_work = on_long();
                state = self.lock();
                if has_other_work {
                    state.busy = state.busy.saturating_add(1);
                    return Awaited::OtherWork;
                }
            }
        }
    }

    /// A worker ends.
    pub(in crate::client) fn retire(&self) {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn needs_help(&self) -> Option<Arc<Segmented>> {
        self.files.iter().find(|file| file.has_work()).map(Arc::clone)
    }
}
