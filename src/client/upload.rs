//! Many files, from this machine to the server.
//!
//! A worker has one connection at a time. Small files follow each other without waiting ([`WINDOW`] of them unanswered at
//! most); a large one is asked about first, and goes on where an earlier attempt broke off. Strategies, retries and
//! backoff are those of [`super::download`].
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::exchange::{changed, exchange, put, shown_path, upload_id};
use super::line::{Line, Queue, Recovery};
use super::options::{Options, Strategy};
use super::report::{FileReport, Report, Status};
use super::session::Session;
use super::terminal::progress::{Outcome, Progress, Transfer};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::transfer::{digest_bytes, read_exactly};
use crate::wire::{ErrorCode, Finish, Put, PutKind, RemotePath, Reply, Request, Stored, StoredOutcome, Violation};
use serde_json::Map;
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// PUTs that may be unanswered; half of what the protocol allows (PROTOCOL.md, section 11).
const WINDOW: usize = 1024;
/// Up to this size a file is read into memory, hashed and sent without asking.
const SMALL: u64 = 1024 * 1024;

/// What is there on the server under the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// Nothing, as far as is known.
    Nothing,
    /// A file of the same size and time.
    Same,
    /// Other content, as far as is known; but the same may be there under a number.
    Taken,
}

/// One file to send.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) local: PathBuf,
    pub(super) path: RemotePath,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) there: There,
    /// Bytes that the server held when it was last asked in this run.
    pub(super) held: u64,
}

/// One folder to make; its modification time is set when everything is in it.
#[derive(Debug, Clone)]
pub(super) struct FolderJob {
    pub(super) path: RemotePath,
    pub(super) modified: i64,
}

/// Sends files. `session` is used first and comes back, if it still works; what became of each file is in `report`.
pub(super) fn upload(
    mut jobs: Vec<Job>,
    session: Session,
    options: &Options,
    progress: &Progress,
    report: &Report,
) -> Option<Session> {
    if options.strategy != Strategy::Serial {
        jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
    }
    let workers = if options.strategy == Strategy::Serial { 1 } else { options.jobs.min(jobs.len()) };
    progress.expect(jobs.len() as u64, jobs.iter().fold(0, |sum, job| sum.saturating_add(job.size)));
    let queue = Queue::new(jobs, workers);
    let shared = Shared { options, progress, report };
    let mut session = Some(session);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|_| {
                let line = Line::new(&queue, options, progress, session.take());
                let mut worker = Worker { shared: &shared, line, waiting: VecDeque::new() };
                scope.spawn(move || worker.run())
            })
            .collect();
        let left = running.into_iter().filter_map(|worker| worker.join().ok().flatten());
        session.into_iter().chain(left).reduce(|kept, other| {
            other.close();
            kept
        })
    })
}

