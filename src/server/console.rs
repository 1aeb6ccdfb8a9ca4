//! What an operator sees on the terminal: one line for whoever comes and goes, and on a terminal a live line below.
//!
//! Owns standard output. Sessions never wait for it: they hand lines to a thread, and lines beyond its queue are dropped.

use super::Shared;
use super::admission::Direction;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io::{IsTerminal, Write, stdout};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

const QUEUE: usize = 1024;
const TICK: Duration = Duration::from_secs(1);
/// Carriage return, and erase to the end of the line (ECMA-48).
const ERASE: &str = "\r\x1b[K";

/// The operator's terminal.
#[derive(Debug, Clone)]
pub struct Console {
    messages: Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Watch(Weak<Shared>),
    Flush(Sender<()>),
}

impl Console {
    /// Starts the thread that prints.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (messages, queue) = bounded(QUEUE);
        std::thread::Builder::new().name("console".into()).spawn(move || print(&queue))?;
        Ok(Self { messages })
    }

    /// Prints a line, which must be harmless text.
    pub fn say(&self, line: &str) {
        let _ = self.messages.try_send(Message::Line(line.to_owned()));
    }

    /// Waits until what was said is printed, a second at most.
    pub fn flush(&self) {
        let (done, printed) = bounded(1);
        if self.messages.send_timeout(Message::Flush(done), TICK).is_ok() {
            let _ = printed.recv_timeout(TICK);
        }
    }

    pub(super) fn watch(&self, shared: Weak<Shared>) {
        let _ = self.messages.try_send(Message::Watch(shared));
    }

    pub(super) fn joined(&self, peer: SocketAddr) {
        self.say(&format!("{} {peer} connected", clock()));
    }

    pub(super) fn left(&self, peer: SocketAddr) {
        self.say(&format!("{} {peer} left", clock()));
    }
}

fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

fn print(queue: &Receiver<Message>) {
    let is_live = stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let mut watched: Weak<Shared> = Weak::new();
    let mut rate = Rate { at: Instant::now(), bytes: 0 };
    let mut live = String::new();
    loop {
        match queue.recv_timeout(TICK) {
            Ok(Message::Line(line)) if is_live => write(&format!("{ERASE}{line}\n{live}")),
            Ok(Message::Line(line)) => write(&format!("{line}\n")),
            Ok(Message::Watch(shared)) => watched = shared,
            Ok(Message::Flush(done)) => {
                if is_live {
                    write(ERASE);
                }
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if is_live
            && rate.at.elapsed() >= TICK
            && let Some(shared) = watched.upgrade()
        {
            live = live_line(&shared, &mut rate);
            write(&format!("{ERASE}{live}"));
        }
    }
}

/// A console that cannot be written to is no reason to stop serving.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

struct Rate {
    at: Instant,
    bytes: u64,
}

fn live_line(shared: &Arc<Shared>, rate: &mut Rate) -> String {
    let sessions = shared.registry.sessions();
    let running: Vec<_> = sessions.iter().filter_map(|live| live.transfer()).collect();
    let count = |direction| running.iter().filter(|transfer| transfer.direction == direction).count();
    let moving: u64 = running.iter().map(|transfer| transfer.progress.moved()).sum();
    let bytes = shared.stats.bytes() + moving;
    let (good, bad) = shared.stats.good_and_bad();
    let speed = bytes.saturating_sub(rate.bytes) as f64 / rate.at.elapsed().as_secs_f64();
    *rate = Rate { at: Instant::now(), bytes };
    format!(
        " {} clients · {} ↓ {} ↑ · {}/s · {good} ok {bad} failed since the start ",
        sessions.len(),
        count(Direction::Download),
        count(Direction::Upload),
        bytesize::ByteSize(speed as u64).display().iec(),
    )
}
