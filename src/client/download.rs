//! Many files, from the server to the download folder.
//!
//! A worker has one connection at a time. It keeps several requests on their way ([`WINDOW`]), so that a small file does not
//! cost a round trip, and takes the answers in order. Serial is one worker; parallel is several, each with a new
//! connection for every file; by default several workers keep their connections, and those that have nothing left to do
//! help with a large file (`segments`). A connection that breaks is dialled again with
//! backoff, and what was on its way is asked for again, from where it broke off.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::{hash_unless_stopped, stopped};
use super::folder::{Before, Folder, Growth, Placed};
use super::job::{Asked, Job, Resumed};
use super::line::{Line, Queue, Recovery};
use super::options::{Options, Strategy};
use super::report::{FileReport, Report, Status, say};
use super::segments::{self, Awaited, Crew, Fetched};
use super::session::Session;
use super::terminal::progress::{Outcome, Progress, Transfer};
use crate::error::{Error, Result};
use crate::staged::Staged;
use crate::transfer::{Counter, Segments, Sink};
use crate::wire::{ErrorCode, FileHeader, OnConflict, Receipt, ReceiptOutcome, Request, TransferId, Violation};
use serde_json::Map;
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests on their way at a time; refilled when half of them are answered.
const WINDOW: usize = 256;
/// Bytes asked for at a time, beyond the first file: what is asked for cannot be given to another worker any more.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of requests on their way. The server does not read while it writes, so 65,536 may not be exceeded (PROTOCOL.md,
/// section 11); one more request and the receipts of those before it still fit.
const WINDOW_REQUESTS: usize = 48 * 1024;
/// What a GET takes beside its path, and its RECEIPT: at most.
const REQUEST: usize = 96;
/// A file that changes again and again while it is fetched is given up after so many attempts.
const ATTEMPTS: u32 = 4;

/// Fetches files. `session` is used first; what became of each file is in `report`.
pub(super) fn download(
    mut jobs: Vec<Job>,
    mut session: Session,
    folder: &Folder,
    options: &Options,
    progress: &Progress,
    report: &Report,
) {
    if options.strategy != Strategy::Serial {
        // The largest first: nobody then waits for one large file at the end.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
    }
    let largest = jobs.iter().map(|job| job.size).max().unwrap_or(0);
    let segmented_from = segments::threshold(options, &mut session, largest);
    let workers = match (options.strategy, segmented_from) {
        (Strategy::Serial, _) => 1,
        (_, Some(least)) if largest >= least => options.jobs,
        _ => options.jobs.min(jobs.len()),
    };
    progress.expect(jobs.len() as u64, jobs.iter().fold(0, |sum, job| sum.saturating_add(job.size)));
    let queue = Queue::new(jobs, workers);
    let crew = segmented_from.map(|_| Crew::new(workers));
    let shared = Shared { folder, options, progress, report, segmented_from, crew };
    let mut session = Some(session);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let line = Line::new(&queue, options, progress, session.take());
            let mut worker = Worker { shared: &shared, line, crew: shared.crew.as_ref(), waiting: VecDeque::new() };
            scope.spawn(move || worker.run());
        }
    });
}

struct Shared<'a> {
    folder: &'a Folder,
    options: &'a Options,
    progress: &'a Progress,
    report: &'a Report,
    /// From this size on files are fetched in segments, if any are.
    segmented_from: Option<u64>,
    /// Who helps with them.
    crew: Option<Crew>,
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    line: Line<'a, Job>,
    /// The crew, as long as this worker is one of it.
    crew: Option<&'a Crew>,
    waiting: VecDeque<Waiting>,
}

/// A request on its way.
struct Waiting {
    job: Job,
    asked: Asked,
    shown: Arc<Transfer>,
}

/// How a file that was answered ended; what is not final is asked for again.
enum Ended {
    Finally(Status, TransferId, u64),
    Again(Job),
}

impl Counter for Transfer {
    fn add(&self, bytes: u64) {
        Self::add(self, bytes);
    }
}

