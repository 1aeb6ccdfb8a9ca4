//! A folder as one tar (WEB.md, section 7; pax, IEEE Std 1003.1, "pax Interchange Format").
//!
//! Owns what an archive has in it, and that it is whole or breaks off. The layout of its blocks is the crate `tar`'s.

use super::super::admission::Direction;
use super::super::get::{SMALL, read_unchanged, send_unchanged};
use super::exchange::{Answered, Exchange};
use super::files::{conclude, record, refused};
use super::listing::folder_path;
use super::outlet::Chunks;
use super::response::{Content, Response};
use crate::connection::More;
use crate::error::{Error, Result};
use crate::root::OpenFile;
use crate::store::Store;
use crate::transfer::{Counter, Progress};
use crate::wire::http::{attachment, percent_decode, seconds};
use crate::wire::{Entries, EntryKind, ErrorCode, Listed, RemoteFolder, RemotePath};
use tar::{Builder, EntryType, Header};

const BLOCK: u64 = 512;
/// Two empty blocks end an archive.
const END: [u8; 1024] = [0; 1024];
/// Sizes and times from here on do not fit into the digits of a header.
const MOST_OCTAL: u64 = 1 << 33;

/// Answers `GET /tar/PATH`.
pub(super) fn answer(exchange: &mut Exchange<'_>, rest: &str) -> Answered {
    exchange.check_chunks()?;
    let path = percent_decode(rest)?;
    let folder = match open(exchange, folder_path(&path)) {
        Ok(folder) => folder,
        Err(error) => return Err(refused(exchange, &path, error.into())),
    };
    let name = folder.path().map_or_else(|| b"hostdir".as_slice(), RemotePath::name);
    let response = Response::new(200)
        .field("Content-Type", "application/x-tar")
        .field("Content-Disposition", attachment(&[name, b".tar"].concat()))
        .field("Cache-Control", "no-store");
    if exchange.is_head() {
        return Ok(exchange.respond_head(response, Content::Chunked)?);
    }
    let mut record = record(exchange, folder.to_string(), None);
    let progress = exchange.live.begin_transfer(Direction::Download, None);
    let result = send(exchange, response, &folder, &progress);
    record.bytes = progress.moved();
    exchange.live.end_transfer();
    conclude(exchange, &record, result)
}

/// Finds the folder, while that it is missing, or not to be seen, can still be told.
fn open(exchange: &Exchange<'_>, path: &[u8]) -> Result<RemoteFolder> {
    let folder = RemoteFolder::parse(path)?;
    exchange.caller.listed(&folder)?;
    exchange.shared.store.folder_modified(&folder)?;
    Ok(folder)
}

fn send(exchange: &mut Exchange<'_>, response: Response, folder: &RemoteFolder, progress: &Progress) -> Result<()> {
    let folders = exchange.caller.listed(folder)?;
    exchange.begin(response, Content::Chunked)?;
    let store = &exchange.shared.store;
    let mut archive = Archive { chunks: Chunks(exchange.stream), store, folder, at: RemoteFolder::ROOT, progress };
    let mut listed = Listed::default();
    // Of those that somebody has in it, the ones that are there.
    for own in folders.iter().filter(|own| *own == folder || store.folder_modified(own).is_ok()) {
        archive.add_way_to(own)?;
        listed.unreadable =
            store.walk(own, &mut |page| archive.add(&page))?.unreadable.saturating_add(listed.unreadable);
    }
    if listed.unreadable > 0 {
        let why = format!("{} folders or files below it could not be read", listed.unreadable);
        return Err(Error::refused(ErrorCode::Unavailable, why));
    }
    archive.chunks.send(&END)?;
    archive.chunks.end()?;
    exchange.conclude();
    exchange.stream.flush(More::Nothing)
}

/// An archive on its way out.
struct Archive<'a> {
    chunks: Chunks<'a>,
    store: &'a Store,
    /// The folder that it is of.
    folder: &'a RemoteFolder,
    /// The folder whose files are being added.
    at: RemoteFolder,
    progress: &'a Progress,
}

