//! The file picker in a pseudo-terminal: real keys, a real screen.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::LocalModes;

const PATIENCE: Duration = Duration::from_secs(30);

struct Session {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
    child: Box<dyn Child + Send + Sync>,
}

impl Session {
    fn start(columns: u16, rows: u16, term: &str) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let mut command = CommandBuilder::new(example("picker"));
        command.env("TERM", term);
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 100);
        Self { master: pair.master, keys, output, screen, raw: Vec::new(), child }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen shows `text`.
    fn see(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let contents = self.screen.screen().contents();
            if contents.contains(text) {
                return contents;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.raw.extend_from_slice(&bytes);
                }
                Err(_) => panic!("{text:?} was not seen; the screen says:\n{contents}"),
            }
        }
    }

    /// Takes in what is left once the other side is gone.
    fn read_to_end(&mut self) {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.screen.process(&bytes);
        }
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.master.resize(size(columns, rows)).unwrap();
    }

    /// Waits for the end, and for the terminal to be as it was.
    fn end_restored(&mut self) {
        self.see("done");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status:?}");
        self.assert_restored();
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = self.master.get_termios().unwrap().local_flags.bits();
        modes & LocalModes::ICANON.bits() == 0 && modes & LocalModes::ECHO.bits() == 0
    }

    fn assert_restored(&self) {
        assert!(!self.is_raw(), "the terminal is still raw");
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let mut session = Session::start(60, 12, "xterm-256color");
    session.see("Enter · Esc");
    assert!(session.is_raw() && session.screen.screen().alternate_screen() && session.screen.screen().hide_cursor());
    session.signal(Signal::TERM);
    assert_eq!(session.child.wait().unwrap().exit_code(), 143);
    session.read_to_end();
    session.assert_restored();
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let mut session = Session::start(60, 12, "xterm-256color");
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
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "--example", name, "--manifest-path"]);
        cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    });
    profile.join("examples").join(name)
}

const TAB: &str = "\t";
const ENTER: &str = "\r";
const CONTROL_U: &str = "\x15";
const RIGHT: &str = "\x1b[C";

#[test]
fn marks_outlive_a_changed_filter_and_are_what_is_chosen() {
    let mut session = Session::start(100, 20, "xterm-256color");
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
    let mut session = Session::start(60, 12, "xterm-256color");
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
    let mut session = Session::start(100, 20, "xterm-256color");
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
    let mut session = Session::start(100, 20, "xterm-256color");
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
    let mut session = Session::start(80, 40, "dumb");
    session.see("20) folder 19/");
    session.press("/jpg 0010\n");
    session.see("3 of 3.");
    session.press("1-2\n");
    session.see("chosen: folder 05/sub 0/file 00105.jpg");
    session.end_restored();
    assert!(!session.raw.contains(&0x1b), "no escape sequence belongs here");
}
