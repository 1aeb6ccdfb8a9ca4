//! The file picker over 5,000 made-up files, or as many as the first argument says: prints what was chosen.
//! SIGTERM ends it as a program should end; SIGUSR1 makes a thread panic.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, SystemTime};

use hostdir::client::terminal::picker::{self, Model, Outcome, PickerEntry, Tree};
use hostdir::client::terminal::screen;
use hostdir::client::terminal::{ColorChoice, Terminal};

use signal_hook::consts::{SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

fn main() -> io::Result<()> {
    let signals = Signals::new([SIGTERM, SIGUSR1])?;
    thread::spawn(move || obey(signals));
    let files = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(5_000);
    let outcome = picker::pick(&Terminal::detect(ColorChoice::Auto), &mut Model::new(Tree::new(entries(files))))?;
    let mut stdout = io::stdout().lock();
    match outcome {
        Outcome::Chosen(paths) => {
            for path in paths {
                writeln!(stdout, "chosen: {}", hostdir::escape::harmless(&path))?;
            }
        }
        Outcome::Back => writeln!(stdout, "back")?,
        Outcome::Quit => writeln!(stdout, "quit")?,
    }
    writeln!(stdout, "done")
}

fn obey(mut signals: Signals) {
    if let Some(signal) = signals.forever().next() {
        assert!(signal != SIGUSR1, "asked to panic");
        screen::restore_now();
        std::process::exit(143);
    }
}

fn entries(files: u32) -> impl Iterator<Item = PickerEntry> {
    let now = SystemTime::now();
    let odd = [
        "año nuevo.iso",
        "日本語の写真.jpg",
        "evil\u{1b}[2Jname.txt",
        "a_rather_long_and_winding_name_that_goes_on_and_on_until_it_ends.tar.gz",
    ];
    let generated = (0..files).map(|number| {
        let kind = ["jpg", "dng", "txt"][number as usize % 3];
        (format!("folder {:02}/sub {}/file {number:05}.{kind}", number % 20, number % 7), number)
    });
    generated.chain(odd.into_iter().map(str::to_owned).zip(1..)).map(move |(path, number)| PickerEntry {
        path: path.into_bytes(),
        is_folder: false,
        size: u64::from(number) * 1_000,
        modified: Some(now - Duration::from_secs(u64::from(number) * 600)),
    })
}
