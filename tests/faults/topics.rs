//! Server, subscribers and publishers are killed at random moments, again and again; what was acknowledged is with every
//! subscriber, once.

use crate::common::{Launch, Random, Server, content, memory, scaled};
use crate::follow::{From, Heard, OnDrop, history};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddrV4;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOPIC: &str = "chat";
const PUBLISHERS: u64 = 2;
/// How long the last files may take to be with everybody: a client that met many kills rests for ten seconds.
const CAUGHT_UP: Duration = Duration::from_secs(90);

/// The client, with a quiet environment.
pub fn client(address: SocketAddrV4, downloads: &Path, command: &str) -> Command {
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"HOSTDIR_")) {
        client.env_remove(name);
    }
    client.args([command, "--ip", &address.ip().to_string(), "--port", &address.port().to_string(), "--dir"]);
    client.arg(downloads).stdin(Stdio::null());
    client
}

/// A file whose name tells what its content must be.
fn name_of(seed: u64, size: usize) -> String {
    format!("{seed:x}-{size}")
}

/// What a name promises; `None` if no publisher sent anything of that name.
fn promised(name: &str) -> Option<Vec<u8>> {
    let (seed, size) = name.split_once('-')?;
    Some(content(u64::from_str_radix(seed, 16).ok()?, size.parse().ok()?))
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// A folder into which files come, and those in it that were found to be right before.
struct Watched {
    folder: PathBuf,
    known: BTreeSet<String>,
}

impl Watched {
    fn new(folder: PathBuf) -> Self {
        Self { folder, known: BTreeSet::new() }
    }

    /// Everything that can be seen is a whole file of a publisher. Returns how many there are.
    fn check(&mut self, when: &str) -> usize {
        let shown = self.folder.display();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name == ".hostdir" || name == TOPIC {
                continue;
            }
            panic!("{when}: {name} in {shown} is nobody's");
        }
        for entry in fs::read_dir(self.folder.join(TOPIC)).into_iter().flatten().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if self.known.contains(&name) {
                continue;
            }
            let promised = promised(&name).unwrap_or_else(|| panic!("{when}: {name} in {shown} is nobody's"));
            let there = fs::read(entry.path()).unwrap();
            assert!(there == promised, "{when}: {name} in {shown} is partial or wrong: {} bytes", there.len());
            self.known.insert(name);
        }
        self.known.len()
    }
}

/// A real `client subscribe`, begun anew after each kill.
struct Subscriber {
    name: &'static str,
    arguments: Vec<String>,
    place: TempDir,
    watched: Watched,
    child: Option<Child>,
    kills: usize,
}

impl Subscriber {
    /// `arguments` choose how it follows; each file that it has runs a program that notes it.
    fn new(name: &'static str, arguments: &[&str]) -> Self {
        let place = memory();
        let hook = place.path().join("hook");
        let text = "#!/bin/sh\necho \"$HOSTDIR_NUMBER $HOSTDIR_DIGEST $HOSTDIR_REMOTE_PATH\" >> \"${0%/*}/ran\"\n";
        fs::write(&hook, text).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let mut arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        arguments.extend([TOPIC.into(), "--json".into(), "--exec".into(), hook.display().to_string()]);
        let watched = Watched::new(place.path().join("downloads"));
        Self { name, arguments, place, watched, child: None, kills: 0 }
    }

