//! The programs that people have: curl, wget, aria2c, Python's urllib, each as it is.

use crate::common::{Log, Server, content, eventually};
use crate::http::served;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A command in a directory of its own, away from the settings of whoever runs the tests.
fn tool(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(name);
    command
        .current_dir(directory)
        .env("HOME", directory)
        .env_remove("http_proxy")
        .stdin(Stdio::null())
        .process_group(0);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test installs what is needed"))
}

fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn url(server: &Server, target: &str) -> String {
    format!("http://{}{target}", server.address())
}

/// Waits until a download has some bytes on the disk, and ends its program as `kill -9` does.
fn interrupt(mut child: Child, file: &Path) {
    eventually("some bytes are on the disk", || fs::metadata(file).is_ok_and(|file| file.len() > 100_000));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn same(file: &Path, expected: &[u8]) -> bool {
    fs::read(file).unwrap() == expected
}

#[test]
fn curl_downloads_and_goes_on_where_it_was() {
    let content = content(1, 3_000_000);
    let (_dir, server) = served(&[("a b/ñ.bin", &content)], &[]);
    let here = TempDir::new().unwrap();
    let address = url(&server, "/files/a%20b/%C3%B1.bin");
    succeed(tool("curl", here.path()).args(["-sS", "--fail", "-o", "whole", &address]));
    assert!(same(&here.path().join("whole"), &content));
    // By the name that the server says.
    succeed(tool("curl", here.path()).args(["-sS", "--fail", "-OJ", &address]));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2);
    fs::write(here.path().join("part"), &content[..1_000_000]).unwrap();
    succeed(tool("curl", here.path()).args(["-sS", "--fail", "-C", "-", "-o", "part", &address]));
    assert!(same(&here.path().join("part"), &content));
    server.logged(Log::Transfers, &["offset=1000000", "bytes=2000000", "via=web", "status=sent"]);
    // An unchanged file is not sent again.
    succeed(tool("curl", here.path()).args(["-sS", "--fail", "--etag-save", "tag", "-o", "one", &address]));
    let code = ["-sS", "--etag-compare", "tag", "-o", "two", "-w", "%{http_code}", &address];
    assert_eq!(succeed(tool("curl", here.path()).args(code)), "304");
    assert_eq!(
        run(tool("curl", here.path()).args(["-sS", "--fail", &url(&server, "/files/none")])).status.code(),
        Some(22)
    );
}

#[test]
fn curl_uploads_files_and_streams() {
    let content = content(2, 3_000_000);
    let (dir, server) = served(&[], &[]);
    let here = TempDir::new().unwrap();
    fs::write(here.path().join("large.bin"), &content).unwrap();
    fs::write(here.path().join("small.txt"), "small").unwrap();
    // Large ones wait for 100; a name is added to an address that ends with a slash.
    let told =
        succeed(tool("curl", here.path()).args(["-sS", "--fail", "-T", "large.bin", &url(&server, "/files/up/")]));
    assert!(told.contains("\"path\":\"up/large.bin\""), "{told}");
    assert!(same(&dir.path().join("up/large.bin"), &content));
    succeed(tool("curl", here.path()).args([
        "-sS",
        "--fail",
        "-T",
        "{large.bin,small.txt}",
        &url(&server, "/files/two/"),
    ]));
    assert_eq!(fs::read_to_string(dir.path().join("two/small.txt")).unwrap(), "small");
    let mut stream = tool("curl", here.path());
    stream.stdin(File::open(here.path().join("large.bin")).unwrap());
    succeed(stream.args(["-sS", "--fail", "-T", "-", &url(&server, "/files/streamed")]));
    assert!(same(&dir.path().join("streamed"), &content));
    let refused = run(tool("curl", here.path()).args([
        "-sS",
        "--fail",
        "-T",
        "large.bin",
        "-H",
        "If-None-Match: *",
        &url(&server, "/files/two/small.txt"),
    ]));
    assert_eq!(refused.status.code(), Some(22));
    assert_eq!(fs::read_to_string(dir.path().join("two/small.txt")).unwrap(), "small");
}

