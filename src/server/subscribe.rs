//! SUBSCRIBE (PROTOCOL.md, section 16): says what arrives in some folders, until the client's next request.
//!
//! Nothing is queued for a subscriber: this thread has a position in the journal, and sends what comes after it as fast as
//! the client takes it. One that reads slowly, or not at all, costs this thread until its deadline.
//!
//! [`Subscription`] is what every protocol on the port tells events from; each has its own words for them.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Shared;
use super::session::Session;
use crate::access::Caller;
use crate::connection::Ready;
use crate::error::{Error, Result};
use crate::store::{Arrival, Follower, Journal, Notice, Store, Told};
use crate::wire::{
    Abandoned, Arrived, Arriving, ErrorCode, Gap, Position, RawBytes, RemoteFolder, Reply, Subscribe, Subscribed,
    Violation,
};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
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
    let Session { shared, connection, live, caller, .. } = session;
    let mut send = |reply: &Reply| connection.send_reply(reply);
    let begun = Subscription::begin(shared, live.peer, caller, subscribe, &mut send);
    let mut subscription = session.asked("SUBSCRIBE", &asked).note(begun)?;
    session.follower = None;
    // Whatever happened since it began to follow.
    let mut ready = Ready { input: session.connection.has_message(), other: true };
    loop {
        if ready.other {
            subscription.looks();
        }
        let connection = &mut session.connection;
        subscription.tell(&session.shared.store, &mut |reply| connection.send_reply(reply))?;
        connection.flush()?;
        connection.restart_pace();
        // A part of a frame may be of a request, too.
        if ready.input && (connection.has_message() || connection.has_buffered_input()) {
            connection.send_reply(&Reply::Paused(Position { after: subscription.position }))?;
            // It stays among those who are present while it fetches what it was told of.
            session.follower = Some(subscription.follower);
            return Ok(());
        }
        ready = connection.wait_for_input_or(subscription.descriptor(), KEEPALIVE)?;
        if ready == NOTHING {
            connection.send_reply(&subscription.position_if_news().unwrap_or(Reply::Wait))?;
        }
    }
}

/// Somebody who is told what happens in some folders, and how far that got.
#[derive(Debug)]
pub(super) struct Subscription {
    follower: Follower,
    position: u64,
    /// Up to which number the subscriber knows that.
    told: u64,
    counts: Counts,
}

/// Whether a subscriber is told how many arrivals were lost, in all folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Told,
    Hidden,
}

/// Sends an event to a subscriber.
pub(super) type Send<'a> = dyn FnMut(&Reply) -> Result<()> + 'a;

impl Subscription {
    /// Begins as a SUBSCRIBE says, in as much of its folders as the caller may follow, and sends where that is, and what was
    /// missed.
    ///
    /// # Errors
    /// The refusals of SUBSCRIBE; those of `send`.
    pub(super) fn begin(
        shared: &Shared,
        client: SocketAddr,
        caller: &Caller,
        subscribe: &Subscribe,
        send: &mut Send<'_>,
    ) -> Result<Self> {
        let folders = caller.followed(&folders(subscribe)?)?;
        let counts = if caller.grant().is_everywhere() { Counts::Told } else { Counts::Hidden };
        let subscriber = subscribe.subscriber.map(|id| (id, client.to_string()));
        // Followed first, so that whatever comes after the journal was looked at is heard of.
        let (follower, journal) = shared.store.follow(folders, subscriber)?;
        let Start { after, gap } = start(subscribe, journal)?;
        send(&Reply::Subscribed(Subscribed { journal: journal.id(), oldest: journal.oldest(), after }))?;
        if let Some(gap) = gap {
            send(&Reply::Gap(gap))?;
        }
        log::info!(event = "subscribe", client:%, after; "");
        Ok(Self { follower, position: after, told: after, counts })
    }

    /// Readable as soon as there is something to tell.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.follower.descriptor()
    }

    /// What was readable is about to be told.
    pub(super) fn looks(&self) {
        self.follower.looks();
    }

    /// Sends what happened since.
    ///
    /// # Errors
    /// Those of the journal and of `send`.
    pub(super) fn tell(&mut self, store: &Store, send: &mut Send<'_>) -> Result<()> {
        self.tell_notices(store, send)?;
        loop {
            match store.next_arrivals(&self.follower, self.position)? {
                Told::Arrived(arrivals, up_to) => {
                    // An upload may have begun and arrived since: that it comes is told before that it is here.
                    self.tell_notices(store, send)?;
                    for arrival in arrivals {
                        send(&Reply::Arrived(arrived(&arrival)))?;
                        self.told = arrival.number;
                    }
                    self.position = up_to;
                }
                Told::Gap(up_to, missed) => {
                    let missed = (self.counts == Counts::Told).then_some(missed);
                    send(&Reply::Gap(Gap { after: up_to, missed }))?;
                    (self.position, self.told) = (up_to, up_to);
                }
                Told::Nothing(position) => {
                    self.position = position;
                    return Ok(());
                }
            }
        }
    }

    fn tell_notices(&mut self, store: &Store, send: &mut Send<'_>) -> Result<()> {
        store.notices(&mut self.follower).iter().try_for_each(|notice| send(&notice_of(notice)))
    }

    /// How far it got, if the subscriber does not know that yet.
    pub(super) fn position_if_news(&mut self) -> Option<Reply> {
        if self.told == self.position {
            return None;
        }
        self.told = self.position;
        Some(Reply::Position(Position { after: self.position }))
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
