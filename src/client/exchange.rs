//! One upload that is more than a PUT with its bytes: asked about, and resumed.
//!
//! Owns the exchange of frames on one connection (PROTOCOL.md, section 8). Knows nothing of queues and retries.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::{Cancel, hash_unless_stopped, stopped};
use super::options::Options;
use super::session::Session;
use super::terminal::progress::Transfer;
use super::upload::{Job, There};
use crate::connection::Sent;
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::root::FileState;
use crate::transfer::finish;
use crate::wire::{
    Abandon, Begin, Digest, ErrorCode, Finish, MAX_DATA, Offer, Put, PutKind, RawBytes, RemotePath, Reply, Request,
    Stored, UploadId, Violation,
};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks, compares what the server holds, and sends the rest. The answer comes with the bytes that were there.
pub(super) fn exchange(
    session: &mut Session,
    job: &Job,
    file: &File,
    options: &Options,
    shown: &Transfer,
) -> Result<(Stored, u64)> {
    let before = state(file, &job.local)?;
    let cancel = &options.link.cancel;
    let digest = if job.there == There::Taken { digest_of(file, &before, &job.local, cancel)? } else { None };
    let put = Put {
        size: Some(before.size),
        modified: Some(before.modified),
        on_conflict: options.on_conflict,
        upload: Some(upload_id(job)),
        digest,
        ask: true,
        ..put(&job.path)
    };
    session.request(&Request::Put(put))?;
    session.flush()?;
    let offer = match session.answer()? {
        Reply::Offer(offer) => offer,
        reply => return stored(reply).map(|stored| (stored, 0)),
    };
    let (offset, hasher) =
        if options.resume { accept(&offer, file, &before, &job.local, cancel)? } else { (0, blake3::Hasher::new()) };
    shown.restart_from(offset);
    session.request(&Request::Begin(Begin { offset }))?;
    let digest = send_and_hash(session, file, offset, before.size, hasher, shown, &job.local)?;
    if state(file, &job.local)? != before {
        return Err(abandon(session, changed(&job.local)));
    }
    session.request(&Request::Finish(Finish { digest }))?;
    session.flush()?;
    stored(session.answer()?).map(|stored| (stored, offset))
}

/// Where to go on: at the offer, if the file begins with what the server holds, otherwise at 0.
fn accept(
    offer: &Offer,
    file: &File,
    state: &FileState,
    local: &Path,
    cancel: &Cancel,
) -> Result<(u64, blake3::Hasher)> {
    let mut hasher = blake3::Hasher::new();
    if offer.offset > 0 && offer.offset <= state.size {
        let read = hash_unless_stopped(&mut hasher, file, 0, offer.offset, &|| cancel.is_cancelled());
        let whole = read.map_err(|error| Error::local("read", shown_path(local), error))?;
        if whole && offer.digest == Some(finish(&hasher)) {
            return Ok((offer.offset, hasher));
        }
    }
    Ok((0, blake3::Hasher::new()))
}

/// Sends a file from `offset` on, while another thread computes its digest.
fn send_and_hash(
    session: &mut Session,
    file: &File,
    offset: u64,
    size: u64,
    mut hasher: blake3::Hasher,
    shown: &Transfer,
    local: &Path,
) -> Result<Digest> {
    let failed = |error: std::io::Error| Error::local("read", shown_path(local), error);
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            let whole = hash_unless_stopped(&mut hasher, file, offset, size, &|| stop.load(Ordering::Relaxed))?;
            Ok((whole, hasher))
        });
        // The scope waits for the hashing thread: without bytes to send there is nothing to hash for.
        send_rest(session, file, offset, size, shown, local).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        match hashing.join() {
            Ok(Ok((true, hasher))) => Ok(finish(&hasher)),
            Ok(Ok((false, _))) => Err(abandon(session, changed(local))),
            Ok(Err(error)) => Err(abandon(session, failed(error))),
            Err(_) => Err(abandon(session, failed(std::io::Error::other("the hashing thread died")))),
        }
    })
}

