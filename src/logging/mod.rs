//! The two logs: what happened to the server, and one line for every transfer that ended.
//!
//! Owns the files of the logs, their format ([`logfmt`]), rotation and bounds. Knows nothing of sessions or commands:
//! it takes what arrives through the `log` crate.
//!
//! A record with the target [`TRANSFER`] goes to the log of transfers, any other to the log of events. What is worth
//! finding again goes into key-values, names in the form of [`crate::escape::harmless`]:
//!
//! ```
//! let (id, path) = ("7f3a", hostdir::escape::harmless(b"photos/\xff.jpg"));
//! log::info!(target: hostdir::logging::TRANSFER, event = "download", id, path:% = path, size = 12, status = "ok"; "");
//! log::warn!(target: "server", event = "refused", client:% = "192.168.1.40:50012", cause = "busy"; "");
//! ```
//!
//! ```text
//! callers → Logger (format, route) → bounded queue → writer thread → files ⇢ archive thread (compress, delete)
//! ```
//!
//! Logging never waits. A line that finds the queue full, or the disk, is dropped and counted, and the next line that
//! is written tells how many were lost.

mod append;
mod archive;
mod current;
mod error;
pub mod logfmt;
mod logger;
mod names;
mod past;
mod queue;
mod rotate;
mod writer;

pub use error::Error;
pub use logger::{Logger, TRANSFER, is_ours};
pub use past::{LogFile, files};

use archive::Archive;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::LevelFilter;
use names::LogName;
use queue::{Destination, MAX_LINES, Message, Outlet, PATIENCE, Queue, queue};
use rotate::{Limits, Log};
use simplelog::{CombinedLogger, SharedLogger};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use writer::{Clock, Writer};

/// Where the logs go, and their bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory of all files of the logs; made when missing.
    pub directory: PathBuf,
    /// The names of the files in it.
    pub files: Files,
    /// The least serious events that are logged. Transfers are logged whatever this is.
    pub level: LevelFilter,
    /// A file that would exceed this many bytes is put away. At most half of what its log may take in all is used.
    pub max_file_size: u64,
    /// A file whose first line is older than this is put away when the next line is written.
    pub max_age: Duration,
    /// Bytes that all files of the logs take together. Each of the two logs has half, so that a flood of events does
    /// not push out the history of transfers.
    pub max_total: u64,
}

impl Config {
    /// The server's logs in `directory`, at level `info`, with the default bounds: 16 MiB or a day a file, 512 MiB
    /// in all.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            files: Files::server(),
            level: LevelFilter::Info,
            max_file_size: 16 << 20,
            max_age: Duration::from_secs(24 * 60 * 60),
            max_total: 512 << 20,
        }
    }
}

/// Names of the files that are written, each ending in `.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// What happened.
    pub events: String,
    /// Transfers; when `None`, they are events.
    pub transfers: Option<String>,
}

impl Files {
    /// `server.log` and `transfers.log`.
    #[must_use]
    pub fn server() -> Self {
        Self { events: "server.log".to_owned(), transfers: Some("transfers.log".to_owned()) }
    }

    /// `client.log`, also for transfers. Several clients may write it at once.
    #[must_use]
    pub fn client() -> Self {
        Self { events: "client.log".to_owned(), transfers: None }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.events), self.transfers.as_ref().filter(|&name| *name != self.events)]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// Opens the logs and makes them, together with `console`, the logger of this process.
///
/// Every record up to the most detailed level of the two reaches `console`: it filters by itself (see [`is_ours`]).
///
/// # Errors
/// When a file cannot be opened or a thread not started, and when the process has a logger already.
pub fn start(config: Config, console: Option<Box<dyn SharedLogger>>) -> Result<Handle, Error> {
    let directory = config.directory.clone();
    let (logger, handle) = open(config)?;
    let mut loggers: Vec<Box<dyn SharedLogger>> = vec![Box::new(logger)];
    loggers.extend(console);
    CombinedLogger::init(loggers).map_err(|_| Error::already_installed(&directory))?;
    Ok(handle)
}

