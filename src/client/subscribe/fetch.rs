//! One of the connections that fetch what arrives.
//!
//! Owns the worker and the fetching of files by their paths: what is here in part is gone on with, and bytes that are not those
//! of the arrival are no file. What cannot be had now goes back to the board.

use super::arrival::{Arrival, Number};
use super::board::{Board, Wanted, Work};
use super::teller::{Teller, Told, told};
use super::{LONGEST_REST, may_pass};
use crate::client::cancel::hash_unless_stopped;
use crate::client::folder::{Folder, Growth, Partial, Placed};
use crate::client::options::Options;
use crate::client::report::Status;
use crate::client::retry::Backoff;
use crate::client::session::Session;
use crate::client::terminal::progress::Transfer;
use crate::client::terminal::quantity::size;
use crate::error::{Error, Result};
use crate::staged::{Staged, Verified};
use crate::wire::{
    ErrorCode, FileHeader, Get, Receipt, ReceiptOutcome, RemoteFolder, RemotePath, Request, TransferId, Violation,
};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What all that fetch share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) topics: &'a [RemoteFolder],
    pub(super) options: &'a Options,
    pub(super) folder: &'a Folder,
    pub(super) board: &'a Board,
    pub(super) teller: &'a Teller,
}

/// A file that is safely in its place, for the program that is run for it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) told: Told,
    pub(super) place: RemotePath,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    pub(super) shared: &'a Shared<'a>,
    wanted: Wanted,
    pub(super) program: Option<Sender<Finished>>,
    pub(super) session: Option<Session>,
    /// How many connections there were so far, and which of them was asked last.
    dialled: u64,
    asked: u64,
    backoff: Backoff,
    /// Arrivals whose receipts were lost with a connection.
    pub(super) owed: Vec<Number>,
}

/// A file that came in whole, and is not in its place yet.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) arrival: Arrival,
    pub(super) verified: Verified,
    pub(super) transfer: TransferId,
    pub(super) shown: Arc<Transfer>,
    pub(super) resumed: u64,
}

