//! A partial file that becomes visible in one step.
//!
//! Owns the life of a file that is on its way in, on either side: it grows in `.hostdir/partial/`, on the same file
//! system as its future place; is checked against the digest that was announced ([`Staged::verify`]); is flushed
//! ([`Verified::flush`]); and gets its name ([`Ready::commit`], the only rename in the crate). Each step consumes the value of
//! the step before, so none can be left out. Knows nothing of connections, conflicts or requests.
//!
//! Durability (promise 1 in the design): content is flushed before the name exists, because a name that survives a
//! power cut without its content is a partial file under its name. The caller flushes the folder after the rename.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::{Error, Result};
use crate::root::Root;
use crate::wire::{Digest, ErrorCode, RemotePath};
use rustix::fs::{
    AtFlags, Dir, FallocateFlags, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fallocate, fstat,
    fstatfs, ftruncate, futimens, mkdirat, openat, renameat, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::{Errno, pwrite};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const PARTIAL: &str = "partial";
/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;
/// Bytes written at a time, from a multiple of it on. A file system with large folios takes one of the size of the write,
/// and larger ones than this are dear to get (512 MiB to ext4 that way: 0.08 s of system time, with 256 KiB 0.23 s).
const PIECE: u64 = 64 * 1024;
/// Below this many bytes, preallocation costs more than it gains.
const PREALLOCATE_FROM: u64 = 1024 * 1024;
/// What `st_blocks` counts in (`stat(2)`).
const BLOCK: u64 = 512;

/// The directory that staged files grow in: `.hostdir/partial` below a root.
#[derive(Debug)]
pub struct Staging {
    state: OwnedFd,
    partial: OwnedFd,
    preallocate: bool,
}

/// A file on its way in.
#[derive(Debug)]
pub struct Staged {
    staging: Arc<Staging>,
    file: File,
    name: String,
    length: u64,
    fate: Fate,
}

/// What happens to a staged file that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Remove,
    Keep,
}

/// Proof that a staged file has the digest that was announced for it. Only [`Staged::verify`] makes one, and
/// [`Staged::verify_whole`] by way of it.
#[derive(Debug)]
pub struct Verified {
    staged: Staged,
    digest: Digest,
}

/// A verified file that is ready to get its name.
#[derive(Debug)]
pub struct Ready {
    staged: Staged,
    digest: Digest,
}

/// A file that has its name.
#[derive(Debug)]
pub struct Committed {
    staged: Staged,
    digest: Digest,
}

/// Whether a rename may replace what stands under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// A taken name is [`NotCommitted::Taken`].
    Never,
    /// A file is replaced in one step.
    File,
}

/// Why a file did not get its name.
#[derive(Debug)]
pub enum NotCommitted {
    /// Something stands under that name; the file can be committed under another one.
    Taken(Ready),
    /// The rename failed.
    Failed(Error),
}

impl Staging {
    /// Opens the state folder of a root, making it if it misses.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be made, or is not a folder.
    pub fn open(root: &Root) -> Result<Self> {
        let state = open_or_make(root.directory(), RemotePath::STATE_FOLDER)?;
        let partial = open_or_make(state.as_fd(), PARTIAL)?;
        // Preallocating on tmpfs fills every page with zeros first, so each byte would be written twice.
        let preallocate = fstatfs(&partial).is_ok_and(|stat| stat.f_type as u64 != TMPFS);
        Ok(Self { state, partial, preallocate })
    }

