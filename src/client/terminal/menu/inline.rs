//! A few lines below the cursor that are drawn again and again, and then go.
//!
//! Owns how many lines stand on the screen. Knows nothing of what they say.

use std::io;

use crossterm::event::Event;
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::{cursor, queue, terminal as cross};

use crate::client::terminal::capability::Terminal;
use crate::client::terminal::keyboard;
use crate::client::terminal::screen::{self, Screen, Surface};

/// How a line is set off, where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Chosen,
    Faint,
}

/// The lines, and raw input as long as they stand.
pub(super) struct Inline {
    screen: Screen,
    drawn: u16,
    color: bool,
}

impl Inline {
    pub(super) fn open(terminal: &Terminal) -> io::Result<Self> {
        let screen = Screen::enter(Surface::Inline)?;
        keyboard::is_waiting()?;
        Ok(Self { screen, drawn: 0, color: terminal.color })
    }

    /// The next key or resize; none once the screen was given back.
    pub(super) fn next(&self) -> io::Result<Option<Event>> {
        keyboard::next(&self.screen)
    }

    /// Puts `lines` where the last ones stood. None of them may be wider than the screen.
    pub(super) fn draw(&mut self, lines: &[(String, Tone)]) -> io::Result<()> {
        let mut frame = self.start_over()?;
        for (place, (text, tone)) in lines.iter().enumerate() {
            if place > 0 {
                queue!(frame, Print("\r\n"))?;
            }
            self.queue_line(&mut frame, text, *tone)?;
        }
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        screen::write_frame(&frame)
    }

    /// Puts one line there with a visible cursor in it, `column` cells from the left.
    pub(super) fn draw_input(&mut self, text: &str, column: u16) -> io::Result<()> {
        let mut frame = self.start_over()?;
        queue!(frame, Print(text), cursor::MoveToColumn(column), cursor::Show)?;
        self.drawn = 1;
        screen::write_frame(&frame)
    }

    /// Takes the lines away.
    pub(super) fn erase(mut self) -> io::Result<()> {
        let frame = self.start_over()?;
        self.drawn = 0;
        screen::write_frame(&frame)
    }

    /// Leaves one line in place of the lines, for the record, and the cursor below it.
    pub(super) fn leave(mut self, text: &str) -> io::Result<()> {
        let mut frame = self.start_over()?;
        queue!(frame, Print(text), Print("\r\n"))?;
        self.drawn = 0;
        screen::write_frame(&frame)
    }

    fn start_over(&self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        if self.drawn > 1 {
            queue!(frame, cursor::MoveUp(self.drawn - 1))?;
        }
        queue!(frame, Print("\r"), cross::Clear(cross::ClearType::FromCursorDown))?;
        Ok(frame)
    }

    fn queue_line(&self, frame: &mut Vec<u8>, text: &str, tone: Tone) -> io::Result<()> {
        if !self.color || tone == Tone::Plain {
            return queue!(frame, Print(text));
        }
        let attribute = match tone {
            Tone::Plain | Tone::Strong => Attribute::Bold,
            Tone::Chosen => Attribute::Reverse,
            Tone::Faint => Attribute::Dim,
        };
        queue!(frame, SetAttribute(attribute), Print(text), SetAttribute(Attribute::Reset))
    }
}
