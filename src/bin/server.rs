//! `server`: hosts a directory. Arguments become a configuration, the library does the rest, its end becomes an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use bytesize::ByteSize;
use clap::Parser;
use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use hostdir::connection::Deadlines;
use hostdir::error::Error;
use hostdir::logging;
use hostdir::server::{self, Confinement, Console, Drained, Level, RelayConfig, Stop, WebAccess};
use hostdir::store::{self, Keep, Limit, Rule, Store, Sweep};
use hostdir::wire::{ErrorCode, RemoteFolder, RemotePath};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Host a directory on the local network: verified, resumable downloads and uploads on one port.
///
/// Without a flag it serves ./host_dir on port 9000 of every address, IPv4 and IPv6. Uploads add files; they never replace
/// any unless --allow-overwrite says so. Ctrl-C stops: running transfers are waited for, a second Ctrl-C cuts them.
///
/// Exit codes: 0 stopped, all transfers done; 1 transfers were cut; 2 usage; 3 this machine (port, directory, disk).
#[derive(Debug, Parser)]
#[command(name = "server", version, max_term_width = 100)]
struct Arguments {
    /// Address to listen on [default: every address, IPv4 and IPv6]
    #[arg(short, long, value_name = "IP", env = "HOSTDIR_SERVER_IP")]
    ip: Option<IpAddr>,

    /// Port to listen on; 0 lets the system choose
    #[arg(short, long, default_value_t = 9000, env = "HOSTDIR_SERVER_PORT")]
    port: u16,

    /// The directory to host; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "./host_dir", env = "HOSTDIR_SERVER_DIR")]
    dir: PathBuf,

    /// Where server.log and transfers.log go; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "./logs", env = "HOSTDIR_SERVER_LOG_DIR")]
    log_dir: PathBuf,

    /// The least serious events in server.log: error, warn, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "HOSTDIR_SERVER_LOG_LEVEL")]
    log_level: log::LevelFilter,

    /// Take no uploads
    #[arg(long, env = "HOSTDIR_SERVER_READ_ONLY", value_parser = BoolishValueParser::new())]
    read_only: bool,

    /// Let uploads replace files where the sender asks for it
    #[arg(long, env = "HOSTDIR_SERVER_ALLOW_OVERWRITE", value_parser = BoolishValueParser::new())]
    allow_overwrite: bool,

    /// Do not confine the server to the host directory and the logs (where the kernel can: Landlock)
    #[arg(long, env = "HOSTDIR_SERVER_NO_CONFINEMENT", value_parser = BoolishValueParser::new())]
    no_confinement: bool,

    /// Connections at once, each with a thread; one address can have seven eighths of them
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=10_900), env = "HOSTDIR_SERVER_MAX_CONNECTIONS")]
    max_connections: u32,

    /// Largest file to take, such as 4GiB [default: no limit]
    #[arg(long, value_name = "SIZE", env = "HOSTDIR_SERVER_MAX_FILE_SIZE")]
    max_file_size: Option<ByteSize>,

    /// Disk space that uploads leave free [default: 1 GiB or 1 % of the disk, whichever is less]
    #[arg(long, value_name = "SIZE", env = "HOSTDIR_SERVER_MIN_FREE_SPACE")]
    min_free_space: Option<ByteSize>,

    /// How many of the latest arrivals are told to those who follow a folder and come late
    #[arg(long, value_name = "N", default_value_t = Keep::default().arrivals, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000), env = "HOSTDIR_SERVER_KEEP_ARRIVALS")]
    keep_arrivals: u64,

    /// How long arrivals are told, such as 30d or 12h
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_duration, env = "HOSTDIR_SERVER_KEEP_ARRIVALS_FOR")]
    keep_arrivals_for: Duration,

    /// Remove files below FOLDER this long after they arrived, such as chat=24h; several: repeat it, or with commas
    #[arg(long, value_name = "FOLDER=AGE", value_delimiter = ',', value_parser = OsStringValueParser::new().try_map(parse_expire), env = "HOSTDIR_SERVER_EXPIRE")]
    expire: Vec<Rule>,

    /// Remove the files below FOLDER that arrived longest ago while all of them have more than this, such as chat=10GiB
    #[arg(long, value_name = "FOLDER=SIZE", value_delimiter = ',', value_parser = OsStringValueParser::new().try_map(parse_quota), env = "HOSTDIR_SERVER_TOPIC_QUOTA")]
    topic_quota: Vec<Rule>,

    /// Seconds that a connection may be silent between requests
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::SERVER.idle.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400), env = "HOSTDIR_SERVER_IDLE_TIMEOUT")]
    idle_timeout: u64,

    /// Seconds in which a transfer must move 32 KiB, or its connection is closed
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::SERVER.window.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400), env = "HOSTDIR_SERVER_STALL_TIMEOUT")]
    stall_timeout: u64,

    /// The name that clients are shown [default: the name of this machine]
    #[arg(long, value_name = "NAME", env = "HOSTDIR_SERVER_NAME")]
    name: Option<String>,

    /// A name that browsers reach this server by, besides its addresses, localhost and the name of the machine
    #[arg(long, value_name = "HOST", value_delimiter = ',', env = "HOSTDIR_SERVER_HOST_NAME")]
    host_name: Vec<String>,

    /// An origin (scheme, host and perhaps port) whose pages may ask this server too; null is a page opened from a disk
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', env = "HOSTDIR_SERVER_ALLOW_ORIGIN")]
    allow_origin: Vec<String>,

    /// Largest file that comes in or goes out by the two older relays
    #[arg(long, value_name = "SIZE", default_value = "500MiB", env = "HOSTDIR_SERVER_RELAY_MAX_SIZE")]
    relay_max_size: ByteSize,

    /// The topic of the relay at /sender and /receiver
    #[arg(long, value_name = "TOPIC", default_value = "live", value_parser = OsStringValueParser::new().try_map(parse_topic), env = "HOSTDIR_SERVER_RELAY_TOPIC")]
    relay_topic: RemotePath,
}

