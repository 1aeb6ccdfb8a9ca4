//! The menus and questions, one after the other: prints what was answered.

use std::io::{self, Write};

use hostdir::client::terminal::menu::{self, ConflictAction, Item, Layout, Suggested};
use hostdir::client::terminal::{ColorChoice, Terminal};

fn main() -> io::Result<()> {
    let terminal = Terminal::detect(ColorChoice::Auto);
    let items = [
        Item::new("Browse & download", 'b'),
        Item::new("Upload", 'u'),
        Item::new("Topics", 't'),
        Item::new("Settings", 's'),
        Item::new("Quit", 'q'),
    ];
    let mut stdout = io::stdout();
    let answer = menu::choose(&terminal, "Connected to nas", &items, Layout::Horizontal, 0)?;
    writeln!(stdout, "answered: {answer:?}")?;
    let answer = menu::input(&terminal, "Save in", "./downloads")?;
    writeln!(stdout, "answered: {answer:?}")?;
    let how = [Item::new("in parallel", 'p'), Item::new("serially", 's'), Item::new("dry run", 'd')];
    let answer = menu::ask(&terminal, "Download 3 files, 25.1 MiB", &how, Some(0))?;
    writeln!(stdout, "answered: {answer:?}")?;
    let offered = [ConflictAction::Skip, ConflictAction::Rename, ConflictAction::Overwrite];
    let answer = menu::ask_conflict(&terminal, "año\u{1b}nuevo.iso".as_bytes(), &offered)?;
    writeln!(stdout, "answered: {answer:?}")?;
    let answer = menu::confirm(&terminal, "Leave?", Suggested::No)?;
    writeln!(stdout, "answered: {answer:?}")
}
