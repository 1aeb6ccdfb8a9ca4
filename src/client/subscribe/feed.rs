//! The connection that follows: it is told what arrives, and tells the board.
//!
//! Owns SUBSCRIBE and its events (PROTOCOL.md, section 16), and the patience with a server that goes away: there is no end to it.
//! Fetches nothing.

use super::arrival::{Arrival, path};
use super::board::{Board, Stop};
use super::teller::Teller;
use super::{From, LONGEST_REST, Plan, may_pass};
use crate::client::folder::Folder;
use crate::client::options::Link;
use crate::client::retry::Backoff;
use crate::client::session::Session;
use crate::error::{Error, Result};
use crate::wire::{Arriving, JournalId, RawBytes, Reply, Request, Subscribe, Subscribed, Violation};
use std::time::{Duration, Instant};

/// A server that says nothing for so long after SUBSCRIBED has told everything that was missed.
const CAUGHT_UP: Duration = Duration::from_millis(150);
/// A connection that lasted so long was worth dialling.
const LASTED: Duration = Duration::from_secs(5);

/// What it takes to follow.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) plan: &'a Plan,
    pub(super) link: &'a Link,
    pub(super) folder: &'a Folder,
    pub(super) board: &'a Board,
    pub(super) teller: &'a Teller,
    /// Where files go, for what is said.
    pub(super) place: String,
    /// Since when the connection is away; `None` before the first one.
    pub(super) away: Option<Instant>,
    /// Whether `--from` has been done justice.
    pub(super) has_begun: bool,
}

impl Feed<'_> {
    /// Follows until everything ends; then the board knows why.
    pub(super) fn run(&mut self) {
        let mut backoff = Backoff::up_to(LONGEST_REST);
        let why = loop {
            let began = Instant::now();
            let Err(error) = self.follow();
            if self.link.cancel.is_cancelled() || self.board.is_stopped() {
                break Stop::Asked;
            }
            // Who has followed before need not be told that the server cannot do it just now.
            let gets_better = error.is_worth_a_retry() || (self.has_begun && may_pass(&error));
            if !gets_better {
                break Stop::Failed(error);
            }
            if began.elapsed() > LASTED {
                backoff.progress();
            }
            self.away.get_or_insert_with(Instant::now);
            let rest = backoff.again();
            self.teller.lost(&error, &self.link.target.to_string(), rest);
            if !self.link.cancel.rest(rest) {
                break Stop::Asked;
            }
            self.teller.trying();
        };
        match why {
            Stop::Failed(error) => self.board.stop_with(error, &self.link.cancel),
            why => self.board.stop(why),
        }
    }

    /// Follows on one connection. There is no good end to it.
    fn follow(&mut self) -> Result<std::convert::Infallible> {
        let mut session = self.link.open()?;
        let mut catching_up = self.subscribe(&mut session)?;
        loop {
            if catching_up && !session.has_answer() {
                self.link.cancel.rest(CAUGHT_UP);
                if !session.has_answer() {
                    catching_up = false;
                    self.board.caught_up().into_iter().for_each(|missed| self.teller.caught_up(missed));
                }
            }
            let event = session.answer()?;
            self.event(event)?;
            if self.board.is_full() {
                self.pause(&mut session)?;
            }
        }
    }

    /// Asks to be told, from where that ended before. Whether arrivals may have been missed.
    fn subscribe(&mut self, session: &mut Session) -> Result<bool> {
        let told = self.board.told();
        let (after, journal) = match (told, self.plan.from) {
            (Some((journal, after)), _) => (Some(after), Some(journal)),
            (None, From::Start) if !self.has_begun => (Some(0), None),
            (None, _) => (None, None),
        };
        let Subscribed { journal, after, .. } = self.ask(session, after, journal)?;
        match self.away.take() {
            Some(since) if self.has_begun => self.teller.back(session, since.elapsed()),
            _ => self.teller.following(&self.plan.topics, session, after, &self.place),
        }
        self.has_begun = true;
        if told.is_some() {
            self.board.catch_up();
        }
        if let Err(error) = self.board.subscribed(journal, after) {
            self.teller.problem(&error.to_string());
        }
        Ok(told.is_some())
    }

    fn event(&self, event: Reply) -> Result<()> {
        match event {
            Reply::Arriving(arriving) => self.arriving(arriving)?,
            Reply::Arrived(arrived) => {
                let number = arrived.number;
                match Arrival::parse(arrived, self.board.run(), &self.plan.topics)? {
                    Some(arrival) => self.arrived(arrival),
                    None => {
                        self.teller.problem(&format!("arrival {number} has a name that no file can have: left out"));
                        self.pass(number);
                    }
                }
            }
            Reply::Abandoned(abandoned) => {
                self.board.abandoned(abandoned.live);
                let path = path(&abandoned.path, &self.plan.topics)?;
                path.iter().for_each(|path| self.teller.abandoned(path));
            }
            Reply::Gap(gap) => {
                self.teller.gap(gap);
                self.pass(gap.after);
            }
            Reply::Position(position) | Reply::Paused(position) => self.pass(position.after),
            reply => return Err(Violation::Unexpected(reply.kind()).into()),
        }
        Ok(())
    }

    fn arriving(&self, arriving: Arriving) -> Result<()> {
        let Arriving { live, path: raw, size } = arriving;
        let Some(path) = path(&raw, &self.plan.topics)? else { return Ok(()) };
        let is_news = !self.plan.live || self.board.arriving(live, path.clone(), size);
        if is_news {
            self.teller.arriving(&path, size);
        }
        Ok(())
    }

    fn arrived(&self, arrival: Arrival) {
        let has_partial = self.plan.live && arrival.live.is_some_and(|live| self.folder.has_live_partial(live));
        if self.board.arrived(arrival.clone(), has_partial) {
            self.teller.arrived(&arrival);
        }
    }

    fn pass(&self, after: u64) {
        if let Err(error) = self.board.pass(after) {
            self.teller.problem(&error.to_string());
        }
    }

    /// More was told than can be fetched soon: has the server pause, waits, and goes on from there.
    fn pause(&mut self, session: &mut Session) -> Result<()> {
        session.request(&Request::Ping)?;
        session.flush()?;
        loop {
            match session.answer()? {
                Reply::Pong => break,
                event => self.event(event)?,
            }
        }
        self.board.wait_for_room(&self.link.cancel);
        if self.board.is_stopped() || self.link.cancel.is_cancelled() {
            return Err(Error::disconnected("stopped"));
        }
        let told = self.board.told();
        self.ask(session, told.map(|it| it.1), told.map(|it| it.0)).map(|_| ())
    }

    fn ask(&self, session: &mut Session, after: Option<u64>, journal: Option<JournalId>) -> Result<Subscribed> {
        let folders = self.plan.topics.iter().map(|topic| RawBytes(topic.as_bytes().to_vec())).collect();
        let subscriber = Some(self.board.subscriber());
        session.request(&Request::Subscribe(Subscribe { folders, after, journal, subscriber }))?;
        session.flush()?;
        match session.answer()? {
            Reply::Subscribed(subscribed) => Ok(subscribed),
            reply => Err(Violation::Unexpected(reply.kind()).into()),
        }
    }
}
