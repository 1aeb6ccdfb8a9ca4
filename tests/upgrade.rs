//! Programs of today over what earlier ones left: host directory, journal, and the position of a subscriber.
//!
//! `tests/upgrade/0.1` was written by the programs of the first version with topics: a server called `old` was sent `one.txt` and
//! `two.txt`, a subscriber received them, `three.txt` was sent while it was away, and the server was stopped. It is never
//! written anew: a format that changes must still read it.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, eventually};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The arrivals in it have a date, and would be too old some day.
const KEEP: [&str; 2] = ["--keep-arrivals-for", "36500d"];

fn left(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/0.1").join(part)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn client(server: &Server, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().args(["--port", &server.address().port().to_string(), "--dir"]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a subscriber of this server calls its position, which its address is a part of.
fn position_name(server: &Server) -> String {
    let folder = TempDir::new().unwrap();
    let mut following = client(server, folder.path()).args(["subscribe", "chat", "--from", "now"]).spawn().unwrap();
    let mut name = None;
    eventually("the position is written", || {
        let state = fs::read_dir(folder.path().join(".hostdir")).into_iter().flatten();
        let mut names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        name = names.find(|name| name.starts_with("topics-") && !name.contains('.'));
        name.is_some()
    });
    following.kill().unwrap();
    following.wait().unwrap();
    name.unwrap()
}

#[test]
fn a_subscriber_of_an_earlier_version_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let (host, downloads) = (folder.path().join("host"), folder.path().join("downloads"));
    copy(&left("host"), &host);
    copy(&left("downloads"), &downloads);
    let server = Server::start(&host, &KEEP);
    // At once: a second later the copies, which have other inodes and times than the journal knows, arrive as new files.
    assert_eq!(server.client().put("chat/four.txt", b"four\n").unwrap().unwrap().number, Some(4));
    fs::create_dir(downloads.join(".hostdir")).unwrap();
    fs::copy(left("position"), downloads.join(".hostdir").join(position_name(&server))).unwrap();

    let followed =
        client(&server, &downloads).args(["subscribe", "chat", "--json", "--serial", "--count", "2"]).output().unwrap();
    let lines: Vec<Value> =
        String::from_utf8(followed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<(&str, u64)> = lines
        .iter()
        .filter(|line| line["type"] == "file")
        .map(|line| (line["path"].as_str().unwrap(), line["number"].as_u64().unwrap()))
        .collect();
    assert_eq!(files, [("chat/three.txt", 3), ("chat/four.txt", 4)], "numbers go on, and nothing comes twice");
    assert!(!lines.iter().any(|line| line["event"] == "gap"), "{lines:?}");
    assert_eq!(fs::read(downloads.join("chat/three.txt")).unwrap(), b"three\n");
}

#[test]
fn files_of_an_earlier_version_are_recognised() {
    let folder = TempDir::new().unwrap();
    let host = folder.path().join("host");
    copy(&left("host"), &host);
    let server = Server::start(&host, &KEEP);
    let same =
        client(&server, folder.path()).args(["put", "--json", "--to", "chat"]).arg(left("host/chat/two.txt")).output();
    let same = String::from_utf8(same.unwrap().stdout).unwrap();
    assert!(same.contains(r#""status":"identical""#), "{same}");
    let listed = client(&server, folder.path()).args(["list", "-R", "/"]).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "chat/\nchat/one.txt\nchat/three.txt\nchat/two.txt\n");
}
