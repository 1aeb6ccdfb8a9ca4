//! Who received what was published.
//!
//! Owns the question (RECEIVERS, PROTOCOL.md section 16), asked in short steps until nobody is fetching any more or the
//! patience is over, and the words for the answer. Knows nothing of uploads.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::session::Session;
use super::terminal::Charset;
use crate::error::Result;
use crate::escape::harmless;
use crate::wire::{Received, Receiver, ReceiverState, Receivers, Reply, Request, Violation};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The steps in which is asked, in seconds: short at first, and never beyond a deadline.
const STEPS: [u64; 4] = [1, 2, 5, 10];

/// Asks who received an arrival, until nobody is fetching it any more, at most up to `until`. After each answer that leaves
/// somebody, `on_wait` is told how many.
///
/// # Errors
/// Those of the session; [`crate::wire::ErrorCode::NotFound`] if the server does not remember.
pub(super) fn ask(
    session: &mut Session,
    number: u64,
    until: Instant,
    on_wait: &mut dyn FnMut(&Received),
) -> Result<Received> {
    let mut steps = STEPS.into_iter();
    let mut step = 0;
    loop {
        step = steps.next().unwrap_or(step);
        let left = until.saturating_duration_since(Instant::now());
        let wait = step.min(left.as_secs().saturating_add(u64::from(left.subsec_millis() > 0)));
        session.request(&Request::Receivers(Receivers { number, wait }))?;
        session.flush()?;
        let received = match session.answer()? {
            Reply::Received(received) => received,
            reply => return Err(Violation::Unexpected(reply.kind()).into()),
        };
        if wait == 0 || count(&received, ReceiverState::Fetching) == 0 {
            return Ok(received);
        }
        on_wait(&received);
    }
}

/// How many receivers are in a state.
pub(super) fn count(received: &Received, state: ReceiverState) -> u64 {
    received.receivers.iter().filter(|receiver| receiver.state == state).count() as u64
}

/// One line: who has the file and who has not.
pub(super) fn line(path: &[u8], number: u64, received: &Received, charset: Charset) -> String {
    let separator = charset.separator();
    let states = [
        (ReceiverState::Verified, "verified"),
        (ReceiverState::Fetching, "still fetching"),
        (ReceiverState::Failed, "failed"),
        (ReceiverState::Gone, "gone"),
    ];
    let counted = states.map(|(state, word)| (count(received, state), word));
    let mut counts: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if received.more > 0 {
        counts.push(format!("{} more", received.more));
    }
    if counts.is_empty() {
        counts.push("nobody followed it".into());
    }
    format!("{}{separator}arrival {number}{separator}{}", harmless(path), counts.join(", "))
}

/// One line for each receiver: all of them, or those that do not have the file.
pub(super) fn lines(received: &Received, all: bool, charset: Charset) -> Vec<String> {
    let wanted = |receiver: &&Receiver| all || receiver.state != ReceiverState::Verified;
    let line = |receiver: &Receiver| {
        let sign = if receiver.state == ReceiverState::Verified { charset.tick() } else { charset.cross() };
        format!(" {sign} {}   {}", harmless(receiver.name.as_bytes()), words(receiver.state))
    };
    received.receivers.iter().filter(wanted).map(line).collect()
}

/// The receivers, for programs.
pub(super) fn json(received: &Received) -> Value {
    let one =
        |receiver: &Receiver| json!({ "name": harmless(receiver.name.as_bytes()), "state": name(receiver.state) });
    received.receivers.iter().map(one).collect()
}

/// How long to wait in all.
pub(super) fn until(seconds: u64) -> Instant {
    let now = Instant::now();
    now.checked_add(Duration::from_secs(seconds)).unwrap_or(now)
}

fn words(state: ReceiverState) -> &'static str {
    match state {
        ReceiverState::Verified => "verified",
        ReceiverState::Fetching => "still fetching",
        ReceiverState::Failed => "could not take it",
        ReceiverState::Gone => "went away before it had it",
    }
}

fn name(state: ReceiverState) -> &'static str {
    match state {
        ReceiverState::Verified => "verified",
        ReceiverState::Fetching => "fetching",
        ReceiverState::Failed => "failed",
        ReceiverState::Gone => "gone",
    }
}
