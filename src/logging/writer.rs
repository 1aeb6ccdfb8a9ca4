//! The one thread that writes both logs: many lines with one write, and never a panic.
//!
//! A log that cannot be written loses its lines, counted; each later batch tries again, and the first that succeeds
//! begins with `event=dropped lines=N`.

use super::error::Error;
use super::logfmt::Line;
use super::queue::{Destination, Message, Outlet};
use super::rotate::Log;
use crossbeam_channel::Sender;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Where the time comes from.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Bytes that are collected before they are written.
const BATCH: usize = 256 * 1024;

/// When nothing is logged any more, how soon it is tried to write that lines were dropped.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    outlet: Outlet,
    outputs: Vec<Output>,
    clock: Clock,
    archive: Sender<()>,
}

/// One log and what is to be written to it next.
struct Output {
    log: Log,
    to: Destination,
    batch: String,
    health: Health,
}

#[derive(PartialEq, Eq)]
enum Health {
    Good,
    Failing,
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

impl Writer {
    /// A writer of `logs`: that of events, then that of transfers if they have their own. `archive` is told when a
    /// file was put away.
    pub(super) fn new(outlet: Outlet, logs: Vec<Log>, clock: Clock, archive: Sender<()>) -> Self {
        let destinations = [Destination::Events, Destination::Transfers];
        let output = |(log, to)| Output { log, to, batch: String::with_capacity(BATCH / 4), health: Health::Good };
        Self { outlet, outputs: logs.into_iter().zip(destinations).map(output).collect(), clock, archive }
    }

    /// Writes until told to stop, or until nobody is left who could log.
    pub(super) fn run(mut self) {
        loop {
            let patience = self.outlet.drops.any_unreported().then_some(RETRY);
            let Some(message) = self.outlet.wait(patience) else { break };
            if self.batch(message) == Next::Stop {
                break;
            }
        }
        // What was logged while the last lines were written.
        while let Some(message) = self.outlet.next() {
            self.batch(message);
        }
    }

    /// Takes `first` and what waits behind it, and writes that.
    fn batch(&mut self, first: Message) -> Next {
        let mut next = Next::GoOn;
        let mut taken = Some(first);
        while let Some(message) = taken {
            match message {
                Message::Line(to, text) => self.collect(to, &text),
                Message::Flush(done) => {
                    self.write();
                    // Who asked may have lost patience.
                    let _ = done.try_send(());
                }
                Message::Reopen => self.reopen(),
                Message::Stop => next = Next::Stop,
            }
            let full = self.outputs.iter().any(|output| output.batch.len() >= BATCH);
            taken = if full { None } else { self.outlet.next() };
        }
        self.write();
        next
    }

    fn collect(&mut self, to: Destination, text: &str) {
        match self.outputs.iter_mut().find(|output| output.to == to) {
            Some(output) => output.batch.push_str(text),
            None => self.outlet.drops.add(to, 1),
        }
    }

    fn write(&mut self) {
        let now = (self.clock)();
        for output in &mut self.outputs {
            let unreported = self.outlet.drops.take_unreported(output.to);
            if unreported > 0 {
                output.batch.insert_str(0, &dropped_line(now, unreported));
            }
            if output.batch.is_empty() {
                continue;
            }
            let written = output.log.write(&output.batch, now);
            let mut lost = lines(&output.batch[written.whole..]);
            if unreported > 0 && written.whole == 0 {
                self.outlet.drops.give_back(output.to, unreported);
                lost -= 1;
            }
            self.outlet.drops.add(output.to, lost);
            output.batch.clear();
            output.tell(written.fault);
            if written.released {
                // When it is full, the archive is about to look anyway.
                let _ = self.archive.try_send(());
            }
        }
    }

