//! HTTP/1.1, purely (RFC 9110, RFC 9112; `docs/WEB.md` says which of it is spoken here).
//!
//! Owns the head of a request, what its fields come to, and the framing of its body. Where two readers could see two things in the same bytes, there is nothing to be read: such
//! heads are refused, so that nobody smuggles a request past somebody else. Knows nothing of answers, routes or connections.

mod chunk;
mod condition;
mod fields;
mod head;
mod range;
mod scan;
mod target;
mod value;

pub use chunk::{ChunkPlace, MAX_CHUNK_HEAD, chunk_head, trailer_length};
pub use condition::{Access, Validators, Verdict, evaluate, range_counts};
pub use fields::Fields;
pub use head::{Expectation, Framing, Head, HttpVersion, Method};
pub use range::{Sent, Wanted, content_range, wanted};
pub use scan::{HeadScan, MAX_HEAD, MAX_REQUEST_LINE};
pub use target::{Authority, Target, percent_decode};
pub use value::{
    attachment, parse_digest, parse_live_id, parse_number, parse_seconds, parse_upload_id, percent_encode, seconds,
};

use std::fmt;

/// Why a request is not one that is answered here: the status that says so, and a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRequest {
    /// The status code of the answer (RFC 9110, section 15).
    pub status: u16,
    /// What is wrong.
    pub reason: &'static str,
}

impl BadRequest {
    /// What breaks a rule of the syntax: 400.
    #[must_use]
    pub const fn malformed(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for BadRequest {}
