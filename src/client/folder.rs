//! The download folder: what is there already, what an earlier attempt left, and where a file may go.
//!
//! Owns everything that the client writes to disk. Names are [`RemotePath`]s, parsed before they come here; they are
//! opened beneath the folder without following links, and no file is replaced unless that was asked for.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::open_folders::OpenFolders;
use crate::conflict::{Place, find_place};
use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile, Root};
use crate::staged::{NotCommitted, Ready, Replace, Staged, Staging, set_modified};
use crate::transfer::digest_file;
use crate::wire::{Digest, ErrorCode, FileHeader, LiveHeader, LiveId, OnConflict, RemoteFolder, RemotePath, Version};
use rustix::fs::{AtFlags, FileType, FlockOperation, flock, fstat, statat, unlinkat};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a partial download is kept for the user to come back.
const KEEP_PARTIAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Attempts to make the state folder while others remove it.
const ATTEMPTS: u32 = 100;
/// Characters of a partial file's name that stand for its path and for how it grows; the version follows.
const PREFIX: usize = 33;
/// Up to this size a partial file is not worth resuming, nor the lock that would keep another client from doing so.
const NOT_RESUMED: u64 = 64 * 1024;
/// What the names of partial files begin with that nobody resumes.
const ONCE: &str = "once-";

/// The folder that downloads go into.
#[derive(Debug)]
pub struct Folder {
    root: Root,
    staging: Arc<Staging>,
    /// Partial files that wait to be resumed: the name of each by its prefix, which stands for the path.
    partials: Mutex<HashMap<String, String>>,
    /// The process id, and how many partial files there were so far that nobody resumes: their names are made of both.
    process: u32,
    once: AtomicU64,
    open: OpenFolders,
    /// Folders that this run has made: nothing is looked for in them.
    made: Mutex<HashSet<RemoteFolder>>,
}

/// What is known of a file before it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It must be fetched; its name was free when it was looked at, or may be replaced or numbered.
    Fetch,
    /// It is there: same size, same modification time.
    There(RemotePath),
    /// A file of the same size is there; only the digest can tell whether it is the same.
    Compare,
    /// The name is taken by other content, which is to be left.
    Skipped,
}

/// How a partial file grows. It is part of the file's name: only of one that grows at its end does the length say what it
/// holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// At its end.
    Appended,
    /// In segments, in no order; `segments` knows which are there.
    Segmented,
}

/// What an earlier attempt left of a file.
#[derive(Debug)]
pub struct Partial {
    /// The partial file, locked.
    pub staged: Staged,
    /// The version that it is the beginning of.
    pub version: Version,
}

