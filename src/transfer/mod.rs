//! Bytes between a file and a connection, both ways.
//!
//! Owns how file bytes are cut into DATA frames, hashed in passing and counted. Knows connections and staged files; knows
//! nothing of requests, names or conflicts.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod digest;
mod handover;
mod helper;
mod progress;
mod receive;
mod send;
mod tree;

pub use digest::{digest_bytes, digest_file, finish, hash_range};
pub use helper::Helper;
pub use progress::{Counter, Progress};
pub use receive::{Received, Sink, Source, Taken, discard, receive, take};
pub use send::{Outlet, read_exactly, send_range};
pub use tree::{Node, Segments};
