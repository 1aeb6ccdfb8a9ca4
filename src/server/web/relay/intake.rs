//! A file that comes in by a relay: an upload like any other, by the same steps.
//!
//! It has an identity of its own, drawn here, so that it can be followed while it comes. Nobody can resume it, so it is given
//! up as soon as its sender is gone.

use super::{Guest, too_large};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::server::Shared;
use crate::server::admission::Direction;
use crate::server::record::{Record, Status, Via};
use crate::store::{Answer, Finished, Offered, OnIdentical, Plan, Upload};
use crate::transfer::{Progress, Source, take};
use crate::wire::{ErrorCode, OnConflict, Put, PutKind, RawBytes, RemotePath, UploadId};
use std::sync::Arc;

/// A file whose bytes are coming.
pub(super) struct Intake {
    upload: Upload,
    record: Record,
    progress: Arc<Progress>,
}

/// A file whose bytes are all there.
pub(super) struct Whole {
    finished: Finished,
    record: Record,
}

impl Intake {
    /// A file begins to come. Whoever follows its folder hears of it.
    ///
    /// # Errors
    /// Those of a PUT.
    pub(super) fn begin(guest: &Guest<'_>, via: Via, path: &[u8]) -> Result<Self> {
        let record = guest.record(Direction::Upload, via, harmless(path), None);
        // Before anybody hears of it: a server that stops waits for what others know to be coming.
        let progress = guest.live.begin_transfer(Direction::Upload, None);
        match begin_upload(guest, path) {
            Ok(upload) => Ok(Self { upload, record, progress }),
            Err(error) => {
                guest.live.end_transfer();
                record.fail(guest.shared, Status::Refused, &error);
                Err(error)
            }
        }
    }

    /// Takes what comes of it, `expected` bytes or so.
    ///
    /// # Errors
    /// Those of the source, and of storing its bytes; [`ErrorCode::TooLarge`]. The file is given up then.
    pub(super) fn take(self, shared: &Shared, source: &mut dyn Source, expected: u64) -> Result<Whole> {
        let Self { mut upload, mut record, progress } = self;
        let limit = upload.plan.limit;
        let mut bounded = Bounded { source, limit, left: limit };
        let hasher = upload.hasher();
        let taken = take(&mut bounded, &mut upload, hasher, expected, &*progress);
        record.bytes = progress.moved();
        let digest = taken.and_then(|taken| {
            let digest = taken.digest();
            taken.stored.map(|()| digest)
        });
        let finished = match digest {
            Ok(digest) => upload.finish(digest, digest),
            Err(error) => {
                upload.discard();
                Err(error)
            }
        };
        match finished {
            Ok(finished) => Ok(Whole { finished, record }),
            Err(error) => {
                record.fail(shared, Status::of(&error), &error);
                Err(error)
            }
        }
    }
}

impl Whole {
    /// Makes it durable under its name, which those who follow its folder hear. `mime` is what its sender says that it is.
    ///
    /// # Errors
    /// Those of this machine.
    pub(super) fn store(self, guest: &mut Guest<'_>, mime: Option<String>) -> Result<()> {
        let Self { finished, mut record } = self;
        let Guest { socket, shared, live, .. } = guest;
        let live_id = finished.plan.upload.and_then(|upload| shared.store.live_id(upload));
        if let (Some(id), Some(mime)) = (live_id, mime) {
            // Before it has arrived: those who are told then want to know.
            shared.mimes.remember(id, mime);
        }
        // A sender that is gone does not keep the file from being stored.
        let answers = shared.store.commit(vec![finished], &mut || socket.keep_alive());
        let gone = || Err(Error::refused(ErrorCode::Unavailable, "the file was not stored"));
        let answer = answers.into_iter().next().unwrap_or_else(gone);
        live.end_transfer();
        match answer {
            Ok(Answer { path, .. }) => {
                record.path = path.to_string();
                record.end(shared, Status::Ok, None);
                Ok(())
            }
            Err(error) => {
                record.fail(shared, Status::Failed, &error);
                Err(error)
            }
        }
    }
}

fn begin_upload(guest: &Guest<'_>, path: &[u8]) -> Result<Upload> {
    let put = Put {
        path: RawBytes::from(path),
        kind: PutKind::File,
        size: None,
        modified: None,
        on_conflict: OnConflict::Rename,
        upload: Some(new_identity()?),
        digest: None,
        ask: true,
    };
    let allowed = RemotePath::parse(path).map_or(Ok(()), |path| guest.caller.may_put(&path, put.kind, put.on_conflict));
    guest.asked("message", path).note(allowed)?;
    let store = &guest.shared.store;
    let plan = store.plan(&put)?;
    let plan = Plan {
        limit: plan.limit.min(guest.max_size()),
        publisher: Some(guest.live.peer.ip().to_string()),
        on_identical: OnIdentical::Announce,
        ..plan
    };
    match store.offer(plan, guest.socket.interrupt(), &mut || Ok(()))? {
        Offered::Upload(mut upload) => store.begin_upload(&mut upload, 0).map(|()| *upload),
        // Without a digest, and with other names to give, nothing is known beforehand.
        Offered::Answer(_) => Err(Error::refused(ErrorCode::Unavailable, "the name cannot be taken now")),
    }
}

fn new_identity() -> Result<UploadId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::local("draw", "an upload id", std::io::Error::other(error)))?;
    Ok(UploadId(id))
}

/// A source of which more is not taken than there may be.
struct Bounded<'a> {
    source: &'a mut dyn Source,
    limit: u64,
    left: u64,
}

impl Source for Bounded<'_> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        let count = self.source.read(room)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| too_large(self.limit))?;
        Ok(count)
    }

    fn is_dry(&mut self) -> bool {
        self.source.is_dry()
    }
}
