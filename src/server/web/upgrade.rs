//! Connections that leave HTTP for WebSocket (WEB.md, sections 9 and 10).

use super::response::Problem;
use super::{LAST_WORD, Live, Shared};
use crate::connection::Stream;
use crate::error::Result;
use crate::wire::ErrorCode;
use crate::wire::http::Head;
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

/// Runs a connection from the request to speak WebSocket to its end. Who asks was checked (`access`).
///
/// # Errors
/// What ended it, other than one of the two sides saying goodbye.
pub(super) fn run(mut stream: Stream, head: Head, purpose: Purpose, live: &Arc<Live>, shared: &Shared) -> Result<()> {
    let _ = (head, purpose, live, shared);
    Problem::new(501, ErrorCode::Unavailable, "WebSocket is not spoken here").send_last(&mut stream)?;
    stream.close(LAST_WORD);
    Ok(())
}