    fn start(&mut self, address: SocketAddrV4) {
        let append = |name: &str| {
            let path = self.place.path().join(name);
            File::options().create(true).append(true).open(path).unwrap()
        };
        let mut command = client(address, &self.watched.folder, "subscribe");
        // Until a position is saved it must be told where to begin.
        let state = fs::read_dir(self.watched.folder.join(".hostdir")).into_iter().flatten();
        let mut names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_saved = names.any(|name| name.starts_with("topics-") && !name.contains('.'));
        command.args(&self.arguments).args(if is_saved { &[] } else { &["--from", "start"][..] });
        self.child = Some(command.stdout(append("out")).stderr(append("err")).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "{} ended by itself: {}", self.name, self.read("err"));
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
    }

    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{}: {}", self.name, self.read("err"));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.place.path().join(name)).unwrap_or_default()
    }

    /// Whether so many files are here, and noted, as far as kills let them be.
    fn has(&mut self, count: usize) -> bool {
        let noted = self.read("ran").lines().count() + self.kills;
        self.watched.check("at the end").min(noted) >= count
    }

    /// It has what was acknowledged, each of it was noted once, and nothing was missed.
    fn settle(&self, acknowledged: &BTreeMap<String, u64>) {
        let name = self.name;
        let missing: Vec<_> = acknowledged.iter().filter(|(it, _)| !self.watched.known.contains(*it)).collect();
        assert!(missing.is_empty(), "{name} misses {missing:?}; it said: {}{}", self.read("err"), self.read("out"));
        let foreign: Vec<_> = self.watched.known.iter().filter(|it| !acknowledged.contains_key(*it)).collect();
        assert!(foreign.is_empty(), "{name} has {foreign:?}, which nobody was promised");
        let mut ran = BTreeSet::new();
        for line in self.read("ran").lines() {
            let [number, digested, path] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{name}: {line}") };
            let file = path.strip_prefix("chat/").unwrap();
            assert_eq!(acknowledged.get(file), Some(&number.parse().unwrap()), "{name}: the number of {line}");
            assert_eq!(digested, digest(&promised(file).unwrap()), "{name}: {line}");
            assert!(ran.insert(file.to_owned()), "{name}: the program ran twice for {file}");
        }
        // A kill may come after the position was saved and before the program was run.
        let not_run = acknowledged.len() - ran.len();
        let missing: Vec<_> = acknowledged.iter().filter(|(it, _)| !ran.contains(*it)).collect();
        assert!(
            not_run <= self.kills,
            "{name}: the program did not run for {missing:?}, with {} kills; it said: {}{}",
            self.kills,
            self.read("err"),
            self.read("out")
        );
        let mut told = BTreeSet::new();
        for line in self.read("out").lines() {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {line:?}: {error}"));
            assert!(object["event"] != "gap" && object["event"] != "problem", "{name}: {line}");
            if object["type"] == "file" && object["status"] != "interrupted" {
                assert!(object["status"] == "ok" || object["status"] == "identical", "{name}: {line}");
                assert_eq!(object["stored_as"], Value::Null, "{name}: {line}");
                assert!(told.insert(object["number"].as_u64().unwrap()), "{name}: told twice: {line}");
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What publishers share.
struct Desk {
    address: SocketAddrV4,
    /// The numbers of what was acknowledged.
    acknowledged: Mutex<BTreeMap<String, u64>>,
    kills: AtomicU64,
    attempts: AtomicU64,
    done: AtomicBool,
}

/// Publishes one file after another with the real client; what was not acknowledged is published again.
fn publish(desk: &Desk, publisher: u64, mut random: Random) {
    let place = memory();
    for number in 0_u64.. {
        if desk.done.load(Ordering::Acquire) {
            return;
        }
        let size = match random.below(6) {
            0 => 0,
            1 | 2 => random.below(3_000),
            3 | 4 => random.below(400_000),
            _ => random.below(4_000_000),
        } as usize;
        let (seed, is_stream) = (publisher << 32 | number, random.below(3) == 0);
        let (name, bytes) = (name_of(seed, size), content(seed, size));
        let path = place.path().join(&name);
        fs::write(&path, &bytes).unwrap();
        let number = loop {
            desk.attempts.fetch_add(1, Ordering::Relaxed);
            let mut command = client(desk.address, place.path(), "publish");
            command.args([TOPIC, "--json", "--wait", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = match is_stream {
                true => command.args(["-", "--name", &name]).stdin(Stdio::piped()).spawn(),
                false => command.arg(&path).spawn(),
            };
            if let Some(number) = attempt(desk, child.unwrap(), &bytes, &mut random) {
                break number;
            }
        };
        desk.acknowledged.lock().unwrap().insert(name, number);
        fs::remove_file(path).unwrap();
    }
}

/// Runs a publisher to its end, or kills it. The number of the arrival, if it was told one.
fn attempt(desk: &Desk, mut child: Child, bytes: &[u8], random: &mut Random) -> Option<u64> {
    let dies = (random.below(4) == 0).then(|| Duration::from_millis(random.below(120)));
    let pause = Duration::from_micros(random.below(8_000));
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            scope.spawn(move || {
                // A publisher that is killed closes the pipe.
                for chunk in bytes.chunks(100_000) {
                    if stdin.write_all(chunk).is_err() {
                        return;
                    }
                    thread::sleep(pause);
                }
            });
        }
        if let Some(after) = dies {
            thread::sleep(after);
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                desk.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        let files = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let file = files.into_iter().find(|object| object["type"] == "file")?;
        let is_here = file["status"] == "ok" || file["status"] == "identical";
        assert!(is_here || ended.status.code() != Some(0), "{file}");
        is_here.then(|| file["number"].as_u64().unwrap_or_else(|| panic!("no number: {file}")))
    })
}

/// How many kills and files there were.
#[derive(Debug, Default)]
struct Tally {
    server: usize,
    subscribers: usize,
    publishers: u64,
    files: usize,
    attempts: u64,
}

#[test]
fn random_kills_of_all_who_take_part_lose_no_acknowledged_file_and_bring_none_twice() {
    let mut random = Random::announced("topics under random kills");
    let mut tally = Tally::default();
    // Fresh folders now and then: all of it is in memory.
    let (scenes, kills) = scaled((1, 16), (10, 20));
    for scene in 0..scenes {
        play(kills, &mut random, &mut tally);
        eprintln!("scene {scene}: {tally:?}");
    }
    assert!(tally.files > 0 && tally.server > 0 && tally.subscribers > 0);
}

/// One server, three subscribers, two publishers, and so many kills among them.
fn play(kills: usize, random: &mut Random, tally: &mut Tally) {
    let host = memory();
    let mut server = Server::start(host.path(), &[]);
    let (address, mut hosted) = (server.address(), Watched::new(host.path().to_owned()));
    let mut subscribers = [
        Subscriber::new("live", &[]),
        Subscriber::new("complete", &["--once-complete"]),
        Subscriber::new("serial", &["--serial"]),
    ];
    subscribers.iter_mut().for_each(|subscriber| subscriber.start(address));
    let desk = Desk {
        address,
        acknowledged: Mutex::default(),
        kills: AtomicU64::new(0),
        attempts: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let seed = random.next();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let desk = &desk;
            scope.spawn(move || publish(desk, publisher, Random::new(seed ^ publisher)));
        }
        // Publishers end, also if a check fails.
        let _end = OnDrop(|| desk.done.store(true, Ordering::Release));
        for kill in 0..kills {
            thread::sleep(Duration::from_micros(random.below(600_000)));
            let when = format!("after kill {kill}");
            if random.below(2) == 0 {
                server.end();
                tally.server += 1;
                hosted.check(&when);
                server = Server::launch(host.path(), &Launch { port: address.port(), ..Launch::default() });
            } else {
                let subscriber = &mut subscribers[random.below(3) as usize];
                subscriber.kill();
                subscriber.watched.check(&when);
                subscriber.start(address);
            }
            for subscriber in &mut subscribers {
                subscriber.watched.check(&when);
            }
        }
    });
    let acknowledged = desk.acknowledged.into_inner().unwrap();
    for subscriber in &mut subscribers {
        let until = Instant::now() + CAUGHT_UP;
        // Whatever is missing then is told below.
        while !subscriber.has(acknowledged.len()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        subscriber.stop();
        // Once more, and all of it.
        subscriber.watched.known.clear();
        subscriber.watched.check("at the end");
        subscriber.settle(&acknowledged);
        tally.subscribers += subscriber.kills;
    }
    hosted.check("at the end");
    assert_eq!(hosted.known, acknowledged.keys().cloned().collect(), "what is hosted is what was acknowledged");
    settle_journal(&server, &acknowledged);
    tally.files += acknowledged.len();
    tally.publishers += desk.kills.into_inner();
    tally.attempts += desk.attempts.into_inner();
}

/// Each file that was acknowledged arrived once, under the number that its publisher was told, and nothing else did.
fn settle_journal(server: &Server, acknowledged: &BTreeMap<String, u64>) {
    let (_, heard, last) = history(&mut server.client(), "", From::Start);
    let mut numbered = BTreeMap::new();
    for heard in heard {
        let Heard::Arrived(arrived) = heard else { panic!("{heard:?}") };
        let path = String::from_utf8(arrived.path.to_vec()).unwrap();
        let name = path.strip_prefix("chat/").unwrap().to_owned();
        assert_eq!(arrived.digest.to_string(), digest(&promised(&name).unwrap()), "{path}");
        assert_eq!(numbered.insert(name, arrived.number), None, "{path} arrived twice");
    }
    assert_eq!(&numbered, acknowledged);
    assert_eq!(last, acknowledged.len() as u64, "numbers have no holes");
}
