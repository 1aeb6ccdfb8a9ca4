//! `client publish`, and standard input as the file.

use crate::common::eventually;
use crate::fake::Fake;
use crate::proxy::{Line, Proxy};
use crate::scene::{Running, Scene, client, random, run, run_with_input, write_random};
use hostdir::wire::{
    Digest, ErrorCode, Fault, Kind, Offer, Received, Receiver, ReceiverState, Reply, Request, Stored, StoredOutcome,
    TransferId,
};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

fn receiver(name: &str, state: ReceiverState) -> Receiver {
    Receiver { name: name.into(), state }
}

fn stored(path: &[u8], number: Option<u64>) -> Reply {
    Reply::Stored(Stored { transfer: TransferId(1), path: path.into(), outcome: StoredOutcome::New, number })
}

/// Stores whatever is sent at once as arrival 12, and answers RECEIVERS with these, one after another, the last one for ever.
fn with_receivers(answers: Vec<Vec<Receiver>>) -> (Fake, Arc<Mutex<Vec<u64>>>) {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&waits);
    let fake = Fake::start(move |peer, request| match request {
        Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
        Request::Finish(_) => peer.reply(&stored(b"chat/a", Some(12))),
        Request::Receivers(asked) => {
            let mut noted = noted.lock().unwrap();
            let receivers = answers[noted.len().min(answers.len() - 1)].clone();
            noted.push(asked.wait);
            peer.reply(&Reply::Received(Received { receivers, more: 0 }));
        }
        _ => {}
    });
    (fake, waits)
}

fn publish(fake: &Fake, arguments: &[&str]) -> Command {
    let source = fake.local.path().join("a");
    fs::write(&source, b"alpha").unwrap();
    let mut command = fake.client();
    command.args(["publish", "chat"]).arg(source).args(arguments);
    command
}

#[test]
fn it_ends_by_saying_who_received_it() {
    let all = vec![
        receiver("10.0.0.1:5", ReceiverState::Verified),
        receiver("10.0.0.2:6\u{1b}[2J", ReceiverState::Failed),
        receiver("10.0.0.3:7", ReceiverState::Gone),
    ];
    let mut fetching = all.clone();
    fetching[0].state = ReceiverState::Fetching;
    let (fake, waits) = with_receivers(vec![fetching, all.clone()]);
    let ended = run(&mut publish(&fake, &[])).ends(0).says("chat/a · arrival 12 · 1 verified, 1 failed, 1 gone");
    assert!(ended.err.contains("10.0.0.3:7   went away") && !ended.err.contains("10.0.0.1"), "{ended:#?}");
    assert!(ended.err.contains("1 of 3 still fetching"), "{ended:#?}");
    assert_eq!(waits.lock().unwrap().len(), 2);
    assert!(waits.lock().unwrap().iter().all(|wait| (1..=10).contains(wait)));
    run(&mut publish(&fake, &["-v"])).ends(0).says("10.0.0.1:5   verified");
    let file = run(&mut publish(&fake, &["--json"])).ends(0).file("chat/a");
    assert_eq!((&file["number"], &file["status"]), (&json!(12), &json!("ok")));
    assert_eq!(file["receivers"][0], json!({ "name": "10.0.0.1:5", "state": "verified" }));
    assert_eq!(file["receivers"].as_array().unwrap().len(), 3);
}

#[test]
fn it_waits_no_longer_than_it_was_told() {
    let (fake, waits) = with_receivers(vec![vec![receiver("10.0.0.1:5", ReceiverState::Fetching)]]);
    let ended = run(&mut publish(&fake, &["--wait", "0"])).ends(0);
    assert!(waits.lock().unwrap().is_empty() && !ended.err.contains("fetching"));
    // This server does not wait at all, so it is asked until the time is over.
    run(&mut publish(&fake, &["--wait", "1"])).ends(0).says("arrival 12 · 1 still fetching");
    assert_eq!(waits.lock().unwrap().last(), Some(&0));
}

#[test]
fn a_server_that_does_not_remember_is_no_failure() {
    let fake = Fake::start(|peer, request| match request {
        Request::Finish(_) => peer.reply(&stored(b"chat/a", Some(12))),
        Request::Receivers(_) | Request::List(_) => {
            peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None }));
        }
        _ => {}
    });
    let ended = run(&mut publish(&fake, &["--json"])).ends(0).says("who received it is not known");
    assert_eq!(ended.file("chat/a")["status"], "ok");
}

/// Cause: a connection on which a question was not answered in time was used for the next one, which got the answer to the first.
#[test]
fn an_answer_that_is_late_is_not_taken_for_that_about_the_next_file() {
    let fake = Fake::raw(|peer| {
        if !peer.greet(crate::fake::welcome()) {
            return;
        }
        let (mut path, mut is_owed) = (Vec::new(), false);
        while let Some(request) = peer.request() {
            match request {
                Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
                Request::Put(put) => path = put.path.to_vec(),
                Request::Finish(_) => peer.reply(&stored(&path, Some(if path == b"chat/a" { 1 } else { 2 }))),
                // The first answer takes longer than the client is patient.
                Request::Receivers(asked) if asked.number == 1 => is_owed = true,
                Request::Receivers(_) => {
                    let late = is_owed.then(|| receiver("late", ReceiverState::Verified));
                    for receiver in late.into_iter().chain([receiver("right", ReceiverState::Verified)]) {
                        peer.reply(&Reply::Received(Received { receivers: vec![receiver], more: 0 }));
                    }
                }
                _ => {}
            }
        }
    });
    let second = fake.local.path().join("b");
    fs::write(&second, b"beta").unwrap();
    let mut command = publish(&fake, &["--serial", "--timeout", "5", "--retries", "0", "--json"]);
    let ended = run(command.arg(second)).ends(0).says("who received it is not known");
    assert_eq!(ended.file("chat/b")["receivers"], json!([{ "name": "right", "state": "verified" }]), "{ended:#?}");
}

