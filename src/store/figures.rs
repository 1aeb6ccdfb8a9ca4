//! How a host directory is doing, in figures.

use super::Store;
use crate::error::Result;

/// Figures of a host directory, as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Sessions that follow folders.
    pub followers: usize,
    /// Uploads whose bytes are coming, and that can be followed.
    pub live: usize,
    /// The number of the last arrival; 0 if there was none, or none is noted here.
    pub arrivals: u64,
    /// Bytes that may still be written to its file system.
    pub free: u64,
    /// Bytes that its file system has in all.
    pub size: u64,
}

impl Store {
    /// How it is doing.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the file system does not say how full it is.
    pub fn figures(&self) -> Result<Figures> {
        let (free, size) = self.root.space()?;
        let arrivals = self.journal().map_or(0, super::Journal::last);
        Ok(Figures { followers: self.followers.count(), live: self.live.coming().len(), arrivals, free, size })
    }
}
