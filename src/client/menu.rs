//! The menu, for people: the same work as the commands, chosen with arrows.
//!
//! Owns the conversation: what is asked in which order, and what is said in between. Moves nothing itself: that is the
//! commands' work. Every action opens a connection of its own, so a server that closes idle ones disturbs nobody.

use super::arguments::{Arguments, Conflict, Settings};
use super::cancel::INTERRUPTED;
use super::commands::get::{Decision, fetch, quoted};
use super::commands::{Context, put};
use super::exit;
use super::job::Job;
use super::report::say;
use super::select::{Depth, Selection};
use super::session::Session;
use super::terminal::menu::{Answer, ConflictAction, Item, Layout, Scope, ask, ask_conflict, choose, input};
use super::terminal::picker::{Outcome, PickerEntry, Tree, pick};
use super::terminal::quantity::{counted, size};
use super::topics;
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::root::Root;
use crate::wire::{EntryKind, OnConflict, RemotePath};
use clap::CommandFactory;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Where a step of the conversation leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To the main menu.
    Menu,
    /// Out of the program, with this code.
    Leave(u8),
}

/// Runs the menu until the user quits. Without a terminal to ask on, prints the help and ends with exit code 2.
pub(super) fn run(context: &Context) -> Result<u8> {
    if !context.terminal.is_interactive() || context.settings.no_input {
        say(&Arguments::command().render_help().to_string());
        return Ok(exit::USAGE);
    }
    let mut menu = Menu { context: context.clone() };
    if let Next::Leave(code) = menu.connect()? {
        return Ok(code);
    }
    let mut at = 0;
    loop {
        let items = [
            Item::new("Browse & download", 'b'),
            Item::new("Upload", 'u'),
            Item::new("Topics", 't'),
            Item::new("Settings", 's'),
            Item::new("Quit", 'q'),
        ];
        let chosen = asked(choose(&menu.context.terminal, "", &items, Layout::Horizontal, at))?;
        let next = match chosen {
            Answer::Given(chosen) => {
                at = chosen;
                match chosen {
                    0 => menu.browse(),
                    1 => menu.upload(),
                    2 => topics::visit(&menu.context),
                    3 => menu.settings(),
                    _ => return Ok(exit::OK),
                }
            }
            Answer::Back => return Ok(exit::OK),
            Answer::Quit => return Ok(INTERRUPTED),
        };
        match next {
            Ok(Next::Menu) => {}
            Ok(Next::Leave(code)) => return Ok(code),
            Err(error) => menu.complain(&error),
        }
        // Ctrl-C stopped what was running; the menu goes on.
        menu.context.cancel.reset();
    }
}

struct Menu {
    context: Context,
}

impl Menu {
    /// Connects, says to what, and asks again where that fails.
    fn connect(&mut self) -> Result<Next> {
        loop {
            say(&format!("Connecting to {} ...", self.context.target()));
            match self.overview() {
                Ok(line) => {
                    say(&line);
                    return Ok(Next::Menu);
                }
                Err(_) if self.context.cancel.is_cancelled() => return Ok(Next::Leave(INTERRUPTED)),
                Err(error) => self.complain(&error),
            }
            let mut items =
                vec![Item::new("try again", 't'), Item::new("another address", 'a'), Item::new("quit", 'q')];
            if !self.context.settings.tls {
                items.push(Item::new("with TLS", 'w'));
            }
            match asked(ask(&self.context.terminal, "No connection", &items, Some(0)))? {
                Answer::Given(0) => {}
                Answer::Given(1) => {
                    if let Next::Leave(code) = self.ask_address()? {
                        return Ok(Next::Leave(code));
                    }
                }
                Answer::Given(3) => _ = self.set_tls(true),
                Answer::Given(_) | Answer::Back => return Ok(Next::Leave(exit::OK)),
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            }
        }
    }

