//! Ends the sessions of those who have lost what they were given: a token that was revoked, changed or has expired.
//!
//! A session is first told to stop reading, so that it can say why it ends, and cut two looks later if it is still there: in
//! the middle of a transfer it hears nothing.

use super::Shared;
use super::admission::Live;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// How often is looked. Three looks, and what ends a session, are within the second that is promised.
const LOOK: Duration = Duration::from_millis(250);
/// Looks that have found a session without its rights before it is cut.
const PATIENCE: usize = 2;

/// Looks, for as long as the server runs.
///
/// # Errors
/// [`Error::Local`] if the thread cannot be started.
pub(super) fn watch(shared: &Arc<Shared>) -> Result<()> {
    let shared = Arc::downgrade(shared);
    let work = move || {
        while let Some(shared) = shared.upgrade() {
            look(&shared);
            drop(shared);
            std::thread::sleep(LOOK);
        }
    };
    let spawned = std::thread::Builder::new().name("tokens".into()).spawn(work);
    spawned.map(drop).map_err(|error| Error::local("start", "a thread that watches the tokens", error))
}

fn look(shared: &Shared) {
    let had_none = shared.access.count() == 0;
    match shared.access.refresh() {
        Ok(false) => {}
        Ok(true) => {
            let (tokens, anonymous) = (shared.access.count(), shared.access.anonymous());
            log::info!(event = "tokens", tokens, anonymous:%; "the tokens were changed");
            if had_none {
                warn_if_exposed(shared);
            }
        }
        Err(error) => log::error!(event = "tokens", cause:% = error; "what held before goes on to hold"),
    }
    let mut sessions = shared.registry.sessions();
    sessions.retain(|live| live.caller().is_some_and(|caller| !shared.access.holds(&caller)));
    // All are marked before one is ended: the end of a sender may end its receivers, and each must know why.
    let marked: Vec<(&Arc<Live>, usize)> = sessions.iter().map(|live| (live, live.revoke())).collect();
    for (live, looks) in marked {
        end(live, looks);
    }
}

/// A server that had tokens would not have started like this; one that is given its first while it runs goes on, and says so.
fn warn_if_exposed(shared: &Shared) {
    if let Err(error) = shared.access.check_transport(shared.config.transport, &shared.listening) {
        log::warn!(event = "tokens", cause:% = error; "tokens travel where anybody can read them");
        shared.console.say(&format!("Warning: {error}"));
    }
}

/// Ends a session that so many looks have found before.
fn end(live: &Live, looks: usize) {
    if looks >= PATIENCE {
        return live.with_interrupt(|interrupt| interrupt.cut());
    }
    if looks > 0 {
        return;
    }
    let token = live.caller().map(|caller| caller.grant().to_string()).unwrap_or_default();
    log::warn!(event = "revoked", client:% = live.peer, token:%; "");
    live.with_interrupt(|interrupt| interrupt.stop_reading());
}
