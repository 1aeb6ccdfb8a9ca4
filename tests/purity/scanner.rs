//! Finds the paths that Rust source names outside its tests: in `use` trees, groups and aliases included, and inline.
//!
//! A tokenizer and not a parser: comments, strings and items under `#[cfg(test)]` are dropped, and every chain of
//! identifiers and `::` that is left is a path. What it cannot tell apart it reports, so a rule may see too much but
//! not too little.

use std::iter::Peekable;
use std::str::Chars;

/// A path that the source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    /// Its segments; `*` for a glob, `self` at the end of `{self}`.
    pub segments: Vec<String>,
    /// Whether a `use` or an `extern crate` names it.
    pub imported: bool,
    /// Whether it is a macro that is called.
    pub called_as_macro: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    PathSeparator,
    Sign(char),
}

/// All paths of the source, tests and comments apart.
pub fn named_paths(source: &str) -> Vec<NamedPath> {
    let tokens = without_tests(&tokenize(source));
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Name(word) if word == "use" => {
                at = tree(&tokens, skip_separator(&tokens, at + 1), &[], true, &mut paths)
            }
            Token::Name(word) if word == "extern" && tokens.get(at + 1) == Some(&name("crate")) => {
                at = tree(&tokens, at + 2, &[], true, &mut paths);
            }
            Token::Name(_) => at = tree(&tokens, at, &[], false, &mut paths),
            _ => at += 1,
        }
    }
    paths
}

/// Whether the source defines anything itself, instead of only saying what modules there are.
pub fn has_logic(source: &str) -> bool {
    const DEFINING: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "impl", "static", "const", "macro_rules"];
    let tokens = without_tests(&tokenize(source));
    tokens.iter().any(|token| matches!(token, Token::Name(word) if DEFINING.contains(&word.as_str())))
}

fn name(word: &str) -> Token {
    Token::Name(word.to_owned())
}

fn skip_separator(tokens: &[Token], at: usize) -> usize {
    if tokens.get(at) == Some(&Token::PathSeparator) { at + 1 } else { at }
}

/// Reads a path, or a tree of them, at `at`; returns the place after it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], imported: bool, paths: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::Name(word)) => segments.push(word.clone()),
            Some(Token::Sign('*')) if imported => segments.push("*".to_owned()),
            Some(Token::Sign('{')) if imported => return group(tokens, at + 1, &segments, paths),
            _ => break,
        }
        at += 1;
        if tokens.get(at) != Some(&Token::PathSeparator) {
            break;
        }
        at += 1;
    }
    let called_as_macro = !imported && tokens.get(at) == Some(&Token::Sign('!'));
    if segments.len() > prefix.len() {
        paths.push(NamedPath { segments, imported, called_as_macro });
    }
    at
}

/// Reads the members of a `{…}` in a `use`.
fn group(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Sign('}') => return at + 1,
            Token::Name(word) if word == "as" => at += 2,
            Token::Name(_) | Token::PathSeparator | Token::Sign('*' | '{') => {
                at = tree(tokens, skip_separator(tokens, at), prefix, true, paths);
            }
            Token::Sign(_) => at += 1,
        }
    }
    at
}

/// Drops every item that has `#[cfg(test)]` on it.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let sign = Token::Sign;
    let mark = [sign('#'), sign('['), name("cfg"), sign('('), name("test"), sign(')'), sign(']')];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&mark) {
            at = end_of_item(tokens, at + mark.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The place after an item: its `;`, or the brace that closes its first one. A field or a variant ends with its comma
/// or where its type ends.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') if depth == 0 => return at,
            Token::Sign('}') if depth == 1 => return at + 1,
            Token::Sign('}' | ')' | ']') => depth -= 1,
            Token::Sign(';' | ',') if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn tokenize(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '/' if rest.peek() == Some(&'/') => skip_line(&mut rest),
            '/' if rest.peek() == Some(&'*') => skip_block_comment(&mut rest),
            '"' => skip_string(&mut rest),
            '\'' => skip_character_or_lifetime(&mut rest),
            ':' if rest.peek() == Some(&':') => {
                rest.next();
                tokens.push(Token::PathSeparator);
            }
            character if character.is_alphabetic() || character == '_' => word(character, &mut rest, &mut tokens),
            character if character.is_ascii_digit() => {
                while rest.next_if(|next| next.is_alphanumeric() || *next == '_').is_some() {}
                tokens.push(Token::Sign('0'));
            }
            character if character.is_whitespace() => {}
            character => tokens.push(Token::Sign(character)),
        }
    }
    tokens
}

/// A word that began with `first`: a name, a raw name, or the prefix of a string.
fn word(first: char, rest: &mut Peekable<Chars<'_>>, tokens: &mut Vec<Token>) {
    let mut word = String::from(first);
    while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
        word.push(next);
    }
    let may_be_raw = matches!(word.as_str(), "r" | "br" | "cr");
    match rest.peek() {
        Some('"') if may_be_raw => skip_raw_string(0, rest),
        Some('#') if may_be_raw => {
            let mut hashes = 0;
            while rest.next_if_eq(&'#').is_some() {
                hashes += 1;
            }
            if rest.peek() == Some(&'"') {
                skip_raw_string(hashes, rest);
            }
            // Otherwise it was the `r#` of a raw name, which follows.
        }
        Some('"') if matches!(word.as_str(), "b" | "c") => {}
        Some('\'') if word == "b" => {}
        _ => tokens.push(Token::Name(word)),
    }
}

fn skip_line(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|next| *next != '\n').is_some() {}
}

fn skip_block_comment(rest: &mut Peekable<Chars<'_>>) {
    rest.next();
    let mut depth = 1;
    while depth > 0 {
        match (rest.next(), rest.peek()) {
            (Some('*'), Some('/')) => {
                rest.next();
                depth -= 1;
            }
            (Some('/'), Some('*')) => {
                rest.next();
                depth += 1;
            }
            (Some(_), _) => {}
            (None, _) => return,
        }
    }
}

fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    while let Some(character) = rest.next() {
        match character {
            '\\' => _ = rest.next(),
            '"' => return,
            _ => {}
        }
    }
}

/// Skips from the opening quote on, up to a quote with as many hashes as before it.
fn skip_raw_string(hashes: usize, rest: &mut Peekable<Chars<'_>>) {
    rest.next();
    while let Some(character) = rest.next() {
        if character == '"' {
            let mut found = 0;
            while found < hashes && rest.next_if_eq(&'#').is_some() {
                found += 1;
            }
            if found == hashes {
                return;
            }
        }
    }
}

fn skip_character_or_lifetime(rest: &mut Peekable<Chars<'_>>) {
    match rest.next() {
        Some('\\') => {
            rest.next();
            while rest.next().is_some_and(|next| next != '\'') {}
        }
        Some(_) if rest.peek() == Some(&'\'') => _ = rest.next(),
        _ => while rest.next_if(|next| next.is_alphanumeric() || *next == '_').is_some() {},
    }
}
