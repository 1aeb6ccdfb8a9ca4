//! A program in a pseudo-terminal with an emulated screen: real keys, what a person would see.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::LocalModes;

/// How long something may take to be seen.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A running program and its screen.
pub struct Session {
    pub master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    pub output: Receiver<Vec<u8>>,
    pub screen: vt100::Parser,
    /// All that it printed.
    pub raw: Vec<u8>,
    pub child: Box<dyn Child + Send + Sync>,
}

impl Session {
    /// Starts `command` on a terminal of this size.
    pub fn start(mut command: CommandBuilder, columns: u16, rows: u16, term: &str) -> Self {
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR");
        Self::start_as_it_is(command, columns, rows, term)
    }

    /// As [`Session::start`], in the locale and with the colours that `command` says.
    pub fn start_as_it_is(mut command: CommandBuilder, columns: u16, rows: u16, term: &str) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        command.env("TERM", term);
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

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen shows `text`.
    pub fn see(&mut self, text: &str) -> String {
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
    pub fn read_to_end(&mut self) {
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.screen.process(&bytes);
        }
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.master.resize(size(columns, rows)).unwrap();
    }

    /// Waits for the end, and for the terminal to be as it was.
    pub fn end_restored(&mut self) {
        self.see("done");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status:?}");
        self.assert_restored();
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Whether keys reach the program one by one and unseen.
    pub fn is_raw(&self) -> bool {
        let modes = self.master.get_termios().unwrap().local_flags.bits();
        modes & LocalModes::ICANON.bits() == 0 && modes & LocalModes::ECHO.bits() == 0
    }

    /// Checks that the terminal is as it was before the program.
    pub fn assert_restored(&self) {
        assert!(!self.is_raw(), "the terminal is still raw");
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
    }
}

/// A terminal's size.
pub fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}
