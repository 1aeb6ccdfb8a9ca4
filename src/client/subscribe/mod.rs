//! Following topics: what arrives is fetched, verified and put in place, and nothing is missed or fetched twice.
//!
//! One connection follows ([`feed`]), up to `--jobs` others fetch ([`fetch`]), and the [`board`] stands between them. What is
//! safely here is remembered across runs ([`cursor`], [`saved`]).
//!
//! | Module | Owns |
//! |---|---|
//! | `cursor` | the arithmetic of arrival numbers |
//! | `saved` | the file that remembers it |
//! | `arrival` | an arrival, parsed |
//! | `board` | what is to be fetched, by whom, and what is here |
//! | `feed` | the connection that is told what arrives |
//! | `fetch` | a connection that fetches it by its path |
//! | `live` | the same for what is still on its way |
//! | `place` | from a whole file to one that is safely in its place |
//! | `execute` | the program that is run for each file |
//! | `teller` | what is said |
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod arrival;
mod board;
mod cursor;
mod execute;
mod feed;
mod fetch;
mod live;
mod place;
mod saved;
mod teller;

use super::cancel::INTERRUPTED;
use super::commands::Context;
use super::exit;
use super::folder::Folder;
use super::options::{Options, Strategy};
use super::report::{Report, Style};
use crate::error::{Error, Result};
use crate::wire::{ErrorCode, RemoteFolder, SubscriberId};
use board::{Board, Stop, Wanted};
use execute::Program;
use feed::Feed;
use fetch::{Fetcher, Shared};
use saved::{Saved, StateFile};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;
use teller::Teller;

/// Topics that may be followed at a time (PROTOCOL.md, section 16).
pub(super) const MOST_TOPICS: usize = 64;
/// Between two attempts to reach a server that is away: it may be back any moment, and there is no end to them.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long the last receipts may take to be with the server.
const LAST_RECEIPTS: Duration = Duration::from_secs(2);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// After what was received before; now, if nothing was.
    Saved,
    /// With what arrives from now on.
    Now,
    /// With the oldest arrival that the server knows.
    Start,
}

/// What is followed, and what is done with it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) topics: Vec<RemoteFolder>,
    pub(super) from: From,
    /// After so many files it ends.
    pub(super) count: Option<u64>,
    /// A program to run for each file.
    pub(super) exec: Option<PathBuf>,
    /// Whether uploads are fetched while they are on their way.
    pub(super) live: bool,
    /// The command that tries again what failed.
    pub(super) retry: String,
}

/// Follows topics until it is stopped, or enough has come; the exit code.
///
/// # Errors
/// Of this machine: the download folder, the saved position. Of the server: a violation, a refusal. A server that cannot be
/// reached is none.
pub(super) fn follow(context: &Context, plan: &Plan) -> Result<u8> {
    let (options, link) = (context.options(), context.link());
    let folder = Folder::open(&context.settings.dir)?;
    let file = StateFile::open(folder.state_folder(), &link.target, &plan.topics)?;
    let saved = match (file.load(), plan.from) {
        (Ok(saved), _) => saved,
        (Err(error), From::Saved) => return Err(error),
        // Whoever says where to begin need not hear that what was saved is damaged.
        (Err(_), From::Now | From::Start) => None,
    };
    let subscriber = saved.as_ref().map_or_else(new_subscriber, |saved| Ok(saved.subscriber))?;
    let board = Board::new(file, subscriber, jobs(&options), plan.count);
    if let (Some(Saved { position, .. }), From::Saved) = (saved, plan.from) {
        board.restore(position);
    }
    let style = Style { verbose: false, ..context.style() };
    let teller = Teller::new(&context.terminal, context.settings.quiet, Report::waiting(style));
    if context.attended && !context.terminal.is_plain() {
        teller.has_keys();
    }
    let place = context.settings.dir.display().to_string();
    let topics = &plan.topics;
    let shared = Shared { topics, options: &options, folder: &folder, board: &board, teller: &teller };
    let feed = Feed {
        plan,
        link: &link,
        folder: &folder,
        board: &board,
        teller: &teller,
        place,
        away: None,
        has_begun: false,
    };
    run(context, plan, &shared, feed)?;
    teller.finish();
    let code = match board.stopped() {
        Some(Stop::Enough) => {
            // The connections were cut to end their waiting: nobody asked for more than that.
            context.cancel.reset();
            board.caught_up().into_iter().for_each(|missed| teller.caught_up(missed));
            exit::OK
        }
        Some(Stop::Failed(error)) => {
            context.cancel.reset();
            return Err(error);
        }
        Some(Stop::Asked) | None => INTERRUPTED,
    };
    let place = context.settings.dir.display().to_string();
    if context.settings.json || !teller.report.is_empty() {
        teller.report.summary(&context.terminal, &plan.retry, Some(&place));
    }
    Ok(code)
}

/// Runs the connections to their end.
fn run(context: &Context, plan: &Plan, shared: &Shared<'_>, mut feed: Feed<'_>) -> Result<()> {
    let jobs = jobs(shared.options);
    // An upload that is on its way must not hold up what has arrived.
    let live_only = usize::from(jobs == 1 && plan.live);
    let wanted = std::iter::repeat_n(Wanted::Anything, jobs).chain(std::iter::repeat_n(Wanted::Live, live_only));
    let program = plan.exec.as_ref().map(|path| program(context, path.clone())).transpose()?;
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let sender = program.as_ref().map(|_| sender);
        for wanted in wanted {
            shared.board.begin_work();
            let fetcher = Fetcher::new(shared, wanted, sender.clone());
            scope.spawn(move || fetcher.run());
        }
        drop(sender);
        if let Some(program) = &program {
            scope.spawn(move || shared.run_program(program, &receiver));
        }
        scope.spawn(|| {
            shared.board.wait_for_end(LAST_RECEIPTS);
            // Whoever still waits for the server waits no more.
            context.cancel.cancel();
        });
        feed.run();
    });
    Ok(())
}

/// Connections that fetch. One at a time means one file after another, in the order in which they arrived.
fn jobs(options: &Options) -> usize {
    if options.strategy == Strategy::Serial { 1 } else { options.jobs }
}

fn program(context: &Context, path: PathBuf) -> Result<Program> {
    let dir = &context.settings.dir;
    let folder = std::fs::canonicalize(dir).map_err(|error| Error::local("find", dir.display(), error))?;
    Ok(Program { path, folder, is_json: context.settings.json })
}

/// Whether the server may do later what it refused: it may be short of descriptors for a while.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Refused { code: ErrorCode::Unavailable, .. })
}

fn new_subscriber() -> Result<SubscriberId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::local("get", "a random number", std::io::Error::other(error)))?;
    Ok(SubscriberId(id))
}