/// What a program that is told to stop waits for running transfers.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the banner waits for the host directory to be counted.
const COUNTING: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(Drained::Whole) => ExitCode::SUCCESS,
        Ok(Drained::Cut) => ExitCode::from(1),
        Err(error) => {
            // Standard error may be closed; there is nobody else to tell. One write, so that no other line comes between.
            let _ = stderr().write_all(format!("server: {error}\n").as_bytes());
            ExitCode::from(if matches!(error, Error::Refused { .. }) { 2 } else { 3 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<Drained, Error> {
    if arguments.read_only && arguments.allow_overwrite {
        let why = "--read-only and --allow-overwrite exclude each other";
        return Err(Error::refused(ErrorCode::Forbidden, why));
    }
    check_rules(arguments)?;
    let made = [make_directory(&arguments.dir, "--dir"), make_directory(&arguments.log_dir, "--log-dir")];
    // Before the first thread: the wall is around this thread and those that it starts.
    let confined = confine(arguments);
    let console = Console::start().map_err(|error| Error::local("start", "the console", error))?;
    made.iter().flatten().flatten().for_each(|line| console.say(line));
    let directories: Result<Vec<_>, Error> = made.into_iter().collect();
    let result = directories.and_then(|_| serve(arguments, &console, confined));
    console.flush();
    result
}

fn serve(arguments: &Arguments, console: &Console, confined: Result<Level, String>) -> Result<Drained, Error> {
    let log = start_logging(arguments)?;
    log_confinement(confined);
    raise_descriptor_limit();
    let listeners = server::bind(arguments.ip, arguments.port)?;
    let store = Store::open(store_config(arguments)).map_err(|error| with_cure(error, "--dir"))?;
    server::sweep(&store, Sweep::Start);
    let stop = Stop::new().map_err(|error| Error::local("prepare", "to stop", error))?;
    let log = watch_signals(&stop, log).map_err(|error| Error::local("watch", "signals", error))?;
    announce(arguments, &listeners, console);
    let config = server::Config {
        name: arguments.name.clone().unwrap_or_else(machine_name),
        max_connections: arguments.max_connections as usize,
        deadlines: deadlines(arguments),
        drain: DRAIN,
        web: WebAccess { host_names: host_names(arguments), origins: arguments.allow_origin.clone() },
        relay: RelayConfig { max_size: arguments.relay_max_size.as_u64(), topic: arguments.relay_topic.clone() },
    };
    let drained = server::run(&listeners, store, config, console.clone(), &stop)?;
    log::info!(event = "stopped", transfers_cut = drained == Drained::Cut; "");
    log.flush();
    Ok(drained)
}

fn store_config(arguments: &Arguments) -> store::Config {
    store::Config {
        directory: arguments.dir.clone(),
        read_only: arguments.read_only,
        overwrite: arguments.allow_overwrite,
        max_file_size: arguments.max_file_size.map(|size| size.as_u64()),
        min_free_space: arguments.min_free_space.map(|size| size.as_u64()),
        keep: Keep { arrivals: arguments.keep_arrivals, age: arguments.keep_arrivals_for },
        rules: rules(arguments).cloned().collect(),
    }
}

/// Everything that removes files.
fn rules(arguments: &Arguments) -> impl Iterator<Item = &Rule> {
    arguments.expire.iter().chain(&arguments.topic_quota)
}

fn check_rules(arguments: &Arguments) -> Result<(), Error> {
    let refused = |why: String| Err(Error::refused(ErrorCode::Forbidden, why));
    for (flag, rules) in [("--expire", &arguments.expire), ("--topic-quota", &arguments.topic_quota)] {
        if arguments.read_only && !rules.is_empty() {
            return refused(format!("--read-only and {flag} exclude each other"));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = rules.iter().find(|rule| !seen.insert(rule.folder.as_bytes())) {
            return refused(format!("{flag} names {} twice", twice.folder));
        }
    }
    Ok(())
}

fn parse_expire(text: OsString) -> Result<Rule, String> {
    let (folder, age) = split_rule(&text, "not FOLDER=AGE, such as chat=24h")?;
    let age = parse_duration(age)?;
    if age < Duration::from_secs(1) {
        return Err("files stay for a second at least".into());
    }
    Ok(Rule { folder, limit: Limit::Age(age) })
}

fn parse_quota(text: OsString) -> Result<Rule, String> {
    let (folder, size) = split_rule(&text, "not FOLDER=SIZE, such as chat=10GiB")?;
    let size: ByteSize = size.parse().map_err(|_| "not a size such as 10GiB or 500MB")?;
    Ok(Rule { folder, limit: Limit::Size(size.as_u64()) })
}

/// `FOLDER=LIMIT`; `/` is the whole host directory.
fn split_rule<'a>(text: &'a OsString, wrong: &str) -> Result<(RemoteFolder, &'a str), String> {
    let bytes = text.as_bytes();
    let split = bytes.iter().rposition(|byte| *byte == b'=').and_then(|at| bytes.split_at_checked(at));
    let (folder, limit) = split.ok_or(wrong)?;
    let limit = str::from_utf8(limit).map_err(|_| wrong)?;
    let limit = limit.strip_prefix('=').unwrap_or(limit);
    let folder = match folder {
        [] => return Err(wrong.into()),
        b"/" => RemoteFolder::ROOT,
        folder => {
            RemoteFolder::parse(folder.strip_suffix(b"/").unwrap_or(folder)).map_err(|error| error.to_string())?
        }
    };
    Ok((folder, limit))
}

/// A topic that files can be put into.
fn parse_topic(text: OsString) -> Result<RemotePath, String> {
    let topic = RemotePath::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    topic.check_portable().map_err(|error| error.to_string())?;
    Ok(topic)
}

/// A duration as people write it: `30d`, `2w`, `12h 30m`. Not months and years, which are of no fixed length.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = "not a duration such as 30d, 12h or 90m";
    let span: jiff::Span = text.parse().map_err(|_| wrong)?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong)?;
    Ok(Duration::try_from(duration).ok().filter(|duration| !duration.is_zero()).ok_or(wrong)?)
}

fn deadlines(arguments: &Arguments) -> Deadlines {
    Deadlines {
        idle: Duration::from_secs(arguments.idle_timeout),
        window: Duration::from_secs(arguments.stall_timeout),
        ..Deadlines::SERVER
    }
}

/// Makes a directory that is missing, and says so.
fn make_directory(directory: &Path, flag: &str) -> Result<Option<String>, Error> {
    if directory.is_dir() {
        return Ok(None);
    }
    std::fs::create_dir_all(directory)
        .map_err(|error| with_cure(Error::local("make the directory", directory.display(), error), flag))?;
    Ok(Some(format!("Made {}", directory.display())))
}

/// The error is a sentence: whatever keeps the wall from being raised does not keep the server from serving.
fn confine(arguments: &Arguments) -> Result<Level, String> {
    if arguments.no_confinement {
        return Err("turned off by --no-confinement".into());
    }
    let confinement = Confinement {
        directory: arguments.dir.clone(),
        read_only: arguments.read_only,
        logs: arguments.log_dir.clone(),
    };
    confinement.raise().map_err(|error| error.to_string())
}

fn log_confinement(confined: Result<Level, String>) {
    match confined {
        Ok(level) => log::info!(event = "confined", level = level.name(); ""),
        Err(cause) => log::warn!(event = "confined", level = Level::None.name(), cause; ""),
    }
}

/// Adds to an error about a directory what an operator can do about it.
fn with_cure(error: Error, flag: &str) -> Error {
    use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let Error::Local { operation, path, source } = error else { return error };
    let what = if source.kind() == AlreadyExists { NotADirectory } else { source.kind() };
    let cure = match source.kind() {
        PermissionDenied => format!("give this user the right to it, or choose another {flag}"),
        NotADirectory | AlreadyExists => format!("choose another {flag}"),
        ReadOnlyFilesystem if flag == "--dir" => "serve it with --read-only, or choose another --dir".into(),
        ReadOnlyFilesystem => format!("choose another {flag}"),
        StorageFull => format!("make room on its disk, or choose another {flag}"),
        _ => return Error::Local { operation, path, source },
    };
    Error::local(operation, path, std::io::Error::new(what, format!("{what}: {cure}")))
}

fn start_logging(arguments: &Arguments) -> Result<logging::Handle, Error> {
    let config = logging::Config { level: arguments.log_level, ..logging::Config::new(&arguments.log_dir) };
    logging::start(config, None)
        .map_err(|error| Error::local("log to", arguments.log_dir.display(), std::io::Error::other(error)))
}

/// A connection and a file in work take a descriptor each; the usual limit of 1,024 is only a default.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!(event = "limits", cause:% = error; "the limit of open files stays as it was");
    }
}

