//! What type a file has, as a sender of relay A said it, or as its name looks.

use crate::server::web::kind;
use crate::store::Arrival;
use crate::wire::LiveId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many types are remembered.
const MOST: usize = 1024;

/// The MIME types that senders gave to the files that arrived last.
#[derive(Debug, Default)]
pub(in crate::server) struct Mimes {
    latest: Mutex<VecDeque<(LiveId, String)>>,
}

impl Mimes {
    /// Remembers what a sender said of an upload that is about to arrive.
    pub(super) fn remember(&self, upload: LiveId, mime: String) {
        let mut latest = self.lock();
        if latest.len() >= MOST {
            latest.pop_front();
        }
        latest.push_back((upload, mime));
    }

    /// The type of what arrived.
    pub(super) fn of(&self, arrival: &Arrival) -> String {
        let said = arrival.live.and_then(|live| self.find(live));
        said.unwrap_or_else(|| kind::guess(arrival.path.name()).to_owned())
    }

    fn find(&self, upload: LiveId) -> Option<String> {
        self.lock().iter().rev().find(|(known, _)| *known == upload).map(|(_, mime)| mime.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(LiveId, String)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
