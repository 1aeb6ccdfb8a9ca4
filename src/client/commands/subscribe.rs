//! `client subscribe`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Context;
use super::get::again;
use crate::client::arguments::Beginning;
use crate::client::exit;
use crate::client::report::say;
use crate::client::select::trim;
use crate::client::subscribe::{From, MOST_TOPICS, Plan, follow};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::wire::{ErrorCode, RemoteFolder};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) topics: &'a [OsString],
    pub(super) from: Option<Beginning>,
    pub(super) count: Option<u64>,
    pub(super) exec: Option<PathBuf>,
    pub(super) once_complete: bool,
}

/// Follows topics until it is stopped, or has what was wanted.
pub(super) fn run(context: &Context, wanted: Wanted<'_>) -> Result<u8> {
    if wanted.topics.len() > MOST_TOPICS {
        say(&format!("subscribe: at most {MOST_TOPICS} topics at a time; / is everything"));
        return Ok(exit::USAGE);
    }
    let topics: Result<Vec<_>> = wanted.topics.iter().map(|word| topic(word)).collect();
    let plan = Plan {
        topics: topics?,
        from: match wanted.from {
            None => From::Saved,
            Some(Beginning::Now) => From::Now,
            Some(Beginning::Start) => From::Start,
        },
        count: wanted.count,
        exec: wanted.exec,
        live: !wanted.once_complete,
        retry: again(),
    };
    follow(context, &plan)
}

/// The folder that a word names.
pub(in crate::client) fn topic(word: &OsStr) -> Result<RemoteFolder> {
    RemoteFolder::parse(trim(word.as_bytes()))
        .map_err(|error| Error::refused(ErrorCode::BadPath, format!("{}: {error}", harmless(word.as_bytes()))))
}
