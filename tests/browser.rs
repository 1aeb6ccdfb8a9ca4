//! The page in a real browser: Chromium, driven by the tests in `tests/browser/`, against the real `server` and `client`.
//!
//! Needs `chromium`, and `node` with `npm`, and says so where they are missing; the first time also npm's package index, from
//! which exactly what `package-lock.json` names is installed. Each test here is one file there.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LOCK: &str = include_str!("browser/package-lock.json");

/// What Debian and others call it.
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

fn is_there(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// The browser, if all programs are there; else which one is not.
fn browser() -> Result<&'static str, &'static str> {
    let missing = ["node", "npm"].into_iter().find(|program| !is_there(program));
    missing.map_or_else(|| CHROMIUM.into_iter().find(|name| is_there(name)).ok_or("chromium"), Err)
}

/// Installs the packages, once for all tests and all test processes.
fn install_packages() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(target.join("browser-packages.lock")).expect("the target directory can be written");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock can be waited for");
    let made_for = sources().join("node_modules/.made-for-package-lock.json");
    if fs::read_to_string(&made_for).ok().as_deref() == Some(LOCK) {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(sources());
    succeed(&mut npm);
    fs::write(&made_for, LOCK).expect("the packages' folder can be written");
}

/// Runs the tests of one file.
fn run(file: &str) {
    let chromium = match browser() {
        Ok(chromium) => chromium,
        Err(missing) => return eprintln!("SKIPPED: there is no {missing}"),
    };
    install_packages();
    let mut node = Command::new("node");
    node.args(["--test-reporter=spec", file])
        .current_dir(sources())
        .env("HOSTDIR_SERVER", env!("CARGO_BIN_EXE_server"))
        .env("HOSTDIR_CLIENT", env!("CARGO_BIN_EXE_client"))
        .env("HOSTDIR_CHROMIUM", path_of(chromium))
        .env("NO_COLOR", "1");
    succeed(&mut node);
}

/// Where a program is: the driver of the browser wants a path.
fn path_of(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.expect("it was run by this name a moment ago")
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    print!("{said}");
}

#[test]
fn folders_are_browsed_filtered_and_downloaded_from() {
    run("files.test.mjs");
}

#[test]
fn files_are_uploaded_and_go_on_after_a_break() {
    run("uploads.test.mjs");
}

#[test]
fn topics_are_followed_and_sent_to_and_nothing_is_missed() {
    run("topics.test.mjs");
}

#[test]
fn everybody_can_read_and_use_the_page() {
    run("access.test.mjs");
}

#[test]
fn every_state_of_the_page_can_be_read_by_everybody() {
    run("states.test.mjs");
}

#[test]
fn what_others_put_there_harms_no_visitor() {
    run("trust.test.mjs");
}

#[test]
fn whoever_has_a_token_may_do_what_it_is_for() {
    run("tokens.test.mjs");
}

#[test]
fn a_large_file_takes_no_memory_of_the_page() {
    run("memory.test.mjs");
}

#[test]
fn digests_of_the_page_are_those_of_blake3() {
    run("blake3.test.mjs");
}

#[test]
fn over_tls_the_page_works_as_it_does_without() {
    run("secured.test.mjs");
}
