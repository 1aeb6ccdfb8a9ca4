//! Which server: the one that is set, one that answers on the local network, or one that is typed.
//!
//! Owns the conversation until there is a connection, and the line that says to what.

use super::{Menu, Next, asked};
use crate::client::cancel::INTERRUPTED;
use crate::client::exit;
use crate::client::report::say;
use crate::client::select::{Depth, Selection};
use crate::client::session::Session;
use crate::client::terminal::menu::{Answer, Item, Layout, choose};
use crate::client::terminal::quantity::{counted, size};
use crate::discovery::{Found, search};
use crate::error::{Error, Result};
use crate::root::Root;
use std::path::PathBuf;
use std::time::Duration;

/// How long servers have to answer. Most answer within a tenth of it; a slow network needs all of it.
const SEARCH: Duration = Duration::from_millis(1_500);

/// What can be done without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Again,
    Search,
    Typed,
    Encrypted,
    Found(usize),
    Leave,
}

impl Menu {
    /// Connects, says to what, and asks again where that fails.
    pub(super) fn connect(&mut self) -> Result<Next> {
        let mut found = Vec::new();
        // Nobody said which server, so it is looked for without being asked to.
        let mut is_to_search = self.may_search() && self.context.settings.sources.of_setting("ip") == "default";
        loop {
            say(&format!("Connecting to {} ...", self.context.target()));
            match self.overview() {
                Ok(line) => {
                    say(&line);
                    return Ok(Next::Menu);
                }
                Err(_) if self.context.cancel.is_cancelled() => return Ok(Next::Leave(INTERRUPTED)),
                Err(error) => {
                    self.complain(&error);
                    // One that answered, if only to refuse, is the one that was meant.
                    if std::mem::take(&mut is_to_search) && matches!(error, Error::Network { .. }) {
                        found = self.search();
                    }
                }
            }
            if let Next::Leave(code) = self.choose_way(&mut found)? {
                return Ok(Next::Leave(code));
            }
        }
    }

    /// Asks until there is an address to connect to.
    fn choose_way(&mut self, found: &mut Vec<Found>) -> Result<Next> {
        loop {
            let ways = self.ways(found);
            let items: Vec<Item> = ways.iter().map(|way| item(*way, found)).collect();
            let chosen = asked(choose(&self.context.terminal, "Which server?", &items, Layout::Vertical, 0))?;
            let way = match chosen {
                Answer::Given(chosen) => ways[chosen],
                Answer::Back => Way::Leave,
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            };
            match way {
                Way::Again => return Ok(Next::Menu),
                Way::Leave => return Ok(Next::Leave(exit::OK)),
                Way::Search => *found = self.search(),
                Way::Typed => return self.type_address(),
                Way::Encrypted => {
                    self.context.settings.tls = true;
                    self.context.settings.sources.changed("tls");
                    return Ok(Next::Menu);
                }
                Way::Found(at) => {
                    let settings = &mut self.context.settings;
                    (settings.ip, settings.port) = (found[at].address.ip().to_string(), found[at].address.port());
                    ["ip", "port"].iter().for_each(|name| settings.sources.changed(name));
                    return Ok(Next::Menu);
                }
            }
        }
    }

    fn ways(&self, found: &[Found]) -> Vec<Way> {
        let mut ways: Vec<Way> = (0..found.len()).map(Way::Found).collect();
        ways.extend([Way::Typed, Way::Again]);
        ways.extend((!self.context.settings.tls).then_some(Way::Encrypted));
        ways.extend(self.may_search().then_some(Way::Search));
        ways.push(Way::Leave);
        ways
    }

    fn may_search(&self) -> bool {
        !self.context.settings.no_discovery
    }

    fn search(&self) -> Vec<Found> {
        say("Looking for servers on this network ...");
        let found = search(SEARCH, &|_| self.context.cancel.is_cancelled()).unwrap_or_else(|error| {
            self.complain(&Error::local("search", "the network", error));
            Vec::new()
        });
        if found.is_empty() {
            say("None answered. The server prints its address when it starts.");
        }
        // A search that was interrupted is over, and no more.
        self.context.cancel.reset();
        found
    }

    /// Asks for a server, and connects to it.
    pub(super) fn change_address(&mut self) -> Result<Next> {
        let before = (self.context.settings.ip.clone(), self.context.settings.port);
        let next = self.type_address()?;
        if next != Next::Menu || before == (self.context.settings.ip.clone(), self.context.settings.port) {
            return Ok(next);
        }
        say(&format!("Connecting to {} ...", self.context.target()));
        match self.overview() {
            Ok(line) => say(&line),
            Err(error) => self.complain(&error),
        }
        Ok(Next::Menu)
    }

    fn type_address(&mut self) -> Result<Next> {
        let next = self.ask_setting(
            "Address or name of the server",
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
        self.ask_setting(
            "Port",
            "port",
            |settings| settings.port.to_string(),
            |settings, typed| typed.parse().map(|port| settings.port = port).is_ok(),
        )
    }

    /// `Connected to nas · 1,284 files, 91.5 GiB · saving to ./downloads (212 GiB free)`
    pub(super) fn overview(&self) -> Result<String> {
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

    pub(super) fn list_all(&self) -> Result<(Session, Selection)> {
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
}

fn item(way: Way, found: &[Found]) -> Item {
    match way {
        Way::Again => Item::new("Try again", 't'),
        Way::Search => Item::new("Look on this network", 'l'),
        Way::Typed => Item::new("Type another address", 'a'),
        Way::Encrypted => Item::new("Try with TLS", 'w'),
        Way::Found(at) => Item { label: format!("{}  {}", found[at].name, found[at].address), hotkey: None },
        Way::Leave => Item::new("Quit", 'q'),
    }
}
