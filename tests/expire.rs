//! Files that go by rules of the operator, through the real server: what goes and what stays, and what is said of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Launch, Log, RawClient, Server, content, digest_of, eventually, put_file, upload_id, whole};
use hostdir::wire::{Begin, ErrorCode, Finish, Get, OnConflict, Put, RawBytes, Reply, Request, Subscribe};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn served(arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

fn gone(path: &Path) {
    eventually(&format!("{} is gone", path.display()), || is_gone(path));
}

fn put(server: &Server, path: &str, bytes: &[u8]) {
    server.client().put(path, bytes).unwrap().unwrap();
}

/// What a GET of a file that was removed is told.
fn expired(client: &mut RawClient, path: &str) -> String {
    let fault = client.get(path).unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::Expired, "{fault:?}");
    fault.message.unwrap()
}

#[test]
fn a_file_expires_and_who_asks_too_late_hears_why() {
    let (dir, server) = served(&["--expire", "chat=5s"]);
    put(&server, "chat/deep/f", b"bytes");
    put(&server, "other", b"stays");
    gone(&dir.path().join("chat/deep/f"));
    let line = server.logged(Log::Events, &["event=expired", "path=chat/deep/f", "size=5"]);
    let (_, age) = line.split_once(" age=").unwrap();
    assert!(age.split(' ').next().unwrap().parse::<u64>().unwrap() >= 5, "{line}");
    let mut client = server.client();
    assert_eq!(expired(&mut client, "chat/deep/f"), "it was removed 5 s after it arrived");
    assert_eq!(client.list("chat/deep/f").unwrap().unwrap_err().code, ErrorCode::Expired);
    assert_eq!(client.get("chat/never").unwrap().unwrap_err().code, ErrorCode::NotFound);
    // Its folder stays, and the name is as good as new.
    assert!(dir.path().join("chat/deep").is_dir());
    put(&server, "chat/deep/f", b"again");
    assert_eq!(client.get("chat/deep/f").unwrap().unwrap().bytes, b"again");
    assert!(dir.path().join("other").is_file());
    gone(&dir.path().join("chat/deep/f"));
}

#[test]
fn only_what_is_below_the_folders_that_are_named_goes() {
    let (dir, server) = served(&["--expire", "a=1s,b/c=1s", "--topic-quota", "q=10"]);
    let kept = ["ab", "a b/f", "b/f", "b/cc/f", "b/c b", "q2/large", "A/f"];
    let lost = ["a/f", "a/deep/er/f", "b/c/f"];
    for path in kept.iter().chain(&lost) {
        put(&server, path, b"more than ten bytes");
    }
    lost.iter().for_each(|path| gone(&dir.path().join(path)));
    // Another one of the same age went after all that stays was there.
    put(&server, "a/last", b"");
    gone(&dir.path().join("a/last"));
    kept.iter().for_each(|path| assert!(dir.path().join(path).is_file(), "{path}"));
    assert!(dir.path().join(".hostdir/journal/id").is_file());
}

#[test]
fn the_whole_host_directory_expires_without_the_server_s_own_folder() {
    let (dir, server) = served(&["--expire", "/=1s"]);
    put(&server, "f", b"x");
    put(&server, "deep/f", b"x");
    ["f", "deep/f"].iter().for_each(|path| gone(&dir.path().join(path)));
    assert!(dir.path().join(".hostdir/journal/id").is_file());
    assert!(dir.path().join(".hostdir/journal/00000000000000000001").is_file());
    put(&server, "g", b"x");
}

#[test]
fn links_are_not_followed_and_other_names_stay() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("theirs"), "x").unwrap();
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("chat")).unwrap();
    symlink(outside.path(), dir.path().join("chat/folder-link")).unwrap();
    symlink(outside.path().join("theirs"), dir.path().join("chat/link")).unwrap();
    symlink(outside.path(), dir.path().join("linked")).unwrap();
    fs::hard_link(outside.path().join("theirs"), dir.path().join("chat/name")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("chat/pipe"), 0o600.into()).unwrap();
    let server = Server::start(dir.path(), &["--expire", "chat=1s,linked=1s", "--topic-quota", "linked=0"]);
    gone(&dir.path().join("chat/name"));
    put(&server, "chat/last", b"");
    gone(&dir.path().join("chat/last"));
    assert_eq!(fs::read_to_string(outside.path().join("theirs")).unwrap(), "x");
    for name in ["chat/folder-link", "chat/link", "chat/pipe", "linked"] {
        assert!(!is_gone(&dir.path().join(name)), "{name}");
    }
}

