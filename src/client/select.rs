//! From words on the command line to files on the server.
//!
//! A word is a path, a folder, or a glob that is matched against the listing (`*` and `?` stay within a name, `**`
//! crosses folders). A name that exists is taken as it is, also if it looks like a glob.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::session::Session;
use crate::error::{Error, Result};
use crate::wire::{Entry, EntryKind, ErrorCode, List, RawBytes, RemoteFolder, RemotePath, Violation};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// More entries than this are taken for a server that never ends: they would take about 1 GiB.
const MOST_ENTRIES: usize = 4_000_000;

/// What was found, by path: a sorted listing.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) entries: BTreeMap<RemotePath, Entry>,
    /// Links, devices and names that no path can hold.
    pub(super) skipped: u64,
    /// Folders that the server could not read.
    pub(super) unreadable: u64,
}

/// How far below a folder a selection reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The direct entries.
    Folder,
    /// Everything below.
    Tree,
    /// Everything below, and a folder that was named itself.
    Whole,
}

impl Selection {
    /// Adds what a word stands for.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it stands for nothing; those of the session.
    pub(super) fn add(&mut self, session: &mut Session, word: &[u8], depth: Depth) -> Result<()> {
        let word = trim(word);
        match self.add_below(session, word, depth, &mut |_| true) {
            Err(error) if is_not_found(&error) && is_glob(word) => self.add_matches(session, word, depth),
            Err(error) if error.code() == ErrorCode::NotFound => Err(not_found(session)),
            Ok(_) if depth == Depth::Whole => self.add_itself(session, word),
            result => result.map(|_| ()),
        }
    }

    /// Files among what was found, with their sizes.
    pub(super) fn files(&self) -> impl Iterator<Item = (&RemotePath, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.kind == EntryKind::File)
    }

    fn add_matches(&mut self, session: &mut Session, word: &[u8], depth: Depth) -> Result<()> {
        let matcher = matcher(word)?;
        let start = literal_start(word);
        // A match may be deep below; a folder that matches brings what is below it, as when it is named.
        let mut matched = |path: &RemotePath| match depth {
            Depth::Tree | Depth::Whole => prefixes(path).any(|prefix| matcher.is_match(OsStr::from_bytes(prefix))),
            Depth::Folder => matcher.is_match(OsStr::from_bytes(path.as_bytes())),
        };
        let found = self.add_below(session, start, Depth::Tree, &mut matched);
        match found {
            Ok(0) => Err(not_found(session)),
            Err(error) if is_not_found(&error) => Err(not_found(session)),
            result => result.map(|_| ()),
        }
    }

    /// Adds the entry of a folder whose contents were added: only the listing of the folder around it tells its time.
    fn add_itself(&mut self, session: &mut Session, word: &[u8]) -> Result<()> {
        let Some(path) = RemoteFolder::parse(word)?.path().cloned() else { return Ok(()) };
        if self.entries.contains_key(&path) {
            return Ok(());
        }
        let around = List { path: RawBytes(path.parent().as_bytes().to_vec()), recursive: false, limit: None };
        session.list(around, &mut |_, entry| {
            if *entry.name == *path.name() {
                self.entries.insert(path.clone(), entry);
            }
            Ok(())
        })?;
        Ok(())
    }

    fn add_below(
        &mut self,
        session: &mut Session,
        folder: &[u8],
        depth: Depth,
        wanted: &mut dyn FnMut(&RemotePath) -> bool,
    ) -> Result<usize> {
        let request = List { path: RawBytes(folder.to_vec()), recursive: depth != Depth::Folder, limit: None };
        let (mut found, mut seen) = (0_usize, 0_usize);
        let entries = &mut self.entries;
        let listed = session.list(request, &mut |folder: &RemoteFolder, entry| {
            seen = seen.saturating_add(1);
            check_count(seen)?;
            let path = folder.join(&entry.name)?;
            if wanted(&path) {
                found = found.saturating_add(1);
                entries.insert(path, entry);
            }
            Ok(())
        })?;
        self.skipped = self.skipped.saturating_add(listed.skipped);
        self.unreadable = self.unreadable.saturating_add(listed.unreadable);
        Ok(found)
    }
}

/// Refuses a listing that does not end.
pub(super) fn check_count(seen: usize) -> Result<()> {
    if seen <= MOST_ENTRIES {
        return Ok(());
    }
    Err(Violation::Contradiction("more than 4,000,000 entries in one listing").into())
}

/// `/` and a leading or trailing slash are ways to say the same path.
pub(super) fn trim(mut word: &[u8]) -> &[u8] {
    while let Some(rest) = word.strip_prefix(b"/").or_else(|| word.strip_suffix(b"/")) {
        word = rest;
    }
    word
}

fn is_glob(word: &[u8]) -> bool {
    word.iter().any(|byte| b"*?[{".contains(byte))
}

/// The folders before the first component with a sign of a glob.
fn literal_start(word: &[u8]) -> &[u8] {
    let literal = word.split(|byte| b"*?[{".contains(byte)).next().unwrap_or_default();
    let end = literal.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    literal.get(..end).unwrap_or_default()
}

/// The path itself and every folder that it is in, outermost first.
fn prefixes(path: &RemotePath) -> impl Iterator<Item = &[u8]> {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.chain([bytes.len()]).filter_map(|end| bytes.get(..end))
}

fn matcher(word: &[u8]) -> Result<GlobMatcher> {
    let refused = |why: String| Error::refused(ErrorCode::BadPath, why);
    let text = str::from_utf8(word).map_err(|_| refused("a glob must be UTF-8".into()))?;
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| refused(error.to_string()))
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Refused { code: ErrorCode::NotFound | ErrorCode::BadPath, .. })
}

/// What a word that stands for nothing is answered with.
pub(super) fn not_found(session: &Session) -> Error {
    Error::refused(ErrorCode::NotFound, format!("not found on {} (see: client list)", session.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_ends_do_not_matter() {
        for (word, path) in [("/", ""), ("", ""), ("/a/b/", "a/b"), ("a", "a"), ("//a", "a")] {
            assert_eq!(trim(word.as_bytes()), path.as_bytes());
        }
    }

    #[test]
    fn only_the_literal_start_of_a_glob_is_listed() {
        for (word, start) in [("*.jpg", ""), ("photos/2026/*.jpg", "photos/2026"), ("a/b?c/d*", "a"), ("a/**/b", "a")] {
            assert_eq!(literal_start(word.as_bytes()), start.as_bytes());
        }
    }

    #[test]
    fn globs_stay_within_a_name_unless_doubled() {
        let matches = |glob: &str, path: &str| matcher(glob.as_bytes()).unwrap().is_match(path);
        assert!(matches("*.jpg", "a.jpg") && !matches("*.jpg", "b/a.jpg"));
        assert!(matches("**/*.jpg", "b/c/a.jpg") && matches("**/*.jpg", "a.jpg"));
        assert!(matches("{a,b}/[0-9]?", "b/12"));
        assert!(matcher(b"a[").is_err());
    }

    #[test]
    fn a_folder_that_matches_brings_what_is_below() {
        let path = RemotePath::parse(b"a/b/c").unwrap();
        let found: Vec<_> = prefixes(&path).collect();
        assert_eq!(found, [&b"a"[..], b"a/b", b"a/b/c"]);
    }
}
