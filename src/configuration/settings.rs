//! The settings of a program for people: each with its value and its origin. As text they are a configuration file.

use super::{CHECK, FILE};
use crate::escape::{harmless, is_harmless};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The column of origins, where values leave room.
const COLUMN: usize = 40;
/// What makes the name of a flag that of a secret, unless it names a file.
const SECRET: [&str; 4] = ["token", "password", "passphrase", "secret"];

/// All settings of a program. Its [`fmt::Display`] is a configuration file that gives the same settings, but for secrets.
#[derive(Debug, Clone)]
pub struct Settings {
    program: String,
    file: Option<PathBuf>,
    settings: Vec<Setting>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The long name of the flag, and the key in the file.
    pub name: String,
    /// What it is.
    pub value: Value,
    /// Who said so.
    pub origin: Origin,
    /// The environment variable that it can be set with.
    pub variable: Option<String>,
}

/// What a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Left to the program.
    Unset,
    /// Something that is shown to nobody.
    Secret,
    /// A switch.
    Switch(bool),
    /// One value.
    One(OsString),
    /// Any number of values.
    Several(Vec<OsString>),
}

/// Who set it; each wins over those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// This line of the configuration file.
    File(usize),
    /// Nobody.
    Default,
}

impl Settings {
    /// What `matches` says, of all flags of `command` that are settings.
    pub(super) fn of(
        command: &Command,
        matches: &ArgMatches,
        origin: impl Fn(&str) -> Origin,
        file: Option<PathBuf>,
    ) -> Self {
        let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
        let settings = named.filter(|(_, arg)| !is_action(arg)).map(|(name, arg)| Setting {
            name: name.to_owned(),
            value: value(arg, matches),
            origin: origin(arg.get_id().as_str()),
            variable: arg.get_env().map(|variable| variable.to_string_lossy().into_owned()),
        });
        Self { program: command.render_version().trim_end().to_owned(), file, settings: settings.collect() }
    }

    /// Each of them, in the order of `--help`.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }
}

/// Whether a flag asks for something to be done, and sets nothing.
pub(super) fn is_action(arg: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    matches!(arg.get_action(), Help | HelpLong | HelpShort | Version)
        || arg.get_long().is_some_and(|name| [FILE, CHECK].contains(&name))
}

/// Whether nobody is to see the value: clap was told not to show it in the help, or its name says so.
pub(super) fn is_secret(arg: &Arg) -> bool {
    let name = arg.get_long().unwrap_or_default();
    arg.is_hide_env_values_set()
        || SECRET.iter().any(|word| name.contains(word)) && !(name.ends_with("-file") || name.ends_with("-dir"))
}

fn value(arg: &Arg, matches: &ArgMatches) -> Value {
    let id = arg.get_id().as_str();
    if !arg.get_action().takes_values() {
        return Value::Switch(matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false));
    }
    let raw = matches.try_get_raw(id).ok().flatten();
    let mut values: Vec<OsString> = raw.into_iter().flatten().map(OsStr::to_owned).collect();
    match (values.pop(), arg.get_action()) {
        (None, _) => Value::Unset,
        (Some(_), _) if is_secret(arg) => Value::Secret,
        (Some(last), ArgAction::Append) => Value::Several(values.into_iter().chain([last]).collect()),
        (Some(last), _) => Value::One(last),
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|file| harmless(file.as_os_str().as_bytes()));
        writeln!(out, "# {}, configuration file: {}", self.program, file.as_deref().unwrap_or("none"))?;
        self.settings.iter().try_for_each(|setting| writeln!(out, "{setting}"))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        let line = match &self.value {
            Value::Unset => format!("# {name} is not set"),
            Value::Secret => format!("# {name} is set, and not shown"),
            Value::Switch(is_on) => format!("{name} = {is_on}"),
            Value::One(value) => toml(value).map_or_else(|| not_text(name, value), |value| format!("{name} = {value}")),
            Value::Several(values) => match values.iter().map(|value| toml(value)).collect::<Option<Vec<_>>>() {
                Some(values) => format!("{name} = [{}]", values.join(", ")),
                None => not_text(name, OsStr::new("a value")),
            },
        };
        write!(out, "{line:COLUMN$} # ")?;
        match (self.origin, &self.variable) {
            (Origin::Flag, _) => write!(out, "flag"),
            (Origin::Environment, variable) => write!(out, "environment, {}", variable.as_deref().unwrap_or("?")),
            (Origin::File(line), _) => write!(out, "file, line {line}"),
            (Origin::Default, _) => write!(out, "default"),
        }
    }
}

/// TOML is UTF-8, so such a value can come from a flag or a variable only.
fn not_text(name: &str, value: &OsStr) -> String {
    format!("# {name} is {}, which is not UTF-8", harmless(value.as_bytes()))
}

/// A value as it stands in the file: a number, or a string.
fn toml(value: &OsStr) -> Option<String> {
    let text = value.to_str()?;
    // 007 is a name, not a number.
    if text.parse::<i64>().is_ok_and(|number| number.to_string() == text) {
        return Some(text.to_owned());
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            character if is_harmless(character) => quoted.push(character),
            character => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    Some(quoted)
}
