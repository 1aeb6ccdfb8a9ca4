//! What is under way, and what there is to say about it.
//!
//! Owns the reading of the counters and the sums. Decides which transfers get a row; draws nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::row::{self, Standing, Total};
use super::scroll::Scroll;
use super::speed::Speed;
use super::transfer::{Outcome, Transfer};
use crate::client::terminal::capability::Size;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::quantity;

/// Lines of the screen that bars leave free: the TOTAL row, the cursor's line, and one of what was there before.
const FREE_ROWS: u16 = 3;

/// All transfers of one [`super::Progress`].
#[derive(Debug)]
pub(super) struct Board {
    charset: Charset,
    color: bool,
    active: Vec<Active>,
    expected: (u64, u64),
    /// Transfers that were started.
    seen: u64,
    ended: Sums,
    failed: u64,
    /// Bytes moved by the transfers that ended.
    moved_by_ended: u64,
    speed: Speed,
    scroll: Scroll,
    /// Transfers that ended and have yet to be shown.
    to_show: Vec<Ended>,
}

#[derive(Debug)]
struct Active {
    transfer: Arc<Transfer>,
    speed: Speed,
}

#[derive(Debug)]
struct Ended {
    transfer: Arc<Transfer>,
    outcome: Outcome,
    took: Duration,
}