/// Makes folders, deepest first, so that the time of each is set after those in it were made.
pub(super) fn make_folders(folders: &[FolderJob], session: &mut Session, report: &Report) -> Result<()> {
    let mut folders: Vec<_> = folders.iter().collect();
    folders.sort_by(|a, b| b.path.cmp(&a.path));
    for chunk in folders.chunks(WINDOW) {
        for folder in chunk {
            let put = Put { kind: PutKind::Folder, modified: Some(folder.modified), ..put(&folder.path) };
            session.request(&Request::Put(put))?;
        }
        session.flush()?;
        for folder in chunk {
            match session.answer() {
                Ok(_) => {}
                Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                    report.problem(&folder.path.to_string(), &error);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

struct Shared<'a> {
    options: &'a Options,
    progress: &'a Progress,
    report: &'a Report,
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    line: Line<'a, Job>,
    waiting: VecDeque<Waiting>,
}

/// A PUT that is not answered yet.
struct Waiting {
    job: Job,
    sent: Delivery,
    shown: Arc<Transfer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The bytes were sent with it.
    Bytes,
    /// It only asked whether the server has these bytes.
    Question,
}

impl Worker<'_> {
    fn run(&mut self) -> Option<Session> {
        loop {
            let step = match self.line.next_job() {
                Some(job) => self.send(job),
                None if self.waiting.is_empty() && self.line.end() => break,
                None => self.take_answers(0),
            };
            if let Err(error) = step {
                self.recover(error);
            }
        }
        self.line.take_session()
    }

    /// Sends a file, or notes why not; takes answers where enough are due.
    fn send(&mut self, job: Job) -> Result<()> {
        if let Some(status) = self.line.not_tried() {
            self.report(&job, status, None, 0, 0);
            return Ok(());
        }
        if job.there == There::Same {
            let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), job.size);
            shown.finish(Outcome::Kept);
            self.report(&job, Status::Identical, None, 0, 0);
            return Ok(());
        }
        if job.size > SMALL {
            self.take_answers(0)?;
            self.send_large(job)?;
        } else {
            self.send_small(job)?;
        }
        if self.shared.options.strategy == Strategy::Parallel {
            self.take_answers(0)?;
            self.line.take_session().into_iter().for_each(Session::close);
        }
        if self.waiting.len() >= WINDOW { self.take_answers(WINDOW / 2) } else { Ok(()) }
    }

    fn send_small(&mut self, job: Job) -> Result<()> {
        let bytes = match read_small(&job) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failed_here(&job, error);
                return Ok(());
            }
        };
        let digest = digest_bytes(&bytes);
        let question = job.there == There::Taken;
        let put = Put {
            size: Some(bytes.len() as u64),
            modified: Some(job.modified),
            on_conflict: self.shared.options.on_conflict,
            upload: question.then(|| upload_id(&job)),
            digest: Some(digest),
            ask: question,
            ..put(&job.path)
        };
        let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), 0);
        let sent = if question { Delivery::Question } else { Delivery::Bytes };
        self.waiting.push_back(Waiting { job, sent, shown: Arc::clone(&shown) });
        let session = self.line.session()?;
        session.request(&Request::Put(put))?;
        if sent == Delivery::Bytes {
            session.send_data(&bytes)?;
            session.request(&Request::Finish(Finish { digest }))?;
            shown.add(bytes.len() as u64);
        }
        Ok(())
    }

    /// Takes answers until at most `left` are due.
    fn take_answers(&mut self, left: usize) -> Result<()> {
        if self.waiting.len() > left {
            self.line.session()?.flush()?;
        }
        while self.waiting.len() > left {
            let answer = self.line.session()?.answer();
            let Some(waiting) = self.waiting.pop_front() else { break };
            // What was only sent may be lost.
            if answer.as_ref().map_or_else(is_of_this_file, |_| true) {
                self.line.went_well();
            }
            match answer {
                Ok(Reply::Stored(stored)) => {
                    let status = status(&stored, &waiting.job.path);
                    waiting.shown.finish(outcome(&status));
                    self.report(&waiting.job, status, Some(&stored), waiting.shown.moved(), 0);
                }
                // The server does not have it: next time the bytes are sent with the question.
                Ok(Reply::Offer(_)) if waiting.sent == Delivery::Question => {
                    waiting.shown.finish(Outcome::Again(Some("the server has other content".into())));
                    self.line.again(Job { there: There::Nothing, ..waiting.job });
                }
                Ok(reply) => {
                    self.waiting.push_front(waiting);
                    return Err(Violation::Unexpected(reply.kind()).into());
                }
                Err(error) if is_of_this_file(&error) => self.refused(&waiting, error),
                Err(error) => {
                    self.waiting.push_front(waiting);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn send_large(&mut self, job: Job) -> Result<()> {
        let file = match File::open(&job.local) {
            Ok(file) => file,
            Err(error) => {
                self.failed_here(&job, Error::local("open", shown_path(&job.local), error));
                return Ok(());
            }
        };
        let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), 0);
        let options = self.shared.options;
        let result = self.line.session().and_then(|session| exchange(session, &job, &file, options, &shown));
        let is_answered = result.as_ref().map_or_else(is_of_this_file, |_| true);
        // What was sent is progress where the server kept it.
        if is_answered || resumed_from(&shown) > job.held {
            self.line.went_well();
        }
        match result {
            Ok((stored, resumed)) => {
                let status = status(&stored, &job.path);
                shown.finish(outcome(&status));
                self.report(&job, status, Some(&stored), shown.moved(), resumed);
                Ok(())
            }
            Err(error) if is_of_this_file(&error) => {
                self.refused(&Waiting { job, sent: Delivery::Bytes, shown }, error);
                Ok(())
            }
            Err(error) => {
                shown.finish(Outcome::Again(None));
                // If only the acknowledgement was lost, the server has it: its digest spares the bytes.
                let there = if shown.done() >= job.size { There::Taken } else { job.there };
                self.line.again(Job { held: job.held.max(resumed_from(&shown)), there, ..job });
                Err(error)
            }
        }
    }

    fn refused(&self, waiting: &Waiting, error: Error) {
        let partial = waiting.shown.done();
        let stopped = waiting.shown.is_asked_to_stop();
        let status = if stopped { Status::Interrupted { partial } } else { Status::Failed { error, partial: 0 } };
        waiting.shown.finish(outcome(&status));
        self.report(&waiting.job, status, None, waiting.shown.moved(), 0);
    }

    fn failed_here(&self, job: &Job, error: Error) {
        let shown = self.shared.progress.start(job.path.as_bytes(), Some(job.size), 0);
        shown.finish(Outcome::Failed(error.to_string()));
        self.report(job, Status::Failed { error, partial: 0 }, None, 0, 0);
    }

    /// A connection broke: what was not answered is sent again. Whatever was stored meanwhile is recognised.
    fn recover(&mut self, error: Error) {
        while let Some(waiting) = self.waiting.pop_back() {
            waiting.shown.finish(Outcome::Again(None));
            self.line.again(waiting.job);
        }
        if let Recovery::GiveUp(error) = self.line.recover(error)
            && let Some(job) = self.line.next_job()
        {
            self.failed_here(&job, error);
        }
    }

    fn report(&self, job: &Job, status: Status, stored: Option<&Stored>, moved: u64, resumed: u64) {
        let path = job.path.as_bytes().to_vec();
        let (transfer, number) = (stored.map(|stored| stored.transfer), stored.and_then(|stored| stored.number));
        let (size, details) = (job.size, Map::new());
        self.shared.report.file(FileReport { path, size, moved, resumed, transfer, number, status, details });
    }
}

/// Bytes that were there before a transfer began, as far as is known.
fn resumed_from(shown: &Transfer) -> u64 {
    shown.done().saturating_sub(shown.moved())
}

fn read_small(job: &Job) -> Result<Vec<u8>> {
    let failed = |error| Error::local("read", shown_path(&job.local), error);
    let file = File::open(&job.local).map_err(failed)?;
    let size = usize::try_from(job.size).unwrap_or(usize::MAX);
    // One byte more than expected would show that it grew.
    let bytes = read_exactly(&file, 0, size.saturating_add(1)).map_err(failed)?;
    if bytes.len() == size { Ok(bytes) } else { Err(changed(&job.local)) }
}

fn is_of_this_file(error: &Error) -> bool {
    match error {
        Error::Refused { code, .. } => !code.ends_session() || *code == ErrorCode::Superseded,
        Error::Local { .. } => true,
        _ => false,
    }
}

/// What an acknowledgement makes of a file that was to be stored at `path`.
pub(super) fn status(stored: &Stored, path: &RemotePath) -> Status {
    match stored.outcome {
        StoredOutcome::Identical => Status::Identical,
        StoredOutcome::Skipped => Status::Skipped,
        StoredOutcome::New | StoredOutcome::Renamed | StoredOutcome::Overwritten => {
            Status::Done { renamed: (*stored.path != *path.as_bytes()).then(|| harmless(&stored.path)) }
        }
    }
}

/// How a file that was answered is shown.
pub(super) fn outcome(status: &Status) -> Outcome {
    match status {
        Status::Identical => Outcome::Kept,
        Status::Skipped => Outcome::Skipped("the name is taken".into()),
        Status::Failed { error, .. } => Outcome::Failed(error.to_string()),
        Status::Interrupted { .. } => Outcome::Failed("stopped".into()),
        Status::Done { .. } => Outcome::Complete,
    }
}
