//! Keys and resizes, as they come.
//!
//! Owns the waiting. What a key means is for whoever asked.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event};

use super::screen::{self, Screen};

/// How long to wait before looking whether the screen was given back meanwhile.
const LOOK_ABOUT: Duration = Duration::from_millis(250);

/// The next key or resize; none once `screen` was given back.
pub(super) fn next(screen: &Screen) -> io::Result<Option<Event>> {
    while screen.is_active() {
        if event::poll(LOOK_ABOUT)? {
            return event::read().map(Some);
        }
    }
    screen::end_if_told();
    Ok(None)
}

/// Whether another one came already. Asked before the first drawing, it also makes sure that no resize after that
/// drawing goes unnoticed: crossterm starts to listen when it is first asked.
pub(super) fn is_waiting() -> io::Result<bool> {
    event::poll(Duration::ZERO)
}
