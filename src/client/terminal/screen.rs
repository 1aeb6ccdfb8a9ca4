//! The terminal's mode: raw input, the alternate screen, the cursor; and giving all of it back however the program ends.
//!
//! Owns the one record of what was changed. A guard gives it back when it is dropped, the panic hook before the
//! message is printed, and [`restore_now`] from whichever thread handles a signal. Knows nothing of what is drawn.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use crossterm::{cursor, execute, terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

const RAW: u8 = 1;
const ALTERNATE: u8 = 2;

/// What must be given back. One terminal a process, so one record.
static CHANGED: AtomicU8 = AtomicU8::new(0);
/// A typed answer is awaited, in the terminal's own mode.
static TYPED: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();
/// How the terminal was before [`Keys`].
static BEFORE_KEYS: Mutex<Option<Termios>> = Mutex::new(None);
/// A key that sends several bytes sends them at once: Esc alone has nothing behind it after this time.
const REST_OF_A_KEY: Duration = Duration::from_millis(30);

/// Whether a person is being asked: nothing runs then that would have to be stopped in order.
#[must_use]
pub fn is_asking() -> bool {
    CHANGED.load(Ordering::SeqCst) & RAW != 0 || TYPED.load(Ordering::SeqCst)
}

/// Reads a typed line, and is known to wait for a person meanwhile.
pub(super) fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut typed = String::new();
    TYPED.store(true, Ordering::SeqCst);
    let read = input.read_line(&mut typed);
    TYPED.store(false, Ordering::SeqCst);
    Ok((read? > 0).then_some(typed))
}

/// Where a program draws while it holds a [`Screen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// A screen of its own; what was there before comes back afterwards.
    Alternate,
    /// The lines below the cursor.
    Inline,
}

/// Raw input and a hidden cursor for as long as it lives. Only one at a time.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Enters raw mode, hides the cursor and, for [`Surface::Alternate`], changes to the alternate screen.
    ///
    /// # Errors
    /// The terminal refused the mode, or could not be written to. Whatever was changed by then is given back.
    pub fn enter(surface: Surface) -> io::Result<Self> {
        install_panic_hook();
        // Recorded first: a signal between the two then restores too much, which is harmless, and not too little.
        CHANGED.fetch_or(if surface == Surface::Alternate { RAW | ALTERNATE } else { RAW }, Ordering::SeqCst);
        let screen = Self(());
        terminal::enable_raw_mode()?;
        let mut stderr = io::stderr();
        if surface == Surface::Alternate {
            execute!(stderr, terminal::EnterAlternateScreen, terminal::DisableLineWrap, cursor::Hide)?;
        } else {
            execute!(stderr, cursor::Hide)?;
        }
        Ok(screen)
    }

    /// Whether the mode still holds: false once [`restore_now`] gave it back, and then nothing more may be drawn.
    #[must_use]
    pub fn is_active(&self) -> bool {
        CHANGED.load(Ordering::SeqCst) & RAW != 0
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore_now();
    }
}

/// A key that is pressed while something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Esc or `q`.
    Escape,
    /// Enter.
    Enter,
    /// The arrow up.
    Up,
    /// The arrow down.
    Down,
    /// `x` or Delete.
    Remove,
}

/// Keys one by one and unseen, while lines are printed as usual and Ctrl-C does what it always does. Only one at a time,
/// and not together with a [`Screen`].
#[derive(Debug)]
pub struct Keys(());

impl Keys {
    /// Has the terminal pass keys on as they are pressed.
    ///
    /// # Errors
    /// The terminal refused the mode.
    pub fn enter() -> io::Result<Self> {
        install_panic_hook();
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        *BEFORE_KEYS.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Self(());
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        Ok(guard)
    }

    /// The key that was pressed within `patience`; none, also for keys that mean nothing here.
    ///
    /// # Errors
    /// The terminal could not be read, or was closed.
    pub fn next(&self, patience: Duration) -> io::Result<Option<Press>> {
        let bytes = read_key(patience)?;
        // Also behind other keys that were pressed quickly.
        if bytes.ends_with(b"\x1b") {
            return Ok(read_key(REST_OF_A_KEY)?.is_empty().then_some(Press::Escape));
        }
        Ok(match bytes.as_slice() {
            [b'q' | b'Q'] => Some(Press::Escape),
            [b'x' | b'X'] | b"\x1b[3~" => Some(Press::Remove),
            [b'\r' | b'\n'] => Some(Press::Enter),
            // Both forms of the arrows (DECCKM).
            b"\x1b[A" | b"\x1bOA" | [b'k'] => Some(Press::Up),
            b"\x1b[B" | b"\x1bOB" | [b'j'] => Some(Press::Down),
            _ => None,
        })
    }

    /// What is typed up to Enter, or until `is_cancelled`, which is asked every `patience`. Nothing of it is shown.
    ///
    /// # Errors
    /// The terminal could not be read.
    pub fn line(&self, patience: Duration, is_cancelled: impl Fn() -> bool) -> io::Result<Vec<u8>> {
        let mut typed = Vec::new();
        while !is_cancelled() {
            for byte in read_key(patience)? {
                match byte {
                    b'\r' | b'\n' => return Ok(typed),
                    // Backspace, as one kind of terminal sends it or the other.
                    b'\x7f' | b'\x08' => drop(typed.pop()),
                    byte => typed.push(byte),
                }
            }
        }
        Ok(typed)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore_keys();
    }
}

/// What was typed, if anything was.
fn read_key(patience: Duration) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&patience)) {
        // A signal is noticed by whoever asks for keys.
        Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut bytes = [0; 32];
    let count = rustix::io::read(&stdin, &mut bytes)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.get(..count).unwrap_or_default().to_vec())
}

fn restore_keys() {
    let before = BEFORE_KEYS.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// Gives the terminal back as it was, at once, from any thread; does nothing when there is nothing to give back. For
/// the thread that handles a second Ctrl-C or SIGTERM, right before it ends the process.
pub fn restore_now() {
    restore_keys();
    let changed = CHANGED.swap(0, Ordering::SeqCst);
    if changed == 0 {
        return;
    }
    let mut sequence = Vec::new();
    if changed & ALTERNATE != 0 {
        // Queued into memory: cannot fail.
        let _ = crossterm::queue!(sequence, terminal::EnableLineWrap, terminal::LeaveAlternateScreen);
    }
    let _ = crossterm::queue!(sequence, cursor::Show);
    write_past_the_lock(&sequence);
    let _ = terminal::disable_raw_mode();
}

/// Writes to the descriptor itself: another thread may hold stderr's lock and be stuck in a write of its own.
fn write_past_the_lock(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(io::stderr(), bytes) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Nothing is left to say it on.
            _ => return,
        }
    }
}

/// A panic's message printed onto the alternate screen would vanish with it: the terminal is given back first.
fn install_panic_hook() {
    PANIC_HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore_now();
            next(panic);
        }));
    });
}

/// Writes one whole frame to stderr.
pub(super) fn write_frame(frame: &[u8]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(frame)?;
    stderr.flush()
}
