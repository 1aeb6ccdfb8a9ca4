//! Topics, as a session sees them: following, what arrived, what is on its way, who received it (PROTOCOL.md, section 16).
//!
//! Owns the order of an arrival: the file is durable under its name; then its arrival is in the journal; then everybody
//! who follows is told, and its sender gets its acknowledgement.

use super::commit::Answer;
use super::live::{End, LiveReader, LiveSender, LiveUpload};
use super::receivers::Received;
use super::uploads::{OnIdentical, Plan, Upload};
use super::watch::changed_at;
use super::{Arrival, Follower, Journal, NewArrival, Notice, OnWait, Span, Store};
use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile};
use crate::wire::{
    Digest, ErrorCode, LiveId, ReceiptOutcome, Receiver, ReceiverState, RemoteFolder, RemotePath, StoredOutcome,
    SubscriberId, UploadId, Version,
};
use rustix::fs::{AtFlags, statat};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Arrivals read from the journal at a time.
const READ: usize = 256;

/// What a live GET is answered from.
#[derive(Debug)]
pub enum LiveSource {
    /// The upload, as it comes in.
    Coming(LiveReader),
    /// The file that it became.
    Arrived(Box<Arrival>, OpenFile),
}

/// What a follower is told next.
#[derive(Debug)]
pub enum Told {
    /// Arrivals in its folders, and the number up to which there are no others.
    Arrived(Vec<Arc<Arrival>>, u64),
    /// The arrivals up to this number are not known any more; so many came after its position.
    Gap(u64, u64),
    /// Nothing that concerns it up to this number.
    Nothing(u64),
}

impl Store {
    /// Follows folders.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`] if this server keeps no journal; [`Error::Local`] without a descriptor.
    pub fn follow(
        &self,
        folders: Vec<RemoteFolder>,
        subscriber: Option<(SubscriberId, String)>,
    ) -> Result<(Follower, &Journal)> {
        let journal = self.journal().ok_or_else(no_journal)?;
        Ok((self.followers.follow(folders, subscriber)?, journal))
    }

    /// What a follower that was told everything up to `after` is told next.
    ///
    /// # Errors
    /// [`Error::Local`] if the journal cannot be read.
    pub fn next_arrivals(&self, follower: &Follower, after: u64) -> Result<Told> {
        let journal = self.journal().ok_or_else(no_journal)?;
        let last = journal.last();
        let mut position = after;
        while position < last {
            let recent = self.followers.recent(position, READ);
            let arrivals = if recent.is_empty() {
                match journal.read(position, READ)? {
                    Span::Arrivals(arrivals) => arrivals.into_iter().map(Arc::new).collect(),
                    Span::Lost { up_to, missed } => return Ok(Told::Gap(up_to, missed)),
                    Span::End => break,
                }
            } else {
                recent
            };
            position = arrivals.last().map_or(last, |arrival| arrival.number);
            let told: Vec<_> = arrivals.into_iter().filter(|arrival| follower.follows(&arrival.path)).collect();
            if !told.is_empty() {
                return Ok(Told::Arrived(told, position));
            }
        }
        Ok(Told::Nothing(position))
    }

    /// What happened to uploads in a follower's folders since it asked last.
    pub fn notices(&self, follower: &mut Follower) -> Vec<Notice> {
        follower.notices(&self.live)
    }

    /// Opens what a live GET asks for.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::Changed`]; those of opening the file.
    pub fn open_live(
        &self,
        id: LiveId,
        path: &RemotePath,
        offset: u64,
        version: Option<&Version>,
    ) -> Result<LiveSource> {
        if let Some(upload) = self.live.find(id).filter(|upload| upload.path == *path) {
            return Ok(LiveSource::Coming(upload.read(offset, version)?));
        }
        let journal = self.journal().ok_or_else(no_journal)?;
        let found = journal.find_live(id).map(|number| journal.find_number(number)).transpose()?.flatten();
        let arrival = found.ok_or_else(|| Error::refused(ErrorCode::NotFound, "no upload of that id is on its way"))?;
        let open = self.open_file(&arrival.path)?;
        if open.state.size != arrival.size || open.state.modified != arrival.modified {
            return Err(Error::refused(ErrorCode::Changed, "the file changed since it arrived"));
        }
        Ok(LiveSource::Arrived(Box::new(arrival), open))
    }

    /// The word of a receiver of an arrival. Whether it is news: it was one of its receivers, and had not said this yet.
    pub fn note_received(&self, number: u64, subscriber: SubscriberId, name: &str, outcome: ReceiptOutcome) -> bool {
        let is_arrival = self.journal().is_some_and(|journal| (1..=journal.last()).contains(&number));
        let is_receiver = self.followers.is_present(subscriber) || self.receivers.is_expected(number, subscriber);
        is_arrival && is_receiver && self.receivers.note(number, subscriber, name, outcome)
    }

    /// Who received an arrival, and where each of them stands; `None` if that is not known (any more).
    #[must_use]
    pub fn receivers(&self, number: u64) -> Option<Vec<Receiver>> {
        let state = |receiver: &Received| match receiver.outcome {
            Some(ReceiptOutcome::Verified) => ReceiverState::Verified,
            Some(_) => ReceiverState::Failed,
            None if self.followers.is_present(receiver.subscriber) => ReceiverState::Fetching,
            None => ReceiverState::Gone,
        };
        let receivers = self.receivers.of(number)?;
        Some(receivers.into_iter().map(|it| Receiver { state: state(&it), name: it.name }).collect())
    }

