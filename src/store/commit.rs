//! How files that came in become durable and visible, many at a time.
//!
//! The order is what promises 1 and 2 rest on: the content of all is flushed; then each is renamed into place, never over
//! another name unless that was asked for and allowed; then every directory whose entries changed is flushed; then the
//! arrivals are in the journal; only then is anything acknowledged.

use super::unflushed::FileIdentity;
use super::{Finished, NewArrival, OnWait, PATIENCE, Plan, Store};
use crate::conflict::{Place, find_place};
use crate::error::{Error, Result};
use crate::root::{FileState, MadeFolder, OpenFile};
use crate::staged::{Committed, NotCommitted, Ready, Replace, Verified, set_modified};
use crate::transfer::Helper;
use crate::wire::{Digest, ErrorCode, RemoteFolder, RemotePath, StoredOutcome};
use crossbeam_channel::{RecvTimeoutError, bounded};
use rustix::fs::{fsync, syncfs};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Up to this many files are flushed one by one; more of them by one flush of the file system, which costs about as much
/// as a few (10,000 files of 4 KiB: 5.5 s one by one, 0.3 s together).
const FLUSH_ONE_BY_ONE: usize = 8;
/// Up to this many directories are flushed one by one.
const FLUSH_FOLDERS_ONE_BY_ONE: usize = 16;
/// Up to this size hashing a file costs less than remembering its digest.
const REMEMBER_FROM: u64 = 64 * 1024;

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that the content has now.
    pub path: RemotePath,
    /// How it got there.
    pub outcome: StoredOutcome,
    /// The number of its arrival, if it is one.
    pub number: Option<u64>,
}

/// An upload of a group whose name is given, and not durable yet.
struct Placed<'a> {
    plan: &'a Plan,
    file: Option<(FileIdentity, Digest)>,
    answer: Result<Answer>,
}

impl Placed<'_> {
    /// What goes into the journal.
    fn arrival(&self, store: &Store) -> Option<NewArrival> {
        let (Ok(answer), Some((identity, digest))) = (&self.answer, &self.file) else { return None };
        is_arrival(answer).then(|| NewArrival {
            path: answer.path.clone(),
            size: identity.size,
            digest: *digest,
            modified: identity.modified,
            inode: identity.inode,
            live: self.plan.upload.and_then(|upload| store.live_id(upload)),
            publisher: self.plan.publisher.clone(),
        })
    }
}

fn is_arrival(answer: &Answer) -> bool {
    matches!(answer.outcome, StoredOutcome::New | StoredOutcome::Renamed | StoredOutcome::Overwritten)
}

/// A folder that is there, and not durable yet.
#[derive(Debug)]
pub struct NewFolder {
    path: RemotePath,
    made: MadeFolder,
}

impl Answer {
    pub(super) fn identical(path: RemotePath) -> Self {
        Self { path, outcome: StoredOutcome::Identical, number: None }
    }

    pub(super) fn skipped(path: RemotePath) -> Self {
        Self { path, outcome: StoredOutcome::Skipped, number: None }
    }
}

/// Folders that files of a group go into; each is resolved once.
type Folders = HashMap<RemoteFolder, MadeFolder>;

