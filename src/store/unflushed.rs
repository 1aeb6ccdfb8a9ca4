//! Files that have their name already, while their folder was not flushed yet.
//!
//! `identical` is an acknowledgement too: a sender whose STORED was lost takes it as one. So a file that was named a moment
//! ago, by another connection or by a run of the server that was killed, is flushed before it is called identical.

use crate::error::{Error, Result};
use crate::root::Root;
use rustix::fs::{AtFlags, fsync, statat, syncfs};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The inodes of such files, and whether what an earlier run left was flushed.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    inodes: Mutex<HashSet<u64>>,
    earlier_runs: Mutex<EarlierRuns>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum EarlierRuns {
    #[default]
    Unknown,
    Flushed,
}

impl Unflushed {
    /// A file is about to get its name. Returns what [`Unflushed::remove`] takes.
    pub(super) fn add(&self, file: &File) -> Option<u64> {
        let inode = file.metadata().ok()?.ino();
        self.inodes().insert(inode);
        Some(inode)
    }

    /// The folders of these files are flushed.
    pub(super) fn remove(&self, inodes: &[u64]) {
        let mut known = self.inodes();
        for inode in inodes {
            known.remove(inode);
        }
    }

    /// Makes sure that the file called `name` in an open folder survives a power cut.
    pub(super) fn settle(&self, root: &Root, folder: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.settle_earlier_runs(root)?;
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_flushed = stat.is_ok_and(|stat| !self.inodes().contains(&stat.st_ino));
        if is_flushed {
            return Ok(());
        }
        fsync(folder).map_err(|error| Error::local("flush the folder of", crate::escape::harmless(name), error))
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

    fn inodes(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
