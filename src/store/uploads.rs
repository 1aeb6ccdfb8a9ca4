//! Uploads in progress: whose they are, and what an earlier attempt left.
//!
//! Owns the claims (an upload id is in the hands of one connection at a time; the newest takes it over) and the
//! partial files of resumable uploads. Knows nothing of frames.

use super::PATIENCE;
use super::live::LiveSender;
use crate::connection::Interrupt;
use crate::error::{Error, Result};
use crate::staged::{Staged, Staging, Verified};
use crate::transfer::{Sink, finish, hash_range};
use crate::wire::{Digest, ErrorCode, OnConflict, RemotePath, UploadId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a newer connection waits for the older one to let go, which may be flushing the file just then.
const TAKEOVER: Duration = Duration::from_secs(120);
/// A prefix is hashed in steps of this many bytes, so that the waiting client can be told between them.
const HASH_STEP: u64 = 256 * 1024 * 1024;

/// What a PUT of a file asks for, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub path: RemotePath,
    /// Bytes, if known.
    pub size: Option<u64>,
    /// Modification time to give it, nanoseconds since the epoch.
    pub modified: Option<i64>,
    /// If the name is taken.
    pub on_conflict: OnConflict,
    /// Identity, if it can be resumed.
    pub upload: Option<UploadId>,
    /// Digest, if known beforehand.
    pub digest: Option<Digest>,
    /// Most bytes that may come.
    pub limit: u64,
    /// Who sends it, for those who follow its folder.
    pub publisher: Option<String>,
    /// If the content is there already.
    pub on_identical: OnIdentical,
}

/// What it means that content is there already which somebody sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnIdentical {
    /// That it was sent before: it is not news.
    Recognise,
    /// Nothing: what is sent is news, for those who follow its folder too. It is kept once all the same.
    Announce,
}

/// A file that came in whole and verified.
#[derive(Debug)]
pub struct Finished {
    /// What was asked for.
    pub plan: Plan,
    /// The file.
    pub verified: Verified,
    /// What those who follow it see of it. Dropped before the claim goes, as fields are in their order: whoever takes the
    /// upload over begins after that, and is not taken for the one that left.
    pub(super) live: Option<LiveSender>,
    /// Held until the file has its name: whoever came with the same identity before that would find the partial file, and
    /// change it under its new name.
    pub(super) claim: Option<Claim>,
}

/// An upload that a connection is receiving.
#[derive(Debug)]
pub struct Upload {
    /// What was asked for.
    pub plan: Plan,
    staged: Staged,
    hasher: blake3::Hasher,
    /// Dropped before the claim, as in [`Finished`].
    live: Option<LiveSender>,
    claim: Option<Claim>,
}

/// The uploads that connections hold.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<Held>,
    /// Something was let go, or somebody newer waits.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    holders: HashMap<UploadId, Holder>,
    /// The newest of those who wait for each id.
    waiting: HashMap<UploadId, Ticket>,
    next: Ticket,
}

/// Who came when.
type Ticket = u64;

#[derive(Debug)]
struct Holder {
    interrupt: Interrupt,
    superseded: Arc<AtomicBool>,
}

/// The right to write to the partial file of an upload id; let go when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    id: UploadId,
    superseded: Arc<AtomicBool>,
}

impl Claims {
    /// Takes an upload id, from another connection if need be. `on_wait` is called now and then until that one lets go.
    ///
    /// # Errors
    /// [`ErrorCode::Superseded`] if somebody newer waits for it: of a sender that came back again and again, only the
    /// last connection is alive. [`ErrorCode::Unavailable`] if it is not let go in time; that of `on_wait`.
    pub(super) fn take(
        self: &Arc<Self>,
        id: UploadId,
        interrupt: Interrupt,
        on_wait: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Claim> {
        let began = Instant::now();
        let mut held = self.lock();
        let ticket = held.wait_in_line(id);
        // Whoever has waited until now waits no longer.
        self.changed.notify_all();
        while let Some(holder) = held.holders.get(&id) {
            holder.superseded.store(true, Ordering::Release);
            holder.interrupt.stop_reading();
            let (guard, timeout) = self
                .changed
                .wait_timeout_while(held, PATIENCE, |held| held.holders.contains_key(&id) && held.is_next(id, ticket))
                .unwrap_or_else(PoisonError::into_inner);
            held = guard;
            if !held.is_next(id, ticket) {
                return Err(superseded());
            }
            if timeout.timed_out() {
                drop(held);
                let told = if began.elapsed() < TAKEOVER { on_wait() } else { Err(still_held()) };
                held = self.lock();
                if let Err(error) = told {
                    held.leave_line(id, ticket);
                    return Err(error);
                }
            }
        }
        if !held.is_next(id, ticket) {
            return Err(superseded());
        }
        held.leave_line(id, ticket);
        let superseded = Arc::new(AtomicBool::new(false));
        held.holders.insert(id, Holder { interrupt, superseded: Arc::clone(&superseded) });
        Ok(Claim { claims: Arc::clone(self), id, superseded })
    }

    /// Does something with the partial file of this name, unless a connection is at it.
    pub(super) fn unless_held<T>(&self, name: &str, act: impl FnOnce() -> T) -> Option<T> {
        // Whoever takes it meanwhile waits for the lock.
        let held = self.lock();
        let is_held = held.holders.keys().any(|id| id.to_string() == name);
        (!is_held).then(act)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Somebody comes for an id: before whoever waits for it already.
    fn wait_in_line(&mut self, id: UploadId) -> Ticket {
        self.next = self.next.saturating_add(1);
        self.waiting.insert(id, self.next);
        self.next
    }

    fn is_next(&self, id: UploadId, ticket: Ticket) -> bool {
        self.waiting.get(&id) == Some(&ticket)
    }

    fn leave_line(&mut self, id: UploadId, ticket: Ticket) {
        if self.is_next(id, ticket) {
            self.waiting.remove(&id);
        }
    }
}

impl Claim {
    #[cfg(test)]
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// Whether a newer connection wants it.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().holders.remove(&self.id);
        self.claims.changed.notify_all();
    }
}

fn superseded() -> Error {
    Error::refused(ErrorCode::Superseded, "another connection took this upload over")
}

fn still_held() -> Error {
    Error::refused(ErrorCode::Unavailable, "another connection is still receiving this upload")
}

impl Upload {
    /// Begins or resumes the partial file of an upload. Without a claim it cannot be resumed, and is gone when it breaks off.
    ///
    /// `on_wait` is called now and then while what is there is hashed.
    pub(super) fn open(
        staging: &Arc<Staging>,
        plan: Plan,
        name: &str,
        claim: Option<Claim>,
        on_wait: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let left = if claim.is_some() { staging.resume(name)? } else { None };
        let mut staged = match left {
            Some(staged) if staged.length() <= plan.size.unwrap_or(u64::MAX).min(plan.limit) => staged,
            Some(mut staged) => {
                staged.discard();
                drop(staged);
                staging.create(name)?
            }
            None => staging.create(name)?,
        };
        // One that only asked leaves nothing; from `begin` on there is something to keep.
        if staged.length() == 0 {
            staged.discard();
        }
        let mut upload = Self { plan, staged, hasher: blake3::Hasher::new(), claim, live: None };
        upload.hash_prefix(on_wait)?;
        Ok(upload)
    }

