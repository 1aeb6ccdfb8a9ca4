//! `server`: hosts a directory. Arguments become a configuration, the library does the rest, its end becomes an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use bytesize::ByteSize;
use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{CommandFactory, Parser, Subcommand};
use hostdir::access::command::TokenCommand;
use hostdir::access::{Access, Rate, Transport};
use hostdir::configuration::{self, Settings};
use hostdir::connection::Deadlines;
use hostdir::discovery::Announcement;
use hostdir::display::quantity;
use hostdir::error::Error;
use hostdir::escape::harmless;
use hostdir::logging;
use hostdir::manual::Manual;
use hostdir::report;
use hostdir::server::{
    self, Banner, Confinement, Console, Credentials, Drained, Level, RelayConfig, ServiceManager, Source, Stop,
    WebAccess,
};
use hostdir::store::{self, Keep, Limit, Rule, Store, Sweep, parse_duration};
use hostdir::wire::{ErrorCode, RemoteFolder, RemotePath, Rights};
use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
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
#[allow(rustdoc::bare_urls, reason = "these are the words of --help, which knows no Markdown")]
#[command(name = "server", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Address to listen on [default: every address, IPv4 and IPv6]
    #[arg(short, long, value_name = "IP", env = "HOSTDIR_SERVER_IP")]
    ip: Option<IpAddr>,

    /// Port to listen on; 0 lets the system choose
    #[arg(short, long, default_value_t = 9000, env = "HOSTDIR_SERVER_PORT")]
    port: u16,

    /// The directory to host; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "./host_dir", env = "HOSTDIR_SERVER_DIR", global = true)]
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

    /// What anybody may do who has no token: all, none, or of read, add, overwrite, publish and subscribe those that are
    /// named, with commas [default: all; none as soon as there is a token]
    #[arg(long, value_name = "RIGHTS", env = "HOSTDIR_SERVER_ANONYMOUS")]
    anonymous: Option<Rights>,

    /// Take tokens over connections that anybody on the network can read
    #[arg(long, env = "HOSTDIR_SERVER_INSECURE_TOKENS", value_parser = BoolishValueParser::new())]
    insecure_tokens: bool,

    /// Bytes a second that a token may take, and send, over all its connections, such as 10MiB; who has no token shares it
    /// with all of their address [default: no limit]
    #[arg(long, value_name = "RATE", env = "HOSTDIR_SERVER_RATE")]
    rate: Option<Rate>,

    /// Do not confine the server to the host directory and the logs (where the kernel can: Landlock)
    #[arg(long, env = "HOSTDIR_SERVER_NO_CONFINEMENT", value_parser = BoolishValueParser::new())]
    no_confinement: bool,

    /// Encrypt: speak TLS only, with a key of the server's own, made at the first start and kept in --tls-dir
    #[arg(long, env = "HOSTDIR_SERVER_TLS", value_parser = BoolishValueParser::new())]
    tls: bool,

    /// Where the server keeps its own key [default: ~/.local/share/hostdir/tls]
    #[arg(long, value_name = "DIR", env = "HOSTDIR_SERVER_TLS_DIR")]
    tls_dir: Option<PathBuf>,

    /// Encrypt with this certificate instead, a PEM file with those that it is signed by; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "HOSTDIR_SERVER_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "HOSTDIR_SERVER_TLS_KEY")]
    tls_key: Option<PathBuf>,

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

    /// Do not announce the server on the local network (mDNS, as _hostdir._tcp)
    #[arg(long, env = "HOSTDIR_SERVER_NO_DISCOVERY", value_parser = BoolishValueParser::new())]
    no_discovery: bool,

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

    /// A TOML file with further settings; its keys are the long names of these flags. Flags and variables win over it
    #[arg(long, value_name = "FILE", env = "HOSTDIR_SERVER_CONFIG")]
    config: Option<PathBuf>,

    /// Print every setting with where it comes from, and end: with exit code 2 if something is wrong
    #[arg(long)]
    check_config: bool,
}

/// What the program does instead of serving.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say from the logs who took, sent and received what, and how it ended
    ///
    /// Reads transfers.log and what was put away of it, also while a server writes it. Times are in UTC, as in the logs.
    ///
    /// Exit codes: 0 ok; 2 usage; 3 there are no logs, or they cannot be read.
    Report(Box<report::Arguments>),
    /// Say who may do what: make, list and revoke tokens
    ///
    /// Needs no server that runs; one that does takes notice within a second.
    Token(TokenCommand),
    #[command(flatten)]
    Manual(Manual),
}

