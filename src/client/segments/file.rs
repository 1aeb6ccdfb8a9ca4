//! A file on its way in segments: which of them are there, which are to be had, and how it ends.
//!
//! Owns what its connections share, and the waiting. Knows nothing of requests.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::client::folder::{Folder, Placed};
use crate::client::job::Job;
use crate::client::terminal::progress::Transfer;
use crate::error::{Error, Result};
use crate::staged::Staged;
use crate::transfer::{Node, Segments, hash_range};
use crate::wire::{
    Digest, ErrorCode, FileHeader, OnConflict, ReceiptOutcome, RemotePath, TransferId, Version, Violation,
};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// A file on its way in segments, shared by the connections that fetch them.
#[derive(Debug)]
pub(in crate::client) struct Segmented {
    path: RemotePath,
    segments: Segments,
    version: Version,
    /// Gone when it has its name, or was given up.
    staged: RwLock<Option<Staged>>,
    state: Mutex<State>,
    changed: Condvar,
    shown: Arc<Transfer>,
}

#[derive(Debug, Default)]
struct State {
    /// What nobody has taken.
    todo: VecDeque<Part>,
    /// Parts that are not finished, with somebody or not.
    unfinished: usize,
    members: usize,
    /// By segment; those that are there.
    nodes: Vec<Option<Node>>,
    announced: Option<Announced>,
    first: Option<TransferId>,
    failed: bool,
    /// Why, until the leader takes it.
    failure: Option<Error>,
    /// What receipts are to say.
    verdict: Option<ReceiptOutcome>,
}

/// What is asked for at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// A segment, of which so many bytes are stored.
    Segment { index: usize, stored: u64 },
    /// The digest of the whole.
    Digest,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) digest: Digest,
    pub(super) modified: i64,
    pub(super) transfer: TransferId,
}

impl Segmented {
    pub(super) fn new(
        job: &Job,
        segments: Segments,
        version: Version,
        staged: Staged,
        mut nodes: Vec<Option<Node>>,
        shown: &Arc<Transfer>,
    ) -> Self {
        nodes.resize(segments.count(), None);
        let missing = nodes.iter().enumerate().filter(|(_, node)| node.is_none());
        let mut todo: VecDeque<Part> = missing.map(|(index, _)| Part::Segment { index, stored: 0 }).collect();
        // The server needs a while for the digest, and the connection that waits for it fetches nothing. In the middle the
        // others have enough to do, and the end does not wait.
        todo.insert(todo.len() / 2, Part::Digest);
        let state = State { unfinished: todo.len(), todo, nodes, ..State::default() };
        Self {
            path: job.path.clone(),
            segments,
            version,
            staged: RwLock::new(Some(staged)),
            state: Mutex::new(state),
            changed: Condvar::new(),
            shown: Arc::clone(shown),
        }
    }

    pub(super) fn path(&self) -> &RemotePath {
        &self.path
    }

    pub(super) fn segments(&self) -> Segments {
        self.segments
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn shown(&self) -> &Transfer {
        &self.shown
    }

    /// Somebody begins to fetch parts.
    pub(super) fn join(&self) {
        self.change(|state| state.members = state.members.saturating_add(1));
    }

    /// What was asked for and did not come goes back to the front.
    pub(super) fn give_back(&self, parts: &mut VecDeque<Part>) {
        self.change(|state| parts.drain(..).rev().for_each(|part| state.todo.push_front(part)));
    }

    /// Whether it is not done yet, and may still be.
    pub(super) fn is_wanted(&self) -> bool {
        !self.lock().is_over()
    }

    /// Whether FILE announces the part that was asked for.
    pub(super) fn check(&self, header: &FileHeader, offset: u64, length: u64) -> Result<()> {
        if header.version != self.version || header.size != self.segments.size() {
            return Err(Violation::Contradiction("FILE of another version than was asked for").into());
        }
        if (header.offset, header.length) != (offset, length) {
            return Err(Violation::Contradiction("FILE with another part than was asked for").into());
        }
        Ok(())
    }

    /// Whether there is something that nobody has taken.
    pub(super) fn has_work(&self) -> bool {
        let state = self.lock();
        !state.failed && !state.todo.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    /// The next part for somebody who has asked for `asked` already. Ahead of need only while there is enough for all.
    pub(super) fn take(&self, asked: usize) -> Option<Part> {
        let mut state = self.lock();
        let is_due = !state.failed && (asked == 0 || state.todo.len() >= state.members);
        is_due.then(|| state.todo.pop_front()).flatten()
    }

    /// Waits for something to do; `false` if there is nothing more.
    pub(super) fn wait_for_work(&self) -> bool {
        let state = self.lock();
        let is_waiting = |state: &mut State| !state.is_over() && state.todo.is_empty();
        !self.changed.wait_while(state, is_waiting).unwrap_or_else(PoisonError::into_inner).is_over()
    }

    /// Waits until all parts are there, or it was given up.
    pub(super) fn wait_for_end(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| !state.is_over()));
    }

