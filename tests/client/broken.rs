//! Lines that break: retried with backoff, resumed, and given up when told so.

use crate::common::Log;
use crate::proxy::{Line, Proxy};
use crate::scene::{Run, Scene, assert_same, client, node, run, tree, write_random};
use serde_json::json;
use std::path::Path;

const SIZE: usize = 12_000_000;
const STRATEGIES: [&str; 2] = ["--serial", "--parallel"];

fn three(root: &Path) {
    write_random(&root.join("big"), 1, SIZE);
    write_random(&root.join("middle"), 2, 3_000_000);
    write_random(&root.join("small"), 3, 1_000);
}

fn run_through(scene: &Scene, proxy: &Proxy, words: &[&str]) -> Run {
    run(client(proxy.address(), &scene.downloads()).args(words))
}

#[test]
fn a_download_goes_on_where_the_line_broke_within_one_run() {
    for strategy in STRATEGIES {
        let scene = Scene::with(&[], three);
        // More cuts than attempts are granted: each of them brings something.
        let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(1_500_000))]);
        let run = run_through(&scene, &proxy, &["get", "/", strategy, "--retries", "2", "--jobs", "2", "--json"]).ok();
        assert!(proxy.cuts() >= 7, "{} cuts", proxy.cuts());
        assert_eq!(run.summary()["ok"], 3);
        assert!(run.file("big")["resumed_from"].as_u64().unwrap() > 10_000_000, "{run:?}");
        assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
        let mut offsets = offsets(&scene, "big");
        // What a broken session sent is logged when it ends, which may be after the next one did.
        offsets.sort_unstable();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]) && offsets[0] == 0, "{offsets:?}");
    }
}

/// From where a file was transferred, in the order of the log.
fn offsets(scene: &Scene, path: &str) -> Vec<u64> {
    scene.transfers().iter().filter(|transfer| transfer.path == path).map(|transfer| transfer.offset).collect()
}

#[test]
fn an_upload_goes_on_where_the_line_broke_within_one_run() {
    for strategy in STRATEGIES {
        let scene = Scene::new();
        let source = scene.local("source");
        three(&source);
        let proxy = Proxy::start(scene.server.address(), &[(Line::CutAfter(3_500_000), Line::Good)]);
        let words = ["put", source.to_str().unwrap(), strategy, "--retries", "2", "--jobs", "2", "--json"];
        let run = run_through(&scene, &proxy, &words).ok();
        assert!(proxy.cuts() >= 3, "{} cuts", proxy.cuts());
        assert_eq!(run.summary()["failed"], 0);
        assert_same(&tree(&source), &tree(&scene.hosted("source")));
        let offsets = offsets(&scene, "source/big");
        assert!(offsets.len() >= 3 && offsets.contains(&0), "{offsets:?}");
        assert!(*offsets.iter().max().unwrap() > 5_000_000, "{offsets:?}");
    }
}

#[test]
fn a_break_is_said_with_the_time_to_the_next_attempt() {
    let scene = Scene::with(&[], three);
    let lines = [(Line::Good, Line::CutAfter(1_500_000)), (Line::Good, Line::Good)];
    let proxy = Proxy::start(scene.server.address(), &lines);
    let run = run_through(&scene, &proxy, &["get", "big"]).ok();
    let line = run.err.lines().find(|line| line.contains("again in")).unwrap_or_else(|| panic!("{run:?}"));
    assert!(line.contains(&proxy.address().to_string()) && line.ends_with(" s"), "{line}");
    assert!(run.err.contains("1 resumed from "), "{run:?}");
}

#[test]
fn without_retries_a_break_is_the_end() {
    let scene = Scene::with(&[], three);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(1_500_000))]);
    let run = run_through(&scene, &proxy, &["get", "/", "--serial", "--retries", "0", "--json"]).ends(4);
    assert_eq!(proxy.connections(), 1);
    assert_eq!(run.summary()["failed"], 3, "{run:?}");
    let partial = run.file("big")["partial"].as_u64().unwrap();
    assert!((1..1_500_000).contains(&partial), "{run:?}");
    // What was kept is used by the next run.
    let run = scene.run(&["get", "/", "--json"]).ok();
    assert_eq!(run.file("big")["resumed_from"], partial);
    assert_eq!(run.file("big")["bytes"], SIZE as u64 - partial);
    assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
}

#[test]
fn without_retries_a_broken_upload_is_the_end() {
    let scene = Scene::new();
    write_random(&scene.local("big"), 1, SIZE);
    let proxy = Proxy::start(scene.server.address(), &[(Line::CutAfter(6_000_000), Line::Good)]);
    let source = scene.local("big");
    let put = ["put", source.to_str().unwrap(), "--json"];
    run_through(&scene, &proxy, &[&put[..], &["--retries", "0"]].concat()).ends(4);
    assert!(!scene.hosted("big").exists());
    scene.server.logged(Log::Transfers, &["event=upload", "status=incomplete"]);
    let run = scene.run(&put).ok();
    assert!(run.file("big")["resumed_from"].as_u64().unwrap() > 3_000_000, "{run:?}");
    assert_eq!(node(&scene.hosted("big")), node(&source));
}