    /// The state folder itself.
    #[must_use]
    pub fn state_folder(&self) -> BorrowedFd<'_> {
        self.state.as_fd()
    }

    /// Whether what is open still stands in the state folder: somebody may have removed it there while it was empty.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        is_same(statat(&self.state, PARTIAL, AtFlags::SYMLINK_NOFOLLOW), fstat(&self.partial))
    }

    /// Begins an empty file. `name` is this side's own, never the peer's.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn create(self: &Arc<Self>, name: &str) -> Result<Staged> {
        let file =
            self.open_partial(name, OFlags::CREATE | OFlags::TRUNC).map_err(|error| failed("create", name, error))?;
        Ok(Staged { staging: Arc::clone(self), file, name: name.to_owned(), length: 0, fate: Fate::Remove })
    }

    /// Begins an empty file, unless one of that name is there: then `None`.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn create_new(self: &Arc<Self>, name: &str) -> Result<Option<Staged>> {
        match self.open_partial(name, OFlags::CREATE | OFlags::EXCL) {
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(failed("create", name, error)),
            Ok(file) => {
                let (staging, name) = (Arc::clone(self), name.to_owned());
                Ok(Some(Staged { staging, file, name, length: 0, fate: Fate::Remove }))
            }
        }
    }

    /// Whether a staged file still is what stands here under its name.
    #[must_use]
    pub fn holds(&self, staged: &Staged) -> bool {
        is_same(statat(&self.partial, &*staged.name, AtFlags::SYMLINK_NOFOLLOW), fstat(&staged.file))
    }

    /// Opens what is left of an earlier attempt; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn resume(self: &Arc<Self>, name: &str) -> Result<Option<Staged>> {
        let file = match self.open_partial(name, OFlags::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(|error| failed("open", name, error))?,
        };
        let length = file.metadata().map_err(|error| failed("stat", name, error))?.len();
        Ok(Some(Staged { staging: Arc::clone(self), file, name: name.to_owned(), length, fate: Fate::Keep }))
    }

    /// The names of what lies here, with age and size in bytes.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn leftovers(&self) -> Result<Vec<(String, Duration, u64)>> {
        let directory = Dir::read_from(&self.partial).map_err(|error| failed("read", PARTIAL, error))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut found = Vec::new();
        for entry in directory {
            let entry = entry.map_err(|error| failed("read", PARTIAL, error))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(stat) = statat(&self.partial, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
                let age = now.saturating_sub(Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0)));
                found.push((name.to_owned(), age, u64::try_from(stat.st_size).unwrap_or(0)));
            }
        }
        Ok(found)
    }

    /// Bytes of the disk that a leftover takes, reserved ones too; 0 if there is none.
    #[must_use]
    pub fn allocated(&self, name: &str) -> u64 {
        let stat = statat(&self.partial, name, AtFlags::SYMLINK_NOFOLLOW);
        let blocks = stat.map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0));
        blocks.saturating_mul(BLOCK)
    }

    /// Removes a leftover.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn remove(&self, name: &str) -> Result<()> {
        unlinkat(&self.partial, name, AtFlags::empty()).map_err(|error| failed("remove", name, error))
    }

    fn open_partial(&self, name: &str, flags: OFlags) -> rustix::io::Result<File> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        openat(&self.partial, name, flags, Mode::from_raw_mode(0o666)).map(File::from)
    }
}

impl Staged {
    /// Bytes that it holds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its name in the staging folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, for reading back what is there.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Local`]; the file then holds what was written before.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut end = self.length;
        let written = self.put(bytes, &mut end);
        self.length = end;
        written
    }

    /// Writes bytes in their place, in no order: what holds them is for the caller to know, [`Staged::length`] does not tell.
    ///
    /// # Errors
    /// [`Error::Local`]; some of them may have been written.
    pub fn write_at(&self, bytes: &[u8], mut offset: u64) -> Result<()> {
        self.put(bytes, &mut offset)
    }

    /// Writes bytes at `end`, which moves with them.
    fn put(&self, mut bytes: &[u8], end: &mut u64) -> Result<()> {
        while !bytes.is_empty() {
            let aligned = usize::try_from(PIECE.saturating_sub(*end % PIECE)).unwrap_or(usize::MAX);
            match pwrite(&self.file, bytes.get(..aligned).unwrap_or(bytes), *end) {
                Ok(0) => return Err(failed("write", &self.name, Errno::NOSPC)),
                Ok(count) => {
                    *end = end.saturating_add(count as u64);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed("write", &self.name, error)),
            }
        }
        Ok(())
    }

    /// Cuts the file to `length` bytes, at most what it holds.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn truncate(&mut self, length: u64) -> Result<()> {
        ftruncate(&self.file, length).map_err(|error| failed("truncate", &self.name, error))?;
        self.length = length;
        Ok(())
    }

    /// Reserves the disk space of a file of `size` bytes, where that is cheap.
    ///
    /// # Errors
    /// [`ErrorCode::NoSpace`] if it is not to be had.
    pub fn reserve(&mut self, size: u64) -> Result<()> {
        let missing = size.saturating_sub(self.length);
        if !self.staging.preallocate || size < PREALLOCATE_FROM || missing == 0 {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.length, missing) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                Err(failed("reserve space for", &self.name, error))
            }
            // A file system that cannot reserve is no reason not to write.
            _ => Ok(()),
        }
    }

    /// Keeps the file for a later attempt when this value is dropped.
    pub fn keep(&mut self) {
        self.fate = Fate::Keep;
    }

    /// Removes the file when this value is dropped.
    pub fn discard(&mut self) {
        self.fate = Fate::Remove;
    }

    /// Gives the file its modification time, nanoseconds since the epoch.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn set_modified(&self, modified: i64) -> Result<()> {
        set_modified(self.file.as_fd(), modified).map_err(|error| failed("set the time of", &self.name, error))
    }

    /// Checks the digest of what was received against the announced one. A file that fails is removed.
    ///
    /// # Errors
    /// [`ErrorCode::Mismatch`].
    pub fn verify(mut self, received: Digest, announced: Digest) -> Result<Verified> {
        if received != announced {
            self.discard();
            return Err(Error::refused(
                ErrorCode::Mismatch,
                "the digest of the bytes received is not the announced one",
            ));
        }
        Ok(Verified { staged: self, digest: received })
    }

    /// Checks a file of `size` bytes that was written in parts ([`Staged::write_at`]): `merged` is the digest that the parts
    /// have together, once all of them are there. What was written beyond `size` is cut off, and the file is given its
    /// modification time. A file that fails is removed.
    ///
    /// # Errors
    /// [`ErrorCode::Mismatch`], also if fewer bytes were written; [`Error::Local`].
    pub fn verify_whole(mut self, size: u64, modified: i64, merged: Digest, announced: Digest) -> Result<Verified> {
        self.discard();
        let written = self.file.metadata().map_err(|error| failed("stat", &self.name, error))?.len();
        if written < size {
            return Err(Error::refused(ErrorCode::Mismatch, "fewer bytes were received than the file has"));
        }
        self.truncate(size)?;
        self.set_modified(modified)?;
        self.verify(merged, announced)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.fate == Fate::Remove {
            // A leftover that cannot be removed now is swept later.
            let _ = self.staging.remove(&self.name);
        }
    }
}

