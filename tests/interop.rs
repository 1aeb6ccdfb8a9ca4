//! The real `server` and a client in Python that was written from `docs/PROTOCOL.md` alone (`tests/interop/`): if the
//! two understand each other, the page is enough.
//!
//! Needs `python3` with its `venv` module, and the first time the Python package index.

mod common;

use common::{Log, Server};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use walkdir::WalkDir;

const REQUIREMENTS: &str = include_str!("interop/requirements.txt");

/// Where the client's sources are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// A Python with the client's requirements, made once for all tests and all test processes.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target directory");
        let lock = File::create(target.join("interop-venv.lock")).expect("the target directory can be written");
        flock(&lock, FlockOperation::LockExclusive).expect("a lock can be waited for");
        let venv = target.join("interop-venv");
        let made_for = venv.join("made-for-requirements.txt");
        if fs::read_to_string(&made_for).ok().as_deref() != Some(REQUIREMENTS) {
            make_venv(&venv);
            fs::write(&made_for, REQUIREMENTS).expect("the environment can be written");
        }
        venv.join("bin/python")
    })
}

fn make_venv(venv: &Path) {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(venv.join("bin/python")).args(pip).arg(sources().join("requirements.txt")));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server over a directory of its own, and a place for the client's files.
struct Scene {
    host: TempDir,
    local: TempDir,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Fills the host directory before the server starts.
    fn with(fill: impl FnOnce(&Path)) -> Self {
        Self::start(&[], fill)
    }

    /// The same, with further arguments of the server.
    fn start(arguments: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let (host, local) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        fill(host.path());
        let server = Server::start(host.path(), arguments);
        Self { host, local, server }
    }

    fn hosted(&self, name: &str) -> PathBuf {
        self.host.path().join(name)
    }

    fn local(&self, name: &str) -> PathBuf {
        self.local.path().join(name)
    }

    fn client<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        Command::new(python())
            .arg(sources().join("hostdir_client.py"))
            .args(["--port", &self.server.address().port().to_string()])
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUTF8", "1")
            .output()
            .expect("the client can be started")
    }

    /// What the client prints, which must succeed.
    fn done<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.client(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What the client complains of, which must end with `code`.
    fn fails<S: AsRef<OsStr>>(&self, code: i32, arguments: &[S]) -> String {
        let output = self.client(arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}{complaint}", text(&output.stdout));
        complaint
    }

    fn get(&self, path: &str, more: &[&str]) -> Vec<String> {
        let local = self.local("got").to_string_lossy().into_owned();
        [&["get", path, "-o", &local], more].concat().into_iter().map(str::to_owned).collect()
    }

    fn put(&self, file: &Path, path: &str, more: &[&str]) -> Vec<String> {
        let file = file.to_string_lossy();
        [&["put", &file, path], more].concat().into_iter().map(str::to_owned).collect()
    }
}

/// Bytes that do not repeat, so that none can be taken for others.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&length.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes a file that was last modified at a time with an odd fraction of a second.
fn write(path: &Path, bytes: &[u8]) -> SystemTime {
    let modified = UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
    let file = File::options().write(true).open(path).expect("the file");
    file.set_modified(modified).expect("a modification time");
    modified
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).expect("it is there").modified().expect("it has a modification time")
}

