//! Counters that whoever moves bytes bumps, and somebody else watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one transfer.
#[derive(Debug, Default)]
pub struct Progress {
    moved: AtomicU64,
}

impl Progress {
    /// Notes that bytes moved.
    pub fn add(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes moved so far.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}
