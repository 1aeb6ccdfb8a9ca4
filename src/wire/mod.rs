//! The protocol, purely: bytes in, values out, and back. `docs/PROTOCOL.md` is canonical.
//!
//! Owns frames, messages, remote paths, HTTP and the telling apart of protocols on one port. Must not know how bytes
//! travel or where files are: nothing in here touches io, fs, net, threads, clocks or logs (`tests/purity.rs` holds it to
//! that), and nothing in here panics on any input.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error_code;
mod frame;
pub mod http;
mod identity;
mod message;
mod path;
pub mod relay;
mod rights;
mod sniff;
mod token;
mod topic;
mod upload;
mod violation;
pub mod websocket;

pub use error_code::ErrorCode;
pub use frame::{FRAME_HEADER, FrameHeader, Kind, MAX_CONTROL, MAX_CONTROL_BEFORE_WELCOME, MAX_DATA, Phase};
pub use identity::{Digest, JournalId, LiveId, RawBytes, SubscriberId, TransferId, UploadId, Version};
pub use message::{
    End, Entries, Entry, EntryKind, Fault, FileHeader, Get, Hello, List, Listed, Receipt, ReceiptOutcome, Reply,
    Request, Welcome,
};
pub use path::{NameError, PathError, RemoteFolder, RemotePath};
pub use rights::{Right, Rights};
pub use sniff::{Guess, PREAMBLE, sniff};
pub use token::Token;
pub use topic::{
    Abandoned, Arrived, Arriving, Gap, LiveHeader, Position, Received, Receiver, ReceiverState, Receivers, Subscribe,
    Subscribed,
};
pub use upload::{Abandon, Begin, Finish, Offer, OnConflict, Put, PutKind, Stored, StoredOutcome};
pub use violation::Violation;

/// The only protocol version so far.
pub const PROTOCOL_VERSION: u16 = 1;
