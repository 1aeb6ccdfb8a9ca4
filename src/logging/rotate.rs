//! One log: lines go in, and a file that has grown too large or too old is put away under a name with its time.
//!
//! Owns when a log is rotated and that no line is lost by it. Putting away is one rename; compressing and deleting
//! what was put away is [`super::archive`]'s.

use super::current::Current;
use super::error::Error;
use super::names::{LogName, compressed};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::time::Duration;

/// When a log's file is put away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes; a line that is larger by itself is still written whole.
    pub(super) size: u64,
    /// Counted from the first line of the file.
    pub(super) age: Duration,
}

/// What came of [`Log::write`].
#[derive(Debug)]
pub(super) struct Written {
    /// Bytes of the lines that were written whole. The others are lost.
    pub(super) whole: usize,
    /// The last thing that went wrong. Lines may have been written all the same.
    pub(super) fault: Option<Error>,
    /// Whether a file was put away, or let go of, so that the archive has work.
    pub(super) released: bool,
}

/// One log and the file it is written to.
#[derive(Debug)]
pub(super) struct Log {
    name: LogName,
    limits: Limits,
    current: Option<Current>,
}

impl Log {
    pub(super) fn open(name: LogName, limits: Limits) -> Result<Self, Error> {
        let path = name.current();
        let current = Current::open(&path).map_err(|source| Error::new("open log", path, source))?;
        Ok(Self { name, limits, current: Some(current) })
    }

    /// Appends `lines`, each with its line end, and puts files away in between where the limits say so.
    pub(super) fn write(&mut self, lines: &str, now: Timestamp) -> Written {
        let mut report = Written { whole: 0, fault: None, released: false };
        while report.whole < lines.len() {
            let rest = &lines[report.whole..];
            let room = self.room_for(rest, now, &mut report);
            let path = self.name.current();
            let Some(current) = self.current.as_mut() else { break };
            let appended = current.append(&rest[..room], now);
            report.whole += appended.whole;
            if let Some(source) = appended.error {
                report.fault = Some(Error::new("write log", path, source));
                break;
            }
            if appended.whole == 0 {
                // Text without a line end: it is there, but it is no line.
                break;
            }
        }
        report
    }

    /// Opens the path anew, also if nobody moved the file away.
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        let path = self.name.current();
        self.current = Some(Current::open(&path).map_err(|source| Error::new("open log", path, source))?);
        Ok(())
    }

    /// Makes the current file one that may be written to, and says how many bytes of `lines` it should take.
    fn room_for(&mut self, lines: &str, now: Timestamp, report: &mut Written) -> usize {
        self.follow_path(report);
        let Some(current) = &self.current else { return 0 };
        let Ok(Some(length)) = current.length() else { return lines.len() };
        let fits = whole_lines_within(lines, self.limits.size.saturating_sub(length));
        if length == 0 {
            return fits.max(first_line(lines));
        }
        if fits > 0 && current.age(now) < self.limits.age {
            return fits;
        }
        if !current.is_named() {
            // The path could not be followed: what it names now is not ours to put away.
            return lines.len();
        }
        match self.put_away(now) {
            Ok(()) => {
                report.released = true;
                self.follow_path(report);
                whole_lines_within(lines, self.limits.size).max(first_line(lines))
            }
            // A file that grows too large is better than lines that are lost.
            Err(error) => {
                report.fault = Some(error);
                lines.len()
            }
        }
    }

    /// Opens the path again when it no longer names the file that is open. Where that fails, the open file is kept as
    /// long as somebody can find it.
    fn follow_path(&mut self, report: &mut Written) {
        if self.current.as_ref().is_some_and(Current::is_named) {
            return;
        }
        match self.reopen() {
            Ok(()) => report.released = true,
            Err(error) => {
                report.fault = Some(error);
                self.current.take_if(|current| !current.is_reachable());
            }
        }
    }

    fn put_away(&self, now: Timestamp) -> Result<(), Error> {
        let from = self.name.current();
        let mut time = now;
        loop {
            let to = self.name.rotated(time);
            match rename_to_free_name(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    time = time.saturating_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
                    if time == Timestamp::MAX {
                        return Err(Error::new("rotate log", from, error));
                    }
                }
                result => return result.map_err(|source| Error::new("rotate log", from, source)),
            }
        }
    }
}

/// Renames a file without replacing another one, compressed already or not.
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
    if compressed(to).try_exists()? {
        return Err(taken());
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot refuse to replace.
        Err(Errno::INVAL | Errno::NOSYS) if to.try_exists()? => Err(taken()),
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(from, to),
        result => Ok(result?),
    }
}

/// Length of the lines at the start of `lines` that together have at most `room` bytes.
fn whole_lines_within(lines: &str, room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    lines.as_bytes()[..room].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
}

