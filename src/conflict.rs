//! A name that is taken: what to do about it, on either side.
//!
//! Owns the search for a place: the name itself if it is free, the same content if it is there already, `name (1).ext`
//! and so on. Knows nothing of requests; whether two contents are the same is asked of the caller, who can tell it best.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile, Root};
use crate::staged::Replace;
use crate::wire::{ErrorCode, OnConflict, RemotePath};
use rustix::fs::{FileType, Stat};
use std::os::fd::BorrowedFd;

/// More names than this are not tried.
const ATTEMPTS: u32 = 10_000;
/// A longer ending than this is part of the name, not an extension.
const MAX_EXTENSION: usize = 16;

/// Where a file can go.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Under this name, which nothing has, or which may be replaced.
    Free(RemotePath, Replace),
    /// Nowhere: the same content is there already, under this name.
    Identical(RemotePath),
    /// Nowhere: the name is taken by other content, which is to be left.
    Skipped,
}

/// Tells whether a file that is there has the content that is to come.
pub type IsSame<'a> = dyn FnMut(&OpenFile) -> Result<bool> + 'a;

/// Finds a place for a file of `size` bytes (`None` if it is not known) at `path`, whose folder is open.
///
/// # Errors
/// [`ErrorCode::Exists`] if the policy is to fail, or a folder has the name; those of `is_same` and of this machine.
pub fn find_place(
    root: &Root,
    folder: BorrowedFd<'_>,
    path: &RemotePath,
    size: Option<u64>,
    on_conflict: OnConflict,
    is_same: &mut IsSame<'_>,
) -> Result<Place> {
    for number in 0..ATTEMPTS {
        let candidate = path.with_name(&numbered(path.name(), number))?;
        let Some(stat) = root.stat_in(folder, candidate.name())? else {
            return Ok(Place::Free(candidate, Replace::Never));
        };
        if may_be_same(&stat, size) && is_same_file(root, &candidate, is_same)? {
            return Ok(Place::Identical(candidate));
        }
        match on_conflict {
            OnConflict::Rename => {}
            OnConflict::Skip => return Ok(Place::Skipped),
            OnConflict::Overwrite if is_file(&stat) => return Ok(Place::Free(candidate, Replace::File)),
            OnConflict::Overwrite | OnConflict::Fail => {
                return Err(Error::refused(ErrorCode::Exists, format!("the name {path} is taken")));
            }
        }
    }
    Err(Error::refused(ErrorCode::Exists, format!("the name {path} and {ATTEMPTS} like it are taken")))
}

/// `name` with a number before its extension; `name` itself for 0. Never longer than a component may be.
///
/// ```
/// assert_eq!(hostdir::conflict::numbered(b"photo.jpg", 2), b"photo (2).jpg");
/// assert_eq!(hostdir::conflict::numbered(b".profile", 1), b".profile (1)");
/// ```
#[must_use]
pub fn numbered(name: &[u8], number: u32) -> Vec<u8> {
    if number == 0 {
        return name.to_vec();
    }
    let (stem, extension) = name.split_at(extension_start(name));
    let number = format!(" ({number})");
    let room = RemotePath::MAX_COMPONENT.saturating_sub(number.len()).saturating_sub(extension.len());
    [cut(stem, room), number.as_bytes(), extension].concat()
}

fn extension_start(name: &[u8]) -> usize {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && name.len().saturating_sub(dot) <= MAX_EXTENSION => dot,
        _ => name.len(),
    }
}

/// At most `length` bytes, not ending within a UTF-8 character.
fn cut(bytes: &[u8], mut length: usize) -> &[u8] {
    while bytes.get(length).is_some_and(|byte| byte & 0xc0 == 0x80) {
        length = length.saturating_sub(1);
    }
    bytes.get(..length).unwrap_or(bytes)
}

fn may_be_same(stat: &Stat, size: Option<u64>) -> bool {
    is_file(stat) && size.is_some_and(|size| FileState::of(stat).size == size)
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
}

fn is_same_file(root: &Root, path: &RemotePath, is_same: &mut IsSame<'_>) -> Result<bool> {
    match root.open_file(path) {
        Ok(file) => is_same(&file),
        // It went away, or cannot be read: it is not known to be the same.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RemoteFolder;

    fn place(dir: &tempfile::TempDir, name: &str, on_conflict: OnConflict, content: &str) -> Result<Place> {
        let root = Root::open(dir.path()).unwrap();
        let folder = root.open_folder(&RemoteFolder::ROOT).unwrap();
        let path = RemotePath::parse(name.as_bytes()).unwrap();
        let mut is_same =
            |found: &OpenFile| Ok(std::io::read_to_string(&found.file).is_ok_and(|there| there == content));
        use std::os::fd::AsFd;
        find_place(&root, folder.as_fd(), &path, Some(content.len() as u64), on_conflict, &mut is_same)
    }

    fn free(name: &str, replace: Replace) -> Place {
        Place::Free(RemotePath::parse(name.as_bytes()).unwrap(), replace)
    }

    #[test]
    fn each_policy_finds_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f.txt"), "old").unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        assert_eq!(place(&dir, "g", OnConflict::Fail, "new").unwrap(), free("g", Replace::Never));
        assert_eq!(place(&dir, "f.txt", OnConflict::Rename, "new").unwrap(), free("f (1).txt", Replace::Never));
        assert_eq!(place(&dir, "f.txt", OnConflict::Skip, "new").unwrap(), Place::Skipped);
        assert_eq!(place(&dir, "f.txt", OnConflict::Overwrite, "new").unwrap(), free("f.txt", Replace::File));
        assert_eq!(place(&dir, "f.txt", OnConflict::Fail, "new").unwrap_err().code(), ErrorCode::Exists);
        assert_eq!(place(&dir, "d", OnConflict::Overwrite, "new").unwrap_err().code(), ErrorCode::Exists);
        assert_eq!(place(&dir, "d", OnConflict::Rename, "new").unwrap(), free("d (1)", Replace::Never));
    }

    #[test]
    fn the_same_content_is_found_under_every_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "one").unwrap();
        std::fs::write(dir.path().join("f (1)"), "two").unwrap();
        let identical = |name: &str| Place::Identical(RemotePath::parse(name.as_bytes()).unwrap());
        assert_eq!(place(&dir, "f", OnConflict::Fail, "one").unwrap(), identical("f"));
        assert_eq!(place(&dir, "f", OnConflict::Rename, "two").unwrap(), identical("f (1)"));
        assert_eq!(place(&dir, "f", OnConflict::Rename, "six").unwrap(), free("f (2)", Replace::Never));
    }

    #[test]
    fn a_numbered_name_stays_a_component() {
        let long = [b"\xc3\xb1".repeat(124), b".tar".to_vec()].concat();
        let name = numbered(&long, 9_999);
        assert!(name.len() <= RemotePath::MAX_COMPONENT);
        assert!(String::from_utf8(name).is_ok_and(|name| name.ends_with("ñ (9999).tar")));
        assert_eq!(numbered(b"archive.a-very-long-ending-indeed", 1), b"archive.a-very-long-ending-indeed (1)");
    }
}
