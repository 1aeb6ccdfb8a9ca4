//! Finds out who asks, in every protocol: what a wrong token costs is decided here.

use super::Shared;
use super::admission::Live;
use crate::access::Caller;
use crate::error::{Error, Result};
use crate::wire::ErrorCode;
use std::time::{Duration, Instant};

/// A thread that waits looks so often whether the server stops.
const LOOK: Duration = Duration::from_millis(50);

/// Whether somebody showed something to be recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A token, or a ticket.
    Something,
    Nothing,
}

/// Takes note of who it is. If that is not known, its address pays for having tried.
///
/// # Errors
/// The one that is given, later; [`ErrorCode::Busy`] at once, if too many of its address wait for theirs.
pub(super) fn admit(shared: &Shared, live: &Live, shown: Shown, found: Result<Caller>) -> Result<Caller> {
    match found {
        Ok(caller) => {
            live.set_caller(caller.clone());
            Ok(caller)
        }
        Err(error) if shown == Shown::Something => Err(delayed(shared, live, error)),
        Err(error) => Err(error),
    }
}

fn delayed(shared: &Shared, live: &Live, error: Error) -> Error {
    let Some(waiting) = shared.throttle.failed(live.peer.ip()) else {
        return Error::refused(ErrorCode::Busy, "too many wrong tokens came from this address; try again later");
    };
    let began = Instant::now();
    while began.elapsed() < waiting.delay() && !shared.registry.is_draining() {
        std::thread::sleep(LOOK.min(waiting.delay().saturating_sub(began.elapsed())));
    }
    error
}