impl Worker<'_> {
    fn run(&mut self) {
        loop {
            if let Err(error) = self.fill() {
                self.recover(error);
            }
            let Some(waiting) = self.waiting.pop_front() else {
                if self.line.is_done() && !self.help() && self.line.end() {
                    break;
                }
                continue;
            };
            match self.take_answer(waiting) {
                Ok(()) => self.line.went_well(),
                Err(error) => self.recover(error),
            }
        }
        if let Some(session) = self.line.take_session() {
            session.close();
        }
    }

    /// Helps with a file that somebody else fetches; `false` when there is none to help with.
    fn help(&mut self) -> bool {
        let Some(crew) = self.crew else { return false };
        if self.line.is_retired() {
            crew.retire();
            return false;
        }
        let line = &mut self.line;
        let found = crew.wait(|| {
            // The server would hold a place for a connection that nobody may need again.
            line.take_session().into_iter().for_each(Session::close);
            !line.is_done()
        });
        let helps = match found {
            Awaited::OtherWork => return true,
            Awaited::Nothing => false,
            Awaited::File(file) => {
                let helped = segments::help(&mut self.line, &file);
                if !helped {
                    crew.retire();
                }
                helped
            }
        };
        self.crew = self.crew.filter(|_| helps);
        helps
    }

    /// Sends requests until enough are on their way.
    fn fill(&mut self) -> Result<()> {
        if self.waiting.len() > WINDOW / 2 {
            return Ok(());
        }
        while self.has_room() {
            let Some(job) = self.line.next_job() else { break };
            let is_begun = self.shared.folder.has_partial(job.place(), Growth::Appended);
            if !self.waiting.is_empty() && (is_begun || self.goes_in_segments(&job)) {
                // Its digest takes a while, or all of it; the answers that are due do not wait for that.
                self.line.again(job);
                break;
            }
            self.ask(job)?;
        }
        match self.line.open_session() {
            Some(session) if !self.waiting.is_empty() => session.flush(),
            _ => Ok(()),
        }
    }

    fn has_room(&self) -> bool {
        if self.shared.options.strategy == Strategy::Parallel {
            return self.waiting.is_empty();
        }
        if self.waiting.is_empty() {
            return true;
        }
        let jobs = || self.waiting.iter().map(|waiting| &waiting.job);
        let answers = jobs().fold(0, |sum, job| job.size.saturating_add(sum));
        let requests: usize = jobs().map(|job| job.path.as_bytes().len().saturating_add(REQUEST)).sum();
        self.waiting.len() < WINDOW && answers < WINDOW_BYTES && requests < WINDOW_REQUESTS
    }

    /// Asks for a file, unless nothing needs to be fetched.
    fn ask(&mut self, job: Job) -> Result<()> {
        if let Some(status) = self.line.not_tried() {
            self.report(job, status, None, 0, 0);
            return Ok(());
        }
        if !self.shared.options.resume {
            self.shared.folder.forget(job.place());
        }
        let in_segments = self.goes_in_segments(&job);
        let asked = match self.shared.folder.look(job.place(), job.size, job.modified, self.policy(&job)) {
            Ok(Before::Compare) if job.attempts() == 0 => Asked::Digest,
            Ok(Before::Fetch | Before::Compare) if in_segments => return self.fetch_in_segments(job),
            Ok(Before::Fetch) => Asked::Bytes(self.partial(&job)),
            Ok(Before::Compare) => Asked::Bytes(self.partial(&job)),
            Ok(Before::There(_)) => return self.settle(job, Status::Identical, Outcome::Kept),
            Ok(Before::Skipped) => {
                return self.settle(job, Status::Skipped, Outcome::Skipped("the name is taken".into()));
            }
            Err(error) => {
                let outcome = Outcome::Failed(error.to_string());
                return self.settle(job, Status::Failed { error, partial: 0 }, outcome);
            }
        };
        let held = asked.held();
        let request = asked.request(&job);
        let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), held);
        // Noted before it is sent: if that fails, it is asked for again.
        self.waiting.push_back(Waiting { job, asked, shown });
        self.line.session()?.request(&Request::Get(request))
    }

    fn policy(&self, job: &Job) -> OnConflict {
        job.on_conflict.unwrap_or(self.shared.options.on_conflict)
    }

    /// Whether a file is fetched in segments: what was begun in one manner goes on so, over however few connections.
    fn goes_in_segments(&self, job: &Job) -> bool {
        let is_begun = |growth| self.shared.folder.has_partial(job.place(), growth);
        let is_large = self.shared.segmented_from.is_some_and(|least| job.size >= least);
        let is_due = is_begun(Growth::Segmented) || (is_large && !is_begun(Growth::Appended));
        Segments::of(job.size).is_some() && is_due
    }

    /// Fetches a file in segments, from asking for it to its name.
    fn fetch_in_segments(&mut self, job: Job) -> Result<()> {
        let Shared { folder, progress, crew, .. } = self.shared;
        let shown = progress.start(job.path.as_bytes(), Some(job.size), 0);
        let policy = self.policy(&job);
        let ended = match segments::lead(&mut self.line, folder, crew.as_ref(), &job, policy, &shown) {
            Ok(Fetched::Placed(placed, transfer, held)) => Ok(Ended::Finally(status(placed, &job), transfer, held)),
            Ok(Fetched::Again(size, _)) if job.attempts() < ATTEMPTS => {
                Ok(Ended::Again(job.clone().of_size(size).once_more()))
            }
            Ok(Fetched::Again(_, error)) | Err(error) => Err(error),
        };
        self.conclude(job, &shown, ended)
    }

    /// What an earlier attempt left, if it can be resumed. What cannot is removed, and fetched anew.
    fn partial(&self, job: &Job) -> Option<Resumed> {
        let mut partial = self.shared.folder.partial(job.place(), Growth::Appended).ok().flatten()?;
        let held = partial.staged.length();
        let mut hasher = Box::new(blake3::Hasher::new());
        let stop = || self.shared.options.link.cancel.is_cancelled();
        let is_wanted = held <= job.size;
        if is_wanted && hash_unless_stopped(&mut hasher, partial.staged.file(), 0, held, &stop).unwrap_or(false) {
            return Some(Resumed { partial, hasher });
        }
        if stop() {
            self.shared.folder.leave(partial.staged);
        } else {
            partial.staged.discard();
        }
        None
    }

    /// Takes the answer to the oldest request.
    fn take_answer(&mut self, waiting: Waiting) -> Result<()> {
        let Waiting { job, asked, shown } = waiting;
        let held = matches!(asked, Asked::Bytes(_)).then(|| asked.held());
        let ended = match asked {
            Asked::Digest => self.compare(job.clone()),
            Asked::Bytes(partial) => self.fetch(job.clone(), partial, &shown),
        };
        // A line that breaks again and again may still bring something each time, if that is kept.
        let has_brought = |held| self.shared.options.resume && self.kept(&job) > held;
        if ended.is_err() && held.is_some_and(has_brought) {
            self.line.went_well();
        }
        self.conclude(job, &shown, ended)
    }

    /// Notes what came of a file. An error is the connection's, and the file is asked for again.
    fn conclude(&mut self, job: Job, shown: &Transfer, ended: Result<Ended>) -> Result<()> {
        match ended {
            Ok(Ended::Again(job)) => {
                shown.finish(Outcome::Again(Some("started over".into())));
                self.line.again(job);
            }
            Ok(Ended::Finally(status, transfer, resumed)) => {
                shown.finish(outcome(&status));
                self.report(job, status, Some(transfer), shown.moved(), resumed);
            }
            Err(error) if is_of_this_file(&error) => {
                let stopped = shown.is_asked_to_stop();
                let status =
                    if stopped { Status::Interrupted { partial: 0 } } else { Status::Failed { error, partial: 0 } };
                shown.finish(outcome(&status));
                self.report(job, status, None, shown.moved(), 0);
                if self.line.open_session().is_some_and(|session| session.is_cut()) {
                    self.line.take_session();
                    self.ask_again();
                }
            }
            Err(error) => {
                self.ask_again();
                if shown.is_asked_to_stop() {
                    let status = Status::Interrupted { partial: 0 };
                    shown.finish(outcome(&status));
                    self.report(job, status, None, shown.moved(), 0);
                } else {
                    shown.finish(Outcome::Again(None));
                    // The first of those that are tried again is the one that the error is about.
                    self.line.again(job);
                }
                return Err(error);
            }
        }
        if self.shared.options.strategy == Strategy::Parallel
            && let Some(session) = self.line.take_session()
        {
            session.close();
        }
        Ok(())
    }

    /// The answer to a GET for no bytes: is what is there the same?
    fn compare(&mut self, job: Job) -> Result<Ended> {
        let session = self.line.session()?;
        let header = session.file_header()?;
        let digest =
            session.no_body(&header)?.ok_or(Violation::Contradiction("END without the digest that was asked for"))?;
        if self.shared.folder.adopt(job.place(), digest, header.modified).unwrap_or(false) {
            return Ok(Ended::Finally(Status::Identical, header.transfer, 0));
        }
        Ok(match self.policy(&job) {
            OnConflict::Skip => Ended::Finally(Status::Skipped, header.transfer, 0),
            OnConflict::Fail => {
                return Err(Error::refused(ErrorCode::Exists, format!("{} is there and differs", job.path)));
            }
            OnConflict::Rename | OnConflict::Overwrite => Ended::Again(job.once_more()),
        })
    }

    /// The answer to a GET for bytes, into a partial file and then into place.
    fn fetch(&mut self, job: Job, resumed: Option<Resumed>, shown: &Transfer) -> Result<Ended> {
        let header = match self.line.session()?.file_header() {
            Err(error) if error.code() == ErrorCode::Changed && job.attempts() < ATTEMPTS => {
                resumed.into_iter().for_each(|mut resumed| resumed.partial.staged.discard());
                return Ok(Ended::Again(job.once_more()));
            }
            Err(error) => {
                resumed.into_iter().for_each(|resumed| self.shared.folder.leave(resumed.partial.staged));
                return Err(error);
            }
            Ok(header) => header,
        };
        let held = resumed.as_ref().map_or(0, |resumed| resumed.partial.staged.length());
        if header.offset != held || held.checked_add(header.length) != Some(header.size) {
            return Err(Violation::Contradiction("FILE with another part than was asked for").into());
        }
        shown.set_size(header.size);
        let (staged, hasher) = match resumed {
            Some(Resumed { partial, hasher }) => (partial.staged, *hasher),
            None => match self.shared.folder.begin(job.place(), &header, Growth::Appended) {
                Ok(staged) => (staged, blake3::Hasher::new()),
                Err(error) => {
                    self.line.session()?.skip_body(header.length);
                    self.receipt(header.transfer, ReceiptOutcome::NotStored)?;
                    return Err(error);
                }
            },
        };
        match self.receive(&job, staged, hasher, &header, shown) {
            Err(error) if error.code() == ErrorCode::Changed && job.attempts() < ATTEMPTS => {
                Ok(Ended::Again(job.once_more()))
            }
            Err(error) if error.code() == ErrorCode::Mismatch => {
                self.receipt(header.transfer, ReceiptOutcome::Mismatch)?;
                // What an earlier attempt left may be at fault; a whole new copy is not.
                if held > 0 { Ok(Ended::Again(job.once_more())) } else { Err(error) }
            }
            Err(error @ Error::Local { .. }) => {
                self.receipt(header.transfer, ReceiptOutcome::NotStored)?;
                Err(error)
            }
            Err(error) => Err(error),
            Ok(placed) => {
                self.receipt(header.transfer, ReceiptOutcome::Verified)?;
                Ok(Ended::Finally(status(placed, &job), header.transfer, held))
            }
        }
    }

    fn receive(
        &mut self,
        job: &Job,
        mut staged: Staged,
        hasher: blake3::Hasher,
        header: &FileHeader,
        shown: &Transfer,
    ) -> Result<Placed> {
        let folder = self.shared.folder;
        let session = self.line.session()?;
        let mut sink = Stoppable { sink: &mut staged, shown };
        let (received, announced) = match session.file_body(header, &mut sink, hasher, shown) {
            Ok(body) => body,
            Err(error)
                if shown.is_asked_to_stop() || matches!(error, Error::Network { .. } | Error::Timeout { .. }) =>
            {
                folder.leave(staged);
                return Err(error);
            }
            Err(error) => {
                // Also what an earlier attempt left is of no use any more.
                staged.discard();
                return Err(error);
            }
        };
        let announced = announced.ok_or(Violation::Contradiction("END without the digest that was asked for"))?;
        staged.set_modified(header.modified)?;
        let ready = staged.verify(received.digest(), announced)?.without_flush();
        folder.place(ready, job.place(), self.policy(job))
    }

    fn receipt(&mut self, transfer: TransferId, outcome: ReceiptOutcome) -> Result<()> {
        match self.line.open_session() {
            Some(session) => session.request(&Request::Receipt(Receipt::new(transfer, outcome))),
            None => Ok(()),
        }
    }

    /// A connection broke or cannot be had: what was on its way is asked for again, after a rest.
    fn recover(&mut self, error: Error) {
        self.ask_again();
        if let Recovery::GiveUp(error) = self.line.recover(error)
            && let Some(job) = self.line.next_job()
        {
            let partial = self.kept(&job);
            let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), partial);
            shown.finish(Outcome::Failed(error.to_string()));
            self.report(job, Status::Failed { error, partial }, None, 0, 0);
        }
    }

    /// What was on its way will not be answered.
    fn ask_again(&mut self) {
        while let Some(waiting) = self.waiting.pop_back() {
            waiting.shown.finish(Outcome::Again(None));
            if let Asked::Bytes(Some(resumed)) = waiting.asked {
                self.shared.folder.leave(resumed.partial.staged);
            }
            self.line.again(waiting.job);
        }
    }

    /// Bytes of a file that wait to be resumed.
    fn kept(&self, job: &Job) -> u64 {
        let folder = self.shared.folder;
        let kept = |growth, held: &dyn Fn(&Staged) -> u64| {
            let Ok(Some(partial)) = folder.partial(job.place(), growth) else { return 0 };
            let held = held(&partial.staged);
            folder.leave(partial.staged);
            held
        };
        let appended = kept(Growth::Appended, &Staged::length);
        appended.max(kept(Growth::Segmented, &|staged| segments::claimed_bytes(staged, job.size)))
    }

    fn settle(&self, job: Job, status: Status, outcome: Outcome) -> Result<()> {
        self.shared.progress.start(job.path.as_bytes(), Some(job.size), job.size).finish(outcome);
        self.report(job, status, None, 0, 0);
        Ok(())
    }

    fn report(&self, job: Job, status: Status, transfer: Option<TransferId>, moved: u64, resumed: u64) {
        let status = match status {
            Status::Interrupted { .. } => Status::Interrupted { partial: self.kept(&job) },
            status => status,
        };
        let path = job.path.as_bytes().to_vec();
        let (size, details) = (job.size, Map::new());
        self.shared.report.file(FileReport { path, size, moved, resumed, transfer, number: None, status, details });
    }
}

