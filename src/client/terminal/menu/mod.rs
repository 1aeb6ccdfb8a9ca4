//! Menus and questions, drawn below the cursor on stderr; typed where nothing can be drawn.
//!
//! Owns the asking. What an answer does is for the caller.

mod ask;
mod inline;
mod input;
mod plain;

use std::io;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

pub use ask::{ConflictAction, Scope, Suggested, ask, ask_conflict, confirm};
pub use input::input;
pub(super) use plain::Plain;

use super::capability::{Size, Terminal};
use super::charset::Charset;
use super::width::{fit_left, truncate, width};
use inline::{Inline, Tone};

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Given(T),
    /// Esc: back to where they came from.
    Back,
    /// Ctrl-C, or the end of the input: out of the program.
    Quit,
}

impl<T> Answer<T> {
    /// The same answer, with what was given made into something else.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Given(given) => Answer::Given(make(given)),
            Self::Back => Answer::Back,
            Self::Quit => Answer::Quit,
        }
    }
}

/// One thing to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it says.
    pub label: String,
    /// The letter that chooses it at once, in either case.
    pub hotkey: Option<char>,
}

impl Item {
    /// An item that a letter chooses.
    #[must_use]
    pub fn new(label: impl Into<String>, hotkey: char) -> Self {
        Self { label: label.into(), hotkey: Some(hotkey) }
    }

    fn answers_to(&self, character: char) -> bool {
        self.hotkey.is_some_and(|hotkey| hotkey.eq_ignore_ascii_case(&character))
    }
}

/// How a menu lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All items on one line where they fit, else as [`Layout::Vertical`].
    Horizontal,
    /// An item a line.
    Vertical,
}

/// Lets a person choose one of `items`, with the cursor first on item `start`: its number, counted from 0.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
///
/// # Panics
/// Never, also without items: then the answer is [`Answer::Back`].
pub fn choose(
    terminal: &Terminal,
    title: &str,
    items: &[Item],
    layout: Layout,
    start: usize,
) -> io::Result<Answer<usize>> {
    if items.is_empty() {
        return Ok(Answer::Back);
    }
    if terminal.refreshed().is_plain() {
        return plain::choose(title, items, &mut io::stdin().lock(), &mut Plain::new(terminal));
    }
    let mut at = start.min(items.len() - 1);
    let mut inline = Inline::open(terminal)?;
    loop {
        inline.draw(&lines(title, items, layout, at, Size::now(), terminal.charset()))?;
        let Some(event) = inline.next()? else { return Ok(Answer::Quit) };
        match step(&event, items, at) {
            Step::To(next) => at = next,
            Step::End(answer) => {
                inline.erase()?;
                return Ok(answer);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    To(usize),
    End(Answer<usize>),
}

fn step(event: &Event, items: &[Item], at: usize) -> Step {
    match pressed(event) {
        Some(Pressed::Quit) => Step::End(Answer::Quit),
        Some(Pressed::Plain(KeyCode::Esc)) => Step::End(Answer::Back),
        Some(Pressed::Plain(KeyCode::Enter)) => Step::End(Answer::Given(at)),
        Some(Pressed::Plain(KeyCode::Up | KeyCode::Left | KeyCode::BackTab)) => {
            Step::To(at.checked_sub(1).unwrap_or(items.len() - 1))
        }
        Some(Pressed::Plain(KeyCode::Down | KeyCode::Right | KeyCode::Tab)) => Step::To((at + 1) % items.len()),
        Some(Pressed::Plain(KeyCode::Home)) => Step::To(0),
        Some(Pressed::Plain(KeyCode::End)) => Step::To(items.len() - 1),
        Some(Pressed::Plain(KeyCode::Char(character))) => {
            let chosen = items.iter().position(|item| item.answers_to(character));
            chosen.map_or(Step::To(at), |item| Step::End(Answer::Given(item)))
        }
        _ => Step::To(at),
    }
}

/// A key, with Ctrl-C told apart from all others.
enum Pressed {
    Quit,
    Plain(KeyCode),
    Control(char),
}

fn pressed(event: &Event) -> Option<Pressed> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event else {
        return None;
    };
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Pressed::Quit),
        KeyCode::Char(character) if modifiers.contains(KeyModifiers::CONTROL) => Some(Pressed::Control(*character)),
        KeyCode::Char(_) if modifiers.contains(KeyModifiers::ALT) => None,
        code => Some(Pressed::Plain(*code)),
    }
}