fn first_line(lines: &str) -> usize {
    lines.find('\n').map_or(lines.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    const SMALL: Limits = Limits { size: 100, age: Duration::from_secs(3600) };

    fn open(directory: &Path, limits: Limits) -> Log {
        Log::open(LogName::new(directory, "server.log").unwrap(), limits).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_763_000_000 + seconds).unwrap()
    }

    fn line(number: usize, now: Timestamp) -> String {
        format!("time={now:.3} n={number:03}\n")
    }

    /// The files of a directory by name, oldest first, the current one last.
    fn files(directory: &Path) -> Vec<(String, String)> {
        let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn no_file_exceeds_its_size_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        let lines: String = (0..50).map(|number| line(number, at(0))).collect();
        let report = log.write(&lines, at(0));
        assert_eq!((report.whole, report.released), (lines.len(), true));
        assert!(report.fault.is_none());
        let files = files(directory.path());
        assert!(files.iter().all(|(_, content)| content.len() <= 100));
        assert_eq!(files.len(), 25, "two lines of 36 bytes fit a file");
        assert_eq!(files.iter().map(|(_, content)| content.as_str()).collect::<String>(), lines);
    }

    #[test]
    fn a_rotation_in_the_same_millisecond_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        let taken = LogName::new(directory.path(), "server.log").unwrap().rotated(at(0));
        fs::write(compressed(&taken), "before").unwrap();
        log.write(&line(0, at(0)).repeat(5), at(0));
        let names: Vec<String> = files(directory.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[0], "server-20251113T021320.000Z.log.gz");
        assert_eq!(names[1], "server-20251113T021320.001Z.log");
        assert_eq!(names[2], "server-20251113T021320.002Z.log");
    }

    #[test]
    fn a_file_is_put_away_when_its_first_line_is_too_old() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        log.write(&line(0, at(0)), at(0));
        assert!(!log.write(&line(1, at(3599)), at(3599)).released);
        drop(log);
        let mut log = open(directory.path(), Limits { size: 1 << 20, ..SMALL });
        assert!(log.write(&line(2, at(3600)), at(3600)).released);
        let files = files(directory.path());
        assert_eq!(files[0].1, line(0, at(0)) + &line(1, at(3599)));
        assert_eq!(files[1].1, line(2, at(3600)));
    }

    #[test]
    fn a_line_larger_than_a_file_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        let large = format!("{}\n", "x".repeat(500));
        assert_eq!(log.write(&large.repeat(3), at(0)).whole, 1503);
        assert_eq!(files(directory.path()).len(), 3);
    }

    #[test]
    fn a_restart_appends() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path(), SMALL).write(&line(0, at(0)), at(0));
        open(directory.path(), SMALL).write(&line(1, at(1)), at(1));
        assert_eq!(files(directory.path()), [("server.log".to_owned(), line(0, at(0)) + &line(1, at(1)))]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        log.write(&line(0, at(0)), at(0));
        fs::rename(directory.path().join("server.log"), directory.path().join("moved")).unwrap();
        assert!(log.write(&line(1, at(0)), at(0)).released);
        let files = files(directory.path());
        assert_eq!(files[0], ("moved".to_owned(), line(0, at(0))));
        assert_eq!(files[1], ("server.log".to_owned(), line(1, at(0))));
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_is_kept_while_it_can_be_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), SMALL);
        log.write(&line(0, at(0)), at(0));
        fs::rename(directory.path().join("server.log"), directory.path().join("moved")).unwrap();
        fs::create_dir(directory.path().join("server.log")).unwrap();
        let lines = line(1, at(0)).repeat(5);
        let report = log.write(&lines, at(0));
        assert_eq!(report.whole, lines.len());
        assert!(report.fault.is_some());
        assert_eq!(fs::read_to_string(directory.path().join("moved")).unwrap(), line(0, at(0)) + &lines);
        fs::remove_file(directory.path().join("moved")).unwrap();
        assert_eq!(log.write(&lines, at(0)).whole, 0, "a deleted file takes no more lines");
        fs::remove_dir(directory.path().join("server.log")).unwrap();
        assert_eq!(log.write(&line(2, at(0)), at(0)).whole, line(2, at(0)).len());
    }

    #[test]
    fn two_processes_on_one_log_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (open(directory.path(), SMALL), open(directory.path(), SMALL));
        for number in 0..40 {
            let log = if number % 3 == 0 { &mut one } else { &mut other };
            log.write(&line(number, at(0)), at(0));
        }
        let all: String = files(directory.path()).into_iter().map(|(_, content)| content).collect();
        assert_eq!(all, (0..40).map(|number| line(number, at(0))).collect::<String>());
    }
}