impl Verified {
    /// The digest that was verified.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Flushes the content to disk. A flush that failed is final: the kernel may have dropped the pages, so a second
    /// one that succeeds would prove nothing (<https://wiki.postgresql.org/wiki/Fsync_Errors>). The file is removed.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn flush(mut self) -> Result<Ready> {
        if let Err(error) = self.staged.file.sync_all() {
            self.staged.discard();
            return Err(failed("flush", &self.staged.name, error));
        }
        Ok(Ready { staged: self.staged, digest: self.digest })
    }

    /// Flushes many files with one call that writes back their whole file system.
    ///
    /// # Errors
    /// [`Error::Local`]; all of them are removed.
    pub fn flush_all(mut files: Vec<Self>) -> Result<Vec<Ready>> {
        let Some(first) = files.first() else { return Ok(Vec::new()) };
        if let Err(error) = syncfs(&first.staged.staging.partial) {
            files.iter_mut().for_each(|file| file.staged.discard());
            return Err(failed("flush", "uploads", error));
        }
        Ok(files.into_iter().map(Self::without_flush).collect())
    }

    /// Goes on without a flush: whoever calls this accepts that a power cut may take the file again.
    #[must_use]
    pub fn without_flush(self) -> Ready {
        Ready { staged: self.staged, digest: self.digest }
    }
}

impl Ready {
    /// The digest that was verified.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes that the file holds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.staged.length
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.staged.file
    }

    /// Its content is not needed: the file is removed, also one that was to be kept.
    pub fn discard(mut self) {
        self.staged.discard();
    }

    /// Gives the file its name in `folder`, in one step.
    ///
    /// # Errors
    /// [`NotCommitted::Taken`] gives the file back; after [`NotCommitted::Failed`] it is gone.
    pub fn commit(
        mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        replace: Replace,
    ) -> std::result::Result<Committed, NotCommitted> {
        let partial = &self.staged.staging.partial;
        let result = match replace {
            Replace::File => renameat(partial, &*self.staged.name, folder, name),
            Replace::Never => renameat_with(partial, &*self.staged.name, folder, name, RenameFlags::NOREPLACE),
        };
        match result {
            Ok(()) => {
                self.staged.keep();
                Ok(Committed { staged: self.staged, digest: self.digest })
            }
            Err(Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY) => Err(NotCommitted::Taken(self)),
            Err(error) => Err(NotCommitted::Failed(failed("rename to", crate::escape::harmless(name), error))),
        }
    }
}

impl Committed {
    /// The digest that was verified.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The file, still open.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.staged.file
    }
}

/// Gives an open file or folder its modification time, nanoseconds since the epoch.
///
/// # Errors
/// The error of `futimens(3)`.
pub fn set_modified(file: BorrowedFd<'_>, modified: i64) -> rustix::io::Result<()> {
    let last_modification =
        Timespec { tv_sec: modified.div_euclid(1_000_000_000), tv_nsec: modified.rem_euclid(1_000_000_000) };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(file, &Timestamps { last_access, last_modification })
}

