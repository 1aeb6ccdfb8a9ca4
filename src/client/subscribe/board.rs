//! What is to be fetched, who fetches it, and what of it is safely here: shared by the connection that follows and by those
//! that fetch.
//!
//! Owns the order of things: an upload that is fetched live is not fetched by its path as well, an arrival is finished
//! once, and the position that is saved never says more than what is durable. Knows no connections. It is one file, because
//! it is one state behind one lock.

use super::arrival::{Arrival, Number};
use super::cursor::{Cursor, News};
use super::saved::{Saved, StateFile};
use crate::client::cancel::Cancel;
use crate::error::{Error, Result};
use crate::wire::{JournalId, LiveId, RemotePath, SubscriberId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Arrivals that wait to be fetched; beyond them, the server is asked to pause.
const FULL: usize = 8192;
/// And until no more than these are left.
const LOW: usize = 1024;
/// Uploads that are known while they are on their way; others are fetched when they have arrived.
const MOST_LIVE: usize = 1024;
/// Small files that one worker fetches at a time, and their bytes.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// How long the end is not noticed at most by whoever waits for others to fetch.
const LOOK: Duration = Duration::from_millis(100);
/// How long a worker keeps a connection that it does not need.
const IDLE: Duration = Duration::from_secs(20);

/// What a worker is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Fetch these by their paths.
    Files(Vec<Arrival>),
    /// Fetch this upload as it comes.
    Live(LiveJob),
    /// There was nothing for a while: give the connection up.
    Rest,
}

/// What a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Anything,
    /// Uploads that are on their way.
    Live,
}

/// An upload to be fetched as it comes.
#[derive(Debug, Clone)]
pub(super) struct LiveJob {
    pub(super) live: LiveId,
    pub(super) path: RemotePath,
    pub(super) size: Option<u64>,
}

/// How the fetching of an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LiveEnd {
    /// The arrival of this number is here.
    Settled(Number),
    /// It came to nothing: it is fetched by its path when it has arrived, or as it comes if it is announced again.
    Dropped,
    /// The connection broke, or what is here is of no use: it is to be asked for again.
    Again,
}

/// Why everything ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// As many files are here as were wanted.
    Enough,
    /// It was asked to.
    Asked,
    /// Something that does not get better.
    Failed(Error),
}

/// All of it.
#[derive(Debug)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    file: StateFile,
    /// What the file has. Locked while it is written, and before the state.
    saved: Mutex<Option<Saved>>,
    subscriber: SubscriberId,
    /// Workers for anything that may be at live uploads at a time: one must be left for what has arrived.
    most_live: usize,
}

#[derive(Debug)]
struct State {
    cursor: Option<Cursor>,
    /// How many runs of numbers there were before that of the cursor.
    run: u64,
    files: VecDeque<Arrival>,
    /// Files that failed, and when they are tried again.
    later: Vec<(Instant, Arrival)>,
    lives: HashMap<LiveId, Live>,
    waiting: VecDeque<LiveId>,
    at_live: usize,
    /// Workers that have not ended.
    working: usize,
    /// How often the connection that follows was established.
    connections: u64,
    missed: Missed,
    /// Files that may still be put in place, if that is limited.
    left: Option<u64>,
    /// Files that were claimed and are not finished.
    claimed: u64,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Live {
    path: RemotePath,
    size: Option<u64>,
    is_active: bool,
    /// Announced once more while somebody is at it.
    again: bool,
    arrival: Option<Arrival>,
    /// The arrival that it is, as whoever is at it has heard.
    number: Option<Number>,
}

/// Arrivals that came while the connection was away.
#[derive(Debug, Default)]
struct Missed {
    is_open: bool,
    numbers: BTreeSet<u64>,
    total: u64,
}

impl Board {
    pub(super) fn new(file: StateFile, subscriber: SubscriberId, jobs: usize, count: Option<u64>) -> Self {
        let state = State {
            cursor: None,
            run: 0,
            files: VecDeque::new(),
            later: Vec::new(),
            lives: HashMap::new(),
            waiting: VecDeque::new(),
            at_live: 0,
            working: 0,
            connections: 0,
            missed: Missed::default(),
            left: count,
            claimed: 0,
            stop: None,
        };
        let most_live = jobs.saturating_sub(1);
        Self { state: Mutex::new(state), changed: Condvar::new(), file, saved: Mutex::default(), subscriber, most_live }
    }

