//! Progress of transfers: bars on a terminal, a plain line now and then elsewhere.
//!
//! Owns the one thread that draws. Those who move bytes only bump atomics in their [`Transfer`]; the thread reads them
//! ten times a second, so that drawing costs a fast transfer nothing and a slow terminal stops no worker. Knows nothing
//! of connections or files.

mod board;
mod canvas;
mod row;
mod scroll;
mod speed;
mod transfer;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::capability::{Size, Terminal};
use super::screen::Keys;
use board::{Asked, Board, Outage};
use canvas::Bars;
pub use transfer::{Outcome, Transfer};

/// Between two drawings of the bars.
const FRAME: Duration = Duration::from_millis(100);
/// Between two plain lines.
const LINE: Duration = Duration::from_secs(10);
/// Between two looks whether keys are still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Bars that are redrawn in place.
    Bars,
    /// One plain line every ten seconds.
    Lines,
    /// Nothing.
    Quiet,
}

impl Display {
    /// Bars where they can be drawn and seen, else lines.
    #[must_use]
    pub fn suited_to(terminal: &Terminal) -> Self {
        if terminal.stderr && !terminal.dumb { Self::Bars } else { Self::Lines }
    }
}

/// What a person can ask for while transfers run. Called from a thread of the display.
pub struct Controls {
    /// The server is to be tried again at once.
    pub retry: Box<dyn Fn() + Send + Sync>,
    /// Everything is to stop.
    pub stop: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Controls").finish_non_exhaustive()
    }
}

