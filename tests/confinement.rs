//! The second wall: a server that was started can open nothing outside, whatever its first wall does.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Launch, Log, Server, content};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// Whether the kernel can: asked of a server.
fn is_possible() -> bool {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let possible = !server.logged(Log::Events, &["event=confined"]).contains("level=none");
    if !possible {
        eprintln!("SKIPPED confinement: this kernel has no Landlock");
    }
    possible
}

/// Leads the server to a file outside by the one path that it opens again: that of its log. Returns whether it got there.
fn escapes(arguments: &[&str], looks: usize) -> bool {
    let (dir, around, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let logs = around.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let server = Server::launch(dir.path(), &Launch { logs: Some(&logs), arguments, ..Launch::default() });
    server.client().alive();
    server.logged(Log::Events, &["event=connect"]);
    fs::rename(&logs, around.path().join("away")).unwrap();
    symlink(outside.path(), &logs).unwrap();
    server.signal(Signal::HUP);
    let mut client = server.client();
    // The log's thread has seen the signal when a line of after it is written, or lost, somewhere.
    for _ in 0..looks {
        client.put("f", b"x").unwrap().unwrap();
        if outside.path().join("server.log").exists() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    false
}

#[test]
fn a_confined_server_cannot_open_what_is_outside_and_an_unconfined_one_can() {
    if is_possible() {
        assert!(escapes(&["--no-confinement"], 3000), "the test leads nowhere");
        assert!(!escapes(&[], 50), "a file outside was made");
    }
}

#[test]
fn every_thread_is_confined_and_says_so() {
    if !is_possible() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    server.logged(Log::Events, &["event=confined", "level="]);
    let _client = server.client();
    for task in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        // A thread that has ended meanwhile is none.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        assert!(status.contains("NoNewPrivs:\t1"), "a thread from before the wall");
    }
    let open = Server::start(TempDir::new().unwrap().path(), &["--no-confinement"]);
    open.logged(Log::Events, &["event=confined", "level=none", "--no-confinement"]);
    assert!(fs::read_to_string(format!("/proc/{}/status", open.pid())).unwrap().contains("NoNewPrivs:\t0"));
}

#[test]
fn a_confined_server_does_all_that_it_should() {
    let (dir, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bytes = content(1, 300_000);
    fs::write(dir.path().join("there"), &bytes).unwrap();
    let launch =
        |arguments: &'static [&'static str]| Launch { logs: Some(logs.path()), arguments, ..Launch::default() };
    let server = Server::launch(dir.path(), &launch(&["--allow-overwrite"]));
    let mut client = server.client();
    client.put("new/folder/f", &bytes).unwrap().unwrap();
    client.put("there", b"renamed").unwrap().unwrap();
    let put = hostdir::wire::Put { on_conflict: hostdir::wire::OnConflict::Overwrite, ..common::put_file("there", 3) };
    client.put_as(put, b"new").unwrap().unwrap();
    assert_eq!(client.get("new/folder/f").unwrap().unwrap().bytes, bytes);
    assert_eq!(client.list_tree().unwrap().unwrap().entries.len(), 5);
    // A log that was moved away is made again.
    fs::rename(logs.path().join("server.log"), logs.path().join("server.old")).unwrap();
    server.signal(Signal::HUP);
    common::eventually("the log is made again", || {
        server.client().alive();
        logs.path().join("server.log").exists()
    });
    server.kill();
    let server = Server::launch(dir.path(), &launch(&["--read-only"]));
    assert_eq!(server.client().get("new/folder/f").unwrap().unwrap().bytes, bytes);
}

#[test]
fn a_read_only_server_remembers_digests_also_where_it_has_to_make_the_folder_for_them() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), content(1, 300_000)).unwrap();
    let server = Server::start(dir.path(), &["--read-only"]);
    server.client().get("f").unwrap().unwrap();
    assert!(Path::new(&dir.path().join(".hostdir/digests")).exists());
}

#[test]
fn relative_directories_are_confined_too() {
    let around = TempDir::new().unwrap();
    let launch = Launch { directory: Some(around.path()), logs: Some(Path::new("logs")), ..Launch::default() };
    let server = Server::launch(Path::new("./served/here"), &launch);
    server.client().put("f", b"x").unwrap().unwrap();
    assert_eq!(fs::read(around.path().join("served/here/f")).unwrap(), b"x");
}
