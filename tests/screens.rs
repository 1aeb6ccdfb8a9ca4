//! What both programs show at four widths, as golden text in `tests/screens/`: whoever changes what a person sees changes a
//! file that can be looked at. `HOSTDIR_UPDATE_SCREENS=1` writes them anew. Bars, summary and the table of clients are
//! kept there by tests of the modules that draw them, which need no clock for it.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::Server;
use golden::{WIDTHS, compare, section};
use portable_pty::CommandBuilder;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use terminal::Session;

const ROWS: u16 = 26;
const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";
const INTERRUPT: &str = "\x03";
const TAB: &str = "\t";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";

/// Keys, what is seen when they were obeyed, and the first line that is kept; without one, all lines are.
struct Step {
    keys: &'static [&'static str],
    until: &'static str,
    from: &'static str,
}

/// A host directory like the one in the drawings, and a download folder in which one name is taken.
fn directories() -> [TempDir; 2] {
    let [host, here] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let pictures = host.path().join("photos/2026");
    fs::create_dir_all(pictures.join("raw")).unwrap();
    let long = "a_rather_long_and_winding_name_of_a_file_that_nobody_shortened_año nuevo.jpg";
    for (name, size) in [("beach.jpg", 8 << 20), (long, 17 << 20), ("日本語の写真.jpg", 100 << 10), ("thumb.jpg", 900)]
    {
        file(&pictures.join(name), size);
    }
    for number in 0..1_204 {
        file(&pictures.join(format!("raw/{number:04}.dng")), 26 << 20);
    }
    fs::create_dir_all(here.path().join("downloads/photos/2026")).unwrap();
    fs::write(here.path().join("downloads/photos/2026/beach.jpg"), "another beach").unwrap();
    [host, here]
}

/// A file without content that takes no space, two hours and a half old.
fn file(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(9_000)).unwrap();
}

fn screens(name: &str, steps: &[Step]) {
    let [host, here] = directories();
    let server = Server::start(host.path(), &["--name", "nas"]);
    let mut shown = String::new();
    for columns in WIDTHS {
        let mut session = menu(&server, here.path(), columns);
        for Step { keys, until, from } in steps {
            let mut screen = session.see("");
            keys.iter().for_each(|key| session.press(key));
            if !until.is_empty() {
                screen = session.see(until);
            }
            shown.push_str(&section(columns, &kept(&screen, from, server.address().port())));
        }
    }
    compare(name, &shown);
}

/// The menu at its first question.
fn menu(server: &Server, here: &Path, columns: u16) -> Session {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--ip", "127.0.0.1", "--port", &server.address().port().to_string()]);
    command.cwd(here);
    let mut session = Session::start(command, columns, ROWS, "xterm-256color");
    session.see("> Browse & download");
    session
}

/// The lines that say the same in every run. A port has five digits, as has its stand-in.
fn kept(screen: &str, from: &str, port: u16) -> String {
    let first = screen.lines().position(|line| line.contains(from)).unwrap_or(0);
    let lines: Vec<&str> = screen.lines().skip(first).collect();
    let end = port % 1_000;
    lines
        .join("\n")
        .replace(&format!("--port {port}"), "--port PORT_")
        .replace(&format!(":{port}"), ":PORT_")
        .replace(&format!("…{end:03}"), "…RT_")
}

#[test]
fn the_main_menu() {
    screens("menu", &[Step { keys: &[], until: "Esc back", from: "Browse" }]);
}

#[test]
fn the_settings_with_where_they_came_from() {
    screens("settings", &[Step { keys: &["s"], until: "Back\n ", from: "Settings" }]);
}

#[test]
fn the_picker_and_what_is_asked_before_a_download() {
    screens(
        "picker",
        &[
            Step { keys: &["b"], until: "photos/", from: "" },
            Step { keys: &[RIGHT, RIGHT], until: "raw/", from: "" },
            Step { keys: &[DOWN, TAB, TAB, TAB, ".jpg !thumb"], until: "(1 hidden)", from: "" },
            Step { keys: &[ENTER], until: "dry run", from: "Download" },
            Step { keys: &["s"], until: "for all", from: "exists" },
        ],
    );
}

#[test]
fn a_topic_is_chosen_followed_and_shows_what_arrives() {
    let mut shown = String::new();
    for columns in WIDTHS {
        let [host, here] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        fs::create_dir(host.path().join("photos")).unwrap();
        file(&here.path().join("a_rather_long_name_of_a_picture_that_nobody_shortened.jpg"), 8 << 20);
        let server = Server::start(host.path(), &["--name", "nas"]);
        let mut session = menu(&server, here.path(), columns);
        let port = server.address().port();
        for (key, until, from) in [("t", "Esc back", "Which"), (ENTER, "send a file to it", "Topic photos")] {
            session.press(key);
            session.see(from);
            shown.push_str(&section(columns, &kept(&session.see(until), from, port)));
        }
        session.press("f");
        session.see("after arrival 0");
        let mut publishing = Command::new(env!("CARGO_BIN_EXE_client"));
        publishing.args(["--quiet", "--port", &port.to_string(), "publish", "photos", "--wait", "0"]);
        publishing.arg("a_rather_long_name_of_a_picture_that_nobody_shortened.jpg").current_dir(here.path());
        assert!(publishing.status().unwrap().success());
        session.see("verified");
        session.press(ESCAPE);
        // The feed, the summary, and the menu again. How long it took is another question.
        let screen = session.see("> Topics");
        let lines = kept(&screen, "Esc stops", port);
        let feed = lines.lines().take_while(|line| !line.contains("1 of 1 file")).collect::<Vec<_>>();
        shown.push_str(&section(columns, &feed.join("\n")));
    }
    compare("topics", &shown);
}

#[test]
fn the_banner_of_the_server() {
    let mut shown = String::new();
    for columns in WIDTHS {
        let here = TempDir::new().unwrap();
        fs::create_dir_all(here.path().join("host_dir")).unwrap();
        file(&here.path().join("host_dir/big.iso"), 64 << 20);
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_server"));
        command.args(["--ip", "127.0.0.1", "--port", "0"]);
        command.cwd(here.path());
        let mut session = Session::start(command, columns, ROWS, "xterm-256color");
        let screen = session.see("0 clients");
        let (_, port) = screen.split_once("http://127.0.0.1:").unwrap();
        let port = port.split_once('/').unwrap().0.parse().unwrap();
        let end = match columns {
            100 | 60 => "today · s: who",
            40 => "0 B/s",
            _ => "0 ↓ 0 ↑",
        };
        let screen = session.see(end);
        shown.push_str(&section(columns, &kept(&screen, "", port).replace(env!("CARGO_PKG_VERSION"), "X.Y.Z")));
        session.press(INTERRUPT);
        assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    }
    compare("banner", &shown);
}
