//! One upload whose bytes are not there yet: standard input, sent at the pace at which it comes.
//!
//! Owns the copy of what was sent (the [`Spool`], a file without a name), so that a connection that breaks loses nothing: the
//! same upload is announced again, and goes on after what the server holds (PROTOCOL.md, section 8). One thread waits for both
//! sides, the input and the server, so a refusal or a cut is noticed also while no input comes.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::hash_unless_stopped;
use super::exchange::{abandon, early_refusal, put, stored};
use super::options::Options;
use super::retry::Backoff;
use super::session::Session;
use super::terminal::progress::{Progress, Transfer};
use crate::connection::Sent;
use crate::error::{Error, Result};
use crate::transfer::finish;
use crate::wire::{
    Begin, Digest, ErrorCode, Finish, MAX_DATA, Offer, Put, RemotePath, Reply, Request, Stored, UploadId,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open, openat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes taken from the input at a time; what is there is sent at once, however little it is.
const PIECE: usize = 256 * 1024;
/// How long the input is waited for before the server is looked at again.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// A connection that lasted so long was worth dialling: the next failure is the first one again.
const LASTED: Duration = Duration::from_secs(5);

/// Where the bytes come from, and where they are kept until the server has them.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) input: BorrowedFd<'a>,
    pub(super) spool: Spool,
}

/// What was read so far, in a file that has no name and is gone with this program, however it ends.
#[derive(Debug)]
pub(super) struct Spool {
    /// `None` if it cannot be had, or its disk is full: then a connection that breaks is the end.
    file: Option<File>,
}

/// Sends what is read from the input under `path`. If the connection breaks, it is dialled again, with growing rests.
///
/// # Errors
/// Those of the session after as many attempts in a row as the options allow, and of reading.
pub(super) fn stream(
    session: Session,
    source: Source<'_>,
    path: &RemotePath,
    options: &Options,
    progress: &Progress,
    shown: &Transfer,
) -> Result<Stored> {
    let mut upload = Upload {
        put: Put { on_conflict: options.on_conflict, upload: Some(new_id()?), ask: true, ..put(path) },
        source,
        hasher: blake3::Hasher::new(),
        read: 0,
        held: 0,
        has_ended: false,
        shown,
    };
    let link = &options.link;
    let mut backoff = Backoff::default();
    let mut session = Some(session);
    loop {
        let (began, before) = (Instant::now(), upload.held);
        let dialled = session.take().map_or_else(|| link.open(), Ok);
        let result = dialled.and_then(|mut session| {
            let stored = upload.attempt(&mut session, &|| link.cancel.is_cancelled())?;
            session.close();
            Ok(stored)
        });
        let error = match result {
            Err(error) if error.is_worth_a_retry() && !link.cancel.is_cancelled() => error,
            result => return result,
        };
        if upload.read > 0 && upload.source.spool.file.is_none() {
            return Err(Error::local(
                "keep",
                "what was sent",
                std::io::Error::other(format!("no disk space; {error}")),
            ));
        }
        // What was sent is progress where the server kept it.
        if upload.held > before || began.elapsed() > LASTED {
            backoff.progress();
        }
        let Some(rest) = backoff.next(link.retries) else { return Err(error) };
        // A server that hears nothing for long because nothing is said hangs up: that is no news.
        if error.code() != ErrorCode::Timeout {
            progress.println(&format!("{error}; trying {} again in {:.1} s", link.target, rest.as_secs_f64()));
        }
        if !link.cancel.rest(rest) {
            return Err(error);
        }
    }
}

/// An upload across all its connections.
struct Upload<'a> {
    put: Put,
    source: Source<'a>,
    /// Over everything that was read.
    hasher: blake3::Hasher,
    /// Bytes read from the input.
    read: u64,
    /// Bytes that the server was seen to hold, at most.
    held: u64,
    has_ended: bool,
    shown: &'a Transfer,
}

/// What the input gave.
enum Input<'a> {
    Bytes(&'a [u8]),
    Nothing,
    End,
}

