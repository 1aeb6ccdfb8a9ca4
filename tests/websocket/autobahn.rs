//! The Autobahn test suite itself (<https://github.com/crossbario/autobahn-testsuite>): its fuzzing client against the
//! crate's WebSocket. It needs Python 2.7, which many systems do not have any more, and the first time the Python package
//! index; where that is not to be had, the table of `cases` asks the same.
//!
//! `HOSTDIR_PYTHON2` names the interpreter; otherwise it is looked for as `python2.7`, and among those of pyenv.

use super::common::is_long;
use super::echo;
use hostdir::connection::Heartbeat;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const REQUIREMENTS: &str = include_str!("autobahn/requirements.txt");
/// The last one that makes environments for Python 2.7.
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// Messages that are compressed are not spoken here.
const LEFT_OUT: [&str; 2] = ["12.*", "13.*"];

#[test]
fn the_autobahn_suite_finds_nothing() {
    let Some(wstest) = wstest() else {
        return eprintln!("SKIPPED: no Python 2.7 for the Autobahn test suite (HOSTDIR_PYTHON2 can name one)");
    };
    let reports = TempDir::new().unwrap();
    let address = echo::start(Heartbeat::SERVER);
    let mut left_out = LEFT_OUT.to_vec();
    if !is_long() {
        // Large messages, which take a while.
        left_out.push("9.*");
    }
    let specification = json!({
        "outdir": reports.path(),
        "servers": [{"agent": "hostdir", "url": format!("ws://{address}")}],
        "cases": ["*"],
        "exclude-cases": left_out,
        "exclude-agent-cases": {},
    });
    let file = reports.path().join("specification.json");
    fs::write(&file, specification.to_string()).unwrap();
    run(Command::new(wstest).args(["--mode", "fuzzingclient", "--spec"]).arg(&file));
    let index: Value = serde_json::from_slice(&fs::read(reports.path().join("index.json")).unwrap()).unwrap();
    let cases = index["hostdir"].as_object().unwrap();
    assert!(cases.len() > 200, "only {} cases were run", cases.len());
    let is_good = |verdict: &Value| verdict == "OK" || verdict == "INFORMATIONAL";
    let bad: Vec<String> = cases
        .iter()
        .filter(|(_, case)| !is_good(&case["behavior"]) || !is_good(&case["behaviorClose"]))
        .map(|(name, case)| format!("{name}: {case}"))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// The suite's program, installed once for all test processes; `None` without a Python 2.7.
fn wstest() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let lock = File::create(target.join("autobahn-venv.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let environment = target.join("autobahn-venv");
    let made_for = environment.join("made-for-requirements.txt");
    if fs::read_to_string(&made_for).ok().as_deref() != Some(REQUIREMENTS) {
        install(&environment, &python2()?, target);
        fs::write(&made_for, REQUIREMENTS).unwrap();
    }
    Some(environment.join("bin/wstest"))
}

fn install(environment: &Path, python2: &Path, target: &Path) {
    let maker = target.join("autobahn-virtualenv");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&maker));
    let quietly = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(maker.join("bin/python")).args(quietly).arg(VIRTUALENV));
    run(Command::new(maker.join("bin/virtualenv"))
        .args(["--quiet", "--clear", "--python"])
        .arg(python2)
        .arg(environment));
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/websocket/autobahn/requirements.txt");
    run(Command::new(environment.join("bin/python")).args(quietly).arg("--requirement").arg(requirements));
}

/// Where a Python 2.7 is, if there is one.
fn python2() -> Option<PathBuf> {
    let where_it_is = "import sys; assert sys.version_info[:2] == (2, 7); sys.stdout.write(sys.executable)";
    let ask = |command: &mut Command| {
        let output = command.args(["-c", where_it_is]).output().ok().filter(|output| output.status.success())?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?))
    };
    if let Some(named) = std::env::var_os("HOSTDIR_PYTHON2") {
        return Some(ask(&mut Command::new(&named)).unwrap_or_else(|| panic!("{named:?} is no Python 2.7")));
    }
    let of_pyenv = || {
        let output = Command::new("pyenv").args(["versions", "--bare"]).output().ok()?;
        let versions = String::from_utf8(output.stdout).ok()?;
        let version = versions.lines().map(str::trim).find(|version| version.starts_with("2.7"))?;
        ask(Command::new("pyenv").env("PYENV_VERSION", version).args(["exec", "python"]))
    };
    ask(&mut Command::new("python2.7")).or_else(of_pyenv)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
