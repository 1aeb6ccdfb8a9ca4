//! Listing a folder or a tree: streamed in pages, so that a million entries neither fill memory nor delay the first.
//!
//! Owns the walk. A folder is read to its end before the next one is opened, and only the names of folders yet to be
//! read are kept.

use crate::error::Result;
use crate::root::{Root, nanoseconds};
use crate::wire::{Entries, Entry, EntryKind, ErrorCode, List, Listed, RawBytes, RemoteFolder, RemotePath};
use rustix::fs::{AtFlags, FileType, RawDir, RawDirEntry, Stat, statat};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

/// A page is handed on when it has about this many bytes on the wire; half of what a frame may have.
const PAGE_BYTES: usize = 32 * 1024;
/// The bytes that an entry's kind, size, time and CBOR headers take at most.
const ENTRY_OVERHEAD: usize = 24;
/// The kernel fills a buffer of this size with names at a time.
const NAMES_BUFFER: usize = 32 * 1024;

/// Takes the pages of a listing.
pub type OnPage<'a> = dyn FnMut(Entries) -> Result<()> + 'a;

/// Lists what `list` asks for.
///
/// # Errors
/// That of the folder asked for itself; what cannot be read below it is counted. An error of `on_page` ends the walk.
pub fn list(root: &Root, list: &List, on_page: &mut OnPage<'_>) -> Result<Listed> {
    let folder = RemoteFolder::parse(&list.path)?;
    let limit = list.limit.unwrap_or(u64::MAX);
    let mut walk = Walk { limit, recursive: list.recursive, ..Walk::new(root, on_page) };
    match (root.open_folder(&folder), folder.path()) {
        (Ok(directory), _) => walk.folder(&folder, directory.as_fd())?,
        (Err(error), Some(path)) if error.code() == ErrorCode::NotFound => walk.single_file(path)?,
        (Err(error), _) => return Err(error),
    }
    walk.pending()
}

/// Reads a folder and all below it, depth first: each folder comes right before what is below it, with one page at least,
/// which is empty if the folder is.
///
/// # Errors
/// As for [`list`]; a file is no folder.
pub fn walk(root: &Root, folder: &RemoteFolder, on_page: &mut OnPage<'_>) -> Result<Listed> {
    let directory = root.open_folder(folder)?;
    let mut walk = Walk { recursive: true, empty: EmptyFolders::Told, ..Walk::new(root, on_page) };
    walk.folder(folder, directory.as_fd())?;
    drop(directory);
    walk.pending()
}

struct Walk<'a, 'p> {
    root: &'a Root,
    on_page: &'a mut OnPage<'p>,
    limit: u64,
    recursive: bool,
    empty: EmptyFolders,
    pending: PathStack,
    listed: Listed,
}

/// Whether a folder without entries has a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmptyFolders {
    Skipped,
    Told,
}

impl<'a, 'p> Walk<'a, 'p> {
    fn new(root: &'a Root, on_page: &'a mut OnPage<'p>) -> Self {
        let (pending, listed) = (PathStack::default(), Listed::default());
        Self { root, on_page, limit: u64::MAX, recursive: false, empty: EmptyFolders::Skipped, pending, listed }
    }

    /// Reads the folders that were found, the last one first, and those that are found meanwhile.
    fn pending(mut self) -> Result<Listed> {
        while let Some(path) = self.next_pending() {
            let folder = RemoteFolder::from(path);
            match self.root.open_folder(&folder) {
                Ok(directory) => self.folder(&folder, directory.as_fd())?,
                Err(_) => one_more(&mut self.listed.unreadable),
            }
        }
        Ok(self.listed)
    }

    fn next_pending(&mut self) -> Option<RemotePath> {
        if self.listed.truncated {
            return None;
        }
        self.pending.pop().and_then(|path| RemotePath::parse(&path).ok())
    }

    /// A LIST of a file is a page with the one entry that it is.
    fn single_file(&mut self, path: &RemotePath) -> Result<()> {
        let state = self.root.open_file(path)?.state;
        let entry =
            Entry { name: path.name().into(), kind: EntryKind::File, size: state.size, modified: state.modified };
        self.listed.entries = 1;
        (self.on_page)(Entries { folder: path.parent().as_bytes().into(), entries: vec![entry] })
    }

