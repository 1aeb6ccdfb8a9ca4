//! From a `log` record to a line in the queue: which records are wanted, and which log they go to.

use super::logfmt;
use super::queue::{Destination, Queue};
use super::writer::Clock;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::SharedLogger;
use std::fmt;

/// The target of the records that go to the log of transfers.
pub const TRANSFER: &str = "transfer";

/// First parts of the targets that are ours: the library, the two programs, and [`TRANSFER`].
const OURS: [&str; 4] = ["hostdir", "server", "client", TRANSFER];

/// Whether a record with this target comes from this project rather than from a library that it uses.
#[must_use]
pub fn is_ours(target: &str) -> bool {
    OURS.contains(&target.split("::").next().unwrap_or(target))
}

/// Takes records, turns each into one line, and hands it to the thread that writes. Never waits, whatever the disk
/// does. Made by [`super::open`].
pub struct Logger {
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) level: LevelFilter,
    /// Where transfers go.
    pub(super) transfers: Destination,
}

impl fmt::Debug for Logger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Logger").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Log for Logger {
    /// Transfers from `info` up whatever the level, what else is ours by the level, other libraries from `warn` up.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = match metadata.target() {
            TRANSFER => self.level(),
            target if is_ours(target) => self.level,
            _ => self.level.min(LevelFilter::Warn),
        };
        metadata.level() <= level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let to = if record.target() == TRANSFER { self.transfers } else { Destination::Events };
        self.queue.line(to, logfmt::record_line((self.clock)(), record));
    }

    fn flush(&self) {
        self.queue.flush();
    }
}

impl SharedLogger for Logger {
    /// The most detailed level of any record that is wanted: transfers are, whatever the level of the rest.
    fn level(&self) -> LevelFilter {
        self.level.max(LevelFilter::Info)
    }

    fn config(&self) -> Option<&simplelog::Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::{Message, queue};
    use super::*;
    use log::Level;
    use std::sync::Arc;

    fn enabled(filter: LevelFilter, target: &str, level: Level) -> bool {
        let (queue, _outlet) = queue(1);
        let clock: Clock = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
        let logger = Logger { queue, clock, level: filter, transfers: Destination::Transfers };
        logger.enabled(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        for target in ["hostdir", "hostdir::server::session", "server", "client::menu", "transfer"] {
            assert!(enabled(LevelFilter::Debug, target, Level::Debug), "{target}");
            assert!(!enabled(LevelFilter::Debug, target, Level::Trace), "{target}");
        }
        for target in ["rustls::conn", "hostdirectory", "serverless", "", "mdns_sd"] {
            assert!(!enabled(LevelFilter::Trace, target, Level::Info), "{target}");
            assert!(enabled(LevelFilter::Trace, target, Level::Warn), "{target}");
            assert!(!enabled(LevelFilter::Error, target, Level::Warn), "{target}");
        }
    }

    #[test]
    fn transfers_are_logged_whatever_the_level_of_the_rest() {
        assert!(enabled(LevelFilter::Off, "transfer", Level::Info));
        assert!(!enabled(LevelFilter::Off, "transfer", Level::Debug));
        assert!(!enabled(LevelFilter::Off, "server", Level::Error));
    }

    #[test]
    fn a_record_becomes_one_line_for_its_log() {
        let (queue, outlet) = queue(9);
        let clock: Clock = Arc::new(|| "2026-11-20T14:03:21.482Z".parse().unwrap());
        let logger = Logger { queue, clock, level: LevelFilter::Info, transfers: Destination::Transfers };
        for target in ["transfer", "server"] {
            let pairs = [("event", "download"), ("path", "a\nb")];
            logger.log(&Record::builder().target(target).key_values(&pairs).build());
        }
        for to in [Destination::Transfers, Destination::Events] {
            let Some(Message::Line(line_to, text)) = outlet.next() else { panic!("no line") };
            assert_eq!(line_to, to);
            assert_eq!(text, "time=2026-11-20T14:03:21.482Z level=info event=download path=a\\nb\n");
        }
    }
}
