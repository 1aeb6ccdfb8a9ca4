//! Listings, and what the server says of itself (WEB.md, section 6).

use super::exchange::{Answered, Exchange};
use super::outlet::Chunks;
use super::response::{Content, Problem, Response};
use crate::connection::More;
use crate::error::{Error, Result};
use crate::wire::http::{parse_number, percent_encode, seconds};
use crate::wire::{Entries, Entry, EntryKind, List, Listed, RemoteFolder, Right};
use std::fmt::Write;

/// Answers `GET /api/list`: JSON, written as the folder is being read.
pub(super) fn answer(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    exchange.check_chunks()?;
    let mut list = request(exchange)?;
    if exchange.is_head() {
        // Whether the folder is there is all that the head tells.
        list.limit = Some(0);
    }
    let asked = RemoteFolder::parse(&list.path).map_err(Error::from)?;
    let folders = exchange.caller.listed(&asked)?;
    let mut listing = Listing { is_begun: false, folder: &list.path, exchange };
    let shared = listing.exchange.shared;
    let listed = shared.store.list_within(&list, &folders, &mut |page| listing.page(&page))?;
    Ok(listing.end(&listed)?)
}

/// Answers `GET /api/server`.
pub(super) fn about(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let (config, name) = (exchange.shared.store.config(), &exchange.shared.config.name);
    let rights = exchange.caller.grant().rights;
    let body = serde_json::json!({
        "name": name,
        "version": env!("CARGO_PKG_VERSION"),
        "read_only": config.read_only,
        "overwrite": config.overwrite && !config.read_only && rights.has(Right::Overwrite),
        "rights": rights.iter().map(Right::name).collect::<Vec<_>>(),
        "max_file_size": config.max_file_size,
        "relay_max_size": exchange.shared.config.relay.max_size,
    });
    Ok(exchange.respond_json(Response::new(200), &body)?)
}

/// A path of a folder as it is asked for: a slash at its end, or nothing but one, is how people write folders.
pub(super) fn folder_path(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn request(exchange: &Exchange<'_>) -> std::result::Result<List, Problem> {
    let target = &exchange.head.target;
    let path = target.parameter("path")?.unwrap_or_default();
    let limit = target.parameter("limit")?.map(|limit| parse_number(&limit)).transpose()?;
    let recursive = target.parameter("recursive")?.is_some_and(|value| value == b"1");
    Ok(List { path: folder_path(&path).into(), recursive, limit })
}

/// A listing on its way out.
struct Listing<'a, 'e> {
    exchange: &'a mut Exchange<'e>,
    /// The path that was asked for.
    folder: &'a [u8],
    is_begun: bool,
}

impl Listing<'_, '_> {
    fn page(&mut self, page: &Entries) -> Result<()> {
        let is_first = !self.is_begun;
        let mut text = self.opening()?;
        let below = self.way_to(&page.folder);
        for (index, entry) in page.entries.iter().enumerate() {
            if !(is_first && index == 0) {
                text.push_str(",\n");
            }
            push_entry(&mut text, &joined(&below, &entry.name), &joined(&page.folder, &entry.name), entry);
        }
        Chunks(self.exchange.stream).send(text.as_bytes())?;
        // The first page is worth a write of its own: somebody may be looking.
        if is_first { self.exchange.stream.flush(More::Nothing) } else { Ok(()) }
    }

    fn end(mut self, listed: &Listed) -> Result<()> {
        let mut text = self.opening()?;
        let Listed { truncated, skipped, unreadable, .. } = listed;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "],\"truncated\":{truncated},\"skipped\":{skipped},\"unreadable\":{unreadable}}}");
        if !self.exchange.is_head() {
            let mut chunks = Chunks(self.exchange.stream);
            chunks.send(text.as_bytes())?;
            chunks.end()?;
        }
        self.exchange.conclude();
        Ok(())
    }

    /// What comes before the first entry: sent when it is known that there is something to tell.
    fn opening(&mut self) -> Result<String> {
        if std::mem::replace(&mut self.is_begun, true) {
            return Ok(String::new());
        }
        let response = Response::new(200).field("Content-Type", "application/json").field("Cache-Control", "no-store");
        self.exchange.begin(response, Content::Chunked)?;
        Ok(format!("{{\"path\":{},\"entries\":[", json(self.folder)))
    }

    /// The way from the folder that was asked for to the one that a page is of.
    fn way_to(&self, folder: &[u8]) -> Vec<u8> {
        let below = if self.folder.is_empty() { Some(folder) } else { folder.strip_prefix(self.folder) };
        // A file that was asked for itself is in a folder above.
        let below = below.unwrap_or_default();
        below.strip_prefix(b"/").unwrap_or(below).to_vec()
    }
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}

fn push_entry(text: &mut String, name: &[u8], path: &[u8], entry: &Entry) {
    let (name, href, modified) = (json(name), percent_encode(path), seconds(entry.modified));
    let what = match entry.kind {
        EntryKind::File => format!("\"kind\":\"file\",\"size\":{}", entry.size),
        EntryKind::Folder => "\"kind\":\"folder\"".into(),
    };
    // Writing to a String cannot fail.
    let _ = write!(text, "{{\"name\":{name},\"href\":\"/files/{href}\",{what},\"modified\":{modified}}}");
}

/// Bytes as a JSON string; what is not UTF-8 as replacement characters.
fn json(bytes: &[u8]) -> serde_json::Value {
    String::from_utf8_lossy(bytes).into()
}
