//! Who is connected, and how many may be.
//!
//! Owns the caps (all connections; those of one address) and the means to reach a running session: to show it, to wake
//! it, to cut it.

use crate::access::Caller;
use crate::connection::{Interrupt, Limiter, Share};
use crate::error::{Error, Result};
use crate::transfer::Progress;
use crate::wire::ErrorCode;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The sessions that are running.
#[derive(Debug)]
pub(super) struct Registry {
    limit: usize,
    limit_of_an_address: usize,
    sessions: Mutex<Sessions>,
    left: Condvar,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Sessions {
    live: HashMap<u64, Arc<Live>>,
    of_an_address: HashMap<IpAddr, usize>,
    draining: bool,
}

/// A running session, as others see it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) peer: SocketAddr,
    since: Instant,
    interrupt: Mutex<Option<Interrupt>>,
    transfer: Mutex<Option<Running>>,
    /// What is transferred, or was last: harmless text.
    transfer_name: Mutex<String>,
    unconfirmed_since: Mutex<Option<Instant>>,
    caller: Mutex<Option<Caller>>,
    share: Mutex<Option<Arc<Share>>>,
    /// Looks that have found it without its rights.
    revoked: AtomicUsize,
}

/// The transfer that a session is at.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) direction: Direction,
    pub(super) left: Option<u64>,
    pub(super) progress: Arc<Progress>,
    pub(super) since: Instant,
}

/// Which way a file goes, as the client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Download,
    Upload,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Download, Self::Upload];

    /// The name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// A place among the sessions; given back when dropped, also where no thread could be started for it.
#[derive(Debug)]
pub(super) struct Admitted {
    registry: Arc<Registry>,
    key: u64,
    live: Arc<Live>,
}

impl Registry {
    /// Room for `limit` sessions, of which one address can have seven eighths: the others always find a place.
    pub(super) fn new(limit: usize) -> Self {
        let limit_of_an_address = (limit - limit / 8).max(1);
        Self { limit, limit_of_an_address, sessions: Mutex::default(), left: Condvar::new(), next: AtomicU64::new(0) }
    }

    /// Takes a place for a new connection.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`], which names the limit and its value; [`ErrorCode::ShuttingDown`].
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Admitted> {
        let mut sessions = self.lock();
        if sessions.draining {
            return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping"));
        }
        if sessions.live.len() >= self.limit {
            return Err(busy("connections", self.limit));
        }
        let count = sessions.of_an_address.entry(peer.ip()).or_default();
        if *count >= self.limit_of_an_address {
            return Err(busy("connections of one address", self.limit_of_an_address));
        }
        *count += 1;
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live {
            peer,
            since: Instant::now(),
            interrupt: Mutex::default(),
            transfer: Mutex::default(),
            transfer_name: Mutex::default(),
            unconfirmed_since: Mutex::default(),
            caller: Mutex::default(),
            share: Mutex::default(),
            revoked: AtomicUsize::new(0),
        });
        sessions.live.insert(key, Arc::clone(&live));
        Ok(Admitted { registry: Arc::clone(self), key, live })
    }

    fn release(&self, key: u64, ip: IpAddr) {
        let mut sessions = self.lock();
        sessions.live.remove(&key);
        if let Some(count) = sessions.of_an_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                sessions.of_an_address.remove(&ip);
            }
        }
        self.left.notify_all();
    }

    /// The running sessions.
    pub(super) fn sessions(&self) -> Vec<Arc<Live>> {
        self.lock().live.values().cloned().collect()
    }

    /// How many sessions are running.
    pub(super) fn count(&self) -> usize {
        self.lock().live.len()
    }

    /// No new sessions from here on.
    pub(super) fn start_draining(&self) {
        self.lock().draining = true;
    }

    /// Whether the server is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Waits until no session is left, for `patience` at most; whether that came to be.
    pub(super) fn wait_until_empty(&self, patience: Duration) -> bool {
        let sessions = self.lock();
        let (sessions, _) = self
            .left
            .wait_timeout_while(sessions, patience, |sessions| !sessions.live.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        sessions.live.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.release(self.key, self.live.peer.ip());
    }
}

