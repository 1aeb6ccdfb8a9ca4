//! The two older relays (WEB.md, section 10): a file that comes in is an upload like any other, and what arrives in a topic
//! goes out.
//!
//! Owns what both have in common; each has a file of its own. `wire::relay` knows their words.

mod a;
mod b;
mod base64;
mod intake;
mod mimes;
mod outgoing;

pub(super) use a::serve as serve_a;
pub(super) use b::{serve_receiver, serve_sender};
pub(in crate::server) use mimes::Mimes;

use super::upgrade::Guest;
use crate::error::{Error, Result};
use crate::server::admission::Direction;
use crate::server::record::{Record, Via};
use crate::wire::relay::RelayRefusal;
use crate::wire::{ErrorCode, RemotePath};

/// What an operator decides about the two older relays.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Largest file that comes in or goes out by them, in bytes.
    pub max_size: u64,
    /// The topic of relay B.
    pub topic: RemotePath,
}

impl Guest<'_> {
    /// The limit on a file, either way.
    fn max_size(&self) -> u64 {
        self.shared.config.relay.max_size
    }

    /// Begins the record of a transfer.
    fn record(&self, direction: Direction, via: Via, path: String, size: Option<u64>) -> Record {
        self.live.name_transfer(&path);
        Record::begin(self.shared, self.live.peer, via, direction, path, size)
    }

    /// No file begins any more when the server is stopping.
    fn check_goes_on(&self) -> Result<()> {
        if self.shared.registry.is_draining() {
            return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping"));
        }
        Ok(())
    }
}

/// What a client said that is none of a relay's words.
fn refused(refusal: RelayRefusal) -> Error {
    Error::refused(ErrorCode::Protocol, refusal.to_string())
}

fn too_large(limit: u64) -> Error {
    Error::refused(ErrorCode::TooLarge, format!("files of at most {limit} bytes are taken here"))
}