impl Folder {
    /// Opens the folder, making it if it is missing, and removes partial files that nobody came back for.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| Error::local("make the folder", path.display(), error))?;
        let root = Root::open(path)?;
        let staging = Arc::new(open_staging(&root)?);
        let mut partials = HashMap::new();
        for (name, age, _) in staging.leftovers()? {
            if age > KEEP_PARTIAL {
                match staging.remove(&name) {
                    // Another client was faster.
                    Err(error) if error.code() == ErrorCode::NotFound => {}
                    result => result?,
                }
            } else if let Some(prefix) = name.get(..PREFIX) {
                partials.insert(prefix.to_owned(), name);
            }
        }
        let (process, once, open) = (std::process::id(), AtomicU64::new(0), OpenFolders::default());
        let (partials, made) = (Mutex::new(partials), Mutex::default());
        Ok(Self { root, staging, partials, process, once, open, made })
    }

    /// Bytes that can still be written.
    pub(super) fn free_space(&self) -> Result<u64> {
        self.root.space().map(|(available, _)| available)
    }

    /// Looks at what is there under a file's name.
    pub(super) fn look(&self, path: &RemotePath, size: u64, modified: i64, policy: OnConflict) -> Result<Before> {
        let parent = path.parent();
        if self.made().contains(&parent) {
            return Ok(Before::Fetch);
        }
        match self.open.get(&parent, || self.root.open_folder(&parent)) {
            Ok(folder) => look_in(&self.root, folder.as_fd(), path, size, modified, policy),
            Err(_) => Ok(Before::Fetch),
        }
    }

    /// Whether something of another size, or that is no file, has the name.
    pub(super) fn is_taken(&self, path: &RemotePath, size: u64) -> Result<bool> {
        let Ok(folder) = self.root.open_folder(&path.parent()) else { return Ok(false) };
        let there = self.root.stat_in(folder.as_fd(), path.name())?;
        Ok(there
            .is_some_and(|stat| !FileType::from_raw_mode(stat.st_mode).is_file() || FileState::of(&stat).size != size))
    }

    /// Whether a file with this digest is there under this name; its modification time is then set.
    pub(super) fn adopt(&self, path: &RemotePath, digest: Digest, modified: i64) -> Result<bool> {
        let found = self.root.open_file(path)?;
        if digest_of(&found, path)? != Some(digest) {
            return Ok(false);
        }
        // Somebody else's file keeps its time; the content is what matters.
        let _ = set_modified(found.file.as_fd(), modified);
        Ok(true)
    }

    /// The state folder, for what else is remembered of downloads.
    pub(super) fn state_folder(&self) -> BorrowedFd<'_> {
        self.staging.state_folder()
    }

    /// Whether a file of this size and digest is there, under this name or a number.
    pub(super) fn find_same(
        &self,
        path: &RemotePath,
        size: u64,
        digest: Digest,
        policy: OnConflict,
    ) -> Result<Option<Placed>> {
        let parent = path.parent();
        let Ok(folder) = self.open.get(&parent, || self.root.open_folder(&parent)) else { return Ok(None) };
        let mut is_same = |found: &OpenFile| Ok(digest_of(found, path)? == Some(digest));
        Ok(match find_place(&self.root, folder.as_fd(), path, Some(size), policy, &mut is_same)? {
            Place::Identical(path) => Some(Placed::Identical(path)),
            Place::Skipped => Some(Placed::Skipped),
            Place::Free(..) => None,
        })
    }

    /// Makes the content of a file that was found survive a power cut: whoever put it there may not have flushed it.
    pub(super) fn flush_content(&self, path: &RemotePath) -> Result<()> {
        let found = self.root.open_file(path)?;
        found.file.sync_all().map_err(|error| Error::local("flush", path, error))
    }

    /// Makes the names of files survive a power cut, and those of the folders that they are in.
    pub(super) fn flush_names<'a>(&self, paths: impl Iterator<Item = &'a RemotePath>) -> Result<()> {
        let mut folders = std::collections::BTreeSet::new();
        for path in paths {
            let mut folder = path.parent();
            while folders.insert(folder.as_bytes().to_vec()) {
                let Some(above) = folder.path().map(RemotePath::parent) else { break };
                folder = above;
            }
        }
        for folder in folders {
            let folder = RemoteFolder::parse(&folder)?;
            let open = self.open.get(&folder, || self.root.open_folder(&folder))?;
            rustix::fs::fsync(&open).map_err(|error| Error::local("flush", &folder, error))?;
        }
        Ok(())
    }

    /// Whether something may be left of a file from an earlier attempt.
    #[must_use]
    pub fn has_partial(&self, path: &RemotePath, growth: Growth) -> bool {
        self.partials().contains_key(&partial_prefix(path, growth))
    }

    /// Whether something may be left of an upload that was fetched while it came in.
    pub(super) fn has_live_partial(&self, live: LiveId) -> bool {
        self.partials().contains_key(&live_prefix(live))
    }

    /// What is left of a file from an earlier attempt.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn partial(&self, path: &RemotePath, growth: Growth) -> Result<Option<Partial>> {
        self.take_partial(&partial_prefix(path, growth))
    }

    /// What is left of an upload that was fetched while it came in.
    pub(super) fn live_partial(&self, live: LiveId) -> Result<Option<Partial>> {
        self.take_partial(&live_prefix(live))
    }

    fn take_partial(&self, prefix: &str) -> Result<Option<Partial>> {
        let Some(name) = self.partials().remove(prefix) else { return Ok(None) };
        let version = name.get(PREFIX..).and_then(parse_hex).and_then(|bytes| Version::new(&bytes));
        let (Some(version), Some(staged)) = (version, self.staging.resume(&name)?) else { return Ok(None) };
        // Another client may be writing to it; the name may also have become a finished file's meanwhile.
        let is_ours = flock(staged.file(), FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok((is_ours && self.staging.holds(&staged)).then_some(Partial { staged, version }))
    }

    /// Removes what is left of a file from an earlier attempt.
    pub fn forget(&self, path: &RemotePath) {
        for growth in [Growth::Appended, Growth::Segmented] {
            if let Ok(Some(mut partial)) = self.partial(path, growth) {
                partial.staged.discard();
            }
        }
    }

    /// Leaves a partial file for a later attempt, of this client or of one to come.
    pub fn leave(&self, mut staged: Staged) {
        if let Some(prefix) = staged.name().get(..PREFIX).filter(|_| !staged.name().starts_with(ONCE)) {
            self.partials().insert(prefix.to_owned(), staged.name().to_owned());
            staged.keep();
        }
    }

    /// Begins the partial file of what FILE announces.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub fn begin(&self, path: &RemotePath, header: &FileHeader, growth: Growth) -> Result<Staged> {
        if header.size <= NOT_RESUMED {
            return self.begin_once();
        }
        self.begin_as(&format!("{}{}", partial_prefix(path, growth), header.version), header.size)
    }

    /// Begins the partial file of what LIVE announces.
    pub(super) fn begin_live(&self, live: LiveId, header: &LiveHeader) -> Result<Staged> {
        self.begin_as(&format!("{}{}", live_prefix(live), header.version), header.size.unwrap_or(0))
    }

    fn begin_as(&self, name: &str, size: u64) -> Result<Staged> {
        let mut staged = match self.staging.create_new(name)? {
            Some(staged) => staged,
            // Another client is at the same file: this one cannot be resumed, but it need not be refused.
            None => self.begin_once()?,
        };
        flock(staged.file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::local("lock", "a partial file", error))?;
        staged.reserve(size)?;
        Ok(staged)
    }

    /// Begins a partial file that nobody resumes.
    fn begin_once(&self) -> Result<Staged> {
        loop {
            // A client in another container may have the same process id.
            let name = format!("{ONCE}{}-{}", self.process, self.once.fetch_add(1, Ordering::Relaxed));
            if let Some(staged) = self.staging.create_new(&name)? {
                return Ok(staged);
            }
        }
    }

    /// Gives a verified file its name: a free one, or the one that the policy says. The answer is the name.
    pub(super) fn place(&self, mut ready: Ready, path: &RemotePath, policy: OnConflict) -> Result<Placed> {
        let folder = self.folder(&path.parent())?;
        let (mut name, mut replace) = (path.clone(), Replace::Never);
        loop {
            match ready.commit(folder.as_fd(), name.name(), replace) {
                Ok(_) => return Ok(Placed::At(name)),
                Err(NotCommitted::Failed(error)) => return Err(error),
                Err(NotCommitted::Taken(back)) => ready = back,
            }
            let digest = ready.digest();
            let mut is_same = |found: &OpenFile| Ok(digest_of(found, path)? == Some(digest));
            match find_place(&self.root, folder.as_fd(), path, Some(ready.length()), policy, &mut is_same)? {
                Place::Free(free, may_replace) => (name, replace) = (free, may_replace),
                Place::Identical(path) => return Ok(Placed::Identical(path)),
                Place::Skipped => return Ok(Placed::Skipped),
            }
        }
    }

    /// Makes a folder, with the modification time that it has on the server.
    pub(super) fn make_folder(&self, path: &RemotePath, modified: Option<i64>) -> Result<()> {
        let folder = self.folder(&RemoteFolder::from(path.clone()))?;
        if let Some(modified) = modified {
            set_modified(folder.as_fd(), modified).map_err(|error| Error::local("set the time of", path, error))?;
        }
        Ok(())
    }

    fn partials(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.partials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) -> MutexGuard<'_, HashSet<RemoteFolder>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder, made if it is missing.
    fn folder(&self, folder: &RemoteFolder) -> Result<Arc<OwnedFd>> {
        self.open.get(folder, || {
            let made = self.root.make_folders(folder)?;
            if !made.unflushed.is_empty() {
                self.made().insert(folder.clone());
            }
            Ok(made.folder)
        })
    }
}