/// Sends DATA frames up to the end, unless the server says something first.
fn send_rest(session: &mut Session, file: &File, offset: u64, size: u64, shown: &Transfer, local: &Path) -> Result<()> {
    let mut done = offset;
    while done < size {
        if session.has_answer() {
            return Err(early_refusal(session)?);
        }
        if shown.is_asked_to_stop() {
            return Err(give_up(session, Abandon { keep: true }, stopped()));
        }
        let count = u32::try_from(size.saturating_sub(done)).unwrap_or(MAX_DATA).min(MAX_DATA);
        match session.send_file(file, done, count)? {
            Sent::Whole => done = done.saturating_add(u64::from(count)),
            Sent::Short(_) => return Err(abandon(session, changed(local))),
        }
        shown.add(u64::from(count));
    }
    Ok(())
}

/// The server refused while bytes were still on their way: it must be told that no more will come.
pub(super) fn early_refusal(session: &mut Session) -> Result<Error> {
    match session.answer() {
        Ok(reply) => Err(Violation::Unexpected(reply.kind()).into()),
        Err(error) if error.code().ends_session() || !matches!(error, Error::Refused { .. }) => Err(error),
        Err(error) => {
            session.request(&Request::Abandon(Abandon { keep: false }))?;
            session.flush()?;
            Ok(error)
        }
    }
}

/// Gives an upload up because of `error`, which is returned.
pub(super) fn abandon(session: &mut Session, error: Error) -> Error {
    give_up(session, Abandon { keep: false }, error)
}

fn give_up(session: &mut Session, abandon: Abandon, error: Error) -> Error {
    let told = session
        .request(&Request::Abandon(abandon))
        .and_then(|()| session.flush())
        .and_then(|()| session.answer().map(|_| ()));
    match told {
        // The answer to ABANDON is an error of its own, which says no more than this one.
        Ok(()) | Err(Error::Refused { .. }) => error,
        Err(broken) => broken,
    }
}

/// A PUT of a file with all fields at their defaults.
pub(super) fn put(path: &RemotePath) -> Put {
    Put {
        path: RawBytes(path.as_bytes().to_vec()),
        kind: PutKind::File,
        size: None,
        modified: None,
        on_conflict: crate::wire::OnConflict::Rename,
        upload: None,
        digest: None,
        ask: false,
    }
}

/// STORED, or the violation that another answer is.
pub(super) fn stored(reply: Reply) -> Result<Stored> {
    match reply {
        Reply::Stored(stored) => Ok(stored),
        reply => Err(Violation::Unexpected(reply.kind()).into()),
    }
}

fn state(file: &File, local: &Path) -> Result<FileState> {
    FileState::of_file(file).map_err(|error| Error::local("stat", shown_path(local), error))
}

/// The digest of a file; `None` if it became shorter, or if it was asked to stop: then the connection was cut too.
fn digest_of(file: &File, state: &FileState, local: &Path, cancel: &Cancel) -> Result<Option<Digest>> {
    let mut hasher = blake3::Hasher::new();
    let read = hash_unless_stopped(&mut hasher, file, 0, state.size, &|| cancel.is_cancelled());
    let whole = read.map_err(|error| Error::local("read", shown_path(local), error))?;
    Ok(whole.then(|| finish(&hasher)))
}

/// The refusal of a file that is not what it was.
pub(super) fn changed(local: &Path) -> Error {
    Error::refused(ErrorCode::Changed, format!("{} changed while it was being sent", shown_path(local)))
}

/// A local path, harmless.
pub(super) fn shown_path(local: &Path) -> String {
    harmless(local.as_os_str().as_bytes())
}

/// The identity of an upload: the same for the same state of the same file, also after this program was killed, and
/// nobody else's, because it contains what only this machine knows.
pub(super) fn upload_id(job: &Job) -> UploadId {
    let mut hasher = blake3::Hasher::new_derive_key("hostdir 2026 upload identity");
    let local = std::fs::canonicalize(&job.local).unwrap_or_else(|_| job.local.clone());
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    for part in [&machine, local.as_os_str().as_bytes(), job.path.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.update(&job.size.to_le_bytes()).update(&job.modified.to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    UploadId(id)
}
