//! The settings, each with its value and where that came from, to be looked at and changed for this run.
//!
//! Owns the list and its wording. What a setting does is elsewhere.

use super::{Menu, Next, asked};
use crate::client::arguments::{Conflict, Segments, Settings};
use crate::client::cancel::INTERRUPTED;
use crate::client::report::say;
use crate::client::terminal::menu::{Answer, Item, Layout, choose, input};
use crate::client::terminal::width::{elide_middle, width};
use crate::client::terminal::{Charset, Size};
use crate::error::Result;
use crate::escape::harmless;
use std::os::unix::ffi::OsStrExt;

/// From this width on the values stand below each other.
const ROOMY: usize = 50;
/// What a menu puts before an item.
const CURSOR: usize = 3;

/// One line of the list.
struct Line {
    name: &'static str,
    /// The name where there is little room.
    short: &'static str,
    value: String,
    /// `flag`, `environment`, `default` or `menu`.
    source: String,
}

impl Menu {
    /// Shows each setting with where it came from, and lets it be changed for this session.
    pub(super) fn settings(&mut self) -> Result<Next> {
        let mut at = 0;
        loop {
            let charset = self.context.terminal.charset();
            let columns = usize::from(Size::now().columns);
            let lines = lines(&self.context.settings);
            let mut items: Vec<Item> = lines.iter().map(|line| line.item(columns, charset)).collect();
            items.push(Item::new("Back", 'b'));
            at = match asked(choose(&self.context.terminal, "Settings", &items, Layout::Vertical, at))? {
                Answer::Given(chosen) => chosen,
                Answer::Back => return Ok(Next::Menu),
                Answer::Quit => return Ok(Next::Leave(INTERRUPTED)),
            };
            if at >= lines.len() {
                return Ok(Next::Menu);
            }
            let next = self.change(at)?;
            if next != Next::Menu {
                return Ok(next);
            }
        }
    }

    /// Changes the setting in line `at`: asks for a value, or goes on to the next one where there are only a few.
    fn change(&mut self, at: usize) -> Result<Next> {
        let settings = &mut self.context.settings;
        let name = match at {
            0 => return self.change_address(),
            1 => return self.ask_folder(),
            2 => return self.ask_number("Connections at a time", "jobs", 256),
            3 => return self.ask_number("Seconds that the server may be silent", "timeout", 86_400),
            4 => return self.ask_number("Attempts to reach a server that went away", "retries", 1_000),
            5 => {
                settings.on_conflict = next_policy(settings.on_conflict);
                "on_conflict"
            }
            6 => {
                settings.segments = next_segments(settings.segments);
                "segments"
            }
            7 => {
                settings.no_resume = !settings.no_resume;
                "no_resume"
            }
            _ => {
                settings.tls = !settings.tls;
                "tls"
            }
        };
        settings.sources.changed(name);
        Ok(Next::Menu)
    }

    fn ask_folder(&mut self) -> Result<Next> {
        self.ask_setting(
            "Save downloads to",
            "dir",
            |settings| settings.dir.display().to_string(),
            |settings, typed| {
                settings.dir = super::expand_home(typed).into();
                true
            },
        )
    }

    fn ask_number(&mut self, prompt: &str, name: &str, most: u32) -> Result<Next> {
        let prompt = format!("{prompt} (1 to {most})");
        self.ask_setting(
            &prompt,
            name,
            |settings| number(settings, name).to_string(),
            |settings, typed| {
                let number = typed.parse().ok().filter(|number| (1..=most).contains(number));
                number.map(|number| set_number(settings, name, number)).is_some()
            },
        )
    }

    pub(super) fn ask_setting(
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
}

fn number(settings: &Settings, name: &str) -> u64 {
    match name {
        "jobs" => settings.jobs.into(),
        "timeout" => settings.timeout,
        _ => settings.retries.into(),
    }
}

fn set_number(settings: &mut Settings, name: &str, number: u32) {
    match name {
        // At most 256.
        "jobs" => settings.jobs = u16::try_from(number).unwrap_or(u16::MAX),
        "timeout" => settings.timeout = number.into(),
        _ => settings.retries = number,
    }
}

fn next_policy(policy: Conflict) -> Conflict {
    match policy {
        Conflict::Rename => Conflict::Skip,
        Conflict::Skip => Conflict::Overwrite,
        Conflict::Overwrite => Conflict::Fail,
        Conflict::Fail => Conflict::Rename,
    }
}

fn next_segments(segments: Segments) -> Segments {
    match segments {
        Segments::Auto => Segments::Always,
        Segments::Always => Segments::Never,
        Segments::Never => Segments::Auto,
    }
}

fn lines(settings: &Settings) -> Vec<Line> {
    let source = |name: &str| settings.sources.of_setting(name).to_owned();
    let line = |name, short, value, setting: &str| Line { name, short, value, source: source(setting) };
    let conflict = match settings.on_conflict {
        Conflict::Rename => "rename",
        Conflict::Skip => "skip",
        Conflict::Overwrite => "overwrite",
        Conflict::Fail => "fail",
    };
    let segments = match settings.segments {
        Segments::Auto => "auto",
        Segments::Always => "always",
        Segments::Never => "never",
    };
    let (ip, port) = (source("ip"), source("port"));
    let server = Line {
        name: "Server",
        short: "Server",
        value: format!("{}:{}", harmless(settings.ip.as_bytes()), settings.port),
        source: if ip == port { ip } else { format!("{ip}, {port}") },
    };
    vec![
        server,
        line("Save to", "Save to", harmless(settings.dir.as_os_str().as_bytes()), "dir"),
        line("Connections", "Lines", settings.jobs.to_string(), "jobs"),
        line("Silence", "Silence", format!("{} s", settings.timeout), "timeout"),
        line("Attempts", "Tries", settings.retries.to_string(), "retries"),
        line("Name taken", "Taken", conflict.to_owned(), "on_conflict"),
        line("In segments", "Parts", segments.to_owned(), "segments"),
        line("Resume", "Resume", if settings.no_resume { "no" } else { "yes" }.to_owned(), "no_resume"),
        line("TLS", "TLS", if settings.tls { "always" } else { "where it is known" }.to_owned(), "tls"),
    ]
}

impl Line {
    /// The name, the value, and the source; the value gives way where there is no room.
    fn item(&self, columns: usize, charset: Charset) -> Item {
        let Self { name, short, value, source } = self;
        let room = columns.saturating_sub(CURSOR);
        let start = if columns >= ROOMY { format!("{name:<14}") } else { format!("{short} ") };
        let end = if columns >= ROOMY { format!("  ({source})") } else { format!(", {source}") };
        let value = elide_middle(value, room.saturating_sub(width(&start) + width(&end)), charset);
        Item { label: format!("{start}{value}{end}"), hotkey: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_where_it_came_from_at_every_width() {
        let line = Line {
            name: "Save to",
            short: "Save to",
            value: "/home/ana/downloads".to_owned(),
            source: "environment".to_owned(),
        };
        let label = |columns| line.item(columns, Charset::Unicode).label;
        assert_eq!(label(100), "Save to       /home/ana/downloads  (environment)");
        assert_eq!(label(40), "Save to /home/an…wnloads, environment");
        assert_eq!(width(&label(40)), 40 - CURSOR);
        assert!(label(24).ends_with(", environment"));
    }
}