/// `from N` at the end of a line.
fn resumed_at(line: &str) -> u64 {
    let (_, rest) = line.split_once("from ").unwrap_or_else(|| panic!("{line:?} does not say from where"));
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn the_client_holds_against_hostile_servers() {
    let tests = Command::new(python())
        .args(["-W", "error", "-m", "unittest", "test_hostdir_client"])
        .current_dir(sources())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python can be started");
    assert!(tests.status.success(), "{}", text(&tests.stderr));
    assert!(!text(&tests.stderr).contains("Ran 0 tests"));
}

#[test]
fn a_server_answers_a_ping() {
    assert_eq!(Scene::new().done(&["ping"]), "pong\n");
}

#[test]
fn a_server_is_spoken_to_within_tls_by_the_fingerprint_that_it_shows() {
    let keys = TempDir::new().expect("a directory");
    let tls = ["--tls", "--tls-dir", keys.path().to_str().expect("it is text")];
    let scene = Scene::start(&tls, |host| _ = write(&host.join("big"), &content(3_000_000)));
    let line = scene.server.logged(Log::Events, &["event=certificate"]);
    let key = line.split('"').find(|part| part.starts_with("sha256//")).expect("its key is in the log");
    let with = |key: &str, words: &[String]| [&["--fingerprint".to_owned(), key.to_owned()][..], words].concat();
    scene.done(&with(key, &scene.get("big", &[])));
    assert_eq!(fs::read(scene.local("got")).expect("it was fetched"), content(3_000_000));
    scene.done(&with(key, &scene.put(&scene.local("got"), "back", &["--ask"])));
    assert_eq!(fs::read(scene.hosted("back")).expect("it was stored"), content(3_000_000));
    let other = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(scene.fails(1, &with(other, &["ping".into()])).contains(key));
    assert!(scene.fails(1, &["ping"]).contains("forbidden"));
}

fn fill(host: &Path) {
    write(&host.join("empty"), b"");
    write(&host.join("a b.txt"), b"hello");
    write(&host.join("año/deep/er/é.bin"), &content(70_000));
    write(&host.join("año/.hidden"), b"x");
    write(&host.join(OsStr::from_bytes(b"\xff.bin")), b"not UTF-8");
    fs::create_dir(host.join("empty folder")).expect("a folder");
}

/// What the client should print for everything in a directory, to some depth.
fn lines_of(root: &Path, depth: usize) -> BTreeSet<String> {
    let entries = WalkDir::new(root).min_depth(1).max_depth(depth).into_iter().map(|entry| entry.expect("readable"));
    let own = |path: &Path| path.strip_prefix(root).expect("below the root").starts_with(".hostdir");
    let line = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().expect("metadata");
        let modified = modified(entry.path()).duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let name = entry.path().strip_prefix(root).expect("below the root").as_os_str().as_bytes();
        let name: String = name
            .utf8_chunks()
            .flat_map(|chunk| {
                let invalid: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
                [chunk.valid().to_owned(), invalid]
            })
            .collect();
        match metadata.is_dir() {
            true => format!("folder\t0\t{modified}\t{name}"),
            false => format!("file\t{}\t{modified}\t{name}", metadata.len()),
        }
    };
    entries.filter(|entry| !own(entry.path())).map(line).collect()
}

#[test]
fn a_listing_equals_the_directory() {
    let scene = Scene::with(fill);
    for (arguments, depth) in [(&["list"][..], 1), (&["list", "-R"], usize::MAX)] {
        let printed = scene.done(arguments);
        let listed: BTreeSet<String> = printed.lines().map(str::to_owned).collect();
        assert_eq!(printed.lines().count(), listed.len(), "an entry came twice");
        assert_eq!(listed, lines_of(scene.host.path(), depth), "{arguments:?}");
    }
    let below = scene.done(&["list", "año"]);
    assert_eq!(below.lines().count(), 2, "{below}");
    assert!(below.lines().all(|line| line.contains("\taño/")), "{below}");
}

#[test]
fn what_is_got_is_identical() {
    let scene = Scene::with(|host| {
        fill(host);
        write(&host.join("big"), &content(3_000_001));
    });
    for name in ["empty", "a b.txt", "año/deep/er/é.bin", "big"] {
        let printed = scene.done(&scene.get(name, &[]));
        let (expected, got) = (fs::read(scene.hosted(name)).expect("a file"), fs::read(scene.local("got")));
        assert!(got.expect("a file") == expected, "{name} differs");
        assert_eq!(modified(&scene.local("got")), modified(&scene.hosted(name)), "{name}");
        assert!(printed.contains(&blake3::hash(&expected).to_string()), "{printed}");
        fs::remove_file(scene.local("got")).expect("the file");
    }
}

#[test]
fn refusals_are_told() {
    let scene = Scene::with(fill);
    let cases = [("nothing", "not-found"), ("año", "not-a-file"), ("a/../b", "bad-path"), (".hostdir/x", "bad-path")];
    for (path, code) in cases {
        let complaint = scene.fails(1, &scene.get(path, &[]));
        assert!(complaint.starts_with(&format!("get: {code}: ")), "{complaint}");
    }
    let source = scene.local("source");
    write(&source, b"x");
    let complaint = scene.fails(1, &scene.put(&source, "a.", &[]));
    assert!(complaint.starts_with("put: bad-name: "), "{complaint}");
    assert_eq!(fs::read_dir(scene.local.path()).expect("a folder").count(), 1, "a refusal leaves nothing behind");
}