impl Archive<'_> {
    fn add(&mut self, page: &Entries) -> Result<()> {
        let folder = RemoteFolder::parse(&page.folder)?;
        if folder != self.at {
            self.add_folder(&folder)?;
        }
        for entry in page.entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            let path = folder.join(&entry.name)?;
            match self.store.open_file(&path) {
                Ok(open) => self.add_file(&path, &open)?,
                // It went, or became something else, since the folder was read: a moment later it would not have been listed.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.at = folder;
        Ok(())
    }

    /// A folder comes right before what is below it: programs that unpack set its time when they leave it.
    fn add_folder(&mut self, folder: &RemoteFolder) -> Result<()> {
        let Some(path) = folder.path() else { return Ok(()) };
        let name = [self.name(path), b"/"].concat();
        self.chunks.send(&head(&name, EntryType::Directory, 0, self.store.folder_modified(folder)?)?)
    }

    /// The folders that lead to one of those that somebody may see. Their times tell of what else is made in them.
    fn add_way_to(&mut self, own: &RemoteFolder) -> Result<()> {
        let above = |folder: &RemoteFolder| folder.path().filter(|_| folder != self.folder).map(RemotePath::parent);
        let way: Vec<RemoteFolder> = std::iter::successors(above(own), above).collect();
        for folder in way.iter().rev().filter(|folder| !folder.contains(self.at.as_bytes())) {
            if let Some(path) = folder.path() {
                let name = [self.name(path), b"/"].concat();
                self.chunks.send(&head(&name, EntryType::Directory, 0, 0)?)?;
            }
        }
        Ok(())
    }

    /// A small file goes in one piece; a large one straight from the page cache.
    fn add_file(&mut self, path: &RemotePath, open: &OpenFile) -> Result<()> {
        let size = open.state.size;
        let mut head = head(self.name(path), EntryType::Regular, size, open.state.modified)?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK).saturating_sub(size)).unwrap_or_default();
        if size <= SMALL {
            head.extend(read_unchanged(open, 0, size)?);
            head.resize(head.len().saturating_add(padding), 0);
            self.chunks.send(&head)?;
            self.progress.add(size);
            return Ok(());
        }
        self.chunks.send(&head)?;
        send_unchanged(&mut self.chunks, open, 0, size, self.progress)?;
        self.chunks.send(END.get(..padding).unwrap_or_default())
    }

    /// The name in the archive: from the folder that it is of on, so that it unpacks to a folder of that name.
    fn name<'p>(&self, path: &'p RemotePath) -> &'p [u8] {
        let above = self.folder.path().map_or(0, |folder| folder.as_bytes().len().saturating_sub(folder.name().len()));
        path.as_bytes().get(above..).unwrap_or_default()
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::NotFound | ErrorCode::NotAFile | ErrorCode::Expired)
}

/// The blocks before the content of an entry. What the digits and the 100 bytes of a header cannot hold stands in records
/// before it.
fn head(name: &[u8], kind: EntryType, size: u64, modified: i64) -> Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(if size < MOST_OCTAL { size } else { 0 });
    let whole_seconds = u64::try_from(modified.div_euclid(1_000_000_000)).ok().filter(|seconds| *seconds < MOST_OCTAL);
    header.set_mtime(whole_seconds.unwrap_or_default());
    for (place, byte) in header.as_old_mut().name.iter_mut().zip(name) {
        *place = if byte.is_ascii() { *byte } else { b'_' };
    }
    header.set_cksum();
    let mut blocks = Builder::new(Vec::new());
    let records = records(name, size, modified);
    let written = blocks.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_slice())));
    written.map_err(|error| Error::local("write", "the head of an archive's entry", error))?;
    Ok([blocks.get_ref().as_slice(), header.as_bytes()].concat())
}

/// What the digits and bytes of a header cannot hold, as pax records.
fn records(name: &[u8], size: u64, modified: i64) -> Vec<(&'static str, Vec<u8>)> {
    let mut records = Vec::new();
    if str::from_utf8(name).is_err() {
        records.push(("hdrcharset", b"BINARY".to_vec()));
    }
    if name.len() > 100 || !name.is_ascii() {
        records.push(("path", name.to_vec()));
    }
    if size >= MOST_OCTAL {
        records.push(("size", size.to_string().into_bytes()));
    }
    if modified < 0 || modified.rem_euclid(1_000_000_000) != 0 {
        records.push(("mtime", seconds(modified).into_bytes()));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const SECOND: i64 = 1_000_000_000;

    /// What the crate reads of an entry: name, size and modification time, those of records before those of the header.
    fn read(head: &[u8]) -> (Vec<u8>, u64, String) {
        // The reader wants to see the whole entry before it looks for the next; it is never asked for that.
        let mut archive = tar::Archive::new(head.chain(std::io::repeat(0)));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let (name, size) = (entry.path_bytes().into_owned(), entry.size());
        let mut modified = entry.header().mtime().unwrap().to_string();
        if let Some(records) = entry.pax_extensions().unwrap() {
            let mut records = records.map(|record| record.unwrap());
            if let Some(record) = records.find(|record| record.key() == Ok("mtime")) {
                modified = record.value().unwrap().to_owned();
            }
        }
        (name, size, modified)
    }

    #[test]
    fn what_a_header_cannot_hold_stands_in_records() {
        let long = [b'a'; 300];
        let cases: [(&[u8], u64, i64, &str, usize); 8] = [
            (b"a", 0, 0, "0", 1),
            (b"a", (1 << 33) - 1, 5 * SECOND, "5", 1),
            (b"a", 1 << 33, 0, "0", 3),
            (b"a", 1 << 50, 0, "0", 3),
            (&long[..100], 0, 0, "0", 1),
            (&long[..101], 0, 0, "0", 3),
            ("\u{f1}".as_bytes(), 3, SECOND + 1, "1.000000001", 3),
            (b"\xff", 3, -SECOND / 2, "-0.5", 3),
        ];
        for (name, size, modified, told, blocks) in cases {
            let head = head(name, EntryType::Regular, size, modified).unwrap();
            assert_eq!(head.len(), blocks * 512, "{} {size} {modified}", name.escape_ascii());
            assert_eq!(read(&head), (name.to_vec(), size, told.into()));
        }
        assert_eq!(head(&long, EntryType::Directory, 0, 0).unwrap().len(), 3 * 512);
    }
}