/// What a program that is told to stop waits for running transfers.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the banner waits for the host directory to be counted.
const COUNTING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let resolved = match configuration::resolve::<Arguments>(std::env::args_os()) {
        Ok(resolved) => resolved,
        Err(configuration::Error::Usage(error)) => error.exit(),
        Err(error) => return fail(&error, 2),
    };
    let result = match &resolved.arguments.command {
        None => run(&resolved.arguments, &resolved.settings),
        Some(Command::Report(asked)) => report::run(asked).map(|()| Drained::Whole),
        Some(Command::Token(command)) => manage_tokens(&resolved.arguments, command),
        Some(Command::Manual(manual)) => print_manual(*manual),
    };
    match result {
        Ok(Drained::Whole) => ExitCode::SUCCESS,
        Ok(Drained::Cut) => ExitCode::from(1),
        Err(error) => fail(&error, if matches!(error, Error::Refused { .. }) { 2 } else { 3 }),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // Standard error may be closed; there is nobody else to tell. One write, so that no other line comes between.
    let _ = stderr().write_all(format!("server: {error}\n").as_bytes());
    ExitCode::from(code)
}

fn manage_tokens(arguments: &Arguments, command: &TokenCommand) -> Result<Drained, Error> {
    make_directory(&arguments.dir, "--dir")?;
    command.run(&arguments.dir).map(|()| Drained::Whole)
}

fn print_manual(manual: Manual) -> Result<Drained, Error> {
    let printed = manual.print(Arguments::command());
    print(&printed.map_err(|error| Error::local("render", "the manual page", error))?)
}

fn print(bytes: &[u8]) -> Result<Drained, Error> {
    let written = stdout().write_all(bytes);
    written.map(|()| Drained::Whole).map_err(|error| Error::local("write to", "standard output", error))
}

fn run(arguments: &Arguments, settings: &Settings) -> Result<Drained, Error> {
    if arguments.read_only && arguments.allow_overwrite {
        let why = "--read-only and --allow-overwrite exclude each other";
        return Err(Error::refused(ErrorCode::Forbidden, why));
    }
    check_rules(arguments)?;
    if arguments.check_config {
        return print(settings.to_string().as_bytes());
    }
    let made = [make_directory(&arguments.dir, "--dir"), make_directory(&arguments.log_dir, "--log-dir")];
    let manager = ServiceManager::from_environment();
    // The key is read before the wall is raised, so that nothing behind it can.
    let credentials = credentials(arguments)?;
    // Before the first thread: the wall is around this thread and those that it starts.
    let confined = confine(arguments, credentials.as_ref());
    let console = Console::start().map_err(|error| Error::local("start", "the console", error))?;
    made.iter().flatten().flatten().for_each(|line| console.say(line));
    let directories: Result<Vec<_>, Error> = made.into_iter().collect();
    let result = directories.and_then(|_| serve(arguments, &console, &manager, confined, credentials));
    console.close();
    result
}

fn serve(
    arguments: &Arguments,
    console: &Console,
    manager: &ServiceManager,
    confined: Result<Level, String>,
    credentials: Option<Credentials>,
) -> Result<Drained, Error> {
    let log = start_logging(arguments)?;
    log_confinement(confined);
    raise_descriptor_limit();
    let listeners = server::bind(arguments.ip, arguments.port)?;
    let store = Store::open(store_config(arguments)).map_err(|error| with_cure(error, "--dir"))?;
    let access = Access::open(&arguments.dir, arguments.anonymous)?;
    let transport = match (&credentials, arguments.insecure_tokens) {
        (Some(_), _) => Transport::Encrypted,
        (None, true) => Transport::PlainOnPurpose,
        (None, false) => Transport::Plain,
    };
    access.check_transport(transport, &server::bound(&listeners))?;
    server::sweep(&store, Sweep::Start);
    let stop = Stop::new().map_err(|error| Error::local("prepare", "to stop", error))?;
    let log = watch_signals(&stop, console, manager, log, credentials.clone())
        .map_err(|error| Error::local("watch", "signals", error))?;
    announce(arguments, &listeners, credentials.as_ref(), &access, console);
    manager.ready("Serving");
    let name = arguments.name.clone().unwrap_or_else(machine_name);
    let announcement = if arguments.no_discovery { None } else { answer_searches(&name, &listeners) };
    let config = server::Config {
        name,
        max_connections: arguments.max_connections as usize,
        tls: credentials,
        transport,
        deadlines: deadlines(arguments),
        rate: arguments.rate,
        drain: DRAIN,
        web: WebAccess { host_names: host_names(arguments), origins: arguments.allow_origin.clone() },
        relay: RelayConfig { max_size: arguments.relay_max_size.as_u64(), topic: arguments.relay_topic.clone() },
    };
    let drained = server::run(&listeners, store, access, config, console.clone(), &stop)?;
    drop(announcement);
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

/// What TLS is spoken with, if it is.
fn credentials(arguments: &Arguments) -> Result<Option<Credentials>, Error> {
    let source = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Source::Given { certificate: certificate.clone(), key: key.clone() },
        _ if !arguments.tls => return Ok(None),
        _ => {
            let own = arguments.tls_dir.clone().or_else(|| Some(hostdir::home::data_folder()?.join("tls")));
            let why = "there is no home directory to keep the key of --tls in: choose --tls-dir";
            Source::Own(own.ok_or_else(|| Error::refused(ErrorCode::Forbidden, why))?)
        }
    };
    source.open(&arguments.dir).map(Some)
}

