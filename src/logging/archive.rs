//! What was put away: compressed, and in the end deleted, oldest first, so that the logs stay within their total.
//!
//! Works on what it finds in the directory, so that whatever an earlier process left is tidied like its own. A file is
//! compressed under an exclusive lock: one that another process still writes to is left for the next time.

use super::current::FILE_MODE;
use super::error::Error;
use super::names::{Kind, LogName, compressed, rotated_of, unfinished};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The files that were put away of one log.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) name: LogName,
    /// Bytes that the log may take in all, the current file included.
    pub(super) total: u64,
}

/// A file that was put away.
struct Old {
    file_name: String,
    path: PathBuf,
    kind: Kind,
    size: u64,
}

impl Archive {
    /// Compresses and deletes what there is to compress and delete, until `stop`. Carries on after a fault and
    /// reports the first one.
    pub(super) fn tidy(&self, stop: &AtomicBool) -> Result<(), Error> {
        let mut result = self.bound();
        for old in self.old_files()?.iter().rev() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let tidied = match old.kind {
                Kind::Rotated => compress(&old.path, stop).map(|()| old.path.clone()),
                Kind::Unfinished => self.sweep(old),
                Kind::Compressed => continue,
            };
            let tidied = tidied.map_err(|source| Error::new("compress log", &old.path, source)).map(drop);
            result = result.and(tidied).and(self.bound());
        }
        result
    }

    /// Deletes the oldest files beyond the total.
    fn bound(&self) -> Result<(), Error> {
        let old_files = self.old_files()?;
        let current = fs::metadata(self.name.current()).ok().filter(fs::Metadata::is_file);
        let mut taken = current.map_or(0, |metadata| metadata.len());
        taken += old_files.iter().map(|old| old.size).sum::<u64>();
        for old in old_files {
            if taken <= self.total {
                break;
            }
            fs::remove_file(&old.path)
                .or_else(missing_is_fine)
                .map_err(|source| Error::new("delete log", &old.path, source))?;
            taken -= old.size;
        }
        Ok(())
    }

    /// What was put away, oldest first.
    fn old_files(&self) -> Result<Vec<Old>, Error> {
        let directory = self.name.directory();
        let entries = fs::read_dir(directory).map_err(|source| Error::new("list logs in", directory, source))?;
        let mut old: Vec<Old> = entries.filter_map(|entry| self.old_file(&entry.ok()?)).collect();
        old.sort_unstable_by(|a, b| a.file_name.cmp(&b.file_name));
        Ok(old)
    }

    fn old_file(&self, entry: &fs::DirEntry) -> Option<Old> {
        let file_name = entry.file_name().into_string().ok()?;
        let kind = self.name.kind(&file_name)?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(Old { file_name, path: entry.path(), kind, size: metadata.len() })
    }

    /// Removes a compression that was interrupted. While the file that it was made from is there, it is left: either
    /// somebody is compressing it, or it is about to be written anew.
    fn sweep(&self, old: &Old) -> io::Result<PathBuf> {
        let rotated = self.name.directory().join(rotated_of(&old.file_name));
        if !rotated.try_exists()? {
            fs::remove_file(&old.path).or_else(missing_is_fine)?;
        }
        Ok(rotated)
    }
}

/// Replaces `rotated` by a compressed file. At every moment one of the two is there whole, also after a power cut.
fn compress(rotated: &Path, stop: &AtomicBool) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut source = match OpenOptions::new().read(true).custom_flags(flags).open(rotated) {
        Err(error) => return missing_is_fine(error),
        Ok(source) => source,
    };
    // Where the file system has no locks, there is nothing to wait for.
    if flock(&source, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Ok(());
    }
    let partial = unfinished(rotated);
    // Whoever holds the lock is alone here: what is there was left by a process that was killed.
    fs::remove_file(&partial).or_else(missing_is_fine)?;
    match write_compressed(&mut source, &partial, stop) {
        Ok(Finished::Yes) => {}
        Ok(Finished::Stopped) => return fs::remove_file(&partial),
        Err(error) => {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
    }
    fs::rename(&partial, compressed(rotated))?;
    if let Some(directory) = rotated.parent() {
        File::open(directory)?.sync_all()?;
    }
    fs::remove_file(rotated).or_else(missing_is_fine)
}

