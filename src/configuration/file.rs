//! The configuration file: TOML whose keys are the long names of flags, each value as the words of a command line.

use super::Error;
use super::settings::{is_action, is_secret};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Larger files are refused. All flags with long values have a few KiB.
const MAX_SIZE: u64 = 1 << 20;

/// What a file sets. By default nothing.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) entries: Vec<Entry>,
}

/// One key of it.
#[derive(Debug)]
pub(super) struct Entry {
    /// What clap calls the flag.
    pub(super) id: String,
    /// The line of the key, counted from 1.
    pub(super) line: usize,
    /// The flag with its values. None, if a switch is off or a list empty.
    pub(super) words: Vec<OsString>,
}

impl File {
    /// Reads a file, and checks it against the flags of a command.
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self, Error> {
        let text = read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, command).map_err(|(line, why)| Error::File { path: path.to_owned(), line, why })
    }

    /// The error is a line and what is wrong with it.
    pub(super) fn parse(text: &str, command: &Command) -> Result<Self, (usize, String)> {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1);
        let table = DeTable::parse(text)
            .map_err(|error| (line(error.span().map_or(0, |span| span.start)), error.message().replace('\n', ", ")))?;
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        // So that the first mistake in the file is told first.
        keys.sort_by_key(|(key, _)| key.span().start);
        let entries = keys.into_iter().map(|(key, value)| {
            let at = line(key.span().start);
            entry(command, key.get_ref(), value, at).map_err(|why| (at, format!("{}: {why}", key.get_ref())))
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_SIZE).read_to_string(&mut text)?;
    if read as u64 == MAX_SIZE {
        return Err(std::io::Error::other("it has 1 MiB or more, so it is no configuration"));
    }
    Ok(text)
}

fn entry(command: &Command, key: &str, value: &Spanned<DeValue<'_>>, line: usize) -> Result<Entry, String> {
    let arg = find(command, key)?;
    let words = words(arg, key, value.get_ref())?;
    check(command, arg, &words)?;
    Ok(Entry { id: arg.get_id().to_string(), line, words })
}

fn find<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let named = |name: &str| command.get_arguments().find(|arg| arg.get_long() == Some(name));
    match named(key) {
        Some(arg) if is_action(arg) => Err("this is for the command line only".to_owned()),
        Some(arg) => Ok(arg),
        None => {
            let meant = key.replace('_', "-").to_lowercase();
            let meant = named(&meant).map(|_| format!("; {meant} is one"));
            Err(format!(
                "there is no such key{}; the keys are the names of the flags (--help)",
                meant.unwrap_or_default()
            ))
        }
    }
}

/// The words that stand for a value on the command line.
fn words(arg: &Arg, key: &str, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let several = matches!(arg.get_action(), ArgAction::Append);
    let word = |value: &DeValue<'_>| Ok(OsString::from(format!("--{key}={}", scalar(value)?)));
    match value {
        DeValue::Boolean(true) if !arg.get_action().takes_values() => Ok(vec![format!("--{key}").into()]),
        DeValue::Boolean(false) if !arg.get_action().takes_values() => Ok(Vec::new()),
        _ if !arg.get_action().takes_values() => Err("not true or false".to_owned()),
        DeValue::Array(values) if several => values.iter().map(|value| word(value.get_ref())).collect(),
        value => Ok(vec![word(value)?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "a number that is too large".to_owned())?
            .to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(is_so) => is_so.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => return Err("it takes one value, not a list".to_owned()),
        DeValue::Table(_) => return Err("it takes a value, not a table".to_owned()),
    };
    // A file name with one could be given nowhere else.
    if text.contains('\0') { Err("it has a NUL character".to_owned()) } else { Ok(text) }
}

/// Has clap look at one setting alone, so that what is wrong with it can be told with its line. What it needs beside it is
/// seen to later.
fn check(command: &Command, arg: &Arg, words: &[OsString]) -> Result<(), String> {
    let alone = command.clone().mut_args(|arg| arg.env(None).value_delimiter(None));
    let words = [OsString::from(command.get_name())].into_iter().chain(words.iter().cloned());
    match alone.try_get_matches_from(words) {
        Err(error) if is_about_a_value(error.kind()) => {
            Err(if is_secret(arg) { "not a value that it takes".to_owned() } else { reason(&error) })
        }
        _ => Ok(()),
    }
}

fn is_about_a_value(kind: ErrorKind) -> bool {
    use ErrorKind::{
        InvalidUtf8, InvalidValue, NoEquals, TooFewValues, TooManyValues, ValueValidation, WrongNumberOfValues,
    };
    let about =
        [InvalidUtf8, InvalidValue, NoEquals, TooFewValues, TooManyValues, ValueValidation, WrongNumberOfValues];
    about.contains(&kind)
}

/// What the parser of the value said; or which values there are.
fn reason(error: &clap::Error) -> String {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let value = said(ContextKind::InvalidValue).map(|value| format!("{value:?}: ")).unwrap_or_default();
    let source = std::error::Error::source(error).map(ToString::to_string);
    let possible = || said(ContextKind::ValidValue).map(|values| format!("not one of {values}"));
    let reason = source.or_else(possible).unwrap_or_else(|| error.kind().to_string());
    format!("{value}{reason}")
}
