//! An upload that is fetched while it comes in (PROTOCOL.md, section 16).
//!
//! Owns what can come of it: whole and verified, dropped and fetched by its path when it has arrived, or gone on with later.

use super::arrival::{Arrival, path};
use super::board::{LiveEnd, LiveJob};
use super::fetch::{Fetcher, Whole};
use super::place::reason;
use super::teller::told;
use crate::client::folder::Partial;
use crate::client::session::Session;
use crate::client::terminal::progress::Transfer;
use crate::error::{Error, Result};
use crate::staged::Staged;
use crate::wire::{Digest, End, ErrorCode, Get, LiveHeader, RawBytes, ReceiptOutcome, Request, Violation};
use std::sync::Arc;
use std::time::Duration;

/// How long what came in live waits to be told as an arrival: that says who sent it, and when it was modified.
const TOLD_SOON: Duration = Duration::from_secs(2);

/// What became of a live upload, short of an error of the connection.
enum Came {
    Whole(Box<Whole>),
    Not(LiveEnd),
}

impl Fetcher<'_> {
    /// Fetches an upload while it comes in.
    pub(super) fn live(&mut self, job: &LiveJob) -> Result<()> {
        if self.session.as_mut().is_some_and(Session::has_answer) {
            self.session = None;
        }
        let partial = self.shared.folder.live_partial(job.live).ok().flatten();
        let partial = partial.and_then(|partial| self.hashed(partial, job.size));
        let held = partial.as_ref().map_or(0, |(partial, _)| partial.staged.length());
        let shown = self.shared.teller.start(&job.path, job.size, held);
        let came = self.live_bytes(job, partial, &shown);
        let (end, result) = match came {
            Ok(Came::Whole(whole)) => {
                let end = whole.arrival.number.map_or(LiveEnd::Dropped, LiveEnd::Settled);
                match self.settle(vec![*whole]) {
                    (surplus, Ok(())) if surplus.is_empty() => (end, Ok(())),
                    // It may be wanted again, and is fetched by its path then.
                    (_, Ok(())) => (LiveEnd::Dropped, Ok(())),
                    // It is told as an arrival, or was already: then it is fetched by its path.
                    (_, Err(error)) => {
                        self.shared.teller.problem(&format!("{}: {}", job.path, reason(&error)));
                        (LiveEnd::Dropped, Ok(()))
                    }
                }
            }
            Ok(Came::Not(end)) => (end, Ok(())),
            Err(error @ Error::Local { .. }) => {
                self.shared.teller.problem(&format!(
                    "{}: {}; trying again when it has arrived",
                    job.path,
                    reason(&error)
                ));
                (LiveEnd::Dropped, Ok(()))
            }
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
            Err(error) => return self.live_refused(partial.map(|(partial, _)| partial.staged), error),
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
            Ok((received, end)) => self.live_whole(job, &header, staged, received.digest(), end, shown),
            Err(error) => self.live_refused(Some(staged), error),
        }
    }

    /// An upload that ends without END. What is here of it may be of use later, or is not.
    fn live_refused(&self, staged: Option<Staged>, error: Error) -> Result<Came> {
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
                staged.into_iter().for_each(|staged| self.shared.folder.leave(staged));
                return Err(error);
            }
            _ => {
                staged.into_iter().for_each(|mut staged| staged.discard());
                return Err(error);
            }
        };
        staged.into_iter().for_each(|staged| self.shared.folder.leave(staged));
        Ok(end)
    }

    /// All bytes of an upload are here, and it has a name and a number.
    fn live_whole(
        &mut self,
        job: &LiveJob,
        header: &LiveHeader,
        mut staged: Staged,
        digest: Digest,
        end: End,
        shown: &Arc<Transfer>,
    ) -> Result<Came> {
        let announced = end.digest.ok_or(Violation::Contradiction("END of an upload without its digest"))?;
        // Without a number nothing arrived. With that of an arrival that is known, it was fetched by its path, or is being.
        let number = end.number.and_then(|number| self.shared.board.take_over(job.live, number));
        let name = end.path.unwrap_or_else(|| RawBytes(job.path.as_bytes().to_vec()));
        // Its sender may have gone on with it in a folder that is not followed: then it is not what was asked for.
        let path = path(&name, self.shared.topics).ok().flatten();
        let (Some(number), Some(path)) = (number, path) else {
            staged.discard();
            self.receipt(header.transfer, ReceiptOutcome::GivenUp, None)?;
            self.session()?.flush()?;
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
}