    pub(super) fn subscriber(&self) -> SubscriberId {
        self.subscriber
    }

    /// Begins with what an earlier run saved.
    pub(super) fn restore(&self, position: Option<(JournalId, u64, BTreeSet<u64>)>) {
        self.lock().cursor = position.map(|(journal, after, done)| Cursor::new(journal, after, done));
    }

    /// What SUBSCRIBE asks after.
    pub(super) fn told(&self) -> Option<(JournalId, u64)> {
        self.lock().cursor.as_ref().map(|cursor| (cursor.journal(), cursor.told()))
    }

    /// SUBSCRIBED came: of the journal that was followed before, or of another one.
    pub(super) fn subscribed(&self, journal: JournalId, after: u64) -> Result<()> {
        let mut state = self.lock();
        state.connections = state.connections.saturating_add(1);
        // A server that begins further back than it was asked to was put back to an older state: its numbers are others now.
        let is_same = state.cursor.as_ref().is_none_or(|cursor| cursor.journal() == journal && cursor.told() <= after);
        match &mut state.cursor {
            Some(cursor) if is_same => cursor.pass(after),
            cursor => {
                *cursor = Some(Cursor::new(journal, after, BTreeSet::new()));
                state.run = state.run.saturating_add(1);
                state.forget_numbers();
            }
        }
        self.changed.notify_all();
        drop(state);
        self.save()
    }

    /// The run of the numbers that are told.
    pub(super) fn run(&self) -> u64 {
        self.lock().run
    }

    /// What a number is to the server; `None` if it is one of a journal that is not followed any more.
    pub(super) fn known(&self, number: Number) -> Option<u64> {
        self.lock().known(number)
    }

    /// From here on, arrivals were missed, until [`Board::caught_up`].
    pub(super) fn catch_up(&self) {
        self.lock().missed.is_open = true;
    }

    /// Everything that was missed was told. How many files, if none of them is still to be fetched.
    pub(super) fn caught_up(&self) -> Option<u64> {
        let mut state = self.lock();
        state.missed.is_open = false;
        state.missed.completed()
    }

    /// POSITION, or a gap: everything up to `after` was told.
    pub(super) fn pass(&self, after: u64) -> Result<()> {
        let mut state = self.lock();
        if let Some(cursor) = &mut state.cursor {
            cursor.pass(after);
        }
        drop(state);
        self.save()
    }

    /// ARRIVING came. Whether it is news.
    pub(super) fn arriving(&self, live: LiveId, path: RemotePath, size: Option<u64>) -> bool {
        let mut state = self.lock();
        if let Some(known) = state.lives.get_mut(&live) {
            known.again |= known.is_active;
            return false;
        }
        if state.lives.len() >= MOST_LIVE {
            return true;
        }
        state.lives.insert(live, Live { path, size, is_active: false, again: false, arrival: None, number: None });
        state.waiting.push_back(live);
        self.changed.notify_all();
        true
    }

    /// ABANDONED came. Who is at it is told by the server; what has arrived before is still wanted.
    pub(super) fn abandoned(&self, live: LiveId) {
        let mut state = self.lock();
        if state.lives.get(&live).is_some_and(|known| !known.is_active && known.arrival.is_none()) {
            state.drop_live(live);
        }
    }

    /// ARRIVED came; whether it is news. `has_partial` tells whether a part of the upload that it was is here: then the rest
    /// is asked for as that of the upload.
    pub(super) fn arrived(&self, arrival: Arrival, has_partial: bool) -> bool {
        let mut state = self.lock();
        let number = arrival.number;
        let value = number.and_then(|number| state.known(number)).unwrap_or(0);
        let Some(News::New) = state.cursor.as_mut().map(|cursor| cursor.tell(value)) else {
            // A live upload that was settled before it was told may wait for this.
            let known = arrival.live.and_then(|live| state.lives.get_mut(&live));
            if let Some(live) = known.filter(|known| known.is_active) {
                live.arrival.get_or_insert(arrival);
            }
            self.changed.notify_all();
            return false;
        };
        if state.missed.is_open {
            state.missed.numbers.insert(value);
            state.missed.total = state.missed.total.saturating_add(1);
        }
        match number.and_then(|number| state.owner(number)).or(arrival.live) {
            Some(live) if state.lives.get(&live).is_some_and(|known| known.is_active) || has_partial => {
                state.attach(live, arrival);
            }
            Some(live) => {
                // The same upload may have arrived before, and wait to be fetched.
                if state.lives.get(&live).is_some_and(|known| known.arrival.is_none()) {
                    state.drop_live(live);
                }
                state.files.push_back(arrival);
            }
            None => state.files.push_back(arrival),
        }
        self.changed.notify_all();
        true
    }

