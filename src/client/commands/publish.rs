//! `client publish`: an upload, and then the question who received it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Context;
use super::put::{Words, conclude, send_words};
use crate::client::publish::{ask, count, json, line, lines, until};
use crate::client::report::{FileReport, Report, say};
use crate::client::session::Session;
use crate::error::{Error, Result};
use crate::wire::{Received, ReceiverState};
use std::time::Instant;

/// Arrivals that get a line each when all of their receivers have them; the rest is counted.
const NAMED: usize = 20;

/// Publishes what the words stand for, and says who received it, after `wait` seconds at most.
pub(in crate::client) fn run(context: &Context, words: Words<'_>, wait: u64) -> Result<u8> {
    let report = Report::holding(context.style());
    if let Some(code) = send_words(context, words, &report)? {
        return Ok(code);
    }
    let arrivals = report.take_held();
    let until = until(wait);
    let mut session = None;
    let mut unnamed: u64 = 0;
    for (index, mut file) in arrivals.into_iter().enumerate() {
        let received = if wait > 0 { receivers(context, &mut session, &file, until) } else { None };
        if let Some(received) = &received {
            file.details.insert("receivers".into(), json(received));
        }
        report.tell(&file);
        let Some(received) = received.filter(|_| !context.settings.json && !context.settings.quiet) else { continue };
        if index < NAMED || count(&received, ReceiverState::Verified) < received.receivers.len() as u64 {
            tell(context, &file, &received);
        } else {
            unnamed = unnamed.saturating_add(1);
        }
    }
    if unnamed > 0 {
        say(&format!("... and {unnamed} more, verified by all who followed"));
    }
    session.into_iter().for_each(Session::close);
    Ok(conclude(context, words, &report))
}

/// Who received one arrival; `None` if that cannot be known: the file is stored all the same.
fn receivers(context: &Context, session: &mut Option<Session>, file: &FileReport, until: Instant) -> Option<Received> {
    let number = file.number?;
    if context.cancel.is_cancelled() {
        return None;
    }
    let mut before = None;
    let mut on_wait = |received: &Received| {
        let fetching = count(received, ReceiverState::Fetching);
        if !context.settings.quiet && before.replace(fetching) != Some(fetching) {
            let name = crate::escape::harmless(&file.path);
            say(&format!("{name}: {fetching} of {} still fetching", received.receivers.len()));
        }
    };
    let asked = match session.take() {
        Some(open) => Ok(open),
        None => context.open(),
    };
    let received = asked.and_then(|open| {
        let open = session.insert(open);
        context.persist(open, |open| ask(open, number, until, &mut on_wait))
    });
    received
        .inspect_err(|error| {
            if !is_answer(error) {
                *session = None;
            }
            if !context.settings.quiet && !context.cancel.is_cancelled() {
                say(&format!("{}: who received it is not known: {error}", crate::escape::harmless(&file.path)));
            }
        })
        .ok()
}

/// Whether an error answers the question. After any other one the connection is gone, or the answer is still to come, and would be
/// taken for that to the next question.
fn is_answer(error: &Error) -> bool {
    matches!(error, Error::Refused { code, .. } if !code.ends_session())
}

fn tell(context: &Context, file: &FileReport, received: &Received) {
    let charset = context.terminal.charset();
    say(&line(&file.path, file.number.unwrap_or(0), received, charset));
    lines(received, context.settings.verbose, charset).iter().for_each(|line| say(line));
}
