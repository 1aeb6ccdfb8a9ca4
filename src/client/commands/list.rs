//! `client list`.

use super::Context;
use crate::client::download::say_left_out;
use crate::client::exit;
use crate::client::report::{error_json, name, print_json, say};
use crate::client::select::{Depth, Selection, not_found, trim};
use crate::client::session::Session;
use crate::client::terminal::quantity::size;
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::wire::{Entry, EntryKind, ErrorCode, List, RawBytes};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, Write, stdout};
use std::os::unix::ffi::OsStrExt;

/// How entries are printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) long: bool,
    pub(super) null: bool,
    pub(super) json: bool,
}

/// Which entries are printed, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) recursive: bool,
    pub(super) unsorted: bool,
}

/// Lists what the words stand for.
pub(super) fn run(context: &Context, words: &[OsString], format: Format, scope: Scope) -> Result<u8> {
    let mut session = context.open()?;
    let root = [OsString::from("/")];
    let words = if words.is_empty() { &root } else { words };
    let mut out = BufWriter::new(stdout().lock());
    let depth = if scope.recursive { Depth::Tree } else { Depth::Folder };
    let (mut selection, mut code) = (Selection::default(), exit::OK);
    for word in words {
        let listed = if scope.unsorted {
            print_at_once(&mut session, word, &mut selection, scope, format, &mut out)
        } else {
            context.persist(&mut session, |session| selection.add(session, word.as_bytes(), depth))
        };
        match listed {
            Err(error @ Error::Refused { .. }) if !error.code().ends_session() => {
                code = exit::code(&error);
                flush(&mut out)?;
                let word = harmless(word.as_bytes());
                if format.json {
                    print_json(&error_json(Some(&word), &error));
                }
                say(&format!("list {word}: {error}"));
            }
            result => result?,
        }
    }
    session.close();
    for (path, entry) in &selection.entries {
        print(&mut out, path.as_bytes(), entry, format)?;
    }
    flush(&mut out)?;
    if !context.settings.quiet {
        say_left_out(selection.skipped, selection.unreadable);
    }
    Ok(code)
}

/// Prints entries as the server sends them; only what was left out goes into the selection.
fn print_at_once(
    session: &mut Session,
    word: &OsStr,
    selection: &mut Selection,
    scope: Scope,
    format: Format,
    out: &mut impl Write,
) -> Result<()> {
    let path = RawBytes(trim(word.as_bytes()).to_vec());
    let request = List { path, recursive: scope.recursive, limit: None };
    let listed =
        session.list(request, &mut |folder, entry| print(out, folder.join(&entry.name)?.as_bytes(), &entry, format));
    let listed = listed.map_err(|error| match error.code() {
        ErrorCode::NotFound => not_found(session),
        _ => error,
    })?;
    selection.skipped += listed.skipped;
    selection.unreadable += listed.unreadable;
    Ok(())
}

fn print(out: &mut impl Write, path: &[u8], entry: &Entry, format: Format) -> Result<()> {
    let is_folder = entry.kind == EntryKind::Folder;
    let slash = if is_folder { "/" } else { "" };
    let written = if format.json {
        let kind = if is_folder { "folder" } else { "file" };
        let mut object = json!({ "type": "entry", "kind": kind, "size": entry.size, "modified_ns": entry.modified });
        name(&mut object, path);
        writeln!(out, "{object}")
    } else if format.null {
        out.write_all(path).and_then(|()| out.write_all(b"\0"))
    } else if format.long {
        let shown = if is_folder { "-".into() } else { size(entry.size) };
        writeln!(out, "{shown:>10}  {}  {}{slash}", time(entry.modified), harmless(path))
    } else {
        writeln!(out, "{}{slash}", harmless(path))
    };
    written.or_else(closed)
}

fn flush(out: &mut impl Write) -> Result<()> {
    out.flush().or_else(closed)
}

/// A reader that has enough (`client list | head`) ends the listing, and is no error.
fn closed(error: std::io::Error) -> Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(i32::from(exit::OK));
    }
    Err(Error::local("write to", "standard output", error))
}

fn time(modified: i64) -> String {
    let timestamp = Timestamp::from_nanosecond(i128::from(modified)).unwrap_or_default();
    timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
