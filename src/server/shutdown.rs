//! Stopping in an orderly way: newcomers are told, running transfers are waited for, a second request cuts them.

use super::Shared;
use super::admission::Running;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often the wait is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long the receipt of a download that is done is waited for.
const RECEIPT: Duration = Duration::from_secs(2);
/// How long sessions have to notice that they were cut.
const AFTER_CUT: Duration = Duration::from_secs(2);

/// The request to stop; shared with whoever receives signals.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: Arc<AtomicUsize>,
    wake: Arc<OwnedFd>,
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every transfer that was running is done.
    Whole,
    /// Transfers were cut.
    Cut,
}

impl Stop {
    /// A request that was not made yet.
    ///
    /// # Errors
    /// If the kernel gives no descriptor.
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { asked: Arc::default(), wake: Arc::new(wake) })
    }

    /// Asks the server to stop; asking again cuts what it waits for.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Release);
        // The count cannot overflow, and a wake that is pending already is as good.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether it was asked to.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) > 0
    }

    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn is_urgent(&self) -> bool {
        self.asked.load(Ordering::Acquire) > 1
    }
}

/// Waits for running transfers, at most as long as the configuration says, then cuts them. `refuse_newcomers` is called
/// now and then meanwhile.
pub(super) fn drain(shared: &Shared, stop: &Stop, refuse_newcomers: &mut dyn FnMut()) -> Drained {
    shared.registry.start_draining();
    let transfers = running(shared);
    log::info!(event = "stopping", clients = shared.registry.count(), transfers = transfers.len(); "");
    let until = Instant::now() + shared.config.drain;
    if !transfers.is_empty() {
        shared.console.count_down(until);
    }
    loop {
        stop_idle(shared);
        refuse_newcomers();
        if shared.registry.wait_until_empty(TICK) {
            return Drained::Whole;
        }
        if stop.is_urgent() || Instant::now() >= until {
            break;
        }
    }
    let cut = running(shared).len();
    shared.registry.sessions().iter().for_each(|live| live.with_interrupt(|interrupt| interrupt.cut()));
    shared.registry.wait_until_empty(AFTER_CUT);
    log::warn!(event = "cut", transfers = cut; "");
    if cut == 0 { Drained::Whole } else { Drained::Cut }
}

/// Sessions that are between requests see the end of their input.
fn stop_idle(shared: &Shared) {
    for live in shared.registry.sessions() {
        let awaits_receipt = live.unconfirmed_for().is_some_and(|waited| waited < RECEIPT);
        if live.transfer().is_none() && !awaits_receipt {
            live.with_interrupt(|interrupt| interrupt.stop_reading());
        }
    }
}

pub(super) fn running(shared: &Shared) -> Vec<Running> {
    shared.registry.sessions().iter().filter_map(|live| live.transfer()).collect()
}

/// Whether it is told how long the server waits at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// It is not, since nobody would see it pass.
    Untold,
    /// This long.
    AtMost(Duration),
}

/// `waiting for 3 transfers, about 41 s; Ctrl-C again to cut`
pub(super) fn announce(transfers: &[Running], bound: Bound) -> String {
    let count = transfers.len();
    let files = if count == 1 { "transfer" } else { "transfers" };
    let about = transfers.iter().filter_map(time_left).max();
    let about = about.map(|left| format!(", about {} s", left.as_secs().max(1))).unwrap_or_default();
    let bound = match bound {
        Bound::Untold => String::new(),
        Bound::AtMost(left) => format!(", at most {} s", left.as_secs()),
    };
    format!("waiting for {count} {files}{about}{bound}; Ctrl-C again to cut")
}

fn time_left(running: &Running) -> Option<Duration> {
    let moved = running.progress.moved();
    let left = running.left?.saturating_sub(moved);
    let rate = moved as f64 / running.since.elapsed().as_secs_f64();
    (rate > 0.0).then(|| Duration::from_secs_f64((left as f64 / rate).min(86_400.0)))
}
