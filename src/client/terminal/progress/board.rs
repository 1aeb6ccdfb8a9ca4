//! What is under way, and what there is to say about it.
//!
//! Owns the reading of the counters and the sums. Decides which transfers get a row; draws nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::row::{self, Standing, Total};
use super::scroll::Scroll;
use super::speed::Speed;
use super::transfer::{Outcome, Transfer};
use crate::client::terminal::capability::Size;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::quantity;
use crate::client::terminal::screen::Press;
use crate::client::terminal::width::fold;

/// Lines of the screen that bars leave free: the TOTAL row, the cursor's line, and one of what was there before.
const FREE_ROWS: u16 = 3;
/// From this height on there is a line that tells of the keys.
const ROOMY: u16 = 8;

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
    /// When the counters were last read.
    now: Instant,
    keys: Keys,
    /// The transfer that the cursor is on.
    chosen: Weak<Transfer>,
    /// Servers that are away: until when it is rested, and why.
    outages: Vec<Outage>,
    /// Whether a server that is away is being dialled.
    trying: bool,
    /// Bytes moved in all, now and when connections began to break.
    moved: u64,
    moved_when_lost: Option<u64>,
    /// Lines that are no transfer's, to be shown.
    notices: Vec<String>,
    /// Transfers that ended and have yet to be shown.
    to_show: Vec<Ended>,
}

/// A connection that broke, and when it is tried again.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) until: Instant,
    pub(super) why: String,
}

/// Who obeys keys while something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Nobody,
    /// The display: all of them.
    Display,
    /// The owner of the display: Enter and Esc while the server is away.
    Owner,
}

