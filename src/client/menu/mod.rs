//! The menu, for people: the same work as the commands, chosen with arrows.
//!
//! Owns the conversation: what is asked in which order, and what is said in between. Moves nothing itself: that is the
//! commands' work. Every action opens a connection of its own, so a server that closes idle ones disturbs nobody.

mod browse;
mod connect;
mod settings;

use super::arguments::Arguments;
use super::cancel::INTERRUPTED;
use super::commands::{Context, put};
use super::report::{say, say_whole};
use super::terminal::menu::{Answer, Item, Layout, choose, input};
use super::{exit, topics};
use crate::error::{Error, Result};
use clap::CommandFactory;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

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
        say_whole(&Arguments::command().render_help().to_string());
        return Ok(exit::USAGE);
    }
    let mut menu = Menu { context: Context { attended: true, ..context.clone() } };
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
        if menu.context.cancel.is_terminated() {
            return Ok(INTERRUPTED);
        }
        // Ctrl-C stopped what was running; the menu goes on.
        menu.context.cancel.reset();
    }
}

struct Menu {
    context: Context,
}

impl Menu {
    /// Asks for a path on this machine and a folder on the server, and uploads.
    fn upload(&self) -> Result<Next> {
        let terminal = &self.context.terminal;
        let path = match asked(input(terminal, "File or folder to upload", ""))? {
            Answer::Given(path) if path.trim().is_empty() => return Ok(Next::Menu),
            Answer::Given(path) => PathBuf::from(expand_home(path.trim())),
            Answer::Back => return Ok(Next::Menu),
            Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
        };
        let folder = match asked(input(terminal, "Into the folder on the server", "/"))? {
            Answer::Given(folder) => folder,
            Answer::Back => return Ok(Next::Menu),
            Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
        };
        let to = OsStr::new(folder.trim());
        put::run(&self.context, put::Words { command: "put", paths: &[path], to, name: None })?;
        Ok(Next::Menu)
    }

    fn complain(&self, error: &Error) {
        if !self.context.cancel.is_cancelled() {
            say(&format!("{} {error}", self.context.terminal.charset().cross()));
        }
    }
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
