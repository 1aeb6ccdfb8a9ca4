//! What arrives in a topic, on its way out by a relay.

use super::{Guest, too_large};
use crate::error::{Error, Result};
use crate::root::OpenFile;
use crate::server::Shared;
use crate::server::admission::Direction;
use crate::server::record::{Record, Status, Via};
use crate::store::{Arrival, Follower, Notice, Told};
use crate::transfer::Progress;
use crate::wire::{ErrorCode, RemoteFolder, RemotePath};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Somebody who is sent what arrives in a folder itself, from now on, and how far that got.
pub(super) struct Listener {
    follower: Follower,
    folder: RemoteFolder,
    position: u64,
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`]; [`ErrorCode::Unavailable`] if this server keeps no journal.
    pub(super) fn begin(guest: &Guest<'_>, topic: RemotePath) -> Result<Self> {
        let shared = guest.shared;
        guest.asked("subscribe", topic.as_bytes()).note(guest.caller.may_follow(&topic))?;
        let folder = RemoteFolder::from(topic);
        let (follower, journal) = shared.store.follow(vec![folder.clone()], None)?;
        Ok(Self { follower, folder, position: journal.last() })
    }

    /// Readable as soon as there may be something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.follower.descriptor()
    }

    /// Whatever happens from here on makes the descriptor readable again.
    pub(super) fn looks(&self) {
        self.follower.looks();
    }

    /// The number up to which all arrivals were given.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next arrivals, in their order; none if there are none now.
    ///
    /// # Errors
    /// Those of the journal.
    pub(super) fn arrivals(&mut self, shared: &Shared) -> Result<Vec<Arc<Arrival>>> {
        loop {
            match shared.store.next_arrivals(&self.follower, self.position)? {
                Told::Arrived(mut arrivals, up_to) => {
                    self.position = up_to;
                    arrivals.retain(|arrival| arrival.path.parent() == self.folder);
                    if !arrivals.is_empty() {
                        return Ok(arrivals);
                    }
                }
                Told::Gap(up_to, missed) => {
                    log::warn!(event = "gap", folder:% = self.folder, missed; "a relay's client was too slow");
                    self.position = up_to;
                }
                Told::Nothing(position) => {
                    self.position = position;
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// What happened to uploads on their way into the folder.
    pub(super) fn notices(&mut self, shared: &Shared) -> Vec<Notice> {
        let mut notices = shared.store.notices(&mut self.follower);
        notices.retain(|notice| notice.upload().path.parent() == self.folder);
        notices
    }
}

/// A file that goes out, or begins to.
pub(super) struct Outgoing {
    record: Record,
    progress: Arc<Progress>,
}

impl Outgoing {
    /// Begins to send a file.
    pub(super) fn begin(guest: &Guest<'_>, via: Via, path: &RemotePath, size: Option<u64>) -> Self {
        let record = guest.record(Direction::Download, via, path.to_string(), size);
        Self { record, progress: guest.live.begin_transfer(Direction::Download, size) }
    }

    /// Opens what arrived, and begins to send it; `None` if it does not go out, as the log says then.
    pub(super) fn open(guest: &Guest<'_>, via: Via, arrival: &Arrival) -> Option<(Self, OpenFile)> {
        match open_arrived(guest, arrival) {
            Ok(open) => Some((Self::begin(guest, via, &arrival.path, Some(arrival.size)), open)),
            Err(error) => {
                let record = guest.record(Direction::Download, via, arrival.path.to_string(), Some(arrival.size));
                record.fail(guest.shared, Status::Refused, &error);
                None
            }
        }
    }

    /// Counts what was sent.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Notes how it ended.
    ///
    /// # Errors
    /// What ended it.
    pub(super) fn end<T>(mut self, guest: &Guest<'_>, result: Result<T>) -> Result<T> {
        self.record.bytes = self.progress.moved();
        guest.live.end_transfer();
        match &result {
            Ok(_) => self.record.end(guest.shared, Status::Sent, None),
            Err(error) => self.record.fail(guest.shared, Status::of(error), error),
        }
        result
    }
}

/// Opens what arrived, as it was then.
fn open_arrived(guest: &Guest<'_>, arrival: &Arrival) -> Result<OpenFile> {
    if arrival.size > guest.max_size() {
        return Err(too_large(guest.max_size()));
    }
    let open = guest.shared.store.open_file(&arrival.path)?;
    if (open.state.size, open.state.modified) != (arrival.size, arrival.modified) {
        return Err(Error::refused(ErrorCode::Changed, "the file changed since it arrived"));
    }
    Ok(open)
}