/// A place for the bytes of a transfer that a person can stop.
struct Stoppable<'a> {
    sink: &'a mut dyn Sink,
    shown: &'a Transfer,
}

impl Sink for Stoppable<'_> {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        // What came is stored all the same: it is where the next attempt goes on.
        self.sink.store(bytes)?;
        if self.shown.is_asked_to_stop() { Err(stopped()) } else { Ok(()) }
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.sink.take_back(bytes)
    }
}

/// Whether an error ends one file and not the session.
fn is_of_this_file(error: &Error) -> bool {
    match error {
        Error::Refused { code, .. } => !code.ends_session(),
        Error::Local { .. } => true,
        _ => false,
    }
}

fn status(placed: Placed, job: &Job) -> Status {
    match placed {
        Placed::At(name) => Status::Done { renamed: (name != *job.place()).then(|| name.to_string()) },
        Placed::Identical(_) => Status::Identical,
        Placed::Skipped => Status::Skipped,
    }
}

fn outcome(status: &Status) -> Outcome {
    match status {
        Status::Done { .. } => Outcome::Complete,
        Status::Identical => Outcome::Kept,
        Status::Skipped => Outcome::Skipped("the name is taken".into()),
        Status::Failed { error, .. } => Outcome::Failed(error.to_string()),
        Status::Interrupted { .. } => Outcome::Failed("stopped".into()),
    }
}

/// Says that names were left out of a listing, if some were.
pub(super) fn say_left_out(skipped: u64, unreadable: u64) {
    if skipped > 0 {
        say(&format!("{skipped} left out: links, devices and names that cannot be sent"));
    }
    if unreadable > 0 {
        say(&format!("{unreadable} folders or files cannot be read by the server"));
    }
}
