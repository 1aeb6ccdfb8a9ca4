//! `docs/PROTOCOL.md` against the code: every example in hexadecimal means what the text next to it says and encodes to
//! the same bytes again; the tables name the kinds, fields, limits and error codes that the code has, and no others.

#[expect(dead_code, reason = "shared with tests/wire, which needs more of it")]
#[path = "../wire/cbor.rs"]
mod cbor;
mod document;
mod examples;
#[path = "../wire/message.rs"]
mod message;
mod notation;
#[expect(dead_code, reason = "shared with tests/wire, which needs more of it")]
#[path = "../wire/samples.rs"]
mod samples;
mod tables;
