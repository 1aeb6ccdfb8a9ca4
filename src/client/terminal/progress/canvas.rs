//! The rows on the screen: indicatif's bar, drawn onto a surface of our own.
//!
//! Owns what stands on the screen and how it is replaced. Indicatif's own surface fills every row with spaces up to
//! the edge and counts on the terminal to wrap it, which falls apart when the window is made narrower; this one ends
//! each row with a line end, knows how wide each was, and so finds its way back to the first one after a resize. A
//! frame is one write.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::board::Board;
use super::lock;
use crate::client::terminal::capability::Size;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::width::{fold, spelled, width};

/// Wider and higher than any screen: rows are cut to size before they come here.
const UNBOUNDED: u16 = 4_096;

/// All rows as one indicatif bar, so that they are drawn in one go.
#[derive(Debug)]
pub(super) struct Bars {
    bar: ProgressBar,
    canvas: Canvas,
    size: fn() -> Size,
    charset: Charset,
}

impl Bars {
    pub(super) fn new(output: Box<dyn Write + Send>, size: fn() -> Size, charset: Charset) -> Self {
        let canvas = Canvas(Arc::new(Mutex::new(Frame::new(output, size))));
        let target = ProgressDrawTarget::term_like(Box::new(canvas.clone()));
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, canvas, size, charset }
    }

    /// Shows the board as it is now.
    pub(super) fn draw(&mut self, board: &mut Board) {
        let size = (self.size)();
        self.add_above(board.finished_lines(size, Instant::now()));
        let rows: Vec<_> = board.rows(size).iter().map(|row| spelled(row, self.charset).into_owned()).collect();
        self.bar.set_message(rows.join("\n"));
    }

    /// Takes the rows away, and leaves the lines of what ended.
    pub(super) fn close(&mut self, board: &mut Board) {
        let size = (self.size)();
        self.add_above(board.last_lines(size, Instant::now()));
        self.bar.finish_and_clear();
    }

    /// Prints `line` above the rows, at once.
    pub(super) fn print_above(&mut self, line: &str) {
        self.add_above(fold(line, usize::from((self.size)().columns), self.charset));
        self.bar.tick();
    }

    fn add_above(&self, lines: Vec<String>) {
        let lines = lines.iter().map(|line| spelled(line, self.charset).into_owned());
        lock(&self.canvas.0).above.extend(lines);
    }

    pub(super) fn suspend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }
}

/// The surface that indicatif draws on.
#[derive(Debug, Clone)]
struct Canvas(Arc<Mutex<Frame>>);

struct Frame {
    output: Box<dyn Write + Send>,
    size: fn() -> Size,
    /// Lines to print above the rows with the next frame.
    above: Vec<String>,
    /// The rows of the frame that is being put together.
    rows: Vec<String>,
    /// Indicatif writes each row and then the spaces that fill it; those are not wanted.
    filler_is_next: bool,
    /// The rows that stand on the screen, by their widths.
    standing: Vec<usize>,
}

impl Frame {
    fn new(output: Box<dyn Write + Send>, size: fn() -> Size) -> Self {
        Self { output, size, above: Vec::new(), rows: Vec::new(), filler_is_next: false, standing: Vec::new() }
    }

    fn write_piece(&mut self, piece: &str) {
        if !self.filler_is_next {
            self.rows.push(piece.to_owned());
        }
        self.filler_is_next = !self.filler_is_next;
    }

    fn show(&mut self) -> io::Result<()> {
        let mut frame = String::from("\r");
        let up = self.height_of_standing();
        if up > 0 {
            frame = format!("\r\x1b[{up}A");
        }
        let rows: Vec<String> = self.rows.drain(..).filter(|row| !row.is_empty()).collect();
        for line in self.above.drain(..).chain(rows.iter().cloned()) {
            frame.push_str(&line);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        self.standing = rows.iter().map(|row| width(row)).collect();
        self.filler_is_next = false;
        self.output.write_all(frame.as_bytes())?;
        self.output.flush()
    }

    /// Screen lines that the last frame takes up now: a row that was wider than the window has become is on several.
    fn height_of_standing(&self) -> usize {
        let columns = usize::from((self.size)().columns).max(1);
        self.standing.iter().map(|row| row.div_ceil(columns).max(1)).sum()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Frame").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// Cursor movements and clearing are left out: a frame knows where it has to start.
impl TermLike for Canvas {
    fn width(&self) -> u16 {
        UNBOUNDED
    }

    fn height(&self) -> u16 {
        UNBOUNDED
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        lock(&self.0).rows.push(line.to_owned());
        Ok(())
    }

    fn write_str(&self, piece: &str) -> io::Result<()> {
        lock(&self.0).write_piece(piece);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        lock(&self.0).show()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    static COLUMNS: AtomicU16 = AtomicU16::new(100);

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn rows_that_a_narrower_window_wrapped_are_drawn_over() {
        let written = Written::default();
        let size = || Size { columns: COLUMNS.load(Ordering::Relaxed), rows: 10 };
        let mut frame = Frame::new(Box::new(written.clone()), size);
        let mut draw = |rows: &[&str], columns: u16| {
            COLUMNS.store(columns, Ordering::Relaxed);
            frame.rows = rows.iter().map(|row| (*row).to_owned()).collect();
            frame.show().unwrap();
            String::from_utf8(std::mem::take(&mut *lock(&written.0))).unwrap()
        };
        let wide = "x".repeat(90);
        assert_eq!(draw(&[&wide, "total"], 100), format!("\r{wide}\x1b[K\r\ntotal\x1b[K\r\n\x1b[J"));
        assert_eq!(draw(&["x", "total"], 40), "\r\x1b[4Ax\x1b[K\r\ntotal\x1b[K\r\n\x1b[J");
        assert_eq!(draw(&[], 40), "\r\x1b[2A\x1b[J");
    }
}