/// Opens the logs without making them the logger of this process.
///
/// # Errors
/// When a file cannot be opened or a thread not started.
pub fn open(config: Config) -> Result<(Logger, Handle), Error> {
    open_with(config, Arc::new(jiff::Timestamp::now))
}

fn open_with(config: Config, clock: Clock) -> Result<(Logger, Handle), Error> {
    let names = log_names(&config)?;
    let total = config.max_total / names.len() as u64;
    let limits = Limits { size: config.max_file_size.min(total / 2).max(1), age: config.max_age };
    let logs = names.iter().map(|name| Log::open(name.clone(), limits)).collect::<Result<Vec<Log>, Error>>()?;
    let transfers = if logs.len() > 1 { Destination::Transfers } else { Destination::Events };
    let archives = names.into_iter().map(|name| Archive { name, total }).collect();
    let (queue, outlet) = queue(MAX_LINES);
    let handle = Handle::spawn(&config.directory, (queue.clone(), outlet), logs, archives, Arc::clone(&clock))?;
    Ok((Logger { queue, clock, level: config.level, transfers }, handle))
}

fn log_names(config: &Config) -> Result<Vec<LogName>, Error> {
    let name = |file| LogName::new(&config.directory, file).ok_or_else(|| Error::invalid_name(file));
    config.files.names().map(name).collect()
}

/// Keeps the threads of the logs. Dropping it writes what was logged and ends them; what is logged later is lost.
#[derive(Debug)]
pub struct Handle {
    queue: Queue,
    stop_archive: Arc<AtomicBool>,
    /// Disconnected once both threads are about to end.
    ended: Receiver<Infallible>,
    threads: Vec<JoinHandle<()>>,
}

impl Handle {
    fn spawn(
        directory: &Path,
        (queue, outlet): (Queue, Outlet),
        logs: Vec<Log>,
        archives: Vec<Archive>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let (alive, ended) = bounded(0);
        let (wake, woken) = bounded(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stop_archive = Arc::clone(&stop);
        let start = |name, work| thread(name, alive.clone(), work).map_err(|source| Error::thread(directory, source));
        // When the second cannot be started, the first ends by itself: nobody is left who could wake it.
        let threads = vec![
            start("log-archive", Box::new(move || keep_archives(&archives, &woken, &stop)) as Work)?,
            start("log-writer", Box::new(move || Writer::new(outlet, logs, clock, wake).run()))?,
        ];
        Ok(Self { queue, stop_archive, ended, threads })
    }

    /// Waits until what was logged is written, or lost. Gives up after some seconds on a disk that does not answer.
    pub fn flush(&self) {
        self.queue.flush();
    }

    /// Opens the files anew, for a `SIGHUP`. A file that was moved away is noticed without it too.
    pub fn reopen(&self) {
        self.queue.control(Message::Reopen);
    }

    /// Lines that were lost since the start, because the queue was full or the disk failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_archive.store(true, Ordering::Relaxed);
        self.queue.control(Message::Stop);
        let gone = self.ended.recv_timeout(PATIENCE).is_err_and(|error| error.is_disconnected());
        if gone {
            for thread in self.threads.drain(..) {
                // It does not panic; if it did, that was reported where it happened.
                let _ = thread.join();
            }
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

fn thread(name: &str, alive: Sender<Infallible>, work: Work) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        work();
        drop(alive);
    })
}

/// Tidies once for what an earlier process left, then whenever a file was put away, until the writer is gone.
fn keep_archives(archives: &[Archive], woken: &Receiver<()>, stop: &AtomicBool) {
    loop {
        for archive in archives {
            if let Err(error) = archive.tidy(stop) {
                writer::tell(&error);
            }
        }
        if woken.recv().is_err() {
            return;
        }
    }
}
