//! What the tests of the client share: a server over a directory, a place for downloads, and running the client.

use crate::common::{Log, Server, eventually, scaled};
use hostdir::logging::logfmt::parse_line;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use walkdir::WalkDir;

/// A server over a directory of its own, and a place for the client's files.
pub struct Scene {
    pub host: TempDir,
    pub local: TempDir,
    pub server: Server,
}

/// How a run of the client ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub bytes: Vec<u8>,
    pub out: String,
    pub err: String,
}

/// A client that is running; killed when this is dropped.
pub struct Running {
    child: Child,
    out: Option<JoinHandle<Vec<u8>>>,
    err: Option<JoinHandle<Vec<u8>>>,
    shown: String,
}

/// A line of `transfers.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub event: String,
    pub path: String,
    pub status: String,
    pub size: u64,
    pub offset: u64,
    pub bytes: u64,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Folder { modified: i128 },
    File { modified: i128, size: u64, digest: blake3::Hash },
    Link(PathBuf),
}

impl Scene {
    pub fn new() -> Self {
        Self::with(&[], |_| {})
    }

    /// Fills the host directory, then starts the server with further arguments.
    pub fn with(arguments: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let (host, local) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fill(host.path());
        let server = Server::start(host.path(), arguments);
        Self { host, local, server }
    }

    pub fn hosted(&self, name: &str) -> PathBuf {
        self.host.path().join(name)
    }

    pub fn local(&self, name: &str) -> PathBuf {
        self.local.path().join(name)
    }

    /// The folder that downloads go into.
    pub fn downloads(&self) -> PathBuf {
        self.local("downloads")
    }

    pub fn downloaded(&self, name: &str) -> PathBuf {
        self.downloads().join(name)
    }

    pub fn client(&self) -> Command {
        client(self.server.address(), &self.downloads())
    }

    /// Runs the client to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        run(self.client().args(arguments))
    }

    /// The transfers so far, when every session that began has ended.
    pub fn transfers(&self) -> Vec<Transfer> {
        eventually("all sessions end", || {
            let events = self.server.log(Log::Events);
            let count = |what: &str| events.iter().filter(|line| line.contains(what)).count();
            count(" event=connect ") <= count(" event=disconnect ")
        });
        // What is refused now is logged after everything before it.
        let sentinel = format!("sentinel-{}", self.server.log(Log::Transfers).len());
        let _ = self.server.client().get(sentinel.as_bytes());
        self.server.logged(Log::Transfers, &[&sentinel]);
        let transfers = self.server.log(Log::Transfers);
        transfers.iter().map(|line| Transfer::parse(line)).filter(|it| !it.path.starts_with("sentinel-")).collect()
    }

    /// Bytes that moved so far, either way.
    pub fn moved(&self) -> u64 {
        self.transfers().iter().map(|transfer| transfer.bytes).sum()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.transfers();
        let clients = |line: &&String| line.contains(" event=connect ") && line.contains("agent=hostdir-client");
        self.server.log(Log::Events).iter().filter(clients).count()
    }
}

impl Transfer {
    pub fn parse(line: &str) -> Self {
        let pairs = parse_line(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let field = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.unwrap_or_else(|| panic!("{line}: no {name}")).1.to_string()
        };
        let number = |name: &str| field(name).parse().unwrap();
        Self {
            event: field("event"),
            path: field("path"),
            status: field("status"),
            size: number("size"),
            offset: number("offset"),
            bytes: number("bytes"),
        }
    }
}

/// The client, pointed at a server, with a quiet environment.
pub fn client(address: SocketAddrV4, downloads: &Path) -> Command {
    let mut command = bare_client();
    command.args(["--ip", &address.ip().to_string(), "--port", &address.port().to_string(), "--dir"]).arg(downloads);
    command
}

/// The client without any arguments.
pub fn bare_client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"HOSTDIR_")) {
        command.env_remove(name);
    }
    // Nor the servers that whoever runs the tests knows.
    command.env("XDG_DATA_HOME", "/nowhere");
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs a client to its end.
pub fn run(command: &mut Command) -> Run {
    Running::start(command).wait()
}

