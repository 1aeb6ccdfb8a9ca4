//! The server: accepts connections, runs a session on a thread of its own for each, and stops in an orderly way.
//!
//! Owns the listening sockets, the caps on connections, and what sessions share. Knows nothing of how files are stored or
//! how frames are laid out. One file a command: `list`, `get`, `live` (a GET of what is
//! still coming), `put`, `receipt`, `subscribe`, `receivers`. `web` answers the same by HTTP.

mod admission;
mod audit;
mod certificate;
mod confinement;
mod console;
mod get;
mod list;
mod listen;
mod live;
mod manager;
mod negotiate;
mod put;
mod rates;
mod receipt;
mod receivers;
mod recognise;
mod record;
mod refuse;
mod revocation;
mod session;
mod shutdown;
mod subscribe;
mod web;

pub use certificate::{Credentials, Source};
pub use confinement::{Confinement, Level};
pub use console::{Banner, Console};
pub use listen::{addresses, bind, bound};
pub use manager::ServiceManager;
pub use shutdown::{Drained, Stop};
pub use web::{RelayConfig, WebAccess};

use crate::access::{Access, Rate, Throttle, Transport};
use crate::connection::Deadlines;
use crate::error::{Error, Result};
use crate::store::{Expiry, KEEP_PARTIAL, Limit, Opened, Store, Sweep, Watch};
use crate::wire::TransferId;
use admission::Registry;
use rates::Rates;
use record::Stats;
use refuse::Refuser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A session's stack. Its frames are shallow; buffers are on the heap.
const STACK: usize = 512 * 1024;
/// How often housekeeping is done.
const HOUSEKEEPING: Duration = Duration::from_secs(60 * 60);
/// After so many the accepting thread looks at what else there is to do: a storm of connections must not keep the server
/// from stopping.
const ACCEPTED_AT_A_TIME: usize = 256;
/// How long the accepting thread rests when the process has no descriptor or no memory left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// What an operator decides about sessions.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that clients are shown.
    pub name: String,
    /// Connections at once.
    pub max_connections: usize,
    /// What the server proves itself with; it then speaks TLS only.
    pub tls: Option<Credentials>,
    /// How tokens reach the server.
    pub transport: Transport,
    /// Time that peers may take.
    pub deadlines: Deadlines,
    /// What a token, or an address without one, may take and send in a second, if that is limited.
    pub rate: Option<Rate>,
    /// How long running transfers are waited for when the server stops.
    pub drain: Duration,
    /// Who may ask by HTTP.
    pub web: WebAccess,
    /// What the two older relays take and give.
    pub relay: RelayConfig,
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    store: Store,
    access: Access,
    /// Where it listens.
    listening: Vec<SocketAddr>,
    throttle: Throttle,
    rates: Rates,
    config: Config,
    registry: Arc<Registry>,
    stats: Stats,
    console: Console,
    next_transfer: AtomicU64,
    /// When it started, since the epoch.
    started: Duration,
    grouped: put::Grouped,
    mimes: web::Mimes,
}

impl Shared {
    /// A transfer id that no other transfer of this server has, also not before a restart: the seconds of the start,
    /// and a count.
    fn next_transfer(&self) -> TransferId {
        TransferId(self.next_transfer.fetch_add(1, Ordering::Relaxed))
    }
}

/// Serves `store` on `listeners` until `stop` says so; then waits for running transfers.
///
/// # Errors
/// [`crate::error::Error::Local`] if a thread that is needed from the start cannot be started.
pub fn run(
    listeners: &[TcpListener],
    store: Store,
    access: Access,
    config: Config,
    console: Console,
    stop: &Stop,
) -> Result<Drained> {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let descriptors = descriptors.unwrap_or(usize::MAX);
    let shared = Arc::new(Shared {
        registry: Arc::new(Registry::new(config.max_connections)),
        stats: Stats::default(),
        console,
        next_transfer: AtomicU64::new(started.as_secs() << 24),
        started,
        grouped: put::Grouped::new(descriptors),
        mimes: web::Mimes::default(),
        store,
        access,
        listening: bound(listeners),
        throttle: Throttle::default(),
        rates: Rates::new(config.rate),
        config,
    });
    let refuser = Refuser::start()?;
    shared.console.watch(Arc::downgrade(&shared));
    watch_files(&shared)?;
    expire_files(&shared)?;
    revocation::watch(&shared)?;
    let mut swept = Instant::now();
    while !stop.is_asked() {
        wait(listeners, stop);
        accept_from(listeners, &shared, &refuser);
        if swept.elapsed() >= HOUSEKEEPING {
            swept = Instant::now();
            sweep(&shared.store, Sweep::Running);
            shared.store.give_up_live(KEEP_PARTIAL);
        }
    }
    // From here on the registry admits nobody: newcomers are accepted to be told so.
    Ok(shutdown::drain(&shared, stop, &mut || accept_from(listeners, &shared, &refuser)))
}

