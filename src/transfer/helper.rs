//! Threads beside those of the sessions: they hash what a session receives, or flush what it received.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Most helping threads at a time; whoever gets none does the work itself. Each thread takes four memory mappings, and the
/// standard library aborts the process when the kernel's limit (65,530) is reached: 10,900 sessions and these stay below.
const MOST: usize = 1024;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The right to start one helping thread; given back when dropped.
#[derive(Debug)]
pub struct Helper(());

impl Helper {
    /// The right, if it is to be had.
    #[must_use]
    pub fn take() -> Option<Self> {
        TAKEN
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < MOST).then_some(taken.saturating_add(1))
            })
            .ok()?;
        Some(Self(()))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::AcqRel);
    }
}
