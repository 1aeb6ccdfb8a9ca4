//! The file picker in a pseudo-terminal: real keys, a real screen.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use portable_pty::CommandBuilder;
use rustix::process::Signal;
use terminal::Session;

fn start(columns: u16, rows: u16, term: &str) -> Session {
    Session::start(CommandBuilder::new(example("picker")), columns, rows, term)
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let mut session = start(60, 12, "xterm-256color");
    session.see("Enter · Esc");
    assert!(session.is_raw() && session.screen.screen().alternate_screen() && session.screen.screen().hide_cursor());
    session.signal(Signal::TERM);
    assert_eq!(session.child.wait().unwrap().exit_code(), 143);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let mut session = start(60, 12, "xterm-256color");
    session.see("Enter · Esc");
    session.signal(Signal::USR1);
    session.see("asked to panic");
    session.see("quit");
    session.end_restored();
}

/// The example, built from the sources of now: `cargo test --test picker` alone would leave an old one.
fn example(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    // target/debug/deps/picker-…
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    BUILT.call_once(|| build(name, profile));
    profile.join("examples").join(name)
}

/// Builds an example into a profile's folder of `target`.
fn build(name: &str, profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--example", name, "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
}

const TAB: &str = "\t";
const ENTER: &str = "\r";
const CONTROL_U: &str = "\x15";
const RIGHT: &str = "\x1b[C";

#[test]
fn marks_outlive_a_changed_filter_and_are_what_is_chosen() {
    let mut session = start(100, 20, "xterm-256color");
    session.see("24 of 5,164 · 0 selected 0 B");
    session.press("jpg 0010");
    session.see("/ ");
    session.see("filter: jpg 0010");
    session.see("3 of 5,164");
    for count in 1..=3 {
        session.press(TAB);
        session.see(&format!("{count} selected"));
    }
    session.press(" !00105");
    session.see("2 of 5,164 · 3 selected (1 hidden) 307.6 KiB");
    session.press(ENTER);
    let shown = session.see("done");
    assert_eq!(shown.matches("chosen: ").count(), 3, "{shown}");
    assert!(shown.contains("/file 00105.jpg"), "{shown}");
    session.end_restored();
}

#[test]
fn a_folder_is_opened_and_its_contents_marked() {
    let mut session = start(60, 12, "xterm-256color");
    session.see("folder 00/");
    session.press(RIGHT);
    session.see("/folder 00 ");
    session.press("\x01");
    session.see("250 selected");
    session.press(ENTER);
    session.see("chosen: folder 00\n");
    session.end_restored();
}

#[test]
fn hostile_names_reach_the_screen_harmlessly() {
    let mut session = start(100, 20, "xterm-256color");
    session.see("folder 00/");
    session.press("evil");
    session.see(r"evil\u{1b}[2Jname.txt");
    session.press("\x1b");
    session.see("24 of 5,164");
    session.press("\x03");
    session.see("quit");
    session.end_restored();
    assert!(!session.raw.windows(6).any(|window| window == b"\x1b[2Jna"));
}

#[test]
fn a_narrower_window_is_drawn_anew() {
    let mut session = start(100, 20, "xterm-256color");
    session.see("type to filter");
    session.resize(40, 12);
    session.see(" Tab mark · → open · ← up · Enter · Esc");
    session.press(CONTROL_U);
    session.press("\x1b");
    session.see("back");
    session.end_restored();
}

#[test]
fn a_dumb_terminal_gets_a_numbered_list() {
    let mut session = start(80, 40, "dumb");
    session.see("20) folder 19/");
    session.press("/jpg 0010\n");
    session.see("3 of 3.");
    session.press("1-2\n");
    session.see("chosen: folder 05/sub 0/file 00105.jpg");
    session.end_restored();
    assert!(!session.raw.contains(&0x1b), "no escape sequence belongs here");
}

/// What a person feels: from the key to the screen that answers it, through a pseudo-terminal. Of a release build, whatever the
/// test is. `HOSTDIR_LONG` only: it builds that, and is about time.
#[test]
fn among_100_000_files_each_keystroke_is_answered_within_50_ms() {
    if std::env::var_os("HOSTDIR_LONG").is_none_or(|value| value == "0") {
        return;
    }
    let test = std::env::current_exe().unwrap();
    let release = test.ancestors().nth(3).unwrap().join("release");
    build("picker", &release);
    let mut command = CommandBuilder::new(release.join("examples/picker"));
    command.arg("100000");
    let mut session = Session::start(command, 100, 40, "xterm-256color");
    session.see("of 100,164 · 0 selected 0 B");
    let mut times = Vec::new();
    let mut answered = |session: &mut Session, keys: &str, by: &str| {
        let since = Instant::now();
        session.press(keys);
        session.see(by);
        times.push((since.elapsed(), by.to_owned()));
    };
    let filter = "file 0099 .jpg$ !thumb";
    for end in (1..=filter.len()).filter(|end| !filter[..*end].ends_with(' ')) {
        answered(&mut session, &filter[end - 1..end], &format!("filter: {}", &filter[..end]));
        if filter[end..].starts_with(' ') {
            session.press(" ");
        }
    }
    // The list is that of the filter, and then nothing is, and then everything.
    session.see("8 of 100,164");
    session.press(" ");
    answered(&mut session, "?", " 0 of 100,164");
    answered(&mut session, CONTROL_U, "24 of 100,164");
    // All of it marked, a folder of it unmarked, another one opened.
    answered(&mut session, "\x01", "100,004 selected");
    answered(&mut session, TAB, "95,004 selected");
    answered(&mut session, RIGHT, "/folder 01");
    times.sort();
    let (slowest, by) = times.last().unwrap();
    println!("{} keystrokes: median {:?}, slowest {slowest:?} ({by})", times.len(), times[times.len() / 2].0);
    assert!(*slowest < Duration::from_millis(50), "{times:#?}");
}
