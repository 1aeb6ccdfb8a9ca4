//! LIST (PROTOCOL.md, section 6).
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::session::Session;
use crate::error::Result;
use crate::wire::{List, RemoteFolder, Reply};

/// Answers LIST: pages while the folder is being read, then LISTED.
pub(super) fn answer(session: &mut Session<'_>, list: &List) -> Result<()> {
    session.settle()?;
    let folders = RemoteFolder::parse(&list.path).map_err(Into::into).and_then(|asked| session.caller.listed(&asked));
    let folders = session.asked("LIST", &list.path).note(folders)?;
    let connection = &mut session.connection;
    let mut first = true;
    let listed = session.shared.store.list_within(list, &folders, &mut |page| {
        connection.send_reply(&Reply::Entries(page))?;
        // The first page is worth a write of its own: somebody may be looking.
        if std::mem::take(&mut first) { connection.flush() } else { Ok(()) }
    })?;
    session.reply(&Reply::Listed(listed))
}
