//! GET of an upload that is still on its way in (WEB.md, section 4).

use super::super::admission::Direction;
use super::super::get::send_unchanged;
use super::super::live::{self, pump};
use super::exchange::{Answered, Exchange};
use super::files::{conclude, mark_as_file, record, refused};
use super::outlet::Chunks;
use super::response::{Content, Problem, Response};
use crate::connection::More;
use crate::error::{Error, Result};
use crate::store::LiveSource;
use crate::transfer::Progress;
use crate::wire::http::parse_live_id;
use crate::wire::{ErrorCode, RemotePath};

/// Answers `GET /files/PATH?live=ID`: chunks as the bytes come in, the last one when the file has arrived.
pub(super) fn answer(exchange: &mut Exchange<'_>, path: &[u8], id: &[u8]) -> Answered {
    exchange.check_chunks()?;
    if exchange.is_head() {
        let problem = Problem::new(405, ErrorCode::Protocol, "an upload on its way in has no HEAD");
        return Err(problem.field("Allow", "GET, OPTIONS"));
    }
    let (path, source) = match open(exchange, path, id) {
        Ok(found) => found,
        Err(problem) => return Err(refused(exchange, path, problem)),
    };
    let mut record = record(exchange, path.to_string(), None);
    let progress = exchange.live.begin_transfer(Direction::Download, None);
    let result = follow(exchange, &path, source, &progress);
    record.bytes = progress.moved();
    exchange.live.end_transfer();
    conclude(exchange, &record, result)
}

fn open(exchange: &Exchange<'_>, path: &[u8], id: &[u8]) -> std::result::Result<(RemotePath, LiveSource), Problem> {
    let id = parse_live_id(id)?;
    let path = RemotePath::parse(path).map_err(Error::from)?;
    let source = live::open(exchange.shared, &exchange.caller, id, &path, (0, None))?;
    Ok((path, source))
}

fn follow(exchange: &mut Exchange<'_>, path: &RemotePath, source: LiveSource, progress: &Progress) -> Result<()> {
    let size = match &source {
        LiveSource::Coming(reader) => reader.upload().size,
        LiveSource::Arrived(arrival, _) => Some(arrival.size),
    };
    let mut response = mark_as_file(Response::new(200), path).field("Cache-Control", "no-store");
    if let Some(size) = size {
        response = response.field("Hostdir-Size", size);
    }
    exchange.begin(response, Content::Chunked)?;
    exchange.stream.flush(More::Nothing)?;
    let mut chunks = Chunks(exchange.stream);
    match source {
        LiveSource::Coming(reader) => {
            pump(&mut chunks, reader, exchange.shared, progress)?;
        }
        LiveSource::Arrived(_, open) => send_unchanged(&mut chunks, &open, 0, open.state.size, progress)?,
    }
    chunks.end()?;
    exchange.conclude();
    exchange.stream.flush(More::Nothing)
}
