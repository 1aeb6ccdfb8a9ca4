//! The menu's screens at four widths, as golden text in `tests/screens/`: whoever changes what a person sees changes a file
//! that can be looked at. `HOSTDIR_UPDATE_SCREENS=1` writes them anew.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::Server;
use portable_pty::CommandBuilder;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use terminal::Session;

const WIDTHS: [u16; 4] = [100, 60, 40, 24];
const ROWS: u16 = 16;
const ENTER: &str = "\r";
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
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_client"));
        command.args(["--ip", "127.0.0.1", "--port", &server.address().port().to_string()]);
        command.cwd(here.path());
        let mut session = Session::start(command, columns, ROWS, "xterm-256color");
        session.see("> Browse & download");
        for Step { keys, until, from } in steps {
            let mut screen = session.see("");
            keys.iter().for_each(|key| session.press(key));
            if !until.is_empty() {
                screen = session.see(until);
            }
            shown.push_str(&format!("== {columns} columns\n{}\n", kept(&screen, from, server.address().port())));
        }
    }
    compare(name, &shown);
}

/// The lines that say the same in every run. A port has five digits, as has its stand-in.
fn kept(screen: &str, from: &str, port: u16) -> String {
    let first = screen.lines().position(|line| line.contains(from)).unwrap_or(0);
    let lines: Vec<&str> = screen.lines().skip(first).map(str::trim_end).collect();
    let end = port % 1_000;
    lines.join("\n").trim_end().replace(&format!(":{port}"), ":PORT_").replace(&format!("…{end:03}"), "…RT_")
}

fn compare(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("HOSTDIR_UPDATE_SCREENS").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    assert_eq!(shown, golden, "{} differs; HOSTDIR_UPDATE_SCREENS=1 writes it anew:\n{shown}", path.display());
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
