//! The digests of hosted files: computed once for a version of a file, and remembered across restarts.
//!
//! Owns the file `.hostdir/digests` and the threads that hash. Knows files only as descriptors and versions.
//!
//! The memory is a fixed table of [`BUCKETS`] buckets with [`WAYS`] slots of [`SLOT`] bytes each, addressed by the version
//! (a sparse file of 16 MiB at most). A look-up is one `pread` of a bucket, so nothing is kept in memory and nothing is
//! loaded at start. A slot carries a check of its own: a torn or damaged one counts as empty. When a bucket is full, a
//! slot is reused; that file is hashed again one day. The version covers inode, size, modification and change time, so a
//! remembered digest cannot outlive its content.
//!
//! ```text
//!  0                16                                48              64
//!  +----------------+--------------------------------+---------------+
//!  |    version     |             digest             |     check     |   check: first 16 bytes of BLAKE3(version, digest)
//!  +----------------+--------------------------------+---------------+
//! ```

use crate::error::{Error, Result};
use crate::root::FileState;
use crate::transfer::digest_file;
use crate::wire::{Digest, ErrorCode, Version};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{pread, pwrite};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

const NAME: &str = "digests";
const BUCKETS: u64 = 65_536;
const WAYS: usize = 4;
const SLOT: usize = 64;
/// Files that may wait to be hashed; each holds a descriptor, also when whoever asked has left.
const WAITING: usize = 4096;
/// A file that changed less than this ago may change again within the resolution of its time stamps (2 s on FAT), and
/// look the same; its digest is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// The slots that a version can be in.
type Bucket = [[u8; SLOT]; WAYS];

/// The digests of the files below one root.
#[derive(Debug)]
pub struct Digests {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
}

/// A digest that is being computed.
#[derive(Debug)]
pub struct Pending {
    result: Receiver<Outcome>,
}

type Outcome = std::result::Result<Digest, ErrorCode>;

#[derive(Debug)]
struct Shared {
    table: Option<File>,
    running: Mutex<HashMap<Version, Vec<Sender<Outcome>>>>,
}

#[derive(Debug)]
struct Job {
    file: File,
    state: FileState,
}

impl Digests {
    /// Opens the memory in the state folder, if there is one, and starts `threads` threads that hash.
    ///
    /// Without a state folder (a host directory that cannot be written) digests are computed but not remembered.
    ///
    /// # Errors
    /// [`Error::Local`] if the table cannot be opened or the threads cannot be started.
    pub fn open(state_folder: Option<BorrowedFd<'_>>, threads: usize) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let table = state_folder
            .map(|folder| openat(folder, NAME, flags, Mode::from_raw_mode(0o600)).map(File::from))
            .transpose()
            .map_err(|error| Error::local("open", NAME, error))?;
        let shared = Arc::new(Shared { table, running: Mutex::default() });
        let (jobs, queue) = bounded::<Job>(WAITING);
        for _ in 0..threads {
            let (shared, queue) = (Arc::clone(&shared), queue.clone());
            std::thread::Builder::new()
                .name("digest".into())
                .spawn(move || queue.iter().for_each(|job| shared.work(job)))
                .map_err(|error| Error::local("start", "a hashing thread", error))?;
        }
        Ok(Self { shared, jobs })
    }

    /// The remembered digest of a version.
    #[must_use]
    pub fn recall(&self, version: &Version) -> Option<Digest> {
        self.shared.recall(version)
    }

    /// Remembers a digest that is known from elsewhere: an upload that was just verified.
    pub fn remember(&self, version: &Version, digest: Digest) {
        self.shared.remember(version, digest);
    }

    /// Computes the digest of an open file, unless somebody is at it already.
    #[must_use]
    pub fn compute(&self, file: File, state: &FileState) -> Pending {
        let (sender, result) = unbounded();
        let mut running = self.shared.running();
        let waiting = running.entry(state.version.clone()).or_default();
        waiting.push(sender);
        if waiting.len() == 1 {
            let job = Job { file, state: state.clone() };
            // The threads live as long as this value, so only a full queue refuses; it answers nobody, which is a refusal.
            if self.jobs.try_send(job).is_err() {
                running.remove(&state.version);
            }
        }
        Pending { result }
    }
}

