//! Uploads on their way in, as those who follow them see them (PROTOCOL.md, section 16).
//!
//! Owns what a live GET needs to know of an upload: where its bytes are, how many there are, which of them turned out to be
//! wrong, and how it ended. Knows nothing of connections: a reader waits here, and reads the file itself.
//!
//! An upload never waits for its readers, and what it does for them does not depend on how many there are: it adds to a
//! count, and wakes those that wait.

use super::followers::{Followers, Notice};
use crate::error::{Error, Result};
use crate::wire::{Digest, ErrorCode, LiveId, RemotePath, Version};
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most uploads whose sender is away that are remembered; beyond them the one that is away for longest is forgotten.
const MOST_AWAY: usize = 4096;
/// Most times that an upload can start over before nobody can tell any more what of it is still right.
const MOST_REWINDS: usize = 1024;

/// The uploads that are on their way in.
#[derive(Debug)]
pub struct LiveUploads {
    uploads: Mutex<HashMap<LiveId, Arc<LiveUpload>>>,
    followers: Arc<Followers>,
}

/// An upload that is on its way in.
#[derive(Debug)]
pub struct LiveUpload {
    /// Its name for those who follow it.
    pub id: LiveId,
    /// Where it is to go.
    pub path: RemotePath,
    /// Bytes that it will have, if its sender has said it.
    pub size: Option<u64>,
    /// Its modification time, if its sender has said it.
    pub modified: Option<i64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    file: Option<Arc<File>>,
    length: u64,
    /// To which length it was cut each time that bytes turned out to be wrong.
    rewinds: Vec<u64>,
    stage: Stage,
    is_waited_for: bool,
}

#[derive(Debug, Clone)]
enum Stage {
    Coming,
    Away(Instant),
    Arrived(End),
    Abandoned,
}

/// How an upload arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The name that the content has now.
    pub path: RemotePath,
    /// The digest.
    pub digest: Digest,
    /// The number of its arrival, also if that was an earlier one of the same content; `None` if there is none.
    pub number: Option<u64>,
}

/// The sending side of an upload.
#[derive(Debug)]
pub(super) struct LiveSender {
    uploads: Arc<LiveUploads>,
    upload: Arc<LiveUpload>,
    fate: Fate,
}

/// What it means when the sending side is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The sender is away, and may come back.
    Away,
    /// The sender will not come back to this upload.
    Abandoned,
    /// The upload is over already.
    Over,
}

/// A reader of an upload, at some byte of it.
#[derive(Debug)]
pub struct LiveReader {
    upload: Arc<LiveUpload>,
    position: u64,
    /// How many rewinds there were when it began.
    rewinds: usize,
}

/// What a reader finds.
#[derive(Debug)]
pub enum Next {
    /// So many bytes, from the reader's position on, of this file.
    Bytes(Arc<File>, u64),
    /// Nothing yet.
    Nothing,
    /// All bytes were read, and the file is durable under its name.
    Arrived(End),
}

impl LiveUploads {
    /// None yet.
    pub(super) fn new(followers: Arc<Followers>) -> Self {
        Self { uploads: Mutex::default(), followers }
    }

    /// An upload begins, or goes on, with `length` bytes that are there already. `is_anew`: those that were there before
    /// were thrown away.
    pub(super) fn begin(self: &Arc<Self>, upload: LiveUpload, length: u64, is_anew: bool, file: File) -> LiveSender {
        let mut uploads = self.lock();
        let upload = match uploads.get(&upload.id) {
            Some(known) if known.is_open() && known.path == upload.path => Arc::clone(known),
            _ => Arc::new(upload),
        };
        uploads.insert(upload.id, Arc::clone(&upload));
        drop(uploads);
        upload.with_state(|state| {
            if is_anew || length < state.length {
                state.rewind(if is_anew { 0 } else { length });
            }
            state.length = length;
            state.stage = Stage::Coming;
            state.file = Some(Arc::new(file));
        });
        self.followers.notify(Notice::Arriving(Arc::clone(&upload)));
        LiveSender { uploads: Arc::clone(self), upload, fate: Fate::Away }
    }

