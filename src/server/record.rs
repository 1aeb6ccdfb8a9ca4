//! The record of a transfer: one line in `transfers.log` when it ends, and the counts that the console shows.

use super::Shared;
use super::admission::Direction;
use crate::error::Error;
use crate::wire::{SubscriberId, TransferId};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What the server did since it started.
#[derive(Debug, Default)]
pub(super) struct Stats {
    ended: [[[AtomicU64; Status::ALL.len()]; Via::ALL.len()]; Direction::ALL.len()],
    bytes: [[AtomicU64; Via::ALL.len()]; Direction::ALL.len()],
}

impl Stats {
    /// Transfers that ended so.
    pub(super) fn ended(&self, direction: Direction, via: Via, status: Status) -> u64 {
        self.ended[direction as usize][via as usize][status as usize].load(Ordering::Relaxed)
    }

    /// Bytes that transfers which ended have moved.
    pub(super) fn bytes_of(&self, direction: Direction, via: Via) -> u64 {
        self.bytes[direction as usize][via as usize].load(Ordering::Relaxed)
    }

    /// Transfers that ended well, and those that did not.
    pub(super) fn good_and_bad(&self) -> (u64, u64) {
        let (mut good, mut bad) = (0, 0);
        for (status, count) in self.ended.as_flattened().iter().flat_map(|counts| Status::ALL.iter().zip(counts)) {
            *(if status.is_good() { &mut good } else { &mut bad }) += count.load(Ordering::Relaxed);
        }
        (good, bad)
    }

    /// Bytes of all transfers that ended.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.as_flattened().iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    fn note(&self, record: &Record, status: Status) {
        let (direction, via) = (record.direction as usize, record.via as usize);
        self.ended[direction][via][status as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes[direction][via].fetch_add(record.bytes, Ordering::Relaxed);
    }
}

/// A transfer that began.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: TransferId,
    pub(super) direction: Direction,
    pub(super) via: Via,
    pub(super) client: SocketAddr,
    /// Harmless text.
    pub(super) path: String,
    pub(super) size: Option<u64>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) began: Instant,
}

/// What a transfer was asked for over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// The native protocol.
    Native,
    /// HTTP.
    Web,
    /// Relay A, by WebSocket.
    RelayA,
    /// Relay B, by WebSocket.
    RelayB,
}

impl Via {
    pub(super) const ALL: [Self; 4] = [Self::Native, Self::Web, Self::RelayA, Self::RelayB];

    /// The name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Web => "web",
            Self::RelayA => "relay-a",
            Self::RelayB => "relay-b",
        }
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Verified and in place at the receiver, by the receiver's own word.
    Ok,
    /// Sent whole to a receiver that cannot say what became of it.
    Sent,
    /// The sender or the receiver gave it up.
    Aborted,
    /// The connection ended before it was done.
    Incomplete,
    /// It could not be done.
    Failed,
    /// It was not allowed, or not possible, from the start.
    Refused,
}

impl Status {
    pub(super) const ALL: [Self; 6] =
        [Self::Ok, Self::Sent, Self::Aborted, Self::Incomplete, Self::Failed, Self::Refused];

    fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Sent)
    }

    /// The name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Sent => "sent",
            Self::Aborted => "aborted",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// What an error makes of a transfer that had begun.
    pub(super) fn of(error: &Error) -> Self {
        use crate::wire::ErrorCode::Abandoned;
        match error {
            Error::Network { .. } | Error::Timeout { .. } => Self::Incomplete,
            Error::Refused { code: Abandoned, .. } => Self::Aborted,
            _ => Self::Failed,
        }
    }
}

impl Record {
    /// Begins the record of a transfer. `path` is harmless text.
    pub(super) fn begin(
        shared: &Shared,
        client: SocketAddr,
        via: Via,
        direction: Direction,
        path: String,
        size: Option<u64>,
    ) -> Self {
        let (id, began) = (shared.next_transfer(), Instant::now());
        Self { id, direction, via, client, path, size, offset: 0, bytes: 0, began }
    }

    /// Ends the record: one line.
    pub(super) fn end(&self, shared: &Shared, status: Status, cause: Option<&str>) {
        self.log(shared, status, cause, None);
    }

    /// Ends the record of an upload that is stored, with the number of its arrival if it is one.
    pub(super) fn stored(&self, shared: &Shared, arrival: Option<u64>) {
        self.log(shared, Status::Ok, None, arrival);
    }

    fn log(&self, shared: &Shared, status: Status, cause: Option<&str>, arrival: Option<u64>) {
        shared.stats.note(self, status);
        let event = self.direction.name();
        let level = if status.is_good() { log::Level::Info } else { log::Level::Warn };
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let size = self.size.unwrap_or(self.offset + self.bytes);
        // Who follows its folder: so many are expected to say that they received it.
        let followers = arrival.and_then(|number| shared.store.receivers(number));
        let followers = followers.map(|them| them.len()).filter(|count| *count > 0);
        let (id, client, via, path, status) = (self.id, self.client, self.via.name(), &self.path, status.name());
        log::log!(target: "transfer", level, event, id:%, client:%, via, path:%, size,
            offset = self.offset, bytes = self.bytes, ms, status, arrival, followers, cause; "");
    }

    /// Ends the record of a transfer that an error ended.
    pub(super) fn fail(&self, shared: &Shared, status: Status, error: &Error) {
        self.end(shared, status, Some(&error.to_string()));
    }
}

/// Logs a receiver's word on an arrival: one line. `path` is that of the download that it ends, if there was one.
pub(super) fn received(
    arrival: u64,
    subscriber: SubscriberId,
    client: SocketAddr,
    path: Option<&str>,
    status: Status,
    cause: Option<&str>,
) {
    let level = if status == Status::Ok { log::Level::Info } else { log::Level::Warn };
    // Enough to tell receivers apart, and not enough to speak in the name of one.
    let subscriber = subscriber.to_string();
    let subscriber = subscriber.get(..8).unwrap_or_default();
    log::log!(target: "transfer", level, event = "received", arrival, client:%, via = Via::Native.name(), path,
        subscriber, status = status.name(), cause; "");
}