impl Store {
    /// Commits a group of files: in the answer each is durable under its name, or refused.
    ///
    /// `on_wait` is called if a file that is there must be hashed to be compared; its error ends nothing.
    pub fn commit(&self, group: Vec<Finished>, on_wait: &mut OnWait<'_>) -> Vec<Result<Answer>> {
        // Claims are held until the answers are known: see `Finished::claim`.
        let (mut claims, mut plans, mut files, mut senders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for finished in group {
            claims.extend(finished.claim);
            plans.push(finished.plan);
            senders.push(finished.live.map(|live| (live, finished.verified.digest())));
            files.push(finished.verified);
        }
        let mut folders = Folders::new();
        let placed: Vec<Placed<'_>> = plans
            .iter()
            .zip(flush(files, on_wait))
            .map(|(plan, ready)| self.place_in_group(plan, ready, &mut folders, on_wait))
            .collect();
        let answers = self.settle_group(placed, &folders, on_wait);
        for (sender, answer) in senders.into_iter().zip(&answers) {
            if let Some((sender, digest)) = sender {
                Self::end_live(sender, digest, answer);
            }
        }
        answers
    }

    fn place_in_group<'a>(
        &self,
        plan: &'a Plan,
        ready: Result<Ready>,
        folders: &mut Folders,
        on_wait: &mut OnWait<'_>,
    ) -> Placed<'a> {
        let mut file = None;
        let answer = ready.and_then(|ready| {
            let identity = self.unflushed.add(ready.file())?;
            file = Some((identity, ready.digest()));
            self.place(plan, ready, folders, on_wait)
        });
        Placed { plan, file, answer }
    }

    /// Makes the names of a group durable, and then its arrivals.
    fn settle_group(&self, placed: Vec<Placed<'_>>, folders: &Folders, on_wait: &mut OnWait<'_>) -> Vec<Result<Answer>> {
        let named: Vec<u64> = placed.iter().filter_map(|it| it.file.as_ref()).map(|(identity, _)| identity.inode).collect();
        let settled = self.flush_folders(folders).and_then(|()| {
            let new = placed.iter().filter_map(|it| it.arrival(self)).collect();
            self.announce(new)
        });
        let mut numbers = match settled {
            Ok(numbers) => numbers.into_iter(),
            Err(error) => {
                self.unflushed.failed(&named);
                return placed.into_iter().map(|it| it.answer.and(Err(again(&error)))).collect();
            }
        };
        self.unflushed.remove(&named);
        placed
            .into_iter()
            .map(|it| match it.answer {
                Ok(answer) if is_arrival(&answer) => Ok(Answer { number: numbers.next(), ..answer }),
                Ok(answer) if answer.outcome == StoredOutcome::Identical => {
                    let digest = it.file.as_ref().map(|(_, digest)| *digest);
                    self.settle_identical(answer, digest, it.plan, on_wait)
                }
                answer => answer,
            })
            .collect()
    }

    /// Makes sure that a file which was there already is durable, and has its arrival.
    pub(super) fn settle_identical(
        &self,
        answer: Answer,
        digest: Option<Digest>,
        plan: &Plan,
        on_wait: &mut OnWait<'_>,
    ) -> Result<Answer> {
        let folder = self.root.open_folder(&answer.path.parent())?;
        self.unflushed.settle(&self.root, folder.as_fd(), answer.path.name(), on_wait)?;
        let number =
            self.settle_arrival(folder.as_fd(), &answer.path, digest, plan.publisher.as_deref(), on_wait)?;
        Ok(Answer { number, ..answer })
    }

    /// Makes a folder and sets its modification time. It is durable after [`Store::commit_folders`].
    ///
    /// # Errors
    /// The refusals of PROTOCOL.md, section 8.
    pub fn make_folder(&self, path: &[u8], modified: Option<i64>) -> Result<NewFolder> {
        let path = self.plan_path(path)?;
        let made = self.root.make_folders(&RemoteFolder::from(path.clone()))?;
        if let Some(modified) = modified {
            set_modified(made.folder.as_fd(), modified)
                .map_err(|error| Error::local("set the time of", &path, error))?;
        }
        Ok(NewFolder { path, made })
    }

    /// Makes folders durable: in the answer each is, or is refused.
    pub fn commit_folders(&self, group: Vec<NewFolder>) -> Vec<Result<Answer>> {
        let changed: Vec<&OwnedFd> = group.iter().flat_map(|folder| directories(&folder.made)).collect();
        let flushed = self.flush_directories(&changed);
        let answer = |folder: NewFolder| {
            let is_new = !folder.made.unflushed.is_empty();
            let outcome = if is_new { StoredOutcome::New } else { StoredOutcome::Identical };
            Answer { path: folder.path, outcome, number: None }
        };
        match flushed {
            Ok(()) => group.into_iter().map(|folder| Ok(answer(folder))).collect(),
            Err(error) => group.iter().map(|_| Err(again(&error))).collect(),
        }
    }

    /// Gives a flushed file its name, or finds that it needs none.
    fn place(&self, plan: &Plan, mut ready: Ready, folders: &mut Folders, on_wait: &mut OnWait<'_>) -> Result<Answer> {
        let (parent, is_worth_remembering) = (plan.path.parent(), ready.length() > REMEMBER_FROM);
        if !folders.contains_key(&parent) {
            folders.insert(parent.clone(), self.root.make_folders(&parent)?);
        }
        let folder = folders[&parent].folder.as_fd();
        // Most names are free: the rename itself finds out, and only a taken one is looked at.
        let (mut path, mut replace) = (plan.path.clone(), Replace::Never);
        loop {
            match ready.commit(folder, path.name(), replace) {
                Ok(committed) => {
                    if is_worth_remembering {
                        self.remember(&committed);
                    }
                    return Ok(Answer { outcome: outcome(plan, &path, replace), path, number: None });
                }
                Err(NotCommitted::Failed(error)) => return Err(error),
                Err(NotCommitted::Taken(back)) => ready = back,
            }
            let (size, digest) = (ready.length(), ready.digest());
            let mut is_same = |found: &OpenFile| Ok(self.digest(found, on_wait)? == digest);
            match find_place(&self.root, folder, &plan.path, Some(size), plan.on_conflict, &mut is_same)? {
                Place::Free(found, may_replace) => (path, replace) = (found, may_replace),
                Place::Identical(path) => return Ok(Answer::identical(path)),
                Place::Skipped => return Ok(Answer::skipped(plan.path.clone())),
            }
        }
    }

    fn flush_folders(&self, folders: &Folders) -> Result<()> {
        self.flush_directories(&folders.values().flat_map(directories).collect::<Vec<_>>())
    }

    fn flush_directories(&self, changed: &[&OwnedFd]) -> Result<()> {
        let result = if changed.len() <= FLUSH_FOLDERS_ONE_BY_ONE {
            changed.iter().try_for_each(fsync)
        } else {
            syncfs(self.root.directory())
        };
        result.map_err(|error| Error::local("flush a folder in", self.root.path().display(), error))
    }

    /// Remembers the digest of a file that was just verified, so that its first reader need not wait for it.
    fn remember(&self, committed: &Committed) {
        if let Ok(state) = FileState::of_file(committed.file()) {
            self.digests.remember(&state.version, committed.digest());
        }
    }
}

