//! Ctrl-C.

use crate::common::eventually;
use crate::fake::{Fake, file};
use crate::large::partial_size;
use crate::proxy::{Line, Proxy};
use crate::scene::{Running, Scene, client, node, run, write_random};
use hostdir::wire::{ErrorCode, Fault, Offer, Reply, Request, TransferId};
use rustix::process::Signal;
use serde_json::json;
use std::fs::File;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const SIZE: usize = 6_000_000;

#[test]
fn a_download_that_is_interrupted_keeps_what_it_has_and_goes_on_later() {
    for (signal, flag) in [(Signal::INT, "--serial"), (Signal::TERM, "--parallel")] {
        let scene = Scene::with(&[], |host| {
            write_random(&host.join("big"), 1, SIZE);
            write_random(&host.join("other"), 2, 1_000);
        });
        let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
        proxy.allow(3_000_000);
        let words = ["get", "big", "other", flag, "--jobs", "1"];
        let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
        eventually("half of it is there", || partial_size(&scene.downloads()) > 2_000_000);
        running.signal(signal);
        let run = running.wait().ends(130).says("not finished").says("stopped;").says("Retry: client");
        assert_eq!(run.out, "");
        assert!(!scene.downloaded("big").exists());
        let kept = partial_size(&scene.downloads());
        assert!(kept > 2_000_000);
        let run = scene.run(&["get", "big", "other", flag, "--json"]).ok();
        assert_eq!(run.file("big")["resumed_from"], kept);
        assert_eq!(run.file("big")["bytes"], SIZE as u64 - kept);
        assert_eq!(node(&scene.downloaded("big")), node(&scene.hosted("big")));
    }
}

#[test]
fn an_interrupted_run_tells_programs_what_is_kept() {
    let scene = Scene::with(&[], |host| write_random(&host.join("big"), 1, SIZE));
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(3_000_000);
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(["get", "big", "--json"]));
    eventually("half of it is there", || partial_size(&scene.downloads()) > 2_000_000);
    running.signal(Signal::INT);
    let run = running.wait().ends(130);
    assert_eq!(run.file("big")["status"], "interrupted");
    assert_eq!(run.file("big")["partial"], partial_size(&scene.downloads()));
    assert_eq!(run.summary()["interrupted"], json!(1));
}

#[test]
fn an_upload_that_is_interrupted_goes_on_later() {
    let scene = Scene::new();
    let source = scene.local("big");
    write_random(&source, 1, SIZE);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Held, Line::Good)]);
    proxy.allow(3_000_000);
    let put = ["put", source.to_str().unwrap(), "--json"];
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(put));
    eventually("half of it is there", || partial_size(scene.host.path()) > 2_000_000);
    running.signal(Signal::INT);
    assert_eq!(running.wait().ends(130).file("big")["status"], "interrupted");
    assert!(!scene.hosted("big").exists());
    let run = scene.run(&put).ok();
    assert!(run.file("big")["resumed_from"].as_u64().unwrap() > 2_000_000, "{run:?}");
    assert_eq!(node(&scene.hosted("big")), node(&source));
}

#[test]
fn an_upload_of_a_vast_file_stops_at_once() {
    let (say, heard) = mpsc::channel();
    let say = Mutex::new(say);
    let fake = Fake::start(move |peer, request| match request {
        Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
        Request::Put(_) => peer.reply(&Reply::Offer(Offer { transfer: TransferId(1), offset: 0, digest: None })),
        Request::Begin(_) => {
            say.lock().unwrap().send(()).unwrap();
            peer.until_closed();
        }
        _ => {}
    });
    let source = fake.downloads().join("vast");
    std::fs::create_dir(fake.downloads()).unwrap();
    // All hole: nothing on the disk, and minutes of hashing.
    File::create(&source).unwrap().set_len(400 << 30).unwrap();
    let running = Running::start(fake.client().args(["put", source.to_str().unwrap()]));
    heard.recv_timeout(Duration::from_secs(60)).unwrap();
    running.signal(Signal::INT);
    let asked = Instant::now();
    running.wait().ends(130);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn a_client_that_only_waits_is_interrupted_too() {
    let scene = Scene::new();
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(["list"]));
    proxy.wait_for_connections(1);
    eventually("the server has heard it", || !scene.server.log(crate::common::Log::Events).join("").is_empty());
    running.signal(Signal::INT);
    running.wait().ends(130);
}

/// Cause: the space of a download that was interrupted is reserved, and was counted as missing once more when it went on.
#[test]
fn what_an_interrupted_download_has_reserved_is_not_missing() {
    const SIZE: u64 = 1 << 60;
    for (words, place) in [(&["get", "f"][..], "f"), (&["get", "f", "-o", "g"], "g")] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let fake = Fake::start(move |peer, request| match request {
            Request::List(_) => {
                peer.entries(b"", &[file(b"f", SIZE)]);
                peer.listed(1);
            }
            Request::Get(get) => {
                noted.lock().unwrap().push(get.offset);
                peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None }));
            }
            _ => {}
        });
        let partials = fake.downloads().join(".hostdir/partial");
        std::fs::create_dir_all(&partials).unwrap();
        // Named after its place and the version "v1".
        let name = format!("{}-7631", &blake3::hash(place.as_bytes()).to_hex()[..32]);
        File::create(partials.join(name)).unwrap().set_len(100_000).unwrap();
        let run = run(fake.client().current_dir(fake.downloads()).args(words)).ends(8);
        assert_eq!(*asked.lock().unwrap(), [100_000], "{words:?}: {run:?}");
    }
}