impl Upload<'_> {
    /// Announces the upload and sends it, on one connection.
    fn attempt(&mut self, session: &mut Session, stop: &dyn Fn() -> bool) -> Result<Stored> {
        let known = self.has_ended.then(|| (self.read, finish(&self.hasher)));
        let put = Put { size: known.map(|it| it.0), digest: known.map(|it| it.1), ..self.put.clone() };
        session.request(&Request::Put(put))?;
        session.flush()?;
        let offer = match session.answer()? {
            Reply::Offer(offer) => offer,
            reply => return stored(reply),
        };
        let offset = self.accept(&offer, stop)?;
        self.held = self.held.max(offset);
        session.request(&Request::Begin(Begin { offset }))?;
        session.flush()?;
        self.send_again(session, offset)?;
        let digest = self.send_input(session, stop)?;
        session.request(&Request::Finish(Finish { digest }))?;
        session.flush()?;
        stored(session.answer()?)
    }

    /// Where to go on: after what the server holds, if that is what was sent.
    fn accept(&self, offer: &Offer, stop: &dyn Fn() -> bool) -> Result<u64> {
        let Some(file) = self.source.spool.file.as_ref().filter(|_| (1..=self.read).contains(&offer.offset)) else {
            return Ok(0);
        };
        let mut hasher = blake3::Hasher::new();
        let whole = hash_unless_stopped(&mut hasher, file, 0, offer.offset, stop).map_err(unreadable)?;
        Ok(if whole && offer.digest == Some(finish(&hasher)) { offer.offset } else { 0 })
    }

    /// Sends what was read before and the server does not have.
    fn send_again(&self, session: &mut Session, offset: u64) -> Result<()> {
        let mut sent = offset;
        while let left @ 1.. = self.read.saturating_sub(sent) {
            if session.has_answer() {
                return Err(early_refusal(session)?);
            }
            let count = u32::try_from(left).unwrap_or(MAX_DATA).min(MAX_DATA);
            let file = self.source.spool.file.as_ref().ok_or_else(|| unreadable(Errno::NOENT.into()))?;
            match session.send_file(file, sent, count)? {
                Sent::Whole => sent = sent.saturating_add(u64::from(count)),
                Sent::Short(_) => return Err(abandon(session, unreadable(Errno::IO.into()))),
            }
        }
        Ok(())
    }

    /// Sends the input as it comes, up to its end. The digest is that of everything.
    fn send_input(&mut self, session: &mut Session, stop: &dyn Fn() -> bool) -> Result<Digest> {
        let mut buffer = vec![0; PIECE];
        while !self.has_ended {
            if session.has_answer() {
                return Err(early_refusal(session)?);
            }
            if stop() {
                return Err(Error::disconnected("stopped"));
            }
            match read(self.source.input, &mut buffer).map_err(|error| Error::local("read", "standard input", error)) {
                Ok(Input::Nothing) => {}
                Ok(Input::End) => self.has_ended = true,
                Ok(Input::Bytes(bytes)) => {
                    self.source.spool.keep(bytes);
                    self.hasher.update(bytes);
                    self.read = self.read.saturating_add(bytes.len() as u64);
                    self.shown.add(bytes.len() as u64);
                    session.send_data(bytes)?;
                    session.flush()?;
                }
                Err(error) => return Err(abandon(session, error)),
            }
        }
        Ok(finish(&self.hasher))
    }
}

impl Spool {
    /// A spool on the disk of the download folder, if that is there, or of the folder for temporary files.
    pub(super) fn open(folder: &Path) -> Self {
        let places = [folder, &std::env::temp_dir()].map(unnamed);
        Self { file: places.into_iter().flatten().next().map(File::from) }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.file.as_mut().is_some_and(|file| file.write_all(bytes).is_err()) {
            self.file = None;
        }
    }
}

/// A file without a name.
fn unnamed(folder: &Path) -> Option<OwnedFd> {
    let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match open(folder, flags | OFlags::TMPFILE, mode) {
        // Not every file system can do that (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let parent = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            let name = format!(".hostdir-spool-{:016x}", getrandom::u64().ok()?);
            let file = openat(&parent, &*name, flags | OFlags::CREATE | OFlags::EXCL, mode).ok()?;
            unlinkat(&parent, &*name, rustix::fs::AtFlags::empty()).ok()?;
            Some(file)
        }
        result => result.ok(),
    }
}

/// Waits a moment for the input, and takes what is there.
fn read<'a>(input: BorrowedFd<'_>, buffer: &'a mut [u8]) -> std::io::Result<Input<'a>> {
    match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&LOOK)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Input::Nothing),
        result => result?,
    };
    match rustix::io::read(input, &mut *buffer) {
        Err(Errno::INTR | Errno::AGAIN) => Ok(Input::Nothing),
        Err(error) => Err(error.into()),
        Ok(0) => Ok(Input::End),
        Ok(count) => Ok(Input::Bytes(buffer.get(..count).unwrap_or_default())),
    }
}

/// The identity of an upload that cannot be repeated by another run.
fn new_id() -> Result<UploadId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::local("get", "a random number", std::io::Error::other(error)))?;
    Ok(UploadId(id))
}

fn unreadable(error: std::io::Error) -> Error {
    Error::local("read", "what was sent before", error)
}
