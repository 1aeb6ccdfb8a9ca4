//! Files that go because a rule of the operator says so: the one place that removes hosted files.
//!
//! Owns, for each [`Rule`], when its folder is looked at next, and wakes when something arrives there. What there is, how old
//! and how large, is read from the disk each time, so nothing here can be wrong about it for long. Looks follow each other
//! at a distance ([`Looker::rest`]): a large folder costs a tenth of a processor at most, and a file goes a little late.
//!
//! A file is removed under the name and in the folder that it was found by, beneath the root and without following a
//! link, and only if it is still the same version of the same file. What this server puts in its place waits meanwhile
//! (`Store::replacing`); what another program puts there between the look and the removal, which follow each other at once,
//! goes. Folders stay, also empty ones: somebody may be about to put a file into them.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Follower, Journal, Limit, Rule, Store};
use crate::error::Result;
use crate::root::FileState;
use crate::wire::{ErrorCode, RemoteFolder, RemotePath, Version};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat, unlinkat};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often a folder is looked at where nothing is due: what came in unnoticed is found then.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// After what time it is tried again, and said again, where something could not be removed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// A folder rests this many times as long as it took to look at it.
const REST_FACTOR: u32 = 10;
/// The shortest rest, and for an age the longest that its length alone calls for.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// A file may go late by this part of its age.
const LATE: u32 = 100;
/// Most files that are removed after one look; the rest after the next.
const MOST: usize = 10_000;

/// Sees to the rules of a host directory.
#[derive(Debug)]
pub struct Expiry {
    lookers: Vec<Looker>,
    times: Times,
}

/// When arrivals of the journal were, so that each is read once.
type Times = HashMap<u64, i64>;

/// A rule, and when its folder is looked at.
#[derive(Debug)]
struct Looker {
    rule: Rule,
    follower: Follower,
    due: Instant,
    /// Not before.
    rested: Instant,
    /// When it was said that something could not be removed.
    complained: Option<Instant>,
}

/// A file that a rule is about.
#[derive(Debug)]
struct Found {
    path: RemotePath,
    version: Version,
    size: u64,
    /// Nanoseconds since the epoch.
    arrived: i64,
}

/// What a look left to be done.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// Something is due after this time.
    In(Duration),
    /// Nothing that is known.
    Quiet,
    /// Something was due, and is still there; nothing else can go before it.
    Stuck,
}

impl Expiry {
    /// Begins, with a look at each folder; `None` if there are no rules.
    ///
    /// # Errors
    /// As for [`Store::follow`].
    pub fn open(store: &Store) -> Result<Option<Self>> {
        let mut lookers = Vec::new();
        for rule in &store.config.rules {
            let (follower, _) = store.follow(vec![rule.folder.clone()], None)?;
            let now = Instant::now();
            lookers.push(Looker { rule: rule.clone(), follower, due: now, rested: now, complained: None });
        }
        Ok((!lookers.is_empty()).then(|| Self { lookers, times: Times::new() }))
    }

    /// Waits until something is due, or arrives, and removes what is to go.
    pub fn run_once(&mut self, store: &Store) {
        self.wait();
        let Some(journal) = store.journal() else { return };
        for looker in self.lookers.iter_mut().filter(|looker| looker.due <= Instant::now()) {
            looker.look(store, journal, &mut self.times);
        }
        let oldest = journal.oldest();
        self.times.retain(|number, _| *number >= oldest);
    }

    fn wait(&mut self) {
        let due = self.lookers.iter().map(|looker| looker.due).min();
        let patience = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        let patience = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        let mut descriptors: Vec<_> = self
            .lookers
            .iter()
            .map(|looker| PollFd::from_borrowed_fd(looker.follower.descriptor(), PollFlags::IN))
            .collect();
        // Whatever woke it, each looks for itself.
        let _ = poll(&mut descriptors, Some(&patience));
        let woken: Vec<bool> = descriptors.iter().map(|it| !it.revents().is_empty()).collect();
        for (looker, _) in self.lookers.iter_mut().zip(woken).filter(|(_, woken)| *woken) {
            looker.wake();
        }
    }
}

