//! A token that is revoked, changed or over ends what it is used for, also in the middle of it.
//!
//! The servers here are patient: nothing else would end these sessions within the time that a test waits.

use crate::common::{Frame, Log, RawClient, Server, eventually, put_file, upload_id};
use crate::scene::{FOLDER, Scene, greet, with_token};
use hostdir::wire::{Begin, ErrorCode, Get, Put, RawBytes, Reply, Request, Subscribe};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::io::Read;
use std::process::{Command, Stdio};

const LARGE: u64 = 1 << 30;

/// Reads until the connection ends: how many bytes still came.
fn drain(client: &mut RawClient) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let mut count = 0;
    loop {
        match client.stream.read(&mut buffer) {
            Ok(0) | Err(_) => return count,
            Ok(some) => count += some as u64,
        }
    }
}

/// A session in the middle of a large download, which takes nothing.
fn downloading(scene: &Scene, server: &Server, token: &str) -> RawClient {
    let file = std::fs::File::create(scene.path().join(FOLDER).join("large")).unwrap();
    file.set_len(LARGE).unwrap();
    let mut client = with_token(server, token);
    let get = Get { digest: Some(false), ..Get::whole(b"a/b/large") };
    client.send(Request::Get(get)).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::File(_))));
    client
}

#[test]
fn a_download_ends_when_its_token_is_revoked() {
    let scene = Scene::new();
    let (token, other) = (scene.token("gone", "read"), scene.token("stays", "read"));
    let server = scene.serve(&[]);
    let mut bystander = with_token(&server, &other);
    let mut client = downloading(&scene, &server, &token);
    scene.revoke("gone");
    server.logged(Log::Transfers, &["event=download", "path=a/b/large", "status=incomplete"]);
    assert!(drain(&mut client) < LARGE);
    bystander.alive();
    assert_eq!(greet(&server, Some(&token)).err().unwrap().code, ErrorCode::Unauthorized);
    server.logged(Log::Events, &["event=revoked", "token=gone"]);
}

#[test]
fn an_upload_ends_when_its_token_is_revoked_and_nothing_of_it_is_seen() {
    let scene = Scene::new();
    let token = scene.token("gone", "add");
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    let put = Put { upload: Some(upload_id(1)), ..put_file("a/b/new", 1 << 20) };
    assert!(client.ask(put).unwrap().is_ok());
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    client.data(&[1; 1000]).unwrap();
    scene.revoke("gone");
    assert_eq!(client.refused(ErrorCode::Unauthorized), "the token was revoked, was changed, or has expired");
    client.closed();
    assert!(!scene.path().join("a/b/new").exists());
}

#[test]
fn a_subscriber_hears_why_when_its_token_is_revoked() {
    let scene = Scene::new();
    let token = scene.token("gone", "subscribe");
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    let folders = vec![RawBytes(FOLDER.as_bytes().to_vec())];
    client.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    scene.revoke("gone");
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Paused(_))));
    client.refused(ErrorCode::Unauthorized);
    client.closed();
}

#[test]
fn a_session_between_requests_ends_when_its_token_has_expired() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let token = scene.said(&["add", "short", "--rights", "read", "--expires", "8s"]);
    server.logged(Log::Events, &["event=tokens", "tokens=1"]);
    let mut client = with_token(&server, token.trim_end());
    client.refused(ErrorCode::Unauthorized);
    client.closed();
}

#[test]
fn the_first_token_ends_the_sessions_of_those_who_have_none() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let mut client = greet(&server, None).unwrap();
    let token = scene.master("first");
    client.refused(ErrorCode::Unauthorized);
    client.closed();
    assert_eq!(greet(&server, None).err().unwrap().code, ErrorCode::Unauthorized);
    with_token(&server, &token).alive();
}

#[test]
fn the_first_token_of_a_server_that_runs_where_anybody_can_listen_is_warned_of_once() {
    let start = |flags: &[&str]| {
        let scene = Scene::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        // Nobody connects to it from anywhere.
        command.args(["--ip", "0.0.0.0", "--port", "0", "--no-discovery", "--min-free-space", "0", "--dir"]);
        command.arg(scene.path()).arg("--log-dir").arg(scene.path().join("logs")).args(flags);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let log = scene.path().join("logs/server.log");
        let logged = move |part: &str| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect::<Vec<_>>()
        };
        eventually("it runs", || !logged("event=start").is_empty());
        for (count, name) in ["one", "two"].into_iter().enumerate() {
            scene.master(name);
            let taken = format!("event=tokens tokens={}", count + 1);
            eventually("it takes notice", || !logged(&taken).is_empty());
        }
        rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (logged("tokens travel where anybody can read them"), String::from_utf8(said).unwrap())
    };
    let (warned, said) = start(&[]);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("level=warn") && warned[0].contains("event=tokens"), "{warned:?}");
    assert!(warned[0].contains("--tls") && warned[0].contains("--insecure-tokens"), "{warned:?}");
    assert!(said.contains("Warning: ") && said.contains("--tls"), "{said}");
    let (warned, said) = start(&["--insecure-tokens"]);
    assert!(warned.is_empty() && !said.contains("Warning"), "{warned:?} {said}");
}

#[test]
fn what_is_open_to_all_by_choice_stays_open_when_tokens_come() {
    let scene = Scene::new();
    let server = scene.serve(&["--anonymous", "read"]);
    let mut client = greet(&server, None).unwrap();
    let token = scene.master("first");
    eventually("the server takes notice of the token", || greet(&server, Some(&token)).is_ok());
    client.alive();
}

/// The numbers of the descriptors that a process has.
fn descriptors(pid: u32) -> std::collections::BTreeSet<u64> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_revocation_that_cannot_be_read_at_once_is_read_as_soon_as_it_can_be() {
    let scene = Scene::new();
    let (token, _other) = (scene.token("gone", "read"), scene.master("stays"));
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    client.alive();
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    // One more descriptor is enough to see that the file was changed, and not to read it.
    let held = descriptors(server.pid());
    let free = (0..).find(|number| !held.contains(number)).unwrap();
    let before =
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(free + 1), ..getrlimit(Resource::Nofile) }).unwrap();
    scene.revoke("gone");
    server.logged(Log::Events, &["level=error", "event=tokens"]);
    prlimit(pid, Resource::Nofile, before).unwrap();
    client.refused(ErrorCode::Unauthorized);
    client.closed();
}

#[test]
fn a_damaged_list_is_told_and_what_held_before_holds() {
    let scene = Scene::new();
    let token = scene.token("one", "read");
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    std::fs::write(scene.path().join(".hostdir/tokens"), "hostdir tokens 1\none\nend\n").unwrap();
    server.logged(Log::Events, &["level=error", "event=tokens", "line 2 is damaged"]);
    client.alive();
    with_token(&server, &token).alive();
}
