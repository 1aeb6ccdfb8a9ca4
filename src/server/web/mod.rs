//! HTTP and WebSocket on the native port (docs/WEB.md): the same commands over the same store.
//!
//! Owns the life of a connection that speaks HTTP: a head is read, what it asks for is found in the one table (`route`), who
//! asks is checked (`access`), the answer is given, and the connection goes on, is closed, or leaves HTTP (`upgrade`).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod access;
mod archive;
mod body;
mod caller;
mod events;
mod exchange;
mod files;
mod following;
mod health;
mod kind;
mod listing;
mod metrics;
mod outlet;
mod page;
mod relay;
mod response;
mod route;
mod upgrade;
mod upload;

pub use access::WebAccess;
pub(super) use relay::Mimes;
pub use relay::RelayConfig;

use super::Shared;
use super::admission::Live;
use super::audit::Asked;
use crate::access::Caller;
use crate::connection::{Awaited, More, Stream};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::wire::ErrorCode;
use crate::wire::http::{Head, HeadScan};
use exchange::{After, Exchange};
use response::Problem;
use route::Dealing;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection that ends waits for its peer to take the last word.
const LAST_WORD: Duration = Duration::from_secs(2);

/// As much of a client's name for itself goes into the log.
const MOST_OF_AGENT: usize = 256;

/// How the HTTP of a connection ended.
enum End {
    /// In an orderly way.
    Close,
    /// In the middle of an answer.
    Cut,
    /// With a request to speak WebSocket.
    Upgrade(Head, upgrade::Purpose),
}

/// A connection that speaks HTTP.
struct Visit<'a> {
    stream: &'a mut Stream,
    live: &'a Live,
    shared: &'a Shared,
    /// Whether a whole head came already.
    is_known: bool,
}

/// Runs a connection that speaks HTTP to its end.
pub(super) fn run(mut stream: Stream, live: Arc<Live>, shared: &Shared) {
    // Also those are limited who are never recognised: what they send is heard out.
    stream.limit(shared.rates.share(&live, &Caller::nobody()));
    let mut visit = Visit { stream: &mut stream, live: &live, shared, is_known: false };
    let (end, is_known) = (visit.converse(), visit.is_known);
    live.end_transfer();
    let result = match end {
        Ok(End::Upgrade(head, purpose)) => upgrade::run(stream, head, purpose, &live, shared),
        Ok(End::Close) => {
            stream.close(LAST_WORD);
            Ok(())
        }
        Ok(End::Cut) => {
            stream.interrupt().cut();
            Ok(())
        }
        Err(error) => {
            stream.close(LAST_WORD);
            Err(error)
        }
    };
    let (client, ms) = (live.peer, live.age_ms());
    match result {
        Ok(()) => log::info!(event = "disconnect", client:%, ms; ""),
        Err(error) => log::warn!(event = "disconnect", client:%, ms, cause:% = error; ""),
    }
    if is_known {
        shared.console.left(live.peer);
    }
}

/// What a newcomer that speaks HTTP and is not let in is told.
pub(super) fn refusal(error: &Error) -> Vec<u8> {
    let fault = error.to_fault();
    let problem = Problem::from(Error::refused(fault.code, fault.message.unwrap_or_default()));
    problem.to_last_answer().into_bytes()
}