enum Finished {
    Yes,
    Stopped,
}

fn write_compressed(source: &mut File, partial: &Path, stop: &AtomicBool) -> io::Result<Finished> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(partial)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(Finished::Stopped);
        }
        match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => encoder.write_all(&chunk[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let file = encoder.finish()?;
    // Whoever looks for logs by their date finds the date of the last line.
    file.set_modified(source.metadata()?.modified()?)?;
    file.sync_all()?;
    Ok(Finished::Yes)
}

/// Another process may have tidied it first.
fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::os::unix::fs::PermissionsExt;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn archive(directory: &Path, total: u64) -> Archive {
        Archive { name: LogName::new(directory, "server.log").unwrap(), total }
    }

    fn stamp(second: usize) -> String {
        format!("server-20261120T1403{second:02}.000Z.log")
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Lines that hardly compress.
    fn noise(seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; 4000];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn leftovers_of_an_earlier_process_are_tidied() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path(&stamp(1)), "one\n").unwrap();
        fs::write(path(&(stamp(1) + ".gz.tmp")), noise(1)).unwrap();
        fs::write(path(&(stamp(2) + ".gz.tmp")), "orphan").unwrap();
        fs::write(path("server-mine.log.gz.tmp"), "of somebody else").unwrap();
        archive(directory.path(), 1 << 20).tidy(&GO_ON).unwrap();
        assert_eq!(names(directory.path()), [stamp(1) + ".gz", "server-mine.log.gz.tmp".to_owned()]);
        let mut content = String::new();
        GzDecoder::new(File::open(path(&(stamp(1) + ".gz"))).unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!(content, "one\n");
        let metadata = fs::metadata(path(&(stamp(1) + ".gz"))).unwrap();
        assert!(metadata.len() < 100, "nothing of the earlier attempt is left");
        assert_eq!(metadata.permissions().mode() & 0o777 & !FILE_MODE, 0);
    }

    #[test]
    fn the_oldest_are_deleted_beyond_the_total_and_the_current_file_never() {
        let directory = tempfile::tempdir().unwrap();
        for second in 0..6_u8 {
            fs::write(directory.path().join(stamp(second.into())), noise(second)).unwrap();
        }
        fs::write(directory.path().join("server.log"), noise(9)).unwrap();
        fs::write(directory.path().join("server-notes.log"), noise(10)).unwrap();
        archive(directory.path(), 13_000).tidy(&GO_ON).unwrap();
        let kept = [stamp(4) + ".gz", stamp(5) + ".gz", "server-notes.log".to_owned(), "server.log".to_owned()];
        assert_eq!(names(directory.path()), kept);
        archive(directory.path(), 1).tidy(&GO_ON).unwrap();
        assert_eq!(names(directory.path()), ["server-notes.log", "server.log"]);
    }

    #[test]
    fn a_file_that_is_still_written_to_is_left_for_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(stamp(1));
        fs::write(&path, "one\n").unwrap();
        let writer = super::super::current::Current::open(&path).unwrap();
        archive(directory.path(), 1 << 20).tidy(&GO_ON).unwrap();
        assert_eq!(names(directory.path()), [stamp(1)]);
        drop(writer);
        archive(directory.path(), 1 << 20).tidy(&GO_ON).unwrap();
        assert_eq!(names(directory.path()), [stamp(1) + ".gz"]);
    }

    #[test]
    fn stopping_leaves_the_lines_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(stamp(1)), "one\n").unwrap();
        compress(&directory.path().join(stamp(1)), &AtomicBool::new(true)).unwrap();
        assert_eq!(names(directory.path()), [stamp(1)]);
    }

    #[test]
    fn a_fault_with_one_file_does_not_keep_the_others() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(stamp(1)), "one\n").unwrap();
        fs::write(directory.path().join(stamp(2)), "two\n").unwrap();
        fs::create_dir(directory.path().join(stamp(2) + ".gz.tmp")).unwrap();
        let error = archive(directory.path(), 1 << 20).tidy(&GO_ON).unwrap_err();
        assert!(error.to_string().starts_with("compress log "), "{error}");
        assert_eq!(names(directory.path()), [stamp(1) + ".gz", stamp(2), stamp(2) + ".gz.tmp"]);
    }
}
