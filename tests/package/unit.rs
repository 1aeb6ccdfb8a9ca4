//! The systemd unit: valid, tight, and not so tight that the server cannot work.

use super::common::{Launch, Log, Server, content};
use super::{has, out, read};
use rustix::process::Signal;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const UNIT: &str = "packaging/hostdir.service";
/// The exposure that systemd 252 sees, as docs/OPERATING.md says it: from 0 to 10.
const EXPOSURE: f32 = 1.1;
/// Newer versions look at more. Beyond this, somebody should look.
const MOST_EXPOSURE: f32 = 2.0;

/// The values of a setting of the unit, in their order.
pub(super) fn settings(name: &str) -> Vec<String> {
    let unit = read(UNIT);
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// The unit with a program that is there.
fn unit(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("hostdir.service");
    fs::write(&path, read(UNIT).replace("/usr/bin/hostdir-server", env!("CARGO_BIN_EXE_server"))).unwrap();
    path
}

fn analyze(words: &[&str]) -> Command {
    let mut command = Command::new("systemd-analyze");
    command.args(words).env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "").env("LC_ALL", "C.UTF-8");
    command
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    if !has("systemd-analyze", "the unit's check") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let output = analyze(&["verify", "--man=no"]).arg(unit(&folder)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine may have faults of their own.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("hostdir")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_exposes_as_little_as_the_documents_say() {
    assert!(read("docs/OPERATING.md").contains(&format!("exposure level of {EXPOSURE}")));
    if !has("systemd-analyze", "the unit's exposure") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let output = analyze(&["security", "--offline=true", "--no-pager"]).arg(unit(&folder)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let Some((_, level)) = said.split_once("Overall exposure level for hostdir.service: ") else {
        return eprintln!("this systemd-analyze cannot look at files: {}", String::from_utf8_lossy(&output.stderr));
    };
    let level: f32 = level.split(' ').next().unwrap().parse().unwrap();
    let is_252 = out(&mut analyze(&["--version"])).starts_with("systemd 252 ");
    assert!(level <= MOST_EXPOSURE && (!is_252 || level == EXPOSURE), "{said}");
}

/// The system calls of each group that the unit may name, as systemd has them.
fn groups() -> HashMap<String, Vec<String>> {
    let listing = out(&mut analyze(&["syscall-filter", "--no-pager"]));
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    let mut current = String::new();
    for line in listing.lines() {
        if line.starts_with('@') {
            current = line.trim().to_owned();
        } else if line.starts_with(' ') && !line.trim_start().starts_with('#') {
            groups.entry(current.clone()).or_default().push(line.trim().to_owned());
        } else if line.starts_with('#') {
            current.clear();
        }
    }
    groups
}

/// A name, or everything in a group.
fn expand(groups: &HashMap<String, Vec<String>>, name: &str) -> Vec<String> {
    match groups.get(name) {
        Some(names) => names.iter().flat_map(|name| expand(groups, name)).collect(),
        None => vec![name.to_owned()],
    }
}

/// What the unit allows: each line adds or, after `~`, takes away.
fn allowed() -> HashSet<String> {
    let groups = groups();
    let mut allowed: HashSet<String> = expand(&groups, "@default").into_iter().collect();
    for line in settings("SystemCallFilter") {
        let names =
            |line: &str| -> Vec<String> { line.split_whitespace().flat_map(|name| expand(&groups, name)).collect() };
        match line.strip_prefix('~') {
            Some(line) => {
                let taken = names(line);
                allowed.retain(|name| !taken.contains(name));
            }
            None => allowed.extend(names(&line)),
        }
    }
    allowed
}

#[test]
fn the_unit_allows_every_system_call_that_the_server_makes() {
    if !has("systemd-analyze", "the comparison with its groups") || !has("strace", "what the server calls") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let trace = folder.path().join("trace");
    work_traced(&folder, trace.to_str().unwrap());
    let trace = fs::read_to_string(trace).unwrap();
    let called: HashSet<&str> = trace.lines().filter_map(call).collect();
    assert!(called.contains("sendfile") && called.contains("landlock_restrict_self"), "{called:?}");
    let allowed = allowed();
    // Those before the program runs are systemd's own, and it has not raised its wall yet.
    let missing: Vec<&&str> = called.iter().filter(|name| !allowed.contains(**name) && **name != "execve").collect();
    assert!(missing.is_empty(), "the unit does not allow {missing:?}");
}

/// `openat` of `1234 openat(AT_FDCWD, …`; not that which ends a call that was interrupted.
fn call(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
}

/// Has a server do what servers do: uploads, downloads, a follower, an expired file, a browser, reopened logs, an orderly end.
fn work_traced(folder: &TempDir, trace: &str) {
    let hosted = folder.path().join("hosted");
    let sent = folder.path().join("sent");
    fs::create_dir_all(sent.join("folder")).unwrap();
    for (name, size) in [("small", 10), ("folder/large", 3 << 20)] {
        fs::write(sent.join(name), content(7, size)).unwrap();
    }
    let through = ["strace", "-f", "-qq", "-o", trace];
    let arguments = ["--expire", "folder=1s", "--allow-overwrite"];
    let mut server = Server::launch(&hosted, &Launch { through: &through, arguments: &arguments, ..Launch::default() });
    let saved = folder.path().join("saved");
    let run = |words: &[&str]| {
        let port = server.address().port().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(["--port", &port, "--dir"]).arg(&saved).args(words).current_dir(folder.path());
        out(&mut command)
    };
    run(&["put", "sent"]);
    run(&["get", "/"]);
    run(&["subscribe", "/", "--from", "start", "--count", "2"]);
    run(&["put", "sent/folder", "--to", "folder"]);
    server.logged(Log::Events, &["event=expired"]);
    let mut browser = TcpStream::connect(server.address()).unwrap();
    write!(browser, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address()).unwrap();
    let mut answer = Vec::new();
    browser.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    // `server` is the tracer; what it traces gets the signals.
    let traced = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let traced: i32 = traced.trim().parse().unwrap();
    let signal =
        |signal| rustix::process::kill_process(rustix::process::Pid::from_raw(traced).unwrap(), signal).unwrap();
    signal(Signal::HUP);
    signal(Signal::TERM);
    assert_eq!(server.wait(), 0);
}
