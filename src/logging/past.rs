//! The files of a log from the outside, oldest first, for whoever reads it while a server may write it.
//!
//! Owns finding them and opening them. Takes no lock, so it neither stops a server nor keeps a file from being put away.

use super::names::{Kind, LogName, compressed};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often a file may be put away between opening and listing before what was found is taken as it is.
const ATTEMPTS: usize = 8;

/// A file of a log: the one that is written, or one that was put away.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    put_away: Option<Timestamp>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The file that is written. Held open, so that it stays the same one when it is put away meanwhile.
    Current(File),
    Rotated,
    Compressed,
}

impl LogFile {
    /// Where it is, or was.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When it was put away; `None` of the file that is written. Its lines are from before that, unless the clock was
    /// set back.
    #[must_use]
    pub fn put_away(&self) -> Option<Timestamp> {
        self.put_away
    }

    /// Its bytes, decompressed; `None` if it was deleted meanwhile, because the logs grew beyond their total.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(self) -> io::Result<Option<Box<dyn Read>>> {
        let rotated = match self.content {
            Content::Current(file) => return Ok(Some(Box::new(file))),
            Content::Compressed => None,
            Content::Rotated => open_regular(&self.path)?,
        };
        if let Some(file) = rotated {
            return Ok(Some(Box::new(file)));
        }
        // A rotated file that is gone was compressed since.
        let path = if matches!(self.content, Content::Rotated) { compressed(&self.path) } else { self.path };
        let file = open_regular(&path)?;
        Ok(file.map(|file| Box::new(MultiGzDecoder::new(file)) as Box<dyn Read>))
    }
}

/// The files of the log `file` (such as `transfers.log`) in `directory`, oldest first. Files of other names, also of
/// another program that rotates, are left out.
///
/// # Errors
/// The directory cannot be listed, `file` is no log's name, or the file that is written cannot be opened.
pub fn files(directory: &Path, file: &str) -> io::Result<Vec<LogFile>> {
    let name = LogName::new(directory, file).ok_or(ErrorKind::InvalidInput)?;
    let mut attempt = 1;
    loop {
        // Opened before the listing: if it is put away after that, it is the same file that is read; if before, then
        // the path no longer names it, and all is done again.
        let current = open_regular(&name.current())?;
        let mut files = put_away(&name)?;
        if attempt < ATTEMPTS && current.as_ref().is_some_and(|file| !is_named(&name.current(), file)) {
            attempt += 1;
            continue;
        }
        files.extend(current.map(|file| LogFile {
            path: name.current(),
            put_away: None,
            content: Content::Current(file),
        }));
        return Ok(files);
    }
}

fn put_away(name: &LogName) -> io::Result<Vec<LogFile>> {
    let mut found: Vec<(Timestamp, LogFile)> = Vec::new();
    for entry in fs::read_dir(name.directory())? {
        let entry = entry?;
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let content = match name.kind(&file_name) {
            Some(Kind::Rotated) => Content::Rotated,
            Some(Kind::Compressed) => Content::Compressed,
            Some(Kind::Unfinished) | None => continue,
        };
        let Some(time) = name.stamp(&file_name) else { continue };
        found.push((time, LogFile { path: entry.path(), put_away: Some(time), content }));
    }
    // A name with and without `.gz` is one file, compressed a moment ago: the first of the two stands for both.
    found.sort_by(|(time, file), (other_time, other)| (time, &file.path).cmp(&(other_time, &other.path)));
    found.dedup_by_key(|(time, _)| *time);
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// Only regular files: a pipe in its place would be waited for, a device would never end. `None` if it is not there.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(io::Error::other("not a regular file")) }
}

fn is_named(path: &Path, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (named, opened) = (fs::metadata(path).ok(), file.metadata().ok());
    named.is_some() && named.map(identity) == opened.map(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn write(directory: &Path, name: &str, content: &str) {
        fs::write(directory.join(name), content).unwrap();
    }

    fn write_compressed(directory: &Path, name: &str, content: &str) {
        let file = File::create(directory.join(name)).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        encoder.finish().unwrap();
    }

    fn read(files: Vec<LogFile>) -> String {
        let mut content = String::new();
        for file in files {
            if let Some(mut opened) = file.open().unwrap() {
                opened.read_to_string(&mut content).unwrap();
            }
        }
        content
    }

    #[test]
    fn all_files_of_a_log_are_found_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "transfers.log", "4");
        write(directory.path(), "transfers-20261120T140321.482Z.log", "3");
        write_compressed(directory.path(), "transfers-20261120T140321.481Z.log.gz", "2");
        write_compressed(directory.path(), "transfers-20251120T140321.481Z.log.gz", "1");
        write(directory.path(), "transfers-20251120T140321.482Z.log.gz.tmp", "unfinished");
        write(directory.path(), "transfers.log.1", "of another program");
        write(directory.path(), "server.log", "the other log");
        let found = files(directory.path(), "transfers.log").unwrap();
        assert_eq!(found[1].put_away(), Some("2026-11-20T14:03:21.481Z".parse().unwrap()));
        assert_eq!(found[3].put_away(), None);
        assert_eq!(read(found), "1234");
    }

    #[test]
    fn a_file_that_was_just_compressed_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "transfers-20261120T140321.482Z.log", "once");
        write_compressed(directory.path(), "transfers-20261120T140321.482Z.log.gz", "once");
        assert_eq!(read(files(directory.path(), "transfers.log").unwrap()), "once");
    }

    #[test]
    fn a_file_may_be_compressed_or_deleted_before_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["transfers-20261120T140321.482Z.log", "transfers-20261120T140321.483Z.log"];
        names.iter().for_each(|name| write(directory.path(), name, "lines"));
        let found = files(directory.path(), "transfers.log").unwrap();
        write_compressed(directory.path(), &(names[0].to_owned() + ".gz"), "lines");
        names.iter().for_each(|name| fs::remove_file(directory.path().join(name)).unwrap());
        assert_eq!(read(found), "lines");
    }

    #[test]
    fn the_file_that_is_written_may_be_put_away_before_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "transfers.log", "before");
        let found = files(directory.path(), "transfers.log").unwrap();
        fs::rename(directory.path().join("transfers.log"), directory.path().join("elsewhere")).unwrap();
        write(directory.path(), "transfers.log", "after");
        assert_eq!(read(found), "before");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("transfers.log")).unwrap();
        assert!(files(directory.path(), "transfers.log").is_err());
    }
}