impl Pending {
    /// Waits for the digest; `None` if it is not there in time.
    ///
    /// # Errors
    /// [`ErrorCode::Changed`] if the file changed meanwhile; [`ErrorCode::Unavailable`] if it could not be read.
    pub fn wait(&self, patience: Duration) -> Option<Result<Digest>> {
        use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
        let outcome = match self.result.recv_timeout(patience) {
            Ok(outcome) => outcome,
            Err(Timeout) => return None,
            Err(Disconnected) => {
                let message = format!("the server has its limit of {WAITING} files to hash; try again later");
                return Some(Err(Error::refused(ErrorCode::Unavailable, message)));
            }
        };
        Some(outcome.map_err(|code| match code {
            ErrorCode::Changed => Error::refused(code, "the file changed while it was read"),
            code => Error::refused(code, "the file could not be read"),
        }))
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<Version, Vec<Sender<Outcome>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, job: Job) {
        let outcome = hash_unchanged(&job.file, &job.state);
        if let (Ok(digest), true) = (outcome, is_settled(&job.state)) {
            self.remember(&job.state.version, digest);
        }
        for waiting in self.running().remove(&job.state.version).unwrap_or_default() {
            // Whoever stopped waiting does not need it any more.
            let _ = waiting.send(outcome);
        }
    }

    fn recall(&self, version: &Version) -> Option<Digest> {
        let mut bucket: Bucket = [[0; SLOT]; WAYS];
        let (table, key) = (self.table.as_ref()?, key(version)?);
        // Beyond the end of the sparse file nothing was remembered yet.
        let there = pread(table, bucket.as_flattened_mut(), bucket_offset(key)).ok()?;
        if there < size_of::<Bucket>() {
            return None;
        }
        bucket.iter().find_map(|slot| read_slot(slot, key))
    }

    fn remember(&self, version: &Version, digest: Digest) {
        let (Some(table), Some(key)) = (&self.table, key(version)) else { return };
        let mut bucket: Bucket = [[0; SLOT]; WAYS];
        let start = bucket_offset(key);
        // What is missing stays zero, which is an empty slot.
        let _ = pread(table, bucket.as_flattened_mut(), start);
        let free = bucket.iter().position(is_empty);
        // The last byte of the version decides nothing else, so it spreads what is forgotten.
        let [.., last] = *key;
        if let Some(place) = bucket.get_mut(free.unwrap_or(usize::from(last) % WAYS)) {
            *place = slot(key, digest);
        }
        // A memory that cannot be written only costs time later.
        let _ = pwrite(table, bucket.as_flattened(), start);
    }
}

fn hash_unchanged(file: &File, state: &FileState) -> Outcome {
    let digest = digest_file(file, state.size).map_err(|_| ErrorCode::Unavailable)?;
    match FileState::of_file(file) {
        Ok(now) if now.is_still(state) => digest.ok_or(ErrorCode::Changed),
        Ok(_) => Err(ErrorCode::Changed),
        Err(_) => Err(ErrorCode::Unavailable),
    }
}

fn is_settled(state: &FileState) -> bool {
    let last = u64::try_from(state.modified.max(state.changed)).unwrap_or(0);
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .is_ok_and(|now| now.saturating_sub(Duration::from_nanos(last)) >= SETTLED)
}

fn key(version: &Version) -> Option<&[u8; 16]> {
    version.as_bytes().try_into().ok()
}

fn bucket_offset(key: &[u8; 16]) -> u64 {
    // The version is a hash already, so its first bytes are spread evenly.
    let [a, b, c, d, e, f, g, h, ..] = *key;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) % BUCKETS).saturating_mul(size_of::<Bucket>() as u64)
}

fn check(key: &[u8; 16], digest: &Digest) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(&digest.0);
    let mut check = [0; 16];
    hasher.finalize_xof().fill(&mut check);
    check
}

fn slot(key: &[u8; 16], digest: Digest) -> [u8; SLOT] {
    let sum = check(key, &digest);
    let mut slot = [0; SLOT];
    let parts = key.iter().chain(&digest.0).chain(&sum);
    slot.iter_mut().zip(parts).for_each(|(byte, part)| *byte = *part);
    slot
}

/// The key and the digest that a slot holds, unless it is empty, torn or damaged.
fn held(slot: &[u8; SLOT]) -> Option<(&[u8; 16], Digest)> {
    let (key, rest) = slot.split_first_chunk::<16>()?;
    let (digest, sum) = rest.split_first_chunk::<32>()?;
    let digest = Digest(*digest);
    (sum == check(key, &digest)).then_some((key, digest))
}

fn is_empty(slot: &[u8; SLOT]) -> bool {
    held(slot).is_none()
}