fn is_same(here: rustix::io::Result<Stat>, ours: rustix::io::Result<Stat>) -> bool {
    matches!((here, ours), (Ok(here), Ok(ours)) if (here.st_ino, here.st_dev) == (ours.st_ino, ours.st_dev))
}

fn open_or_make(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed("make", name, error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|error| failed("open", name, error))
}

fn failed(operation: &'static str, name: impl std::fmt::Display, error: impl Into<std::io::Error>) -> Error {
    Error::local(operation, name, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging() -> (tempfile::TempDir, Root, Arc<Staging>) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let staging = Arc::new(Staging::open(&root).unwrap());
        (dir, root, staging)
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn a_file_appears_whole_and_only_after_commit() {
        let (dir, root, staging) = staging();
        let mut staged = staging.create("1").unwrap();
        staged.write(b"whole").unwrap();
        staged.set_modified(-1_500_000_000).unwrap();
        let ready = staged.verify(digest(b"whole"), digest(b"whole")).unwrap().flush().unwrap();
        assert!(!dir.path().join("f").exists());
        ready.commit(root.directory(), b"f", Replace::Never).unwrap();
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"whole");
        let modified = std::fs::metadata(dir.path().join("f")).unwrap().modified().unwrap();
        assert_eq!(SystemTime::UNIX_EPOCH.duration_since(modified).unwrap(), Duration::from_millis(1500));
        assert!(staging.leftovers().unwrap().is_empty());
    }

    #[test]
    fn a_folder_that_was_removed_is_not_in_place_also_when_another_has_its_name() {
        let (dir, root, staging) = staging();
        assert!(staging.is_in_place());
        std::fs::remove_dir(dir.path().join(".hostdir/partial")).unwrap();
        assert!(!staging.is_in_place());
        let other = Staging::open(&root).unwrap();
        assert!(other.is_in_place() && !staging.is_in_place());
    }

    #[test]
    fn another_digest_never_gets_a_name() {
        let (_dir, _root, staging) = staging();
        let mut staged = staging.create("1").unwrap();
        staged.write(b"wrong").unwrap();
        assert_eq!(staged.verify(digest(b"wrong"), digest(b"right")).unwrap_err().code(), ErrorCode::Mismatch);
        assert!(staging.leftovers().unwrap().is_empty());
    }

    #[test]
    fn a_file_written_in_parts_is_verified_as_a_whole() {
        let (dir, root, staging) = staging();
        let staged = staging.create("1").unwrap();
        staged.write_at(b"notes", 8).unwrap();
        staged.write_at(b"cdefgh", 2).unwrap();
        staged.write_at(b"ab", 0).unwrap();
        let ready = staged.verify_whole(8, 7, digest(b"abcdefgh"), digest(b"abcdefgh")).unwrap().without_flush();
        assert_eq!(ready.length(), 8);
        assert_eq!(crate::root::FileState::of_file(ready.file()).unwrap().modified, 7);
        ready.commit(root.directory(), b"f", Replace::Never).unwrap();
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"abcdefgh");
        for (size, announced) in [(4, &b"abc"[..]), (3, b"xyz")] {
            let staged = staging.create("2").unwrap();
            staged.write_at(b"abc", 0).unwrap();
            let error = staged.verify_whole(size, 7, digest(b"abc"), digest(announced)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Mismatch);
            assert!(staging.leftovers().unwrap().is_empty());
        }
    }

    #[test]
    fn a_taken_name_is_not_replaced_unasked() {
        let (dir, root, staging) = staging();
        std::fs::write(dir.path().join("f"), b"old").unwrap();
        let staged = staging.create("1").unwrap();
        let ready = staged.verify(digest(b""), digest(b"")).unwrap().without_flush();
        let Err(NotCommitted::Taken(ready)) = ready.commit(root.directory(), b"f", Replace::Never) else { panic!() };
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"old");
        ready.commit(root.directory(), b"f", Replace::File).unwrap();
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"");
    }

    #[test]
    fn what_is_kept_can_be_resumed_and_what_is_dropped_is_gone() {
        let (_dir, _root, staging) = staging();
        let mut staged = staging.create("kept").unwrap();
        staged.write(b"abc").unwrap();
        staged.keep();
        drop(staged);
        drop(staging.create("dropped").unwrap());
        assert_eq!(staging.leftovers().unwrap().len(), 1);
        let mut again = staging.resume("kept").unwrap().unwrap();
        assert_eq!(again.length(), 3);
        again.truncate(1).unwrap();
        again.write(b"x").unwrap();
        drop(again);
        assert_eq!(staging.resume("kept").unwrap().unwrap().length(), 2);
        assert!(staging.resume("never").unwrap().is_none());
    }
}