/// The directories whose entries changed for a folder, and the folder itself.
fn directories(made: &MadeFolder) -> impl Iterator<Item = &OwnedFd> {
    made.unflushed.iter().chain([&made.folder])
}

fn outcome(plan: &Plan, path: &RemotePath, replace: Replace) -> StoredOutcome {
    match replace {
        Replace::File => StoredOutcome::Overwritten,
        Replace::Never if *path == plan.path => StoredOutcome::New,
        Replace::Never => StoredOutcome::Renamed,
    }
}

/// Flushes the content of files, on a thread of its own where one is to be had, so that the peer can be told meanwhile.
fn flush(files: Vec<Verified>, on_wait: &mut OnWait<'_>) -> Vec<Result<Ready>> {
    let Some(_helper) = Helper::take() else { return flush_now(files) };
    // Handed over through a slot, so that the files are still here if the thread cannot be started.
    let slot = Mutex::new(Some(files));
    let take = || slot.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let (done, flushed) = bounded(1);
    std::thread::scope(|scope| {
        let work = || drop(done.send(flush_now(take())));
        if std::thread::Builder::new().name("flush".into()).spawn_scoped(scope, work).is_err() {
            return flush_now(take());
        }
        loop {
            match flushed.recv_timeout(PATIENCE) {
                Ok(ready) => return ready,
                // A peer that is gone is noticed later; its files are flushed all the same.
                Err(RecvTimeoutError::Timeout) => drop(on_wait()),
                Err(RecvTimeoutError::Disconnected) => return Vec::new(),
            }
        }
    })
}

fn flush_now(files: Vec<Verified>) -> Vec<Result<Ready>> {
    if files.len() <= FLUSH_ONE_BY_ONE {
        return files.into_iter().map(Verified::flush).collect();
    }
    let count = files.len();
    match Verified::flush_all(files) {
        Ok(ready) => ready.into_iter().map(Ok).collect(),
        Err(error) => (0..count).map(|_| Err(again(&error))).collect(),
    }
}

/// The same failure for another file of the group.
fn again(error: &Error) -> Error {
    Error::refused(
        match error.code() {
            ErrorCode::NoSpace => ErrorCode::NoSpace,
            _ => ErrorCode::Unavailable,
        },
        error.to_fault().message.unwrap_or_default(),
    )
}