#[test]
fn what_is_put_is_there_identical_with_its_modification_time() {
    let scene = Scene::new();
    for (number, length) in [0, 1, 100_000, 3_000_001].into_iter().enumerate() {
        for more in [&[][..], &["--ask"]] {
            let source = scene.local(&format!("source {number} {}", more.len()));
            let time = write(&source, &content(length + more.len()));
            let name = format!("new/folder/{number} {}.bin", more.len());
            let printed = scene.done(&scene.put(&source, &name, more));
            assert_eq!(printed, format!("new\t{name}\tfrom 0\n"));
            assert!(fs::read(scene.hosted(&name)).expect("a file") == content(length + more.len()), "{name} differs");
            assert_eq!(modified(&scene.hosted(&name)), time, "{name}");
        }
    }
}

#[test]
fn a_taken_name_is_never_replaced() {
    let scene = Scene::with(|host| _ = write(&host.join("f.txt"), b"theirs"));
    let source = scene.local("source");
    write(&source, b"mine");
    for (more, expected) in [
        (&[][..], "renamed\tf (1).txt\tfrom 0\n"),
        (&["--ask", "--on-conflict", "skip"], "skipped\tf.txt\tnothing sent\n"),
        (&[], "identical\tf (1).txt\tfrom 0\n"),
        (&["--ask"], "identical\tf (1).txt\tnothing sent\n"),
    ] {
        assert_eq!(scene.done(&scene.put(&source, "f.txt", more)), expected, "{more:?}");
    }
    let complaint = scene.fails(1, &scene.put(&source, "f.txt", &["--ask", "--on-conflict", "fail"]));
    assert!(complaint.starts_with("put: exists: "), "{complaint}");
    assert_eq!(fs::read(scene.hosted("f.txt")).expect("a file"), b"theirs");
    assert_eq!(fs::read(scene.hosted("f (1).txt")).expect("a file"), b"mine");
    assert!(!scene.hosted("f (2).txt").exists());
}

#[test]
fn a_download_that_broke_off_resumes() {
    let scene = Scene::with(|host| _ = write(&host.join("big"), &content(4_000_000)));
    scene.fails(3, &scene.get("big", &["--stop-after", "1500000"]));
    assert!(!scene.local("got").exists());
    let printed = scene.done(&scene.get("big", &[]));
    assert_eq!(resumed_at(&printed), 1_500_000);
    assert!(fs::read(scene.local("got")).expect("a file") == content(4_000_000));
}

#[test]
fn a_download_starts_over_when_the_file_changed() {
    let scene = Scene::with(|host| _ = write(&host.join("big"), &content(4_000_000)));
    scene.fails(3, &scene.get("big", &["--stop-after", "1500000"]));
    // The same size and the same modification time: only the version can tell.
    let mut changed = content(4_000_000);
    changed[0] ^= 1;
    write(&scene.hosted("big"), &changed);
    let printed = scene.done(&scene.get("big", &[]));
    assert_eq!(resumed_at(&printed), 0);
    assert!(fs::read(scene.local("got")).expect("a file") == changed);
}

#[test]
fn an_upload_that_broke_off_resumes_and_is_unseen_until_then() {
    let scene = Scene::new();
    let source = scene.local("source");
    write(&source, &content(4_000_000));
    scene.fails(3, &scene.put(&source, "big", &["--ask", "--stop-after", "2097152"]));
    assert_eq!(scene.done(&["list", "-R"]), "");
    assert!(!scene.hosted("big").exists());
    let printed = scene.done(&scene.put(&source, "big", &["--ask"]));
    let offset = resumed_at(&printed);
    assert!((1..=2_097_152).contains(&offset), "{printed}");
    assert!(fs::read(scene.hosted("big")).expect("a file") == content(4_000_000));
}

