//! One very large file, sparse and random, both ways; client and server are killed on the way.

use crate::common::{Launch, Server, is_long, scaled};
use crate::proxy::{Line, Proxy};
use crate::scene::{Running, Transfer, client, date, moment, node, random};
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MIB: u64 = 1024 * 1024;
/// Bytes that may pass at a time.
const STEP: u64 = 4 * MIB;
/// What either process may use, in KiB.
const MEMORY: u64 = 64 * 1024;

/// Bytes in the partial files below a directory, all together.
pub fn partial_size(root: &Path) -> u64 {
    let entries = fs::read_dir(root.join(".hostdir/partial")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// A file of `size` bytes: 8 MiB of random bytes in every 16, holes between them.
fn sparse(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let mut at = 0;
    while at < size {
        let length = (8 * MIB).min(size - at);
        file.write_all_at(&random(at, length as usize), at).unwrap();
        at += 16 * MIB;
    }
    drop(file);
    date(path, moment(77));
}

/// Waits for something that may take as long as the size of the file asks for.
fn in_time(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(scaled(90, 1_200));
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A server that is killed and comes back on its port, a client that is killed and run again, and a line between them
/// that passes as many bytes as it is told.
struct Stage {
    host: TempDir,
    local: TempDir,
    logs: TempDir,
    server: Option<Server>,
    address: SocketAddrV4,
    proxy: Proxy,
    size: u64,
    peaks: Vec<(&'static str, u64)>,
}

impl Stage {
    fn new(line: (Line, Line)) -> Self {
        let (host, local, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let size = scaled(300 * MIB, 5 * 1024 * MIB);
        let server = Server::launch(host.path(), &Launch { logs: Some(logs.path()), ..Launch::default() });
        let address = server.address();
        let proxy = Proxy::start(address, &[line]);
        Self { host, local, logs, server: Some(server), address, proxy, size, peaks: Vec::new() }
    }

    fn run(&self, words: &[&str]) -> Running {
        let downloads = self.local.path().join("downloads");
        Running::start(client(self.proxy.address(), &downloads).args(words).arg("--json"))
    }

    fn restart_server(&mut self) {
        self.note_server();
        self.server.take().unwrap().kill();
        let launch = Launch { logs: Some(self.logs.path()), port: self.address.port(), ..Launch::default() };
        self.server = Some(Server::launch(self.host.path(), &launch));
    }

    fn note_server(&mut self) {
        self.peaks.push(("server", self.server.as_ref().unwrap().memory_kib("VmHWM")));
    }

    fn note_client(&mut self, client: &Running) {
        self.peaks.extend(client.memory_kib().map(|peak| ("client", peak)));
    }

    /// Three kills of each, at every seventh of the way: what was there at each is there afterwards.
    fn play(&mut self, words: &[&str], partial: &Path, path: &str, event: &str) {
        let began = Instant::now();
        let mut client = self.run(words);
        let mut kept = Vec::new();
        for stage in 1..=6 {
            let goal = self.size * stage / 7;
            self.proxy.hold();
            in_time(&format!("{goal} bytes of {path}"), || {
                let there = partial_size(partial);
                if there < goal {
                    self.proxy.allow((goal - there).min(STEP));
                }
                there >= goal
            });
            kept.push(partial_size(partial));
            if stage % 2 == 1 {
                self.note_client(&client);
                client.kill();
                client = self.run(words);
            } else {
                self.restart_server();
            }
        }
        let nearly = self.size - 8 * MIB;
        in_time("nearly all of it", || {
            self.proxy.hold();
            self.proxy.allow(STEP);
            partial_size(partial) >= nearly || client.has_ended()
        });
        self.note_client(&client);
        self.proxy.allow(u64::MAX);
        let run = client.wait().ok();
        let took = began.elapsed();
        assert_eq!((&run.file(path)["status"], &run.summary()["ok"]), (&"ok".into(), &1.into()), "{run:?}");
        assert!(run.file(path)["resumed_from"].as_u64().unwrap() > 0);
        self.note_server();
        let log = || {
            let text = fs::read_to_string(self.logs.path().join("transfers.log")).unwrap_or_default();
            text.lines().map(Transfer::parse).filter(|it| it.path == path && it.event == event).collect::<Vec<_>>()
        };
        in_time("the end is logged", || log().iter().any(|transfer| transfer.status == "ok"));
        let last = log().into_iter().find(|transfer| transfer.status == "ok").unwrap();
        // The sixth kill was the last: at most what was on its way then was lost.
        assert!(last.offset + 16 * MIB >= kept[5], "resumed at {} with {} kept", last.offset, kept[5]);
        assert_eq!(last.offset + last.bytes, self.size);
        for (who, peak) in &self.peaks {
            assert!(*peak < MEMORY, "{who}: {peak} KiB");
        }
        let peak = |who: &str| self.peaks.iter().filter(|it| it.0 == who).map(|it| it.1).max().unwrap() / 1024;
        eprintln!(
            "{event}: {} MiB in {took:.1?}, client {} MiB, server {} MiB",
            self.size / MIB,
            peak("client"),
            peak("server")
        );
    }
}

#[test]
fn a_large_download_survives_three_kills_of_each_side() {
    let mut stage = Stage::new((Line::Good, Line::Held));
    let hosted = stage.host.path().join("large");
    sparse(&hosted, stage.size);
    let downloads = stage.local.path().join("downloads");
    // In segments the length of the partial file would say nothing.
    let words = ["get", "large", "--segments", "never"];
    stage.play(&words, &downloads, "large", "download");
    assert_eq!(node(&downloads.join("large")), node(&hosted));
}

#[test]
fn a_large_upload_survives_three_kills_of_each_side() {
    let mut stage = Stage::new((Line::Held, Line::Good));
    let source = stage.local.path().join("large");
    sparse(&source, stage.size);
    let host = stage.host.path().to_owned();
    stage.play(&["put", source.to_str().unwrap()], &host, "large", "upload");
    assert_eq!(node(&host.join("large")), node(&source));
    assert!(!is_long() || stage.size > 4 * 1024 * MIB);
}