    /// `Connected to nas · 1,284 files, 91.5 GiB · saving to ./downloads (212 GiB free)`
    fn overview(&self) -> Result<String> {
        let (session, selection) = self.list_all()?;
        let (name, is_read_only) = (session.name(), session.welcome().read_only);
        let is_encrypted = session.is_encrypted();
        session.close();
        let bytes = selection.files().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.size));
        let files = counted(selection.files().count() as u64, "file");
        let dot = self.context.terminal.charset().separator();
        let read_only = if is_read_only { format!("{dot}read-only") } else { String::new() };
        let encrypted = if is_encrypted { format!("{dot}encrypted") } else { String::new() };
        let place = self.context.settings.dir.display();
        let free = self.free_space().map(|free| format!(" ({} free)", size(free))).unwrap_or_default();
        Ok(format!(
            "Connected to {name}{dot}{files}, {}{read_only}{encrypted}{dot}saving to {place}{free}",
            size(bytes)
        ))
    }

    fn list_all(&self) -> Result<(Session, Selection)> {
        let mut session = self.context.open()?;
        let mut selection = Selection::default();
        selection.add(&mut session, b"/", Depth::Tree)?;
        Ok((session, selection))
    }

    /// The free space of the download folder, or of the nearest folder that is there.
    fn free_space(&self) -> Option<u64> {
        let there = self.context.settings.dir.ancestors().find(|path| path.is_dir()).map(PathBuf::from);
        let there = there.unwrap_or_else(|| ".".into());
        Root::open(&there).and_then(|root| root.space()).ok().map(|(free, _)| free)
    }

    /// Picks files, asks how, downloads them.
    fn browse(&self) -> Result<Next> {
        let (session, everything) = self.list_all()?;
        session.close();
        let picked = asked(pick(&self.context.terminal, tree(&everything)))?;
        let paths = match picked {
            Outcome::Chosen(paths) => paths,
            Outcome::Back => return Ok(Next::Menu),
            Outcome::Quit => return Ok(Next::Leave(INTERRUPTED)),
        };
        let selection = below(everything, &paths);
        let bytes = selection.files().fold(0, |sum: u64, (_, entry)| sum.saturating_add(entry.size));
        let question = format!("Download {}, {}", counted(selection.files().count() as u64, "file"), size(bytes));
        let items = [
            Item::new("in parallel, one connection a file", 'p'),
            Item::new("serially, one connection", 's'),
            Item::new("dry run", 'd'),
        ];
        let mut context = self.context.clone();
        let settings = &mut context.settings;
        match asked(ask(&context.terminal, &question, &items, Some(0)))? {
            Answer::Given(0) => (settings.parallel, settings.serial) = (true, false),
            Answer::Given(1) => (settings.parallel, settings.serial) = (false, true),
            Answer::Given(_) => settings.dry_run = true,
            Answer::Back => return Ok(Next::Menu),
            Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
        }
        self.download(&context, &selection, &paths)
    }

    fn download(&self, context: &Context, selection: &Selection, paths: &[Vec<u8>]) -> Result<Next> {
        let report = context.report();
        let session = context.open()?;
        let mut conflicts = Conflicts { context, for_all: None };
        fetch(context, session, selection, &report, Some(&mut |job| conflicts.decide(job)))?;
        if !context.settings.dry_run {
            let words: Vec<_> = paths.iter().map(|path| quoted(&String::from_utf8_lossy(path))).collect();
            let place = context.settings.dir.display().to_string();
            report.summary(&context.terminal, &format!("client get {}", words.join(" ")), Some(&place));
        }
        Ok(Next::Menu)
    }

    /// Asks for a path on this machine and a folder on the server, and uploads.
    fn upload(&self) -> Result<Next> {
        let terminal = &self.context.terminal;
        let path = match asked(input(terminal, "File or folder to upload: ", ""))? {
            Answer::Given(path) if path.trim().is_empty() => return Ok(Next::Menu),
            Answer::Given(path) => PathBuf::from(expand_home(path.trim())),
            Answer::Back => return Ok(Next::Menu),
            Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
        };
        let folder = match asked(input(terminal, "Into the folder on the server: ", "/"))? {
            Answer::Given(folder) => folder,
            Answer::Back => return Ok(Next::Menu),
            Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
        };
        let to = OsStr::new(folder.trim());
        put::run(&self.context, put::Words { command: "put", paths: &[path], to, name: None })?;
        Ok(Next::Menu)
    }

    /// Shows each setting with where it came from, and lets it be changed for this session.
    fn settings(&mut self) -> Result<Next> {
        let mut at = 0;
        loop {
            let items = setting_lines(&self.context.settings);
            let chosen = match asked(choose(&self.context.terminal, "Settings", &items, Layout::Vertical, at))? {
                Answer::Given(chosen) => chosen,
                Answer::Back => return Ok(Next::Menu),
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            };
            at = chosen;
            let next = match chosen {
                0 => self.ask_address()?,
                1 => self.ask_setting(
                    "Save downloads to: ",
                    "dir",
                    |settings| settings.dir.display().to_string(),
                    |settings, typed| {
                        settings.dir = typed.into();
                        true
                    },
                )?,
                2 => self.ask_setting(
                    "Connections at a time (1 to 256): ",
                    "jobs",
                    |settings| settings.jobs.to_string(),
                    |settings, typed| {
                        let jobs = typed.parse().ok().filter(|jobs| (1..=256).contains(jobs));
                        jobs.map(|jobs| settings.jobs = jobs).is_some()
                    },
                )?,
                3 => self.next_policy(),
                4 => self.set_tls(!self.context.settings.tls),
                _ => return Ok(Next::Menu),
            };
            if next != Next::Menu {
                return Ok(next);
            }
        }
    }

    /// Asks for a server, and connects to it.
    fn ask_address(&mut self) -> Result<Next> {
        let before = self.context.settings.clone();
        let next = self.ask_setting(
            "Address or name of the server: ",
            "ip",
            |settings| settings.ip.clone(),
            |settings, typed| {
                settings.ip = typed.into();
                true
            },
        )?;
        if next != Next::Menu {
            return Ok(next);
        }
        let next = self.ask_setting(
            "Port: ",
            "port",
            |settings| settings.port.to_string(),
            |settings, typed| typed.parse().map(|port| settings.port = port).is_ok(),
        )?;
        let same = (&before.ip, before.port) == (&self.context.settings.ip, self.context.settings.port);
        if next != Next::Menu || same {
            return Ok(next);
        }
        say(&format!("Connecting to {} ...", self.context.target()));
        match self.overview() {
            Ok(line) => say(&line),
            Err(error) => self.complain(&error),
        }
        Ok(Next::Menu)
    }

    fn ask_setting(
        &mut self,
        prompt: &str,
        name: &str,
        shown: impl Fn(&Settings) -> String,
        set: impl Fn(&mut Settings, &str) -> bool,
    ) -> Result<Next> {
        loop {
            let before = shown(&self.context.settings);
            match asked(input(&self.context.terminal, prompt, &before))? {
                Answer::Given(typed) if typed.trim() == before => return Ok(Next::Menu),
                Answer::Given(typed) if !typed.trim().is_empty() && set(&mut self.context.settings, typed.trim()) => {
                    self.context.settings.sources.changed(name);
                    return Ok(Next::Menu);
                }
                Answer::Given(typed) => say(&format!("{} is not possible here", harmless(typed.as_bytes()))),
                Answer::Back => return Ok(Next::Menu),
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            }
        }
    }

    fn next_policy(&mut self) -> Next {
        let settings = &mut self.context.settings;
        settings.on_conflict = match settings.on_conflict {
            Conflict::Rename => Conflict::Skip,
            Conflict::Skip => Conflict::Overwrite,
            Conflict::Overwrite => Conflict::Fail,
            Conflict::Fail => Conflict::Rename,
        };
        settings.sources.changed("on_conflict");
        Next::Menu
    }

    fn set_tls(&mut self, tls: bool) -> Next {
        self.context.settings.tls = tls;
        self.context.settings.sources.changed("tls");
        Next::Menu
    }

    fn complain(&self, error: &Error) {
        if !self.context.cancel.is_cancelled() {
            say(&format!("{} {error}", self.context.terminal.charset().cross()));
        }
    }
}

