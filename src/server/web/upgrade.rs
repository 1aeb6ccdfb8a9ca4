//! Connections that leave HTTP for WebSocket (WEB.md, sections 9 and 10): the handshake, and how they end.
//!
//! Owns which error a connection is closed with for which code. Knows nothing of messages.

use super::response::{Content, Problem, Response};
use super::{Asked, LAST_WORD, Live, Shared, events, relay};
use crate::access::Caller;
use crate::connection::{Heartbeat, More, Stream, WebSocket};
use crate::error::{Error, Result};
use crate::wire::http::Head;
use crate::wire::websocket::{Close, CloseCode, WEBSOCKET_VERSION, accept};
use crate::wire::{ErrorCode, Violation};
use std::sync::Arc;

/// What a WebSocket is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Events: section 9.
    Events,
    /// Relay A: section 10.
    RelayA,
    /// Relay B, a receiver: section 10.
    Receiver,
    /// Relay B, a sender: section 10.
    Sender,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::RelayA => "relay-a",
            Self::Receiver => "relay-b-receiver",
            Self::Sender => "relay-b-sender",
        }
    }
}

/// A client that speaks WebSocket.
pub(super) struct Guest<'a> {
    pub(super) socket: WebSocket,
    pub(super) live: &'a Live,
    pub(super) shared: &'a Shared,
    /// Who it is; what it asks for is compared with what they may.
    pub(super) caller: Caller,
}

impl Guest<'_> {
    /// What the log says of something that is not allowed.
    pub(super) fn asked<'b>(&'b self, command: &'b str, path: &'b [u8]) -> Asked<'b> {
        Asked { client: self.live.peer, caller: &self.caller, command, path }
    }
}

/// Runs a connection from the request to speak WebSocket to its end. Who asks was checked (`access`, `caller`).
///
/// # Errors
/// What ended it, other than one of the two sides saying goodbye.
pub(super) fn run(mut stream: Stream, head: Head, purpose: Purpose, live: &Arc<Live>, shared: &Shared) -> Result<()> {
    if let Err(problem) = shake_hands(&mut stream, &head) {
        let told = problem.send_last(&mut stream);
        stream.close(LAST_WORD);
        return told.and(Err(problem.into_error()));
    }
    log::info!(event = "websocket", client:% = live.peer, purpose = purpose.name(); "");
    let caller = live.caller().unwrap_or_else(Caller::nobody);
    let mut guest = Guest { socket: WebSocket::over(stream, Heartbeat::SERVER), live, shared, caller };
    let result = match purpose {
        Purpose::Events => events::serve(&mut guest),
        Purpose::RelayA => relay::serve_a(&mut guest),
        Purpose::Receiver => relay::serve_receiver(&mut guest),
        Purpose::Sender => relay::serve_sender(&mut guest),
    };
    live.end_transfer();
    let result = live.check_revoked().and(result);
    let result = if shared.registry.is_draining() { result.map_err(because_of_the_end) } else { result };
    guest.socket.close(&close_of(&result), LAST_WORD);
    result
}

fn shake_hands(stream: &mut Stream, head: &Head) -> std::result::Result<(), Problem> {
    let accept = accept(head).map_err(|bad| {
        let problem = Problem::from(bad);
        if bad.status != 426 {
            return problem;
        }
        problem.field("Sec-WebSocket-Version", WEBSOCKET_VERSION).field("Upgrade", "websocket")
    })?;
    let response = Response::new(101).field("Upgrade", "websocket").field("Connection", "Upgrade");
    response.field("Sec-WebSocket-Accept", accept).send(stream, Content::None)?;
    Ok(stream.flush(More::Nothing)?)
}

/// A server that stops makes its connections see the end of what comes in (`server::shutdown`).
fn because_of_the_end(error: Error) -> Error {
    match error {
        Error::Network { .. } => Error::refused(ErrorCode::ShuttingDown, "the server is stopping"),
        error => error,
    }
}

/// What a connection is closed with. This is the only place where an error becomes a close code.
fn close_of(result: &Result<()>) -> Close {
    let Err(error) = result else { return Close::new(CloseCode::NORMAL, "") };
    let code = match error {
        Error::Violation(Violation::WebSocket(failure)) => failure.close_code(),
        Error::Violation(_) | Error::Timeout { .. } => CloseCode::POLICY,
        Error::Network { .. } | Error::Local { .. } | Error::Untrusted { .. } => of_code(error.code()),
        Error::Refused { code, .. } => of_code(*code),
    };
    Close::new(code, error.to_fault().message.unwrap_or_default())
}

fn of_code(code: ErrorCode) -> CloseCode {
    use ErrorCode::{BadName, BadPath, Forbidden, Protocol, ReadOnly, ShuttingDown, TooLarge, Unauthorized};
    match code {
        Protocol | BadPath | BadName | Forbidden | ReadOnly | Unauthorized => CloseCode::POLICY,
        TooLarge => CloseCode::TOO_LARGE,
        ShuttingDown => CloseCode::GOING_AWAY,
        _ => CloseCode::SERVER_ERROR,
    }
}
