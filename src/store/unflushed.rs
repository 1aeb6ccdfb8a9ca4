//! Files that have their name already, while their folder was not flushed yet, or their arrival is not in the journal.
//!
//! `identical` is an acknowledgement too: a sender whose STORED was lost takes it as one. So a file that another connection
//! named a moment ago is waited for, and one that a killed run of the server left is flushed, before it is called identical.

use super::{OnWait, PATIENCE};
use crate::error::{Error, Result};
use crate::root::{Root, nanoseconds};
use rustix::fs::{AtFlags, fstat, fsync, statat, syncfs};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Such files by their inodes, and whether what an earlier run left was flushed.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    inodes: Mutex<HashMap<u64, Stage>>,
    settled: Condvar,
    earlier_runs: Mutex<EarlierRuns>,
}

/// What tells a file from others, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A connection is at it.
    Underway,
    /// It has its name, but could not be made durable.
    Failed,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum EarlierRuns {
    #[default]
    Unknown,
    Flushed,
}

impl Unflushed {
    /// A file is about to get its name.
    pub(super) fn add(&self, file: &File) -> Result<FileIdentity> {
        let stat = fstat(file).map_err(|error| Error::local("stat", "an upload", error))?;
        self.inodes().insert(stat.st_ino, Stage::Underway);
        Ok(FileIdentity {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        })
    }

    /// These files are durable, and have arrived.
    pub(super) fn remove(&self, inodes: &[u64]) {
        let mut known = self.inodes();
        for inode in inodes {
            known.remove(inode);
        }
        drop(known);
        self.settled.notify_all();
    }

    /// These files could not be made durable.
    pub(super) fn failed(&self, inodes: &[u64]) {
        let mut known = self.inodes();
        known.extend(inodes.iter().map(|inode| (*inode, Stage::Failed)));
        drop(known);
        self.settled.notify_all();
    }

    /// Makes sure that the file called `name` in an open folder survives a power cut.
    pub(super) fn settle(
        &self,
        root: &Root,
        folder: BorrowedFd<'_>,
        name: &[u8],
        on_wait: &mut OnWait<'_>,
    ) -> Result<()> {
        self.settle_earlier_runs(root)?;
        if let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            && self.wait_for(stat.st_ino, on_wait)?.is_none()
        {
            return Ok(());
        }
        fsync(folder).map_err(|error| Error::local("flush the folder of", crate::escape::harmless(name), error))
    }

    /// Whether a connection is at this file now.
    pub(super) fn is_underway(&self, inode: u64) -> bool {
        self.inodes().get(&inode) == Some(&Stage::Underway)
    }

    /// Waits while a connection is at a file; `Some` if that failed.
    fn wait_for(&self, inode: u64, on_wait: &mut OnWait<'_>) -> Result<Option<Stage>> {
        let mut inodes = self.inodes();
        loop {
            match inodes.get(&inode).copied() {
                Some(Stage::Underway) => {}
                settled => return Ok(settled),
            }
            let (guard, timeout) =
                self.settled.wait_timeout(inodes, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            inodes = guard;
            if timeout.timed_out() {
                drop(inodes);
                on_wait()?;
                inodes = self.inodes();
            }
        }
    }

    /// Once for a run of the server.
    fn settle_earlier_runs(&self, root: &Root) -> Result<()> {
        let mut earlier_runs = self.earlier_runs.lock().unwrap_or_else(PoisonError::into_inner);
        if *earlier_runs == EarlierRuns::Unknown {
            syncfs(root.directory()).map_err(|error| Error::local("flush", root.path().display(), error))?;
            *earlier_runs = EarlierRuns::Flushed;
        }
        Ok(())
    }

    fn inodes(&self) -> MutexGuard<'_, HashMap<u64, Stage>> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
