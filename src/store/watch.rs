//! Files that come into the host directory by other means than an upload: they arrive, too, once they are complete.
//!
//! Owns an inotify descriptor with a watch on every folder (`inotify(7)`), and the files that changed and must come to rest.
//! A file is complete when its writer has closed it, or it was moved in, and it has not changed for [`REST`] since. What
//! came while the server was down is found by the walk that sets the watches up.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::topics::now;
use super::{NewArrival, Store};
use crate::error::{Error, Result};
use crate::root::nanoseconds;
use crate::wire::{ErrorCode, RemoteFolder, RemotePath};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

/// How long a file must not have changed before it arrives.
const REST: Duration = Duration::from_secs(1);
/// How often files that must come to rest are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long is waited where nothing is to be looked at.
const QUIET: Duration = Duration::from_secs(60);
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
    pending: HashMap<RemotePath, Instant>,
    /// Set when something may have been missed: files that changed since then are looked for.
    missed_since: Option<SystemTime>,
    is_full: bool,
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
        let (folders, pending) = (HashMap::new(), HashMap::new());
        let mut watch = Self { inotify, folders, pending, missed_since: None, is_full: false };
        watch.walk(store, RemoteFolder::ROOT, &|stat| is_lost(store, stat));
        Ok(watch)
    }

    /// How many folders are watched.
    #[must_use]
    pub fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Waits for something to happen, and lets arrive what has come to rest.
    pub fn run_once(&mut self, store: &Store) {
        let patience = if self.pending.is_empty() { QUIET } else { LOOK };
        let patience = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        let mut descriptor = [PollFd::new(&self.inotify, PollFlags::IN)];
        // Whatever woke it, it looks for itself.
        let _ = poll(&mut descriptor, Some(&patience));
        for happened in self.events() {
            self.note(store, &happened);
        }
        if let Some(since) = self.missed_since.take() {
            log::warn!(event = "watch", cause = "more happened than the kernel keeps"; "looking at all files");
            let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            self.walk(store, RemoteFolder::ROOT, &|stat| u64::try_from(stat.st_ctime).unwrap_or(0) >= since);
        }
        self.let_arrive(store);
    }

    fn events(&mut self) -> Vec<Happened> {
        let began = SystemTime::now();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut found = Vec::new();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // What was lost happened while the queue was full: not longer ago than the last look, which is less.
                self.missed_since = began.checked_sub(QUIET.saturating_mul(2));
            }
            let name = event.file_name().map(|name| name.to_bytes().to_vec()).unwrap_or_default();
            found.push(Happened { watch: event.wd(), flags: event.events(), name });
        }
        found
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
            self.walk(store, RemoteFolder::from(path), &|_| true);
        } else if is_folder && happened.flags.contains(ReadFlags::MOVED_FROM) {
            self.forget(&RemoteFolder::from(path));
        } else if happened.flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO)
            || (happened.flags.contains(ReadFlags::CREATE) && is_another_link(store, &path))
        {
            self.expect(path);
        }
    }

    /// Sets watches on a folder and all below it. The files in them for which `is_new` holds are looked at, too.
    fn walk(&mut self, store: &Store, folder: RemoteFolder, is_new: &dyn Fn(&Stat) -> bool) {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            let Ok(directory) = store.root.open_folder(&folder) else { continue };
            // Watched first, so that nothing comes between that and the reading.
            self.add(&directory, &folder);
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
                    FileType::RegularFile if stat().is_ok_and(|stat| is_new(&stat)) => self.expect(path),
                    _ => {}
                }
            }
        }
    }

    fn add(&mut self, directory: &OwnedFd, folder: &RemoteFolder) {
        // The descriptor was opened beneath the root; a path could have been swapped for a link since.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        match inotify::add_watch(self.inotify.as_fd(), path, EVENTS.difference(WatchFlags::DONT_FOLLOW)) {
            Ok(watch) => drop(self.folders.insert(watch, folder.clone())),
            Err(error) if !self.is_full => {
                self.is_full = matches!(error, Errno::NOSPC | Errno::NOMEM);
                let watched = self.folders.len();
                log::warn!(event = "watch", folder:%, watched, cause:% = error;
                    "files that come into this folder by other means than an upload will not be noticed");
            }
            Err(_) => {}
        }
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

    fn expect(&mut self, path: RemotePath) {
        if self.pending.len() < MOST_PENDING {
            self.pending.insert(path, Instant::now());
        } else {
            self.missed_since = SystemTime::now().checked_sub(QUIET);
        }
    }

    fn let_arrive(&mut self, store: &Store) {
        let due = |since: &Instant| since.elapsed() >= REST;
        let paths: Vec<RemotePath> =
            self.pending.iter().filter(|(_, since)| due(since)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            match store.let_arrive(&path) {
                Ok(Rested::Arrived | Rested::NoArrival) => drop(self.pending.remove(&path)),
                Ok(Rested::NotYet) => drop(self.pending.insert(path, Instant::now())),
                Err(error) => {
                    self.pending.remove(&path);
                    if error.code() != ErrorCode::NotFound {
                        log::warn!(event = "watch", path:%, cause:% = error; "a file that came in is not announced");
                    }
                }
            }
        }
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
        let (size, modified) =
            (u64::try_from(stat.st_size).unwrap_or(0), nanoseconds(stat.st_mtime, stat.st_mtime_nsec));
        // An upload that got its name arrives by itself. It is at it first, and in the journal then.
        if self.underway.has(stat.st_ino) || !is_at_rest(&stat) {
            return Ok(Rested::NotYet);
        }
        if journal.holds(path, stat.st_ino, size, modified).is_some() {
            return Ok(Rested::NoArrival);
        }
        let open = self.root.open_file(path)?;
        let digest = match self.digest(&open, &mut || Ok(())) {
            Err(error) if error.code() == ErrorCode::Changed => return Ok(Rested::NotYet),
            digest => digest?,
        };
        if (open.state.size, open.state.modified) != (size, modified) {
            return Ok(Rested::NotYet);
        }
        let (inode, path) = (stat.st_ino, path.clone());
        let time = now();
        let new = NewArrival { path, size, digest, modified, time, inode, live: None, publisher: None };
        self.announce(vec![new])?;
        Ok(Rested::Arrived)
    }
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

/// Whether a file may have come while nobody looked.
fn is_lost(store: &Store, stat: &Stat) -> bool {
    store.journal().is_some_and(|journal| journal.may_have_lost(changed_at(stat)))
}

/// The change time of a file; one before 1970 is taken for that.
pub(super) fn changed_at(stat: &Stat) -> SystemTime {
    let (seconds, rest) = (u64::try_from(stat.st_ctime).unwrap_or(0), u32::try_from(stat.st_ctime_nsec).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, rest)).unwrap_or(SystemTime::UNIX_EPOCH)
}
