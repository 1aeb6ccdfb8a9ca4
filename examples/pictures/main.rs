//! The pictures of the README: real screens of the real programs, drawn into a folder. See `scripts/pictures`.
//!
//! A server on a temporary folder, a client in a pseudo-terminal behind a link that is slow enough to look at, and the page in
//! a browser without a window. What the screens show is what the programs drew; only the colours are chosen here.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "whoever runs this wants to see what went wrong")]

#[path = "../../tests/common/terminal.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod terminal;

mod stage;
mod svg;

use portable_pty::CommandBuilder;
use stage::Stage;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use svg::Picture;
use terminal::Session;

const COLUMNS: u16 = 92;
const ROWS: u16 = 22;
const TAB: &str = "\t";
const ENTER: &str = "\r";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";
const DOWN: &str = "\x1b[B";
const INTERRUPT: &str = "\x03";

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("the folder to draw into"));
    let stage = Stage::build(&programs());
    client(&stage, &folder);
    page(&stage, &folder);
}

/// Where cargo put the programs: target/PROFILE, above examples/.
fn programs() -> PathBuf {
    let example = std::env::current_exe().unwrap();
    example.ancestors().nth(2).unwrap().to_path_buf()
}

/// The menu, the picker, and a parallel download in its middle.
fn client(stage: &Stage, folder: &Path) {
    let mut command = CommandBuilder::new(programs().join("client"));
    command.args(["--ip", "127.0.0.1", "--port", &stage.slow_port().to_string(), "--dir", "./downloads"]);
    command.cwd(stage.here());
    let mut session = Session::start(command, COLUMNS, ROWS, "xterm-256color");
    session.see("Ctrl-C quit");
    draw(&session, folder, "menu", "client", "Connected to");

    session.press("b");
    session.see("videos/");
    // One film is marked, and is out of sight when the photos are looked at.
    session.press(DOWN);
    session.press(DOWN);
    session.press(RIGHT);
    session.see("/videos");
    session.press(TAB);
    session.see("1 selected");
    session.press(LEFT);
    session.see("recipes/");
    session.press("\x1b[A");
    session.press("\x1b[A");
    session.press(RIGHT);
    session.see("2026/");
    session.press(DOWN);
    session.press(RIGHT);
    session.see("/photos/2026");
    session.press(".jpg !thumb");
    session.see("filter: .jpg !thumb");
    for marked in 2..=4 {
        session.press(TAB);
        session.see(&format!("{marked} selected"));
    }
    draw(&session, folder, "picker", "client · Browse & download", "");

    // All photos, and all films.
    session.press("\x01");
    session.see("13 selected");
    session.press("\x15");
    session.press(LEFT);
    session.see("/photos ");
    session.press(LEFT);
    session.see("recipes/");
    session.press(DOWN);
    session.press(DOWN);
    session.press(TAB);
    session.see("16 selected");
    session.press(ENTER);
    session.see("(p) in parallel");
    session.press("p");
    // The largest come first: the films are on their way while photos pass by.
    session.see("TOTAL 4/16");
    draw(&session, folder, "bars", "client · 16 files in parallel", " ✓");
    session.press(INTERRUPT);
    session.see("Retry:");
    session.press("q");
    session.child.wait().unwrap();
}

fn draw(session: &Session, folder: &Path, name: &str, title: &str, from: &str) {
    let picture = Picture::of(session.screen.screen(), title, from);
    std::fs::write(folder.join(name).with_extension("svg"), picture.to_string()).unwrap();
}

/// The page, as a browser shows it.
fn page(stage: &Stage, folder: &Path) {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let works = |name: &&&str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let Some(browser) = browsers.iter().find(works) else {
        eprintln!("no Chromium: page.png stays as it is");
        return;
    };
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--lang=en"]);
    command.args(["--window-size=1180,660", "--timeout=5000", "--virtual-time-budget=3000"]);
    command.arg(format!("--user-data-dir={}", stage.here().join("browser").display()));
    command.arg(format!("--screenshot={}", folder.join("page.png").display()));
    command.arg(format!("http://127.0.0.1:{}/#/photos/2026", stage.port()));
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{browser}: {status}");
}
