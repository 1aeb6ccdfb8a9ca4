//! The file picker: a listing of any size, filtered as one types, with marks that outlive filters and folders.
//!
//! Owns the loop between the keyboard, the [`Model`] and the screen. Knows nothing of where the listing comes from.

mod filter;
mod marks;
mod model;
mod plain;
mod tree;
mod view;

use std::io;
use std::time::SystemTime;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, SetAttribute, SetForegroundColor};
use crossterm::{cursor, queue, style, terminal as cross};

pub use filter::Filter;
pub use marks::{Marked, Marks};
pub use model::{Key, Model, Outcome};
pub use tree::{NodeId, PickerEntry, Tree};
pub use view::{Line, Role, list_height, render};

use super::capability::{Size, Terminal};
use super::keyboard;
use super::menu::Plain;
use super::screen::{self, Screen, Surface};
use super::width::{fit_left, spelled};

/// Lets a person pick from what `model` holds; what was marked before still is. On a terminal that is too small or too simple to draw on, asks line by line.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
pub fn pick(terminal: &Terminal, model: &mut Model) -> io::Result<Outcome> {
    if terminal.refreshed().is_plain() {
        return plain::pick(model, &mut io::stdin().lock(), &mut Plain::new(terminal));
    }
    let screen = Screen::enter(Surface::Alternate)?;
    keyboard::is_waiting()?;
    draw(model, terminal)?;
    while let Some(event) = keyboard::next(&screen)? {
        if let Some(outcome) = key_of(&event).and_then(|key| model.press(key)) {
            return Ok(outcome);
        }
        // Whatever has been typed by now is answered by one drawing.
        if !keyboard::is_waiting()? {
            draw(model, terminal)?;
        }
    }
    Ok(Outcome::Quit)
}

fn key_of(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) = event else {
        return None;
    };
    let control = modifiers.contains(KeyModifiers::CONTROL);
    let key = match code {
        KeyCode::Char('c') if control => Key::Quit,
        KeyCode::Char('a') if control => Key::MarkVisible,
        KeyCode::Char('u') if control => Key::ClearFilter,
        // Terminals send Ctrl-H for Ctrl-Backspace, and some for Backspace.
        KeyCode::Char('h') if control => Key::Backspace,
        KeyCode::Char(character) if !control && !modifiers.contains(KeyModifiers::ALT) => Key::Text(*character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Right => Key::Open,
        KeyCode::Left => Key::Leave,
        KeyCode::Tab => Key::Mark,
        KeyCode::Enter => Key::Accept,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    };
    Some(key)
}

fn draw(model: &mut Model, terminal: &Terminal) -> io::Result<()> {
    let size = Size::now();
    let charset = terminal.charset();
    model.fit(list_height(model, size, charset));
    let lines = render(model, size, charset, SystemTime::now());
    let mut frame = Vec::new();
    queue!(frame, cross::BeginSynchronizedUpdate)?;
    for (row, line) in (0..).zip(&lines) {
        // Cleared before, not after: behind a full line the cursor stands on its last character.
        queue!(frame, cursor::MoveTo(0, row), cross::Clear(cross::ClearType::CurrentLine))?;
        let mut line = Line { text: spelled(&line.text, charset).into_owned(), ..line.clone() };
        if line.role == Role::CursorRow && terminal.color {
            // What is set off is set off as far as the screen goes.
            line.text = fit_left(&line.text, usize::from(size.columns), charset);
        }
        queue_line(&mut frame, &line, terminal)?;
    }
    if lines.len() < usize::from(size.rows) {
        let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        queue!(frame, cursor::MoveTo(0, below), cross::Clear(cross::ClearType::FromCursorDown))?;
    }
    queue!(frame, cross::EndSynchronizedUpdate)?;
    screen::write_frame(&frame)
}

fn queue_line(frame: &mut Vec<u8>, line: &Line, terminal: &Terminal) -> io::Result<()> {
    if !terminal.color {
        return queue!(frame, style::Print(&line.text));
    }
    match line.role {
        Role::Header => queue!(frame, SetAttribute(Attribute::Bold))?,
        Role::Row => {}
        Role::MarkedRow => queue!(frame, SetForegroundColor(Color::DarkGreen))?,
        Role::CursorRow => queue!(frame, SetAttribute(Attribute::Reverse))?,
        Role::Hint => queue!(frame, SetAttribute(Attribute::Dim))?,
    }
    queue!(frame, style::Print(&line.text), SetAttribute(Attribute::Reset))
}
