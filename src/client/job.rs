//! One file of a download, and what is asked for of it.
//!
//! Knows nothing of connections.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::folder::Partial;
use crate::wire::{Get, OnConflict, RemotePath};

/// One file to fetch.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) path: RemotePath,
    /// Where it goes in the download folder, if not under the same path.
    local: Option<RemotePath>,
    pub(super) size: u64,
    pub(super) modified: i64,
    /// If the name is taken, where that was decided for this file alone.
    pub(super) on_conflict: Option<OnConflict>,
    attempts: u32,
}

impl Job {
    pub(super) fn new(path: RemotePath, size: u64, modified: i64) -> Self {
        Self { path, local: None, size, modified, on_conflict: None, attempts: 0 }
    }

    /// The same file, to be stored under another path.
    pub(super) fn stored_as(self, local: RemotePath) -> Self {
        Self { local: Some(local), ..self }
    }

    /// The same file, which turned out to have another size.
    pub(super) fn of_size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Attempts that came to nothing.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The same file, when this attempt came to nothing.
    pub(super) fn once_more(self) -> Self {
        Self { attempts: self.attempts.saturating_add(1), ..self }
    }

    /// Its path in the download folder.
    pub(super) fn place(&self) -> &RemotePath {
        self.local.as_ref().unwrap_or(&self.path)
    }
}

/// What is asked for of it.
#[derive(Debug)]
pub(super) enum Asked {
    /// All bytes, or those that a partial file lacks.
    Bytes(Option<Resumed>),
    /// Only the digest, to compare it with what is there.
    Digest,
}

/// A partial file, and the digest so far. Computed before the file is asked for: a server does not wait for it.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) partial: Partial,
    pub(super) hasher: Box<blake3::Hasher>,
}

impl Asked {
    /// Bytes that are here already.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::Bytes(Some(resumed)) => resumed.partial.staged.length(),
            Self::Bytes(None) | Self::Digest => 0,
        }
    }

    /// The request for it.
    pub(super) fn request(&self, job: &Job) -> Get {
        let get = Get::whole(job.path.as_bytes());
        match self {
            Self::Digest => Get { length: Some(0), ..get },
            Self::Bytes(None) => get,
            Self::Bytes(Some(Resumed { partial, .. })) => {
                Get { offset: partial.staged.length(), version: Some(partial.version.clone()), ..get }
            }
        }
    }
}
