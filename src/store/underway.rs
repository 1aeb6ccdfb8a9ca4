//! Files that are about to get their name, or have it, while their arrival is not in the journal yet.
//!
//! Whoever finds such a file under its name (a sender that is to hear `identical`, the watch on the host directory) waits until
//! the connection that is at it is done: the file would arrive twice otherwise.

use super::inodes::Inodes;
use super::{OnWait, PATIENCE};
use crate::error::{Error, Result};
use crate::root::nanoseconds;
use rustix::fs::fstat;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Such files, by their inodes.
#[derive(Debug, Default)]
pub(super) struct Underway {
    inodes: Mutex<Inodes>,
    done: Condvar,
}

/// What tells a file from others, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
}

impl Underway {
    /// A file is about to get its name.
    pub(super) fn add(&self, file: &File) -> Result<FileIdentity> {
        let stat = fstat(file).map_err(|error| Error::local("stat", "an upload", error))?;
        self.inodes().add(stat.st_ino);
        Ok(FileIdentity {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        })
    }

    /// These files have arrived, or will not.
    pub(super) fn remove(&self, inodes: &[u64]) {
        let mut underway = self.inodes();
        inodes.iter().for_each(|inode| underway.remove(*inode));
        drop(underway);
        self.done.notify_all();
    }

    /// Whether a connection is at this file now.
    pub(super) fn has(&self, inode: u64) -> bool {
        self.inodes().contains(inode)
    }

    /// Waits while a connection is at a file.
    ///
    /// # Errors
    /// That of `on_wait`, which is called now and then.
    pub(super) fn wait_for(&self, inode: u64, on_wait: &mut OnWait<'_>) -> Result<()> {
        loop {
            let (underway, timeout) = self
                .done
                .wait_timeout_while(self.inodes(), PATIENCE, |underway| underway.contains(inode))
                .unwrap_or_else(PoisonError::into_inner);
            drop(underway);
            if !timeout.timed_out() {
                return Ok(());
            }
            on_wait()?;
        }
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
