//! A directory that nothing escapes from: the host directory on the server, the download folder on the client.
//!
//! Owns the one way in which names that crossed the wire become open files: relative to a directory descriptor, resolved
//! beneath it by the kernel (`openat2(2)` with `RESOLVE_BENEATH`), never through a symbolic link. So a path cannot leave
//! the root, also while somebody swaps directories for links. Knows nothing of transfers.
//!
//! Needs Linux 5.6 or later, for `openat2`.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::{Error, Result};
use crate::wire::{ErrorCode, RemoteFolder, RemotePath, Version};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatvfs, mkdirat, open, openat2, statat,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The resolution of a path may fail with EAGAIN while directories are being renamed around it (`openat2(2)`).
const RESOLVE_ATTEMPTS: u32 = 128;
const READ_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory that paths are resolved beneath.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    shown: PathBuf,
}

/// A regular file, open for reading, and what it was when it was opened.
#[derive(Debug)]
pub struct OpenFile {
    /// The file.
    pub file: File,
    /// Its state at opening.
    pub state: FileState,
}

/// What tells one content of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub modified: i64,
    /// Change time of the inode, nanoseconds since the epoch.
    pub changed: i64,
    /// Names that it has.
    pub links: u64,
    /// The version on the wire: made of inode, size, modification and change time. The device is left out, because its
    /// number may differ after a restart.
    pub version: Version,
}

/// A folder that was made, or was there, and the directories whose entries changed for it.
#[derive(Debug)]
pub struct MadeFolder {
    /// The folder.
    pub folder: OwnedFd,
    /// Directories that must be flushed for the folder to survive a power cut; empty if it was there already.
    pub unflushed: Vec<OwnedFd>,
}

impl Root {
    /// Opens a directory as a root.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be opened for reading, or the kernel has no `openat2`.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.to_owned();
        let directory =
            open(path, READ_FOLDER, Mode::empty()).map_err(|error| Error::local("open", path.display(), error))?;
        openat2(&directory, c".", READ_FOLDER, Mode::empty(), ResolveFlags::BENEATH)
            .map_err(|error| Error::local("resolve beneath (needs Linux 5.6)", path.display(), error))?;
        Ok(Self { directory, shown })
    }

    /// The path that the root was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shown
    }

    /// Opens a regular file for reading. Never blocks, also on a FIFO.
    ///
    /// # Errors
    /// [`ErrorCode::NotAFile`] for anything but a regular file; [`Error::Local`] whose code is `not-found` if it is not
    /// there, or is reached through a link.
    pub fn open_file(&self, path: &RemotePath) -> Result<OpenFile> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match self.resolve(path.as_bytes(), flags) {
            // A socket or a device without driver cannot be opened at all.
            Err(Errno::NXIO | Errno::NODEV) => return Err(not_a_file(path)),
            result => File::from(result.map_err(|error| self.failed("open", path, error))?),
        };
        let stat = fstat(&file).map_err(|error| self.failed("stat", path, error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(OpenFile { file, state: FileState::of(&stat) }),
            _ => Err(not_a_file(path)),
        }
    }

    /// Opens a folder for reading.
    ///
    /// # Errors
    /// [`Error::Local`], with the code `not-found` also for what is not a folder.
    pub fn open_folder(&self, folder: &RemoteFolder) -> Result<OwnedFd> {
        let name = if folder.path().is_some() { folder.as_bytes() } else { b"." };
        self.resolve(name, READ_FOLDER).map_err(|error| self.failed("open folder", folder, error))
    }

    /// Opens a folder, making what is missing on the way.
    ///
    /// # Errors
    /// [`ErrorCode::Exists`] if something that is not a folder stands in the way; [`Error::Local`] otherwise.
    pub fn make_folders(&self, folder: &RemoteFolder) -> Result<MadeFolder> {
        match self.open_folder(folder) {
            Ok(folder) => return Ok(MadeFolder { folder, unflushed: Vec::new() }),
            Err(error) if error.code() != ErrorCode::NotFound => return Err(error),
            Err(_) => {}
        }
        let mut current = self.open_folder(&RemoteFolder::ROOT)?;
        let mut unflushed = Vec::new();
        for component in folder.path().into_iter().flat_map(RemotePath::components) {
            let made = match mkdirat(&current, component, Mode::from_raw_mode(0o777)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(self.failed("make folder", folder, error)),
            };
            let next = resolve_beneath(current.as_fd(), component, READ_FOLDER).map_err(|error| match error {
                Errno::NOTDIR | Errno::LOOP => {
                    Error::refused(ErrorCode::Exists, "something that is not a folder stands in the way")
                }
                error => self.failed("open folder", folder, error),
            })?;
            let parent = std::mem::replace(&mut current, next);
            if made {
                unflushed.push(parent);
            }
        }
        Ok(MadeFolder { folder: current, unflushed })
    }

    /// What is called `name` in an open folder, without following a link; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn stat_in(&self, folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>> {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("stat", crate::escape::harmless(name), error)),
        }
    }

    /// Bytes that may still be written, and bytes that the file system has in all.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn space(&self) -> Result<(u64, u64)> {
        let space = fstatvfs(&self.directory)
            .map_err(|error| Error::local("ask the free space of", self.shown.display(), error))?;
        Ok((space.f_bavail.saturating_mul(space.f_frsize), space.f_blocks.saturating_mul(space.f_frsize)))
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        resolve_beneath(self.directory.as_fd(), path, flags)
    }

    fn failed(&self, operation: &'static str, path: impl std::fmt::Display, error: Errno) -> Error {
        Error::local(operation, format_args!("{} in {}", path, self.shown.display()), error)
    }
}

