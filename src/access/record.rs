//! The text of `.hostdir/tokens`: one line a token, after a heading.
//!
//! Pure. What is not exactly as this code writes it is damage, and damage is told, never passed over: a token that is
//! silently gone locks somebody out, and a folder that is silently gone lets somebody in.

use super::{Grant, Rate, TokenHash};
use crate::wire::http::{percent_decode, percent_encode};
use crate::wire::{RemoteFolder, Rights};
use std::fmt;

const HEADING: &str = "hostdir tokens 1";
/// How it ends: without that, lines may be missing.
const END_OF_FILE: &str = "\nend\n";
/// Most tokens.
pub const MAX_TOKENS: usize = 4096;

/// Why a text is no list of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is damaged: {}", self.line, self.why)
    }
}

/// Reads a list of tokens.
///
/// # Errors
/// [`Damaged`], for the first line that is not as [`write()`] writes it.
pub fn parse(bytes: &[u8]) -> Result<Vec<(TokenHash, Grant)>, Damaged> {
    let damaged = |line: usize, why: &str| Damaged { line, why: why.to_owned() };
    let text = str::from_utf8(bytes).map_err(|_| damaged(1, "it is not UTF-8"))?;
    let cut = || damaged(text.lines().count(), "it is not the end");
    let text = text.strip_suffix(END_OF_FILE).ok_or_else(cut)?;
    let mut lines = text.split('\n').zip(1..);
    if lines.next().is_none_or(|(heading, _)| heading != HEADING) {
        return Err(damaged(1, "it is not the heading"));
    }
    let mut found: Vec<(TokenHash, Grant)> = Vec::new();
    for (text, line) in lines {
        let (hash, grant) = parse_line(text).map_err(|why| Damaged { line, why })?;
        if found.iter().any(|(known, other)| *known == hash || other.name == grant.name) {
            return Err(damaged(line, "another line has the same name or the same token"));
        }
        if found.len() >= MAX_TOKENS {
            return Err(damaged(line, "there are too many"));
        }
        found.push((hash, grant));
    }
    Ok(found)
}

/// The text of a list of tokens.
#[must_use]
pub fn write(tokens: &[(TokenHash, Grant)]) -> String {
    let lines: String = tokens.iter().map(|(hash, grant)| line(hash, grant)).collect();
    format!("{HEADING}{lines}{END_OF_FILE}")
}

fn line(hash: &TokenHash, grant: &Grant) -> String {
    let folders: Vec<String> = grant.folders().iter().map(written_folder).collect();
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
    // A program from before there were rates knows no such word, so it is there only where it says something.
    let rate = grant.rate.map(|rate| format!(" rate={}", rate.bytes())).unwrap_or_default();
    let (folders, expires) = (folders.join(","), number(grant.expires));
    format!("\n{grant} {hash} rights={} folders={folders} expires={expires}{rate}", grant.rights)
}

fn parse_line(line: &str) -> Result<(TokenHash, Grant), String> {
    let mut words = line.split(' ');
    let mut next = |prefix: &str| {
        words.next().and_then(|word| word.strip_prefix(prefix)).ok_or_else(|| format!("{} is missing", what(prefix)))
    };
    let name = next("")?;
    let hash = TokenHash::parse(next("")?).ok_or("the hash is none")?;
    let rights: Rights = next("rights=")?.parse()?;
    let folders = next("folders=")?.split(',').map(parse_folder).collect::<Result<Vec<_>, _>>()?;
    let expires = parse_number(next("expires=")?)?;
    let rate = words.next().map(parse_rate).transpose()?;
    if words.next().is_some() {
        return Err("there is more than belongs there".into());
    }
    let grant = Grant::named(name, rights, folders)?.until(expires).at(rate);
    // Only one way to write it, so that nothing can be in it that is not seen.
    if self::line(&hash, &grant).strip_prefix('\n') != Some(line) {
        return Err("it is not as it is written".into());
    }
    Ok((hash, grant))
}

fn what(prefix: &str) -> &str {
    if prefix.is_empty() { "the name or the hash" } else { prefix }
}

fn parse_number(text: &str) -> Result<Option<u64>, String> {
    if text == "-" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "a number is none".into())
}

fn parse_rate(word: &str) -> Result<Rate, String> {
    let bytes = word.strip_prefix("rate=").and_then(|bytes| bytes.parse().ok());
    bytes.and_then(Rate::new).ok_or_else(|| "the rate is none, or there is more than belongs there".into())
}

/// Percent-encoded as in an address, so that a comma or a space in it ends nothing; `/` is the host directory.
fn written_folder(folder: &RemoteFolder) -> String {
    folder.path().map_or_else(|| "/".into(), |path| percent_encode(path.as_bytes()))
}

fn parse_folder(text: &str) -> Result<RemoteFolder, String> {
    if text == "/" {
        return Ok(RemoteFolder::ROOT);
    }
    let bytes = percent_decode(text).map_err(|error| error.to_string())?;
    match RemoteFolder::parse(&bytes).map_err(|error| error.to_string())? {
        RemoteFolder::ROOT => Err("a folder is missing".into()),
        folder => Ok(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::generate;
    use proptest::prelude::*;

    fn grant(name: &str) -> Grant {
        let folders = [&b"a b,c/d%"[..], b"\xff"].map(|it| RemoteFolder::parse(it).unwrap());
        let grant = Grant::named(name, "read,add".parse().unwrap(), folders.into()).unwrap();
        grant.until(Some(7))
    }

    fn tokens() -> Vec<(TokenHash, Grant)> {
        let everything = Grant::named("two", Rights::ALL, Vec::new()).unwrap().at(Rate::new(1 << 20));
        [grant("one"), everything].map(|grant| (TokenHash::of(&generate().unwrap()), grant)).into()
    }

    #[test]
    fn what_is_written_is_read() {
        let tokens = tokens();
        assert_eq!(parse(write(&tokens).as_bytes()), Ok(tokens));
        assert_eq!(parse(b"hostdir tokens 1\nend\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_list_from_before_there_were_rates_is_read_and_a_token_without_one_is_written_as_then() {
        let hash = TokenHash::of(&generate().unwrap());
        let text = format!("hostdir tokens 1\nphone {hash} rights=read,add folders=a,b expires=7\nend\n");
        let tokens = parse(text.as_bytes()).unwrap();
        assert_eq!((tokens[0].1.rate, write(&tokens)), (None, text));
    }

    #[test]
    fn a_part_of_it_or_a_changed_byte_is_never_taken_for_the_whole() {
        let tokens = tokens();
        let whole = write(&tokens);
        for length in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..length]).is_err(), "{length}");
        }
        for bad in [
            "",
            "\nend\n",
            "hostdir tokens 2\nend\n",
            "hostdir tokens 1\n\nend\n",
            &whole.replace("rights", "right"),
            &whole.replace("read", "write"),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let twice = whole.replace("\nend\n", &format!("\n{}\nend\n", whole.lines().nth(1).unwrap()));
        assert_eq!(parse(twice.as_bytes()).unwrap_err().line, 4);
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(bytes in "hostdir tokens 1(\n[a-z]{0,3} [0-9a-f]{64} rights=(all|none|read,add|x) folders=(/|a|a%20|%41|,|a,b) expires=(-|7|07)( rate=(1|65536|065536|x))?){0,3}\nend\n") {
            if let Ok(tokens) = parse(bytes.as_bytes()) {
                prop_assert_eq!(write(&tokens), bytes);
            }
        }
    }
}
