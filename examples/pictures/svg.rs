//! A screen as a picture: one SVG, with its text as text, that needs no font but a monospaced one.

use std::fmt::{self, Display, Formatter};
use vt100::{Cell, Color, Screen};

/// A character cell, in pixels: that of a font of 14.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 20.0;
const MARGIN: f32 = 18.0;
const BAR: f32 = 34.0;
const INK: &str = "#d6dbe4";
const PAPER: &str = "#15181e";

/// Text in one style, and the column where it begins.
struct Run {
    column: usize,
    columns: usize,
    text: String,
    style: Style,
}

#[derive(Clone, Copy, PartialEq)]
struct Style {
    ink: Color,
    paper: Color,
    bold: bool,
    dim: bool,
    inverse: bool,
}

/// What is on a screen, from some line on.
pub struct Picture {
    title: String,
    columns: usize,
    rows: Vec<Vec<Run>>,
}

impl Picture {
    /// The lines from the first one that begins with `from` to the last one that is not empty.
    pub fn of(screen: &Screen, title: &str, from: &str) -> Self {
        let columns = screen.size().1.get();
        let lines: Vec<String> = screen.rows(0, columns).collect();
        let first = lines.iter().position(|line| line.starts_with(from)).unwrap_or(0);
        let last = lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
        let rows = (first..=last).filter_map(|row| Some(runs(screen, u16::try_from(row).ok()?, columns))).collect();
        Self { title: title.to_owned(), columns: columns.into(), rows }
    }
}

/// The cells of a row, those of one style together. A wide character stands alone: its width is the font's own affair.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else { continue };
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let (style, columns) = (Style::of(cell), if cell.is_wide() { 2 } else { 1 });
        match runs.last_mut() {
            Some(run) if run.style == style && columns == 1 && run.columns == run.text.chars().count() => {
                run.text.push_str(text);
                run.columns += 1;
            }
            _ => runs.push(Run { column: column.into(), columns, text: text.to_owned(), style }),
        }
    }
    runs.retain(|run| !run.text.trim().is_empty() || run.style.inverse || run.style.paper != Color::Default);
    runs
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let (ink, paper) = (cell.fgcolor(), cell.bgcolor());
        Self { ink, paper, bold: cell.bold(), dim: cell.dim(), inverse: cell.inverse() }
    }
}

/// The sixteen colours of a terminal, calm ones; of others, none is used.
fn color(color: Color, otherwise: &'static str) -> &'static str {
    let Color::Idx(index) = color else { return otherwise };
    match index % 8 {
        0 => "#3b4252",
        1 => "#ef7b85",
        2 => "#9fd08a",
        3 => "#ecc47f",
        4 => "#82aaf0",
        5 => "#c79be0",
        6 => "#7fc8cf",
        _ => INK,
    }
}

impl Display for Picture {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let width = self.columns as f32 * WIDTH + 2.0 * MARGIN;
        let height = self.rows.len() as f32 * HEIGHT + BAR + 2.0 * MARGIN - 6.0;
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', 'Cascadia Mono', Menlo, Consolas, \
             monospace\" font-size=\"14\">"
        )?;
        writeln!(out, "<rect width=\"100%\" height=\"100%\" rx=\"9\" fill=\"{PAPER}\"/>")?;
        writeln!(out, "<path d=\"M0 {BAR}h{width:.0}\" stroke=\"#2b303a\"/>")?;
        let title = escaped(&self.title);
        writeln!(out, "<text x=\"{MARGIN}\" y=\"22\" fill=\"#8b93a3\" font-size=\"12.5\">{title}</text>")?;
        for (row, runs) in self.rows.iter().enumerate() {
            runs.iter().try_for_each(|run| run.write(row, out))?;
        }
        out.write_str("</svg>\n")
    }
}

impl Run {
    fn write(&self, row: usize, out: &mut Formatter<'_>) -> fmt::Result {
        let Style { ink, paper, bold, dim, inverse } = self.style;
        let (x, top) = (MARGIN + self.column as f32 * WIDTH, BAR + MARGIN - 3.0 + row as f32 * HEIGHT);
        let length = self.columns as f32 * WIDTH;
        let (mut ink, mut paper) = (color(ink, INK), color(paper, PAPER));
        if inverse {
            std::mem::swap(&mut ink, &mut paper);
        }
        if paper != PAPER {
            writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{HEIGHT}\" fill=\"{paper}\"/>"
            )?;
        }
        let weight = if bold { " font-weight=\"700\"" } else { "" };
        let faint = if dim { " opacity=\"0.65\"" } else { "" };
        let baseline = top + 14.5;
        // The length holds columns in line whatever font there is.
        writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{baseline:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
             fill=\"{ink}\"{weight}{faint} xml:space=\"preserve\">{}</text>",
            escaped(&self.text)
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