    fn folder(&mut self, folder: &RemoteFolder, directory: BorrowedFd<'_>) -> Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); NAMES_BUFFER];
        let mut names = RawDir::new(directory, &mut buffer);
        let mut page = Page::default();
        let mut is_told = self.empty == EmptyFolders::Skipped;
        while let Some(name) = names.next() {
            let Ok(name) = name else {
                one_more(&mut self.listed.unreadable);
                break;
            };
            let Some(entry) = self.entry(folder, directory, &name) else { continue };
            if self.listed.entries == self.limit {
                self.listed.truncated = true;
                break;
            }
            one_more(&mut self.listed.entries);
            page.push(entry);
            if page.bytes >= PAGE_BYTES {
                self.hand_on(folder, &mut page)?;
                is_told = true;
            }
        }
        if page.entries.is_empty() && is_told { Ok(()) } else { self.hand_on(folder, &mut page) }
    }

    /// The entry of a name, unless it is one of those that are left out.
    fn entry(&mut self, folder: &RemoteFolder, directory: BorrowedFd<'_>, found: &RawDirEntry<'_>) -> Option<Entry> {
        let name = found.file_name().to_bytes();
        if name == b"." || name == b".." || (folder.path().is_none() && name == RemotePath::STATE_FOLDER.as_bytes()) {
            return None;
        }
        if !matches!(found.file_type(), FileType::RegularFile | FileType::Directory | FileType::Unknown) {
            one_more(&mut self.listed.skipped);
            return None;
        }
        let Ok(path) = folder.join(name) else {
            one_more(&mut self.listed.skipped);
            return None;
        };
        let Ok(stat) = statat(directory, found.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            one_more(&mut self.listed.unreadable);
            return None;
        };
        let Some(kind) = kind(&stat) else {
            one_more(&mut self.listed.skipped);
            return None;
        };
        if kind == EntryKind::Folder && self.recursive {
            self.pending.push(path.as_bytes());
        }
        let size = if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        Some(Entry { name: name.into(), kind, size, modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec) })
    }

    fn hand_on(&mut self, folder: &RemoteFolder, page: &mut Page) -> Result<()> {
        let page = std::mem::take(page);
        (self.on_page)(Entries { folder: RawBytes(folder.as_bytes().to_vec()), entries: page.entries })
    }
}

fn one_more(count: &mut u64) {
    *count = count.saturating_add(1);
}

fn kind(stat: &Stat) -> Option<EntryKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(EntryKind::File),
        FileType::Directory => Some(EntryKind::Folder),
        _ => None,
    }
}

#[derive(Default)]
struct Page {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Page {
    fn push(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.name.len()).saturating_add(ENTRY_OVERHEAD);
        self.entries.push(entry);
    }
}

