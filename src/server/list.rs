//! LIST (PROTOCOL.md, section 6).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::session::Session;
use crate::error::Result;
use crate::wire::{List, Reply};

/// Answers LIST: pages while the folder is being read, then LISTED.
pub(super) fn answer(session: &mut Session<'_>, list: &List) -> Result<()> {
    session.settle()?;
    let connection = &mut session.connection;
    let mut first = true;
    let listed = session.shared.store.list(list, &mut |page| {
        connection.send_reply(&Reply::Entries(page))?;
        // The first page is worth a write of its own: somebody may be looking.
        if std::mem::take(&mut first) { connection.flush() } else { Ok(()) }
    })?;
    session.reply(&Reply::Listed(listed))
}
