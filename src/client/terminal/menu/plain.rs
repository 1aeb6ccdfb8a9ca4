//! Questions as plain text, answered by a typed line.
//!
//! Owns the wording for terminals that cannot be drawn on. Works over any reader and writer.

use std::io::{self, BufRead, Write};

use super::{Answer, Item};
use crate::client::terminal::charset::Charset;
use crate::client::terminal::screen;
use crate::client::terminal::width::{fold, spelled};
use crate::client::terminal::{Size, Terminal};

/// Standard error as a simple terminal shows it: lines broken to its width, in its charset.
pub(in crate::client::terminal) struct Plain {
    charset: Charset,
    /// A line that is not whole yet.
    begun: Vec<u8>,
}

impl Plain {
    pub(in crate::client::terminal) fn new(terminal: &Terminal) -> Self {
        Self { charset: terminal.charset(), begun: Vec::new() }
    }

    fn shown(&mut self) -> Vec<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned();
        fold(&spelled(&line, self.charset), usize::from(Size::now().columns), self.charset)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                None => self.begun.extend_from_slice(piece),
                Some(end) => {
                    self.begun.extend_from_slice(end);
                    let lines = self.shown().join("\n");
                    writeln!(io::stderr(), "{lines}")?;
                }
            }
        }
        Ok(bytes.len())
    }

    /// What is begun is a question: its answer is typed behind it.
    fn flush(&mut self) -> io::Result<()> {
        let lines = self.shown().join("\n");
        io::stderr().write_all(lines.as_bytes())?;
        io::stderr().flush()
    }
}

/// A numbered list; the answer is a number, a letter, or `0` to go back.
pub(super) fn choose(
    title: &str,
    items: &[Item],
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer<usize>> {
    if !title.is_empty() {
        writeln!(output, "{title}")?;
    }
    for (number, item) in (1..).zip(items) {
        writeln!(output, "{number}) {}", item.label)?;
    }
    writeln!(output, "0) Back")?;
    loop {
        let Some(typed) = prompt("> ", input, output)? else { return Ok(Answer::Quit) };
        match read_choice(&typed, items) {
            Some(answer) => return Ok(answer),
            None => writeln!(output, "A number from 0 to {}, please.", items.len())?,
        }
    }
}

/// One letter, or nothing for what is suggested.
pub(super) fn ask<T>(
    question: &str,
    read: impl Fn(Option<char>) -> Option<T>,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer<T>> {
    loop {
        let Some(typed) = prompt(&format!("{question} "), input, output)? else { return Ok(Answer::Quit) };
        match read(typed.chars().next()) {
            Some(given) => return Ok(Answer::Given(given)),
            None => writeln!(output, "One of the letters, please.")?,
        }
    }
}

/// A line of text; an empty one stands for `default`.
pub(super) fn input(
    question: &str,
    default: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer<String>> {
    let question = if default.is_empty() { format!("{question}: ") } else { format!("{question} [{default}]: ") };
    let typed = prompt(&question, input, output)?;
    Ok(match typed {
        None => Answer::Quit,
        Some(typed) if typed.is_empty() => Answer::Given(default.to_owned()),
        Some(typed) => Answer::Given(typed),
    })
}

fn prompt(text: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Option<String>> {
    write!(output, "{text}")?;
    output.flush()?;
    Ok(screen::read_line(input)?.map(|typed| typed.trim().to_owned()))
}

fn read_choice(typed: &str, items: &[Item]) -> Option<Answer<usize>> {
    if let Ok(number) = typed.parse::<usize>() {
        return match number.checked_sub(1) {
            None => Some(Answer::Back),
            Some(place) => (place < items.len()).then_some(Answer::Given(place)),
        };
    }
    let mut characters = typed.chars();
    let (letter, None) = (characters.next()?, characters.next()) else { return None };
    items.iter().position(|item| item.answers_to(letter)).map(Answer::Given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        vec![Item::new("Browse", 'b'), Item::new("Quit", 'q')]
    }

    fn choose_typing(typed: &str) -> (Answer<usize>, String) {
        let mut output = Vec::new();
        let answer = choose("Menu", &items(), &mut typed.as_bytes(), &mut output).unwrap();
        (answer, String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_number_or_a_letter_chooses() {
        assert_eq!(choose_typing("2\n"), (Answer::Given(1), "Menu\n1) Browse\n2) Quit\n0) Back\n> ".to_owned()));
        assert_eq!(choose_typing("B\n").0, Answer::Given(0));
        assert_eq!(choose_typing("0\n").0, Answer::Back);
        assert_eq!(choose_typing("").0, Answer::Quit);
    }

    #[test]
    fn nonsense_is_asked_again() {
        let (answer, shown) = choose_typing("3\nfoo\n\n1\n");
        assert_eq!(answer, Answer::Given(0));
        assert_eq!(shown.matches("please").count(), 3);
    }

    #[test]
    fn an_empty_line_takes_the_default() {
        let ask = |typed: &str| input("Folder", "./downloads", &mut typed.as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(ask("\n"), Answer::Given("./downloads".to_owned()));
        assert_eq!(ask("x y\n"), Answer::Given("x y".to_owned()));
        assert_eq!(ask(""), Answer::Quit);
    }
}