/// A GET that is on its way.
struct Waiting {
    arrival: Arrival,
    partial: Option<(Partial, blake3::Hasher)>,
    shown: Arc<Transfer>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, wanted: Wanted, program: Option<Sender<Finished>>) -> Self {
        let (session, backoff) = (None, Backoff::up_to(LONGEST_REST));
        Self { shared, wanted, program, session, dialled: 0, asked: 0, backoff, owed: Vec::new() }
    }

    /// Works until everything ends.
    pub(super) fn run(mut self) {
        while let Some(work) = self.shared.board.take(self.wanted, self.session.is_some()) {
            let result = match work {
                Work::Files(arrivals) => self.files(arrivals),
                Work::Live(job) => self.live(&job),
                Work::Rest => {
                    self.session.take().into_iter().for_each(Session::close);
                    Ok(())
                }
            };
            match result {
                Ok(()) => self.backoff.progress(),
                Err(error) => self.recover(error),
            }
        }
        self.session.take().into_iter().for_each(Session::close);
        self.shared.board.end_work();
    }

    /// What was on its way is with the board again; this rests before it asks for more.
    fn recover(&mut self, error: Error) {
        match error {
            // The connection that follows says so, and notices when the server is back.
            error if error.is_worth_a_retry() || may_pass(&error) => self.session = None,
            Error::Local { .. } => self.shared.teller.problem(&error.to_string()),
            error => return self.shared.board.stop_with(error, &self.shared.options.link.cancel),
        }
        self.shared.board.rest(self.backoff.again());
    }

    /// The connection. One that the server closed while nothing was asked for is dialled again without a word.
    pub(super) fn session(&mut self) -> Result<&mut Session> {
        let session = match self.session.take().filter(|session| !session.is_cut()) {
            Some(session) => session,
            None => {
                let link = &self.shared.options.link;
                let mut session = link.open()?;
                self.dialled = self.dialled.saturating_add(1);
                let owed = std::mem::take(&mut self.owed);
                for number in owed.into_iter().filter_map(|number| self.shared.board.known(number)) {
                    session.request(&Request::Receipt(Receipt {
                        number: Some(number),
                        subscriber: Some(self.shared.board.subscriber()),
                        ..Receipt::new(TransferId::default(), ReceiptOutcome::Verified)
                    }))?;
                }
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// The connection on which was asked. If it is gone, nobody waits on another one for what was not asked there.
    fn asked(&mut self) -> Result<&mut Session> {
        let is_it = self.dialled == self.asked;
        let session = self.session.as_mut().filter(|session| is_it && !session.is_cut());
        session.ok_or_else(|| Error::disconnected("receive"))
    }

    /// Fetches arrivals by their paths. Those that could not be had go back to the board.
    fn files(&mut self, arrivals: Vec<Arrival>) -> Result<()> {
        if self.session.as_mut().is_some_and(Session::has_answer) {
            self.session = None;
        }
        let (mut missing, mut here) = (Vec::new(), Vec::new());
        for arrival in arrivals {
            let policy = self.shared.options.on_conflict;
            match self.shared.folder.find_same(&arrival.path, arrival.size, arrival.digest, policy) {
                Ok(None) => missing.push(arrival),
                Ok(Some(Placed::Identical(place))) => here.push((arrival, place)),
                Ok(Some(_)) => self.fail(arrival, Status::Skipped, None),
                Err(error) => self.later_or_fail(arrival, error),
            }
        }
        self.keep(here);
        let mut waiting = Vec::new();
        for arrival in missing {
            match self.has_room_for(&arrival) {
                Ok(()) => waiting.push(self.wait_for(arrival)),
                Err(error) => self.later_or_fail(arrival, error),
            }
        }
        let (whole, result) = self.receive_all(&mut waiting);
        let back = waiting.into_iter().map(|waiting| self.leave(waiting)).collect();
        self.put_back(back);
        let mut arrivals: Vec<_> = whole.iter().map(|whole| whole.arrival.clone()).collect();
        let (surplus, settled) = self.settle(whole);
        if let Err(error) = settled {
            arrivals.retain(|arrival| !surplus.contains(arrival));
            self.not_placed(arrivals, error);
        }
        self.put_back(surplus);
        result
    }

    /// Bytes that cannot be stored need not be asked for.
    fn has_room_for(&self, arrival: &Arrival) -> Result<()> {
        let free = self.shared.folder.free_space()?;
        if arrival.size <= free || self.shared.folder.has_partial(&arrival.path, Growth::Appended) {
            return Ok(());
        }
        let why = format!("need {}, {} free", size(arrival.size), size(free));
        Err(Error::local("store", &arrival.path, std::io::Error::new(std::io::ErrorKind::StorageFull, why)))
    }

    /// Prepares a GET: what an earlier attempt left of the file is gone on with.
    fn wait_for(&self, arrival: Arrival) -> Waiting {
        let partial = self.shared.folder.partial(&arrival.path, Growth::Appended).ok().flatten();
        let partial = partial.and_then(|partial| self.hashed(partial, Some(arrival.size)));
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let shown = self.shared.teller.start(&arrival.path, Some(arrival.size), held);
        Waiting { arrival, partial, shown }
    }

    /// A partial file and its digest so far, if it can be gone on with; otherwise it is removed.
    pub(super) fn hashed(&self, mut partial: Partial, size: Option<u64>) -> Option<(Partial, blake3::Hasher)> {
        let held = partial.staged.length();
        let mut hasher = blake3::Hasher::new();
        let stop = || self.shared.options.link.cancel.is_cancelled();
        let is_wanted = self.shared.options.resume && size.is_none_or(|size| held <= size);
        if is_wanted && hash_unless_stopped(&mut hasher, partial.staged.file(), 0, held, &stop).unwrap_or(false) {
            return Some((partial, hasher));
        }
        if !stop() {
            partial.staged.discard();
        }
        None
    }

    /// What was not answered: its partial file stays for the next attempt.
    fn leave(&self, waiting: Waiting) -> Arrival {
        told(&waiting.shown);
        if let Some((partial, _)) = waiting.partial {
            self.shared.folder.leave(partial.staged);
        }
        waiting.arrival
    }

    /// Leaves what is here of a file for the next attempt, unless that is of no use any more.
    fn leave_after(&self, mut staged: Staged, error: &Error) {
        let is_of_use = match error {
            Error::Refused { code, .. } => !matches!(
                code,
                ErrorCode::Changed
                    | ErrorCode::NotFound
                    | ErrorCode::NotAFile
                    | ErrorCode::Expired
                    | ErrorCode::OutOfRange
            ),
            Error::Network { .. } | Error::Timeout { .. } => true,
            _ => false,
        };
        if is_of_use {
            self.shared.folder.leave(staged);
        } else {
            staged.discard();
        }
    }

    /// Sends the requests and takes the answers. What was answered is taken out of `waiting`.
    fn receive_all(&mut self, waiting: &mut Vec<Waiting>) -> (Vec<Whole>, Result<()>) {
        let mut whole = Vec::new();
        let asked = self.ask_all(waiting);
        if asked.is_err() || waiting.is_empty() {
            return (whole, asked);
        }
        waiting.reverse();
        let mut result = Ok(());
        while result.is_ok()
            && let Some(next) = waiting.pop()
        {
            result = match self.receive(next) {
                Ok(received) => {
                    whole.extend(received);
                    Ok(())
                }
                Err((back, error)) => {
                    waiting.extend(back.map(|back| *back));
                    Err(error)
                }
            };
        }
        waiting.reverse();
        (whole, result)
    }

    fn ask_all(&mut self, waiting: &[Waiting]) -> Result<()> {
        if waiting.is_empty() {
            return Ok(());
        }
        let session = self.session()?;
        for Waiting { arrival, partial, .. } in waiting {
            let version = partial.as_ref().map(|(partial, _)| partial.version.clone());
            let offset = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
            // The digest was told with the arrival: the server need not compute it.
            let get = Get { offset, version, digest: Some(false), ..Get::whole(arrival.path.as_bytes()) };
            session.request(&Request::Get(get))?;
        }
        session.flush()?;
        self.asked = self.dialled;
        Ok(())
    }

    /// Takes the answer to one GET. An error is one of the connection, and comes with the file, if that is to be asked for again.
    fn receive(&mut self, waiting: Waiting) -> std::result::Result<Option<Whole>, (Option<Box<Waiting>>, Error)> {
        let Waiting { arrival, partial, shown } = waiting;
        match self.receive_file(&arrival, partial, &shown) {
            Ok(Some((verified, transfer, resumed))) => Ok(Some(Whole { arrival, verified, transfer, shown, resumed })),
            Ok(None) => {
                told(&shown);
                self.later_or_fail(arrival, Error::refused(ErrorCode::Changed, "it was replaced meanwhile"));
                self.go_on()
            }
            Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                told(&shown);
                self.later_or_fail(arrival, error);
                self.go_on()
            }
            Err(error @ Error::Local { .. }) => {
                told(&shown);
                self.later_or_fail(arrival, error);
                self.go_on()
            }
            Err(error) => {
                told(&shown);
                Err((Some(Box::new(Waiting { arrival, partial: None, shown })), error))
            }
        }
    }

    /// After a file that was not had: answers that were lost with the connection must be asked for again.
    fn go_on(&mut self) -> std::result::Result<Option<Whole>, (Option<Box<Waiting>>, Error)> {
        self.asked().map(|_| None).map_err(|error| (None, error))
    }

    /// The bytes of one file; `None` if they are not those of the arrival.
    fn receive_file(
        &mut self,
        arrival: &Arrival,
        partial: Option<(Partial, blake3::Hasher)>,
        shown: &Transfer,
    ) -> Result<Option<(Verified, TransferId, u64)>> {
        let folder = self.shared.folder;
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let header = match self.asked().and_then(Session::file_header) {
            Ok(header) => header,
            Err(error) => {
                partial.into_iter().for_each(|(partial, _)| match error {
                    // No byte of it came from this answer.
                    Error::Violation(_) => folder.leave(partial.staged),
                    _ => self.leave_after(partial.staged, &error),
                });
                return Err(error);
            }
        };
        let is_part = header.offset == held && header.offset.saturating_add(header.length) == header.size;
        if !is_part {
            return Err(Violation::Contradiction("FILE with another part than was asked for").into());
        }
        if header.size != arrival.size {
            self.asked()?.skip_body(header.length);
            self.refuse(header.transfer, ReceiptOutcome::GivenUp)?;
            return Ok(None);
        }
        let (staged, hasher) = match partial {
            Some((partial, hasher)) => (partial.staged, hasher),
            None => match folder.begin(&arrival.path, &header, Growth::Appended) {
                Ok(staged) => (staged, blake3::Hasher::new()),
                Err(error) => {
                    self.asked()?.skip_body(header.length);
                    return Err(error);
                }
            },
        };
        self.fill(arrival, staged, hasher, &header, shown)
            .map(|it| it.map(|verified| (verified, header.transfer, held)))
    }

    fn fill(
        &mut self,
        arrival: &Arrival,
        mut staged: Staged,
        hasher: blake3::Hasher,
        header: &FileHeader,
        shown: &Transfer,
    ) -> Result<Option<Verified>> {
        let received = match self.asked()?.file_body(header, &mut staged, hasher, shown) {
            Ok((received, _)) => received,
            Err(error) => {
                self.leave_after(staged, &error);
                return Err(error);
            }
        };
        staged.set_modified(arrival.modified.unwrap_or(header.modified))?;
        match staged.verify(received.digest(), arrival.digest) {
            Ok(verified) => Ok(Some(verified)),
            Err(_) => {
                self.refuse(header.transfer, ReceiptOutcome::Mismatch)?;
                Ok(None)
            }
        }
    }

    /// Says that an answer was of no use, where it was given. The server does without, if that connection is gone.
    fn refuse(&mut self, transfer: TransferId, outcome: ReceiptOutcome) -> Result<()> {
        let receipt = Request::Receipt(Receipt::new(transfer, outcome));
        self.asked().map_or(Ok(()), |session| session.request(&receipt))
    }

    pub(super) fn receipt(
        &mut self,
        transfer: TransferId,
        outcome: ReceiptOutcome,
        number: Option<Number>,
    ) -> Result<()> {
        let number = number.and_then(|number| self.shared.board.known(number));
        let subscriber = number.map(|_| self.shared.board.subscriber());
        self.session()?.request(&Request::Receipt(Receipt { transfer, outcome, number, subscriber }))
    }
}
