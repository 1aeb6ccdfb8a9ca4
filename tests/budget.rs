//! What a transfer may cost: system calls on both sides, and memory for a hundred transfers at once. Counted, not timed, so
//! a slow machine does not fail it and a needless call does.
//!
//! Needs `strace`, and says so where there is none.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

use hostdir::wire::{FRAME_HEADER, FrameHeader, Get, Hello, Kind, PREAMBLE, Put, PutKind, Request};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FILES: usize = 1_000;
/// Left out is what depends on which thread is faster: who waits for whom.
const COUNTED: &str = "trace=!futex,sched_yield";
/// How long strace may take to write its summary.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, traced or not, over `host` in a directory of its own.
struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    /// `prepare` fills the host directory first.
    fn start(wrapper: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("host")).unwrap();
        prepare(&dir.path().join("host"));
        let words = [wrapper, &[env!("CARGO_BIN_EXE_server")]].concat();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--ip", "127.0.0.1", "--port", "0", "--dir", "host", "--log-dir", "logs"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let rest = line.split_once("127.0.0.1:")?.1;
            rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port: port.expect("the server says where it listens"), dir }
    }

    /// Asks it to stop and waits.
    fn stop(&mut self) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::INT).unwrap();
        self.child.wait().unwrap();
    }

    fn connect(&self) -> TcpStream {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut greeting = PREAMBLE.to_vec();
        Request::Hello(Hello { min_version: 1, max_version: 1, agent: None, token: None }).encode(&mut greeting);
        socket.write_all(&greeting).unwrap();
        socket
    }

    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// System calls of server and client while the client does `words`.
fn calls(prepare: impl FnOnce(&Path), words: &[&str]) -> Option<(u64, u64)> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("not counted: there is no strace");
        return None;
    }
    let counts = TempDir::new().unwrap();
    let (of_server, of_client) = (counts.path().join("server"), counts.path().join("client"));
    let out = |path: &PathBuf| path.to_str().unwrap().to_owned();
    // -D: the server is our child, and strace is not.
    let mut server = Server::start(&["strace", "-D", "-f", "-c", "-e", COUNTED, "-o", &out(&of_server)], prepare);
    let done = Command::new("strace")
        .args([
            "-f",
            "-c",
            "-e",
            COUNTED,
            "-o",
            &out(&of_client),
            env!("CARGO_BIN_EXE_client"),
            "-q",
            "-p",
            &server.port.to_string(),
        ])
        .args(words)
        .current_dir(server.dir.path())
        .status()
        .unwrap();
    assert!(done.success());
    server.stop();
    Some((total(&of_server), total(&of_client)))
}

/// The last line of a summary of strace, once it is written.
fn total(path: &Path) -> u64 {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.ends_with(" total")) {
            return line.split_whitespace().nth(3).unwrap().parse().unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "strace said nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tree(host: &Path) {
    std::fs::create_dir(host.join("tree")).unwrap();
    for number in 0..FILES {
        std::fs::write(host.join(format!("tree/{number}")), vec![7; 4096]).unwrap();
    }
}

#[test]
fn a_small_file_costs_few_calls_on_both_sides() {
    let Some((server, client)) = calls(tree, &["--serial", "--dir", "in", "get", "tree"]) else { return };
    // Starting and ending either program takes a few hundred calls; how often a side waits for the other depends on the
    // machine, hence the margin.
    let each = |calls: u64| (calls.saturating_sub(400)) as f64 / FILES as f64;
    // Server: 2 to count and list, then open, stat, read, stat, close. Client: look, create, write, time, rename, close.
    assert!(each(server) <= 11.0, "{} calls of the server for a file", each(server));
    assert!(each(client) <= 9.0, "{} calls of the client for a file", each(client));
}

#[test]
fn a_large_file_costs_few_calls_for_each_mebibyte() {
    const MIB: u64 = 64;
    let prepare = |host: &Path| std::fs::write(host.join("big"), vec![7; (MIB as usize) << 20]).unwrap();
    let Some((server, client)) = calls(prepare, &["--segments", "never", "--dir", "in", "get", "big"]) else { return };
    let each = |calls: u64| calls.saturating_sub(400) as f64 / MIB as f64;
    // How much a call of recv or sendfile moves is up to the kernel: 64 KiB at least, and a wait for each at most.
    assert!(each(server) <= 48.0, "{} calls of the server for a MiB", each(server));
    assert!(each(client) <= 96.0, "{} calls of the client for a MiB", each(client));
}

#[test]
fn a_hundred_transfers_at_once_take_modest_memory() {
    let server = Server::start(&[], |host| std::fs::write(host.join("big"), vec![7; 32 << 20]).unwrap());
    let downloads: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = server.connect();
            let get = Get::whole(b"big");
            let mut request = Vec::new();
            Request::Get(get).encode(&mut request);
            socket.write_all(&request).unwrap();
            // More than the first frame: the file is on its way, and then nobody reads on.
            socket.read_exact(&mut [0; 4096]).unwrap();
            socket
        })
        .collect();
    assert!(server.peak_mib() <= 40, "{} MiB for 100 downloads", server.peak_mib());
    drop(downloads);
    let uploads: Vec<_> = (0..100).map(|number| start_upload(&server, number)).collect();
    assert!(server.peak_mib() <= 240, "{} MiB for 100 uploads", server.peak_mib());
    drop(uploads);
}

/// Sends 2 MiB of an upload, and waits until the server has taken nearly all.
fn start_upload(server: &Server, number: u32) -> TcpStream {
    let mut socket = server.connect();
    let put = Put {
        path: format!("up-{number}").as_bytes().into(),
        kind: PutKind::File,
        size: Some(1 << 30),
        modified: None,
        on_conflict: hostdir::wire::OnConflict::Rename,
        upload: None,
        digest: None,
        ask: false,
    };
    let mut bytes = Vec::new();
    Request::Put(put).encode(&mut bytes);
    for _ in 0..2 {
        bytes.extend_from_slice(&FrameHeader { kind: Kind::Data, length: 1 << 20 }.encode());
        bytes.resize(bytes.len() + (1 << 20), 7);
    }
    assert!(bytes.len() > 2 * (FRAME_HEADER + (1 << 20)));
    socket.write_all(&bytes).unwrap();
    socket
}
