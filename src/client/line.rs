//! A worker's line to the server: one connection at a time, dialled again with backoff when it breaks.
//!
//! Owns what downloads and uploads have in common: the queue that their workers take files from, the decision to try
//! again, and the decision that the server is gone. A line that finds no place is no reason for the others to end: whoever
//! rests gives its files to them, and only the last line gives up for all. Knows nothing of what is sent.

use super::options::Options;
use super::report::Status;
use super::retry::Backoff;
use super::session::Session;
use super::terminal::progress::Progress;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How soon a rest ends that is not needed any more.
const NAP: Duration = Duration::from_millis(100);

/// The files that workers share.
#[derive(Debug)]
pub(super) struct Queue<J> {
    shared: Mutex<Shared<J>>,
    /// The server did not come back: nobody tries any more.
    given_up: AtomicBool,
    /// How often something went well, on whichever line.
    went_well: AtomicU64,
}

#[derive(Debug)]
struct Shared<J> {
    jobs: VecDeque<J>,
    /// Lines that have not ended: what is handed back is theirs. Under one lock with the files, so that none is left behind.
    lines: usize,
}

/// One worker's connection.
pub(super) struct Line<'a, J> {
    queue: &'a Queue<J>,
    options: &'a Options,
    progress: &'a Progress,
    session: Option<Session>,
    backoff: Backoff,
    /// What [`Queue::went_well`] was when this line's attempts began.
    before: u64,
    /// It cannot reach the server any more; others can.
    is_retired: bool,
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
    /// Files for so many lines, each of which must be made.
    pub(super) fn new(jobs: Vec<J>, lines: usize) -> Self {
        let shared = Mutex::new(Shared { jobs: jobs.into(), lines });
        Self { shared, given_up: AtomicBool::new(false), went_well: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<J>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (backoff, again) = (Backoff::default(), VecDeque::new());
        Self { queue, options, progress, session, backoff, before: 0, is_retired: false, again }
    }

    /// The next file: one that must be tried again, or a new one.
    pub(super) fn next_job(&mut self) -> Option<J> {
        let next = || self.queue.lock().jobs.pop_front();
        self.again.pop_front().or_else(|| if self.is_retired { None } else { next() })
    }

    /// Whether no file is left for this worker now; another one may still hand some back.
    pub(super) fn is_done(&self) -> bool {
        self.is_retired || (self.again.is_empty() && self.queue.lock().jobs.is_empty())
    }

    /// Whether this line may not be used any more.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired
    }

    /// Ends, unless there is a file again.
    pub(super) fn end(&mut self) -> bool {
        if self.is_retired {
            return true;
        }
        let mut shared = self.queue.lock();
        let is_done = self.again.is_empty() && shared.jobs.is_empty();
        if is_done {
            shared.lines = shared.lines.saturating_sub(1);
        }
        is_done
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

    /// Something went well: an answer came, or bytes that are kept.
    pub(super) fn went_well(&mut self) {
        self.backoff.progress();
        self.queue.went_well.fetch_add(1, Ordering::Relaxed);
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
        let Some(rest) = self.next_rest().or_else(|| self.begin_anew()) else {
            if self.retire() {
                return Recovery::GoOn;
            }
            self.queue.given_up.store(true, Ordering::Relaxed);
            return Recovery::GiveUp(error);
        };
        hand_back(&mut self.again, &mut self.queue.lock());
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
        let Some(mut rest) = self.next_rest() else { return false };
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

    /// How long to rest before the next attempt; `None` if there is none.
    fn next_rest(&mut self) -> Option<Duration> {
        if !self.backoff.has_failed() {
            self.before = self.queue.went_well.load(Ordering::Relaxed);
        }
        self.backoff.next(self.options.link.retries)
    }

    /// As [`Line::next_rest`], after the last attempt: a server that others got through to meanwhile is not gone.
    fn begin_anew(&mut self) -> Option<Duration> {
        if self.queue.went_well.load(Ordering::Relaxed) == self.before {
            return None;
        }
        self.backoff.progress();
        self.next_rest()
    }

    /// Leaves everything to the other lines; `false` if there is none.
    fn retire(&mut self) -> bool {
        let mut shared = self.queue.lock();
        self.is_retired = shared.lines > 1;
        if self.is_retired {
            shared.lines = shared.lines.saturating_sub(1);
            hand_back(&mut self.again, &mut shared);
        }
        self.is_retired
    }

    fn say_again(&self, error: &Error, rest: Duration) {
        let target = &self.options.link.target;
        self.progress.lost(&error.to_string(), &target.to_string(), rest);
    }
}

/// Others need not wait for whoever rests: they take these first.
fn hand_back<J>(again: &mut VecDeque<J>, shared: &mut Shared<J>) {
    while let Some(job) = again.pop_back() {
        shared.jobs.push_front(job);
    }
}
