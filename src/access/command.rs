//! `server token`: makes, lists and revokes tokens, whether a server is running or not.
//!
//! Standard output carries data only: the token itself, or the list. What is said to a person goes to standard error.

use super::{Grant, MAX_TOKENS, Rate, TokenFile, TokenHash, generate, now};
use crate::error::{Error, Result};
use crate::store::parse_duration;
use crate::wire::{ErrorCode, RemoteFolder, Rights};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// `server token`.
#[derive(Debug, Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token, and show it, once: only a hash of it is kept
    Add(Add),
    /// List the tokens, without the secrets, which nobody knows any more
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: who uses it is cut off within a second
    Revoke {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A name for it, for the logs and for revoking it
    name: String,
    /// What it is good for: all, or of read, add, overwrite, publish and subscribe those that are named, with commas
    #[arg(long, value_name = "RIGHTS")]
    rights: Rights,
    /// A folder that it is good in, with everything below it; may be repeated [default: the whole host directory]
    #[arg(long, value_name = "FOLDER", value_parser = OsStringValueParser::new().try_map(parse_folder))]
    folder: Vec<RemoteFolder>,
    /// How long it is good, such as 7d or 12h [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Bytes a second that all who have it may take together, and send, such as 2MiB [default: --rate of the server]
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
}

impl TokenCommand {
    /// Does what the command line asks for, to the tokens of this host directory.
    ///
    /// # Errors
    /// [`Error::Refused`] for what cannot be asked for; [`Error::Local`].
    pub fn run(&self, directory: &Path) -> Result<()> {
        let file = TokenFile::of(directory)?;
        match &self.action {
            Action::Add(add) => add.run(&file),
            Action::List { json: true } => print(&as_json(&file)?),
            Action::List { json: false } => print(&as_table(&file)?),
            Action::Revoke { name } => revoke(&file, name),
        }
    }
}

impl Add {
    fn run(&self, file: &TokenFile) -> Result<()> {
        let grant = Grant::named(&self.name, self.rights, self.folder.clone()).map_err(|why| refused(&why))?;
        let expires = self.expires.map(|after| now().saturating_add(after.as_secs()));
        let grant = grant.until(expires).at(self.rate);
        let token = generate()?;
        let is_first = file.edit(|tokens| {
            if tokens.iter().any(|(_, known)| known.name == grant.name) {
                return Err(refused(&format!("there is a token {grant} already: revoke it, or choose another name")));
            }
            if tokens.len() >= MAX_TOKENS {
                return Err(refused(&format!("there are {MAX_TOKENS} tokens, and no more can be")));
            }
            tokens.push((TokenHash::of(&token), grant.clone()));
            Ok(tokens.len() == 1)
        })?;
        let rate = grant.rate.map(|rate| format!(", at {rate}")).unwrap_or_default();
        say(&format!("Token {grant}: {} in {}, {}{rate}.", grant.rights, folders(&grant), until(grant.expires)));
        say("This is the only time that it is shown. Give it out on a way that you trust.");
        if is_first {
            say("From now on nobody gets in without a token, unless the server runs with --anonymous.");
        }
        print(&[token.secret(), b"\n"].concat())
    }
}

fn revoke(file: &TokenFile, name: &str) -> Result<()> {
    let left = file.edit(|tokens| {
        let before = tokens.len();
        tokens.retain(|(_, grant)| grant.name.as_deref() != Some(name));
        if tokens.len() == before {
            let name = crate::escape::harmless(name.as_bytes());
            return Err(refused(&format!("there is no token {name}: see server token list")));
        }
        Ok(tokens.len())
    })?;
    say(&format!("Revoked {name}; a server that is running cuts it off within a second."));
    if left == 0 {
        say(
            "No token is left, and nobody gets in without one: remove .hostdir/tokens to open the server to all again.",
        );
    }
    Ok(())
}

fn as_json(file: &TokenFile) -> Result<Vec<u8>> {
    let lines = file.tokens()?.into_iter().map(|(_, grant)| {
        let rights: Vec<_> = grant.rights.iter().map(|right| right.name()).collect();
        let folders: Vec<_> = grant.folders().iter().map(RemoteFolder::to_string).collect();
        let line = serde_json::json!({
            "name": grant.name, "rights": rights, "folders": folders, "expires": grant.expires,
            "rate": grant.rate.map(|rate| rate.bytes().get()),
        });
        format!("{line}\n")
    });
    Ok(lines.collect::<String>().into_bytes())
}

fn as_table(file: &TokenFile) -> Result<Vec<u8>> {
    let heading = ["NAME", "RIGHTS", "FOLDERS", "UNTIL", "RATE"].map(str::to_owned);
    let rows = file.tokens()?.into_iter().map(|(_, grant)| {
        let rate = grant.rate.map(|rate| rate.to_string()).unwrap_or_default();
        [grant.to_string(), grant.rights.to_string(), folders(&grant), until(grant.expires), rate]
    });
    let rows: Vec<[String; 5]> = [heading].into_iter().chain(rows).collect();
    let mut widths = [0_usize; 5];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{}", line.trim_end());
    }
    Ok(table.into_bytes())
}

fn folders(grant: &Grant) -> String {
    grant.folders().iter().map(RemoteFolder::to_string).collect::<Vec<_>>().join(", ")
}

fn until(expires: Option<u64>) -> String {
    let Some(expires) = expires else { return "until it is revoked".into() };
    let time = i64::try_from(expires).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let over = if expires <= now() { " (over)" } else { "" };
    time.map_or_else(|| "for ever".into(), |time| format!("until {}{over}", time.strftime("%Y-%m-%d %H:%M UTC")))
}

fn parse_folder(text: OsString) -> std::result::Result<RemoteFolder, String> {
    let bytes = text.as_bytes();
    let bytes = if bytes == b"/" { b"" } else { bytes.strip_suffix(b"/").unwrap_or(bytes) };
    RemoteFolder::parse(bytes).map_err(|error| error.to_string())
}

fn refused(why: &str) -> Error {
    Error::refused(ErrorCode::Forbidden, why)
}

fn say(line: &str) {
    // Standard error may be closed; there is nobody else to tell.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Error::local("write to", "standard output", error))
}
