//! The picker without a screen: a numbered list and a typed answer.
//!
//! Owns the words that can be typed. Drives the same [`Model`] as the drawn picker, over any reader and writer.

use std::io::{self, BufRead, Write};

use super::model::{Key, Model, Outcome};
use super::tree::NodeId;
use crate::client::terminal::{quantity, screen};

/// Entries a page.
const PAGE: usize = 20;

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Choose(Vec<usize>),
    Open(usize),
    Up,
    Filter(String),
    More,
    Back,
    Unclear,
}

/// Asks until something was chosen. The end of the input ends the program.
pub(super) fn pick(model: &mut Model, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Outcome> {
    let mut first = 0;
    loop {
        show(model, first, output)?;
        let Some(typed) = screen::read_line(input)? else { return Ok(Outcome::Quit) };
        match read(&typed, model.rows().len()) {
            Answer::Choose(numbers) => return Ok(choose(model, &numbers)),
            Answer::More if first + PAGE < model.rows().len() => first += PAGE,
            Answer::More => first = 0,
            Answer::Back => return Ok(Outcome::Back),
            Answer::Unclear => writeln!(output, "Not understood.")?,
            listing => {
                first = 0;
                relist(model, listing);
            }
        }
    }
}

fn show(model: &Model, first: usize, output: &mut impl Write) -> io::Result<()> {
    let tree = model.tree();
    let rows = model.rows();
    writeln!(output, "{}", model.shown_folder())?;
    for (number, node) in (first + 1..).zip(rows.iter().skip(first).take(PAGE)) {
        let name = tree.shown(*node, model.folder());
        writeln!(output, "{number}) {name}  {}", quantity::size(tree.bytes(*node)))?;
    }
    let last = rows.len().min(first + PAGE);
    writeln!(
        output,
        "{last} of {}. Numbers choose (1 3-5), Enter more, o N opens, u up, /TEXT filters, q back",
        rows.len()
    )?;
    write!(output, "> ")?;
    output.flush()
}

fn read(typed: &str, rows: usize) -> Answer {
    let typed = typed.trim();
    if let Some(filter) = typed.strip_prefix('/') {
        return Answer::Filter(filter.to_owned());
    }
    if let Some(number) = typed.strip_prefix("o ") {
        return number.trim().parse().ok().filter(|n| (1..=rows).contains(n)).map_or(Answer::Unclear, Answer::Open);
    }
    match typed {
        "" => Answer::More,
        "u" => Answer::Up,
        "q" => Answer::Back,
        _ => read_numbers(typed, rows).map_or(Answer::Unclear, Answer::Choose),
    }
}

fn read_numbers(typed: &str, rows: usize) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for word in typed.split([' ', ',']).filter(|word| !word.is_empty()) {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        if from == 0 || from > to || to > rows {
            return None;
        }
        numbers.extend(from..=to);
    }
    (!numbers.is_empty()).then_some(numbers)
}

fn relist(model: &mut Model, listing: Answer) {
    match listing {
        Answer::Open(number) => {
            model.press(Key::Home);
            for _ in 1..number {
                model.press(Key::Down);
            }
            model.press(Key::Open);
        }
        Answer::Up => drop(model.press(Key::Leave)),
        Answer::Filter(filter) => {
            model.press(Key::ClearFilter);
            for character in filter.trim_start().chars() {
                model.press(Key::Text(character));
            }
        }
        _ => {}
    }
}

fn choose(model: &mut Model, numbers: &[usize]) -> Outcome {
    let chosen: Vec<NodeId> = numbers.iter().map(|number| model.rows()[number - 1]).collect();
    model.choose(&chosen)
}

#[cfg(test)]
mod tests {
    use super::super::tree::{PickerEntry, Tree};
    use super::*;

    fn pick_typing(typed: &str) -> (Outcome, String) {
        let mut model = Model::new(Tree::new((0..45).map(|number| PickerEntry {
            path: format!("{}/{number:02}.txt", if number < 5 { "few" } else { "many" }).into(),
            is_folder: false,
            size: 1_024,
            modified: None,
        })));
        let mut output = Vec::new();
        let outcome = pick(&mut model, &mut typed.as_bytes(), &mut output).unwrap();
        (outcome, String::from_utf8(output).unwrap())
    }

    fn chosen(paths: &[&str]) -> Outcome {
        Outcome::Chosen(paths.iter().map(|path| path.as_bytes().to_vec()).collect())
    }

    #[test]
    fn numbers_and_ranges_choose() {
        let (outcome, shown) = pick_typing("o 1\n1, 3-4\n");
        assert_eq!(outcome, chosen(&["few/00.txt", "few/02.txt", "few/03.txt"]));
        assert!(
            shown.starts_with("/\n1) few/  5.0 KiB\n2) many/  40.0 KiB\n") && shown.contains("\n> /few\n"),
            "{shown}"
        );
        assert_eq!(pick_typing("1-2\n").0, chosen(&["few", "many"]));
    }

    #[test]
    fn long_lists_have_pages_and_can_be_filtered() {
        let (outcome, shown) = pick_typing("o 2\n\n21\n");
        assert_eq!(outcome, chosen(&["many/25.txt"]));
        assert!(shown.contains("\n21) 25.txt"), "{shown}");
        assert_eq!(pick_typing("/txt !many\n5\n").0, chosen(&["few/04.txt"]));
        assert_eq!(pick_typing("o 2\nu\n1\n").0, chosen(&["few"]));
    }

    #[test]
    fn nonsense_is_asked_again_and_the_end_of_the_input_ends_it() {
        let (outcome, shown) = pick_typing("0\n9\n2-1\no 9\nabc\n");
        assert_eq!(outcome, Outcome::Quit);
        assert_eq!(shown.matches("Not understood").count(), 5);
        assert_eq!(pick_typing("q\n").0, Outcome::Back);
    }
}