#[test]
fn wget_downloads_and_goes_on_where_it_was_killed() {
    let content = content(3, 30_000_000);
    let (dir, server) = served(&[("f.bin", &content)], &[]);
    let here = TempDir::new().unwrap();
    let slow = ["-q", "--limit-rate=2m", &url(&server, "/files/f.bin")];
    interrupt(tool("wget", here.path()).args(slow).spawn().expect("wget is installed"), &here.path().join("f.bin"));
    succeed(tool("wget", here.path()).args(["-q", "-c", &url(&server, "/files/f.bin")]));
    assert!(same(&here.path().join("f.bin"), &content));
    let went_on = server.logged(Log::Transfers, &["path=f.bin", "status=sent"]);
    assert!(offset_of(&went_on) > 0, "what was there is not sent again: {went_on}");
    let time = |path: &Path| {
        fs::metadata(path).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    assert_eq!(time(&here.path().join("f.bin")), time(&dir.path().join("f.bin")), "its time is kept");
}

#[test]
fn aria2c_downloads_over_eight_connections_and_goes_on_where_it_was_killed() {
    let content = content(4, 30_000_000);
    let (_dir, server) = served(&[("f.bin", &content)], &[]);
    let here = TempDir::new().unwrap();
    let common = ["-q", "--no-conf", "-x8", "-s8", "-k1M", "--file-allocation=none", "--auto-save-interval=1"];
    let address = url(&server, "/files/f.bin");
    let (file, notes) = (here.path().join("f.bin"), here.path().join("f.bin.aria2"));
    let mut slow = tool("aria2c", here.path());
    let slow = slow.args(common).args(["--disk-cache=0", "--max-overall-download-limit=4M", &address]);
    let slow = slow.spawn().expect("aria2c is installed");
    eventually("its beginning is on the disk", || {
        fs::read(&file).is_ok_and(|there| there.starts_with(&content[..100_000]))
    });
    // What it notes from now on says so.
    let _ = fs::remove_file(&notes);
    eventually("it has noted what is there", || notes.exists());
    interrupt(slow, &file);
    assert!(!same(&file, &content));
    succeed(tool("aria2c", here.path()).args(common).args(["-c", &address]));
    assert!(same(&file, &content));
    let offsets = || server.log(Log::Transfers).iter().map(|line| offset_of(line)).collect::<Vec<u64>>();
    eventually("several parts were asked for", || offsets().iter().filter(|offset| **offset > 0).count() >= 7);
    // It shares a file out in whole MiB: a part that begins elsewhere goes on where it was.
    eventually("what was there is not sent again", || offsets().iter().any(|offset| offset % (1 << 20) != 0));
}

/// Where a download began, as its line of the log says.
fn offset_of(line: &str) -> u64 {
    let (_, rest) = line.split_once(" offset=").unwrap();
    rest.split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn urllib_downloads_and_uploads() {
    let (dir, server) = served(&[("f.txt", b"from the server")], &[]);
    let here = TempDir::new().unwrap();
    let program = r#"
import json, sys, urllib.error, urllib.request
base = sys.argv[1]
with urllib.request.urlopen(base + "/files/f.txt") as answer:
    assert answer.read() == b"from the server" and answer.headers.get_content_type() == "text/plain"
request = urllib.request.Request(base + "/files/new.txt", data=b"from python", method="PUT")
with urllib.request.urlopen(request) as answer:
    assert answer.status == 201 and json.load(answer)["outcome"] == "new"
# A body that is an iterator goes in chunks.
request = urllib.request.Request(base + "/files/chunks", data=iter([b"one ", b"two"]), method="PUT")
assert json.load(urllib.request.urlopen(request))["size"] == 7
# It sends everything before it looks for the answer.
request = urllib.request.Request(base + "/files/f.txt", data=bytes(20_000_000), headers={"If-None-Match": "*"}, method="PUT")
try:
    urllib.request.urlopen(request)
    raise SystemExit("it was not refused")
except urllib.error.HTTPError as error:
    assert error.code == 412 and json.load(error)["code"] == "exists"
with urllib.request.urlopen(base + "/api/list") as answer:
    assert sorted(entry["name"] for entry in json.load(answer)["entries"]) == ["chunks", "f.txt", "new.txt"]
"#;
    succeed(tool("python3", here.path()).args(["-c", program, &url(&server, "")]));
    assert_eq!(fs::read_to_string(dir.path().join("new.txt")).unwrap(), "from python");
    assert_eq!(fs::read_to_string(dir.path().join("f.txt")).unwrap(), "from the server");
}
