//! One of the connections that fetch what arrives.
//!
//! Owns the way of a file from the server into its place: bytes into a partial file, verified, flushed, named, flushed
//! again, and only then said to be here: to the file of the position, to the server, to whoever watches. What cannot be had
//! now goes back to the board.

use super::LONGEST_REST;
use super::arrival::{Arrival, path};
use super::board::{Board, LiveEnd, LiveJob, Wanted, Work};
use super::execute::Program;
use super::teller::{Teller, Told, told};
use crate::client::cancel::hash_unless_stopped;
use crate::client::folder::{Folder, Partial, Placed};
use crate::client::options::Options;
use crate::client::report::Status;
use crate::client::retry::Backoff;
use crate::client::session::Session;
use crate::client::terminal::progress::Transfer;
use crate::error::{Error, Result};
use crate::staged::{Staged, Verified};
use crate::wire::{
    End, ErrorCode, FileHeader, Get, LiveHeader, RawBytes, Receipt, ReceiptOutcome, RemoteFolder, RemotePath, Request,
    TransferId, Violation,
};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// More files than these are flushed with one call.
const FLUSH_ONE_BY_ONE: usize = 8;
/// How long what came in live waits to be told as an arrival: that says who sent it, and when it was modified.
const TOLD_SOON: Duration = Duration::from_secs(2);
/// Attempts at a file that the server cannot deliver.
const ATTEMPTS: u32 = 5;

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
    told: Told,
    place: RemotePath,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    shared: &'a Shared<'a>,
    wanted: Wanted,
    program: Option<Sender<Finished>>,
    session: Option<Session>,
    backoff: Backoff,
    /// Arrivals whose receipts were lost with a connection.
    owed: Vec<u64>,
}

/// A file that came in whole, and is not in its place yet.
struct Whole {
    arrival: Arrival,
    verified: Verified,
    transfer: TransferId,
    shown: Arc<Transfer>,
    resumed: u64,
}

/// A GET that is on its way.
struct Waiting {
    arrival: Arrival,
    partial: Option<(Partial, blake3::Hasher)>,
    shown: Arc<Transfer>,
}