#[test]
fn a_quota_removes_what_arrived_longest_ago() {
    let (dir, server) = served(&["--topic-quota", "chat=100KiB"]);
    // The names and modification times say nothing of the order.
    for (path, modified) in [("chat/z", 9), ("chat/deep/y", 8), ("chat/x", 7), ("chat/a", 6)] {
        let put = Put { modified: Some(modified), ..put_file(path, 25 * 1024) };
        server.client().put_as(put, &content(modified.unsigned_abs(), 25 * 1024)).unwrap().unwrap();
    }
    put(&server, "chat/new", &content(1, 30 * 1024));
    ["chat/z", "chat/deep/y"].iter().for_each(|path| gone(&dir.path().join(path)));
    server.logged(Log::Events, &["event=quota", "path=chat/deep/y", "size=25600", "age="]);
    put(&server, "chat/small", b"");
    put(&server, "chat/larger", &content(2, 25 * 1024));
    gone(&dir.path().join("chat/x"));
    ["chat/a", "chat/new", "chat/small", "chat/larger"]
        .iter()
        .for_each(|path| assert!(dir.path().join(path).is_file(), "{path}"));
    let why = "it was removed to keep chat within 100.0 KiB";
    assert_eq!(expired(&mut server.client(), "chat/z"), why);
}

#[test]
fn an_upload_that_is_larger_than_the_quota_is_refused() {
    let (dir, server) = served(&["--topic-quota", "chat=100KiB", "--topic-quota", "/=200KiB"]);
    put(&server, "chat/f", b"stays");
    let mut client = server.client();
    let bytes = content(1, 100 * 1024 + 1);
    let fault = client.put("chat/large", &bytes).unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::TooLarge);
    assert!(fault.message.unwrap().contains("the files in chat may have 100.0 KiB together"));
    let fault = client.ask(Put { upload: Some(upload_id(1)), ..put_file("chat/large", bytes.len()) }).unwrap();
    assert_eq!(fault.unwrap_err().unwrap_err().code, ErrorCode::TooLarge);
    // One that does not say how large it is, is cut.
    let put = Put { size: None, upload: Some(upload_id(2)), ..put_file("chat/large", 0) };
    client.ask(put).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    client.data(&bytes).unwrap();
    client.refused(ErrorCode::TooLarge);
    client.send(Request::Finish(Finish { digest: digest_of(&bytes) })).unwrap();
    client.alive();
    client.put("large", &bytes).unwrap().unwrap();
    assert!(dir.path().join("chat/f").is_file());
    assert!(is_gone(&dir.path().join("chat/large")));
}

#[test]
fn a_file_that_was_replaced_is_as_young_as_what_replaced_it() {
    let (dir, server) = served(&["--expire", "chat=3s", "--allow-overwrite"]);
    let mut client = server.client();
    let put = |size| Put { on_conflict: OnConflict::Overwrite, ..put_file("chat/f", size) };
    client.put_as(put(3), b"one").unwrap().unwrap();
    client.put("chat/marker", b"").unwrap().unwrap();
    // Replaced over and over until something as old as the first one has gone, also at that moment.
    let mut count = 0;
    while !is_gone(&dir.path().join("chat/marker")) {
        count += 1;
        let bytes = format!("content {count}");
        client.put_as(put(bytes.len()), bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("chat/f")).unwrap(), bytes);
    }
    assert!(count > 1);
    assert!(dir.path().join("chat/f").is_file());
    gone(&dir.path().join("chat/f"));
    let line = server.logged(Log::Events, &["event=expired", "path=chat/f"]);
    assert!(line.contains(&format!("size={}", format!("content {count}").len())), "{line}");
}

#[test]
fn a_download_that_is_running_when_its_file_goes_ends_well() {
    let (dir, server) = served(&["--expire", "chat=6s"]);
    let bytes = content(3, 64 * MIB);
    let mut client = server.client();
    client.put_asking(Put { upload: Some(upload_id(3)), ..put_file("chat/f", bytes.len()) }, &bytes).unwrap().unwrap();
    client.send(Request::Get(whole("chat/f"))).unwrap();
    // The rest is read when the file has gone: most of it is more than the socket holds.
    let Frame::Reply(Reply::File(header)) = client.receive().unwrap() else { panic!() };
    gone(&dir.path().join("chat/f"));
    let got = client.take_bytes(header).unwrap().unwrap();
    assert!(got.bytes == bytes);
    assert_eq!(got.digest, Some(digest_of(&bytes)));
    expired(&mut client, "chat/f");
}