    /// What receipts are to say, when the leader knows.
    pub(super) fn wait_for_verdict(&self) -> ReceiptOutcome {
        let mut state = self.lock();
        loop {
            if let Some(verdict) = state.verdict {
                return verdict;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all of it, for the first reason that is given.
    pub(super) fn fail(&self, error: Error) {
        self.change(|state| {
            state.failed = true;
            state.failure.get_or_insert(error);
        });
    }

    /// Somebody cannot reach the server any more. The others go on, if there are others.
    pub(super) fn leave(&self, error: Option<Error>) {
        self.change(|state| {
            state.members = state.members.saturating_sub(1);
            if let Some(error) = error.filter(|_| state.members == 0 && !state.is_over()) {
                state.failed = true;
                state.failure = Some(error);
            }
        });
    }

    /// A segment is whole: its record follows its bytes.
    pub(super) fn finish(&self, index: usize, node: Node, transfer: TransferId) -> Result<()> {
        self.write(node.as_bytes(), record(self.segments, index))?;
        self.change(|state| {
            if let Some(place) = state.nodes.get_mut(index) {
                *place = Some(node);
            }
            state.first.get_or_insert(transfer);
            state.unfinished = state.unfinished.saturating_sub(1);
        });
        Ok(())
    }

    pub(super) fn announce(&self, announced: Announced) {
        self.change(|state| {
            state.announced = Some(announced);
            state.unfinished = state.unfinished.saturating_sub(1);
        });
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if self.lock().failed {
            return Err(self.stopped());
        }
        let staged = self.staged.read().unwrap_or_else(PoisonError::into_inner);
        staged.as_ref().ok_or_else(|| self.stopped())?.write_at(bytes, offset)
    }

    /// Adds what is stored of a segment to its hasher.
    pub(super) fn hash_stored(&self, hasher: &mut blake3::Hasher, offset: u64, stored: u64) -> Result<()> {
        let staged = self.staged.read().unwrap_or_else(PoisonError::into_inner);
        let staged = staged.as_ref().ok_or_else(|| self.stopped())?;
        match hash_range(hasher, staged.file(), offset, stored) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::local("read back", &self.path, std::io::ErrorKind::UnexpectedEof)),
            Err(error) => Err(Error::local("read back", &self.path, error)),
        }
    }

    /// The error of whoever still works at a file that was given up; the first one is what is reported.
    fn stopped(&self) -> Error {
        Error::local("go on with", &self.path, std::io::Error::other("it was given up"))
    }

    /// Verifies the whole and gives it its name.
    pub(super) fn conclude(&self, folder: &Folder, job: &Job, policy: OnConflict) -> Result<(Placed, TransferId)> {
        let staged = self.staged.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut staged = staged.ok_or_else(|| self.stopped())?;
        let mut state = self.lock();
        if let Some(error) = state.failure.take() {
            if error.is_worth_a_retry() || self.shown.is_asked_to_stop() {
                folder.leave(staged);
            } else {
                staged.discard();
            }
            return Err(error);
        }
        let nodes: Option<Vec<Node>> = state.nodes.iter().copied().collect();
        let merged = nodes.and_then(|nodes| self.segments.merge(&nodes));
        let (Some(merged), Some(announced)) = (merged, state.announced) else { return Err(self.stopped()) };
        let transfer = state.first.unwrap_or(announced.transfer);
        drop(state);
        let verified = staged.verify_whole(self.segments.size(), announced.modified, merged, announced.digest)?;
        Ok((folder.place(verified.without_flush(), job.place(), policy)?, transfer))
    }

    /// Tells those who helped what their receipts are to say.
    pub(super) fn give_verdict<T>(&self, placed: &Result<T>) -> ReceiptOutcome {
        let verdict = match placed {
            Ok(_) => ReceiptOutcome::Verified,
            Err(error) if error.code() == ErrorCode::Mismatch => ReceiptOutcome::Mismatch,
            Err(Error::Local { .. }) => ReceiptOutcome::NotStored,
            Err(_) => ReceiptOutcome::GivenUp,
        };
        self.change(|state| state.verdict = Some(verdict));
        verdict
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.failed || self.unfinished == 0
    }
}

/// Where the record of a segment is.
pub(super) fn record(segments: Segments, index: usize) -> u64 {
    (index as u64).saturating_mul(Node::LENGTH as u64).saturating_add(segments.size())
}