/// Looks at what is there under a file's name, and changes nothing.
pub(super) fn look(root: &Root, path: &RemotePath, size: u64, modified: i64, policy: OnConflict) -> Result<Before> {
    match root.open_folder(&path.parent()) {
        Ok(folder) => look_in(root, folder.as_fd(), path, size, modified, policy),
        Err(_) => Ok(Before::Fetch),
    }
}

fn look_in(
    root: &Root,
    folder: BorrowedFd<'_>,
    path: &RemotePath,
    size: u64,
    modified: i64,
    policy: OnConflict,
) -> Result<Before> {
    let mut only_time_differs = false;
    let mut is_same = |found: &OpenFile| {
        only_time_differs |= found.state.modified != modified;
        Ok(found.state.modified == modified)
    };
    let place = find_place(root, folder, path, Some(size), policy, &mut is_same);
    Ok(match place {
        Ok(Place::Identical(path)) => Before::There(path),
        _ if only_time_differs => Before::Compare,
        Ok(Place::Free(..)) => Before::Fetch,
        Ok(Place::Skipped) => Before::Skipped,
        Err(error) => return Err(error),
    })
}

/// Where a file ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placed {
    /// Under this name.
    At(RemotePath),
    /// The same content was there already, under this name.
    Identical(RemotePath),
    /// Other content was there, and was left.
    Skipped,
}

