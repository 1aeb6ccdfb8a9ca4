//! Ends the sessions of those who have lost what they were given: a token that was revoked, changed or has expired.
//!
//! A session is first told to stop reading, so that it can say why it ends, and cut at the next look if it is still there: in
//! the middle of a transfer it hears nothing.

use super::Shared;
use super::admission::Live;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// How often is looked. Two looks, and what ends a session, are well within the second that is promised.
const LOOK: Duration = Duration::from_millis(250);

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
    for live in shared.registry.sessions() {
        if live.caller().is_some_and(|caller| !shared.access.holds(&caller)) {
            end(&live);
        }
    }
}

/// A server that had tokens would not have started like this; one that is given its first while it runs goes on, and says so.
fn warn_if_exposed(shared: &Shared) {
    if let Err(error) = shared.access.check_transport(shared.config.transport, &shared.listening) {
        log::warn!(event = "tokens", cause:% = error; "tokens travel where anybody can read them");
        shared.console.say(&format!("Warning: {error}"));
    }
}

fn end(live: &Live) {
    if live.revoke() {
        return live.with_interrupt(|interrupt| interrupt.cut());
    }
    let token = live.caller().map(|caller| caller.grant().to_string()).unwrap_or_default();
    log::warn!(event = "revoked", client:% = live.peer, token:%; "");
    live.with_interrupt(|interrupt| interrupt.stop_reading());
}