/// Runs a client that reads `input`.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Run {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    let input = input.to_vec();
    // A client that does not want it closes the pipe.
    let writing = thread::spawn(move || _ = stdin.write_all(&input));
    let run = running.wait();
    writing.join().unwrap();
    run
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Some(read_all(child.stdout.take().unwrap()));
        let err = Some(read_all(child.stderr.take().unwrap()));
        Self { child, out, err, shown }
    }

    /// What it reads; closed when this is dropped.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The peak of its resident memory, in KiB; `None` once it ended.
    pub fn memory_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        if self.has_ended() {
            panic!("{} ended too early: {:?}", self.shown.clone(), self.finish());
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end. Whatever it did, it must not have panicked, nor sent an escape sequence.
    pub fn wait(self) -> Run {
        self.within(Duration::from_secs(scaled(180, 3600)))
    }

    /// As [`Running::wait`], with a limit of its own.
    pub fn within(mut self, patience: Duration) -> Run {
        let (shown, since) = (self.shown.clone(), Instant::now());
        while !self.has_ended() {
            assert!(since.elapsed() < patience, "not in {patience:?}: {shown} ends");
            thread::sleep(Duration::from_millis(2));
        }
        let run = self.finish();
        assert!(!run.err.contains("panicked"), "{shown}: {run:?}");
        assert!(!run.err.contains('\u{1b}'), "{shown}: an escape sequence on standard error: {run:?}");
        run
    }

    fn finish(&mut self) -> Run {
        let status: ExitStatus = self.child.wait().unwrap();
        let bytes = self.out.take().unwrap().join().unwrap();
        let err = self.err.take().unwrap().join().unwrap();
        let (out, err) = (String::from_utf8_lossy(&bytes).into_owned(), String::from_utf8_lossy(&err).into_owned());
        Run { code: status.code(), bytes, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

impl Run {
    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// It must have ended with `code`.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It must have ended with `code` and one line for people that has all of `parts`.
    #[track_caller]
    pub fn refused(self, code: i32, parts: &[&str]) -> Self {
        let run = self.ends(code);
        assert_eq!(run.err.lines().count(), 1, "not one line: {run:#?}");
        parts.iter().for_each(|part| assert!(run.err.contains(part), "no {part:?} in {:?}", run.err));
        assert!(!run.err.contains("Error") && !run.err.contains('{'), "debug output: {:?}", run.err);
        run
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "no {part:?} in {self:#?}");
        self
    }

    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// The objects on standard output of one type.
    #[track_caller]
    pub fn json(&self, kind: &str) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let objects: Vec<Value> = self.out.lines().map(parse).collect();
        assert!(objects.iter().all(|object| object["type"].is_string()), "{self:#?}");
        objects.into_iter().filter(|object| object["type"] == kind).collect()
    }

    /// The one `file` object of a path.
    #[track_caller]
    pub fn file(&self, path: &str) -> Value {
        let mut found: Vec<_> = self.json("file").into_iter().filter(|object| object["path"] == path).collect();
        assert_eq!(found.len(), 1, "{path}: {self:#?}");
        found.remove(0)
    }

    #[track_caller]
    pub fn summary(&self) -> Value {
        let mut found = self.json("summary");
        assert_eq!(found.len(), 1, "{self:#?}");
        found.remove(0)
    }
}

/// An odd moment, so that no clock gives it by chance.
pub fn moment(seed: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_000_000_000 + seed * 86_399, 123_456_789)
}

/// Writes a file, and the folders that it needs, and dates it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    date(path, moment(bytes.len() as u64 % 1000));
}

/// Writes a file of `size` bytes that do not repeat; cheap also without optimisation.
pub fn write_random(path: &Path, seed: u64, size: usize) {
    write(path, &random(seed, size));
}

pub fn random(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn date(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

pub fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// A little of everything: folders, an empty one, an empty file, names with spaces, accents and bytes that are no text,
/// small and larger files; every time an odd one.
pub fn fill(root: &Path) {
    write(&root.join("a.txt"), b"alpha");
    write(&root.join("b.txt"), b"beta beta");
    write(&root.join("empty"), b"");
    write(&root.join("photos/2026/año nuevo.jpg"), &random(1, 70_000));
    write(&root.join("photos/2026/beach.jpg"), &random(2, 300_001));
    write(&root.join("photos/raw/one.cr2"), &random(3, 1_500_000));
    write(&root.join("photos/index.txt"), b"index");
    write(&root.join(OsStr::from_bytes(b"odd/\xff\xfe.bin")), b"not text");
    write(&root.join("odd/ leading space -and--dashes'\"$"), b"x");
    write(&root.join("-dash"), b"dash");
    fs::create_dir_all(root.join("hollow/inner")).unwrap();
    date_folders(root);
}

/// Gives every folder below `root` an odd time, deepest first.
pub fn date_folders(root: &Path) {
    let below = WalkDir::new(root).min_depth(1).contents_first(true).sort_by_file_name();
    let folders = below.into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_dir());
    for (number, folder) in folders.enumerate() {
        date(folder.path(), moment(5_000 + number as u64));
    }
}

/// All there is below a directory, apart from the programs' own state.
pub fn tree(root: &Path) -> BTreeMap<OsString, Node> {
    let walk = WalkDir::new(root).min_depth(1).into_iter().filter_entry(|entry| entry.file_name() != ".hostdir");
    walk.map(Result::unwrap)
        .map(|entry| {
            let name = entry.path().strip_prefix(root).unwrap().as_os_str().to_owned();
            (name, node(entry.path()))
        })
        .collect()
}

pub fn node(path: &Path) -> Node {
    let metadata = fs::symlink_metadata(path).unwrap();
    let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    if metadata.is_symlink() {
        return Node::Link(fs::read_link(path).unwrap());
    }
    if metadata.is_dir() {
        return Node::Folder { modified };
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    Node::File { modified, size: metadata.len(), digest: hasher.finalize() }
}

/// Two trees must be the same in names, bytes and times. Tells what differs, and not all that is the same.
#[track_caller]
pub fn assert_same(left: &BTreeMap<OsString, Node>, right: &BTreeMap<OsString, Node>) {
    let differing = |from: &BTreeMap<OsString, Node>, other: &BTreeMap<OsString, Node>| -> Vec<String> {
        let differs = from.iter().filter(|(name, node)| other.get(*name) != Some(node));
        differs.take(10).map(|(name, node)| format!("{name:?}: {node:?} / {:?}", other.get(name))).collect()
    };
    let (here, there) = (differing(left, right), differing(right, left));
    assert!(here.is_empty() && there.is_empty(), "left / right: {here:#?}\nright / left: {there:#?}");
}
