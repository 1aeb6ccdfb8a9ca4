//! How files that came in become durable and visible, many at a time.
//!
//! The order is what promises 1 and 2 rest on: the content of all is flushed; then each is renamed into place, never over
//! another name unless that was asked for and allowed; then every directory whose entries changed is flushed; then the
//! arrivals are in the journal; only then is anything acknowledged.

use super::flush::{Flusher, with_flusher};
use super::topics::now;
use super::underway::FileIdentity;
use super::unflushed::Folder;
use super::{Finished, NewArrival, OnWait, Plan, Store};
use crate::conflict::{Place, find_place};
use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile};
use crate::staged::{Committed, NotCommitted, Ready, Replace, Verified, set_modified};
use crate::wire::{Digest, ErrorCode, RemoteFolder, RemotePath, StoredOutcome};
use rustix::fs::{fsync, syncfs};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

/// An upload of a group that has its name, or is refused.
struct Placed<'a> {
    plan: &'a Plan,
    file: Option<(FileIdentity, Digest)>,
    answer: Result<Answer>,
}

impl Placed<'_> {
    /// What goes into the journal.
    fn arrival(&self, store: &Store) -> Option<NewArrival> {
        let (Ok(answer), Some((identity, digest))) = (&self.answer, &self.file) else { return None };
        answer.is_arrival().then(|| NewArrival {
            path: answer.path.clone(),
            size: identity.size,
            digest: *digest,
            modified: identity.modified,
            time: now(),
            inode: identity.inode,
            live: self.plan.upload.and_then(|upload| store.live_id(upload)),
            publisher: self.plan.publisher.clone(),
        })
    }
}

/// A folder that is there, and not durable yet.
#[derive(Debug)]
pub struct NewFolder {
    path: RemotePath,
    folder: Folder,
}

impl Answer {
    pub(super) fn identical(path: RemotePath) -> Self {
        Self { path, outcome: StoredOutcome::Identical, number: None }
    }

    pub(super) fn skipped(path: RemotePath) -> Self {
        Self { path, outcome: StoredOutcome::Skipped, number: None }
    }

    fn is_arrival(&self) -> bool {
        matches!(self.outcome, StoredOutcome::New | StoredOutcome::Renamed | StoredOutcome::Overwritten)
    }
}

/// Folders that files of a group go into; each is resolved once.
type Folders = HashMap<RemoteFolder, Folder>;

impl Store {
    /// Commits a group of files: in the answer each is durable under its name, or refused.
    ///
    /// `on_wait` is called now and then while that takes long; its error ends nothing.
    pub fn commit(&self, group: Vec<Finished>, on_wait: &mut OnWait<'_>) -> Vec<Result<Answer>> {
        if group.is_empty() {
            return Vec::new();
        }
        // A peer that is gone is noticed later; what it sent is whole, and news for others.
        let mut on_wait = || {
            let _ = on_wait();
            Ok(())
        };
        with_flusher(|flusher| self.commit_with(flusher, group, &mut on_wait))
    }

