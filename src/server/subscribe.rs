//! SUBSCRIBE (PROTOCOL.md, section 16): says what arrives in some folders, until the client's next request.
//!
//! Nothing is queued for a subscriber: this thread has a position in the journal, and sends what comes after it as fast as
//! the client takes it. One that reads slowly, or not at all, costs this thread until its deadline.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::session::Session;
use crate::connection::Ready;
use crate::error::{Error, Result};
use crate::store::{Arrival, Follower, Journal, Notice, Told};
use crate::wire::{
    Abandoned, Arrived, Arriving, ErrorCode, Gap, Position, RawBytes, RemoteFolder, Reply, Subscribe, Subscribed,
    Violation,
};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many folders can be followed at once.
const FOLDERS: RangeInclusive<usize> = 1..=64;
/// A client that hears nothing else hears WAIT, or POSITION, so often (PROTOCOL.md, section 12).
const KEEPALIVE: Duration = Duration::from_secs(10);
const NOTHING: Ready = Ready { input: false, other: false };

/// Where a subscriber begins, and what it has missed.
struct Start {
    after: u64,
    gap: Option<Gap>,
}

/// Answers SUBSCRIBE: SUBSCRIBED, events, and PAUSED as soon as the client has something to say.
pub(super) fn answer(session: &mut Session<'_>, subscribe: &Subscribe) -> Result<()> {
    session.settle()?;
    let asked = subscribe.folders.iter().map(|folder| folder.0.as_slice()).collect::<Vec<_>>().join(&b',');
    let folders = folders(subscribe).and_then(|folders| session.caller.followed(&folders));
    let folders = session.asked("SUBSCRIBE", &asked).note(folders)?;
    let counts = if session.caller.grant().is_everywhere() { Counts::Told } else { Counts::Hidden };
    let name = session.live.peer.to_string();
    let subscriber = subscribe.subscriber.map(|id| (id, name));
    // Followed first, so that whatever comes after the journal was looked at is heard of.
    let (follower, journal) = session.shared.store.follow(folders, subscriber)?;
    let start = start(subscribe, journal)?;
    let subscribed = Subscribed { journal: journal.id(), oldest: journal.oldest(), after: start.after };
    session.connection.send_reply(&Reply::Subscribed(subscribed))?;
    if let Some(gap) = start.gap {
        session.connection.send_reply(&Reply::Gap(gap))?;
    }
    log::info!(event = "subscribe", client:% = session.live.peer, after = start.after; "");
    // It stays among those who are present while it fetches what it was told of.
    let follower = session.follower.insert(follower);
    let mut events = Events { position: start.after, told: start.after, counts };
    // Whatever happened since it began to follow.
    let mut ready = Ready { input: session.connection.has_input(), other: true };
    loop {
        if ready.other {
            follower.looks();
        }
        for notice in session.shared.store.notices(follower) {
            session.connection.send_reply(&notice_of(&notice))?;
        }
        events.send_arrivals(session.shared, &mut session.connection, follower)?;
        session.connection.flush()?;
        session.connection.restart_pace();
        if ready.input {
            return session.connection.send_reply(&Reply::Paused(Position { after: events.position }));
        }
        ready = session.connection.wait_for_input_or(follower.descriptor(), KEEPALIVE)?;
        if ready == NOTHING {
            session.connection.send_reply(&events.keepalive())?;
        }
    }
}

fn folders(subscribe: &Subscribe) -> Result<Vec<RemoteFolder>> {
    if !FOLDERS.contains(&subscribe.folders.len()) {
        let (least, most) = (FOLDERS.start(), FOLDERS.end());
        return Err(Error::refused(
            ErrorCode::OutOfRange,
            format!("{least} to {most} folders can be followed at once"),
        ));
    }
    Ok(subscribe.folders.iter().map(|folder| RemoteFolder::parse(folder)).collect::<std::result::Result<_, _>>()?)
}

fn start(subscribe: &Subscribe, journal: &Journal) -> Result<Start> {
    let before_oldest = journal.oldest().saturating_sub(1);
    let after = match (subscribe.after, subscribe.journal) {
        (None, _) => return Ok(Start { after: journal.last(), gap: None }),
        (Some(0), None) => return Ok(Start { after: before_oldest, gap: None }),
        (Some(_), None) => return Err(Violation::Contradiction("SUBSCRIBE with a number of no journal").into()),
        (Some(after), Some(id)) if id == journal.id() && after <= journal.last() => after,
        (Some(_), Some(_)) => {
            return Ok(Start { after: before_oldest, gap: Some(Gap { after: before_oldest, missed: None }) });
        }
    };
    Ok(Start { after, gap: None })
}

/// How far a subscriber has got.
struct Events {
    position: u64,
    /// Up to which number it knows that.
    told: u64,
    counts: Counts,
}

/// Whether a subscriber is told how many arrivals were lost, in all folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Told,
    Hidden,
}

impl Events {
    fn send_arrivals(
        &mut self,
        shared: &super::Shared,
        connection: &mut crate::connection::Connection,
        follower: &Follower,
    ) -> Result<()> {
        loop {
            match shared.store.next_arrivals(follower, self.position)? {
                Told::Arrived(arrivals, up_to) => {
                    for arrival in arrivals {
                        connection.send_reply(&Reply::Arrived(arrived(&arrival)))?;
                        self.told = arrival.number;
                    }
                    self.position = up_to;
                }
                Told::Gap(up_to, missed) => {
                    let missed = (self.counts == Counts::Told).then_some(missed);
                    connection.send_reply(&Reply::Gap(Gap { after: up_to, missed }))?;
                    (self.position, self.told) = (up_to, up_to);
                }
                Told::Nothing(position) => {
                    self.position = position;
                    return Ok(());
                }
            }
        }
    }

    fn keepalive(&mut self) -> Reply {
        if self.told == self.position {
            return Reply::Wait;
        }
        self.told = self.position;
        Reply::Position(Position { after: self.position })
    }
}

fn arrived(arrival: &Arrival) -> Arrived {
    Arrived {
        number: arrival.number,
        path: RawBytes(arrival.path.as_bytes().to_vec()),
        size: arrival.size,
        digest: arrival.digest,
        modified: arrival.modified,
        time: arrival.time,
        live: arrival.live,
        publisher: arrival.publisher.clone(),
    }
}

fn notice_of(notice: &Notice) -> Reply {
    let upload = notice.upload();
    let (live, path) = (upload.id, RawBytes(upload.path.as_bytes().to_vec()));
    match notice {
        Notice::Arriving(upload) => Reply::Arriving(Arriving { live, path, size: upload.size }),
        Notice::Abandoned(_) => Reply::Abandoned(Abandoned { live, path }),
    }
}
