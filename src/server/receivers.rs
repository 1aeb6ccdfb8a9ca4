//! RECEIVERS (PROTOCOL.md, section 16): who received an arrival.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::session::{Session, wait_frame};
use crate::access::Caller;
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, Received, Receiver, ReceiverState, Receivers, Reply};
use std::time::{Duration, Instant};

/// Longest wait, in seconds.
const LONGEST: u64 = 60;
/// How often a receiver that went away is noticed.
const LOOK: Duration = Duration::from_millis(250);
/// A client that waits hears WAIT so often.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Most receivers of an answer: each takes less than 64 bytes of the largest frame.
const MOST: usize = 1000;

/// Answers RECEIVERS, as soon as nobody fetches the arrival any more, or the wait is over.
pub(super) fn answer(session: &mut Session<'_>, request: Receivers) -> Result<()> {
    session.settle()?;
    session.asked("RECEIVERS", b"").note(session.caller.may_ask_receivers())?;
    session.connection.flush()?;
    if !sees(session.shared, &session.caller, request.number)? {
        return Err(not_known());
    }
    let began = Instant::now();
    let wait = Duration::from_secs(request.wait.min(LONGEST));
    let mut said = began;
    let mut receivers = loop {
        let receivers = session.shared.store.receivers(request.number);
        let receivers = receivers.ok_or_else(not_known)?;
        let is_settled = receivers.iter().all(|receiver| receiver.state != ReceiverState::Fetching);
        if is_settled || began.elapsed() >= wait || session.shared.registry.is_draining() {
            break receivers;
        }
        session.shared.store.wait_for_receivers(LOOK);
        if said.elapsed() >= KEEPALIVE {
            said = Instant::now();
            wait_frame(&mut session.connection)?;
        }
    };
    // Those that are worth a look come first.
    receivers.sort_by_key(|receiver: &Receiver| receiver.state == ReceiverState::Verified);
    let more = receivers.len().saturating_sub(MOST) as u64;
    receivers.truncate(MOST);
    session.reply(&Reply::Received(Received { receivers, more }))
}

/// Whether an arrival is in a folder of somebody's. One that is elsewhere is as little known to them as one that never was.
pub(super) fn sees(shared: &Shared, caller: &Caller, number: u64) -> Result<bool> {
    if caller.grant().is_everywhere() {
        return Ok(true);
    }
    let Some(journal) = shared.store.journal() else { return Ok(false) };
    Ok(journal.find_number(number)?.is_some_and(|arrival| caller.sees(&arrival.path)))
}

fn not_known() -> Error {
    Error::refused(ErrorCode::NotFound, "who received it is not known")
}
