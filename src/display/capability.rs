//! What the terminal can do: which streams are terminals, its size, colour, character set.
//!
//! Owns the reading of `NO_COLOR`, `TERM` and the locale. Draws nothing.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use super::charset::Charset;

/// Smallest terminal that gets drawn menus; below it, a numbered list and a typed answer.
const SMALLEST: Size = Size { columns: 24, rows: 5 };

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Character cells in a line.
    pub columns: u16,
    /// Lines on the screen.
    pub rows: u16,
}

impl Size {
    /// The size now, asked of stderr, then of stdout and stdin; 80 × 24 where none of them knows.
    #[must_use]
    pub fn now() -> Self {
        let asked = rustix::termios::tcgetwinsize(io::stderr())
            .or_else(|_| rustix::termios::tcgetwinsize(io::stdout()))
            .or_else(|_| rustix::termios::tcgetwinsize(io::stdin()));
        match asked {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Self { columns: size.ws_col, rows: size.ws_row },
            _ => Self { columns: 80, rows: 24 },
        }
    }
}

/// The signs that a terminal in the locale of this process can show.
#[must_use]
pub fn charset_of_locale() -> Charset {
    if is_utf8(&|name| std::env::var_os(name)) { Charset::Unicode } else { Charset::Ascii }
}

/// When to use colour (`--color`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal that is not dumb, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into a pipe, and whatever `NO_COLOR` says.
    Always,
    /// Not at all.
    Never,
}

/// The facts about the terminal that the program was started on. All but the size stay as they are; ask
/// [`Size::now`] or [`Terminal::refreshed`] after a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// stdin is a terminal: questions can be answered.
    pub stdin: bool,
    /// stdout is a terminal: data is read by a person.
    pub stdout: bool,
    /// stderr is a terminal: menus and bars are seen.
    pub stderr: bool,
    /// Character cells in a line when it was last asked.
    pub columns: u16,
    /// Lines on the screen when it was last asked.
    pub rows: u16,
    /// Use colour on stderr. It is never the only sign of anything.
    pub color: bool,
    /// Use colour on stdout.
    pub color_on_stdout: bool,
    /// The locale is UTF-8.
    pub unicode: bool,
    /// `TERM` is `dumb` or unset: no cursor movement.
    pub dumb: bool,
}

impl Terminal {
    /// The facts about the streams and the environment of this process.
    #[must_use]
    pub fn detect(choice: ColorChoice) -> Self {
        let streams = Streams {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        Self::from_facts(choice, streams, Size::now(), |name| std::env::var_os(name))
    }

    /// The same terminal with the size that it has now.
    #[must_use]
    pub fn refreshed(self) -> Self {
        let Size { columns, rows } = Size::now();
        Self { columns, rows, ..self }
    }

    /// Its size when it was last asked.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { columns: self.columns, rows: self.rows }
    }

    /// Whether a person can be asked: they see stderr and can type into stdin.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.stdin && self.stderr
    }

    /// Whether questions are numbered lists with a typed answer: nothing can be drawn, or there is no room to.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.dumb || !self.is_interactive() || self.columns < SMALLEST.columns || self.rows < SMALLEST.rows
    }

    /// The signs that it can show.
    #[must_use]
    pub fn charset(&self) -> Charset {
        if self.unicode { Charset::Unicode } else { Charset::Ascii }
    }

    fn from_facts(
        choice: ColorChoice,
        streams: Streams,
        size: Size,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let color = |on_terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org: set and not empty.
            ColorChoice::Auto => on_terminal && !dumb && !is_set("NO_COLOR"),
        };
        Self {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            columns: size.columns,
            rows: size.rows,
            color: color(streams.stderr),
            color_on_stdout: color(streams.stdout),
            unicode: is_utf8(&variable),
            dumb,
        }
    }
}

struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// POSIX: the first of the three variables that is set and not empty decides.
fn is_utf8(variable: &impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| names_utf8(&locale.to_string_lossy()))
}

fn names_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(choice: ColorChoice, on_terminal: bool, variables: &[(&str, &str)]) -> Terminal {
        let streams = Streams { stdin: on_terminal, stdout: on_terminal, stderr: on_terminal };
        Terminal::from_facts(choice, streams, Size { columns: 80, rows: 24 }, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn colour_follows_the_terminal_unless_it_is_refused_or_forced() {
        let xterm = ("TERM", "xterm");
        assert!(detect(ColorChoice::Auto, true, &[xterm]).color);
        assert!(!detect(ColorChoice::Auto, false, &[xterm]).color);
        assert!(!detect(ColorChoice::Auto, true, &[xterm, ("NO_COLOR", "1")]).color);
        assert!(detect(ColorChoice::Auto, true, &[xterm, ("NO_COLOR", "")]).color);
        assert!(!detect(ColorChoice::Auto, true, &[("TERM", "dumb")]).color);
        assert!(detect(ColorChoice::Always, false, &[("NO_COLOR", "1")]).color);
        assert!(!detect(ColorChoice::Never, true, &[xterm]).color);
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        assert!(detect(ColorChoice::Auto, true, &[("LANG", "es_ES.UTF-8")]).unicode);
        assert!(detect(ColorChoice::Auto, true, &[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]).unicode);
        assert!(!detect(ColorChoice::Auto, true, &[("LC_ALL", "C"), ("LANG", "es_ES.UTF-8")]).unicode);
        assert!(!detect(ColorChoice::Auto, true, &[]).unicode);
    }

    #[test]
    fn small_and_dumb_terminals_get_typed_answers() {
        let roomy = detect(ColorChoice::Auto, true, &[("TERM", "xterm")]);
        assert!(!roomy.is_plain());
        assert!(Terminal { columns: 23, ..roomy }.is_plain());
        assert!(Terminal { rows: 4, ..roomy }.is_plain());
        assert!(detect(ColorChoice::Auto, true, &[("TERM", "dumb")]).is_plain());
        assert!(detect(ColorChoice::Auto, true, &[]).is_plain());
    }
}
