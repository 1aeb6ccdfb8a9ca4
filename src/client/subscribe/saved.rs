//! What a subscriber remembers across runs, in a small file of the download folder's state.
//!
//! Owns that file: one for each server and set of topics, locked by whoever follows them. It is written under another name,
//! flushed and renamed, so it is there whole or not at all, and never newer than the files that it tells of. Knows nothing of arrivals.

use super::cursor::{parse_ranges, ranges};
use crate::client::dial::Target;
use crate::error::{Error, Result};
use crate::wire::{JournalId, RemoteFolder, SubscriberId};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The first line of the file.
const HEADING: &str = "hostdir subscription 1";
/// A larger file than this is none of ours.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// How long the lock of a client that was killed may be left, on a busy machine.
const LEFT_LOCKED: Duration = Duration::from_secs(2);

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    /// Who follows, to the server.
    pub(super) subscriber: SubscriberId,
    /// The journal, the last arrival up to which everything is here, and what is here above it.
    pub(super) position: Option<(JournalId, u64, BTreeSet<u64>)>,
}

/// The file, locked for as long as this value lives.
#[derive(Debug)]
pub(super) struct StateFile {
    folder: OwnedFd,
    name: String,
    _lock: File,
}

impl StateFile {
    /// Opens the state of who follows `topics` of a server, in the state folder of the downloads.
    ///
    /// # Errors
    /// [`Error::Local`], also if another client follows the same topics into the same folder.
    pub(super) fn open(folder: BorrowedFd<'_>, target: &Target, topics: &[RemoteFolder]) -> Result<Self> {
        let folder = folder.try_clone_to_owned().map_err(|error| failed("open", error))?;
        let name = name(target, topics);
        let lock = openat(&folder, format!("{name}.lock"), OFlags::RDWR | OFlags::CREATE | FLAGS, MODE)
            .map_err(|error| failed("open", error))?;
        match lock_soon(&lock) {
            Err(Errno::WOULDBLOCK) => {
                return Err(failed(
                    "lock",
                    std::io::Error::other("another client follows these topics into this folder"),
                ));
            }
            result => result.map_err(|error| failed("lock", error))?,
        }
        Ok(Self { folder, name, _lock: lock.into() })
    }

    /// What was saved; `None` if nothing was.
    ///
    /// # Errors
    /// [`Error::Local`], also if it cannot be understood: then it must not be guessed where to go on.
    pub(super) fn load(&self) -> Result<Option<Saved>> {
        let file = match openat(&self.folder, &*self.name, OFlags::RDONLY | FLAGS, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            result => File::from(result.map_err(|error| failed("open", error))?),
        };
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| failed("read", error))?;
        let damaged =
            || failed("read", std::io::Error::other("it is damaged: begin anew with --from now or --from start"));
        parse(&text).map(Some).ok_or_else(damaged)
    }

    /// Saves, durably.
    ///
    /// # Errors
    /// [`Error::Local`]; what was saved before is then still there.
    pub(super) fn save(&self, saved: &Saved) -> Result<()> {
        let new = format!("{}.new", self.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | FLAGS;
        let mut file = File::from(openat(&self.folder, &*new, flags, MODE).map_err(|error| failed("write", error))?);
        let written = file.write_all(text(saved).as_bytes()).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| Ok(renameat(&self.folder, &*new, &self.folder, &*self.name)?));
        if let Err(error) = renamed {
            let _ = unlinkat(&self.folder, &*new, AtFlags::empty());
            return Err(failed("write", error));
        }
        rustix::fs::fsync(self.folder.as_fd()).map_err(|error| failed("flush", error))
    }
}

/// A client that was killed while it began a program for a file leaves its lock to that one, until it is a program.
fn lock_soon(lock: &OwnedFd) -> rustix::io::Result<()> {
    let began = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if began.elapsed() < LEFT_LOCKED => std::thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);
const MODE: Mode = Mode::from_raw_mode(0o600);

