//! Files that come into the host directory by other means than an upload: they arrive, too, once they are complete.
//!
//! Owns an inotify descriptor with a watch on every folder (`inotify(7)`), and the files that changed and must come to rest.
//! A file is complete when its writer has closed it, or it was moved in, and it has not changed for [`REST`] since. What
//! came while the server was down is found by the walk that sets the watches up.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::topics::now;
use super::{Journal, NewArrival, Store};
use crate::error::{Error, Result};
use crate::root::FileState;
use crate::wire::{ErrorCode, RemoteFolder, RemotePath};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

/// How long a file must not have changed before it arrives.
const REST: Duration = Duration::from_secs(1);
/// How often files that must come to rest are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long is waited where nothing is to be looked at.
const QUIET: Duration = Duration::from_secs(60);
/// After what time a file that could not be looked at is looked at again; twice as long each time, up to [`LONGEST`].
const AFTER_FAILURE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);
/// Most files that are waited for; a walk finds those beyond.
const MOST_PENDING: usize = 100_000;
/// What is asked of the kernel for every folder.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::EXCL_UNLINK);

/// The watches on a host directory.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    folders: HashMap<i32, RemoteFolder>,
    pending: HashMap<RemotePath, Pending>,
    /// When the kernel's queue was last about to be emptied.
    looked: SystemTime,
    /// Set when something may have been missed: files that changed since then are looked for.
    missed_since: Option<SystemTime>,
    /// Walks that found more files than can be waited for.
    unfinished: HashSet<(RemoteFolder, Sought)>,
    is_full: bool,
}

/// A file that is waited for.
#[derive(Debug)]
struct Pending {
    /// When it is looked at.
    due: Instant,
    /// How long it was left alone after it could not be looked at.
    rest: Duration,
}

/// Which files a walk looks for; among them, those whose arrival is known are left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sought {
    /// All of them: the folder has just come.
    All,
    /// Those that may have come while nobody looked.
    Lost,
    /// Those that changed since then, and all in folders that were not known under their name.
    Since(SystemTime),
}

/// An event, as far as it matters here.
struct Happened {
    watch: i32,
    flags: ReadFlags,
    name: Vec<u8>,
}