    /// Waits until a receiver has said something, or for `patience`.
    pub fn wait_for_receivers(&self, patience: Duration) {
        self.receivers.wait(patience);
    }

    /// The uploads whose senders did not come back within `keep` are given up.
    pub fn give_up_live(&self, keep: Duration) {
        self.live.give_up(keep);
    }

    /// The bytes of an upload begin here: at what was offered, or at 0. Those who follow its folder are told.
    ///
    /// # Errors
    /// As for [`Upload::begin`].
    pub fn begin_upload(&self, upload: &mut Upload, offset: u64) -> Result<()> {
        let is_anew = offset == 0 && upload.length() > 0;
        upload.begin(offset)?;
        let Some(id) = upload.id().and_then(|id| self.live_id(id)) else { return Ok(()) };
        upload.set_live(|plan, length, file| {
            let live = LiveUpload::new(id, plan.path.clone(), plan.size, plan.modified);
            self.live.begin(live, length, is_anew, file)
        })
    }

    /// The name of an upload for those who follow it; `None` if nobody can.
    #[must_use]
    pub fn live_id(&self, upload: UploadId) -> Option<LiveId> {
        let hash = blake3::keyed_hash(self.journal()?.secret(), &upload.0);
        hash.as_bytes().first_chunk().copied().map(LiveId)
    }

    /// Puts durable files into the journal, and tells whoever follows. Returns their numbers.
    ///
    /// # Errors
    /// [`Error::Local`]: none of them has arrived then.
    pub(super) fn announce(&self, new: Vec<NewArrival>) -> Result<Vec<u64>> {
        let Some(journal) = self.journal().filter(|_| !new.is_empty()) else { return Ok(Vec::new()) };
        let numbers = journal.append(new.clone())?;
        let arrivals: Vec<Arrival> = new
            .into_iter()
            .zip(&numbers)
            .map(|(new, number)| Arrival {
                number: *number,
                path: new.path,
                size: new.size,
                digest: new.digest,
                modified: new.modified,
                time: new.time,
                live: new.live,
                publisher: new.publisher,
            })
            .collect();
        for arrival in &arrivals {
            self.receivers.expect(arrival.number, self.followers.present(&arrival.path));
        }
        self.followers.arrived(arrivals);
        Ok(numbers)
    }

    /// The arrival of a file that was found to be there already; it is made up for if it was lost, and is another one where
    /// the plan says so.
    ///
    /// An upload whose server was killed between the rename and the journal is there without an arrival, and its sender
    /// comes back for its acknowledgement.
    pub(super) fn settle_arrival(
        &self,
        folder: BorrowedFd<'_>,
        path: &RemotePath,
        digest: Option<Digest>,
        plan: &Plan,
        on_wait: &mut OnWait<'_>,
    ) -> Result<Option<u64>> {
        let Some(journal) = self.journal() else { return Ok(None) };
        let look = || statat(folder, path.name(), AtFlags::SYMLINK_NOFOLLOW).ok();
        let Some(stat) = look() else { return Ok(None) };
        let FileState { size, modified, version, .. } = FileState::of(&stat);
        let is_news = plan.on_identical == OnIdentical::Announce;
        if let (false, Some(number)) = (is_news, journal.holds(path, stat.st_ino, size, modified)) {
            return Ok(Some(number));
        }
        if !is_news && !journal.may_have_lost(changed_at(&stat)) {
            return Ok(None);
        }
        let digest = match digest {
            Some(digest) => digest,
            None => self.digest(&self.root.open_file(path)?, on_wait)?,
        };
        // The watch, and who sends the same, may be at it as well: whoever is second finds what the first one did.
        let _alone = (!is_news).then(|| self.arriving());
        if !is_news {
            if !look().is_some_and(|stat| FileState::of(&stat).version == version) {
                return Ok(None);
            }
            if let Some(number) = journal.holds(path, stat.st_ino, size, modified) {
                return Ok(Some(number));
            }
        }
        // What was lost is not known to be this upload.
        let live = plan.upload.filter(|_| is_news).and_then(|upload| self.live_id(upload));
        let (path, inode, publisher) = (path.clone(), stat.st_ino, plan.publisher.clone());
        let new = NewArrival { path, size, digest, modified, time: now(), inode, live, publisher };
        Ok(self.announce(vec![new])?.first().copied())
    }

    /// Whoever holds this is alone with the question whether a file has arrived.
    pub(super) fn arriving(&self) -> MutexGuard<'_, ()> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is live of uploads, as their answers say.
    pub(super) fn end_live(&self, mut sender: LiveSender, digest: Digest, answer: &Result<Answer>) {
        match answer {
            Ok(answer) if answer.outcome != StoredOutcome::Skipped => {
                let end = End { path: answer.path.clone(), digest, number: answer.number };
                if self.has_arrived(sender.id()) { sender.arrived(end) } else { sender.recognised(end) }
            }
            _ => sender.abandon(),
        }
    }

    /// The sender of an upload that is away was told that its bytes are not needed.
    pub(super) fn give_up_away(&self, upload: UploadId) {
        if let Some(id) = self.live_id(upload).filter(|id| !self.has_arrived(*id)) {
            self.live.give_up_away(id);
        }
    }

    /// Whether followers were told of an arrival of this live id, now or before: then it did not come to nothing.
    fn has_arrived(&self, live: LiveId) -> bool {
        self.journal().is_some_and(|journal| journal.find_live(live).is_some())
    }
}

/// What an arrival that is announced now says of its time.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn no_journal() -> Error {
    Error::refused(ErrorCode::Unavailable, "this server keeps no journal, so nothing can be followed here")
}
