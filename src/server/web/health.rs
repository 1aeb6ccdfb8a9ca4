//! Whether the server is well (WEB.md, section 8). While it stops, whatever is asked is answered with 503.

use super::exchange::{Answered, Exchange};
use super::response::Response;

/// Answers `GET /healthz`.
pub(super) fn answer(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let response = Response::new(200).field("Content-Type", "text/plain; charset=utf-8");
    Ok(exchange.respond(response.field("Cache-Control", "no-store"), b"ok\n")?)
}