#[test]
fn starting_over_uses_nothing_of_before_and_leaves_nothing() {
    let scene = Scene::with(&[], three);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(1_500_000))]);
    run_through(&scene, &proxy, &["get", "big", "--retries", "0"]).ends(4).says("kept");
    let run = scene.run(&["get", "big", "--no-resume", "--json"]).ok();
    assert_eq!((&run.file("big")["resumed_from"], &run.file("big")["bytes"]), (&json!(null), &json!(SIZE)));
    assert!(!scene.downloaded(".hostdir").exists(), "nothing is left of the first attempt");
}

#[test]
fn a_file_that_changed_since_the_break_is_not_mixed() {
    let scene = Scene::with(&[], three);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(1_500_000))]);
    run_through(&scene, &proxy, &["get", "big", "--retries", "0"]).ends(4);
    write_random(&scene.hosted("big"), 4, SIZE);
    let run = scene.run(&["get", "big", "--json"]).ok();
    assert_eq!(run.file("big")["resumed_from"], json!(null));
    assert_eq!(node(&scene.downloaded("big")), node(&scene.hosted("big")));
    assert!(!scene.downloaded(".hostdir").exists());
    // Shorter than what was kept.
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(2_500_000))]);
    run_through(&scene, &proxy, &["get", "middle", "--retries", "0"]).ends(4);
    write_random(&scene.hosted("middle"), 5, 100);
    scene.run(&["get", "middle"]).ok();
    assert_eq!(node(&scene.downloaded("middle")), node(&scene.hosted("middle")));
    assert!(!scene.downloaded(".hostdir").exists());
}

#[test]
fn a_lost_acknowledgement_gives_one_file_and_moves_it_once() {
    // WELCOME and the answer to LIST pass; the answers to PUT do not.
    let probe = Scene::new();
    write_random(&probe.local("probe"), 9, 10);
    for size in [10, 3_000_000] {
        let scene = Scene::new();
        let source = scene.local("f");
        write_random(&source, 1, size);
        let counter = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
        // Lets the client get as far as it can without the acknowledgement, which is the last to come.
        let mut running = crate::scene::Running::start(client(counter.address(), &scene.downloads()).args([
            "put",
            source.to_str().unwrap(),
            "--json",
        ]));
        crate::common::eventually("it is stored", || {
            counter.hold();
            counter.allow(1);
            scene.hosted("f").exists()
        });
        counter.hold();
        counter.cut_all();
        assert!(!running.has_ended());
        counter.allow(u64::MAX);
        let run = running.wait().ok();
        assert_eq!(run.summary()["failed"], 0, "{run:?}");
        assert_eq!(tree(scene.host.path()).len(), 1, "one file: {run:?}");
        assert_eq!(node(&scene.hosted("f")), node(&source));
        if size > 1_000_000 {
            assert_eq!(scene.moved(), size as u64, "its bytes moved once");
        }
    }
}

#[test]
fn a_listing_and_the_folders_at_the_end_survive_a_break_too() {
    let scene = Scene::new();
    let source = scene.local("source");
    for number in 0..400 {
        std::fs::create_dir_all(source.join(format!("folder number {number} with a long name"))).unwrap();
    }
    crate::scene::date_folders(&source);
    let proxy = Proxy::start(scene.server.address(), &[(Line::CutAfter(20_000), Line::Good), (Line::Good, Line::Good)]);
    run_through(&scene, &proxy, &["put", source.to_str().unwrap()]).ok();
    assert_eq!(proxy.cuts(), 1);
    assert_same(&tree(&source), &tree(&scene.hosted("source")));
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(9_000)), (Line::Good, Line::Good)]);
    run_through(&scene, &proxy, &["get", "source"]).ok();
    assert_eq!(proxy.cuts(), 1);
    assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
}

#[test]
fn a_server_that_restarts_in_the_middle_is_waited_for() {
    let mut scene = Scene::with(&[], three);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(4_000_000);
    let running =
        crate::scene::Running::start(client(proxy.address(), &scene.downloads()).args(["get", "big", "--json"]));
    crate::common::eventually("some of it is there", || crate::large::partial_size(&scene.downloads()) > 3_000_000);
    let address = scene.server.address();
    let (port, logs) = (address.port(), scene.server.logs().to_owned());
    let host = scene.host.path().to_owned();
    let launch = |port| crate::common::Launch { port, ..crate::common::Launch::default() };
    let _ = logs;
    let server =
        std::mem::replace(&mut scene.server, crate::common::Server::start(scene.local.path(), &["--read-only"]));
    server.kill();
    scene.server = crate::common::Server::launch(&host, &launch(port));
    proxy.allow(u64::MAX);
    let run = running.wait().ok();
    assert!(run.file("big")["resumed_from"].as_u64().unwrap() > 3_000_000, "{run:?}");
    assert_eq!(node(&scene.downloaded("big")), node(&scene.hosted("big")));
}