/// What became of a live upload, short of an error of the connection.
enum Came {
    Whole(Box<Whole>),
    Not(LiveEnd),
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, wanted: Wanted, program: Option<Sender<Finished>>) -> Self {
        Self { shared, wanted, program, session: None, backoff: Backoff::up_to(LONGEST_REST), owed: Vec::new() }
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
    }

    /// What was on its way is with the board again; this rests before it asks for more.
    fn recover(&mut self, error: Error) {
        match error {
            // The connection that follows says so, and notices when the server is back.
            error if error.is_worth_a_retry() => self.session = None,
            Error::Local { .. } => self.shared.teller.problem(&format!("{error}; trying again")),
            error => return self.shared.board.stop_with(error, &self.shared.options.link.cancel),
        }
        self.shared.board.rest(self.backoff.again());
    }

    /// The connection. One that the server closed while nothing was asked for is dialled again without a word.
    fn session(&mut self) -> Result<&mut Session> {
        let session = match self.session.take().filter(|session| !session.is_cut()) {
            Some(session) => session,
            None => {
                let link = &self.shared.options.link;
                let mut session = Session::open(&link.target, link.silence, &link.cancel)?;
                for number in std::mem::take(&mut self.owed) {
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

    /// Fetches arrivals by their paths. Those that could not be had go back to the board.
    fn files(&mut self, arrivals: Vec<Arrival>) -> Result<()> {
        if self.session.as_ref().is_some_and(Session::has_answer) {
            self.session = None;
        }
        let mut missing = Vec::new();
        let mut here = Vec::new();
        let mut arrivals = arrivals.into_iter();
        while let Some(arrival) = arrivals.next() {
            let policy = self.shared.options.on_conflict;
            match self.shared.folder.find_same(&arrival.path, arrival.size, arrival.digest, policy) {
                Ok(None) => missing.push(arrival),
                Ok(Some(Placed::Identical(place))) => here.push((arrival, place)),
                Ok(Some(_)) => self.fail(arrival, Status::Skipped, None)?,
                Err(error) if error.code() == ErrorCode::Exists => {
                    self.fail(arrival, Status::Failed { error, partial: 0 }, None)?;
                }
                Err(error) => {
                    let back = here.into_iter().map(|(arrival, _)| arrival);
                    self.shared.board.put_back(back.chain(missing).chain([arrival]).chain(arrivals).collect());
                    return Err(error);
                }
            }
        }
        let mut waiting = missing.into_iter().map(|arrival| self.wait_for(arrival)).collect::<Vec<_>>();
        let (whole, result) = self.receive_all(&mut waiting);
        let back: Vec<_> = waiting.into_iter().map(|waiting| self.leave(waiting)).collect();
        if !back.is_empty() {
            self.shared.board.put_back(back);
        }
        let kept = self.keep(here);
        let arrivals: Vec<_> = whole.iter().map(|whole| whole.arrival.clone()).collect();
        let placed = self.settle(whole).or_else(|error| self.not_placed(arrivals, error));
        result.and(kept).and(placed)
    }

    /// Prepares a GET: what an earlier attempt left of the file is gone on with.
    fn wait_for(&self, arrival: Arrival) -> Waiting {
        let partial = self.shared.folder.partial(&arrival.path).ok().flatten();
        let partial = partial.and_then(|partial| self.hashed(partial, Some(arrival.size)));
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let shown = self.shared.teller.start(&arrival.path, Some(arrival.size), held);
        Waiting { arrival, partial, shown }
    }

    /// A partial file and its digest so far, if it can be gone on with; otherwise it is removed.
    fn hashed(&self, mut partial: Partial, size: Option<u64>) -> Option<(Partial, blake3::Hasher)> {
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
            self.shared.folder.leave(&waiting.arrival.path, partial.staged);
        }
        waiting.arrival
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
        session.flush()
    }

    /// Takes the answer to one GET. An error comes with the file, if that is to be asked for again.
    fn receive(&mut self, waiting: Waiting) -> std::result::Result<Option<Whole>, (Option<Box<Waiting>>, Error)> {
        let Waiting { arrival, partial, shown } = waiting;
        match self.receive_file(&arrival, partial, &shown) {
            Ok(Some((verified, transfer, resumed))) => Ok(Some(Whole { arrival, verified, transfer, shown, resumed })),
            Ok(None) => {
                told(&shown);
                self.again_or_fail(arrival, Error::refused(ErrorCode::Changed, "it was replaced meanwhile"));
                Ok(None)
            }
            Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                told(&shown);
                self.again_or_fail(arrival, error);
                Ok(None)
            }
            Err(error) => {
                told(&shown);
                Err((Some(Box::new(Waiting { arrival, partial: None, shown })), error))
            }
        }
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
        let session = self.session()?;
        let header = match session.file_header() {
            Ok(header) => header,
            Err(error) => {
                let is_gone = matches!(error, Error::Refused { .. }) && !error.code().ends_session();
                partial.filter(|_| !is_gone).into_iter().for_each(|(it, _)| folder.leave(&arrival.path, it.staged));
                return Err(error);
            }
        };
        let is_part = header.offset == held && header.offset.saturating_add(header.length) == header.size;
        if !is_part {
            return Err(Violation::Contradiction("FILE with another part than was asked for").into());
        }
        if header.size != arrival.size {
            session.skip_body(header.length);
            self.receipt(header.transfer, ReceiptOutcome::GivenUp, None)?;
            return Ok(None);
        }
        let (staged, hasher) = match partial {
            Some((partial, hasher)) => (partial.staged, hasher),
            None => match folder.begin(&arrival.path, &header) {
                Ok(staged) => (staged, blake3::Hasher::new()),
                Err(error) => {
                    session.skip_body(header.length);
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
        let folder = self.shared.folder;
        let received = match self.session()?.file_body(header, &mut staged, hasher, shown) {
            Ok((received, _)) => received,
            Err(error) => {
                match error {
                    Error::Network { .. } | Error::Timeout { .. } => folder.leave(&arrival.path, staged),
                    _ => staged.discard(),
                }
                return Err(error);
            }
        };
        staged.set_modified(arrival.modified.unwrap_or(header.modified))?;
        match staged.verify(received.digest, arrival.digest) {
            Ok(verified) => Ok(Some(verified)),
            Err(_) => {
                self.receipt(header.transfer, ReceiptOutcome::Mismatch, None)?;
                Ok(None)
            }
        }
    }

    /// A file that the server does not deliver: some of it may pass, some cannot.
    fn again_or_fail(&mut self, arrival: Arrival, error: Error) {
        let arrival = Arrival { attempts: arrival.attempts.saturating_add(1), ..arrival };
        let is_final = matches!(
            error.code(),
            ErrorCode::NotFound | ErrorCode::NotAFile | ErrorCode::Expired | ErrorCode::BadPath | ErrorCode::Forbidden
        );
        if is_final || arrival.attempts >= ATTEMPTS {
            // What it says to the server may be lost with the connection; what is told here is not.
            let _ = self.fail(arrival, Status::Failed { error, partial: 0 }, None);
        } else {
            self.shared.board.rest(Duration::from_millis(250).saturating_mul(arrival.attempts));
            self.shared.board.put_back(vec![arrival]);
        }
    }

    /// Fetches an upload while it comes in.
    fn live(&mut self, job: &LiveJob) -> Result<()> {
        if self.session.as_ref().is_some_and(Session::has_answer) {
            self.session = None;
        }
        let partial = self.shared.folder.live_partial(job.live).ok().flatten();
        let partial = partial.and_then(|partial| self.hashed(partial, job.size));
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let shown = self.shared.teller.start(&job.path, job.size, held);
        let came = self.live_bytes(job, partial, &shown);
        let (end, result) = match came {
            Ok(Came::Whole(whole)) => {
                let number = whole.arrival.number.unwrap_or(0);
                match self.settle(vec![*whole]) {
                    Ok(()) => (LiveEnd::Settled(number), Ok(())),
                    // It is told as an arrival, or was already: then it is fetched by its path.
                    Err(error) => (LiveEnd::Dropped, Err(error)),
                }
            }
            Ok(Came::Not(end)) => (end, Ok(())),
            Err(error) => {
                let end = if error.is_worth_a_retry() { LiveEnd::Again } else { LiveEnd::Dropped };
                (end, Err(error))
            }
        };
        told(&shown);
        self.shared.board.live_ended(job.live, end);
        result
    }

    fn live_bytes(
        &mut self,
        job: &LiveJob,
        partial: Option<(Partial, blake3::Hasher)>,
        shown: &Arc<Transfer>,
    ) -> Result<Came> {
        let folder = self.shared.folder;
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let version = partial.as_ref().map(|(partial, _)| partial.version.clone());
        let get = Get { offset: held, version, live: Some(job.live), ..Get::whole(job.path.as_bytes()) };
        let asked = self.session().and_then(|session| {
            session.request(&Request::Get(get))?;
            session.flush()?;
            session.live_header()
        });
        let header = match asked {
            Ok(header) => header,
            Err(error) => return self.live_refused(job, partial.map(|(partial, _)| partial.staged), error),
        };
        if header.offset != held {
            return Err(Violation::Contradiction("LIVE with another part than was asked for").into());
        }
        header.size.into_iter().for_each(|size| shown.set_size(size));
        let (mut staged, hasher) = match partial {
            Some((partial, hasher)) => (partial.staged, hasher),
            None => match folder.begin_live(job.live, &header) {
                Ok(staged) => (staged, blake3::Hasher::new()),
                Err(error) => {
                    self.session()?.skip_body(u64::MAX);
                    return Err(error);
                }
            },
        };
        match self.session()?.live_body(&header, &mut staged, hasher, &**shown) {
            Ok((received, end)) => self.live_whole(job, &header, staged, received.digest, end, shown),
            Err(error) => self.live_refused(job, Some(staged), error),
        }
    }

    /// An upload that ends without END. What is here of it may be of use later, or is not.
    fn live_refused(&self, job: &LiveJob, staged: Option<Staged>, error: Error) -> Result<Came> {
        let held = staged.as_ref().map_or(0, Staged::length);
        let end = match &error {
            Error::Refused { code, .. } if !code.ends_session() => match code {
                ErrorCode::Unavailable => Came::Not(LiveEnd::Dropped),
                // What an earlier attempt left is of another version: it begins anew.
                ErrorCode::Changed if held > 0 => {
                    staged.into_iter().for_each(|mut staged| staged.discard());
                    return Ok(Came::Not(LiveEnd::Again));
                }
                _ => {
                    staged.into_iter().for_each(|mut staged| staged.discard());
                    return Ok(Came::Not(LiveEnd::Dropped));
                }
            },
            Error::Network { .. } | Error::Timeout { .. } | Error::Refused { .. } => {
                staged.into_iter().for_each(|staged| self.shared.folder.leave_live(job.live, staged));
                return Err(error);
            }
            _ => {
                staged.into_iter().for_each(|mut staged| staged.discard());
                return Err(error);
            }
        };
        staged.into_iter().for_each(|staged| self.shared.folder.leave_live(job.live, staged));
        Ok(end)
    }

    /// All bytes of an upload are here, and it has a name and a number.
    fn live_whole(
        &mut self,
        job: &LiveJob,
        header: &LiveHeader,
        mut staged: Staged,
        digest: crate::wire::Digest,
        end: End,
        shown: &Arc<Transfer>,
    ) -> Result<Came> {
        let announced = end.digest.ok_or(Violation::Contradiction("END of an upload without its digest"))?;
        // Without a number nothing arrived. With that of an arrival that is known, it was fetched by its path, or is being.
        let Some(number) = end.number.filter(|number| self.shared.board.take_over(job.live, *number)) else {
            staged.discard();
            self.receipt(header.transfer, ReceiptOutcome::GivenUp, None)?;
            self.session()?.flush()?;
            return Ok(Came::Not(LiveEnd::Dropped));
        };
        let name = end.path.unwrap_or_else(|| RawBytes(job.path.as_bytes().to_vec()));
        let Some(path) = path(&name, self.shared.topics)? else {
            staged.discard();
            return Ok(Came::Not(LiveEnd::Dropped));
        };
        let size = staged.length();
        let arrival = self.shared.board.arrival_of(job.live, TOLD_SOON).unwrap_or(Arrival {
            number: Some(number),
            path,
            size,
            digest: announced,
            modified: header.modified,
            live: Some(job.live),
            publisher: None,
            attempts: 0,
        });
        if arrival.number != Some(number) || arrival.digest != announced {
            staged.discard();
            return Ok(Came::Not(LiveEnd::Dropped));
        }
        arrival.modified.map_or(Ok(()), |modified| staged.set_modified(modified))?;
        let resumed = header.offset;
        match staged.verify(digest, announced) {
            Ok(verified) => {
                let (transfer, shown) = (header.transfer, Arc::clone(shown));
                Ok(Came::Whole(Box::new(Whole { arrival, verified, transfer, shown, resumed })))
            }
            Err(_) => {
                self.receipt(header.transfer, ReceiptOutcome::Mismatch, None)?;
                Ok(Came::Not(LiveEnd::Dropped))
            }
        }
    }

    /// This machine could not store files: they are tried again, one by one, unless that cannot help.
    fn not_placed(&mut self, arrivals: Vec<Arrival>, error: Error) -> Result<()> {
        let is_final = matches!(error.code(), ErrorCode::BadPath | ErrorCode::TooLarge);
        match <[Arrival; 1]>::try_from(arrivals) {
            Ok([arrival]) if is_final => self.fail(arrival, Status::Failed { error, partial: 0 }, None),
            Ok(arrivals) => self.try_again(arrivals.into(), error),
            Err(arrivals) => self.try_again(arrivals, error),
        }
    }

    fn try_again(&self, arrivals: Vec<Arrival>, error: Error) -> Result<()> {
        let again = |arrival: Arrival| Arrival { attempts: arrival.attempts.saturating_add(1), ..arrival };
        self.shared.board.put_back(arrivals.into_iter().map(again).collect());
        Err(error)
    }

    /// Puts files in their places, durably, and then says so.
    fn settle(&mut self, whole: Vec<Whole>) -> Result<()> {
        let claimed: Vec<_> = whole.into_iter().filter(|_| self.shared.board.claim()).collect();
        if claimed.is_empty() {
            return Ok(());
        }
        let count = claimed.len();
        match self.place(claimed) {
            Ok(placed) => {
                let mut result = Ok(());
                let (here, not): (Vec<_>, Vec<_>) = placed.into_iter().partition(|told| told.place.is_some());
                for told in not {
                    self.shared.board.give_back();
                    result = result.and(self.fail(told.arrival, told.status, told.transfer));
                }
                result.and(self.arrive(here))
            }
            Err(error) => {
                (0..count).for_each(|_| self.shared.board.give_back());
                Err(error)
            }
        }
    }

    /// Flushes files, gives them their names, and flushes those.
    fn place(&self, whole: Vec<Whole>) -> Result<Vec<Told>> {
        let mut files = Vec::new();
        let mut verified = Vec::new();
        for Whole { arrival, verified: file, transfer, shown, resumed } in whole {
            files.push((arrival, transfer, shown, resumed));
            verified.push(file);
        }
        let ready = if verified.len() > FLUSH_ONE_BY_ONE {
            Verified::flush_all(verified)?
        } else {
            verified.into_iter().map(Verified::flush).collect::<Result<Vec<_>>>()?
        };
        let mut placed = Vec::new();
        for ((arrival, transfer, shown, resumed), ready) in files.into_iter().zip(ready) {
            let policy = self.shared.options.on_conflict;
            let (place, status) = match self.shared.folder.place(ready, &arrival.path, policy) {
                Ok(Placed::At(place)) => {
                    let renamed = (place != arrival.path).then(|| place.to_string());
                    (Some(place), Status::Done { renamed })
                }
                Ok(Placed::Identical(place)) => (Some(place), Status::Identical),
                Ok(Placed::Skipped) => (None, Status::Skipped),
                Err(error) if error.code() == ErrorCode::Exists => (None, Status::Failed { error, partial: 0 }),
                Err(error) => return Err(error),
            };
            told(&shown);
            let (transfer, moved) = (Some(transfer), shown.moved());
            placed.push(Told { arrival, place, transfer, moved, resumed, status });
        }
        self.shared.folder.flush_names(placed.iter().filter_map(|told| told.place.as_ref()))?;
        Ok(placed)
    }

    /// Files that were there already count as received.
    fn keep(&mut self, here: Vec<(Arrival, RemotePath)>) -> Result<()> {
        let mut files = Vec::new();
        for (arrival, place) in here {
            if self.shared.board.claim() {
                let (place, status) = (Some(place), Status::Identical);
                files.push(Told { arrival, place, transfer: None, moved: 0, resumed: 0, status });
            }
        }
        self.shared.folder.flush_names(files.iter().filter_map(|told| told.place.as_ref()))?;
        self.arrive(files)
    }

    /// These are safely here: the position says so, then the server is told, then whoever watches.
    fn arrive(&mut self, files: Vec<Told>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = files.iter().filter_map(|told| told.arrival.number).collect();
        match self.program {
            None => self.shared.finish(&numbers),
            Some(_) => self.shared.board.hold(&numbers),
        }
        let receipts: Vec<_> =
            files.iter().map(|told| (told.transfer.unwrap_or_default(), told.arrival.number)).collect();
        let mut sent = receipts
            .into_iter()
            .try_for_each(|(transfer, number)| self.receipt(transfer, ReceiptOutcome::Verified, number));
        sent = sent.and_then(|()| self.session.as_mut().map_or(Ok(()), Session::flush));
        if sent.is_err() {
            // They are here all the same, and the server is told on the next connection.
            self.session = None;
            self.owed.extend(numbers);
        }
        for told in files {
            match (&self.program, told.place.clone()) {
                // The other end lives as long as the workers do.
                (Some(program), Some(place)) => _ = program.send(Finished { told, place }),
                _ => self.shared.tell(told),
            }
        }
        Ok(())
    }

    /// A file that is not to be had, or not to be stored: the position goes past it.
    fn fail(&mut self, arrival: Arrival, status: Status, transfer: Option<TransferId>) -> Result<()> {
        self.shared.finish(arrival.number.as_slice());
        let number = arrival.number;
        self.shared.tell_failed(Told { arrival, place: None, transfer, moved: 0, resumed: 0, status });
        self.receipt(transfer.unwrap_or_default(), ReceiptOutcome::NotStored, number)?;
        self.session.as_mut().map_or(Ok(()), Session::flush)
    }

    fn receipt(&mut self, transfer: TransferId, outcome: ReceiptOutcome, number: Option<u64>) -> Result<()> {
        let subscriber = number.map(|_| self.shared.board.subscriber());
        self.session()?.request(&Request::Receipt(Receipt { transfer, outcome, number, subscriber }))
    }
}

impl Shared<'_> {
    /// Runs the program for files as they come, until nobody sends any more. Each is finished before: it is never run twice.
    pub(super) fn run_program(&self, program: &Program, finished: &std::sync::mpsc::Receiver<Finished>) {
        for Finished { told, place } in finished {
            if self.options.link.cancel.is_cancelled() && !self.board.has_enough() {
                return;
            }
            self.finish(told.arrival.number.as_slice());
            if let Err(why) = program.run(&told.arrival, &place) {
                self.teller.problem(&why);
            }
            self.tell(told);
        }
    }

    fn finish(&self, numbers: &[u64]) {
        if let Err(error) = self.board.finish(numbers) {
            self.teller.problem(&error.to_string());
        }
    }

    fn tell(&self, told: Told) {
        self.tell_failed(told);
        if self.board.was_told() {
            // Whoever waits for the server waits no more.
            self.options.link.cancel.cancel();
        }
    }

    fn tell_failed(&self, told: Told) {
        let number = told.arrival.number;
        self.teller.file(told);
        let missed = number.and_then(|number| self.board.was_missed(number));
        missed.into_iter().for_each(|missed| self.teller.caught_up(missed));
    }
}
