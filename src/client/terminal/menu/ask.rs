//! Questions that one letter answers.
//!
//! Owns the letters and how a question is put. What follows from an answer is for the caller.

use std::io;

use crossterm::event::KeyCode;

use super::inline::{Inline, Tone};
use super::plain::Plain;
use super::{Answer, Item, Pressed, plain, pressed};
use crate::client::terminal::capability::{Size, Terminal};
use crate::client::terminal::charset::Charset;
use crate::client::terminal::width::{elide_middle, flow, fold, width};
use crate::escape;

/// What Enter alone answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suggested {
    /// Enter means yes.
    Yes,
    /// Enter means no.
    No,
}

/// What to do about a name that is taken by other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictAction {
    /// Leave what is there, and do not transfer.
    Skip,
    /// Transfer under another name.
    Rename,
    /// Replace what is there.
    Overwrite,
}

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The file that was asked about.
    This,
    /// It and all that follow.
    All,
}

/// Asks for one of `items` by its letter: `Download 3 files:  (p) in parallel   (s) serially`. Enter chooses item
/// `suggested`, where there is one. The question and the answer stay on the screen.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
pub fn ask(terminal: &Terminal, question: &str, items: &[Item], suggested: Option<usize>) -> io::Result<Answer<usize>> {
    let options: Vec<String> = items.iter().map(labelled).collect();
    let read = |typed: Option<char>| match typed {
        None => suggested.filter(|place| *place < items.len()),
        Some(character) => items.iter().position(|item| item.answers_to(character)),
    };
    let record = |place: &usize| items[*place].label.clone();
    put(terminal, &Question { text: question, options }, read, record)
}

/// Asks for yes or no.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
pub fn confirm(terminal: &Terminal, question: &str, suggested: Suggested) -> io::Result<Answer<bool>> {
    let options = vec![if suggested == Suggested::Yes { "(Y/n)" } else { "(y/N)" }.to_owned()];
    let read = |typed: Option<char>| match typed.map(|character| character.to_ascii_lowercase()) {
        Some('y') => Some(true),
        Some('n') => Some(false),
        None => Some(suggested == Suggested::Yes),
        Some(_) => None,
    };
    let record = |yes: &bool| if *yes { "yes" } else { "no" }.to_owned();
    put(terminal, &Question { text: question, options }, read, record)
}

/// Asks what to do about `name`, which exists with other content. `offered` leaves out what the other side refuses.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
pub fn ask_conflict(
    terminal: &Terminal,
    name: &[u8],
    offered: &[ConflictAction],
) -> io::Result<Answer<(ConflictAction, Scope)>> {
    let shown = elide_middle(&escape::harmless(name), usize::from(Size::now().columns) / 2, terminal.charset());
    let text = format!("{shown} exists and differs");
    let mut options: Vec<String> = offered.iter().map(|action| action.option().to_owned()).collect();
    options.push("capital = for all".to_owned());
    let read = |typed: Option<char>| read_conflict(typed?, offered);
    let record = |(action, scope): &(ConflictAction, Scope)| match scope {
        Scope::This => action.word().to_owned(),
        Scope::All => format!("{}, and all that follow", action.word()),
    };
    put(terminal, &Question { text: &text, options }, read, record)
}

fn read_conflict(typed: char, offered: &[ConflictAction]) -> Option<(ConflictAction, Scope)> {
    let scope = if typed.is_ascii_uppercase() { Scope::All } else { Scope::This };
    let action = offered.iter().find(|action| action.word().starts_with(typed.to_ascii_lowercase()))?;
    Some((*action, scope))
}

impl ConflictAction {
    fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Rename => "rename",
            Self::Overwrite => "overwrite",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Skip => "(s)kip",
            Self::Rename => "(r)ename",
            Self::Overwrite => "(o)verwrite",
        }
    }
}