#[test]
fn a_live_get_that_comes_too_late_hears_why() {
    let (dir, server) = served(&["--expire", "chat=1s"]);
    let (mut sender, mut follower) = (server.client(), server.client());
    let folders = vec![RawBytes(b"chat".to_vec())];
    follower.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    sender.ask(Put { size: None, upload: Some(upload_id(4)), ..put_file("chat/f", 0) }).unwrap().unwrap();
    sender.upload_from(0, b"bytes").unwrap();
    sender.stored().unwrap().unwrap();
    let Frame::Reply(Reply::Arriving(arriving)) = follower.receive().unwrap() else { panic!() };
    let Frame::Reply(Reply::Arrived(arrived)) = follower.receive().unwrap() else { panic!() };
    assert_eq!(arrived.live, Some(arriving.live));
    gone(&dir.path().join("chat/f"));
    sender.send(Request::Get(Get { live: Some(arriving.live), ..Get::whole(b"chat/f") })).unwrap();
    assert_eq!(sender.refused(ErrorCode::Expired), "it was removed 1 s after it arrived");
}

#[test]
fn what_expired_while_the_server_was_down_goes_at_the_start_and_the_reason_outlives_it() {
    let (dir, server) = served(&["--expire", "chat=1h"]);
    put(&server, "chat/f", b"x");
    put(&server, "chat/g", &content(1, 100));
    server.kill();
    let server = Server::start(dir.path(), &["--topic-quota", "chat=100"]);
    gone(&dir.path().join("chat/f"));
    server.kill();
    let server = Server::start(dir.path(), &["--expire", "chat=1s"]);
    gone(&dir.path().join("chat/g"));
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    assert_eq!(expired(&mut client, "chat/f"), "it was removed to keep chat within 100 B");
    assert_eq!(expired(&mut client, "chat/g"), "it was removed 1 s after it arrived");
}

#[test]
fn a_file_is_as_old_as_its_arrival_whatever_its_times_say() {
    let (dir, server) = served(&["--expire", "chat=1s"]);
    put(&server, "chat/f", b"x");
    let touched = dir.path().join("chat/f");
    // New rights are no new content, and make the change time new: if that counted, it would stay for ever.
    eventually("it is gone", || {
        let _ = fs::set_permissions(&touched, Permissions::from_mode(0o600));
        is_gone(&touched)
    });
}

#[test]
fn a_file_that_cannot_be_removed_is_logged_and_keeps_no_other() {
    let dir = TempDir::new().unwrap();
    // Root, too, must not be able to remove everything.
    let through: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        false => &[],
    };
    let server =
        Server::launch(dir.path(), &Launch { through, arguments: &["--expire", "chat=6s"], ..Launch::default() });
    put(&server, "chat/stuck/f", b"x");
    put(&server, "chat/f", b"x");
    let stuck = dir.path().join("chat/stuck");
    fs::set_permissions(&stuck, Permissions::from_mode(0o500)).unwrap();
    gone(&dir.path().join("chat/f"));
    server.logged(Log::Events, &["level=warn", "event=expired", "path=chat/stuck/f", "cause="]);
    fs::set_permissions(&stuck, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn rules_that_make_no_sense_are_usage_errors() {
    let dir = TempDir::new().unwrap();
    for (arguments, said) in [
        (&["--read-only", "--expire", "chat=1h"][..], "--read-only and --expire exclude each other"),
        (&["--read-only", "--topic-quota", "chat=1GiB"], "--read-only and --topic-quota exclude each other"),
        (&["--expire", "chat=1h,chat/=2h"], "--expire names chat twice"),
        (&["--expire", "chat"], "not FOLDER=AGE"),
        (&["--expire", "=1h"], "not FOLDER=AGE"),
        (&["--expire", "chat=soon"], "not a duration"),
        (&["--expire", "chat=500ms"], "a second at least"),
        (&["--expire", "../chat=1h"], "invalid value"),
        (&["--expire", ".hostdir=1h"], "invalid value"),
        (&["--topic-quota", "chat=much"], "not a size"),
    ] {
        let program = Command::new(env!("CARGO_BIN_EXE_server"))
            .args(["--port", "0", "--dir"])
            .arg(dir.path())
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8(program.stderr).unwrap();
        assert_eq!(program.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn rules_come_from_the_environment_too() {
    let dir = TempDir::new().unwrap();
    let through = ["env", "HOSTDIR_SERVER_EXPIRE=chat=1s,news=1s"];
    let server = Server::launch(dir.path(), &Launch { through: &through, ..Launch::default() });
    put(&server, "chat/f", b"x");
    put(&server, "news/f", b"x");
    ["chat/f", "news/f"].iter().for_each(|path| gone(&dir.path().join(path)));
}
