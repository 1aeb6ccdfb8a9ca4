//! Why files are gone that a rule of the operator removed, so that who asks for one is told `expired` and not `not-found`.
//!
//! Records like those of arrivals, in two files of their own: when `removed` is full it becomes `removed.old`, in place of
//! the one before. So they are bounded by themselves, and never push arrivals out. They are not flushed: what a power cut
//! takes are explanations.

use super::Removal;
use super::folder::{Failure, Folder, failed, write_all};
use super::record::{Kind, decode_removal, encode_removal};
use super::scan::scan;
use crate::wire::{JournalId, RemotePath};
use rustix::fs::{OFlags, ftruncate};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};

const CURRENT: &str = "removed";
const PREVIOUS: &str = "removed.old";
/// Names in a file.
const MOST: usize = 32_768;
/// Bytes of a file: a name that is removed again and again has many records.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// What was removed lately.
#[derive(Debug)]
pub(super) struct Removals {
    file: File,
    end: u64,
    current: Known,
    previous: Known,
    hasher: RandomState,
}

/// By the hash of the path: the reason, and the last arrival before it.
type Known = HashMap<u64, (Removal, u64)>;

impl Removals {
    /// Reads what is there. What is damaged is forgotten.
    pub(super) fn open(folder: &Folder, id: JournalId) -> Result<Self, Failure> {
        let hasher = RandomState::new();
        let previous = match folder.open_file(PREVIOUS, OFlags::RDONLY) {
            Ok(file) => load(&file, id, &hasher)?.0,
            Err(_) => Known::new(),
        };
        let file = open_current(folder)?;
        let (current, end) = load(&file, id, &hasher)?;
        ftruncate(&file, end).map_err(failed("cut the removals of"))?;
        Ok(Self { file, end, current, previous, hasher })
    }

    pub(super) fn len(&self) -> usize {
        self.current.len().saturating_add(self.previous.len())
    }

    /// Notes that a file was removed after arrival `after`.
    pub(super) fn add(
        &mut self,
        folder: &Folder,
        id: JournalId,
        path: &RemotePath,
        reason: Removal,
        after: u64,
    ) -> Result<(), Failure> {
        if self.current.len() >= MOST || self.end >= MOST_BYTES {
            self.turn(folder)?;
        }
        self.current.insert(self.hasher.hash_one(path), (reason, after));
        let record = encode_removal(id, after, path, reason);
        if let Err(error) = write_all(&self.file, &record, self.end) {
            let _ = ftruncate(&self.file, self.end);
            return Err(failed("note a removal in")(error));
        }
        self.end = self.end.saturating_add(record.len() as u64);
        Ok(())
    }

    fn turn(&mut self, folder: &Folder) -> Result<(), Failure> {
        match folder.rename(CURRENT, PREVIOUS) {
            // Put away already, by an attempt that came no further.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("put away removals of")(error)),
        }
        self.file = open_current(folder)?;
        self.end = 0;
        self.previous = std::mem::take(&mut self.current);
        Ok(())
    }

    pub(super) fn find(&self, path: &RemotePath) -> Option<Removal> {
        let hash = self.hasher.hash_one(path);
        self.current.get(&hash).or_else(|| self.previous.get(&hash)).map(|(reason, _)| *reason)
    }

    /// Something has arrived under these names.
    pub(super) fn forget<'a>(&mut self, paths: impl Iterator<Item = &'a RemotePath>) {
        if self.len() > 0 {
            paths.for_each(|path| self.forget_before(path, u64::MAX));
        }
    }

    /// Arrival `number` has this name: a removal before it explains nothing any more.
    pub(super) fn forget_before(&mut self, path: &RemotePath, number: u64) {
        if self.len() == 0 {
            return;
        }
        let hash = self.hasher.hash_one(path);
        for known in [&mut self.current, &mut self.previous] {
            if known.get(&hash).is_some_and(|(_, after)| *after < number) {
                known.remove(&hash);
            }
        }
    }
}

fn open_current(folder: &Folder) -> Result<File, Failure> {
    folder.open_file(CURRENT, OFlags::RDWR | OFlags::CREATE).map_err(failed("open the removals of"))
}

fn load(file: &File, id: JournalId, hasher: &RandomState) -> Result<(Known, u64), Failure> {
    let mut known = Known::new();
    let mut found = |_, payload: &[u8]| match decode_removal(payload) {
        Some((path, reason, after)) => {
            known.insert(hasher.hash_one(&path), (reason, after));
            true
        }
        None => false,
    };
    let scanned = scan(file, 0, id, Kind::Removal, &mut found).map_err(failed("read the removals of"))?;
    Ok((known, scanned.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::Duration;

    const ID: JournalId = JournalId([7; 16]);
    const REASON: Removal = Removal::Expired { after: Duration::from_secs(1) };

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(std::fs::File::open(dir.path()).unwrap().as_fd()).unwrap();
        (dir, folder)
    }

    fn path(seed: &str) -> RemotePath {
        RemotePath::parse([seed; 5].map(|it| it.repeat(200)).join("/").as_bytes()).unwrap()
    }

    #[test]
    fn a_name_that_is_removed_again_and_again_fills_no_disk() {
        let (dir, folder) = folder();
        let mut removals = Removals::open(&folder, ID).unwrap();
        removals.add(&folder, ID, &path("b"), REASON, 1).unwrap();
        for number in 0..9_000 {
            removals.add(&folder, ID, &path("a"), REASON, number).unwrap();
        }
        for name in [CURRENT, PREVIOUS] {
            let length = dir.path().join("journal").join(name).metadata().unwrap().len();
            assert!((1..MOST_BYTES + 2048).contains(&length), "{name}: {length} bytes");
        }
        let removals = Removals::open(&folder, ID).unwrap();
        assert!(removals.find(&path("a")).is_some());
        assert!(removals.find(&path("b")).is_none(), "more than two files are remembered");
    }

    #[test]
    fn a_file_that_was_put_away_without_a_new_one_stops_nothing() {
        let (dir, folder) = folder();
        let mut removals = Removals::open(&folder, ID).unwrap();
        removals.add(&folder, ID, &path("a"), REASON, 1).unwrap();
        let place = dir.path().join("journal");
        std::fs::rename(place.join(CURRENT), place.join(PREVIOUS)).unwrap();
        removals.turn(&folder).unwrap();
        removals.add(&folder, ID, &path("b"), REASON, 2).unwrap();
        let removals = Removals::open(&folder, ID).unwrap();
        assert!(removals.find(&path("a")).is_some() && removals.find(&path("b")).is_some());
    }
}