/// Ctrl-C and SIGTERM ask to stop, SIGHUP opens the logs anew. SIGXFSZ is caught, so that a file beyond the limit of
/// this process is a failed write and not its end.
fn watch_signals(stop: &Stop, log: logging::Handle) -> std::io::Result<Arc<logging::Handle>> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let log = Arc::new(log);
    let (stop, reopened) = (stop.clone(), Arc::clone(&log));
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP { reopened.reopen() } else { stop.ask() }
        }
    })?;
    Ok(log)
}

fn announce(arguments: &Arguments, listeners: &[TcpListener], console: &Console) {
    let addresses = server::addresses(listeners);
    let policy = match (arguments.read_only, arguments.allow_overwrite) {
        (true, _) => "read-only",
        (_, true) => "uploads may replace files",
        _ => "uploads add, never replace",
    };
    let version = env!("CARGO_PKG_VERSION");
    let contents = count(&arguments.dir);
    console.say(&format!("hostdir {version} · serving {} ({contents}) · {policy}", arguments.dir.display()));
    if let Some(first) = addresses.first() {
        console.say(&format!(" Clients:   client{}", client_flags(*first)));
    }
    let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    console.say(&format!(" Listening: {}", all.join(", ")));
    console.say(&format!(" Logs:      {}", arguments.log_dir.display()));
    if addresses.iter().any(|address| !address.ip().is_loopback()) {
        let rights = if arguments.read_only { "read files" } else { "read and add files (or not add: --read-only)" };
        console.say(&format!(" Anyone on this network can {rights}"));
    }
    log::info!(event = "start", version, dir:% = arguments.dir.display(), policy, listening:% = all.join(","); "");
}