/// Asks what to do about names that are taken, unless an earlier answer was for all.
struct Conflicts<'a> {
    context: &'a Context,
    for_all: Option<Decision>,
}

impl Conflicts<'_> {
    fn decide(&mut self, job: &Job) -> Result<Decision> {
        if let Some(decision) = self.for_all {
            return Ok(decision);
        }
        let offered = [ConflictAction::Skip, ConflictAction::Rename, ConflictAction::Overwrite];
        let (action, scope) = match asked(ask_conflict(&self.context.terminal, job.path.as_bytes(), &offered))? {
            Answer::Given(given) => given,
            Answer::Back | Answer::Quit => return Ok(Decision::Stop),
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
fn below(everything: Selection, picked: &[Vec<u8>]) -> Selection {
    let is_picked = |path: &RemotePath| {
        picked.iter().any(|picked| {
            path.as_bytes().strip_prefix(&picked[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    };
    let entries = everything.entries.into_iter().filter(|(path, _)| is_picked(path)).collect();
    Selection { entries, skipped: 0, unreadable: everything.unreadable }
}

fn setting_lines(settings: &Settings) -> Vec<Item> {
    let conflict = match settings.on_conflict {
        Conflict::Rename => "rename",
        Conflict::Skip => "skip",
        Conflict::Overwrite => "overwrite",
        Conflict::Fail => "fail",
    };
    let source = |name: &str| settings.sources.of_setting(name);
    let server = format!(
        "Server        {}:{}  ({}, {})",
        harmless(settings.ip.as_bytes()),
        settings.port,
        source("ip"),
        source("port")
    );
    let tls = if settings.tls { "always" } else { "where it is known" };
    let place = harmless(settings.dir.as_os_str().as_bytes());
    vec![
        Item::new(server, 'a'),
        Item::new(format!("Save to       {place}  ({})", source("dir")), 'd'),
        Item::new(format!("Connections   {}  ({})", settings.jobs, source("jobs")), 'j'),
        Item::new(format!("Name taken    {conflict}  ({})", source("on_conflict")), 'n'),
        Item::new(format!("TLS           {tls}  ({})", source("tls")), 't'),
        Item::new("Back", 'b'),
    ]
}

pub(super) fn expand_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// The terminal's own failure is this machine's.
pub(super) fn asked<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|error| Error::local("ask on", "the terminal", error))
}
