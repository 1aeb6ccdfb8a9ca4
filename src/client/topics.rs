//! Topics in the menu: which one, and whether to follow it or to send something to it.
//!
//! Owns that conversation. Following and publishing are the commands' work.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::INTERRUPTED;
use super::commands::get::quoted;
use super::commands::subscribe::topic;
use super::commands::{Context, publish, put};
use super::menu::{Next, asked, expand_home};
use super::report::say;
use super::select::{Depth, Selection};
use super::subscribe::{From, Plan, follow};
use super::terminal::menu::{Answer, Item, Layout, ask, choose, input};
use super::terminal::screen::{Keys, Press};
use crate::error::Result;
use crate::wire::{EntryKind, RemoteFolder, RemotePath};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Folders that are offered; any other can be typed.
const MOST_OFFERED: usize = 200;
/// How long whoever published from the menu waits for the receivers.
const WAIT: u64 = 30;
/// Between two looks whether following has ended by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Asks for a topic and what to do with it, and does it.
pub(super) fn visit(context: &Context) -> Result<Next> {
    let topic = match choose_topic(context)? {
        Answer::Given(topic) => topic,
        Answer::Back => return Ok(Next::Menu),
        Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
    };
    let items = [Item::new("follow it", 'f'), Item::new("send a file to it", 's')];
    match asked(ask(&context.terminal, &format!("Topic {}", shown(&topic)), &items, Some(0)))? {
        Answer::Given(0) => follow_topic(context, topic),
        Answer::Given(_) => send(context, &topic),
        Answer::Back => Ok(Next::Menu),
        Answer::Quit => Ok(Next::Leave(INTERRUPTED)),
    }
}

/// One of the folders at the top, or one that is typed.
fn choose_topic(context: &Context) -> Result<Answer<RemoteFolder>> {
    let folders = folders(context)?;
    let mut items: Vec<Item> = folders.iter().map(|path| Item { label: path.to_string(), hotkey: None }).collect();
    items.push(Item { label: "(everything)".into(), hotkey: None });
    items.push(Item { label: "(another one, to be typed)".into(), hotkey: None });
    Ok(match asked(choose(&context.terminal, "Which topic?", &items, Layout::Vertical, 0))? {
        Answer::Given(at) => match folders.get(at) {
            Some(path) => Answer::Given(RemoteFolder::from(path.clone())),
            None if at == folders.len() => Answer::Given(RemoteFolder::ROOT),
            None => type_topic(context)?,
        },
        Answer::Back => Answer::Back,
        Answer::Quit => Answer::Quit,
    })
}

fn folders(context: &Context) -> Result<Vec<RemotePath>> {
    let mut session = context.open()?;
    let mut selection = Selection::default();
    selection.add(&mut session, b"/", Depth::Folder)?;
    session.close();
    let folders = selection.entries.into_iter().filter(|(_, entry)| entry.kind == EntryKind::Folder);
    Ok(folders.map(|(path, _)| path).take(MOST_OFFERED).collect())
}

fn type_topic(context: &Context) -> Result<Answer<RemoteFolder>> {
    loop {
        match asked(input(&context.terminal, "Topic (a folder on the server)", ""))? {
            Answer::Given(typed) if typed.trim().is_empty() => return Ok(Answer::Back),
            Answer::Given(typed) => match topic(OsStr::new(typed.trim())) {
                Ok(topic) => return Ok(Answer::Given(topic)),
                Err(error) => say(&error.to_string()),
            },
            Answer::Back => return Ok(Answer::Back),
            Answer::Quit => return Ok(Answer::Quit),
        }
    }
}

/// Follows until Esc, or Ctrl-C, which both lead back to the menu.
fn follow_topic(context: &Context, topic: RemoteFolder) -> Result<Next> {
    let retry = format!("client subscribe {}", quoted(&shown(&topic)));
    let plan = Plan { topics: vec![topic], from: From::Saved, count: None, exec: None, live: true, retry };
    if context.terminal.is_plain() {
        say("Ctrl-C stops following");
        follow(context, &plan)?;
        return Ok(Next::Menu);
    }
    say("Esc stops following; Enter tries a lost server again at once");
    let has_ended = AtomicBool::new(false);
    let keys = asked(Keys::enter())?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                match keys.next(LOOK) {
                    Ok(Some(Press::Enter)) => context.cancel.hurry(),
                    Ok(Some(Press::Escape)) => return context.cancel.cancel(),
                    Ok(_) => {}
                    // A terminal that cannot be read any more ends it too.
                    Err(_) => return context.cancel.cancel(),
                }
            }
        });
        let result = follow(context, &plan);
        has_ended.store(true, Ordering::Relaxed);
        result
    })?;
    Ok(Next::Menu)
}

/// Asks for a file on this machine, sends it, and says who received it.
fn send(context: &Context, topic: &RemoteFolder) -> Result<Next> {
    let path = match asked(input(&context.terminal, "File or folder to send", ""))? {
        Answer::Given(path) if path.trim().is_empty() => return Ok(Next::Menu),
        Answer::Given(path) => PathBuf::from(expand_home(path.trim())),
        Answer::Back => return Ok(Next::Menu),
        Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
    };
    let to = OsStr::from_bytes(topic.as_bytes());
    publish::run(context, put::Words { command: "publish", paths: &[path], to, name: None }, WAIT)?;
    Ok(Next::Menu)
}

fn shown(topic: &RemoteFolder) -> String {
    topic.path().map_or_else(|| "/".into(), ToString::to_string)
}
