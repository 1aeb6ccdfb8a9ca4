//! One transfer's counters.
//!
//! Owns the atomics that workers bump. Knows nothing of drawing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::escape;

/// No size: it is known when the transfer ends.
const UNKNOWN: u64 = u64::MAX;

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is there.
    Complete,
    /// It was there already; nothing was moved.
    Kept,
    /// It was left out, and why.
    Skipped(String),
    /// It ended, and whoever moved it tells of it: it gets no line.
    Told,
    /// It comes to nothing, and another transfer takes its place: it is not counted. The reason, unless it is that the
    /// connection broke, which is told once for all.
    Again(Option<String>),
    /// It failed, and why; what has been moved may be of use to a later attempt.
    Failed(String),
}

/// The counters of one transfer. Bumping them takes no lock.
#[derive(Debug)]
pub struct Transfer {
    name: String,
    size: AtomicU64,
    already: AtomicU64,
    moved: AtomicU64,
    started: Instant,
    asked_to_stop: AtomicBool,
    ended: OnceLock<(Outcome, Duration)>,
}

impl Transfer {
    pub(super) fn new(name: &[u8], size: Option<u64>, already: u64) -> Self {
        Self {
            name: escape::harmless(name),
            size: AtomicU64::new(size.unwrap_or(UNKNOWN)),
            already: AtomicU64::new(already),
            moved: AtomicU64::new(0),
            started: Instant::now(),
            asked_to_stop: AtomicBool::new(false),
            ended: OnceLock::new(),
        }
    }

    /// So many more bytes were moved.
    pub fn add(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The size became known, or another one.
    pub fn set_size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    /// It starts over, or resumes, with `bytes` already there; what was moved before no longer counts towards it.
    pub fn restart_from(&self, bytes: u64) {
        self.moved.store(0, Ordering::Relaxed);
        self.already.store(bytes, Ordering::Relaxed);
    }

    /// It ended. Only the first outcome counts.
    pub fn finish(&self, outcome: Outcome) {
        self.finish_after(outcome, self.started.elapsed());
    }

    /// It ended, and took this long.
    pub(super) fn finish_after(&self, outcome: Outcome, took: Duration) {
        let _ = self.ended.set((outcome, took));
    }

    /// Asks whoever moves it to stop, and leave the others alone.
    pub fn ask_to_stop(&self) {
        self.asked_to_stop.store(true, Ordering::Relaxed);
    }

    /// Whether a person wants it to stop. Whoever moves it looks now and then.
    #[must_use]
    pub fn is_asked_to_stop(&self) -> bool {
        self.asked_to_stop.load(Ordering::Relaxed)
    }

    /// Bytes moved since the start or the last restart.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Bytes that are there: those from an earlier attempt, and those moved.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.already.load(Ordering::Relaxed).saturating_add(self.moved())
    }

    /// Its size, where it is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let size = self.size.load(Ordering::Relaxed);
        (size != UNKNOWN).then_some(size)
    }

    /// Its name, harmless to show.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How it ended and how long it took, once it has.
    pub(super) fn ended(&self) -> Option<&(Outcome, Duration)> {
        self.ended.get()
    }
}