impl Visit<'_> {
    /// Answers requests until one is the last.
    fn converse(&mut self) -> Result<End> {
        loop {
            let Some(head) = self.next_head()? else { return Ok(End::Close) };
            self.greet(&head);
            let end = self.answer(head)?;
            // A client that has sent its next request already is answered together.
            if let Some(end) = end {
                self.stream.flush(More::Nothing)?;
                return Ok(end);
            }
        }
    }

    /// The next head; `None` if none will come. What is no head is answered, and is an error.
    fn next_head(&mut self) -> Result<Option<Head>> {
        match self.read_head() {
            Ok(head) => Ok(head),
            Err(problem) => {
                if !matches!(problem.error(), Error::Network { .. }) {
                    problem.send_last(self.stream)?;
                }
                Err(problem.into_error())
            }
        }
    }

    fn read_head(&mut self) -> std::result::Result<Option<Head>, Problem> {
        let mut scan = HeadScan::default();
        let mut begun: Option<(Instant, Awaited)> = None;
        // An empty line after a request is what some clients send (RFC 9112, section 2.2).
        let mut may_be_empty_line = self.is_known;
        let rested = self.stream.rested();
        loop {
            if may_be_empty_line && self.stream.unread().starts_with(b"\r\n") {
                self.stream.take(2);
                may_be_empty_line = false;
            }
            let is_line_end = may_be_empty_line && self.stream.unread() == b"\r";
            if !is_line_end && let Some(length) = scan.find(self.stream.unread())? {
                let head = Head::parse(self.stream.take(length))?;
                return Ok(Some(head));
            }
            if begun.is_none() && (self.stream.has_buffered_input() || !self.is_known) {
                begun = Some(self.patience_with_a_head());
            }
            let idle = self.stream.deadlines().idle;
            let (deadline, awaited) = begun.unwrap_or_else(|| (self.stream.deadline_in(idle), ("next request", idle)));
            // What was answered does not wait for the next request.
            self.stream.flush(More::Nothing)?;
            match self.stream.fill(self.stream.later(deadline, rested), awaited) {
                Ok(0) if self.stream.has_buffered_input() => return Err(Error::disconnected("receive").into()),
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // Nobody is there who would have to know.
                Err(Error::Timeout { .. }) if begun.is_none() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Until when a head must be here that has begun to come.
    fn patience_with_a_head(&self) -> (Instant, Awaited) {
        let deadlines = self.stream.deadlines();
        if self.is_known {
            return (self.stream.deadline_in(deadlines.frame), ("rest of a request", deadlines.frame));
        }
        (self.stream.greeting_deadline(), ("request", deadlines.greeting))
    }

    /// Takes note of who came.
    fn greet(&mut self, head: &Head) {
        if !std::mem::replace(&mut self.is_known, true) {
            let agent = head.fields.first("user-agent").unwrap_or_default();
            let agent = harmless(agent.get(..MOST_OF_AGENT).unwrap_or(agent));
            log::info!(event = "connect", client:% = self.live.peer, via = "web", agent:%; "");
            self.shared.console.joined(self.live.peer);
        }
    }

    /// Answers one request; how the connection ends, unless it goes on.
    fn answer(&mut self, head: Head) -> Result<Option<End>> {
        self.stream.restart_pace();
        let mut exchange = Exchange::new(self.stream, &head, self.live, self.shared);
        let outcome = dispatch(&mut exchange);
        let purpose = match outcome {
            Ok(purpose) => purpose,
            Err(problem) => {
                if matches!(problem.error(), Error::Network { .. }) {
                    return Err(problem.into_error());
                }
                tell(&mut exchange, &problem)?;
                log_refusal(&exchange, &problem);
                None
            }
        };
        if let Some(purpose) = purpose {
            return Ok(Some(End::Upgrade(head, purpose)));
        }
        match exchange.after() {
            After::Request => Ok(None),
            After::Close => {
                exchange.hear_out();
                Ok(Some(End::Close))
            }
            After::Cut => Ok(Some(End::Cut)),
        }
    }
}

/// Tells a problem; or, if a body that must be passed over first does not come, that.
fn tell(exchange: &mut Exchange<'_>, problem: &Problem) -> Result<()> {
    match exchange.refuse(problem) {
        Err(error @ (Error::Timeout { .. } | Error::Violation(_))) => exchange.refuse(&error.into()),
        told => told,
    }
}

/// Finds who answers a request, checks who asks, and has it answered; what a WebSocket is opened for, if it is one.
fn dispatch(exchange: &mut Exchange<'_>) -> std::result::Result<Option<upgrade::Purpose>, Problem> {
    let (head, shared) = (exchange.head, exchange.shared);
    exchange.note_expectation()?;
    if shared.registry.is_draining() {
        exchange.close_after();
        return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping").into());
    }
    // Who asks comes first: a stranger does not even learn what there is.
    let dealing = Dealing::of(head);
    let purpose = dealing.as_ref().map_or(access::Purpose::Read, |dealing| dealing.purpose(&head.method));
    let origin = shared.config.web.check(head, purpose)?;
    exchange.allow(origin);
    match dealing? {
        Dealing::Handler(answer, rest) => {
            caller::identify(exchange, None)?;
            answer(exchange, rest).map(|()| None)
        }
        // A browser asks what it may ask before it sends a token.
        Dealing::Options(route) => route::options(exchange, route, origin).map(|()| None),
        Dealing::Upgrade(purpose) => {
            // From here on, `admission::Live::caller` says who it is.
            caller::identify(exchange, Some(purpose))?;
            Ok(Some(purpose))
        }
    }
}

fn log_refusal(exchange: &Exchange<'_>, problem: &Problem) {
    let (client, head) = (exchange.live.peer, exchange.head);
    // Not the query: there may be a ticket in it, or a token.
    let path = head.target.path().as_bytes();
    Asked { client, caller: &exchange.caller, command: head.method.name(), path }.log(problem.error());
    if problem.is_logged() {
        return;
    }
    let (status, cause) = (problem.status(), problem.error());
    log::info!(event = "refused", client:%, via = "web", status, cause:%; "");
}