/// The progress of any number of transfers. Share it by reference or in an `Arc`; it stops drawing when it is dropped.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Progress {
    /// Starts the drawing thread, except for [`Display::Quiet`]. Where no thread can be had, nothing is drawn.
    #[must_use]
    pub fn new(terminal: &Terminal, display: Display) -> Self {
        Self::drawing_on(terminal, display, Box::new(io::stderr()), Size::now)
    }

    /// Bars that a person can act on: a transfer can be chosen and stopped, and a lost server tried again or given up. The
    /// terminal passes keys on until [`Progress::finish`]; where it does not, there are bars all the same.
    #[must_use]
    pub fn attended(terminal: &Terminal, controls: Controls) -> Self {
        let progress = Self::new(terminal, Display::Bars);
        if let Ok(keys) = Keys::enter() {
            progress.shared.with_board(Board::attend);
            let shared = Arc::clone(&progress.shared);
            let watch = move || shared.take_keys(&keys, &controls);
            lock(&progress.threads).extend(std::thread::Builder::new().name("keys".to_owned()).spawn(watch));
        }
        progress
    }

    /// A connection to `target` broke, and is tried again after `rest`: counted down where there are bars.
    pub fn lost(&self, why: &str, target: &str, rest: Duration) {
        if self.display == Display::Bars {
            lock(&self.shared.lost).push(Outage { until: Instant::now() + rest, why: why.to_owned() });
        } else {
            self.println(&format!("{why}; trying {target} again in {:.1} s", rest.as_secs_f64()));
        }
    }

    /// The rest after [`Progress::lost`] is over, and the server is being dialled. For whoever has one connection to lose.
    pub fn trying(&self) {
        self.shared.with_board(Board::trying);
    }

    /// The server is back. Bytes that move say as much; this is for whoever may wait for them for long.
    pub fn regained(&self) {
        if self.display == Display::Bars {
            // That it was away is told before whatever is told now.
            self.shared.draw(Last::No);
        }
        self.shared.with_board(Board::regained);
    }

    /// Somebody can press Enter and Esc while a server is away, and the caller obeys.
    pub fn leave_keys_to_owner(&self) {
        self.shared.with_board(Board::leave_keys_to_owner);
    }

    /// Says what is to be done in all, for the TOTAL row. Until then, what was started counts. Files that have not
    /// been started may be added at any time.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.shared.expected_files.store(files, Ordering::Relaxed);
        self.shared.expected_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A transfer begins: of `size` bytes, where that is known, `already` of which are there from an earlier attempt.
    #[must_use]
    pub fn start(&self, name: &[u8], size: Option<u64>, already: u64) -> Arc<Transfer> {
        let transfer = Arc::new(Transfer::new(name, size, already));
        if self.display != Display::Quiet {
            lock(&self.shared.started).push(Arc::clone(&transfer));
        }
        transfer
    }

    /// Prints a line above the bars. Say only what is harmless to a terminal. Prints nothing when quiet.
    pub fn println(&self, line: &str) {
        let mut drawing = lock(&self.shared.drawing);
        match drawing.surface {
            Surface::Bars(ref mut bars) => bars.print_above(line),
            Surface::Lines(ref mut output) => write_line(output, line),
            Surface::None => {}
        }
    }

    /// Takes the bars away, does `work`, such as asking a question, and draws them again. The transfers go on
    /// meanwhile. `work` must not call `println`, `suspend` or `finish` of the same progress: it would wait for itself.
    pub fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut drawing = lock(&self.shared.drawing);
        match drawing.surface {
            Surface::Bars(ref mut bars) => bars.suspend(work),
            _ => work(),
        }
    }

    /// Draws what is left to draw, takes the bars away and ends the thread. Later transfers are not shown.
    pub fn finish(&self) {
        *lock(&self.shared.stopped) = true;
        self.shared.wake.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic in it was reported by the hook; there is nothing to add.
            let _ = thread.join();
        }
    }

    fn drawing_on(terminal: &Terminal, display: Display, output: Box<dyn Write + Send>, size: fn() -> Size) -> Self {
        let surface = match display {
            Display::Bars => Surface::Bars(Bars::new(output, size, terminal.charset())),
            Display::Lines => Surface::Lines(output),
            Display::Quiet => Surface::None,
        };
        let board = Board::new(terminal.charset(), terminal.color, Instant::now());
        let shared = Arc::new(Shared {
            started: Mutex::default(),
            lost: Mutex::default(),
            expected_files: AtomicU64::new(0),
            expected_bytes: AtomicU64::new(0),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
            drawing: Mutex::new(Drawing { board, surface }),
        });
        let thread = match display {
            Display::Quiet => None,
            Display::Bars => spawn(&shared, FRAME),
            Display::Lines => spawn(&shared, LINE),
        };
        Self { display, shared, threads: Mutex::new(thread.into_iter().collect()) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What the workers, the drawing thread and the owner see.
#[derive(Debug)]
struct Shared {
    /// Transfers that the board has not seen yet. Held for a push or a swap, never while drawing.
    started: Mutex<Vec<Arc<Transfer>>>,
    /// Connections that broke, and that the board has not seen yet; as above.
    lost: Mutex<Vec<Outage>>,
    expected_files: AtomicU64,
    expected_bytes: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
    /// Held while drawing or suspended. No worker takes it.
    drawing: Mutex<Drawing>,
}

impl Shared {
    /// Waits until it is time to draw; true when it is for the last time.
    fn wait(&self, pause: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.wake.wait_timeout_while(stopped, pause, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Obeys keys until there is nothing more to draw.
    fn take_keys(&self, keys: &Keys, controls: &Controls) {
        while !*lock(&self.stopped) {
            // A terminal that cannot be read any more has no keys.
            let Ok(press) = keys.next(LOOK) else { return };
            let Some(press) = press else { continue };
            let asked = lock(&self.drawing).board.press(press);
            match asked {
                Some(Asked::Retry) => (controls.retry)(),
                Some(Asked::Stop) => (controls.stop)(),
                None => {}
            }
            self.draw(Last::No);
        }
    }

    /// Changes the board, when it knows of everything that happened before.
    fn with_board(&self, change: impl FnOnce(&mut Board)) {
        let mut drawing = lock(&self.drawing);
        drawing.board.lost(std::mem::take(&mut *lock(&self.lost)));
        change(&mut drawing.board);
    }

    fn draw(&self, last: Last) {
        let mut drawing = lock(&self.drawing);
        let Drawing { board, surface } = &mut *drawing;
        board.add(std::mem::take(&mut *lock(&self.started)), Instant::now());
        board.lost(std::mem::take(&mut *lock(&self.lost)));
        board.expect(self.expected_files.load(Ordering::Relaxed), self.expected_bytes.load(Ordering::Relaxed));
        board.read(Instant::now());
        match (surface, last) {
            (Surface::Bars(bars), Last::No) => bars.draw(board),
            (Surface::Bars(bars), Last::Yes) => bars.close(board),
            (Surface::Lines(output), Last::No) => write_line(output, &board.plain_line()),
            (Surface::Lines(_), Last::Yes) | (Surface::None, _) => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

#[derive(Debug)]
struct Drawing {
    board: Board,
    surface: Surface,
}

enum Surface {
    Bars(Bars),
    Lines(Box<dyn Write + Send>),
    None,
}

impl std::fmt::Debug for Surface {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Bars(_) => "Bars",
            Self::Lines(_) => "Lines",
            Self::None => "None",
        })
    }
}

fn spawn(shared: &Arc<Shared>, pause: Duration) -> Option<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let draw = move || {
        while !shared.wait(pause) {
            shared.draw(Last::No);
        }
        shared.draw(Last::Yes);
    };
    std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok()
}

fn write_line(output: &mut Box<dyn Write + Send>, line: &str) {
    // Progress that cannot be shown is no reason to stop a transfer.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// What is behind these locks is valid after every statement, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
