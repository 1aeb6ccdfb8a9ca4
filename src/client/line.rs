//! A worker's line to the server: one connection at a time, dialled again with backoff when it breaks.
//!
//! Owns what downloads and uploads have in common: the queue that their workers take files from, the decision to try
//! again, and the decision that the server is gone. Knows nothing of what is sent.

use super::options::Options;
use super::report::Status;
use super::retry::Backoff;
use super::session::Session;
use super::terminal::progress::Progress;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How soon a rest ends that is not needed any more.
const NAP: Duration = Duration::from_millis(100);

/// The files that workers share.
#[derive(Debug)]
pub(super) struct Queue<J> {
    jobs: Mutex<VecDeque<J>>,
    /// The server did not come back: nobody tries any more.
    given_up: AtomicBool,
}

/// One worker's connection.
pub(super) struct Line<'a, J> {
    queue: &'a Queue<J>,
    options: &'a Options,
    progress: &'a Progress,
    session: Option<Session>,
    backoff: Backoff,
    /// Files of this worker that must be tried again, before others are taken.
    again: VecDeque<J>,
}

/// What follows a broken connection.
#[derive(Debug)]
pub(super) enum Recovery {
    /// The rest is over: what was on its way is tried again, or everything is being stopped.
    GoOn,
    /// The first file of those that were on their way is given up, for this reason.
    GiveUp(Error),
}

impl<J> Queue<J> {
    pub(super) fn new(jobs: Vec<J>) -> Self {
        Self { jobs: Mutex::new(jobs.into()), given_up: AtomicBool::new(false) }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<J>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, J> Line<'a, J> {
    /// A line that uses `session` first, if there is one.
    pub(super) fn new(
        queue: &'a Queue<J>,
        options: &'a Options,
        progress: &'a Progress,
        session: Option<Session>,
    ) -> Self {
        Self { queue, options, progress, session, backoff: Backoff::default(), again: VecDeque::new() }
    }

    /// The next file: one that must be tried again, or a new one.
    pub(super) fn next_job(&mut self) -> Option<J> {
        self.again.pop_front().or_else(|| self.queue.jobs().pop_front())
    }

    /// Whether no file is left for this worker.
    pub(super) fn is_done(&self) -> bool {
        self.again.is_empty() && self.queue.jobs().is_empty()
    }

    /// A file that must be tried again, before all others.
    pub(super) fn again(&mut self, job: J) {
        self.again.push_front(job);
    }

    /// The connection, dialled if there is none.
    pub(super) fn session(&mut self) -> Result<&mut Session> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.options.link.open()?,
        };
        Ok(self.session.insert(session))
    }

    /// The connection, if there is one.
    pub(super) fn open_session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Takes the connection away; the next use dials.
    pub(super) fn take_session(&mut self) -> Option<Session> {
        self.session.take()
    }

    /// Why nothing more is tried, if that is so.
    pub(super) fn not_tried(&self) -> Option<Status> {
        if self.options.link.cancel.is_cancelled() {
            return Some(Status::Interrupted { partial: 0 });
        }
        let given_up = self.queue.given_up.load(Ordering::Relaxed);
        given_up.then(|| Status::Failed { error: Error::disconnected("not tried: the server went away"), partial: 0 })
    }

    /// Whether everything is being stopped.
    pub(super) fn is_cancelled(&self) -> bool {
        self.options.link.cancel.is_cancelled()
    }

    /// Something went well.
    pub(super) fn went_well(&mut self) {
        self.backoff.progress();
    }

    /// A connection broke, or cannot be had. What was on its way must have been given to [`Line::again`].
    pub(super) fn recover(&mut self, error: Error) -> Recovery {
        self.session = None;
        let link = &self.options.link;
        if self.not_tried().is_some() {
            return Recovery::GoOn;
        }
        if !error.is_worth_a_retry() {
            return Recovery::GiveUp(error);
        }
        let Some(rest) = self.backoff.next(link.retries) else {
            self.queue.given_up.store(true, Ordering::Relaxed);
            return Recovery::GiveUp(error);
        };
        self.say_again(&error, rest);
        link.cancel.rest(rest);
        Recovery::GoOn
    }

    /// A connection broke, or cannot be had, that others may do without: rests, unless it is not wanted any more. `false` if
    /// no attempt is left, or everything is being stopped.
    pub(super) fn try_again(&mut self, error: &Error, is_wanted: &dyn Fn() -> bool) -> bool {
        self.session = None;
        let link = &self.options.link;
        if self.not_tried().is_some() {
            return false;
        }
        let Some(mut rest) = self.backoff.next(link.retries) else { return false };
        self.say_again(error, rest);
        let before = link.cancel.hurries();
        while !rest.is_zero() && is_wanted() && link.cancel.hurries() == before {
            let nap = rest.min(NAP);
            if !link.cancel.rest(nap) {
                return false;
            }
            rest -= nap;
        }
        true
    }

    fn say_again(&self, error: &Error, rest: Duration) {
        let target = &self.options.link.target;
        self.progress.lost(&error.to_string(), &target.to_string(), rest);
    }
}
