//! The folder `.hostdir/journal/`: names and files, and the two small ones that are not segments.

use super::record::{CHECK, Fields, check};
use super::scan::read_at;
use crate::error::{Error, Result};
use crate::wire::JournalId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fdatasync, fsync, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, pwrite};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

const FOLDER: &str = "journal";
const ORIGIN: &str = "id";
const ORIGIN_MAGIC: [u8; 8] = *b"hostdirI";
const WATERMARK: &str = "last";
/// Digits of the highest number.
const DIGITS: usize = 20;

/// The folder, open.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What makes a journal this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) id: JournalId,
    pub(super) secret: [u8; 32],
}

/// A step that failed, and why. Unlike an error it can be told to many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    operation: &'static str,
    cause: Errno,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::local(failure.operation, "the arrivals journal", failure.cause)
    }
}

pub(super) fn failed(operation: &'static str) -> impl Fn(Errno) -> Failure {
    move |cause| Failure { operation, cause }
}

type Outcome<T> = std::result::Result<T, Failure>;

impl Folder {
    /// Opens the folder in the state folder, making it if it misses.
    pub(super) fn open(state: BorrowedFd<'_>) -> Outcome<Self> {
        match mkdirat(state, FOLDER, Mode::from_raw_mode(0o700)) {
            Ok(()) => fsync(state).map_err(failed("flush the folder of"))?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("make")(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(state, FOLDER, flags, Mode::empty()).map(Self).map_err(failed("open"))
    }

    pub(super) fn open_file(&self, name: &str, flags: OFlags) -> rustix::io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        openat(&self.0, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
    }

    /// The numbers that segments are named by, ascending.
    pub(super) fn segments(&self) -> Outcome<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in Dir::read_from(&self.0).map_err(failed("read"))? {
            let entry = entry.map_err(failed("read"))?;
            let number = entry.file_name().to_str().ok().and_then(segment_number);
            // A folder or a link of such a name is nothing of ours.
            numbers.extend(number.filter(|number| self.is_file(&segment_name(*number))));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn is_file(&self, name: &str) -> bool {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
    }

    pub(super) fn open_segment(&self, number: u64, flags: OFlags) -> rustix::io::Result<File> {
        self.open_file(&segment_name(number), flags)
    }

    pub(super) fn remove_segment(&self, number: u64) -> rustix::io::Result<()> {
        unlinkat(&self.0, segment_name(number), AtFlags::empty())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        renameat(&self.0, from, &self.0, to)
    }

    /// Makes names durable.
    pub(super) fn flush(&self) -> rustix::io::Result<()> {
        fsync(&self.0)
    }

    /// Reads what makes this journal what it is; `None` if it was never written, or is damaged.
    pub(super) fn read_origin(&self) -> Outcome<Option<Origin>> {
        let file = match self.open_file(ORIGIN, OFlags::RDONLY) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(failed("open"))?,
        };
        Ok(read_checked(&file).map_err(failed("read"))?.and_then(|fields: [u8; 56]| {
            let mut fields = Fields(&fields);
            fields.take().filter(|magic| *magic == ORIGIN_MAGIC)?;
            Some(Origin { id: JournalId(fields.take()?), secret: fields.take()? })
        }))
    }

    /// Writes it, durably and in one step.
    pub(super) fn write_origin(&self, origin: &Origin) -> Outcome<()> {
        const NEW: &str = "id.new";
        let write = || {
            let file = self.open_file(NEW, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
            write_all(&file, &checked(&[&ORIGIN_MAGIC, &origin.id.0, &origin.secret]), 0)?;
            fdatasync(&file)?;
            self.rename(NEW, ORIGIN)?;
            self.flush()
        };
        write().map_err(failed("write the id of"))
    }

    /// The file that tells the newest durable arrival.
    pub(super) fn watermark(&self) -> Outcome<Watermark> {
        self.open_file(WATERMARK, OFlags::RDWR | OFlags::CREATE).map(Watermark).map_err(failed("open"))
    }
}

/// A second place for the number of the newest durable arrival, so that a number is not given twice when the last records
/// are damaged. It is not flushed: it survives a kill as it is, and lags some seconds after a power cut.
#[derive(Debug)]
pub(super) struct Watermark(File);

impl Watermark {
    /// The number, if one of this journal was written.
    pub(super) fn read(&self, id: JournalId) -> Outcome<Option<u64>> {
        Ok(read_checked(&self.0).map_err(failed("read"))?.and_then(|fields: [u8; 24]| {
            let mut fields = Fields(&fields);
            fields.take().filter(|of| *of == id.0)?;
            fields.take().map(u64::from_be_bytes)
        }))
    }

    /// Best effort: without it only damage is told less exactly.
    pub(super) fn write(&self, id: JournalId, number: u64) {
        let _ = write_all(&self.0, &checked(&[&id.0, &number.to_be_bytes()]), 0);
    }
}

fn checked(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.extend_from_slice(&check(parts));
    bytes
}

/// The first `N` bytes of a file, if the check after them is theirs.
fn read_checked<const N: usize>(file: &File) -> rustix::io::Result<Option<[u8; N]>> {
    let (mut fields, mut sum) = ([0; N], [0; CHECK]);
    let whole = read_at(file, &mut fields, 0)? == N && read_at(file, &mut sum, N as u64)? == CHECK;
    Ok((whole && check(&[&fields]) == sum).then_some(fields))
}

/// Writes all bytes at an offset.
pub(super) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset = offset.saturating_add(count as u64);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// When a file was last written: nanoseconds since the epoch, by the clock of its file system.
pub(super) fn written(file: &File) -> Option<i64> {
    let modified = file.metadata().ok()?.modified().ok()?;
    Some(nanoseconds(modified))
}

/// A time as the journal keeps it.
pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let to_i64 = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => to_i64(after),
        Err(before) => to_i64(before.duration()).saturating_neg(),
    }
}

fn segment_name(number: u64) -> String {
    format!("{number:0DIGITS$}")
}

fn segment_number(name: &str) -> Option<u64> {
    let is_number = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.parse().ok()).flatten()
}

/// An origin that no other journal has.
pub(super) fn new_origin() -> Result<Origin> {
    let (mut id, mut secret) = ([0; 16], [0; 32]);
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|error| {
            Error::local("get random bytes for", "the arrivals journal", std::io::Error::other(error.to_string()))
        })
    };
    random(&mut id)?;
    random(&mut secret)?;
    Ok(Origin { id: JournalId(id), secret })
}
