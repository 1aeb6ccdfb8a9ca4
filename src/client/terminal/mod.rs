//! What the client shows on a terminal and asks there: capabilities, layout, the file picker, menus and progress.
//!
//! Owns the screen and nothing else. It must not know the network, the protocol or where bytes come from: callers hand
//! it names, sizes and counters, and get back what the person chose. Everything is drawn on stderr, so that stdout
//! stays free for data.

mod keyboard;
pub mod menu;
pub mod picker;
pub mod progress;
pub mod screen;

pub use crate::display::{Charset, ColorChoice, Size, Terminal, capability, charset, quantity, width};