impl Looker {
    /// Something came into the folder.
    fn wake(&mut self) {
        self.follower.looks();
        let due = match self.rule.limit {
            Limit::Age(age) => after(Instant::now(), age.min(LOOK)),
            Limit::Size(_) => self.rested,
        };
        self.due = self.due.min(due);
    }

    fn look(&mut self, store: &Store, journal: &Journal, times: &mut Times) {
        let began = Instant::now();
        let is_said = self.complained.is_some_and(|complained| complained.elapsed() < AFTER_FAILURE);
        let complaint = if is_said { log::Level::Debug } else { log::Level::Warn };
        let mut look = Look { store, journal, now: now(), complaint, failed: 0, has_left_out: Cell::new(false) };
        let next = match self.rule.limit {
            Limit::Age(age) => look.expire(&self.rule, age, times),
            Limit::Size(quota) => look.keep_within(&self.rule, quota, times),
        };
        let next = match next {
            Next::Quiet | Next::In(_) if look.has_left_out.get() => Next::In(Duration::ZERO),
            next => next,
        };
        let longest = if look.failed > 0 { AFTER_FAILURE } else { LOOK };
        if look.failed > 0 && !is_said {
            self.complained = Some(began);
        }
        let (patience, rest) = match next {
            Next::In(patience) => (patience.min(longest), self.rest(began.elapsed())),
            Next::Quiet => (longest, self.rest(began.elapsed())),
            Next::Stuck => (AFTER_FAILURE, AFTER_FAILURE),
        };
        let now = Instant::now();
        self.rested = after(now, rest);
        self.due = after(now, patience).max(self.rested);
    }

    /// How long the folder is left alone after a look that took `cost`.
    fn rest(&self, cost: Duration) -> Duration {
        let (shortest, longest) = REST;
        let late = match self.rule.limit {
            Limit::Age(age) => age.checked_div(LATE).unwrap_or_default(),
            Limit::Size(_) => Duration::ZERO,
        };
        late.clamp(shortest, longest).max(cost.saturating_mul(REST_FACTOR))
    }
}

/// A look at a folder.
struct Look<'a> {
    store: &'a Store,
    journal: &'a Journal,
    /// Nanoseconds since the epoch.
    now: i64,
    /// How it is said that something cannot be removed.
    complaint: log::Level,
    /// Files that could not be removed.
    failed: usize,
    /// A file was on its way into the journal.
    has_left_out: Cell<bool>,
}