/// The menu as lines that fit `size`.
fn lines(title: &str, items: &[Item], layout: Layout, at: usize, size: Size, charset: Charset) -> Vec<(String, Tone)> {
    let columns = usize::from(size.columns);
    let mut lines = Vec::new();
    if !title.is_empty() {
        lines.push((truncate(title, columns, charset), Tone::Strong));
    }
    let row = horizontal(items, at);
    if layout == Layout::Horizontal && width(&row) <= columns {
        lines.push((row, Tone::Plain));
        lines.push((hint(charset.left_right(), columns, charset), Tone::Faint));
        return lines;
    }
    let room = usize::from(size.rows).saturating_sub(lines.len() + 2).max(1);
    let first = (at + 1).saturating_sub(room);
    for (place, item) in items.iter().enumerate().skip(first).take(room) {
        let (cursor, tone) = if place == at { ('>', Tone::Chosen) } else { (' ', Tone::Plain) };
        let label = fit_left(&item.label, columns.saturating_sub(3), charset);
        lines.push((format!(" {cursor} {}", label.trim_end()), tone));
    }
    lines.push((hint(charset.up_down(), columns, charset), Tone::Faint));
    lines
}

fn horizontal(items: &[Item], at: usize) -> String {
    let cells = items.iter().enumerate().map(|(place, item)| {
        let cursor = if place == at { '>' } else { ' ' };
        format!(" {cursor} {}", item.label)
    });
    cells.collect::<Vec<_>>().join("  ")
}

fn hint(arrows: &str, columns: usize, charset: Charset) -> String {
    let separator = charset.separator();
    let long = format!(" {arrows} move{separator}Enter{separator}Esc back{separator}Ctrl-C quit");
    if width(&long) <= columns { long } else { truncate(&format!(" Enter{separator}Esc back"), columns, charset) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        vec![Item::new("Browse & download", 'b'), Item::new("Upload", 'u'), Item::new("Quit", 'q')]
    }

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn shown(layout: Layout, columns: u16, rows: u16, charset: Charset) -> Vec<String> {
        lines("Title", &items(), layout, 1, Size { columns, rows }, charset).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn a_menu_lies_on_one_line_where_it_fits() {
        assert_eq!(
            shown(Layout::Horizontal, 60, 24, Charset::Unicode),
            ["Title", "   Browse & download   > Upload     Quit", " ←→ move · Enter · Esc back · Ctrl-C quit"]
        );
        assert_eq!(
            shown(Layout::Horizontal, 30, 24, Charset::Ascii),
            ["Title", "   Browse & download", " > Upload", "   Quit", " Enter - Esc back"]
        );
    }

    #[test]
    fn a_low_screen_scrolls_to_the_item_under_the_cursor() {
        assert_eq!(shown(Layout::Vertical, 24, 4, Charset::Unicode), ["Title", " > Upload", " Enter · Esc back"]);
    }

    #[test]
    fn arrows_go_round_and_letters_choose_at_once() {
        let items = items();
        assert_eq!(step(&key(KeyCode::Up), &items, 0), Step::To(2));
        assert_eq!(step(&key(KeyCode::Right), &items, 2), Step::To(0));
        assert_eq!(step(&key(KeyCode::Char('U')), &items, 0), Step::End(Answer::Given(1)));
        assert_eq!(step(&key(KeyCode::Char('x')), &items, 0), Step::To(0));
        assert_eq!(step(&key(KeyCode::Esc), &items, 0), Step::End(Answer::Back));
        let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(step(&control_c, &items, 0), Step::End(Answer::Quit));
    }
}