/// Two sets of topics, or two servers, have two names.
fn name(target: &Target, topics: &[RemoteFolder]) -> String {
    let mut topics: Vec<_> = topics.iter().map(RemoteFolder::as_bytes).collect();
    topics.sort_unstable();
    topics.dedup();
    let mut hasher = blake3::Hasher::new();
    for part in [target.to_string().as_bytes()].iter().chain(&topics) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let digest = hasher.finalize().to_hex();
    format!("topics-{}", digest.get(..32).unwrap_or_default())
}

fn text(saved: &Saved) -> String {
    let mut text = format!("{HEADING}\nsubscriber {}\n", saved.subscriber);
    if let Some((journal, after, done)) = &saved.position {
        text.push_str(&format!("journal {journal}\nafter {after}\ndone {}\n", ranges(done)));
    }
    text.push_str("end\n");
    text
}

fn parse(text: &str) -> Option<Saved> {
    let mut lines = text.strip_prefix(HEADING)?.strip_prefix('\n')?.strip_suffix("\nend\n")?.lines();
    let subscriber = SubscriberId(bytes(lines.next()?.strip_prefix("subscriber ")?)?);
    let Some(journal) = lines.next() else { return Some(Saved { subscriber, position: None }) };
    let journal = JournalId(bytes(journal.strip_prefix("journal ")?)?);
    let after = lines.next()?.strip_prefix("after ")?.parse().ok()?;
    let done = parse_ranges(lines.next()?.strip_prefix("done")?)?;
    lines.next().is_none().then_some(Saved { subscriber, position: Some((journal, after, done)) })
}

fn bytes(text: &str) -> Option<[u8; 16]> {
    let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
}

fn failed(operation: &'static str, error: impl Into<std::io::Error>) -> Error {
    Error::local(operation, "the saved position of the topics", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved { subscriber: SubscriberId([7; 16]), position: Some((JournalId([0xab; 16]), 12, [14, 15, 20].into())) }
    }

    fn open(dir: &tempfile::TempDir, topics: &[&str]) -> Result<StateFile> {
        let folder = File::open(dir.path()).unwrap();
        let topics: Vec<_> = topics.iter().map(|it| RemoteFolder::parse(it.as_bytes()).unwrap()).collect();
        StateFile::open(folder.as_fd(), &Target { host: "h".into(), port: 9 }, &topics)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir, &["a"]).unwrap();
        assert_eq!(file.load().unwrap(), None);
        for saved in [saved(), Saved { position: None, ..saved() }] {
            file.save(&saved).unwrap();
            assert_eq!(file.load().unwrap(), Some(saved));
        }
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir, &["a"]).unwrap();
        file.save(&saved()).unwrap();
        std::fs::write(dir.path().join(format!("{}.new", file.name)), "half").unwrap();
        assert_eq!(file.load().unwrap(), Some(saved()));
        file.save(&saved()).unwrap();
        assert!(!dir.path().join(format!("{}.new", file.name)).exists());
    }

    #[test]
    fn a_part_of_it_is_never_taken_for_the_whole() {
        let whole = text(&saved());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(&whole), Some(saved()));
    }

    #[test]
    fn a_lock_that_is_let_go_of_soon_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(&dir, &["a"]).unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(first);
        });
        assert!(open(&dir, &["a"]).is_ok());
    }

    #[test]
    fn other_topics_are_another_file_and_the_same_ones_are_locked() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(&dir, &["b", "a"]).unwrap();
        let error = open(&dir, &["a", "b", "a"]).unwrap_err();
        assert!(error.to_string().contains("another client follows these topics"), "{error}");
        let second = open(&dir, &["a"]).unwrap();
        first.save(&saved()).unwrap();
        assert_eq!(second.load().unwrap(), None);
        drop(first);
        assert_eq!(open(&dir, &["a", "b"]).unwrap().load().unwrap(), Some(saved()));
    }
}