    /// What is there already: its length, and its digest unless it is empty.
    #[must_use]
    pub fn offer(&self) -> (u64, Option<Digest>) {
        let held = self.staged.length();
        (held, (held > 0).then(|| finish(&self.hasher)))
    }

    /// The client's bytes begin here: at what was offered, or at 0. Reserves the space for them.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] for any other offset; [`ErrorCode::NoSpace`].
    pub fn begin(&mut self, offset: u64) -> Result<()> {
        if offset != 0 && offset != self.staged.length() {
            return Err(Error::refused(ErrorCode::Protocol, "BEGIN with an offset that was not offered"));
        }
        if offset == 0 && self.staged.length() > 0 {
            self.staged.truncate(0)?;
            self.hasher = blake3::Hasher::new();
        }
        if self.claim.is_some() {
            self.staged.keep();
        }
        self.staged.reserve(self.plan.size.unwrap_or(0))
    }

    /// The state of the digest so far, for the receiver to go on with.
    #[must_use]
    pub fn hasher(&self) -> blake3::Hasher {
        self.hasher.clone()
    }

    /// Bytes held.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.staged.length()
    }

    /// Whether a newer connection wants this upload.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_superseded)
    }

    /// Removes what was received: it is not worth resuming.
    pub fn discard(&mut self) {
        self.staged.discard();
        if let Some(live) = &mut self.live {
            live.abandon();
        }
    }

    /// All bytes are there: checks them, and sets the modification time.
    ///
    /// # Errors
    /// [`ErrorCode::Mismatch`] if size or digest differ from what was announced; [`Error::Local`].
    pub fn finish(mut self, received: Digest, announced: Digest) -> Result<Finished> {
        let length = self.staged.length();
        if self.plan.size.is_some_and(|size| size != length) {
            self.discard();
            return Err(Error::refused(ErrorCode::Mismatch, format!("{length} bytes came, not as many as announced")));
        }
        if let Some(modified) = self.plan.modified {
            self.staged.set_modified(modified)?;
        }
        let verified = self.staged.verify(received, announced).inspect_err(|_| {
            if let Some(live) = &mut self.live {
                live.abandon();
            }
        })?;
        Ok(Finished { verified, plan: self.plan, claim: self.claim, live: self.live })
    }

    /// Whether it has an identity, so that others can follow it.
    pub(super) fn id(&self) -> Option<UploadId> {
        self.plan.upload.filter(|_| self.claim.is_some())
    }

    /// What those who follow this upload see of it, from now on.
    pub(super) fn set_live(&mut self, begin: impl FnOnce(&Plan, u64, std::fs::File) -> LiveSender) -> Result<()> {
        let file = self.staged.file().try_clone().map_err(|error| Error::local("open", "a partial upload", error))?;
        self.live = Some(begin(&self.plan, self.staged.length(), file));
        Ok(())
    }

    fn hash_prefix(&mut self, on_wait: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let length = self.staged.length();
        let mut done = 0;
        while done < length {
            if self.is_superseded() {
                return Err(superseded());
            }
            let step = HASH_STEP.min(length.saturating_sub(done));
            let read = hash_range(&mut self.hasher, self.staged.file(), done, step);
            if !read.map_err(|error| Error::local("read", "a partial upload", error))? {
                return Err(Error::local("read", "a partial upload", rustix::io::Errno::IO));
            }
            done = done.saturating_add(step);
            on_wait()?;
        }
        Ok(())
    }
}

impl Sink for Upload {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        if self.is_superseded() {
            return Err(superseded());
        }
        self.staged.write(bytes)?;
        if let Some(live) = &self.live {
            live.advance(self.staged.length());
        }
        Ok(())
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.staged.take_back(bytes)?;
        if let Some(live) = &self.live {
            live.rewind(self.staged.length());
        }
        Ok(())
    }

    fn is_followed(&self) -> bool {
        self.live.is_some()
    }
}