    fn reopen(&mut self) {
        self.write();
        for output in &mut self.outputs {
            let fault = output.log.reopen().err();
            output.tell(fault);
        }
        let _ = self.archive.try_send(());
    }
}

impl Output {
    /// Says once, on whatever log still works and on the console, that this one does not.
    fn tell(&mut self, fault: Option<Error>) {
        match fault {
            None => self.health = Health::Good,
            Some(error) if self.health == Health::Good => {
                self.health = Health::Failing;
                tell(&error);
            }
            Some(_) => {}
        }
    }
}

/// Logs a fault of the logs themselves. Logging never waits, so the threads of the logs may do it too.
pub(super) fn tell(error: &Error) {
    log::error!(target: "hostdir::logging", event = "log-fault", cause:% = error; "");
}

fn dropped_line(now: Timestamp, lines: u64) -> String {
    let mut line = Line::new(now, log::Level::Warn);
    line.pair("event", "dropped");
    line.pair("lines", lines);
    line.finish()
}

fn lines(text: &str) -> u64 {
    text.bytes().filter(|&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::super::names::LogName;
    use super::super::queue::{Queue, queue};
    use super::super::rotate::Limits;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const DROPPED: &str = "time=2026-11-20T14:03:21.482Z level=warn event=dropped lines=";

    /// A writer that is run by hand, one batch at a time.
    fn writer(directory: &Path, lines: usize) -> (Queue, Writer) {
        let (queue, outlet) = queue(lines);
        let limits = Limits { size: 1 << 20, age: Duration::from_secs(3600) };
        let open = |name| Log::open(LogName::new(directory, name).unwrap(), limits).unwrap();
        let logs = ["server.log", "transfers.log"].map(open).into();
        let now: Timestamp = "2026-11-20T14:03:21.482Z".parse().unwrap();
        let writer = Writer::new(outlet, logs, Arc::new(move || now), crossbeam_channel::bounded(1).0);
        (queue, writer)
    }

    fn write_waiting(writer: &mut Writer) {
        let message = writer.outlet.next().unwrap();
        writer.batch(message);
    }

    fn event(queue: &Queue, text: &str) {
        queue.line(Destination::Events, format!("{text}\n"));
    }

    #[test]
    fn lines_dropped_at_the_queue_are_reported_in_their_log() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, mut writer) = writer(directory.path(), 2);
        for text in ["a=1", "a=2", "a=3", "a=4"] {
            event(&queue, text);
        }
        write_waiting(&mut writer);
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("server.log"), format!("{DROPPED}2\na=1\na=2\n"));
        assert_eq!(read("transfers.log"), "");
        event(&queue, "a=5");
        write_waiting(&mut writer);
        assert!(read("server.log").ends_with("a=2\na=5\n"), "reported once");
    }

    #[test]
    fn a_full_disk_loses_lines_counted_and_logging_recovers_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        symlink("/dev/full", &path).unwrap();
        let (queue, mut writer) = writer(directory.path(), 10);
        for batch in ["a=1", "a=2"] {
            event(&queue, batch);
            event(&queue, batch);
            queue.line(Destination::Transfers, "t=1\n".to_owned());
            write_waiting(&mut writer);
        }
        assert_eq!(queue.dropped(), 4, "the reports that were lost are not counted");
        assert_eq!(fs::read_to_string(directory.path().join("transfers.log")).unwrap(), "t=1\nt=1\n");
        fs::remove_file(&path).unwrap();
        event(&queue, "a=3");
        write_waiting(&mut writer);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{DROPPED}4\na=3\n"));
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn a_flush_writes_also_that_lines_were_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, mut writer) = writer(directory.path(), 10);
        writer.outlet.drops.add(Destination::Events, 7);
        let (done, wait) = crossbeam_channel::bounded(1);
        queue.control(Message::Flush(done));
        write_waiting(&mut writer);
        wait.try_recv().unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("server.log")).unwrap(), format!("{DROPPED}7\n"));
    }

    #[test]
    fn what_was_logged_before_the_stop_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, writer) = writer(directory.path(), 10);
        let long = format!("a={}", "2".repeat(BATCH));
        event(&queue, "a=1");
        queue.control(Message::Stop);
        event(&queue, &long);
        event(&queue, "a=3");
        writer.run();
        let content = fs::read_to_string(directory.path().join("server.log")).unwrap();
        assert_eq!(content, format!("a=1\n{long}\na=3\n"), "also what came while it was stopping");
    }

    #[test]
    fn a_directory_that_was_deleted_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let logs = directory.path().join("logs");
        let (queue, mut writer) = writer(&logs, 10);
        fs::remove_dir_all(&logs).unwrap();
        event(&queue, "a=1");
        write_waiting(&mut writer);
        assert_eq!(fs::read_to_string(logs.join("server.log")).unwrap(), "a=1\n");
    }
}