impl Look<'_> {
    /// Removes what is older than `age`.
    fn expire(&mut self, rule: &Rule, age: Duration, times: &mut Times) -> Next {
        let limit = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let (mut expired, mut is_more, mut oldest) = (Vec::new(), false, None);
        self.walk(&rule.folder, times, &mut |found| {
            if self.now.saturating_sub(found.arrived) < limit {
                oldest = Some(oldest.map_or(found.arrived, |oldest: i64| oldest.min(found.arrived)));
            } else if expired.len() < MOST {
                expired.push(found);
            } else {
                is_more = true;
            }
        });
        // All of them are tried: one that cannot be removed keeps no other.
        for found in &expired {
            // An error is logged and counted. Where another state of the file is there now, it must be found anew.
            is_more |= matches!(self.remove_and_say(rule, found), Ok(false));
        }
        let due = oldest.map(|oldest| oldest.saturating_add(limit).saturating_sub(self.now));
        match due.map(|due| Duration::from_nanos(u64::try_from(due).unwrap_or(0))) {
            _ if is_more => Next::In(Duration::ZERO),
            Some(due) => Next::In(due),
            None => Next::Quiet,
        }
    }

    /// Removes those that arrived longest ago, until the rest has `quota` bytes at most.
    fn keep_within(&mut self, rule: &Rule, quota: u64, times: &mut Times) -> Next {
        let mut total: u64 = 0;
        self.walk(&rule.folder, times, &mut |found| total = total.saturating_add(found.size));
        if total <= quota {
            return Next::Quiet;
        }
        let mut oldest = Oldest { bytes: 0, files: BTreeMap::new() };
        let excess = total.saturating_sub(quota);
        total = 0;
        self.walk(&rule.folder, times, &mut |found| {
            total = total.saturating_add(found.size);
            oldest.add(found, excess);
        });
        for found in oldest.files.values() {
            if total <= quota {
                return Next::Quiet;
            }
            match self.remove_and_say(rule, found) {
                Ok(true) => total = total.saturating_sub(found.size),
                // Another file is there now, or none: what is to go must be found anew.
                Ok(false) => return Next::In(Duration::ZERO),
                // No newer one goes before it.
                Err(()) => return Next::Stuck,
            }
        }
        if total <= quota { Next::Quiet } else { Next::In(Duration::ZERO) }
    }

    /// Finds the regular files below a folder that can be served, but for those that a connection is at.
    fn walk(&self, folder: &RemoteFolder, times: &mut Times, on_file: &mut dyn FnMut(Found)) {
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(directory) = self.store.root.open_folder(&folder) else { continue };
            let Ok(entries) = Dir::read_from(&directory) else { continue };
            for entry in entries.flatten() {
                // The server's own folder, and names that no remote path can hold, are none of these.
                let Ok(path) = folder.join(entry.file_name().to_bytes()) else { continue };
                let Ok(stat) = statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => folders.push(RemoteFolder::from(path)),
                    // Whoever is at it has woken this thread already, and will not again.
                    FileType::RegularFile if self.store.underway.has(stat.st_ino) => self.has_left_out.set(true),
                    FileType::RegularFile => on_file(self.found(path, &stat, times)),
                    _ => {}
                }
            }
        }
    }

    fn found(&self, path: RemotePath, stat: &Stat, times: &mut Times) -> Found {
        let state = FileState::of(stat);
        let number = self.journal.holds(&path, stat.st_ino, state.size, state.modified);
        let arrived = number.and_then(|number| self.time_of(number, times)).unwrap_or(state.changed);
        Found { path, version: state.version, size: state.size, arrived }
    }

    fn time_of(&self, number: u64, times: &mut Times) -> Option<i64> {
        if let Some(time) = times.get(&number) {
            return Some(*time);
        }
        let time = self.journal.find_number(number).ok().flatten()?.time;
        times.insert(number, time);
        Some(time)
    }

    /// Removes a file and logs it; the error has been logged.
    fn remove_and_say(&mut self, rule: &Rule, found: &Found) -> std::result::Result<bool, ()> {
        let (path, size) = (&found.path, found.size);
        let event = match rule.limit {
            Limit::Age(_) => "expired",
            Limit::Size(_) => "quota",
        };
        match self.remove(rule, found) {
            Ok(true) => {
                let age = self.now.saturating_sub(found.arrived).max(0).checked_div(1_000_000_000);
                log::info!(event, path:%, size, age; "");
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                self.failed = self.failed.saturating_add(1);
                log::log!(self.complaint, event, path:%, size, cause:% = error; "a file that is to go cannot be removed");
                Err(())
            }
        }
    }

    /// Removes a file, if it is what was found; `false` if it is not, or is gone.
    fn remove(&self, rule: &Rule, found: &Found) -> Result<bool> {
        let root = &self.store.root;
        let folder = match root.open_folder(&found.path.parent()) {
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(false),
            folder => folder?,
        };
        let _replacing = self.store.replacing();
        let is_it = |stat: &Stat| {
            FileType::from_raw_mode(stat.st_mode).is_file() && FileState::of(stat).version == found.version
        };
        if !root.stat_in(folder.as_fd(), found.path.name())?.is_some_and(|stat| is_it(&stat)) {
            return Ok(false);
        }
        // Before the removal, so that nobody finds neither the file nor the reason.
        if let Err(error) = self.journal.note_removed(&found.path, rule.reason()) {
            log::warn!(event = "journal", path:% = found.path, cause:% = error; "why this file goes will not be known");
        }
        unlinkat(&folder, found.path.name(), AtFlags::empty())
            .map_err(|error| crate::error::Error::local("remove", &found.path, error))?;
        Ok(true)
    }
}

