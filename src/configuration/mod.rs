//! Where a program's settings come from: flag, then environment, then configuration file, then default.
//!
//! Owns the reading of the file and the order of precedence. Knows no setting by its name but [`FILE`] and [`CHECK`]: the
//! keys of the file are the long names of the program's flags, as clap has them, and a value passes the same parser from
//! wherever it comes. So a new flag is a new key without a line here.
//!
//! Clap is asked twice. First what the command line and the environment say, and which file; then with the file's values as
//! flags in front, for those settings that neither gave. A default is nobody's word: clap's `ValueSource` tells it apart.

mod error;
mod file;
mod settings;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use settings::{Origin, Setting, Settings};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use file::{Entry, File};
use std::ffi::OsString;
use std::path::PathBuf;

/// The long name of the flag that names the file.
pub const FILE: &str = "config";
/// The long name of the flag that asks for the settings.
pub const CHECK: &str = "check-config";

/// Arguments of a program, and where each came from.
#[derive(Debug)]
pub struct Resolved<A> {
    /// The arguments, as if all of them had stood on the command line.
    pub arguments: A,
    /// The same for people.
    pub settings: Settings,
}

/// Resolves the settings of a program: `words` are its command line, with the program's name first. The program has a flag
/// [`FILE`], whose value is a [`PathBuf`].
///
/// # Errors
/// [`Error::Usage`] is also how clap asks for help or the version to be printed.
pub fn resolve<A: CommandFactory + FromArgMatches>(
    words: impl IntoIterator<Item = OsString>,
) -> Result<Resolved<A>, Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    let command = A::command();
    // What is wrong on the command line is found the second time, when what a flag requires may stand in the file.
    let given = command.clone().ignore_errors(true).try_get_matches_from(&words)?;
    let path = given.try_get_one::<PathBuf>(FILE).ok().flatten().filter(|_| takes_file(&command, &given));
    let file = path.map(|path| File::read(path, &command)).transpose()?.unwrap_or_default();
    let used: Vec<&Entry> = file.entries.iter().filter(|entry| !is_given(&given, &entry.id)).collect();
    let matches = with_file(command.clone(), &used).try_get_matches_from(insert(words, &used))?;
    let settings = Settings::of(&command, &matches, |id| origin(&given, &used, id), path.cloned());
    let arguments = A::from_arg_matches(&matches)?;
    Ok(Resolved { arguments, settings })
}

/// Where flags and commands exclude each other, a command has nothing to do with the file.
fn takes_file(command: &Command, given: &ArgMatches) -> bool {
    !(command.is_args_conflicts_with_subcommands_set() && given.subcommand().is_some())
}

fn is_given(given: &ArgMatches, id: &str) -> bool {
    matches!(source(given, id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// Who set an argument; a flag that every command knows may stand after the command.
fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    let below = matches.subcommand().and_then(|(_, below)| source(below, id));
    // To ask for what clap does not know is a panic.
    let here = matches.ids().any(|known| known == id).then(|| matches.value_source(id)).flatten();
    below.max(here)
}

fn origin(given: &ArgMatches, used: &[&Entry], id: &str) -> Origin {
    match source(given, id) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => used.iter().find(|entry| entry.id == id).map_or(Origin::Default, |entry| Origin::File(entry.line)),
    }
}

/// In the file a list is an array, and a comma in a value is a comma.
fn with_file(command: Command, used: &[&Entry]) -> Command {
    let whole = |command: Command, entry: &&Entry| command.mut_arg(&entry.id, |arg| arg.value_delimiter(None));
    used.iter().fold(command, whole)
}

/// The command line with what the file says before anything else, so that commands and `--` keep their meaning.
fn insert(words: Vec<OsString>, used: &[&Entry]) -> Vec<OsString> {
    let mut words = words.into_iter();
    let program = words.next();
    let from_file = used.iter().flat_map(|entry| entry.words.iter().cloned());
    program.into_iter().chain(from_file).chain(words).collect()
}
