//! The file of a log that is being written: opened, recognised as still the one that its path names, appended to.
//!
//! Other processes may append to the same file, and may move it away (logrotate, or a second client in the same
//! directory). So the file is opened for appending, its length is asked for rather than remembered, and a shared lock
//! ([flock(2)]) says that somebody still writes to it, so that nobody compresses and removes it meanwhile.
//!
//! [flock(2)]: https://man7.org/linux/man-pages/man2/flock.2.html

use super::append::{Appended, End, Medium, append};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Permissions of every file of the logs: who reads them is the administrator's group at most.
pub(super) const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// How often a file may be moved away between opening and checking it before that is an error.
const OPEN_ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(super) struct Current {
    path: PathBuf,
    file: File,
    end: End,
    /// When the first line was written, as far as that can be known.
    begun: Option<Timestamp>,
}

impl Current {
    /// Opens `path`, and makes it, and its directory, when missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        for _ in 0..OPEN_ATTEMPTS {
            let file = open_or_create(path)?;
            // Not every file system has locks. Where it is refused because the file is being compressed, the file no
            // longer has this name, which is what is looked at next.
            let _ = flock(&file, FlockOperation::NonBlockingLockShared);
            if is_named(path, &file) {
                return Ok(Self { path: path.to_owned(), end: end_of(&file), begun: begun(&file), file });
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is moved away again and again"))
    }

    /// Whether the path still names this file.
    pub(super) fn is_named(&self) -> bool {
        is_named(&self.path, &self.file)
    }

    /// Whether what is written to this file can be found again.
    pub(super) fn is_reachable(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Bytes in the file, or `None` for what is not a regular file (a device, a pipe): those are not rotated.
    pub(super) fn length(&self) -> io::Result<Option<u64>> {
        let metadata = self.file.metadata()?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    /// Time since the first line. Zero when the clock was set back since.
    pub(super) fn age(&self, now: Timestamp) -> std::time::Duration {
        let age = self.begun.map(|begun| now.duration_since(begun));
        age.and_then(|age| age.try_into().ok()).unwrap_or_default()
    }

    /// Appends whole lines; see [`append()`].
    pub(super) fn append(&mut self, lines: &str, now: Timestamp) -> Appended {
        if self.file.length().is_ok_and(|length| length == 0) {
            self.begun = Some(now);
        }
        append(&mut self.file, &mut self.end, lines)
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    // O_NONBLOCK: a pipe that nobody reads must not hold the logs up.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(FILE_MODE).custom_flags(flags);
    match (options.open(path), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
            options.open(path)
        }
        (result, _) => result,
    }
}

fn is_named(path: &Path, file: &File) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(opened)) => identity(named) == identity(opened),
        _ => false,
    }
}

/// A process that was killed while it wrote leaves a line without its end.
fn end_of(file: &File) -> End {
    let mut last = [b'\n'];
    if let Ok(length @ 1..) = file.length() {
        // What cannot be read is taken as clean: a device has no last line.
        let _ = file.read_at(&mut last, length - 1);
    }
    if last == [b'\n'] { End::Clean } else { End::Torn }
}

/// The time of the first line; where there is none to be read, the time of the last change.
fn begun(file: &File) -> Option<Timestamp> {
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() > 0)?;
    let mut head = [0; 64];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    first_time(&head[..length]).or_else(|| Timestamp::try_from(metadata.modified().ok()?).ok())
}

fn first_time(head: &[u8]) -> Option<Timestamp> {
    let time = head.strip_prefix(b"time=")?.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(time).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_missing_directory_is_made_and_nothing_is_open_to_the_world() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/server.log");
        Current::open(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path) & !FILE_MODE, 0);
        assert_eq!(mode(path.parent().unwrap()) & !DIRECTORY_MODE, 0);
        assert_eq!(mode(&path) & 0o600, 0o600);
    }

    #[test]
    fn the_age_is_counted_from_the_first_line_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        let (begin, later) = (at("2026-11-20T10:00:00Z"), at("2026-11-20T12:00:00Z"));
        let mut current = Current::open(&path).unwrap();
        assert_eq!(current.age(later), Duration::ZERO);
        current.append("time=2026-11-20T10:00:00.000Z level=info\n", begin);
        assert_eq!(current.age(later), Duration::from_secs(7200));
        assert_eq!(Current::open(&path).unwrap().age(later), Duration::from_secs(7200));
        assert_eq!(current.age(at("2026-11-19T00:00:00Z")), Duration::ZERO);
    }

    #[test]
    fn a_line_torn_by_a_kill_is_ended_before_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        std::fs::write(&path, "whole=1\ntor").unwrap();
        Current::open(&path).unwrap().append("next=1\n", Timestamp::UNIX_EPOCH);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole=1\ntor\nnext=1\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
        let mut current = Current::open(&path).unwrap();
        assert_eq!(current.length().unwrap(), None);
        let line = format!("{}\n", "x".repeat(1 << 20));
        assert!(current.append(&line, Timestamp::UNIX_EPOCH).error.is_some());
    }
}
