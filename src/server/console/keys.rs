//! The one key that the server's terminal takes: `s`.
//!
//! Owns the mode of standard input: keys one by one and unseen, Ctrl-C as always. A server in the background leaves the
//! terminal alone, because touching it would stop the process (`termios(3)`, SIGTTOU).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::io::stdin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two looks whether the server is in the foreground.
const LOOK: Duration = Duration::from_secs(1);

/// The terminal's mode.
#[derive(Debug, Default)]
pub(super) struct Keys {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How the terminal was.
    before: Option<Termios>,
    /// The program ends: the terminal is left alone from now on.
    closed: bool,
}

impl Keys {
    /// Waits for keys, and calls `ask` for each `s`, until [`Keys::restore`] or the end of the terminal.
    pub(super) fn watch(&self, ask: &dyn Fn()) {
        while !self.lock().closed {
            if !is_in_foreground() {
                std::thread::sleep(LOOK);
                continue;
            }
            match self.enter().and_then(|()| read()) {
                Ok(Some(b's' | b'S')) => ask(),
                Ok(_) => {}
                Err(_) => return self.restore(),
            }
        }
    }

    fn enter(&self) -> rustix::io::Result<()> {
        let mut state = self.lock();
        if state.closed || state.before.is_some() {
            return Ok(());
        }
        let before = tcgetattr(stdin())?;
        let mut keys = before.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &keys)?;
        state.before = Some(before);
        Ok(())
    }

    /// Gives the terminal back as it was, for good.
    pub(super) fn restore(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some(before) = state.before.take()
            && is_in_foreground()
        {
            // Nobody is left to tell.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// The next key; none when none came for a while.
fn read() -> rustix::io::Result<Option<u8>> {
    let stdin = stdin();
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    // A signal to this thread, which others handle, is no end of the keys.
    match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&patience)) {
        Ok(0) | Err(Errno::INTR) => return Ok(None),
        result => result?,
    };
    if !is_in_foreground() {
        return Ok(None);
    }
    let mut key = [0];
    match rustix::io::read(&stdin, &mut key) {
        Ok(0) => Err(Errno::IO),
        Err(Errno::INTR) => Ok(None),
        result => result.map(|_| Some(key[0])),
    }
}
