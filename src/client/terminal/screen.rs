//! The terminal's mode: raw input, the alternate screen, the cursor; and giving all of it back however the program ends.
//!
//! Owns the one record of what was changed. A guard gives it back when it is dropped, the panic hook before the
//! message is printed, and [`restore_now`] from whichever thread handles a signal. Knows nothing of what is drawn.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};

use crossterm::{cursor, execute, terminal};

const RAW: u8 = 1;
const ALTERNATE: u8 = 2;

/// What must be given back. One terminal a process, so one record.
static CHANGED: AtomicU8 = AtomicU8::new(0);
static PANIC_HOOK: Once = Once::new();

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

/// Gives the terminal back as it was, at once, from any thread; does nothing when there is nothing to give back. For
/// the thread that handles a second Ctrl-C or SIGTERM, right before it ends the process.
pub fn restore_now() {
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
            Err(rustix::io::Errno::INTR) => {}
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