    /// The upload of this id; `None` if none is on its way.
    #[must_use]
    pub fn find(&self, id: LiveId) -> Option<Arc<LiveUpload>> {
        self.lock().get(&id).cloned()
    }

    /// The uploads whose bytes are coming.
    #[must_use]
    pub fn coming(&self) -> Vec<Arc<LiveUpload>> {
        self.lock().values().filter(|upload| upload.is_coming()).cloned().collect()
    }

    /// Gives up the uploads whose senders are away for `keep`, and of those that are too many the oldest.
    pub(super) fn give_up(&self, keep: Duration) {
        let uploads = self.lock();
        let mut away: Vec<_> =
            uploads.values().filter_map(|upload| Some((upload.away_since()?, Arc::clone(upload)))).collect();
        drop(uploads);
        away.sort_by_key(|(since, _)| *since);
        let surplus = away.len().saturating_sub(MOST_AWAY);
        for (index, (since, upload)) in away.into_iter().enumerate() {
            if index < surplus || since.elapsed() >= keep {
                self.abandon(&upload);
            }
        }
    }

    /// Gives up one whose sender is away.
    pub(super) fn give_up_away(&self, id: LiveId) {
        if let Some(upload) = self.find(id).filter(|upload| upload.away_since().is_some()) {
            self.abandon(&upload);
        }
    }

    fn abandon(&self, upload: &Arc<LiveUpload>) {
        self.end(upload, Stage::Abandoned);
        self.followers.notify(Notice::Abandoned(Arc::clone(upload)));
    }

