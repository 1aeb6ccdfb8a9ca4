//! Picking files and downloading them: the picker, how, and what to do about names that are taken.
//!
//! Owns that conversation. Moving the files is the work of `client get`.

use super::{Menu, Next, asked};
use crate::client::cancel::INTERRUPTED;
use crate::client::commands::Context;
use crate::client::commands::get::{Decision, fetch, quoted};
use crate::client::job::Job;
use crate::client::report::say;
use crate::client::select::Selection;
use crate::client::terminal::menu::{Answer, ConflictAction, Item, Scope, ask, ask_conflict};
use crate::client::terminal::picker::{Model, Outcome, PickerEntry, Tree, pick};
use crate::client::terminal::quantity::{counted, size};
use crate::error::Result;
use crate::wire::{EntryKind, OnConflict, RemotePath};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// More names than this are not told as a command.
const COPIED: usize = 20;

impl Menu {
    /// Picks files, asks how, downloads them. Going back from the question finds the marks as they were.
    pub(super) fn browse(&self) -> Result<Next> {
        let (session, everything) = self.list_all()?;
        session.close();
        let mut model = Model::new(tree(&everything));
        loop {
            let paths = match asked(pick(&self.context.terminal, &mut model))? {
                Outcome::Chosen(paths) => paths,
                Outcome::Back => return Ok(Next::Menu),
                Outcome::Quit => return Ok(Next::Leave(INTERRUPTED)),
            };
            let selection = below(&everything, &paths);
            match self.ask_how(&selection)? {
                Answer::Given(context) => return self.download(&context, &selection, &paths),
                Answer::Back => {}
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            }
        }
    }

    fn ask_how(&self, selection: &Selection) -> Result<Answer<Context>> {
        let bytes = selection.files().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.size));
        let question = format!("Download {}, {}", counted(selection.files().count() as u64, "file"), size(bytes));
        let items = [
            Item::new("in parallel, one connection a file", 'p'),
            Item::new("serially, one connection", 's'),
            Item::new("dry run", 'd'),
        ];
        let mut context = self.context.clone();
        let settings = &mut context.settings;
        let answer = asked(ask(&context.terminal, &question, &items, Some(0)))?;
        match answer {
            Answer::Given(0) => (settings.parallel, settings.serial) = (true, false),
            Answer::Given(1) => (settings.parallel, settings.serial) = (false, true),
            Answer::Given(_) => settings.dry_run = true,
            Answer::Back | Answer::Quit => {}
        }
        Ok(answer.map(|_| context))
    }

    fn download(&self, context: &Context, selection: &Selection, paths: &[Vec<u8>]) -> Result<Next> {
        let report = context.report();
        let session = context.open()?;
        let mut conflicts = Conflicts { context, for_all: None, stopped: false };
        fetch(context, session, selection, &report, Some(&mut |job| conflicts.decide(job)))?;
        if conflicts.stopped {
            say("Stopped. Nothing written.");
        } else if !context.settings.dry_run {
            let place = context.settings.dir.display().to_string();
            report.summary(&context.terminal, &retry(paths), Some(&place));
        }
        Ok(Next::Menu)
    }
}

/// Asks what to do about names that are taken, unless an earlier answer was for all.
struct Conflicts<'a> {
    context: &'a Context,
    for_all: Option<Decision>,
    /// The person wants none of it.
    stopped: bool,
}

impl Conflicts<'_> {
    fn decide(&mut self, job: &Job) -> Result<Decision> {
        if let Some(decision) = self.for_all {
            return Ok(decision);
        }
        let offered = [ConflictAction::Skip, ConflictAction::Rename, ConflictAction::Overwrite];
        let (action, scope) = match asked(ask_conflict(&self.context.terminal, job.path.as_bytes(), &offered))? {
            Answer::Given(given) => given,
            Answer::Back | Answer::Quit => {
                self.stopped = true;
                return Ok(Decision::Stop);
            }
        };
        let decision = Decision::Policy(match action {
            ConflictAction::Skip => OnConflict::Skip,
            ConflictAction::Rename => OnConflict::Rename,
            ConflictAction::Overwrite => OnConflict::Overwrite,
        });
        if scope == Scope::All {
            self.for_all = Some(decision);
        }
        Ok(decision)
    }
}

fn tree(selection: &Selection) -> Tree {
    Tree::new(selection.entries.iter().map(|(path, entry)| PickerEntry {
        path: path.as_bytes().to_vec(),
        is_folder: entry.kind == EntryKind::Folder,
        size: entry.size,
        modified: u64::try_from(entry.modified).ok().map(|ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)),
    }))
}

/// What was picked, and everything below it.
fn below(everything: &Selection, picked: &[Vec<u8>]) -> Selection {
    let picked: HashSet<&[u8]> = picked.iter().map(Vec::as_slice).collect();
    let is_picked = |path: &RemotePath| {
        let path = path.as_bytes();
        let folders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end]);
        folders.chain([path]).any(|part| picked.contains(part))
    };
    let entries = everything.entries.iter().filter(|(path, _)| is_picked(path));
    let entries = entries.map(|(path, entry)| (path.clone(), entry.clone())).collect();
    Selection { entries, skipped: 0, unreadable: everything.unreadable }
}

/// The command that fetches the same again; with many names it is no line that anybody would copy.
fn retry(paths: &[Vec<u8>]) -> String {
    if paths.len() > COPIED {
        return "mark them again; what is there is not fetched again".to_owned();
    }
    let words: Vec<_> = paths.iter().map(|path| quoted(&String::from_utf8_lossy(path))).collect();
    format!("client get {}", words.join(" "))
}
