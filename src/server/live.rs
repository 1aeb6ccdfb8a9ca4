//! A GET of an upload that is still on its way in (PROTOCOL.md, section 16).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::admission::{Direction, Running};
use super::get;
use super::record::{Record, Status};
use super::session::{Session, wait_frame};
use crate::connection::Sent;
use crate::error::{Error, Result};
use crate::root::OpenFile;
use crate::store::{Arrival, LiveReader, LiveSource, Next, PATIENCE};
use crate::transfer::{Progress, send_range};
use crate::wire::{Digest, End, ErrorCode, Get, LiveHeader, LiveId, RawBytes, RemotePath, Reply, Violation};
use std::sync::Arc;
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
        let source = session.shared.store.open_live(id, &path, get.offset, get.version.as_ref())?;
        Ok((path, source))
    });
    let (path, source) = match source {
        Ok(found) => found,
        Err(error) => return Err(session.refuse(Direction::Download, &get.path, error)),
    };
    session.settle()?;
    let mut record = session.record(Direction::Download, path.to_string(), None);
    record.offset = get.offset;
    let progress = Arc::new(Progress::default());
    session.show(Running {
        direction: Direction::Download,
        left: None,
        progress: Arc::clone(&progress),
        since: Instant::now(),
    });
    let result = match source {
        LiveSource::Coming(reader) => follow(session, reader, &record, &progress),
        LiveSource::Arrived(arrival, open) => send_arrived(session, &arrival, &open, get.offset, &record, &progress),
    };
    record.bytes = progress.moved();
    session.live.set_transfer(None);
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

fn follow(session: &mut Session<'_>, mut reader: LiveReader, record: &Record, progress: &Progress) -> Result<()> {
    let upload = reader.upload();
    session.connection.send_reply(&Reply::Live(LiveHeader {
        transfer: record.id,
        size: upload.size,
        modified: upload.modified,
        version: reader.version(),
        offset: reader.position(),
    }))?;
    session.connection.flush()?;
    loop {
        match reader.next(PATIENCE, AWAY)? {
            Next::Bytes(file, there) => {
                session.connection.restart_pace();
                let sent = send_range(&mut session.connection, &file, reader.position(), there, progress)?;
                // What was sent while its sender started over is wrong.
                reader.is_right()?;
                if let Sent::Short(_) = sent {
                    let cause = std::io::Error::other("the upload could not be read");
                    return Err(Error::local("read", &record.path, cause));
                }
                reader.advance(there);
                session.connection.flush()?;
                if there < WORTH_WAKING {
                    std::thread::sleep(NAP);
                }
            }
            Next::Nothing if session.shared.registry.is_draining() => {
                return Err(Error::refused(ErrorCode::ShuttingDown, "the server is stopping"));
            }
            Next::Nothing => wait_frame(&mut session.connection)?,
            Next::Arrived(end) => return send_end(session, end.digest, &end.path, end.number),
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
    let sent = send_range(&mut session.connection, &open.file, offset, left, progress)?;
    get::check_unchanged(open, record)?;
    if let Sent::Short(_) = sent {
        let cause = std::io::Error::other("the file could not be read to its end");
        return Err(Error::local("read", &record.path, cause));
    }
    send_end(session, arrival.digest, &arrival.path, Some(arrival.number))
}

fn send_end(session: &mut Session<'_>, digest: Digest, path: &RemotePath, number: Option<u64>) -> Result<()> {
    let path = Some(RawBytes(path.as_bytes().to_vec()));
    session.connection.send_reply(&Reply::End(End { digest: Some(digest), path, number }))
}