impl Drop for Folder {
    /// An empty state folder is not left in the user's downloads. Its lock is shared by every client that uses it.
    fn drop(&mut self) {
        let state = self.staging.state_folder();
        if flock(state, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = unlinkat(state, "partial", AtFlags::REMOVEDIR);
            let _ = unlinkat(self.root.directory(), RemotePath::STATE_FOLDER, AtFlags::REMOVEDIR);
        }
    }
}

/// Opens the state folder under a shared lock. Another client may remove it, or the folder in it, between the opening and
/// the lock, and while it is being made.
fn open_staging(root: &Root) -> Result<Staging> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        let staging = match Staging::open(root) {
            Err(error) if error.code() == ErrorCode::NotFound && attempts.next().is_some() => continue,
            result => result?,
        };
        let state = staging.state_folder();
        flock(state, FlockOperation::LockShared).map_err(|error| Error::local("lock", "the download folder", error))?;
        let is_linked = statat(root.directory(), RemotePath::STATE_FOLDER, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|there| fstat(state).map(|ours| (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)));
        if is_linked == Ok(true) && staging.is_in_place() {
            return Ok(staging);
        }
    }
}

fn digest_of(found: &OpenFile, path: &RemotePath) -> Result<Option<Digest>> {
    let digest = digest_file(&found.file, found.state.size).map_err(|error| Error::local("read", path, error))?;
    let now = FileState::of_file(&found.file).map_err(|error| Error::local("stat", path, error))?;
    Ok(digest.filter(|_| now == found.state))
}

/// As [`partial_prefix`]; no path hashes to the same, as far as anybody can tell.
fn live_prefix(live: LiveId) -> String {
    format!("{live}-")
}