    /// An upload is over; who reads it still hears how it ended.
    fn end(&self, upload: &Arc<LiveUpload>, stage: Stage) {
        upload.with_state(|state| state.stage = stage);
        let mut uploads = self.lock();
        if uploads.get(&upload.id).is_some_and(|known| Arc::ptr_eq(known, upload)) {
            uploads.remove(&upload.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LiveId, Arc<LiveUpload>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveUpload {
    /// An upload of which nothing is there yet.
    #[must_use]
    pub(super) fn new(id: LiveId, path: RemotePath, size: Option<u64>, modified: Option<i64>) -> Self {
        let stage = Stage::Away(Instant::now());
        let state = State { file: None, length: 0, rewinds: Vec::new(), stage, is_waited_for: false };
        Self { id, path, size, modified, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A reader that begins at `offset`, which it has reached in `version`, if it gives one.
    ///
    /// # Errors
    /// [`ErrorCode::Changed`] if what it has is not what was sent.
    pub fn read(self: &Arc<Self>, offset: u64, version: Option<&Version>) -> Result<LiveReader> {
        let state = self.lock();
        let rewinds = match version {
            None => state.rewinds.len(),
            Some(version) => {
                self.rewinds_of(version).filter(|count| *count <= state.rewinds.len()).ok_or_else(changed)?
            }
        };
        drop(state);
        let reader = LiveReader { upload: Arc::clone(self), position: offset, rewinds };
        reader.check(&self.lock())?;
        Ok(reader)
    }

    /// Lets nothing be noted of it for as long as the answer lives.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Sized {
        self.lock()
    }

    /// Whether its bytes are coming.
    fn is_coming(&self) -> bool {
        matches!(self.lock().stage, Stage::Coming)
    }

    fn is_open(&self) -> bool {
        matches!(self.lock().stage, Stage::Coming | Stage::Away(_))
    }

    fn away_since(&self) -> Option<Instant> {
        match self.lock().stage {
            Stage::Away(since) => Some(since),
            _ => None,
        }
    }

    /// The version of what is sent after so many rewinds.
    fn version(&self, rewinds: usize) -> Version {
        let mut bytes = self.id.0;
        if let Some(count) = bytes.last_chunk_mut::<4>() {
            *count = u32::try_from(rewinds).unwrap_or(u32::MAX).to_be_bytes();
        }
        Version::from(bytes)
    }

    fn rewinds_of(&self, version: &Version) -> Option<usize> {
        let (head, count) = version.as_bytes().split_last_chunk::<4>()?;
        self.id.0.starts_with(head).then(|| u32::from_be_bytes(*count) as usize)
    }

    fn with_state(&self, act: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        act(&mut state);
        if std::mem::take(&mut state.is_waited_for) {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn rewind(&mut self, length: u64) {
        if self.rewinds.len() >= MOST_REWINDS {
            self.rewinds.fill(0);
            return;
        }
        self.rewinds.push(length);
    }
}

impl LiveSender {
    /// Which upload it is.
    pub(super) fn id(&self) -> LiveId {
        self.upload.id
    }

    /// So many bytes are there now.
    pub(super) fn advance(&self, length: u64) {
        self.upload.with_state(|state| state.length = length);
    }

    /// The bytes from here on were wrong.
    pub(super) fn rewind(&self, length: u64) {
        self.upload.with_state(|state| {
            state.rewind(length);
            state.length = length;
        });
    }

    /// The upload has arrived.
    pub(super) fn arrived(mut self, end: End) {
        self.fate = Fate::Over;
        self.uploads.end(&self.upload, Stage::Arrived(end));
    }

    /// The upload is there, and was before: who reads it hears how it ended, and who follows, that it will not arrive.
    pub(super) fn recognised(mut self, end: End) {
        self.fate = Fate::Over;
        self.uploads.end(&self.upload, Stage::Arrived(end));
        self.uploads.followers.notify(Notice::Abandoned(Arc::clone(&self.upload)));
    }

    /// Nobody will come back to this upload.
    pub(super) fn abandon(&mut self) {
        self.fate = Fate::Abandoned;
    }
}

impl Drop for LiveSender {
    fn drop(&mut self) {
        match self.fate {
            Fate::Away => self.upload.with_state(|state| {
                state.stage = Stage::Away(Instant::now());
                state.file = None;
            }),
            Fate::Abandoned => self.uploads.abandon(&self.upload),
            Fate::Over => {}
        }
    }
}

impl LiveReader {
    /// The version of what is read.
    #[must_use]
    pub fn version(&self) -> Version {
        self.upload.version(self.rewinds)
    }

    /// The upload.
    #[must_use]
    pub fn upload(&self) -> &LiveUpload {
        &self.upload
    }

    /// Bytes read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes on by so many bytes.
    pub fn advance(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
    }

    /// What is there to be read; waits for it, for `patience` at most.
    ///
    /// # Errors
    /// [`ErrorCode::Changed`] if what was read turned out to be wrong; [`ErrorCode::Abandoned`];
    /// [`ErrorCode::Unavailable`] if the sender is away for `away`.
    pub fn next(&self, patience: Duration, away: Duration) -> Result<Next> {
        let began = Instant::now();
        let mut state = self.upload.lock();
        loop {
            self.check(&state)?;
            let there = state.length.saturating_sub(self.position);
            if let (1.., Some(file)) = (there, &state.file) {
                return Ok(Next::Bytes(Arc::clone(file), there));
            }
            match &state.stage {
                // Bytes that cannot be had any more must be asked for again.
                Stage::Arrived(_) if there > 0 => return Err(changed()),
                Stage::Arrived(end) => return Ok(Next::Arrived(end.clone())),
                Stage::Abandoned => return Err(Error::refused(ErrorCode::Abandoned, "its sender gave it up")),
                Stage::Away(since) if since.elapsed() >= away => {
                    return Err(Error::refused(ErrorCode::Unavailable, "its sender is away"));
                }
                Stage::Coming | Stage::Away(_) => {}
            }
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(Next::Nothing);
            }
            state.is_waited_for = true;
            state = self.upload.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether what was read is still what was sent.
    ///
    /// # Errors
    /// [`ErrorCode::Changed`].
    pub fn is_right(&self) -> Result<()> {
        self.check(&self.upload.lock())
    }

    fn check(&self, state: &State) -> Result<()> {
        let since = state.rewinds.get(self.rewinds..).unwrap_or_default();
        if since.iter().any(|length| *length < self.position) { Err(changed()) } else { Ok(()) }
    }
}

fn changed() -> Error {
    Error::refused(ErrorCode::Changed, "its sender started over")
}
