//! Ctrl-C: one flag, and the sockets that must be cut for it to be noticed.
//!
//! The first one stops cleanly: connections are cut, partial files are kept, a summary is printed. The second one leaves
//! at once.

use super::terminal::screen;
use crate::connection::Interrupt;
use crate::error::Error;
use crate::transfer::hash_range;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The exit code of an interrupted program: 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Between two looks whether to stop hashing: a few hundredths of a second.
const HASH_STEP: u64 = 16 * 1024 * 1024;

/// The request to stop, shared by everything that runs.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// The program was told to end, not only to stop what it does.
    terminated: bool,
    /// How often rests were cut short.
    hurries: u64,
    sockets: Vec<(u64, Interrupt)>,
}

/// Keeps a connection among those that are cut; drop it with the connection.
#[derive(Debug)]
pub struct Registration {
    cancel: Cancel,
    key: u64,
}

impl Cancel {
    /// Watches Ctrl-C, SIGTERM and SIGHUP from here on, and keeps SIGXFSZ from ending the program.
    ///
    /// # Errors
    /// If the signals cannot be caught or the thread cannot be started.
    pub(super) fn watch() -> std::io::Result<Self> {
        // A file beyond this process's limit is a failed write, not its end.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let cancel = Self::default();
        let mut signals = Signals::new(watched_signals())?;
        let watched = cancel.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if watched.is_cancelled() {
                    screen::restore_now();
                    std::process::exit(128 + signal);
                }
                if signal != SIGINT {
                    screen::end_where_asked(signal);
                }
                watched.lock().terminated |= signal != SIGINT;
                watched.cancel();
            }
        })?;
        Ok(cancel)
    }

    /// Stops everything.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        state.sockets.iter().for_each(|(_, socket)| socket.cut());
        self.shared.changed.notify_all();
    }

    /// Ends all rests that are being made, for whoever is impatient.
    pub(super) fn hurry(&self) {
        let mut state = self.lock();
        state.hurries = state.hurries.wrapping_add(1);
        self.shared.changed.notify_all();
    }

    /// Changes whenever somebody is impatient.
    pub(super) fn hurries(&self) -> u64 {
        self.lock().hurries
    }

    /// Whether the program was told to end, and not only to stop what it does.
    pub(super) fn is_terminated(&self) -> bool {
        self.lock().terminated
    }

    /// A new beginning: the menu goes on after a transfer was stopped.
    pub(super) fn reset(&self) {
        self.lock().cancelled = false;
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Adds a connection to those that are cut.
    pub fn register(&self, interrupt: Interrupt) -> Registration {
        let key = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        if state.cancelled {
            interrupt.cut();
        }
        state.sockets.push((key, interrupt));
        Registration { cancel: self.clone(), key }
    }

    /// Rests, unless it is asked to stop, or somebody is impatient; `false` if it is asked to stop.
    pub(super) fn rest(&self, duration: Duration) -> bool {
        let state = self.lock();
        let before = state.hurries;
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, duration, |state| !state.cancelled && state.hurries == before)
            .unwrap_or_else(PoisonError::into_inner);
        !state.cancelled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signals that end it. One that was ignored when the program began stays so: that is what `nohup` asks for.
fn watched_signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend((!is_ignored(SIGHUP)).then_some(SIGHUP));
    signals
}

/// Whether this process ignores a signal (proc(5), `SigIgn`).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// A person stopped this file, and no other.
pub(super) fn stopped() -> Error {
    Error::local("go on", "the transfer", io::Error::new(io::ErrorKind::Interrupted, "stopped"))
}

/// Hashes a file from `offset` to `end`, and stops soon after `stop` says so; whether all of it was hashed.
pub(super) fn hash_unless_stopped(
    hasher: &mut blake3::Hasher,
    file: &File,
    mut offset: u64,
    end: u64,
    stop: &dyn Fn() -> bool,
) -> std::io::Result<bool> {
    while offset < end {
        let step = HASH_STEP.min(end - offset);
        if stop() || !hash_range(hasher, file, offset, step)? {
            return Ok(false);
        }
        offset += step;
    }
    Ok(true)
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancel.lock().sockets.retain(|(key, _)| *key != self.key);
    }
}
