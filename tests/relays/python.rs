//! Clients in Python that were written from docs/WEB.md, section 10, alone (`python/relays.py`), on a library that knows
//! nothing of this project.
//!
//! Needs `python3` with its `venv` module, and the first time the Python package index.

use super::common::{Server, content};
use super::served;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const REQUIREMENTS: &str = include_str!("python/requirements.txt");

/// Where the clients' source is.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relays/python")
}

/// A Python with the clients' requirements, made once for all tests and all test processes.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let lock = File::create(target.join("relays-venv.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let venv = target.join("relays-venv");
        let made_for = venv.join("made-for-requirements.txt");
        if fs::read_to_string(&made_for).ok().as_deref() != Some(REQUIREMENTS) {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
            run(Command::new(venv.join("bin/python")).args(pip).arg(sources().join("requirements.txt")));
            fs::write(&made_for, REQUIREMENTS).unwrap();
        }
        venv.join("bin/python")
    })
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn client(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(sources().join("relays.py")).arg(format!("ws://{}", server.address())).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1").stdin(Stdio::null());
    command
}

/// A client that listens.
struct Listener {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Listener {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "listening");
        Self { child, lines }
    }

    /// Waits for its end, which must be a good one; what it printed.
    fn end(mut self) -> Vec<String> {
        let printed = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success());
        printed
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_that_were_written_from_the_document_send_and_receive() {
    let (dir, server) = served(&[]);
    let (local, from_a, from_b) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let size = 50 * MIB + 1;
    let files = [("one año.bin", size), ("two.bin", size), ("empty.txt", 0), ("four.PNG", 5)];
    let paths: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(seed, (name, size))| {
            let path = local.path().join(name);
            fs::write(&path, content(seed as u64, *size)).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let (folder_a, folder_b) = (from_a.path().to_str().unwrap(), from_b.path().to_str().unwrap());
    let subscriber = Listener::start(client(&server, &["subscribe", "live", folder_a, "4"]));
    let receiver = Listener::start(client(&server, &["receive", folder_b, "4"]));
    run(&mut client(&server, &["publish", "live", "x/python", &paths[0], &paths[2]]));
    run(&mut client(&server, &["send", &paths[1], &paths[3]]));
    let lines =
        ["x/python\tone año.bin", "x/python\tempty.txt", "application/octet-stream\ttwo.bin", "image/png\tfour.PNG"];
    assert_eq!(subscriber.end(), lines);
    assert_eq!(receiver.end(), ["one año.bin", "empty.txt", "two.bin", "four.PNG"]);
    for (seed, (name, size)) in files.iter().enumerate() {
        let bytes = content(seed as u64, *size);
        for folder in [dir.path().join("live").as_path(), from_a.path(), from_b.path()] {
            assert!(fs::read(folder.join(name)).unwrap() == bytes, "{name} in {}", folder.display());
        }
    }
}