impl Live {
    /// When the connection came.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Milliseconds since the connection came.
    pub(super) fn age_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Who it is, once that is known.
    pub(super) fn caller(&self) -> Option<Caller> {
        lock(&self.caller).clone()
    }

    pub(super) fn set_caller(&self, caller: Caller) {
        *lock(&self.caller) = Some(caller);
    }

    /// What it has in the limit that it is under, or was last.
    pub(super) fn share(&self) -> Option<Arc<Share>> {
        lock(&self.share).clone()
    }

    /// What it has in this limit, from now on.
    pub(super) fn share_in(&self, limiter: Arc<Limiter>) -> Arc<Share> {
        let mut share = lock(&self.share);
        if let Some(share) = share.as_ref().filter(|share| Arc::ptr_eq(share.limiter(), &limiter)) {
            return Arc::clone(share);
        }
        let held_back = share.as_ref().map(|share| share.held_back()).unwrap_or_default();
        Arc::clone(share.insert(Arc::new(Share::new(limiter, held_back))))
    }

    /// It has lost its rights; how often that was found before.
    pub(super) fn revoke(&self) -> usize {
        self.revoked.fetch_add(1, Ordering::AcqRel)
    }

    /// What ends it, if it has lost its rights.
    pub(super) fn check_revoked(&self) -> Result<()> {
        if self.revoked.load(Ordering::Acquire) > 0 {
            return Err(Error::refused(ErrorCode::Unauthorized, "the token was revoked, was changed, or has expired"));
        }
        Ok(())
    }

    pub(super) fn set_interrupt(&self, interrupt: Interrupt) {
        *lock(&self.interrupt) = Some(interrupt);
    }

    pub(super) fn with_interrupt(&self, act: impl FnOnce(&Interrupt)) {
        if let Some(interrupt) = lock(&self.interrupt).as_ref() {
            act(interrupt);
        }
    }

    pub(super) fn transfer(&self) -> Option<Running> {
        lock(&self.transfer).clone()
    }

    /// What is transferred, or was last; empty if nothing was.
    pub(super) fn transfer_name(&self) -> String {
        lock(&self.transfer_name).clone()
    }

    /// Names the transfer that begins, for whoever looks; `name` is harmless text.
    pub(super) fn name_transfer(&self, name: &str) {
        let mut shown = lock(&self.transfer_name);
        shown.clear();
        shown.push_str(name);
    }

    /// How long the receipt of the last download has been waited for; `None` if none is due.
    pub(super) fn unconfirmed_for(&self) -> Option<Duration> {
        lock(&self.unconfirmed_since).map(|since| since.elapsed())
    }

    pub(super) fn set_unconfirmed(&self, since: Option<Instant>) {
        *lock(&self.unconfirmed_since) = since;
    }

    /// Shows a transfer that begins to whoever looks; `left` bytes are to come, if that is known.
    pub(super) fn begin_transfer(&self, direction: Direction, left: Option<u64>) -> Arc<Progress> {
        let (progress, since) = (Arc::<Progress>::default(), Instant::now());
        *lock(&self.transfer) = Some(Running { direction, left, progress: Arc::clone(&progress), since });
        progress
    }

    /// The transfer is over.
    pub(super) fn end_transfer(&self) {
        *lock(&self.transfer) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy(what: &str, limit: usize) -> Error {
    Error::refused(ErrorCode::Busy, format!("the server has its limit of {limit} {what}; try again later"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_told_with_their_value_and_places_come_back() {
        let registry = Arc::new(Registry::new(8));
        let one: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let other: SocketAddr = "192.0.2.2:1".parse().unwrap();
        let mut places: Vec<_> = (0..7).map(|_| registry.admit(one).unwrap()).collect();
        assert!(registry.admit(one).unwrap_err().to_string().contains("limit of 7"));
        places.push(registry.admit(other).unwrap());
        assert!(registry.admit(other).unwrap_err().to_string().contains("limit of 8"));
        places.remove(0);
        registry.admit(other).unwrap();
        registry.start_draining();
        assert_eq!(registry.admit(one).unwrap_err().code(), ErrorCode::ShuttingDown);
    }
}
