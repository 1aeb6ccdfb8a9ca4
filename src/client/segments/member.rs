//! One connection's part in fetching a file in segments.
//!
//! Owns the requests on that connection and their answers, and what happens when it breaks.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::file::{Announced, Part, Segmented};
use super::get;
use crate::client::cancel::stopped;
use crate::client::job::Job;
use crate::client::line::Line;
use crate::error::Result;
use crate::transfer::{Node, Sink};
use crate::wire::{Get, Request, TransferId, Violation};
use std::collections::VecDeque;

/// Requests of one connection on their way, so that no round trip passes between one segment and the next.
const AHEAD: usize = 2;

/// One connection's part in it.
pub(super) struct Member<'a, 'q> {
    line: &'a mut Line<'q, Job>,
    file: &'a Segmented,
    /// What is on its way, in the order of the requests.
    asked: VecDeque<Part>,
    done: Done,
}

/// What a member did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whole segments that this connection brought, and whose receipts are due.
    pub(super) transfers: Vec<TransferId>,
    /// It cannot reach the server any more.
    pub(super) left: bool,
}

impl<'a, 'q> Member<'a, 'q> {
    pub(super) fn new(line: &'a mut Line<'q, Job>, file: &'a Segmented) -> Self {
        file.join();
        Self { line, file, asked: VecDeque::new(), done: Done::default() }
    }

    /// Fetches parts until there are no more.
    pub(super) fn run(mut self) -> Done {
        while !self.asked.is_empty() || self.file.wait_for_work() {
            match self.step() {
                Ok(()) => {}
                Err(error) if error.is_worth_a_retry() => {
                    self.give_back();
                    if !self.line.try_again(&error, &|| self.file.is_wanted()) && self.file.is_wanted() {
                        self.done.left = true;
                        self.file.leave(Some(error));
                        return self.done;
                    }
                }
                Err(error) => {
                    self.give_back();
                    self.file.fail(error);
                }
            }
        }
        self.file.leave(None);
        self.done
    }

    /// Asks for what is next, and takes one answer.
    fn step(&mut self) -> Result<()> {
        self.ask()?;
        // Somebody else may have been faster.
        let Some(mut part) = self.asked.pop_front() else { return Ok(()) };
        let result = match &mut part {
            Part::Digest => self.take_digest(),
            Part::Segment { index, stored } => self.take_segment(*index, stored),
        };
        match result {
            Ok(()) => self.line.went_well(),
            Err(_) => self.asked.push_front(part),
        }
        result
    }

    fn ask(&mut self) -> Result<()> {
        // Behind the digest nothing is asked for: others have it sooner.
        while self.asked.len() < AHEAD
            && !matches!(self.asked.back(), Some(Part::Digest))
            && let Some(part) = self.file.take(self.asked.len())
        {
            self.asked.push_back(part);
            let file = self.file;
            let request = match part {
                Part::Digest => get(file.path(), 0, 0),
                Part::Segment { index, stored } => {
                    let (offset, length) = file.segments().part(index);
                    let get = get(file.path(), offset.saturating_add(stored), length.saturating_sub(stored));
                    Get { digest: Some(false), ..get }
                }
            };
            let request = Get { version: Some(file.version().clone()), ..request };
            self.line.session()?.request(&Request::Get(request))?;
        }
        match self.line.open_session() {
            Some(session) if !self.asked.is_empty() => session.flush(),
            _ => Ok(()),
        }
    }

    fn take_segment(&mut self, index: usize, stored: &mut u64) -> Result<()> {
        let file = self.file;
        let (start, length) = file.segments().part(index);
        let (offset, left) = (start.saturating_add(*stored), length.saturating_sub(*stored));
        let session = self.line.session()?;
        let header = session.file_header()?;
        file.check(&header, offset, left)?;
        let mut hasher = file.segments().hasher(index);
        file.hash_stored(&mut hasher, start, *stored)?;
        let mut place = Place { file, end: offset };
        let body = session.file_body(&header, &mut place, hasher, file.shown());
        let end = place.end;
        if end > offset {
            // A line that breaks again and again still brings something each time.
            self.line.went_well();
        }
        *stored = end.saturating_sub(start);
        let (received, _) = body?;
        let node = Node::of(&received.hasher).ok_or(Violation::Contradiction("a segment without bytes"))?;
        file.finish(index, node, header.transfer)?;
        self.done.transfers.push(header.transfer);
        Ok(())
    }

    fn take_digest(&mut self) -> Result<()> {
        let session = self.line.session()?;
        let header = session.file_header()?;
        self.file.check(&header, 0, 0)?;
        let digest =
            session.no_body(&header)?.ok_or(Violation::Contradiction("END without the digest that was asked for"))?;
        self.file.announce(Announced { digest, modified: header.modified, transfer: header.transfer });
        Ok(())
    }

    /// What was on its way goes back to be had by all. The connection is out of step, or broken.
    fn give_back(&mut self) {
        self.line.take_session();
        // Receipts of what this connection brought cannot be sent on another one.
        self.done.transfers.clear();
        self.file.give_back(&mut self.asked);
    }
}

/// Where the bytes of a segment go.
struct Place<'a> {
    file: &'a Segmented,
    end: u64,
}

impl Sink for Place<'_> {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        if self.file.shown().is_asked_to_stop() {
            return Err(stopped());
        }
        self.file.write(bytes, self.end)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.end = self.end.saturating_sub(bytes);
        Ok(())
    }
}
