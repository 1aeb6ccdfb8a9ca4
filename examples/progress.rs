//! The progress display over made-up transfers: `progress [FILES] [WORKERS]`, at once 40 and 8.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hostdir::client::terminal::menu::{self, ConflictAction};
use hostdir::client::terminal::progress::{Display, Outcome, Progress};
use hostdir::client::terminal::{ColorChoice, Terminal};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (files, workers) = (arguments.next().unwrap_or(40), arguments.next().unwrap_or(8));
    let terminal = Terminal::detect(ColorChoice::Auto);
    let progress = Progress::new(&terminal, Display::suited_to(&terminal));
    progress.expect(files, (0..files).map(size).sum());
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < files) {
                    transfer(&progress, &terminal, number);
                }
            });
        }
    });
    progress.finish();
    Ok(())
}

fn size(number: u64) -> u64 {
    (number % 7 + 1) * 20_000_000
}

fn transfer(progress: &Progress, terminal: &Terminal, number: u64) {
    let name = format!("photos/2026/a_rather_long_name_for_file_{number}_año nuevo.iso");
    let transfer = progress.start(name.as_bytes(), Some(size(number)), 0);
    while transfer.done() < size(number) {
        transfer.add(1_000_000);
        thread::sleep(Duration::from_millis(20));
    }
    if number == 20 && terminal.is_interactive() {
        let offered = [ConflictAction::Skip, ConflictAction::Rename];
        let answer = progress.suspend(|| menu::ask_conflict(terminal, name.as_bytes(), &offered));
        progress.println(&format!("answered: {answer:?}"));
    }
    transfer.finish(match number % 5 {
        3 => Outcome::Failed("server went away at 7 MB, partial kept".to_owned()),
        4 => Outcome::Kept,
        _ => Outcome::Complete,
    });
}