impl Watch {
    /// Watches a host directory, from now on.
    ///
    /// # Errors
    /// [`Error::Local`] if the kernel has no descriptor for it.
    pub fn open(store: &Store) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| Error::local("watch", store.root.path().display(), error))?;
        let (folders, pending, unfinished) = (HashMap::new(), HashMap::new(), HashSet::new());
        let looked = SystemTime::now();
        let mut watch = Self { inotify, folders, pending, looked, missed_since: None, unfinished, is_full: false };
        watch.walk(store, RemoteFolder::ROOT, Sought::Lost);
        Ok(watch)
    }

    /// How many folders are watched.
    #[must_use]
    pub fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Waits for something to happen, and lets arrive what has come to rest.
    pub fn run_once(&mut self, store: &Store) {
        let due = self.pending.values().map(|pending| pending.due).min();
        let is_behind = self.missed_since.is_some() || !self.unfinished.is_empty();
        let patience = match due.map_or(QUIET, |due| due.saturating_duration_since(Instant::now())) {
            _ if is_behind => LOOK,
            patience => patience.clamp(LOOK, QUIET),
        };
        let patience = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        let mut descriptor = [PollFd::new(&self.inotify, PollFlags::IN)];
        // Whatever woke it, it looks for itself.
        let _ = poll(&mut descriptor, Some(&patience));
        for happened in self.events() {
            self.note(store, &happened);
        }
        self.look_for_missed(store);
        self.let_arrive(store);
    }

    fn events(&mut self) -> Vec<Happened> {
        let began = SystemTime::now();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let (mut found, mut has_missed) = (Vec::new(), false);
        while let Ok(event) = reader.next() {
            has_missed |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().map(|name| name.to_bytes().to_vec()).unwrap_or_default();
            found.push(Happened { watch: event.wd(), flags: event.events(), name });
        }
        if has_missed {
            log::warn!(event = "watch", cause = "more happened than the kernel keeps"; "looking at all files");
            // The queue was empty when it was looked at last, however long ago that is. Times of files are a little coarse.
            self.miss_since(self.looked.checked_sub(REST).unwrap_or(SystemTime::UNIX_EPOCH));
        }
        self.looked = began;
        found
    }

    fn miss_since(&mut self, since: SystemTime) {
        self.missed_since = Some(self.missed_since.map_or(since, |earlier| earlier.min(since)));
    }

    /// Looks for files that nobody told of, as far as there is room for them.
    fn look_for_missed(&mut self, store: &Store) {
        if self.pending.len() >= MOST_PENDING {
            return;
        }
        for (folder, sought) in std::mem::take(&mut self.unfinished) {
            self.walk(store, folder, sought);
        }
        if let Some(since) = self.missed_since.take() {
            self.walk(store, RemoteFolder::ROOT, Sought::Since(since));
        }
    }

    fn note(&mut self, store: &Store, happened: &Happened) {
        if happened.flags.contains(ReadFlags::IGNORED) {
            self.folders.remove(&happened.watch);
            return;
        }
        let Some(folder) = self.folders.get(&happened.watch) else { return };
        // Names that no remote path can hold, and the server's own, are no arrivals.
        let Ok(path) = folder.join(&happened.name) else { return };
        let is_folder = happened.flags.contains(ReadFlags::ISDIR);
        let came = happened.flags.intersects(ReadFlags::MOVED_TO | ReadFlags::CREATE);
        if is_folder && came {
            self.walk(store, RemoteFolder::from(path), Sought::All);
        } else if is_folder && happened.flags.contains(ReadFlags::MOVED_FROM) {
            self.forget(&RemoteFolder::from(path));
        } else if (happened.flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO)
            || (happened.flags.contains(ReadFlags::CREATE) && is_another_link(store, &path)))
            && !self.expect(path)
        {
            self.miss_since(SystemTime::now().checked_sub(QUIET).unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }

    /// Sets watches on a folder and all below it. The files in them that are sought are waited for, too.
    fn walk(&mut self, store: &Store, top: RemoteFolder, sought: Sought) {
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(directory) = store.root.open_folder(&folder) else { continue };
            // Watched first, so that nothing comes between that and the reading.
            let is_new = self.add(&directory, &folder);
            // The files of a folder that was moved here are as old as they were.
            let (place, sought) = match sought {
                Sought::Since(_) if is_new => (&folder, Sought::All),
                _ => (&top, sought.clone()),
            };
            let Ok(entries) = Dir::read_from(&directory) else { continue };
            for entry in entries.flatten() {
                let Ok(path) = folder.join(entry.file_name().to_bytes()) else { continue };
                let stat = || statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
                let kind = match entry.file_type() {
                    FileType::Unknown => stat().map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                    kind => kind,
                };
                match kind {
                    FileType::Directory => folders.push(RemoteFolder::from(path)),
                    FileType::RegularFile => {
                        let is_sought = stat().is_ok_and(|stat| is_sought(store, &path, &stat, &sought));
                        if is_sought && !self.pending.contains_key(&path) && !self.expect(path) {
                            self.leave_out(place, &sought);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// There was no room for a file that a walk of `folder` found: that walk is repeated.
    fn leave_out(&mut self, folder: &RemoteFolder, sought: &Sought) {
        match sought {
            Sought::Since(since) => self.miss_since(*since),
            Sought::All | Sought::Lost => drop(self.unfinished.insert((folder.clone(), sought.clone()))),
        }
    }

    /// Whether a folder is watched from now on that was not before, under this name.
    fn add(&mut self, directory: &OwnedFd, folder: &RemoteFolder) -> bool {
        // The descriptor was opened beneath the root; a path could have been swapped for a link since.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        match inotify::add_watch(self.inotify.as_fd(), path, EVENTS.difference(WatchFlags::DONT_FOLLOW)) {
            Ok(watch) => return self.folders.insert(watch, folder.clone()).as_ref() != Some(folder),
            Err(error) if !self.is_full => {
                self.is_full = matches!(error, Errno::NOSPC | Errno::NOMEM);
                let watched = self.folders.len();
                log::warn!(event = "watch", folder:%, watched, cause:% = error;
                    "files that come into this folder by other means than an upload will not be noticed");
            }
            Err(_) => {}
        }
        false
    }

    /// A folder was moved away: what is below it is no longer where it was.
    fn forget(&mut self, gone: &RemoteFolder) {
        let is_below = |folder: &RemoteFolder| {
            let rest = folder.as_bytes().strip_prefix(gone.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let watches: Vec<i32> = self.folders.iter().filter(|(_, it)| is_below(it)).map(|(watch, _)| *watch).collect();
        for watch in watches {
            self.folders.remove(&watch);
            // It may be gone already.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Whether there is room for one more file to be waited for.
    fn expect(&mut self, path: RemotePath) -> bool {
        let has_room = self.pending.len() < MOST_PENDING;
        if has_room {
            self.pending.insert(path, Pending::fresh());
        }
        has_room
    }

    fn let_arrive(&mut self, store: &Store) {
        let now = Instant::now();
        let paths: Vec<RemotePath> =
            self.pending.iter().filter(|(_, pending)| pending.due <= now).map(|(path, _)| path.clone()).collect();
        for path in paths {
            match store.let_arrive(&path) {
                Ok(Rested::Arrived | Rested::NoArrival) => drop(self.pending.remove(&path)),
                Ok(Rested::NotYet) => drop(self.pending.insert(path, Pending::fresh())),
                Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::NotAFile) => {
                    self.pending.remove(&path);
                }
                Err(error) => self.put_off(path, &error),
            }
        }
    }

    /// A file could not be looked at, which may be different later: files are closed, queues become shorter.
    fn put_off(&mut self, path: RemotePath, error: &Error) {
        let before = self.pending.remove(&path).map_or(Duration::ZERO, |pending| pending.rest);
        // It is said once.
        let level = if before.is_zero() { log::Level::Warn } else { log::Level::Debug };
        // Those that never can be must leave room for others.
        if self.pending.len() >= MOST_PENDING / 2 {
            log::log!(level, event = "watch", path:%, cause:% = error; "a file that came in is not announced");
            return;
        }
        log::log!(level, event = "watch", path:%, cause:% = error; "a file that came in is not announced yet");
        self.pending.insert(path, Pending::after_failure(before));
    }
}

impl Pending {
    /// It changed just now.
    fn fresh() -> Self {
        Self::due_in(REST, Duration::ZERO)
    }

    /// It could not be looked at, for the first time or after it was left alone for so long.
    fn after_failure(rest: Duration) -> Self {
        let rest = rest.saturating_mul(2).clamp(AFTER_FAILURE, LONGEST);
        Self::due_in(rest, rest)
    }

    fn due_in(wait: Duration, rest: Duration) -> Self {
        let now = Instant::now();
        Self { due: now.checked_add(wait).unwrap_or(now), rest }
    }
}

/// What became of a file that was waited for.
enum Rested {
    Arrived,
    NoArrival,
    NotYet,
}

impl Store {
    /// Lets a file arrive that came by other means than an upload, if it is at rest.
    fn let_arrive(&self, path: &RemotePath) -> Result<Rested> {
        let Some(journal) = self.journal() else { return Ok(Rested::NoArrival) };
        let folder = self.root.open_folder(&path.parent())?;
        let Some(stat) = self.root.stat_in(folder.as_fd(), path.name())? else { return Ok(Rested::NoArrival) };
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(Rested::NoArrival);
        }
        // An upload that got its name arrives by itself. It is at it first, and in the journal then.
        if self.underway.has(stat.st_ino) || !is_at_rest(&stat) {
            return Ok(Rested::NotYet);
        }
        if is_held(journal, path, &stat) {
            return Ok(Rested::NoArrival);
        }
        let open = self.root.open_file(path)?;
        let digest = match self.digest(&open, &mut || Ok(())) {
            Err(error) if error.code() == ErrorCode::Changed => return Ok(Rested::NotYet),
            digest => digest?,
        };
        // That may have taken minutes, in which it can have gone, or have arrived by way of a sender that found it there.
        let _alone = self.arriving();
        let folder = self.root.open_folder(&path.parent())?;
        let Some(stat) = self.root.stat_in(folder.as_fd(), path.name())? else { return Ok(Rested::NoArrival) };
        if FileState::of(&stat).version != open.state.version || self.underway.has(stat.st_ino) {
            return Ok(Rested::NotYet);
        }
        if is_held(journal, path, &stat) {
            return Ok(Rested::NoArrival);
        }
        let (inode, path, FileState { size, modified, .. }) = (stat.st_ino, path.clone(), open.state);
        let time = now();
        let new = NewArrival { path, size, digest, modified, time, inode, live: None, publisher: None };
        self.announce(vec![new])?;
        Ok(Rested::Arrived)
    }
}

/// Whether a file is one that a walk looks for.
fn is_sought(store: &Store, path: &RemotePath, stat: &Stat, sought: &Sought) -> bool {
    let Some(journal) = store.journal() else { return false };
    let is_new = match sought {
        Sought::All => true,
        Sought::Lost => journal.may_have_lost(changed_at(stat)),
        Sought::Since(since) => changed_at(stat) >= *since,
    };
    is_new && !is_held(journal, path, stat)
}

/// Whether the arrival of a file is known.
fn is_held(journal: &Journal, path: &RemotePath, stat: &Stat) -> bool {
    let FileState { size, modified, .. } = FileState::of(stat);
    journal.holds(path, stat.st_ino, size, modified).is_some()
}

/// Whether a name that came is a further one of a file that was there already: nobody will close that one.
fn is_another_link(store: &Store, path: &RemotePath) -> bool {
    let folder = store.root.open_folder(&path.parent());
    let stat = folder.and_then(|folder| store.root.stat_in(folder.as_fd(), path.name()));
    matches!(stat, Ok(Some(stat)) if stat.st_nlink > 1)
}

/// Whether a file has not changed for a while. One whose time lies ahead is taken as it is.
fn is_at_rest(stat: &Stat) -> bool {
    SystemTime::now().duration_since(changed_at(stat)).map_or(true, |age| age >= REST)
}

/// The change time of a file; one before 1970 is taken for that.
pub(super) fn changed_at(stat: &Stat) -> SystemTime {
    let (seconds, rest) = (u64::try_from(stat.st_ctime).unwrap_or(0), u32::try_from(stat.st_ctime_nsec).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, rest)).unwrap_or(SystemTime::UNIX_EPOCH)
}
