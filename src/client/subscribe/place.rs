//! Files that are here whole, on their way into their places; and those that are not to be had.
//!
//! Owns the order that keeps the position honest: flushed, named, the names flushed, and only then said to be here: to the
//! file of the position, to the server, to whoever watches.

use super::LONGEST_REST;
use super::arrival::{Arrival, Number};
use super::execute::Program;
use super::fetch::{Fetcher, Finished, Shared, Whole};
use super::teller::{Told, told};
use crate::client::folder::Placed;
use crate::client::report::Status;
use crate::client::session::Session;
use crate::error::{Error, Result};
use crate::staged::Verified;
use crate::wire::{ErrorCode, ReceiptOutcome, RemotePath, TransferId};
use std::time::Duration;

/// More files than these are flushed with one call.
const FLUSH_ONE_BY_ONE: usize = 8;
/// Attempts at a file that the server cannot deliver.
const ATTEMPTS: u32 = 6;
/// Attempts between two reminders that this machine cannot store a file.
const REMIND: u32 = 30;
/// Half of what is rested after the first failure of a file; it doubles.
const FIRST_REST: Duration = Duration::from_millis(125);

impl Fetcher<'_> {
    /// A file that was not had, or not stored. It is tried again later, unless that cannot help.
    pub(super) fn later_or_fail(&mut self, arrival: Arrival, error: Error) {
        let arrival = Arrival { attempts: arrival.attempts.saturating_add(1), ..arrival };
        let is_final = match error.code() {
            ErrorCode::NotFound if matches!(error, Error::Local { .. }) => false,
            ErrorCode::NotFound | ErrorCode::NotAFile | ErrorCode::Expired | ErrorCode::Forbidden => true,
            ErrorCode::BadPath | ErrorCode::TooLarge | ErrorCode::Exists => true,
            // This machine may get better at any time; a server that fails again and again does not.
            _ => !matches!(error, Error::Local { .. }) && arrival.attempts >= ATTEMPTS,
        };
        if is_final {
            return self.fail(arrival, Status::Failed { error, partial: 0 }, None);
        }
        if arrival.attempts == 1 || arrival.attempts.is_multiple_of(REMIND) {
            self.shared.teller.problem(&format!("{}: {}; trying again", arrival.path, reason(&error)));
        }
        let rest = FIRST_REST.saturating_mul(1 << arrival.attempts.min(16)).min(LONGEST_REST);
        self.shared.board.put_back_later(arrival, rest);
    }

    /// This machine could not store files. Tried one by one, it is seen which of them it is.
    pub(super) fn not_placed(&mut self, arrivals: Vec<Arrival>, error: Error) {
        match <[Arrival; 1]>::try_from(arrivals) {
            Ok([arrival]) => self.later_or_fail(arrival, error),
            Err(arrivals) => {
                self.shared.teller.problem(&format!("{}; trying one by one", reason(&error)));
                let again = |arrival| Arrival { attempts: 1, ..arrival };
                self.shared.board.put_back(arrivals.into_iter().map(again).collect());
            }
        }
    }

    /// Puts files in their places, durably, and then says so. Those that there are enough without come back: they are wanted
    /// again if another one comes to nothing. An error is one of this machine, and about all the others.
    pub(super) fn settle(&mut self, whole: Vec<Whole>) -> (Vec<Arrival>, Result<()>) {
        let (claimed, surplus): (Vec<_>, Vec<_>) = whole.into_iter().partition(|_| self.shared.board.claim());
        let release = |whole: Whole| {
            told(&whole.shown);
            whole.arrival
        };
        (surplus.into_iter().map(release).collect(), self.settle_claimed(claimed))
    }

    fn settle_claimed(&mut self, claimed: Vec<Whole>) -> Result<()> {
        if claimed.is_empty() {
            return Ok(());
        }
        let count = claimed.len();
        match self.place(claimed) {
            Ok(placed) => {
                let (here, not): (Vec<_>, Vec<_>) = placed.into_iter().partition(|told| told.place.is_some());
                for told in not {
                    self.shared.board.give_back();
                    self.fail(told.arrival, told.status, told.transfer);
                }
                self.arrive(here);
                Ok(())
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
                Ok(Placed::Identical(place)) => {
                    self.shared.folder.flush_content(&place)?;
                    (Some(place), Status::Identical)
                }
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

    /// These are wanted again later.
    pub(super) fn put_back(&self, arrivals: Vec<Arrival>) {
        if !arrivals.is_empty() {
            self.shared.board.put_back(arrivals);
        }
    }

    /// Files that were there already count as received, once they are as safe as those that came.
    pub(super) fn keep(&mut self, here: Vec<(Arrival, RemotePath)>) {
        let (mut files, mut surplus) = (Vec::new(), Vec::new());
        for (arrival, place) in here {
            let folder = self.shared.folder;
            let flushed = folder.flush_content(&place).and_then(|()| folder.flush_names(std::iter::once(&place)));
            match flushed {
                Err(error) => self.later_or_fail(arrival, error),
                Ok(()) if self.shared.board.claim() => {
                    let (place, status) = (Some(place), Status::Identical);
                    files.push(Told { arrival, place, transfer: None, moved: 0, resumed: 0, status });
                }
                Ok(()) => surplus.push(arrival),
            }
        }
        self.put_back(surplus);
        self.arrive(files);
    }

    /// These are safely here: the position says so, then the server is told, then whoever watches.
    fn arrive(&mut self, files: Vec<Told>) {
        if files.is_empty() {
            return;
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
    }

    /// A file that is not to be had, or not to be stored: the position goes past it.
    pub(super) fn fail(&mut self, arrival: Arrival, status: Status, transfer: Option<TransferId>) {
        self.shared.finish(arrival.number.as_slice());
        let number = arrival.number;
        self.shared.tell_failed(Told { arrival, place: None, transfer, moved: 0, resumed: 0, status });
        let told = self
            .receipt(transfer.unwrap_or_default(), ReceiptOutcome::NotStored, number)
            .and_then(|()| self.session.as_mut().map_or(Ok(()), Session::flush));
        if told.is_err() {
            self.session = None;
        }
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

    fn finish(&self, numbers: &[Number]) {
        if let Err(error) = self.board.finish(numbers) {
            self.teller.problem(&error.to_string());
        }
    }

    fn tell(&self, told: Told) {
        self.tell_failed(told);
        self.board.was_told();
    }

    fn tell_failed(&self, told: Told) {
        let number = told.arrival.number;
        self.teller.file(told);
        let missed = number.and_then(|number| self.board.was_missed(number));
        missed.into_iter().for_each(|missed| self.teller.caught_up(missed));
    }
}

/// Why a file could not be stored, without the name that it has while it is not whole.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Local { operation, path, .. } => {
            let whole = error.to_string();
            let why = whole.strip_prefix(&format!("{operation} {path}: ")).unwrap_or(&whole);
            format!("cannot {operation} it: {why}")
        }
        error => error.to_string(),
    }
}
