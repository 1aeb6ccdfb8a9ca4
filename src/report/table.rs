//! A table that fits the terminal: figures first, the name last, elided in the middle; columns that matter least go first.

use crate::display::Charset;
use crate::display::width::{elide_middle, fit_left, fit_right, truncate, width};
use crate::logging::logfmt::settled;

/// Between two columns.
const GAP: usize = 2;
/// A name narrower than this is not worth the last of the other columns.
const LEAST: usize = 8;

/// A column of figures or short words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Side,
    /// When there is no room, the column with the smallest goes first.
    pub(super) matters: u8,
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows below titles. Each row has a cell for every column, and the name as its last.
#[derive(Debug)]
pub(super) struct Table {
    columns: &'static [Column],
    name: &'static str,
    least: usize,
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    /// `name` is the title of the last column. Below `least` it gets no narrower while several others can go.
    pub(super) fn new(columns: &'static [Column], name: &'static str, least: usize) -> Self {
        Self { columns, name, least, rows: Vec::new() }
    }

    /// Adds a row; `name` was [`shown`].
    pub(super) fn row(&mut self, cells: Vec<String>, name: String) {
        self.rows.push((cells, name));
    }

    /// The lines, none wider than `columns`.
    pub(super) fn lines(&self, columns: usize, charset: Charset) -> Vec<String> {
        let widths = self.widths();
        let shown = self.columns_that_fit(&widths, columns);
        let taken: usize =
            shown.iter().filter_map(|index| widths.get(*index)).map(|width| width.saturating_add(GAP)).sum();
        let room = columns.saturating_sub(taken);
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let line = |cells: &[String], name: &str| {
            let mut line = String::new();
            for index in &shown {
                let (Some(column), Some(width)) = (self.columns.get(*index), widths.get(*index)) else { continue };
                let cell = cells.get(*index).map_or("", String::as_str);
                let fitted = match column.side {
                    Side::Left => fit_left(cell, *width, charset),
                    Side::Right => fit_right(cell, *width, charset),
                };
                line.push_str(&fitted);
                line.push_str("  ");
            }
            line.push_str(&elide_middle(name, room, charset));
            truncate(line.trim_end(), columns, charset)
        };
        let head = line(&titles, self.name);
        std::iter::once(head).chain(self.rows.iter().map(|(cells, name)| line(cells, name))).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| width(column.title)).collect();
        for (cells, _) in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(cells) {
                *widest = width(cell).max(*widest);
            }
        }
        widths
    }

    fn columns_that_fit(&self, widths: &[usize], columns: usize) -> Vec<usize> {
        let names = self.rows.iter().map(|(_, name)| width(name)).chain([width(self.name)]);
        let longest = names.max().unwrap_or(0);
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        loop {
            let taken = shown.iter().filter_map(|index| widths.get(*index)).map(|width| width.saturating_add(GAP));
            let least = if shown.len() > 1 { self.least } else { LEAST };
            if taken.sum::<usize>().saturating_add(longest.min(least)) <= columns {
                return shown;
            }
            let least = shown.iter().filter_map(|index| Some((self.columns.get(*index)?.matters, *index))).min();
            let Some((_, least)) = least else { return shown };
            shown.retain(|index| *index != least);
        }
    }
}

/// A text from the log as it may be printed: whatever wrote the file, nothing in it reaches the terminal that must not.
pub(super) fn shown(text: &str, charset: Charset) -> String {
    let settled = settled(text);
    match charset {
        Charset::Unicode => settled,
        Charset::Ascii => settled
            .chars()
            .map(
                |character| {
                    if character.is_ascii() { character.into() } else { character.escape_unicode().to_string() }
                },
            )
            .collect::<Vec<String>>()
            .concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { title: "bytes", side: Side::Right, matters: 9 },
        Column { title: "failed", side: Side::Right, matters: 2 },
        Column { title: "client", side: Side::Left, matters: 5 },
    ];

    fn table() -> Table {
        let mut table = Table::new(COLUMNS, "path", 10);
        table.row(vec!["8.0 MiB".into(), "1".into(), "10.0.0.1".into()], "photos/a_rather_long_año nuevo.jpg".into());
        table.row(vec!["12 B".into(), "0".into(), "10.0.0.211".into()], "b".into());
        table
    }

    #[test]
    fn columns_that_matter_least_go_first() {
        let heads: Vec<String> =
            [60, 40, 30, 24, 10].map(|columns| table().lines(columns, Charset::Unicode)[0].clone()).into();
        assert_eq!(
            heads,
            [
                "  bytes  failed  client      path",
                "  bytes  failed  client      path",
                "  bytes  path",
                "  bytes  path",
                "path",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 0..120 {
            for charset in [Charset::Unicode, Charset::Ascii] {
                assert!(table().lines(columns, charset).iter().all(|line| width(line) <= columns), "{columns}");
            }
        }
    }

    #[test]
    fn what_a_damaged_log_has_in_it_reaches_no_terminal() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}ñ", Charset::Unicode), r"a\u{1b}[2J\u{202e}ñ");
        assert_eq!(shown(r"a\u{1b}ñ", Charset::Ascii), r"a\u{1b}\u{f1}");
    }
}
