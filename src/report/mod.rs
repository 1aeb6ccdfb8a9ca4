//! What the logs say: who took or sent what and when, how it ended, how much and how fast, and who received what was
//! published. For people as tables, for programs as JSON, for readers of web servers' logs in their format.
//!
//! Owns the questions and their answers. Only reads, and only files of the logs: a server may be running or not, on this
//! machine or on another. Must not know sessions or commands; what a field means is in docs/OPERATING.md.
//!
//! ```text
//! files → read (lines) → entry (fields) → filter → tally (sums) → rows (sorted) → text or json
//!                                            └───→ combined
//! ```
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod arguments;
mod arrivals;
mod combined;
mod entry;
mod filter;
mod histogram;
mod json;
mod kept;
mod read;
mod rows;
mod table;
mod tally;
mod text;
mod time;

pub use arguments::{Arguments, By, Format, Since};
pub use filter::PathFilter;

use crate::display::quantity::counted;
use crate::display::{ColorChoice, Terminal};
use crate::error::{Error, Result};
use crate::wire::ErrorCode;
use entry::Entry;
use filter::Filter;
use jiff::Timestamp;
use read::{Reading, each_entry};
use rows::Rows;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use tally::Tally;
use text::Page;

/// Columns of what is no terminal.
const COLUMNS: &str = "COLUMNS";

/// Prints the report that was asked for on standard output.
///
/// # Errors
/// [`Error::Refused`] if what was asked for excludes itself, [`Error::Local`] if there are no logs, or they or standard
/// output fail. Whoever reads only the beginning of the report (`| head`) is no error.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.format() == Format::Combined && arguments.by.is_some() {
        return Err(Error::refused(ErrorCode::Forbidden, "--by and --format combined exclude each other"));
    }
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let printed = print(arguments, &mut out).and_then(|()| out.flush().map_err(unwritten));
    match printed {
        Err(Error::Local { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
            // What is left in the buffer would be tried once more.
            let _ = out.into_parts();
            Ok(())
        }
        printed => printed,
    }
}

fn print(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let filter = arguments.filter(Timestamp::now());
    if arguments.format() == Format::Combined {
        return print_combined(arguments, &filter, out);
    }
    let since = filter.since;
    let mut tally = Tally::new(filter, arguments.by, arguments.rows());
    let reading = each_entry(&arguments.log_dir, since, &mut |entry| {
        tally.add(entry);
        Ok(())
    })?;
    let rows = Rows::new(tally, reading, arguments.by, arguments.rows());
    let printed = match arguments.format() {
        Format::Json => json::write(&rows, out),
        _ => {
            let page = page();
            let log_dir = crate::escape::harmless(arguments.log_dir.as_os_str().as_bytes());
            page.write(&rows, &table::shown(&log_dir, page.charset), out)
        }
    };
    printed.map_err(unwritten)
}

fn print_combined(arguments: &Arguments, filter: &Filter, out: &mut dyn Write) -> Result<()> {
    let reading = each_entry(&arguments.log_dir, filter.since, &mut |entry| match entry {
        Entry::Transfer(transfer) if filter.admits(transfer.client, &transfer.path) => combined::write(transfer, out),
        _ => Ok(()),
    })?;
    let Reading { damaged, dropped, unreadable } = reading;
    if damaged > 0 || dropped > 0 || !unreadable.is_empty() {
        let (damaged, dropped) = (counted(damaged, "damaged line"), counted(dropped, "line"));
        let files = counted(unreadable.len() as u64, "file");
        let said = format!("{damaged} left out, {dropped} never written, {files} not read to the end");
        // There is nobody else to tell if standard error is closed.
        let _ = writeln!(io::stderr(), "server report: {said}");
    }
    Ok(())
}

/// A terminal that any of the streams is, so that `| less` fits too; otherwise what `COLUMNS` says.
fn page() -> Page {
    let terminal = Terminal::detect(ColorChoice::Never);
    let is_seen = terminal.stdin || terminal.stdout || terminal.stderr;
    let told = std::env::var(COLUMNS).ok().and_then(|columns| columns.parse().ok()).filter(|_| !is_seen);
    Page { columns: told.unwrap_or_else(|| terminal.columns.into()), charset: terminal.charset() }
}

fn unwritten(error: io::Error) -> Error {
    Error::local("write", "the report", error)
}
