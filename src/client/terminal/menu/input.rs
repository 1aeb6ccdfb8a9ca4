//! A line of text to type.
//!
//! Owns the editing of one line. What the text is for, and whether it will do, is for the caller.

use std::io;

use crossterm::event::KeyCode;

use super::inline::Inline;
use super::plain::Plain;
use super::{Answer, Pressed, plain, pressed};
use crate::client::terminal::capability::{Size, Terminal};
use crate::client::terminal::charset::Charset;
use crate::client::terminal::width::{truncate, width};
use crate::escape;

/// Asks for a line of text, which starts out as `default` and can be edited.
///
/// # Errors
/// The terminal could not be read, written or put into raw mode.
pub fn input(terminal: &Terminal, prompt: &str, default: &str) -> io::Result<Answer<String>> {
    if terminal.refreshed().is_plain() {
        return plain::input(prompt, default, &mut io::stdin().lock(), &mut Plain::new(terminal));
    }
    let mut edited = Edited::new(default);
    let mut inline = Inline::open(terminal)?;
    loop {
        let (text, column) = edited.shown(prompt, usize::from(Size::now().columns), terminal.charset());
        inline.draw_input(&text, column)?;
        let Some(event) = inline.next()? else { return Ok(Answer::Quit) };
        let Some(pressed) = pressed(&event) else { continue };
        if let Some(answer) = edited.press(&pressed) {
            inline.leave(&text)?;
            return Ok(answer.map(|()| edited.text()));
        }
    }
}

/// A line and the cursor in it, counted in characters.
struct Edited {
    characters: Vec<char>,
    cursor: usize,
}

impl Edited {
    fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        Self { cursor: characters.len(), characters }
    }

    fn text(&self) -> String {
        self.characters.iter().collect()
    }

    fn press(&mut self, pressed: &Pressed) -> Option<Answer<()>> {
        match pressed {
            Pressed::Quit => return Some(Answer::Quit),
            Pressed::Plain(KeyCode::Esc) => return Some(Answer::Back),
            Pressed::Plain(KeyCode::Enter) => return Some(Answer::Given(())),
            Pressed::Plain(KeyCode::Left) => self.cursor = self.cursor.saturating_sub(1),
            Pressed::Plain(KeyCode::Right) => self.cursor = (self.cursor + 1).min(self.characters.len()),
            Pressed::Plain(KeyCode::Home) | Pressed::Control('a') => self.cursor = 0,
            Pressed::Plain(KeyCode::End) | Pressed::Control('e') => self.cursor = self.characters.len(),
            Pressed::Plain(KeyCode::Backspace) | Pressed::Control('h') if self.cursor > 0 => {
                self.cursor -= 1;
                self.characters.remove(self.cursor);
            }
            Pressed::Plain(KeyCode::Delete) if self.cursor < self.characters.len() => {
                self.characters.remove(self.cursor);
            }
            Pressed::Control('u') => {
                self.characters.drain(..self.cursor);
                self.cursor = 0;
            }
            Pressed::Control('w') => self.delete_word(),
            Pressed::Plain(KeyCode::Char(character)) => {
                self.characters.insert(self.cursor, *character);
                self.cursor += 1;
            }
            _ => {}
        }
        None
    }

    fn delete_word(&mut self) {
        let before = &self.characters[..self.cursor];
        let end = before.iter().rposition(|character| !character.is_whitespace()).map_or(0, |place| place + 1);
        let start = before[..end].iter().rposition(|character| character.is_whitespace()).map_or(0, |place| place + 1);
        self.characters.drain(start..self.cursor);
        self.cursor = start;
    }

    /// The line and the cursor's column. A text that is too long shows the part that leads up to the cursor.
    fn shown(&self, prompt: &str, columns: usize, charset: Charset) -> (String, u16) {
        let prompt = truncate(&format!("{prompt}: "), columns / 2, charset);
        let room = columns.saturating_sub(width(&prompt) + 1);
        let harmless = |characters: &[char]| escape::harmless(characters.iter().collect::<String>().as_bytes());
        let mut start = 0;
        while width(&harmless(&self.characters[start..self.cursor])) > room {
            start += 1;
        }
        let before = harmless(&self.characters[start..self.cursor]);
        let mut end = self.characters.len();
        while width(&harmless(&self.characters[start..end])) > room && end > self.cursor {
            end -= 1;
        }
        let column = width(&prompt) + width(&before);
        let text = format!("{prompt}{}", harmless(&self.characters[start..end]));
        (text, u16::try_from(column).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(edited: &mut Edited, text: &str) {
        for character in text.chars() {
            assert!(edited.press(&Pressed::Plain(KeyCode::Char(character))).is_none());
        }
    }

    #[test]
    fn the_line_is_edited_where_the_cursor_is() {
        let mut edited = Edited::new("./downlods");
        edited.press(&Pressed::Plain(KeyCode::Left));
        edited.press(&Pressed::Plain(KeyCode::Left));
        typed(&mut edited, "a");
        assert_eq!(edited.text(), "./downloads");
        edited.press(&Pressed::Plain(KeyCode::Home));
        edited.press(&Pressed::Plain(KeyCode::Delete));
        edited.press(&Pressed::Plain(KeyCode::Backspace));
        assert_eq!(edited.text(), "/downloads");
        edited.press(&Pressed::Plain(KeyCode::End));
        typed(&mut edited, " two words ");
        edited.press(&Pressed::Control('w'));
        assert_eq!(edited.text(), "/downloads two ");
        edited.press(&Pressed::Control('u'));
        assert_eq!((edited.text().as_str(), edited.cursor), ("", 0));
    }

    #[test]
    fn a_long_text_shows_what_leads_up_to_the_cursor() {
        let mut edited = Edited::new("abcdefghijklmnopqrstuvwxyz");
        assert_eq!(edited.shown("Name", 20, Charset::Unicode), ("Name: nopqrstuvwxyz".to_owned(), 19));
        edited.press(&Pressed::Plain(KeyCode::Home));
        assert_eq!(edited.shown("Name", 20, Charset::Unicode), ("Name: abcdefghijklm".to_owned(), 6));
    }
}