/// Lets files arrive that come into the host directory by other means than an upload, for as long as the server runs.
fn watch_files(shared: &Arc<Shared>) -> Result<()> {
    if shared.store.journal().is_none() {
        return Ok(());
    }
    let shared = Arc::downgrade(shared);
    let work = move || {
        let Some(mut watch) = shared.upgrade().and_then(|shared| open_watch(&shared.store)) else { return };
        while let Some(shared) = shared.upgrade() {
            watch.run_once(&shared.store);
        }
    };
    let spawned = std::thread::Builder::new().name("watch".into()).spawn(work);
    spawned.map(drop).map_err(|error| Error::local("start", "a thread that watches the host directory", error))
}

fn open_watch(store: &Store) -> Option<Watch> {
    match Watch::open(store) {
        Ok(watch) => {
            log::info!(event = "watch", folders = watch.folders(); "");
            Some(watch)
        }
        Err(error) => {
            log::warn!(event = "watch", cause:% = error; "files that come in by other means than an upload will not be noticed");
            None
        }
    }
}

/// Removes files as the rules of the operator say, for as long as the server runs.
fn expire_files(shared: &Arc<Shared>) -> Result<()> {
    let Some(mut expiry) = Expiry::open(&shared.store)? else { return Ok(()) };
    for rule in &shared.store.config().rules {
        let folder = &rule.folder;
        match rule.limit {
            Limit::Age(age) => log::info!(event = "rule", folder:%, expire_after = age.as_secs(); ""),
            Limit::Size(quota) => log::info!(event = "rule", folder:%, quota; ""),
        }
    }
    let shared = Arc::downgrade(shared);
    let work = move || {
        while let Some(shared) = shared.upgrade() {
            expiry.run_once(&shared.store);
        }
    };
    let spawned = std::thread::Builder::new().name("expire".into()).spawn(work);
    spawned.map(drop).map_err(|error| Error::local("start", "a thread that removes files", error))
}

/// Removes what broken uploads left and arrivals that are not kept any longer, and says so in the log; at the start also
/// what is in the journal.
pub fn sweep(store: &Store, when: Sweep) {
    if when == Sweep::Start {
        log_journal(store.journal_opened());
    }
    match store.journal().map_or(Ok(0), |journal| journal.trim(SystemTime::now())) {
        Ok(0) => {}
        Ok(dropped) => log::info!(event = "sweep", arrivals = dropped; "old arrivals were dropped from the journal"),
        Err(error) => log::warn!(event = "sweep", cause:% = error; ""),
    }
    match store.sweep(when, KEEP_PARTIAL) {
        Ok(swept) if swept.removed + swept.kept > 0 => {
            log::info!(event = "sweep", removed = swept.removed, bytes = swept.bytes, resumable = swept.kept; "");
        }
        Ok(_) => {}
        Err(error) => log::warn!(event = "sweep", cause:% = error; ""),
    }
}

fn log_journal(opened: Option<&Opened>) {
    let Some(opened) = opened else {
        return log::warn!(event = "journal"; "there is none: .hostdir cannot be written, so no folder can be followed");
    };
    let level = if opened.is_whole() { log::Level::Info } else { log::Level::Warn };
    log::log!(level, event = "journal", found:% = opened; "");
}

fn wait(listeners: &[TcpListener], stop: &Stop) {
    let mut descriptors: Vec<_> = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
    let wake = stop.wake();
    descriptors.push(PollFd::from_borrowed_fd(wake.as_fd(), PollFlags::IN));
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    // Whatever woke it, the caller looks for itself.
    let _ = poll(&mut descriptors, Some(&patience));
}

fn accept_from(listeners: &[TcpListener], shared: &Arc<Shared>, refuser: &Refuser) {
    for listener in listeners {
        accept_waiting(listener, shared, refuser);
    }
}

fn accept_waiting(listener: &TcpListener, shared: &Arc<Shared>, refuser: &Refuser) {
    for _ in 0..ACCEPTED_AT_A_TIME {
        match listener.accept() {
            Ok((socket, peer)) => admit(socket, canonical(peer), shared, refuser),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                log::warn!(event = "accept", cause:% = error; "no connection can be taken now; resting");
                std::thread::sleep(EXHAUSTED);
                return;
            }
        }
    }
}

fn admit(socket: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, refuser: &Refuser) {
    let admitted = match shared.registry.admit(peer) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            log::warn!(event = refusal.code().name(), client:% = peer, cause:% = refusal; "");
            return refuser.refuse(socket, &refusal);
        }
    };
    let session = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name("session".into())
        .stack_size(STACK)
        .spawn(move || session::run(socket, admitted, &session));
    if let Err(error) = spawned {
        // The place was given back with the closure that never ran.
        log::error!(event = "busy", client:% = peer, cause:% = error; "no thread for a connection");
    }
}

/// A peer that gave up before it was accepted is no fault of this machine (`accept(2)`).
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::CONNABORTED | Errno::INTR | Errno::NETDOWN | Errno::PROTO | Errno::HOSTDOWN | Errno::NETUNREACH)
    )
}

/// The address of an IPv4 peer as such, also where it came in on a dual-stack socket.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
