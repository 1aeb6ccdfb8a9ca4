//! GET (PROTOCOL.md, section 7).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::admission::Direction;
use super::live;
use super::record::{Record, Status};
use super::session::{Session, wait_frame};
use crate::connection::Sent;
use crate::error::{Error, Result};
use crate::root::{FileState, OpenFile};
use crate::store::PATIENCE;
use crate::transfer::{Outlet, Progress, digest_bytes, read_exactly, send_range};
use crate::wire::{Digest, End, ErrorCode, FileHeader, Get, RemotePath, Reply};
use std::time::Instant;

/// Up to this many bytes a file is read, hashed and sent in one go: that costs less than remembering anything about it.
pub(super) const SMALL: u64 = 64 * 1024;
/// What an error is about; its path stands in the same line of the log.
const THE_FILE: &str = "the file";

/// The part of a file that a GET is answered with.
struct Part {
    open: OpenFile,
    offset: u64,
    length: u64,
    wants_digest: bool,
}

/// Answers GET: FILE, DATA, END.
pub(super) fn answer(session: &mut Session<'_>, get: &Get) -> Result<()> {
    if let Some(id) = get.live {
        return live::answer(session, get, id);
    }
    let (path, part) = match find(session, get) {
        Ok(found) => found,
        Err(error) => return Err(session.refuse(Direction::Download, &get.path, error)),
    };
    let mut record = session.record(Direction::Download, path.to_string(), Some(part.open.state.size));
    record.offset = part.offset;
    session.settle()?;
    let result = if part.offset == 0 && part.length == part.open.state.size && part.length <= SMALL {
        send_small(session, &part, &mut record)
    } else {
        send_large(session, &part, &mut record)
    };
    if result.is_ok() {
        session.live.set_unconfirmed(Some(Instant::now()));
    }
    session.live.end_transfer();
    match result {
        // A GET for no bytes of a file that has some only asks about it.
        Ok(()) if part.length == 0 && part.open.state.size != 0 => {}
        Ok(()) => session.unconfirmed.add(record, session.shared),
        Err(error) => {
            record.fail(session.shared, Status::of(&error), &error);
            return Err(error);
        }
    }
    Ok(())
}

fn find(session: &Session<'_>, get: &Get) -> Result<(RemotePath, Part)> {
    let path = RemotePath::parse(&get.path)?;
    session.caller.may_fetch(&path)?;
    let open = session.shared.store.open_file(&path)?;
    if get.version.as_ref().is_some_and(|version| *version != open.state.version) {
        return Err(changed());
    }
    if get.offset > open.state.size {
        let size = open.state.size;
        return Err(Error::refused(ErrorCode::OutOfRange, format!("the file has only {size} bytes")));
    }
    let left = open.state.size.saturating_sub(get.offset);
    let length = get.length.unwrap_or(left).min(left);
    Ok((path, Part { open, offset: get.offset, length, wants_digest: get.digest != Some(false) }))
}

/// A small whole file: read first, so that FILE already tells the truth about it.
fn send_small(session: &mut Session<'_>, part: &Part, record: &mut Record) -> Result<()> {
    let bytes = read_unchanged(&part.open, 0, part.length)?;
    session.connection.send_reply(&header(part, record))?;
    session.connection.send_data(&bytes)?;
    record.bytes = part.length;
    let digest = part.wants_digest.then(|| digest_bytes(&bytes));
    session.connection.send_reply(&Reply::End(End { digest, ..End::default() }))
}

fn send_large(session: &mut Session<'_>, part: &Part, record: &mut Record) -> Result<()> {
    let progress = session.live.begin_transfer(Direction::Download, Some(part.length));
    session.connection.send_reply(&header(part, record))?;
    let digest = start_digest(session, part)?;
    let sent = send_unchanged(&mut session.connection, &part.open, part.offset, part.length, &progress);
    record.bytes = progress.moved();
    sent?;
    let digest = digest.map(|digest| digest.wait(session)).transpose()?;
    session.connection.send_reply(&Reply::End(End { digest, ..End::default() }))
}

enum Awaited {
    Known(Digest),
    Pending(crate::store::Pending),
}

impl Awaited {
    fn wait(self, session: &mut Session<'_>) -> Result<Digest> {
        let pending = match self {
            Self::Known(digest) => return Ok(digest),
            Self::Pending(pending) => pending,
        };
        loop {
            match pending.wait(PATIENCE) {
                Some(digest) => return digest,
                None => wait_frame(&mut session.connection)?,
            }
        }
    }
}

/// The digest goes on its way before the bytes, so that both are done at about the same time.
fn start_digest(session: &Session<'_>, part: &Part) -> Result<Option<Awaited>> {
    if !part.wants_digest {
        return Ok(None);
    }
    let digests = session.shared.store.digests();
    if let Some(digest) = digests.recall(&part.open.state.version) {
        return Ok(Some(Awaited::Known(digest)));
    }
    let file = part.open.file.try_clone().map_err(|error| Error::local("open", "a file to hash", error))?;
    Ok(Some(Awaited::Pending(digests.compute(file, &part.open.state))))
}

fn header(part: &Part, record: &Record) -> Reply {
    Reply::File(FileHeader {
        transfer: record.id,
        size: part.open.state.size,
        modified: part.open.state.modified,
        version: part.open.state.version.clone(),
        offset: part.offset,
        length: part.length,
    })
}

/// Reads a few bytes of a file, and makes sure that it did not change since it was opened.
pub(super) fn read_unchanged(open: &OpenFile, offset: u64, length: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    let bytes = read_exactly(&open.file, offset, size).map_err(|error| Error::local("read", THE_FILE, error))?;
    if bytes.len() != size {
        return Err(changed());
    }
    check_unchanged(open)?;
    Ok(bytes)
}

/// Sends bytes of a file, and makes sure that they are of one state of it.
pub(super) fn send_unchanged(
    outlet: &mut dyn Outlet,
    open: &OpenFile,
    offset: u64,
    length: u64,
    progress: &Progress,
) -> Result<()> {
    let sent = send_range(outlet, &open.file, offset, length, progress)?;
    check_unchanged(open)?;
    match sent {
        Sent::Whole => Ok(()),
        Sent::Short(_) => Err(Error::local("read", THE_FILE, std::io::Error::other("it could not be read to its end"))),
    }
}

/// An open file must still be what it was when it was opened.
fn check_unchanged(open: &OpenFile) -> Result<()> {
    match FileState::of_file(&open.file) {
        Ok(now) if now.is_still(&open.state) => Ok(()),
        Ok(_) => Err(changed()),
        Err(error) => Err(Error::local("stat", THE_FILE, error)),
    }
}

fn changed() -> Error {
    Error::refused(ErrorCode::Changed, "the file changed")
}