/// Paths yet to be read, end to end in one allocation: a folder of a million folders would cost several times as much as
/// a million vectors.
#[derive(Default)]
struct PathStack {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl PathStack {
    fn push(&mut self, path: &[u8]) {
        self.ends.push(self.bytes.len());
        self.bytes.extend_from_slice(path);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        self.ends.pop().map(|start| self.bytes.split_off(start))
    }
}

/// What a folder or tree holds, for people: files, and their bytes.
///
/// # Errors
/// As for [`list`].
pub fn totals(root: &Root) -> Result<(u64, u64)> {
    let everything = List { recursive: true, ..List::default() };
    let (mut files, mut bytes) = (0, 0);
    list(root, &everything, &mut |page| {
        for entry in page.entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            one_more(&mut files);
            bytes = entry.size.saturating_add(bytes);
        }
        Ok(())
    })
    .map(|_| (files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::ffi::OsStrExt;

    fn collect(root: &Root, request: &List) -> (BTreeMap<Vec<u8>, Entry>, Listed, usize) {
        let mut found = BTreeMap::new();
        let mut pages = Vec::new();
        let listed = list(root, request, &mut |page| {
            pages.push(page.entries.len());
            let folder = RemoteFolder::parse(&page.folder).unwrap();
            for entry in page.entries {
                found.insert(folder.join(&entry.name).unwrap().as_bytes().to_vec(), entry);
            }
            Ok(())
        })
        .unwrap();
        (found, listed, pages.len())
    }

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/empty")).unwrap();
        std::fs::create_dir_all(dir.path().join(".hostdir/partial")).unwrap();
        std::fs::write(dir.path().join("top"), b"12345").unwrap();
        std::fs::write(dir.path().join("a/b/deep"), b"").unwrap();
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"a/\xff\n")), b"x").unwrap();
        std::fs::write(dir.path().join("a/back\\slash"), b"x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("a/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_tree_lists_whole_without_links_and_state() {
        let (_dir, root) = tree();
        let (found, listed, _) = collect(&root, &List { recursive: true, ..List::default() });
        let names: Vec<&[u8]> = found.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"a"[..], b"a/b", b"a/b/deep", b"a/b/empty", b"a/\xff\n", b"top"]);
        assert_eq!((listed.entries, listed.skipped, listed.unreadable, listed.truncated), (6, 2, 0, false));
        assert_eq!(found[&b"top"[..]].size, 5);
        assert_eq!(totals(&root).unwrap(), (3, 6));
    }

    #[test]
    fn a_folder_lists_its_own_entries_and_a_file_itself() {
        let (_dir, root) = tree();
        let (found, ..) = collect(&root, &List { path: b"a/b"[..].into(), ..List::default() });
        assert_eq!(found.len(), 2);
        let (found, listed, _) = collect(&root, &List { path: b"a/b/deep"[..].into(), ..List::default() });
        assert_eq!((found.len(), listed.entries), (1, 1));
        for missing in [&b"nothing"[..], b"a/link", b"top/x"] {
            let error = list(&root, &List { path: missing.into(), ..List::default() }, &mut |_| Ok(())).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotFound);
        }
    }

    #[test]
    fn a_walk_tells_each_folder_right_before_what_is_below_it() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a/empty", "a/full/deep", "b"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("a/full/file"), b"").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut told: Vec<String> = Vec::new();
        walk(&root, &RemoteFolder::ROOT, &mut |page| {
            told.push(String::from_utf8_lossy(&page.folder).into_owned());
            Ok(())
        })
        .unwrap();
        for (above, below) in [("", "a"), ("a", "a/empty"), ("a", "a/full"), ("a/full", "a/full/deep"), ("", "b")] {
            let place = |path: &str| told.iter().position(|told| told == path).unwrap();
            let between = &told[place(above) + 1..place(below)];
            assert!(between.iter().all(|path| above.is_empty() || path.starts_with(&format!("{above}/"))), "{told:?}");
        }
        assert_eq!(told.len(), 6);
        let file = RemoteFolder::parse(b"a/full/file").unwrap();
        assert_eq!(walk(&root, &file, &mut |_| Ok(())).unwrap_err().code(), ErrorCode::NotFound);
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let (_dir, root) = tree();
        let (found, listed, _) = collect(&root, &List { recursive: true, limit: Some(2), ..List::default() });
        assert_eq!((found.len(), listed.truncated), (2, true));
        let (_, listed, _) = collect(&root, &List { recursive: true, limit: Some(6), ..List::default() });
        assert!(!listed.truncated);
    }

    #[test]
    fn a_large_folder_comes_in_pages_that_fit_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3000 {
            std::fs::write(dir.path().join(format!("{number:0>200}")), b"").unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let (found, _, pages) = collect(&root, &List::default());
        assert_eq!(found.len(), 3000);
        assert!(pages > 10);
        list(&root, &List::default(), &mut |page| {
            let mut frame = Vec::new();
            crate::wire::Reply::Entries(page).encode(&mut frame);
            assert!(frame.len() <= crate::wire::MAX_CONTROL as usize);
            Ok(())
        })
        .unwrap();
    }
}