#[test]
fn an_upload_whose_source_changed_does_not_mix() {
    let scene = Scene::new();
    let source = scene.local("source");
    write(&source, &content(4_000_000));
    scene.fails(3, &scene.put(&source, "big", &["--ask", "--stop-after", "2097152"]));
    // Written in place, with the same size and modification time: the same upload, as far as the client can tell.
    let mut changed = content(4_000_000);
    changed[0] ^= 1;
    write(&source, &changed);
    let output = scene.client(&scene.put(&source, "big", &["--ask"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(resumed_at(&text(&output.stdout)), 0);
    assert!(text(&output.stderr).contains("starting over"), "{}", text(&output.stderr));
    assert!(fs::read(scene.hosted("big")).expect("a file") == changed);
}

/// A client that follows a folder; it is following when this returns.
fn follow(scene: &Scene, folder: &str, into: &str, more: &[&str]) -> Child {
    let mut child = Command::new(python())
        .arg(sources().join("hostdir_client.py"))
        .args(["--port", &scene.server.address().port().to_string(), "follow", folder, "-o"])
        .arg(scene.local(into))
        .args(more)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client can be started");
    let mut first = [0; 10];
    child.stderr.as_mut().expect("it is piped").read_exact(&mut first).expect("it follows");
    assert_eq!(&first, b"following\n");
    child
}

/// What a client printed that ended well.
fn printed(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_is_put_is_with_those_who_follow_also_while_it_comes() {
    let scene = Scene::new();
    let follower = follow(&scene, "chat", "got", &["--count", "3"]);
    let elsewhere = follow(&scene, "news", "other", &["--count", "1"]);
    let source = |name: &str, length| {
        write(&scene.local(name), &content(length));
        scene.local(name)
    };
    scene.done(&scene.put(&source("small", 1000), "chat/small", &[]));
    common::eventually("it has the first file", || scene.local("got").join("chat/small").exists());
    // Its first part comes, and then nothing for a while: it is being followed live.
    scene.fails(3, &scene.put(&source("big", 4_000_000), "chat/deep/big", &["--ask", "--stop-after", "2097152"]));
    scene.done(&scene.put(&source("news", 10), "news/it", &[]));
    // Two have begun to follow, and one of them went on after a file.
    common::eventually("it follows again", || {
        let log = scene.server.log(common::Log::Events);
        log.iter().filter(|line| line.contains("event=subscribe")).count() >= 3
    });
    scene.done(&scene.put(&scene.local("big"), "chat/deep/big", &["--ask"]));
    scene.done(&scene.put(&source("empty", 0), "chat/empty", &[]));
    let received = printed(follower);
    for name in ["small", "deep/big", "empty"] {
        let got = fs::read(scene.local("got").join("chat").join(name)).expect("a file");
        assert!(got == fs::read(scene.hosted(&format!("chat/{name}"))).expect("a file"), "{name} differs");
    }
    assert!(received.contains("received\t1\tchat/small\t1000\twhole\t"), "{received}");
    assert!(received.contains("\tchat/deep/big\t4000000\tlive\t"), "{received}");
    assert!(received.lines().last().is_some_and(|line| line.starts_with("position\t4\t")), "{received}");
    assert!(printed(elsewhere).contains("received\t2\tnews/it\t10\t"));
    assert!(scene.done(&["receivers", "1", "--wait", "10"]).starts_with("verified\t127.0.0.1"));
    let complaint = scene.fails(1, &["receivers", "99"]);
    assert!(complaint.starts_with("receivers: not-found: "), "{complaint}");
}

#[test]
fn a_follower_that_was_away_is_told_what_it_missed() {
    let scene = Scene::new();
    write(&scene.local("a"), b"alpha");
    scene.done(&scene.put(&scene.local("a"), "chat/1", &[]));
    let first = printed(follow(&scene, "chat", "got", &["--after", "0", "--count", "1"]));
    let position: Vec<&str> = first.lines().last().expect("a line").split('\t').collect();
    let [_, after, journal] = position[..] else { panic!("{first}") };
    for name in ["chat/2", "elsewhere/3", "chat/4"] {
        write(&scene.local("b"), name.as_bytes());
        scene.done(&scene.put(&scene.local("b"), name, &[]));
    }
    let going_on = ["--after", after, "--journal", journal, "--count", "2"];
    let second = printed(follow(&scene, "chat", "got", &going_on));
    let numbers: Vec<&str> =
        second.lines().filter_map(|line| line.strip_prefix("received\t")?.split('\t').next()).collect();
    assert_eq!(numbers, ["2", "4"], "{second}");
    // The number of another journal says nothing: that is told, and then all that is known.
    let strange = ["--after", "2", "--journal", "00112233445566778899aabbccddeeff", "--count", "3"];
    let third = printed(follow(&scene, "chat", "anew", &strange));
    assert!(third.starts_with("gap\tunknown\n"), "{third}");
}
