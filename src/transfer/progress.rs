//! Counters that whoever moves bytes bumps, and somebody else watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Takes note of bytes as they move. Never waits.
pub trait Counter: Sync {
    /// So many more bytes moved.
    fn add(&self, bytes: u64);
}

/// Bytes of one transfer.
#[derive(Debug, Default)]
pub struct Progress {
    moved: AtomicU64,
}

impl Counter for Progress {
    fn add(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Progress {
    /// Bytes moved so far.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}
