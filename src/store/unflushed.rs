//! Files and folders that have their name already, while the folder that it is in was not flushed yet.
//!
//! Two acknowledgements rest on names that somebody else gave. `identical` is one: a sender whose STORED was lost takes
//! it as such, so a file that was named a moment ago is flushed before it is called identical. The other is that of a
//! file in a folder that another connection made a moment ago: it survives a power cut only if the entry of that folder
//! does, so whoever goes through such a folder flushes its parent too, and does not wait for the one who made it.
//!
//! What was left behind without a flush, by a run of the server that was killed or by a session that ended in between, is
//! not known by name: a flush of the whole file system settles it, once, when next something rests on what was there.

use super::inodes::Inodes;
use crate::error::{Error, Result};
use crate::root::{MadeFolder, Root};
use crate::wire::{ErrorCode, RemoteFolder, RemotePath};
use rustix::fs::{AtFlags, statat, syncfs};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The inodes of such files, the paths of such folders, and whether what was left behind was flushed.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    inodes: Mutex<Inodes>,
    /// How many connections are about to make a folder, or made it, and did not flush it yet.
    folders: Mutex<HashMap<RemotePath, usize>>,
    /// How often a session left something behind.
    left_behind: AtomicU64,
    /// How many of those are settled, and one more for what an earlier run left.
    settled: AtomicU64,
    flushing: Mutex<()>,
}

/// A folder that files go into, open; made where it was missing.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) made: MadeFolder,
    /// Directories with the entry of a folder on the way that another connection made, and did not flush yet.
    others: Vec<OwnedFd>,
    /// Whether a part of the way was there before.
    was_there: bool,
    fresh: Option<Fresh>,
}

/// The note that the folders on the way to `folder` may be new; taken back when dropped.
#[derive(Debug)]
struct Fresh {
    unflushed: Arc<Unflushed>,
    folder: RemoteFolder,
    is_settled: bool,
}

impl Folder {
    /// The directories that must be flushed before anything in the folder is acknowledged.
    pub(super) fn directories(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.made.unflushed.iter().chain(&self.others).chain([&self.made.folder]).map(AsFd::as_fd)
    }

    /// Whether what is acknowledged rests on a folder that was there before; then [`Unflushed::settle_left_behind`] too
    /// must have been called.
    pub(super) fn was_there(&self) -> bool {
        self.was_there
    }

    /// All of that was done.
    pub(super) fn settled(mut self) {
        self.fresh.iter_mut().for_each(|fresh| fresh.is_settled = true);
    }
}

impl Unflushed {
    /// A file of this inode is about to get its name.
    pub(super) fn add(&self, inode: u64) {
        lock(&self.inodes).add(inode);
    }

    /// The folders of these files are flushed.
    pub(super) fn remove(&self, inodes: &[u64]) {
        let mut known = lock(&self.inodes);
        inodes.iter().for_each(|inode| known.remove(*inode));
    }

    /// Opens a folder, making what is missing on the way.
    pub(super) fn make_folders(self: &Arc<Self>, root: &Root, folder: &RemoteFolder) -> Result<Folder> {
        let (made, fresh) = match root.open_folder(folder) {
            Ok(there) => (MadeFolder { folder: there, unflushed: Vec::new() }, None),
            Err(error) if error.code() != ErrorCode::NotFound => return Err(error),
            // Noted before anything is made: whoever finds the folder must find the note as well.
            Err(_) => {
                let mut fresh = self.note(folder);
                let made = root.make_folders(folder).inspect_err(|error| {
                    // Something that is no folder cannot stand in one that was just made.
                    fresh.is_settled = error.code() == ErrorCode::Exists;
                })?;
                (made, Some(fresh))
            }
        };
        let others = self.parents_of_unflushed(root, folder, usize::from(fresh.is_some()))?;
        let was_there = made.unflushed.len() < way(folder).count();
        Ok(Folder { made, others, was_there, fresh })
    }

    /// The directories that must be flushed so that the file called `path`, in an open folder, survives a power cut. What
    /// was left behind comes on top: [`Unflushed::settle_left_behind`].
    pub(super) fn directories(&self, root: &Root, folder: BorrowedFd<'_>, path: &RemotePath) -> Result<Vec<OwnedFd>> {
        let parent = path.parent();
        let mut directories = self.parents_of_unflushed(root, &parent, 0)?;
        let stat = statat(folder, path.name(), AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| !lock(&self.inodes).contains(stat.st_ino)) {
            return Ok(directories);
        }
        directories.push(root.open_folder(&parent)?);
        Ok(directories)
    }

    /// Whether something may have been left behind. Never waits.
    pub(super) fn may_be_left_behind(&self) -> bool {
        self.settled.load(Ordering::Acquire) <= self.left_behind.load(Ordering::Acquire)
    }

    /// Flushes what was left behind, unless that was done.
    pub(super) fn settle_left_behind(&self, root: &Root) -> Result<()> {
        let _alone = lock(&self.flushing);
        // Read before the flush: what is left behind during it is for the next one.
        let left_behind = self.left_behind.load(Ordering::Acquire);
        if self.may_be_left_behind() {
            syncfs(root.directory()).map_err(|error| Error::local("flush", root.path().display(), error))?;
            self.settled.store(left_behind.saturating_add(1), Ordering::Release);
        }
        Ok(())
    }