/// How a client is pointed at an address; what it assumes by itself is left out.
fn client_flags(address: SocketAddr) -> String {
    let ip =
        if address.ip().is_loopback() && address.is_ipv4() { String::new() } else { format!(" --ip {}", address.ip()) };
    let port = if address.port() == 9000 { String::new() } else { format!(" --port {}", address.port()) };
    ip + &port
}

/// What the host directory holds; counted on the side, because a large one takes longer than anybody wants to wait.
fn count(directory: &Path) -> String {
    let (send, counted) = std::sync::mpsc::channel();
    let directory = directory.to_owned();
    let counting = std::thread::Builder::new().name("count".into()).spawn(move || {
        let totals = hostdir::root::Root::open(&directory).and_then(|root| store::totals(&root));
        // Nobody listens any more if it took too long.
        let _ = send.send(totals);
    });
    match (counting, counted.recv_timeout(COUNTING)) {
        (Ok(_), Ok(Ok((files, bytes)))) => format!("{files} files, {}", ByteSize(bytes).display().iec()),
        (Ok(_), Err(_)) => "many files".into(),
        _ => "not countable".into(),
    }
}

/// The names that this machine is reached by: its own, with and without the domain and `.local`, and those that were given.
fn host_names(arguments: &Arguments) -> Vec<String> {
    let machine = machine_name();
    let short = machine.split('.').next().unwrap_or_default();
    let own = [machine.clone(), short.to_owned(), format!("{machine}.local"), format!("{short}.local")];
    own.into_iter()
        .chain(arguments.host_name.iter().cloned())
        .filter(|name| !name.is_empty() && name != ".local")
        .collect()
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
