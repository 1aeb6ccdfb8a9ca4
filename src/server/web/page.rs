//! The page (WEB.md, section 1): one file that stands for itself.

use super::exchange::{Answered, Exchange};
use super::response::Response;

const PAGE: &str = include_str!("page.html");

/// Answers `GET /`.
pub(super) fn answer(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let response = Response::new(200).field("Content-Type", "text/html; charset=utf-8");
    Ok(exchange.respond(response.field("Cache-Control", "no-cache"), PAGE.as_bytes())?)
}