    fn note(self: &Arc<Self>, folder: &RemoteFolder) -> Fresh {
        let mut folders = lock(&self.folders);
        for path in way(folder) {
            let count = folders.entry(path).or_default();
            *count = count.saturating_add(1);
        }
        Fresh { unflushed: Arc::clone(self), folder: folder.clone(), is_settled: false }
    }

    /// The parents of those folders on a way that more connections than `own` have noted.
    fn parents_of_unflushed(&self, root: &Root, folder: &RemoteFolder, own: usize) -> Result<Vec<OwnedFd>> {
        let noted: Vec<RemotePath> = {
            let folders = lock(&self.folders);
            if folders.is_empty() {
                return Ok(Vec::new());
            }
            way(folder).filter(|path| folders.get(path).is_some_and(|count| *count > own)).collect()
        };
        noted.iter().map(|path| root.open_folder(&path.parent())).collect()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.is_settled {
            // Before the note goes: nobody may find neither.
            self.unflushed.left_behind.fetch_add(1, Ordering::AcqRel);
        }
        let mut folders = lock(&self.unflushed.folders);
        for path in way(&self.folder) {
            if let Some(count) = folders.get_mut(&path) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    folders.remove(&path);
                }
            }
        }
    }
}

/// A folder and those above it, but for the root.
fn way(folder: &RemoteFolder) -> impl Iterator<Item = RemotePath> {
    std::iter::successors(folder.path().cloned(), |path| path.parent().path().cloned())
}

/// What is behind these locks is valid after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::unix::fs::MetadataExt;

    fn folder(path: &str) -> RemoteFolder {
        RemoteFolder::parse(path.as_bytes()).unwrap()
    }

    fn root() -> (tempfile::TempDir, Root, Arc<Unflushed>) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let unflushed = Arc::new(Unflushed::default());
        unflushed.settle_left_behind(&root).unwrap();
        (dir, root, unflushed)
    }

    fn inodes<'a>(directories: impl Iterator<Item = BorrowedFd<'a>>) -> Vec<u64> {
        directories.map(|directory| rustix::fs::fstat(directory).unwrap().st_ino).collect()
    }

    fn inode(dir: &tempfile::TempDir, path: &str) -> u64 {
        dir.path().join(path).metadata().unwrap().ino()
    }

    #[test]
    fn a_folder_that_another_made_is_flushed_until_that_one_did() {
        let (dir, root, unflushed) = root();
        let first = unflushed.make_folders(&root, &folder("a/b")).unwrap();
        assert_eq!((first.was_there(), first.directories().count()), (false, 3));
        for (path, parents) in [("a", &[""][..]), ("a/b", &["a", ""]), ("a/b/c", &["a/b", "a", ""])] {
            let second = unflushed.make_folders(&root, &folder(path)).unwrap();
            let flushed: HashSet<u64> = inodes(second.directories()).into_iter().collect();
            let expected = parents.iter().chain([&path]).map(|it| inode(&dir, it)).collect();
            assert!(second.was_there() && flushed == expected, "{path}");
            second.settled();
        }
        first.settled();
        let third = unflushed.make_folders(&root, &folder("a/b")).unwrap();
        assert_eq!(inodes(third.directories()), [inode(&dir, "a/b")]);
        assert!(lock(&unflushed.folders).is_empty() && !unflushed.may_be_left_behind());
    }

    #[test]
    fn a_file_is_as_durable_as_the_folders_on_its_way() {
        let (dir, root, unflushed) = root();
        let made = unflushed.make_folders(&root, &folder("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/f"), "").unwrap();
        let open = root.open_folder(&folder("a/b")).unwrap();
        let path = RemotePath::parse(b"a/b/f").unwrap();
        let directories = || unflushed.directories(&root, open.as_fd(), &path).unwrap();
        assert_eq!(inodes(directories().iter().map(AsFd::as_fd)), [inode(&dir, "a"), inode(&dir, "")]);
        made.settled();
        assert!(directories().is_empty());
        let noted = inode(&dir, "a/b/f");
        unflushed.add(noted);
        assert_eq!(inodes(directories().iter().map(AsFd::as_fd)), [inode(&dir, "a/b")]);
        unflushed.remove(&[noted]);
        assert!(directories().is_empty());
    }

    #[test]
    fn what_is_dropped_unflushed_is_settled_by_the_next_flush_of_everything() {
        let (dir, root, unflushed) = root();
        drop(unflushed.make_folders(&root, &folder("a/b")).unwrap());
        assert!(unflushed.may_be_left_behind() && lock(&unflushed.folders).is_empty());
        unflushed.settle_left_behind(&root).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(unflushed.make_folders(&root, &folder("file/x")).is_err());
        assert!(!unflushed.may_be_left_behind() && lock(&unflushed.folders).is_empty());
    }
}