/// The files that arrived longest ago: as few as have so many bytes together.
struct Oldest {
    bytes: u64,
    files: BTreeMap<(i64, RemotePath), Found>,
}

impl Oldest {
    fn add(&mut self, found: Found, needed: u64) {
        self.bytes = self.bytes.saturating_add(found.size);
        self.files.insert((found.arrived, found.path.clone()), found);
        while let Some(newest) = self.files.last_entry() {
            let without = self.bytes.saturating_sub(newest.get().size);
            if without < needed && self.files.len() <= MOST {
                return;
            }
            self.bytes = without;
            self.files.pop_last();
        }
    }
}

impl Store {
    /// Held while a file is replaced under its name, and while one is looked at and removed.
    pub(super) fn replacing(&self) -> MutexGuard<'_, ()> {
        self.replacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(instant: Instant, time: Duration) -> Instant {
    instant.checked_add(time).unwrap_or(instant)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Config, Keep};
    use std::fs;

    #[test]
    fn only_what_was_found_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("chat");
        let names = ["replaced", "changed", "gone", "folder", "link", "same"];
        fs::create_dir(&folder).unwrap();
        names.iter().for_each(|name| fs::write(folder.join(name), "x").unwrap());
        let rule = Rule { folder: RemoteFolder::parse(b"chat").unwrap(), limit: Limit::Size(0) };
        let store = Store::open(Config {
            directory: dir.path().to_owned(),
            read_only: false,
            overwrite: false,
            max_file_size: None,
            min_free_space: None,
            keep: Keep::default(),
            rules: vec![rule.clone()],
        });
        let store = store.unwrap();
        let (journal, complaint) = (store.journal().unwrap(), log::Level::Debug);
        let look = Look { store: &store, journal, now: now(), complaint, failed: 0, has_left_out: Cell::new(false) };
        let mut found = Vec::new();
        look.walk(&rule.folder, &mut Times::new(), &mut |file| found.push(file));
        assert_eq!(found.len(), names.len());
        fs::write(dir.path().join("new"), "x").unwrap();
        fs::rename(dir.path().join("new"), folder.join("replaced")).unwrap();
        fs::write(folder.join("changed"), "xx").unwrap();
        ["gone", "folder", "link"].iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
        fs::create_dir(folder.join("folder")).unwrap();
        std::os::unix::fs::symlink("same", folder.join("link")).unwrap();
        for file in &found {
            let is_same = file.path.as_bytes() == b"chat/same";
            assert_eq!(look.remove(&rule, file).unwrap(), is_same, "{}", file.path);
            assert_eq!(journal.why_removed(&file.path).is_some(), is_same, "{}", file.path);
        }
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["changed", "folder", "link", "replaced"]);
    }

    #[test]
    fn the_oldest_are_as_few_as_are_needed_whatever_their_order() {
        let found = |arrived: i64, size| Found {
            path: RemotePath::parse(arrived.to_string().as_bytes()).unwrap(),
            version: Version::from([0; 16]),
            size,
            arrived,
        };
        let sizes = [(1, 10), (2, 0), (3, 25), (4, 5), (5, 100)];
        for (needed, expected) in [(1, 1), (10, 1), (11, 3), (35, 3), (36, 4), (41, 5), (140, 5), (999, 5)] {
            for turn in 0..sizes.len() {
                let mut oldest = Oldest { bytes: 0, files: BTreeMap::new() };
                let order = sizes.iter().cycle().skip(turn).take(sizes.len());
                order.for_each(|(arrived, size)| oldest.add(found(*arrived, *size), needed));
                let kept: Vec<i64> = oldest.files.into_values().map(|found| found.arrived).collect();
                assert_eq!(kept, (1..=expected).collect::<Vec<i64>>(), "{needed} from {turn} on");
            }
        }
    }
}