fn partial_prefix(path: &RemotePath, growth: Growth) -> String {
    let mark = match growth {
        Growth::Appended => '-',
        Growth::Segmented => '+',
    };
    format!("{:.32}{mark}", blake3::hash(path.as_bytes()).to_hex().as_str())
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    fn header(version: &[u8], size: u64) -> FileHeader {
        let version = Version::new(version).unwrap();
        FileHeader { transfer: crate::wire::TransferId(1), size, modified: 0, version, offset: 0, length: size }
    }

    #[test]
    fn a_partial_file_is_found_again_with_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut staged = folder.begin(&path("a/b"), &header(b"\x01\xff", NOT_RESUMED + 1), Growth::Appended).unwrap();
        staged.write(b"abc").unwrap();
        let other = Folder::open(dir.path()).unwrap();
        assert!(other.partial(&path("a/b"), Growth::Appended).unwrap().is_none(), "another client is writing to it");
        folder.leave(staged);
        let partial = folder.partial(&path("a/b"), Growth::Appended).unwrap().unwrap();
        assert_eq!((partial.staged.length(), partial.version.as_bytes()), (3, &b"\x01\xff"[..]));
        assert!(folder.partial(&path("a"), Growth::Appended).unwrap().is_none());
    }

    #[test]
    fn a_partial_file_is_named_after_path_and_version() {
        let name = format!("{}{}", partial_prefix(&path("a/b"), Growth::Appended), Version::new(b"\x01\xff").unwrap());
        assert_eq!(name, format!("{}-01ff", &blake3::hash(b"a/b").to_hex()[..32]));
        assert_eq!(name.len(), PREFIX + 4);
        assert_eq!(parse_hex("01ff"), Some(vec![1, 255]));
        for not_hex in ["1", "01f", "0g", "é0"] {
            assert_eq!(parse_hex(not_hex), None, "{not_hex}");
        }
    }

    #[test]
    fn a_small_file_that_breaks_off_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let first = folder.begin(&path("a"), &header(b"\x01", 9), Growth::Appended).unwrap();
        let second = folder.begin(&path("a"), &header(b"\x01", 9), Growth::Appended).unwrap();
        assert_ne!(first.name(), second.name());
        folder.leave(first);
        drop(second);
        assert!(folder.partial(&path("a"), Growth::Appended).unwrap().is_none());
        assert!(folder.staging.leftovers().unwrap().is_empty());
    }

    #[test]
    fn nothing_is_left_behind_in_the_folder_without_need() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let second = Folder::open(dir.path()).unwrap();
        drop(first);
        assert!(dir.path().join(".hostdir").exists(), "another client uses it");
        drop(second);
        assert!(!dir.path().join(".hostdir").exists());
    }

    #[test]
    fn what_is_there_is_told_by_size_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("f"), b"abc").unwrap();
        let modified = folder.root.open_file(&path("f")).unwrap().state.modified;
        let look = |name, size, modified, policy| folder.look(&path(name), size, modified, policy).unwrap();
        assert_eq!(look("g", 3, modified, OnConflict::Fail), Before::Fetch);
        assert_eq!(look("f", 3, modified, OnConflict::Fail), Before::There(path("f")));
        assert_eq!(look("f", 3, modified + 1, OnConflict::Skip), Before::Compare);
        assert_eq!(look("f", 4, modified, OnConflict::Skip), Before::Skipped);
        assert_eq!(look("f", 4, modified, OnConflict::Rename), Before::Fetch);
        assert!(folder.look(&path("f"), 4, modified, OnConflict::Fail).is_err());
        let digest = Digest(*blake3::hash(b"abc").as_bytes());
        assert!(folder.adopt(&path("f"), digest, 5).unwrap());
        assert_eq!(look("f", 3, 5, OnConflict::Fail), Before::There(path("f")));
    }
}
