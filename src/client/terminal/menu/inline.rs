//! A few lines below the cursor that are drawn again and again, and then go.
//!
//! Owns how many lines stand on the screen. Knows nothing of what they say.

use std::io;

use crossterm::event::Event;
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::{cursor, queue, terminal as cross};

use crate::client::terminal::capability::{Size, Terminal};
use crate::client::terminal::charset::Charset;
use crate::client::terminal::keyboard;
use crate::client::terminal::screen::{self, Screen, Surface};
use crate::client::terminal::width::{fold, spelled, width};

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
    /// The lines that stand there, by their widths.
    drawn: Vec<usize>,
    /// How far to the right the cursor is in the last of them.
    cursor: usize,
    color: bool,
    charset: Charset,
}

impl Inline {
    pub(super) fn open(terminal: &Terminal) -> io::Result<Self> {
        let screen = Screen::enter(Surface::Inline)?;
        keyboard::is_waiting()?;
        Ok(Self { screen, drawn: Vec::new(), cursor: 0, color: terminal.color, charset: terminal.charset() })
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
        self.drawn = lines.iter().map(|(text, _)| width(text)).collect();
        self.cursor = self.drawn.last().copied().unwrap_or(0);
        screen::write_frame(&frame)
    }

    /// Puts one line there with a visible cursor in it, `column` cells from the left.
    pub(super) fn draw_input(&mut self, text: &str, column: u16) -> io::Result<()> {
        let mut frame = self.start_over()?;
        queue!(frame, Print(spelled(text, self.charset)), cursor::MoveToColumn(column), cursor::Show)?;
        self.drawn = vec![width(text)];
        self.cursor = usize::from(column);
        screen::write_frame(&frame)
    }

    /// Takes the lines away.
    pub(super) fn erase(self) -> io::Result<()> {
        let frame = self.start_over()?;
        screen::write_frame(&frame)
    }

    /// Leaves a text in place of the lines, for the record, and the cursor below it.
    pub(super) fn leave(self, text: &str) -> io::Result<()> {
        let mut frame = self.start_over()?;
        for line in fold(&spelled(text, self.charset), usize::from(Size::now().columns), self.charset) {
            queue!(frame, Print(line), Print("\r\n"))?;
        }
        screen::write_frame(&frame)
    }

    fn start_over(&self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        let up = rows_above_cursor(&self.drawn, self.cursor, usize::from(Size::now().columns));
        if up > 0 {
            queue!(frame, cursor::MoveUp(u16::try_from(up).unwrap_or(u16::MAX)))?;
        }
        queue!(frame, Print("\r"), cross::Clear(cross::ClearType::FromCursorDown))?;
        Ok(frame)
    }

    fn queue_line(&self, frame: &mut Vec<u8>, text: &str, tone: Tone) -> io::Result<()> {
        let text = spelled(text, self.charset);
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

/// How far up the first line starts in a window of `columns`: lines that were wider than it has become take several.
fn rows_above_cursor(widths: &[usize], cursor: usize, columns: usize) -> usize {
    let Some((_, before)) = widths.split_last() else { return 0 };
    let columns = columns.max(1);
    let above: usize = before.iter().map(|width| width.div_ceil(columns).max(1)).sum();
    // Behind a full line the cursor stands on its last character.
    above + cursor.saturating_sub(1) / columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_narrower_window_wrapped_are_found_again() {
        assert_eq!(rows_above_cursor(&[], 0, 40), 0);
        assert_eq!(rows_above_cursor(&[40, 0, 10], 10, 40), 2);
        assert_eq!(rows_above_cursor(&[40, 0, 40], 40, 40), 2);
        assert_eq!(rows_above_cursor(&[90, 10], 10, 40), 3);
        assert_eq!(rows_above_cursor(&[90], 90, 40), 2);
    }
}