/// Files and the bytes they are counted as.
#[derive(Debug, Default)]
struct Sums {
    files: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Board {
    pub(super) fn new(charset: Charset, color: bool, now: Instant) -> Self {
        Self {
            charset,
            color,
            active: Vec::new(),
            expected: (0, 0),
            seen: 0,
            ended: Sums::default(),
            failed: 0,
            moved_by_ended: 0,
            speed: Speed::new(now),
            scroll: Scroll::new(now),
            to_show: Vec::new(),
        }
    }

    pub(super) fn expect(&mut self, files: u64, bytes: u64) {
        self.expected = (files, bytes);
    }

    pub(super) fn add(&mut self, started: Vec<Arc<Transfer>>) {
        for transfer in started {
            self.seen += 1;
            let now = Instant::now();
            self.active.push(Active { transfer, speed: Speed::new(now) });
        }
    }

    /// Reads all counters.
    pub(super) fn read(&mut self, now: Instant) {
        let active = std::mem::take(&mut self.active);
        let (ended, active): (Vec<_>, Vec<_>) = active.into_iter().partition(|active| has_ended(&active.transfer));
        self.active = active;
        for active in ended {
            self.retire(active.transfer);
        }
        let mut moved = self.moved_by_ended;
        for Active { transfer, speed } in &mut self.active {
            speed.update(now, transfer.moved());
            moved = moved.saturating_add(transfer.moved());
        }
        self.speed.update(now, moved);
    }

    /// Lines for the transfers that ended since the last call: a bounded number of them a second.
    pub(super) fn finished_lines(&mut self, size: Size, now: Instant) -> Vec<String> {
        let mut lines: Vec<String> = self.scroll.turn(now).into_iter().map(|more| self.held_back_line(more)).collect();
        for ended in std::mem::take(&mut self.to_show) {
            if self.scroll.admit() {
                lines.push(self.finished_line(&ended, usable_columns(size)));
            }
        }
        lines
    }

    /// What is left to say at the end.
    pub(super) fn last_lines(&mut self, size: Size, now: Instant) -> Vec<String> {
        let mut lines = self.finished_lines(size, now);
        lines.extend(self.scroll.flush().map(|more| self.held_back_line(more)));
        lines
    }

    /// The transfers that have been under way longest, and the TOTAL row.
    pub(super) fn rows(&self, size: Size) -> Vec<String> {
        let columns = usable_columns(size);
        let room = usize::from(size.rows.saturating_sub(FREE_ROWS));
        let mut rows: Vec<String> = self.active.iter().take(room).map(|active| self.row(active, columns)).collect();
        let without_row = self.active.len() - rows.len();
        rows.push(row::total(self.total(without_row), self.standing(), columns, self.charset));
        rows
    }

    /// All of it in one line, for where nothing can be redrawn.
    pub(super) fn plain_line(&self) -> String {
        let Standing { done, size, rate, left } = self.standing();
        let total = self.total(0);
        let files = format!("{}/{} files", quantity::count(total.files_done), quantity::count(total.files));
        let bytes = match size {
            Some(size) => format!("{} of {}", quantity::size(done), quantity::size(size)),
            None => quantity::size(done),
        };
        let left = left.map_or(String::new(), |left| format!(", {} left", quantity::duration(left)));
        let failed =
            if total.failed > 0 { format!(", {} failed", quantity::count(total.failed)) } else { String::new() };
        format!("{files}, {bytes}, {}{left}{failed}", quantity::rate(rate))
    }

    fn row(&self, active: &Active, columns: usize) -> String {
        let (done, size) = (active.transfer.done(), active.transfer.size());
        let left = size.and_then(|size| active.speed.time_for(size.saturating_sub(done)));
        let standing = Standing { done, size, rate: active.speed.rate(), left };
        row::transfer(active.transfer.name(), standing, columns, self.charset)
    }

    fn total(&self, without_row: usize) -> Total {
        let files = self.expected.0.max(self.seen);
        Total { files_done: self.ended.files - self.failed, files, failed: self.failed, without_row }
    }

    /// Where nothing was announced, what was started is all there is; its sizes may not be known yet.
    fn standing(&self) -> Standing {
        let active = || self.active.iter().map(|active| &active.transfer);
        let done = active().map(|transfer| transfer.done()).fold(self.ended.bytes, u64::saturating_add);
        let sizes = active().map(|transfer| transfer.size());
        let started = sizes.clone().flatten().fold(self.ended.bytes, u64::saturating_add);
        let all_known = self.expected.1 > 0 || sizes.clone().all(|size| size.is_some());
        let size = all_known.then_some(self.expected.1.max(started).max(done));
        let left = size.and_then(|size| self.speed.time_for(size - done));
        Standing { done, size, rate: self.speed.rate(), left }
    }

    /// A transfer that ended early counts as all of it: nothing more of it is to come, unless another one takes its place.
    fn retire(&mut self, transfer: Arc<Transfer>) {
        let vanished = || (Outcome::Failed("stopped".to_owned()), Duration::ZERO);
        let (outcome, took) = transfer.ended().cloned().unwrap_or_else(vanished);
        if matches!(outcome, Outcome::Again(_)) {
            self.seen = self.seen.saturating_sub(1);
        } else {
            self.ended.add(transfer.size().unwrap_or(0).max(transfer.done()));
        }
        self.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
        self.moved_by_ended = self.moved_by_ended.saturating_add(transfer.moved());
        if outcome != Outcome::Told {
            self.to_show.push(Ended { transfer, outcome, took });
        }
    }

    fn finished_line(&self, ended: &Ended, columns: usize) -> String {
        let Ended { transfer, outcome, took } = ended;
        let (sign, text) = row::finished(transfer.name(), outcome, transfer.moved(), *took, columns, self.charset);
        let color = match outcome {
            Outcome::Complete if self.color => "\x1b[32m",
            Outcome::Failed(_) if self.color => "\x1b[31m",
            _ => return format!(" {sign} {text}"),
        };
        format!(" {color}{sign}\x1b[0m {text}")
    }

    fn held_back_line(&self, more: u64) -> String {
        format!(" {} {}", self.charset.ellipsis(), quantity::counted(more, "more file"))
    }
}

/// Whoever worked on it said so, or is gone without a word.
fn has_ended(transfer: &Arc<Transfer>) -> bool {
    transfer.ended().is_some() || Arc::strong_count(transfer) == 1
}

/// The last column stays free: terminals disagree about what happens after a character in it.
fn usable_columns(size: Size) -> usize {
    usize::from(size.columns).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board_with(transfers: &[(Option<u64>, u64)]) -> (Board, Vec<Arc<Transfer>>) {
        let mut board = Board::new(Charset::Unicode, false, Instant::now());
        let transfers: Vec<_> =
            transfers.iter().map(|(size, already)| Arc::new(Transfer::new(b"x", *size, *already))).collect();
        board.add(transfers.clone());
        (board, transfers)
    }

    #[test]
    fn a_size_that_is_learnt_late_counts() {
        let (mut board, transfers) = board_with(&[(None, 0), (Some(100), 40)]);
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (40, None));
        transfers[0].set_size(900);
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (40, Some(1_000)));
    }

    #[test]
    fn what_was_there_already_is_done_but_is_no_speed() {
        let (mut board, _transfers) = board_with(&[(Some(1 << 40), 1 << 39)]);
        board.read(Instant::now() + Duration::from_secs(1));
        let standing = board.standing();
        assert_eq!((standing.done, standing.rate, standing.left), (1 << 39, 0.0, None));
    }

    #[test]
    fn a_failed_transfer_leaves_nothing_to_wait_for() {
        let (mut board, transfers) = board_with(&[(Some(100), 0)]);
        board.expect(1, 100);
        transfers[0].add(10);
        transfers[0].finish(Outcome::Failed("gone".to_owned()));
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (100, Some(100)));
        assert_eq!((board.total(0).files_done, board.total(0).failed), (0, 1));
    }

    #[test]
    fn a_file_that_is_tried_again_counts_once() {
        let (mut board, transfers) = board_with(&[(Some(100), 0), (Some(50), 0)]);
        board.expect(2, 150);
        transfers[0].add(60);
        transfers[0].finish(Outcome::Again("gone".to_owned()));
        transfers[1].add(50);
        transfers[1].finish(Outcome::Complete);
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (50, Some(150)));
        let total = board.total(0);
        assert_eq!((total.files_done, total.files, total.failed), (1, 2, 0));
        let second = Arc::new(Transfer::new(b"x", Some(100), 60));
        board.add(vec![Arc::clone(&second)]);
        second.add(40);
        second.finish(Outcome::Complete);
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (150, Some(150)));
        let total = board.total(0);
        assert_eq!((total.files_done, total.files, total.failed), (2, 2, 0));
    }

    #[test]
    fn colour_is_added_to_the_sign_and_never_replaces_it() {
        let line = |color: bool| {
            let (mut board, transfers) = board_with(&[(Some(1), 0)]);
            board.color = color;
            transfers[0].finish(Outcome::Failed("gone".to_owned()));
            board.read(Instant::now());
            board.last_lines(Size { columns: 40, rows: 10 }, Instant::now())
        };
        assert_eq!(line(false), [" ✗ x  gone"]);
        assert_eq!(line(true), [" \x1b[31m✗\x1b[0m x  gone"]);
    }
}
