//! A GET of an upload that is still on its way in (PROTOCOL.md, section 16).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::admission::Direction;
use super::get;
use super::record::{Record, Status};
use super::session::{Session, wait_frame};
use crate::access::Caller;
use crate::connection::{Connection, Sent};
use crate::error::{Error, Result};
use crate::root::OpenFile;
use crate::store::{self, Arrival, LiveReader, LiveSource, Next, PATIENCE};
use crate::transfer::{Outlet, Progress, send_range};
use crate::wire::{Digest, End, ErrorCode, Get, LiveHeader, LiveId, RawBytes, RemotePath, Reply, Version, Violation};
use std::time::{Duration, Instant};

/// How long a sender may be away before those who wait for its bytes are sent away, too.
const AWAY: Duration = Duration::from_secs(300);
/// Below this many bytes a reader waits for [`NAP`], so that many readers of a fast upload do not wake for each piece.
const WORTH_WAKING: u64 = 128 * 1024;
const NAP: Duration = Duration::from_millis(2);

/// Answers GET with a live id: LIVE, DATA as it comes in, END.
pub(super) fn answer(session: &mut Session<'_>, get: &Get, id: LiveId) -> Result<()> {
    if get.length.is_some() || get.digest.is_some() {
        return Err(Violation::Contradiction("a live GET with a length or a digest").into());
    }
    let source = RemotePath::parse(&get.path).map_err(Error::from).and_then(|path| {
        let source = open(session.shared, &session.caller, id, &path, (get.offset, get.version.as_ref()))?;
        Ok((path, source))
    });
    let (path, source) = match source {
        Ok(found) => found,
        Err(error) => return Err(session.refuse(Direction::Download, &get.path, error)),
    };
    session.settle()?;
    let mut record = session.record(Direction::Download, path.to_string(), None);
    record.offset = get.offset;
    let progress = session.live.begin_transfer(Direction::Download, None);
    let result = match source {
        LiveSource::Coming(reader) => follow(session, reader, &record, &progress),
        LiveSource::Arrived(arrival, open) => send_arrived(session, &arrival, &open, get.offset, &record, &progress),
    };
    record.bytes = progress.moved();
    session.live.end_transfer();
    match result {
        Ok(()) => {
            session.live.set_unconfirmed(Some(Instant::now()));
            session.unconfirmed.add(record, session.shared);
            Ok(())
        }
        Err(error) => {
            record.fail(session.shared, Status::of(&error), &error);
            Err(error)
        }
    }
}

/// Opens what somebody asks for with a live id, if they may have it. Under one id a sender can go on elsewhere, so what has
/// arrived may lie outside of what they may see: that is not there.
pub(super) fn open(
    shared: &Shared,
    caller: &Caller,
    id: LiveId,
    path: &RemotePath,
    (offset, version): (u64, Option<&Version>),
) -> Result<LiveSource> {
    caller.may_follow(path)?;
    match shared.store.open_live(id, path, offset, version)? {
        LiveSource::Arrived(arrival, _) if !caller.sees(&arrival.path) => {
            Err(Error::refused(ErrorCode::NotFound, "no upload of that id is on its way"))
        }
        source => Ok(source),
    }
}

fn follow(session: &mut Session<'_>, reader: LiveReader, record: &Record, progress: &Progress) -> Result<()> {
    let upload = reader.upload();
    session.connection.send_reply(&Reply::Live(LiveHeader {
        transfer: record.id,
        size: upload.size,
        modified: upload.modified,
        version: reader.version(),
        offset: reader.position(),
    }))?;
    session.connection.flush()?;
    let end = pump(&mut session.connection, reader, session.shared, progress)?;
    send_end(session, end.digest, &end.path, end.number)
}

/// Where the bytes of an upload go while it comes in.
pub(super) trait LiveOutlet: Outlet {
    /// Gives the peer a fresh window: bytes are there after a while.
    fn restart_pace(&mut self);

    /// Sends what was queued.
    ///
    /// # Errors
    /// Those of the connection.
    fn flush(&mut self) -> Result<()>;

    /// There are no bytes yet.
    ///
    /// # Errors
    /// If the peer is known to be gone.
    fn keep_waiting(&mut self) -> Result<()>;
}

impl LiveOutlet for Connection {
    fn restart_pace(&mut self) {
        Self::restart_pace(self);
    }

    fn flush(&mut self) -> Result<()> {
        Self::flush(self)
    }

    fn keep_waiting(&mut self) -> Result<()> {
        wait_frame(self)
    }
}

/// Sends the bytes of an upload as they come in, until it has arrived.
pub(super) fn pump(
    outlet: &mut dyn LiveOutlet,
    mut reader: LiveReader,
    shared: &Shared,
    progress: &Progress,
) -> Result<store::End> {
    loop {
        match reader.next(PATIENCE, AWAY)? {
            Next::Bytes(file, there) => {
                outlet.restart_pace();
                let sent = send_range(outlet, &file, reader.position(), there, progress)?;
                // What was sent while its sender started over is wrong.
                reader.is_right()?;
                if let Sent::Short(_) = sent {
                    let cause = std::io::Error::other("it could not be read");
                    return Err(Error::local("read", "the upload", cause));
                }
                reader.advance(there);
                outlet.flush()?;
                if there < WORTH_WAKING {
                    std::thread::sleep(NAP);
                }
            }
            Next::Nothing if shared.registry.is_draining() => {
                return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping"));
            }
            Next::Nothing => outlet.keep_waiting()?,
            Next::Arrived(end) => return Ok(end),
        }
    }
}

/// The upload has arrived already: the same answer, from the file that it became.
fn send_arrived(
    session: &mut Session<'_>,
    arrival: &Arrival,
    open: &OpenFile,
    offset: u64,
    record: &Record,
    progress: &Progress,
) -> Result<()> {
    let Some(left) = open.state.size.checked_sub(offset) else {
        return Err(Error::refused(ErrorCode::OutOfRange, format!("the file has only {} bytes", open.state.size)));
    };
    session.connection.send_reply(&Reply::Live(LiveHeader {
        transfer: record.id,
        size: Some(arrival.size),
        modified: Some(arrival.modified),
        version: open.state.version.clone(),
        offset,
    }))?;
    get::send_unchanged(&mut session.connection, open, offset, left, progress)?;
    send_end(session, arrival.digest, &arrival.path, Some(arrival.number))
}

fn send_end(session: &mut Session<'_>, digest: Digest, path: &RemotePath, number: Option<u64>) -> Result<()> {
    let path = Some(RawBytes(path.as_bytes().to_vec()));
    session.connection.send_reply(&Reply::End(End { digest: Some(digest), path, number }))
}
