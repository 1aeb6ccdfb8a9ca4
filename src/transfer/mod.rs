//! Bytes between a file and a connection, both ways.
//!
//! Owns how file bytes are cut into DATA frames, hashed in passing and counted. Knows connections and staged files; knows
//! nothing of requests, names or conflicts.

mod digest;
mod handover;
mod progress;
mod receive;
mod send;

pub use digest::{digest_bytes, digest_file, finish, hash_range};
pub use progress::{Counter, Progress};
pub use receive::{Received, Sink, discard, receive};
pub use send::{read_exactly, send_range};
