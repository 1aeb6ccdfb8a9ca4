//! The menu, for people: the same work as the commands, chosen with arrows.

use super::commands::Context;
use crate::error::Result;

/// Runs the menu until the user quits.
pub(super) fn run(_context: &Context) -> Result<u8> {
    Ok(super::exit::OK)
}
