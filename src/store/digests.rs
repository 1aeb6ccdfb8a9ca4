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
const BUCKET: usize = WAYS * SLOT;
/// Files that may wait to be hashed; each holds a descriptor, also when whoever asked has left.
const WAITING: usize = 4096;
/// A file that changed less than this ago may change again within the resolution of its time stamps (2 s on FAT), and
/// look the same; its digest is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

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
        let mut bucket = [0; BUCKET];
        let (table, key) = (self.table.as_ref()?, key(version)?);
        // Beyond the end of the sparse file nothing was remembered yet.
        pread(table, &mut bucket, bucket_offset(key)).ok().filter(|count| *count == BUCKET)?;
        bucket.chunks_exact(SLOT).find_map(|slot| read_slot(slot, key))
    }

    fn remember(&self, version: &Version, digest: Digest) {
        let (Some(table), Some(key)) = (&self.table, key(version)) else { return };
        let mut bucket = [0; BUCKET];
        let start = bucket_offset(key);
        // What is missing stays zero, which is an empty slot.
        let _ = pread(table, &mut bucket, start);
        let free = bucket
            .chunks_exact(SLOT)
            .position(|slot| read_slot(slot, &slot[..16].try_into().unwrap_or_default()).is_none());
        let way = free.unwrap_or(usize::from(key[15]) % WAYS);
        bucket[way * SLOT..][..SLOT].copy_from_slice(&slot(key, digest));
        // A memory that cannot be written only costs time later.
        let _ = pwrite(table, &bucket, start);
    }
}

fn hash_unchanged(file: &File, state: &FileState) -> Outcome {
    let digest = digest_file(file, state.size).map_err(|_| ErrorCode::Unavailable)?;
    match FileState::of_file(file) {
        Ok(now) if now == *state => digest.ok_or(ErrorCode::Changed),
        Ok(_) => Err(ErrorCode::Changed),
        Err(_) => Err(ErrorCode::Unavailable),
    }
}

fn is_settled(state: &FileState) -> bool {
    let last = u64::try_from(state.modified.max(state.changed)).unwrap_or(0);
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH + Duration::from_nanos(last))
        .is_ok_and(|age| age >= SETTLED)
}

fn key(version: &Version) -> Option<&[u8; 16]> {
    version.as_bytes().try_into().ok()
}

fn bucket_offset(key: &[u8; 16]) -> u64 {
    // The version is a hash already, so its first bytes are spread evenly.
    let hash = u64::from_le_bytes(key[..8].try_into().expect("8 of 16 bytes"));
    hash % BUCKETS * BUCKET as u64
}

fn check(key: &[u8], digest: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(digest);
    hasher.finalize().as_bytes()[..16].try_into().expect("16 of 32 bytes")
}

fn slot(key: &[u8; 16], digest: Digest) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..16].copy_from_slice(key);
    slot[16..48].copy_from_slice(&digest.0);
    slot[48..].copy_from_slice(&check(key, &digest.0));
    slot
}

fn read_slot(slot: &[u8], wanted: &[u8; 16]) -> Option<Digest> {
    let (key, rest) = slot.split_at(16);
    let (digest, sum) = rest.split_at(32);
    (key == wanted && sum == check(key, digest)).then(|| Digest(digest.try_into().expect("32 bytes")))
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