    fn commit_with<'a>(
        &'a self,
        flusher: &Flusher<'a>,
        group: Vec<Finished>,
        on_wait: &mut OnWait<'_>,
    ) -> Vec<Result<Answer>> {
        // Claims are held until the answers are known: see `Finished::claim`.
        let (mut claims, mut plans, mut files, mut senders) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for finished in group {
            claims.extend(finished.claim);
            senders.push(finished.live.map(|live| (live, finished.verified.digest())));
            plans.push(finished.plan);
            files.push(finished.verified);
        }
        let mut folders = Folders::new();
        let ready = flusher.run(move || flush_now(files), on_wait).unwrap_or_default();
        let placed: Vec<Placed<'_>> = plans
            .iter()
            .zip(ready)
            .map(|(plan, ready)| self.place_in_group(plan, ready, &mut folders, on_wait))
            .collect();
        let flushed = self.flush_folders(flusher, folders.into_values().collect(), on_wait);
        let answers = self.settle_group(placed, flushed, on_wait);
        for (sender, answer) in senders.into_iter().zip(&answers) {
            if let Some((sender, digest)) = sender {
                self.end_live(sender, digest, answer);
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
            let identity = self.underway.add(ready.file())?;
            self.unflushed.add(identity.inode);
            file = Some((identity, ready.digest()));
            self.place(plan, ready, folders, on_wait)
        });
        Placed { plan, file, answer }
    }

    /// The folders of a group are flushed, or could not be: puts what is durable into the journal, and answers.
    fn settle_group(
        &self,
        placed: Vec<Placed<'_>>,
        flushed: Result<()>,
        on_wait: &mut OnWait<'_>,
    ) -> Vec<Result<Answer>> {
        let inodes: Vec<u64> = placed.iter().filter_map(|it| it.file.as_ref()).map(|(file, _)| file.inode).collect();
        if flushed.is_ok() {
            self.unflushed.remove(&inodes);
        }
        let settled = flushed.and_then(|()| self.announce(placed.iter().filter_map(|it| it.arrival(self)).collect()));
        self.underway.remove(&inodes);
        let mut numbers = match settled {
            Ok(numbers) => numbers.into_iter(),
            Err(error) => return placed.into_iter().map(|it| it.answer.and(Err(again(&error)))).collect(),
        };
        placed
            .into_iter()
            .map(|it| match it.answer? {
                answer if answer.is_arrival() => Ok(Answer { number: numbers.next(), ..answer }),
                answer if answer.outcome == StoredOutcome::Identical => {
                    let digest = it.file.as_ref().map(|(_, digest)| *digest);
                    self.settle_identical(answer, digest, it.plan, on_wait)
                }
                answer => Ok(answer),
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
        if let Some(stat) = self.root.stat_in(folder.as_fd(), answer.path.name())? {
            self.underway.wait_for(stat.st_ino, on_wait)?;
        }
        self.settle(self.unflushed.directories(&self.root, folder.as_fd(), &answer.path)?, on_wait)?;
        let number = self.settle_arrival(folder.as_fd(), &answer.path, digest, plan, on_wait)?;
        Ok(Answer { number, ..answer })
    }

    /// Makes a folder and sets its modification time. It is durable after [`Store::commit_folders`].
    ///
    /// # Errors
    /// The refusals of PROTOCOL.md, section 8.
    pub fn make_folder(&self, path: &[u8], modified: Option<i64>) -> Result<NewFolder> {
        let path = self.plan_path(path)?;
        let folder = self.unflushed.make_folders(&self.root, &RemoteFolder::from(path.clone()))?;
        if let Some(modified) = modified {
            set_modified(folder.made.folder.as_fd(), modified)
                .map_err(|error| Error::local("set the time of", &path, error))?;
        }
        Ok(NewFolder { path, folder })
    }

    /// Makes folders durable: in the answer each is, or is refused. `on_wait` is called as by [`Store::commit`].
    pub fn commit_folders(&self, group: Vec<NewFolder>, on_wait: &mut OnWait<'_>) -> Vec<Result<Answer>> {
        if group.is_empty() {
            return Vec::new();
        }
        let split = |NewFolder { path, folder }: NewFolder| {
            let is_new = !folder.made.unflushed.is_empty();
            let outcome = if is_new { StoredOutcome::New } else { StoredOutcome::Identical };
            (Answer { path, outcome, number: None }, folder)
        };
        let (answers, folders): (Vec<_>, Vec<_>) = group.into_iter().map(split).unzip();
        match with_flusher(|flusher| self.flush_folders(flusher, folders, on_wait)) {
            Ok(()) => answers.into_iter().map(Ok).collect(),
            Err(error) => answers.iter().map(|_| Err(again(&error))).collect(),
        }
    }

    /// Gives a flushed file its name, or finds that it needs none.
    fn place(&self, plan: &Plan, mut ready: Ready, folders: &mut Folders, on_wait: &mut OnWait<'_>) -> Result<Answer> {
        let (parent, is_worth_remembering) = (plan.path.parent(), ready.length() > REMEMBER_FROM);
        let folder = match folders.entry(parent) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let made = self.unflushed.make_folders(&self.root, place.key())?;
                place.insert(made)
            }
        };
        let folder = folder.made.folder.as_fd();
        // Most names are free: the rename itself finds out, and only a taken one is looked at.
        let (mut path, mut replace) = (plan.path.clone(), Replace::Never);
        loop {
            let replacing = (replace == Replace::File).then(|| self.replacing());
            let committed = ready.commit(folder, path.name(), replace);
            drop(replacing);
            match committed {
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
            let mut is_same = |found: &OpenFile| self.has_content(found, digest, on_wait);
            match find_place(&self.root, folder, &plan.path, Some(size), plan.on_conflict, &mut is_same)? {
                Place::Free(found, may_replace) => (path, replace) = (found, may_replace),
                // Nobody comes back for what is here, so it must not be kept.
                Place::Identical(path) => {
                    ready.discard();
                    return Ok(Answer::identical(path));
                }
                Place::Skipped => {
                    ready.discard();
                    return Ok(Answer::skipped(plan.path.clone()));
                }
            }
        }
    }

    /// Makes the entries of folders, and of those on the way to them, durable.
    fn flush_folders<'a>(
        &'a self,
        flusher: &Flusher<'a>,
        folders: Vec<Folder>,
        on_wait: &mut OnWait<'_>,
    ) -> Result<()> {
        let flush = move || {
            if folders.iter().any(Folder::was_there) {
                self.unflushed.settle_left_behind(&self.root)?;
            }
            let changed: Vec<BorrowedFd<'_>> = folders.iter().flat_map(Folder::directories).collect();
            self.flush_directories(&changed)?;
            folders.into_iter().for_each(Folder::settled);
            Ok(())
        };
        flusher.run(flush, on_wait).unwrap_or_else(|| Err(vanished()))
    }

    /// Makes sure that what was there already survives a power cut: flushes `directories`, and what was left behind.
    pub(super) fn settle(&self, directories: Vec<OwnedFd>, on_wait: &mut OnWait<'_>) -> Result<()> {
        if directories.is_empty() && !self.unflushed.may_be_left_behind() {
            return Ok(());
        }
        let flush = move || {
            self.unflushed.settle_left_behind(&self.root)?;
            self.flush_directories(&directories.iter().map(AsFd::as_fd).collect::<Vec<_>>())
        };
        with_flusher(|flusher| flusher.run(flush, on_wait)).unwrap_or_else(|| Err(vanished()))
    }

    fn flush_directories(&self, changed: &[BorrowedFd<'_>]) -> Result<()> {
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

fn outcome(plan: &Plan, path: &RemotePath, replace: Replace) -> StoredOutcome {
    match replace {
        Replace::File => StoredOutcome::Overwritten,
        Replace::Never if *path == plan.path => StoredOutcome::New,
        Replace::Never => StoredOutcome::Renamed,
    }
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

fn vanished() -> Error {
    Error::refused(ErrorCode::Unavailable, "the flush ended without a word")
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