    /// Whether so many arrivals wait that no more should be told.
    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.files.len().saturating_add(state.later.len()) >= FULL
    }

    /// Waits until more can be told, or everything ends: whoever waits here has no connection that could be cut.
    pub(super) fn wait_for_room(&self, cancel: &Cancel) {
        let is_full =
            |state: &mut State| state.files.len().saturating_add(state.later.len()) > LOW && state.stop.is_none();
        let mut state = self.lock();
        while is_full(&mut state) && !cancel.is_cancelled() {
            (state, _) = self.changed.wait_timeout_while(state, LOOK, is_full).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next thing to do; `None` when everything ends. `has_connection` tells whether resting is worth a word.
    pub(super) fn take(&self, wanted: Wanted, has_connection: bool) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.stop.is_some() {
                return None;
            }
            if let Some(work) = state.next_work(wanted, self.most_live) {
                self.changed.notify_all();
                return Some(work);
            }
            let due = state.later.iter().map(|(due, _)| due.saturating_duration_since(Instant::now())).min();
            let Some(patience) = due.or(has_connection.then_some(IDLE)) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, waited) = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() && due.is_none() {
                return Some(Work::Rest);
            }
            state = woken;
        }
    }

    /// These could not be fetched now: they come first when somebody asks again.
    pub(super) fn put_back(&self, arrivals: Vec<Arrival>) {
        let mut state = self.lock();
        arrivals.into_iter().rev().for_each(|arrival| state.files.push_front(arrival));
        self.changed.notify_all();
    }

    /// This one failed, and is tried again after a rest.
    pub(super) fn put_back_later(&self, arrival: Arrival, rest: Duration) {
        let due = Instant::now();
        self.lock().later.push((due.checked_add(rest).unwrap_or(due), arrival));
        self.changed.notify_all();
    }

    /// An upload that is being fetched is here to its last byte, as the arrival of this number. Whether nobody else is at
    /// that, or was: then it has this number, and is not news any more when it is told.
    pub(super) fn take_over(&self, live: LiveId, number: u64) -> Option<Number> {
        let mut state = self.lock();
        let is_known = state.cursor.as_ref().is_some_and(|cursor| cursor.knows(number));
        let number = Number { run: state.run, value: number };
        let known = state.lives.get_mut(&live)?;
        let is_its_own = known.arrival.as_ref().is_some_and(|arrival| arrival.number == Some(number));
        known.number = (is_its_own || !is_known).then_some(number);
        known.number
    }

    /// Waits until an upload that is being fetched was told as an arrival, at most `patience`.
    pub(super) fn arrival_of(&self, live: LiveId, patience: Duration) -> Option<Arrival> {
        let is_unknown = |state: &mut State| {
            state.stop.is_none() && state.lives.get(&live).is_some_and(|known| known.arrival.is_none())
        };
        let (state, _) =
            self.changed.wait_timeout_while(self.lock(), patience, is_unknown).unwrap_or_else(PoisonError::into_inner);
        state.lives.get(&live).and_then(|known| known.arrival.clone())
    }

    /// A worker is done with an upload.
    pub(super) fn live_ended(&self, live: LiveId, end: LiveEnd) {
        let mut state = self.lock();
        state.at_live = state.at_live.saturating_sub(1);
        if let Some(mut known) = state.lives.remove(&live) {
            let arrival = known.arrival.take();
            match (end, arrival) {
                (LiveEnd::Settled(number), arrival) => {
                    // The server's word for it was another arrival: that one is not here yet.
                    state.files.extend(arrival.filter(|arrival| arrival.number.is_some_and(|it| it != number)));
                }
                (LiveEnd::Dropped, Some(arrival)) => state.files.push_front(arrival),
                (LiveEnd::Dropped, None) if !known.again => {}
                (LiveEnd::Dropped | LiveEnd::Again, arrival) => {
                    let known = Live { is_active: false, again: false, arrival, number: None, ..known };
                    state.lives.insert(live, known);
                    state.waiting.push_front(live);
                }
            }
        }
        self.changed.notify_all();
    }

    /// The right to put one more file in place. If it is refused, there are enough, unless one of those comes to nothing: then
    /// this one is wanted again.
    pub(super) fn claim(&self) -> bool {
        let mut state = self.lock();
        if state.stop.is_some() || state.left == Some(0) {
            return false;
        }
        state.left = state.left.map(|left| left.saturating_sub(1));
        state.claimed = state.claimed.saturating_add(1);
        true
    }

    /// A file that was claimed did not come into its place.
    pub(super) fn give_back(&self) {
        let mut state = self.lock();
        state.left = state.left.map(|left| left.saturating_add(1));
        state.claimed = state.claimed.saturating_sub(1);
        self.changed.notify_all();
    }

    /// These arrivals are in their places, and finished when their program is run.
    pub(super) fn hold(&self, numbers: &[Number]) {
        let mut state = self.lock();
        for number in numbers {
            let value = state.known(*number);
            state.cursor.as_mut().zip(value).into_iter().for_each(|(cursor, value)| cursor.hold(value));
        }
    }

    /// These arrivals are safely here, or can never be: the position that is saved says so from now on.
    pub(super) fn finish(&self, numbers: &[Number]) -> Result<()> {
        let mut state = self.lock();
        for number in numbers {
            let value = state.known(*number);
            state.cursor.as_mut().zip(value).into_iter().for_each(|(cursor, value)| cursor.finish(value));
        }
        drop(state);
        self.save()
    }

    /// A file was told. How many were missed, if it was the last of those.
    pub(super) fn was_missed(&self, number: Number) -> Option<u64> {
        let mut state = self.lock();
        let value = state.known(number)?;
        state.missed.numbers.remove(&value).then(|| state.missed.completed()).flatten()
    }

    /// A file that was claimed was told: the last one that was wanted ends everything.
    pub(super) fn was_told(&self) {
        let mut state = self.lock();
        state.claimed = state.claimed.saturating_sub(1);
        let is_enough = state.left == Some(0) && state.claimed == 0;
        if is_enough {
            state.stop.get_or_insert(Stop::Enough);
            self.changed.notify_all();
        }
    }

    /// Ends everything.
    pub(super) fn stop(&self, why: Stop) {
        self.lock().stop.get_or_insert(why);
        self.changed.notify_all();
    }

    /// A worker begins.
    pub(super) fn begin_work(&self) {
        let mut state = self.lock();
        state.working = state.working.saturating_add(1);
    }

    /// A worker has ended, and what it had to say is with the server.
    pub(super) fn end_work(&self) {
        let mut state = self.lock();
        state.working = state.working.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Waits for the end. If that is because enough is here, then also until all receipts are with the server, at most
    /// `patience`: whoever follows is among the receivers as long as its connection lasts.
    pub(super) fn wait_for_end(&self, patience: Duration) {
        let is_going_on = |state: &mut State| state.stop.is_none();
        let state = self.changed.wait_while(self.lock(), is_going_on).unwrap_or_else(PoisonError::into_inner);
        // Who waits for the bytes of an upload has nothing to say.
        let has_words = |state: &mut State| matches!(state.stop, Some(Stop::Enough)) && state.working > state.at_live;
        drop(self.changed.wait_timeout_while(state, patience, has_words));
    }

    /// Ends everything because of an error, also for whoever waits for the server.
    pub(super) fn stop_with(&self, error: Error, cancel: &Cancel) {
        self.stop(Stop::Failed(error));
        cancel.cancel();
    }

    /// Whether as many files are here as were wanted.
    pub(super) fn has_enough(&self) -> bool {
        matches!(self.lock().stop, Some(Stop::Enough))
    }

    /// Why it ended, once it has.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.lock().stop.take()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Rests, until that is over, the server is back, or everything ends.
    pub(super) fn rest(&self, duration: Duration) {
        let state = self.lock();
        let connections = state.connections;
        let is_same = |state: &mut State| state.stop.is_none() && state.connections == connections;
        drop(self.changed.wait_timeout_while(state, duration, is_same));
    }

    /// Saves the position, if it is another one. Whoever waits for another's turn mostly finds its own change saved.
    fn save(&self) -> Result<()> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.lock().cursor.as_ref().map(|it| (it.journal(), it.after(), it.done().clone()));
        let now = Saved { subscriber: self.subscriber, position };
        if saved.as_ref() != Some(&now) {
            self.file.save(&now)?;
            *saved = Some(now);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self, number: Number) -> Option<u64> {
        (number.run == self.run).then_some(number.value)
    }

    fn next_work(&mut self, wanted: Wanted, most_live: usize) -> Option<Work> {
        let now = Instant::now();
        self.files.extend(self.later.extract_if(.., |(due, _)| *due <= now).map(|(_, arrival)| arrival));
        if self.left == Some(0) {
            return None;
        }
        if wanted == Wanted::Anything && !self.files.is_empty() {
            return Some(Work::Files(self.next_files()));
        }
        // What has arrived does not keep its worker waiting, so it is no live upload in that sense.
        let may_wait = wanted == Wanted::Live || self.at_live < most_live;
        let has_arrived = |live: &LiveId| self.lives.get(live).is_some_and(|known| known.arrival.is_some());
        let index = self.waiting.iter().position(|live| may_wait || has_arrived(live))?;
        let live = self.waiting.remove(index)?;
        let known = self.lives.get_mut(&live)?;
        known.is_active = true;
        self.at_live = self.at_live.saturating_add(1);
        Some(Work::Live(LiveJob { live, path: known.path.clone(), size: known.size }))
    }

    /// One file, or several small ones.
    fn next_files(&mut self) -> Vec<Arrival> {
        let most = self.left.map_or(BATCH, |left| usize::try_from(left).unwrap_or(BATCH).clamp(1, BATCH));
        let (mut taken, mut bytes) = (Vec::new(), 0_u64);
        while let Some(next) = self.files.front() {
            bytes = bytes.saturating_add(next.size);
            // What failed before is tried alone.
            if next.attempts > 0 && !taken.is_empty() {
                break;
            }
            if taken.len() >= most || (bytes > BATCH_BYTES && !taken.is_empty()) {
                break;
            }
            let is_alone = next.attempts > 0;
            taken.extend(self.files.pop_front());
            if is_alone {
                break;
            }
        }
        taken
    }

    /// An upload that somebody fetches, or that is here in part, has arrived.
    fn attach(&mut self, live: LiveId, arrival: Arrival) {
        match self.lives.get_mut(&live) {
            // The one that it was before is fetched by its path.
            Some(known) => self.files.extend(known.arrival.replace(arrival)),
            None => {
                let (path, size) = (arrival.path.clone(), Some(arrival.size));
                let known = Live { path, size, is_active: false, again: false, arrival: Some(arrival), number: None };
                self.lives.insert(live, known);
                self.waiting.push_back(live);
            }
        }
    }

    /// The upload that was found to be an arrival before that was told.
    fn owner(&self, number: Number) -> Option<LiveId> {
        let mut lives = self.lives.iter().filter(|(_, known)| known.is_active);
        lives.find(|(_, known)| known.number == Some(number)).map(|(live, _)| *live)
    }

    fn drop_live(&mut self, live: LiveId) {
        self.lives.remove(&live);
        self.waiting.retain(|waiting| *waiting != live);
    }

    /// Arrivals that are known are still wanted, but not by their numbers.
    fn forget_numbers(&mut self) {
        let lives = self.lives.values_mut().filter_map(|known| known.arrival.as_mut());
        let later = self.later.iter_mut().map(|(_, arrival)| arrival);
        self.files.iter_mut().chain(later).chain(lives).for_each(|arrival| arrival.number = None);
        self.missed = Missed::default();
    }
}

impl Missed {
    fn completed(&mut self) -> Option<u64> {
        (!self.is_open && self.numbers.is_empty() && self.total > 0).then(|| std::mem::take(&mut self.total))
    }
}

#[cfg(test)]
mod tests;