/// What a key asks of those who move bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To try the server again, now.
    Retry,
    /// To stop.
    Stop,
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
            now,
            keys: Keys::Nobody,
            chosen: Weak::new(),
            outages: Vec::new(),
            trying: false,
            moved: 0,
            moved_when_lost: None,
            notices: Vec::new(),
            to_show: Vec::new(),
        }
    }

    pub(super) fn expect(&mut self, files: u64, bytes: u64) {
        self.expected = (files, bytes);
    }

    pub(super) fn add(&mut self, started: Vec<Arc<Transfer>>, now: Instant) {
        for transfer in started {
            self.seen += 1;
            self.active.push(Active { transfer, speed: Speed::new(now) });
        }
    }

    /// Somebody can press keys, and the display hears of them.
    pub(super) fn attend(&mut self) {
        self.keys = Keys::Display;
    }

    /// Somebody can press keys, and the owner hears of them.
    pub(super) fn leave_keys_to_owner(&mut self) {
        self.keys = Keys::Owner;
    }

    /// Connections broke. That is told once, until bytes move again.
    pub(super) fn lost(&mut self, outages: Vec<Outage>) {
        if let (Some(outage), None) = (outages.first(), self.moved_when_lost) {
            self.notices.push(format!(" {} no connection: {}", self.charset.cross(), row::shown(&outage.why)));
            self.moved_when_lost = Some(self.moved);
        }
        self.trying &= outages.is_empty();
        self.outages.extend(outages);
    }

    /// The rest is over, and the server is being dialled.
    pub(super) fn trying(&mut self) {
        self.outages.clear();
        self.trying = true;
    }

    /// The server is back; the next time that it goes away is told again.
    pub(super) fn regained(&mut self) {
        self.outages.clear();
        self.trying = false;
        self.moved_when_lost = None;
    }

    /// Does what a key is for; what is beyond the board is for the caller.
    pub(super) fn press(&mut self, press: Press) -> Option<Asked> {
        match press {
            Press::Up => self.choose(|at, last| at.map_or(last, |at| at.saturating_sub(1))),
            Press::Down => self.choose(|at, last| at.map_or(0, |at| (at + 1).min(last))),
            Press::Remove => {
                if let Some(transfer) = self.chosen.upgrade() {
                    transfer.ask_to_stop();
                }
            }
            Press::Enter if !self.outages.is_empty() => {
                self.outages.clear();
                return Some(Asked::Retry);
            }
            Press::Escape if !self.outages.is_empty() => return Some(Asked::Stop),
            Press::Escape => self.chosen = Weak::new(),
            Press::Enter => {}
        }
        None
    }

    fn choose(&mut self, step: impl Fn(Option<usize>, usize) -> usize) {
        let Some(last) = self.active.len().checked_sub(1) else { return };
        let at = self.active.iter().position(|active| self.is_chosen(active));
        self.chosen = Arc::downgrade(&self.active[step(at, last)].transfer);
    }

    fn is_chosen(&self, active: &Active) -> bool {
        std::ptr::eq(self.chosen.as_ptr(), Arc::as_ptr(&active.transfer))
    }

    /// Reads all counters.
    pub(super) fn read(&mut self, now: Instant) {
        self.now = now;
        self.outages.retain(|outage| outage.until > now);
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
        self.moved = moved;
        if self.outages.is_empty() && self.moved_when_lost.is_some_and(|before| moved > before) {
            self.moved_when_lost = None;
        }
    }

    /// Lines for the transfers that ended since the last call: a bounded number of them a second.
    pub(super) fn finished_lines(&mut self, size: Size, now: Instant) -> Vec<String> {
        let mut lines: Vec<String> = self.scroll.turn(now).into_iter().map(|more| self.held_back_line(more)).collect();
        let columns = usable_columns(size);
        lines.extend(self.notices.drain(..).flat_map(|notice| fold(&notice, columns, self.charset)));
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

    /// The transfers that have been under way longest, or those around the cursor; the TOTAL row; what else there is to say.
    pub(super) fn rows(&self, size: Size) -> Vec<String> {
        let columns = usable_columns(size);
        let below = self.below(size, columns);
        let room = usize::from(size.rows.saturating_sub(FREE_ROWS)).saturating_sub(usize::from(below.is_some()));
        let chosen = self.active.iter().position(|active| self.is_chosen(active));
        let first = chosen.map_or(0, |at| (at + 1).saturating_sub(room));
        let mut rows: Vec<String> =
            self.active.iter().skip(first).take(room).map(|active| self.row(active, columns)).collect();
        let without_row = self.active.len() - rows.len();
        // Whoever follows a topic waits for hours, with nothing to sum up.
        if !self.active.is_empty() || self.expected.0 > 0 {
            rows.push(row::total(self.total(without_row), self.standing(), columns, self.charset));
        }
        rows.extend(below);
        rows
    }

    /// An outage, else the keys; nothing on a screen that has no room for it.
    fn below(&self, size: Size, columns: usize) -> Option<String> {
        let has_keys = self.keys != Keys::Nobody;
        if let Some(outage) = self.outages.iter().min_by_key(|outage| outage.until) {
            let left = outage.until.saturating_duration_since(self.now);
            return Some(row::outage(left, &outage.why, has_keys, columns, self.charset));
        }
        if self.trying {
            return Some(row::trying(has_keys, columns, self.charset));
        }
        (self.keys == Keys::Display && size.rows >= ROOMY && !self.active.is_empty())
            .then(|| row::hint(columns, self.charset))
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
        if self.chosen.strong_count() == 0 {
            return row::transfer(active.transfer.name(), standing, columns, self.charset);
        }
        let cursor = if self.is_chosen(active) { '>' } else { ' ' };
        let row = row::transfer(active.transfer.name(), standing, columns.saturating_sub(1), self.charset);
        format!("{cursor}{row}")
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
        if !matches!(outcome, Outcome::Told | Outcome::Again(None)) {
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
        board.add(transfers.clone(), Instant::now());
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
        transfers[0].finish(Outcome::Again(Some("gone".to_owned())));
        transfers[1].add(50);
        transfers[1].finish(Outcome::Complete);
        board.read(Instant::now());
        assert_eq!((board.standing().done, board.standing().size), (50, Some(150)));
        let total = board.total(0);
        assert_eq!((total.files_done, total.files, total.failed), (1, 2, 0));
        let second = Arc::new(Transfer::new(b"x", Some(100), 60));
        board.add(vec![Arc::clone(&second)], Instant::now());
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