impl FileState {
    /// The state that a `stat` tells.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let modified = nanoseconds(stat.st_mtime, stat.st_mtime_nsec);
        let changed = nanoseconds(stat.st_ctime, stat.st_ctime_nsec);
        let mut hasher = blake3::Hasher::new();
        for word in [stat.st_ino, size, modified as u64, changed as u64] {
            hasher.update(&word.to_le_bytes());
        }
        let mut version = [0; 16];
        hasher.finalize_xof().fill(&mut version);
        Self { size, modified, changed, links: stat.st_nlink, version: version.into() }
    }

    /// Whether a file that was `before` when it was opened has the same content now. A name that was removed since has
    /// changed the change time, and not the bytes: those are the same if size and modification time are.
    #[must_use]
    pub fn is_still(&self, before: &Self) -> bool {
        let lost_a_name = self.links < before.links;
        self == before || (lost_a_name && (self.size, self.modified) == (before.size, before.modified))
    }

    /// The state of an open file now.
    ///
    /// # Errors
    /// The error of `fstat(2)`.
    pub fn of_file(file: &File) -> std::io::Result<Self> {
        Ok(Self::of(&fstat(file)?))
    }
}

/// Opens `path` beneath `directory` without following any link.
fn resolve_beneath(directory: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..RESOLVE_ATTEMPTS {
        match openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
            result => return result,
        }
    }
    openat2(directory, path, flags, Mode::empty(), resolve)
}

fn not_a_file(path: &RemotePath) -> Error {
    Error::refused(ErrorCode::NotAFile, format!("{path} is not a regular file"))
}

/// Seconds and nanoseconds as nanoseconds since the epoch; the ends of the range (years 1677 and 2262) hold what is beyond.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn links_devices_and_folders_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"x").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        symlink("/etc", dir.path().join("etc")).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        rustix::fs::mkfifoat(root.directory(), "fifo", Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(root.open_file(&path("file")).unwrap().state.size, 1);
        for name in ["link", "etc/passwd", "missing", "file/x"] {
            assert_eq!(root.open_file(&path(name)).unwrap_err().code(), ErrorCode::NotFound, "{name}");
        }
        for name in ["folder", "fifo", "socket"] {
            assert_eq!(root.open_file(&path(name)).unwrap_err().code(), ErrorCode::NotAFile, "{name}");
        }
    }

    #[test]
    fn folders_are_made_as_far_as_they_miss() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let folder = RemoteFolder::parse(b"a/b/c").unwrap();
        assert_eq!(root.make_folders(&folder).unwrap().unflushed.len(), 3);
        assert_eq!(root.make_folders(&folder).unwrap().unflushed.len(), 0);
        std::fs::write(dir.path().join("a/file"), b"").unwrap();
        symlink("/tmp", dir.path().join("a/link")).unwrap();
        for taken in ["a/file/x", "a/link/x"] {
            let error = root.make_folders(&RemoteFolder::parse(taken.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Exists, "{taken}");
        }
    }

    #[test]
    fn a_version_changes_with_the_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"one").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let before = root.open_file(&path("f")).unwrap().state;
        assert_eq!(root.open_file(&path("f")).unwrap().state, before);
        std::fs::write(dir.path().join("f"), b"four").unwrap();
        assert_ne!(root.open_file(&path("f")).unwrap().state.version, before.version);
    }
}