#[test]
fn files_and_folders_go_below_the_topic() {
    let scene = Scene::new();
    let source = scene.local("source");
    crate::scene::fill(&source);
    scene.run(&["publish", "/news/today/", source.to_str().unwrap(), "--wait", "0"]).ends(0);
    crate::scene::assert_same(&crate::scene::tree(&source), &crate::scene::tree(&scene.hosted("news/today/source")));
}

#[test]
fn standard_input_survives_a_cut_connection() {
    let scene = Scene::new();
    let bytes = random(11, 3_000_000);
    for command in [&["publish", "chat", "-", "--name", "log", "--wait", "0"][..], &["put", "-", "--name", "log"]] {
        let cuts = [300_000, 900_000, 700_000, 500_000].map(|limit| (Line::CutAfter(limit), Line::Good));
        let proxy = Proxy::start(scene.server.address(), &[&cuts[..], &[(Line::Good, Line::Good)]].concat());
        let ended = run_with_input(client(proxy.address(), &scene.downloads()).args(command), &bytes).ends(0);
        assert_eq!(proxy.cuts(), 4, "{ended:#?}");
        assert!(ended.err.contains("again in"), "{ended:#?}");
        let place = if command[0] == "publish" { "chat/log" } else { "log" };
        assert!(fs::read(scene.hosted(place)).unwrap() == bytes);
    }
    let partials = scene.host.path().join(".hostdir/partial");
    assert_eq!(fs::read_dir(partials).unwrap().count(), 0, "no attempt left anything");
}

#[test]
fn standard_input_is_sent_as_it_comes_and_goes_on_after_the_offer() {
    let (say, heard) = mpsc::channel();
    let say = Mutex::new(say);
    let attempts = Mutex::new(Vec::new());
    let fake = Fake::start(move |peer, request| match request {
        Request::Put(put) => {
            let mut attempts = attempts.lock().unwrap();
            attempts.push(put.upload.unwrap());
            assert!(put.ask && put.size.is_none() && attempts.iter().all(|id| *id == attempts[0]));
            let held = if attempts.len() > 1 { 4 } else { 0 };
            let digest = (held > 0).then(|| Digest(*blake3::hash(b"one\n").as_bytes()));
            peer.reply(&Reply::Offer(Offer { transfer: TransferId(1), offset: held, digest }));
        }
        Request::Begin(begin) => {
            say.lock().unwrap().send(format!("from {}", begin.offset)).unwrap();
            while let Some((kind, body)) = peer.frame() {
                if kind == Kind::Finish {
                    return peer.reply(&stored(b"chat/log", None));
                }
                let text = String::from_utf8(body).unwrap();
                say.lock().unwrap().send(text.clone()).unwrap();
                if text == "two\n" && begin.offset == 0 {
                    return peer.hang_up();
                }
            }
        }
        _ => {}
    });
    let mut command = fake.client();
    let mut child = command
        .args(["publish", "chat", "-", "--name", "log", "--quiet"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let next = || heard.recv_timeout(Duration::from_secs(90)).unwrap();
    assert_eq!(next(), "from 0");
    for line in ["one\n", "two\n"] {
        let written = Instant::now();
        input.write_all(line.as_bytes()).unwrap();
        assert_eq!(next(), line);
        assert!(written.elapsed() < Duration::from_secs(20), "{:?}", written.elapsed());
    }
    // Nothing more is written: that the connection is gone is noticed all the same.
    assert_eq!(next(), "from 4");
    assert_eq!(next(), "two\n");
    input.write_all(b"three\n").unwrap();
    assert_eq!(next(), "three\n");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_refused_stream_ends_at_once() {
    let scene = Scene::with(&["--read-only"], |_| {});
    run_with_input(scene.client().args(["publish", "chat", "-", "--name", "x"]), b"x")
        .refused(8, &["takes no uploads"]);
    let scene = Scene::with(&["--max-file-size", "1000"], |_| {});
    let mut command = scene.client();
    command.args(["publish", "chat", "-", "--name", "x"]).stdin(Stdio::piped());
    // Whoever feeds it is told by a closed pipe.
    run_with_input(&mut command, &random(1, 1_000_000)).says("1 failed");
    assert!(!scene.hosted("chat/x").exists());
}

#[test]
fn a_stream_that_is_stopped_leaves_nothing_behind() {
    let scene = Scene::new();
    write_random(&scene.local("x"), 1, 10);
    let mut command = scene.client();
    let mut running =
        Running::start(command.args(["publish", "chat", "-", "--name", "x", "--json"]).stdin(Stdio::piped()));
    let mut input = running.stdin();
    input.write_all(b"line\n").unwrap();
    eventually("it is being sent", || crate::large::partial_size(scene.host.path()) > 0);
    assert!(!running.has_ended());
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().ends(130);
    assert_eq!(ended.file("chat/x")["status"], "interrupted");
    assert!(!scene.hosted("chat/x").exists());
    assert!(!scene.downloads().exists(), "publishing makes no download folder");
}
