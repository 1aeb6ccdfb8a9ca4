//! HTTP and WebSocket on the native port (docs/WEB.md): the same commands over the same store.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::admission::Live;
use crate::connection::Stream;
use std::sync::Arc;

/// Runs a connection that speaks HTTP to its end.
pub(super) fn run(stream: Stream, live: Arc<Live>, shared: &Shared) {
    let _ = (stream, live, shared);
}