fn labelled(item: &Item) -> String {
    match item.hotkey {
        Some(hotkey) => format!("({hotkey}) {}", item.label),
        None => item.label.clone(),
    }
}

/// A question and the ways to answer it, as they are shown.
struct Question<'a> {
    text: &'a str,
    options: Vec<String>,
}

impl Question<'_> {
    /// On one line where it fits, else the options below the question, on as many lines as they need.
    fn lines(&self, columns: usize, charset: Charset) -> Vec<String> {
        let one_line = self.one_line();
        if width(&one_line) <= columns {
            return vec![one_line];
        }
        let mut lines = fold(&self.asked(), columns, charset);
        let room = columns.saturating_sub(2);
        if self.options.iter().all(|option| width(option) <= room) {
            lines.extend(flow(&self.options, "  ", room, charset).iter().map(|line| format!("  {line}")));
        } else {
            lines.extend(self.options.iter().flat_map(|option| fold(&format!("  {option}"), columns, charset)));
        }
        lines
    }

    fn one_line(&self) -> String {
        format!("{}  {}", self.asked(), self.options.join("   "))
    }

    fn asked(&self) -> String {
        let colon = if self.text.ends_with('?') { "" } else { ":" };
        format!("{}{colon}", self.text)
    }
}

fn put<T>(
    terminal: &Terminal,
    question: &Question<'_>,
    read: impl Fn(Option<char>) -> Option<T>,
    record: impl Fn(&T) -> String,
) -> io::Result<Answer<T>> {
    if terminal.refreshed().is_plain() {
        return plain::ask(&question.one_line(), read, &mut io::stdin().lock(), &mut Plain::new(terminal));
    }
    let charset = terminal.charset();
    let mut inline = Inline::open(terminal)?;
    loop {
        let columns = usize::from(Size::now().columns);
        let lines = question.lines(columns, charset).into_iter().map(|text| (text, Tone::Plain));
        inline.draw(&lines.collect::<Vec<_>>())?;
        let Some(event) = inline.next()? else { return Ok(Answer::Quit) };
        let typed = match pressed(&event) {
            Some(Pressed::Quit) => return close(inline, question, "", Answer::Quit),
            Some(Pressed::Plain(KeyCode::Esc)) => return close(inline, question, "", Answer::Back),
            Some(Pressed::Plain(KeyCode::Enter)) => None,
            Some(Pressed::Plain(KeyCode::Char(character))) => Some(character),
            _ => continue,
        };
        if let Some(given) = read(typed) {
            let said = record(&given);
            return close(inline, question, &said, Answer::Given(given));
        }
    }
}

fn close<T>(inline: Inline, question: &Question<'_>, said: &str, answer: Answer<T>) -> io::Result<Answer<T>> {
    let said = if said.is_empty() { "-" } else { said };
    inline.leave(&format!("{} {said}", question.asked()))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capital_letter_answers_for_all_that_follow() {
        let offered = [ConflictAction::Skip, ConflictAction::Rename];
        assert_eq!(read_conflict('s', &offered), Some((ConflictAction::Skip, Scope::This)));
        assert_eq!(read_conflict('R', &offered), Some((ConflictAction::Rename, Scope::All)));
        assert_eq!(read_conflict('o', &offered), None);
        assert_eq!(read_conflict('x', &offered), None);
    }

    #[test]
    fn a_question_takes_the_lines_that_it_needs() {
        let options = ["(s)kip", "(r)ename", "(o)verwrite", "capital = for all"].map(str::to_owned).to_vec();
        let question = Question { text: "a.iso exists and differs", options };
        assert_eq!(
            question.lines(100, Charset::Unicode),
            ["a.iso exists and differs:  (s)kip   (r)ename   (o)verwrite   capital = for all"]
        );
        assert_eq!(
            question.lines(24, Charset::Unicode),
            ["a.iso exists and", "differs:", "  (s)kip  (r)ename", "  (o)verwrite", "  capital = for all"]
        );
    }
}
