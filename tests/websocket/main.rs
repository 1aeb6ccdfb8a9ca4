//! WebSocket by RFC 6455: the crate's own code against frames that were written by hand, an independent client, and the
//! cases of a conformance suite.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

#[path = "../common/mod.rs"]
mod common;

mod autobahn;
mod cases;
mod conformance;
mod echo;
mod frames;
mod handshake;
mod independent;
mod silence;
