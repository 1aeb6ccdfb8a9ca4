//! Who follows which folders, and waking them when something happens there (PROTOCOL.md, section 16).
//!
//! Owns the followers, a short memory of what was arriving and what was given up, and the arrivals of late, so that many
//! followers do not read each of them from the journal. Nothing is queued for a follower: it has a position, and looks for
//! itself, so one that is slow costs nobody anything.

use super::Arrival;
use super::live::{LiveUpload, LiveUploads};
use crate::error::{Error, Result};
use crate::wire::{RemoteFolder, RemotePath, SubscriberId};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Notices that are remembered; a follower that is further behind is told what is arriving now, and no more.
const NOTICES: usize = 1024;
/// Arrivals that are remembered.
const RECENT: usize = 1024;
/// How long a subscriber counts as present after its connection ended: what it says on others may still be on its way.
const LINGER: Duration = Duration::from_secs(2);

/// What happened to an upload.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Its bytes are coming.
    Arriving(Arc<LiveUpload>),
    /// It will not arrive: its sender gave it up, or its content was there already.
    Abandoned(Arc<LiveUpload>),
}

/// Everybody who follows something.
#[derive(Debug, Default)]
pub(super) struct Followers {
    registered: RwLock<HashMap<u64, Arc<Registered>>>,
    next: AtomicU64,
    notices: Mutex<Notices>,
    recent: Mutex<BTreeMap<u64, Arc<Arrival>>>,
    /// Subscribers that went away a moment ago, and when.
    left: Mutex<HashMap<SubscriberId, Instant>>,
}

#[derive(Debug, Default)]
struct Notices {
    /// How many there were before those in `kept`.
    dropped: u64,
    kept: VecDeque<Notice>,
}

#[derive(Debug)]
struct Registered {
    folders: Vec<RemoteFolder>,
    subscriber: Option<(SubscriberId, String)>,
    wake: OwnedFd,
    is_awake: AtomicBool,
}

/// Somebody who follows some folders, until this is dropped.
#[derive(Debug)]
pub struct Follower {
    followers: Arc<Followers>,
    key: u64,
    registered: Arc<Registered>,
    /// Notices that it has taken, counted from the first one there was.
    taken: u64,
}

impl Followers {
    /// Registers somebody who is told from here on, and first of what is arriving already.
    pub(super) fn follow(
        self: &Arc<Self>,
        folders: Vec<RemoteFolder>,
        subscriber: Option<(SubscriberId, String)>,
    ) -> Result<Follower> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::local("follow", "folders", error))?;
        let registered = Arc::new(Registered { folders, subscriber, wake, is_awake: AtomicBool::new(false) });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.registered.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&registered));
        Ok(Follower { followers: Arc::clone(self), key, registered, taken: 0 })
    }

    /// How many follow anything.
    pub(super) fn count(&self) -> usize {
        self.registered.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The subscribers that follow a path, with their names.
    pub(super) fn present(&self, path: &RemotePath) -> Vec<(SubscriberId, String)> {
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        registered.values().filter(|it| it.follows(path)).filter_map(|it| it.subscriber.clone()).collect()
    }

    /// Whether a subscriber follows anything now, or did a moment ago.
    pub(super) fn is_present(&self, id: SubscriberId) -> bool {
        if self.left().get(&id).is_some_and(|left| left.elapsed() < LINGER) {
            return true;
        }
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        registered.values().any(|it| it.subscriber.as_ref().is_some_and(|(known, _)| *known == id))
    }

    /// Tells whoever follows the upload's folder.
    pub(super) fn notify(&self, notice: Notice) {
        let path = notice.upload().path.clone();
        let mut notices = self.notices();
        notices.kept.push_back(notice);
        if notices.kept.len() > NOTICES {
            notices.kept.pop_front();
            notices.dropped = notices.dropped.saturating_add(1);
        }
        drop(notices);
        self.wake(&path);
    }

    /// Tells whoever follows the folders of durable arrivals. Those who follow others are not woken.
    pub(super) fn arrived(&self, arrivals: Vec<Arrival>) {
        let arrivals: Vec<_> = arrivals.into_iter().map(Arc::new).collect();
        let mut recent = self.recent_arrivals();
        recent.extend(arrivals.iter().map(|arrival| (arrival.number, Arc::clone(arrival))));
        while recent.len() > RECENT {
            recent.pop_first();
        }
        drop(recent);
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        for follower in registered.values() {
            if arrivals.iter().any(|arrival| follower.follows(&arrival.path)) {
                follower.wake();
            }
        }
    }

    /// The arrivals right after a number, without a hole, as far as they are remembered: at most `most`.
    pub(super) fn recent(&self, after: u64, most: usize) -> Vec<Arc<Arrival>> {
        let recent = self.recent_arrivals();
        let first = after.saturating_add(1);
        let expected = first..;
        let consecutive = recent.range(first..).zip(expected).take_while(|((number, _), expected)| *number == expected);
        consecutive.take(most).map(|((_, arrival), _)| Arc::clone(arrival)).collect()
    }

    fn recent_arrivals(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Arrival>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, path: &RemotePath) {
        let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
        registered.values().filter(|it| it.follows(path)).for_each(|it| it.wake());
    }

    fn left(&self) -> MutexGuard<'_, HashMap<SubscriberId, Instant>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notices(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    fn follows(&self, path: &RemotePath) -> bool {
        self.folders.iter().any(|folder| is_below(path, folder))
    }

    fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::AcqRel) {
            // The count cannot overflow, and a wake that is pending already is as good.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Follower {
    /// Readable as soon as there is something to look for.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.registered.wake.as_fd()
    }

    /// It looks now: whatever happens from here on wakes it again.
    pub fn looks(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.registered.wake, &mut count);
        self.registered.is_awake.store(false, Ordering::Release);
    }

    /// Whether it follows the folder of a path.
    #[must_use]
    pub fn follows(&self, path: &RemotePath) -> bool {
        self.registered.follows(path)
    }

    /// What happened to uploads in its folders since it asked last; at first, and after a long absence, what is arriving now.
    pub fn notices(&mut self, live: &LiveUploads) -> Vec<Notice> {
        let notices = self.followers.notices();
        let end = notices.dropped.saturating_add(notices.kept.len() as u64);
        let is_behind = self.taken == 0 || self.taken < notices.dropped.saturating_add(1);
        let skip = usize::try_from(self.taken.saturating_sub(notices.dropped).saturating_sub(1)).unwrap_or(usize::MAX);
        let new: Vec<Notice> = if is_behind { Vec::new() } else { notices.kept.iter().skip(skip).cloned().collect() };
        // Counted from one, so that zero says that it never asked.
        self.taken = end.saturating_add(1);
        drop(notices);
        let new = if is_behind { live.coming().into_iter().map(Notice::Arriving).collect() } else { new };
        new.into_iter().filter(|notice| self.follows(&notice.upload().path)).collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((id, _)) = &self.registered.subscriber {
            let mut left = self.followers.left();
            left.retain(|_, since| since.elapsed() < LINGER);
            left.insert(*id, Instant::now());
        }
        self.followers.registered.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Notice {
    /// The upload.
    #[must_use]
    pub fn upload(&self) -> &Arc<LiveUpload> {
        match self {
            Self::Arriving(upload) | Self::Abandoned(upload) => upload,
        }
    }
}

/// Whether a path lies in a folder, or below it.
fn is_below(path: &RemotePath, folder: &RemoteFolder) -> bool {
    match path.as_bytes().strip_prefix(folder.as_bytes()) {
        Some(rest) => folder.path().is_none() || rest.starts_with(b"/"),
        None => false,
    }
}
