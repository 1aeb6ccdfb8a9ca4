//! What an operator sees on the terminal: the banner, one line for whoever comes and goes, a live line below, and the
//! clients at the press of a key.
//!
//! Owns standard output, and the keys if both it and standard input are a terminal. Sessions never wait for it: they hand
//! lines to a thread, and lines beyond its queue are dropped. What is printed knows nothing of how it was counted.

mod banner;
mod clients;
mod keys;
mod live;
mod qr;

pub use banner::Banner;

use super::Shared;
use crate::display::{Charset, ColorChoice, Size, Terminal};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use keys::Keys;
use live::{Figures, Meter};
use std::io::{Write, stdout};
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
    terminal: Terminal,
    keys: Arc<Keys>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Watch(Weak<Shared>),
    /// Somebody wants to see who is connected.
    Clients,
    /// The server stops, at this moment at the latest.
    Drain(Instant),
    Flush(Sender<()>),
}

impl Console {
    /// Starts the threads that print and that take keys.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (messages, queue) = bounded(QUEUE);
        let terminal = Terminal::detect(ColorChoice::Auto);
        let keys = Arc::new(Keys::default());
        let takes_keys = terminal.stdin && is_live(&terminal);
        let mut printer = Printer::new(terminal, takes_keys);
        std::thread::Builder::new().name("console".into()).spawn(move || printer.run(&queue))?;
        if takes_keys {
            let (keys, pressed) = (Arc::clone(&keys), messages.clone());
            let ask = move || drop(pressed.try_send(Message::Clients));
            std::thread::Builder::new().name("keys".into()).spawn(move || keys.watch(&ask))?;
        }
        Ok(Self { messages, terminal, keys })
    }

    /// Prints a line, which must be harmless text.
    pub fn say(&self, line: &str) {
        let _ = self.messages.try_send(Message::Line(line.to_owned()));
    }

    /// Prints what a server says when it starts.
    pub fn greet(&self, banner: &Banner<'_>) {
        banner.lines(&self.terminal).iter().for_each(|line| self.say(line));
    }

    /// Waits until what was said is printed, a second at most, and gives the terminal back as it was.
    pub fn close(&self) {
        let (done, printed) = bounded(1);
        if self.messages.send_timeout(Message::Flush(done), TICK).is_ok() {
            let _ = printed.recv_timeout(TICK);
        }
        self.keys.restore();
    }

    /// Whether the terminal that the server was started on was closed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.terminal.stdout && rustix::termios::tcgetattr(stdout()).is_err()
    }

    pub(super) fn watch(&self, shared: Weak<Shared>) {
        let _ = self.messages.try_send(Message::Watch(shared));
    }

    /// Counts down to `until`, when what still runs is cut.
    pub(super) fn count_down(&self, until: Instant) {
        let _ = self.messages.try_send(Message::Drain(until));
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

/// Whether a line can be drawn over.
fn is_live(terminal: &Terminal) -> bool {
    terminal.stdout && !terminal.dumb
}

/// The thread that prints, and what it remembers between two lines.
struct Printer {
    terminal: Terminal,
    takes_keys: bool,
    watched: Weak<Shared>,
    meter: Meter,
    drawn: Instant,
    /// What stands in the live line.
    live: String,
    /// When the server ends at the latest, once it stops.
    until: Option<Instant>,
}

impl Printer {
    fn new(terminal: Terminal, takes_keys: bool) -> Self {
        let (watched, meter, drawn) = (Weak::new(), Meter::default(), Instant::now());
        Self { terminal, takes_keys, watched, meter, drawn, live: String::new(), until: None }
    }

    fn run(&mut self, queue: &Receiver<Message>) {
        loop {
            match queue.recv_timeout(TICK) {
                Ok(Message::Line(line)) => self.print(&line),
                Ok(Message::Watch(shared)) => self.watched = shared,
                Ok(Message::Clients) => self.print_clients(),
                Ok(Message::Drain(until)) => self.count_down(until),
                Ok(Message::Flush(done)) => {
                    self.erase();
                    let _ = done.send(());
                    // Whoever asked for it ends the program.
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.drawn.elapsed() >= TICK {
                self.draw();
            }
        }
    }

    fn print(&self, line: &str) {
        if is_live(&self.terminal) {
            write(&format!("{ERASE}{line}\n{}", self.live));
        } else {
            write(&format!("{line}\n"));
        }
    }

    fn print_clients(&self) {
        let Some(shared) = self.watched.upgrade() else { return };
        let lines = clients::table(&shared.registry.sessions(), Size::now(), self.charset());
        lines.iter().for_each(|line| self.print(line));
    }

    /// Where nothing can be drawn over, it is said once.
    fn count_down(&mut self, until: Instant) {
        self.until = Some(until);
        match self.watched.upgrade() {
            Some(shared) if !is_live(&self.terminal) => self.print(&live::waiting(&shared, None)),
            _ => self.draw(),
        }
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        let Some(shared) = self.watched.upgrade().filter(|_| is_live(&self.terminal)) else { return };
        self.live = match self.until {
            Some(until) => live::waiting(&shared, Some(until.saturating_duration_since(Instant::now()))),
            None => {
                let figures = Figures::of(&shared, &mut self.meter);
                figures.line(usize::from(Size::now().columns), self.charset(), self.takes_keys)
            }
        };
        // A line that reached the edge would wrap, and could not be erased any more.
        let columns = usize::from(Size::now().columns).saturating_sub(1);
        self.live = crate::display::width::truncate(&self.live, columns, self.charset());
        write(&format!("{ERASE}{}", self.live));
    }

    fn erase(&self) {
        if is_live(&self.terminal) {
            write(ERASE);
        }
    }

    fn charset(&self) -> Charset {
        self.terminal.charset()
    }
}

/// A console that cannot be written to is no reason to stop serving.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