fn read_slot(slot: &[u8; SLOT], wanted: &[u8; 16]) -> Option<Digest> {
    // Most slots are another's: those cost no check.
    if !slot.starts_with(wanted) {
        return None;
    }
    held(slot).map(|(_, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn version(seed: u64) -> Version {
        Version::new(&blake3::hash(&seed.to_le_bytes()).as_bytes()[..16]).unwrap()
    }

    fn open(dir: &tempfile::TempDir) -> Digests {
        let folder = File::open(dir.path()).unwrap();
        Digests::open(Some(folder.as_fd()), 2).unwrap()
    }

    #[test]
    fn a_digest_is_remembered_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(&dir).recall(&version(1)), None);
        open(&dir).remember(&version(1), Digest([1; 32]));
        open(&dir).remember(&version(2), Digest([2; 32]));
        assert_eq!(open(&dir).recall(&version(1)), Some(Digest([1; 32])));
        assert_eq!(open(&dir).recall(&version(2)), Some(Digest([2; 32])));
        assert_eq!(open(&dir).recall(&version(3)), None);
    }

    #[test]
    fn a_full_bucket_forgets_but_never_lies() {
        let dir = tempfile::tempdir().unwrap();
        let digests = open(&dir);
        let same_bucket: Vec<_> = (0..9_u8)
            .map(|last| {
                let mut bytes = [7; 16];
                bytes[15] = last;
                (Version::new(&bytes).unwrap(), Digest([last; 32]))
            })
            .collect();
        same_bucket.iter().for_each(|(version, digest)| digests.remember(version, *digest));
        let recalled: Vec<_> = same_bucket
            .iter()
            .filter_map(|(version, digest)| digests.recall(version).map(|found| (found, *digest)))
            .collect();
        assert_eq!(recalled.len(), WAYS);
        assert!(recalled.iter().all(|(found, digest)| found == digest));
    }

    #[test]
    fn a_slot_has_its_golden_bytes() {
        let sum = blake3::hash(&[[3; 16].as_slice(), &[9; 32]].concat());
        assert_eq!(slot(&[3; 16], Digest([9; 32])), *[&[3; 16], &[9; 32][..], &sum.as_bytes()[..16]].concat());
    }

    #[test]
    fn a_damaged_slot_counts_as_empty_at_every_bit() {
        let good = slot(&[3; 16], Digest([9; 32]));
        assert!(read_slot(&good, &[3; 16]).is_some());
        for bit in 0..SLOT * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_slot(&bad, &[3; 16]), None, "bit {bit}");
        }
    }

    #[test]
    fn a_settled_file_is_hashed_once_and_a_fresh_one_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let digests = open(&dir);
        std::fs::write(dir.path().join("f"), vec![5; 300_000]).unwrap();
        let file = File::open(dir.path().join("f")).unwrap();
        // Of the future: however long this takes, it is fresh.
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        let fresh = FileState::of_file(&file).unwrap();
        let expected = Digest(*blake3::hash(&vec![5; 300_000]).as_bytes());
        let result = digests.compute(file.try_clone().unwrap(), &fresh).wait(PATIENCE).unwrap().unwrap();
        assert_eq!(result, expected);
        assert_eq!(digests.recall(&fresh.version), None);
        assert!(!is_settled(&fresh));
        assert!(is_settled(&FileState { modified: 0, changed: 0, ..fresh }));
    }

    #[test]
    fn beyond_its_bound_nothing_waits_to_be_hashed() {
        let dir = tempfile::tempdir().unwrap();
        // A queue that nobody takes from.
        let (jobs, _queue) = bounded(2);
        let digests = Digests { shared: Arc::new(Shared { table: None, running: Mutex::default() }), jobs };
        let compute = |name: &str| {
            std::fs::write(dir.path().join(name), name).unwrap();
            let file = File::open(dir.path().join(name)).unwrap();
            let state = FileState::of_file(&file).unwrap();
            digests.compute(file, &state)
        };
        let [first, _second, third] = ["1", "2", "3"].map(compute);
        let refused = third.wait(PATIENCE).unwrap().unwrap_err();
        assert!(refused.to_string().contains("limit of 4096"));
        assert!(first.wait(Duration::ZERO).is_none());
    }

    #[test]
    fn a_file_that_is_not_the_version_asked_for_has_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"one").unwrap();
        let file = File::open(dir.path().join("f")).unwrap();
        let before = FileState::of_file(&file).unwrap();
        std::fs::write(dir.path().join("f"), b"two!").unwrap();
        let error = open(&dir).compute(file, &before).wait(PATIENCE).unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::Changed);
    }
}