/// The error is a sentence: whatever keeps the wall from being raised does not keep the server from serving.
fn confine(arguments: &Arguments, credentials: Option<&Credentials>) -> Result<Level, String> {
    if arguments.no_confinement {
        return Err("turned off by --no-confinement".into());
    }
    let confinement = Confinement {
        directory: arguments.dir.clone(),
        read_only: arguments.read_only,
        logs: arguments.log_dir.clone(),
        certificates: credentials.map(Credentials::folders).unwrap_or_default(),
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

/// Ctrl-C and SIGTERM ask to stop, SIGHUP opens the logs anew and reads certificates again, unless it came because the
/// terminal was closed. SIGXFSZ is caught, so that a file beyond the limit of this process is a failed write and not its end.
fn watch_signals(
    stop: &Stop,
    console: &Console,
    manager: &ServiceManager,
    log: logging::Handle,
    credentials: Option<Credentials>,
) -> std::io::Result<Arc<logging::Handle>> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let log = Arc::new(log);
    let (stop, console, manager, reopened) = (stop.clone(), console.clone(), manager.clone(), Arc::clone(&log));
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP && !console.is_gone() {
                // A server that stops does so with new logs, too.
                let goes_on = !stop.is_asked();
                if goes_on {
                    manager.reloading();
                }
                reopened.reopen();
                credentials.iter().for_each(Credentials::reload);
                if goes_on {
                    manager.ready("Serving");
                }
            } else {
                manager.stopping();
                stop.ask();
            }
        }
    })?;
    Ok(log)
}

fn announce(
    arguments: &Arguments,
    listeners: &[TcpListener],
    credentials: Option<&Credentials>,
    access: &Access,
    console: &Console,
) {
    let addresses = server::addresses(listeners);
    let policy = match (arguments.read_only, arguments.allow_overwrite) {
        (true, _) => "read-only",
        (_, true) => "uploads may replace files",
        _ => "uploads add, never replace",
    };
    let version = env!("CARGO_PKG_VERSION");
    let is_reachable = addresses.iter().any(|address| !address.ip().is_loopback());
    let fingerprint = credentials.map(|it| it.identity().fingerprint().to_string());
    console.greet(&Banner {
        version,
        directory: &shown(&arguments.dir),
        contents: &count(&arguments.dir),
        policy,
        addresses: &addresses,
        fingerprint: fingerprint.as_deref(),
        logs: &shown(&arguments.log_dir),
        rights: who_may(arguments, access, is_reachable).as_deref(),
    });
    if let Some(fingerprint) = fingerprint {
        log::info!(event = "certificate", fingerprint:%; "");
    }
    let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    log::info!(event = "start", version, dir:% = arguments.dir.display(), policy, listening:% = all.join(","),
        tokens = access.count(), anonymous:% = access.anonymous(); "");
}

/// Who may do what; nothing if that is everything, and only this machine can.
fn who_may(arguments: &Arguments, access: &Access, is_reachable: bool) -> Option<String> {
    let (anonymous, tokens) = (access.anonymous(), access.count());
    if anonymous != Rights::ALL || tokens > 0 {
        return Some(format!("Tokens: {tokens}; who has none may: {anonymous}"));
    }
    let rights = if arguments.read_only { "read files" } else { "read and add files: --read-only" };
    is_reachable.then(|| format!("Anyone on this network can {rights}"))
}

/// Lets clients find the server. A network on which that cannot be done is one on which addresses are typed.
fn answer_searches(name: &str, listeners: &[TcpListener]) -> Option<Announcement> {
    match Announcement::start(name, &server::bound(listeners)) {
        Ok(announcement) => announcement,
        Err(error) => {
            log::warn!(event = "discovery", cause:% = error; "clients will not find the server by themselves");
            None
        }
    }
}

fn shown(path: &Path) -> String {
    harmless(path.as_os_str().as_bytes())
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
        (Ok(_), Ok(Ok((files, bytes)))) => format!("{}, {}", quantity::counted(files, "file"), quantity::size(bytes)),
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
