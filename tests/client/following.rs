//! `client publish` and `client subscribe` through the real server.

use crate::common::{Launch, Log, Server, eventually};
use crate::proxy::{Line, Proxy};
use crate::scene::{Running, Scene, assert_same, client, fill, random, tree, write_random};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn follow(scene: &Scene, folder: &str, arguments: &[&str]) -> Running {
    let before = followers(scene);
    let mut command = client(scene.server.address(), &scene.local(folder));
    let running = Running::start(command.arg("subscribe").args(arguments));
    eventually("it follows", || followers(scene) > before);
    running
}

/// How many subscriptions there were so far.
fn followers(scene: &Scene) -> usize {
    scene.server.log(Log::Events).iter().filter(|line| line.contains(" event=subscribe ")).count()
}

/// A publisher whose standard input is the test's.
fn publisher(scene: &Scene, name: &str) -> Child {
    let mut command: Command = scene.client();
    command.args(["publish", "chat", "-", "--name", name, "--quiet", "--wait", "0"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn partials(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(".hostdir/partial")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_published_is_with_all_who_follow() {
    let scene = Scene::new();
    let source = scene.local("source");
    fill(&source);
    write_random(&source.join("large.bin"), 9, 5_000_000);
    crate::scene::date_folders(&source);
    let followers: Vec<_> =
        ["one", "two"].map(|name| follow(&scene, name, &["chat", "--count", "11", "--json"])).into();
    let run = scene.run(&["publish", "chat", source.to_str().unwrap(), "--json"]).ends(0);
    for follower in followers {
        let ended = follower.wait().ends(0);
        assert_eq!(ended.summary()["ok"], 11, "{ended:#?}");
    }
    for file in run.json("file") {
        let states: Vec<_> = file["receivers"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
        assert_eq!(states, [json!("verified"), json!("verified")], "{file}");
    }
    for name in ["one", "two"] {
        let files = |root: &Path| -> Vec<_> {
            let all = tree(root).into_iter();
            all.filter(|(_, node)| matches!(node, crate::scene::Node::File { .. })).collect()
        };
        let (sent, got) = (files(&source), files(&scene.local(name).join("chat/source")));
        assert_same(&sent.into_iter().collect(), &got.into_iter().collect());
    }
}

#[test]
fn each_line_of_a_stream_is_with_its_followers_at_once() {
    let scene = Scene::new();
    let follower = follow(&scene, "one", &["chat", "--count", "1", "--json"]);
    let mut child = publisher(&scene, "log");
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"first\n").unwrap();
    let folder = scene.local("one");
    eventually("it is being fetched", || !partials(&folder).is_empty());
    assert!(!folder.join("chat").exists(), "nothing is seen before it is whole");
    input.write_all(&random(3, 700_000)).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    follower.wait().ends(0);
    assert!(fs::read(folder.join("chat/log")).unwrap() == fs::read(scene.hosted("chat/log")).unwrap());
}

#[test]
fn a_subscriber_that_was_away_misses_nothing() {
    let scene = Scene::new();
    let first = follow(&scene, "one", &["chat"]);
    let saved = scene.local("one").join(".hostdir");
    eventually("its position is saved", || {
        fs::read_dir(&saved).into_iter().flatten().any(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.starts_with("topics-") && !name.contains('.')
        })
    });
    first.signal(Signal::INT);
    first.wait().ends(130);
    for (seed, name) in ["a", "b", "c"].iter().enumerate() {
        write_random(&scene.local(name), seed as u64, 2_000_000 * seed);
        scene.run(&["publish", "chat", scene.local(name).to_str().unwrap(), "--wait", "0"]).ends(0);
    }
    // What is elsewhere is nobody's business.
    scene.run(&["put", scene.local("a").to_str().unwrap()]).ends(0);
    let second =
        Running::start(client(scene.server.address(), &scene.local("one")).args(["subscribe", "chat", "--count", "3"]));
    second.wait().ends(0).says("3 missed files fetched");
    assert!(fs::read(scene.local("one").join("chat/c")).unwrap() == fs::read(scene.local("c")).unwrap());
    assert!(!scene.local("one").join("a").exists());
}

#[test]
fn a_live_upload_survives_cuts_on_both_sides() {
    let scene = Scene::new();
    let cut = |bytes| (Line::Good, Line::CutAfter(bytes));
    let proxy = Proxy::start(
        scene.server.address(),
        &[(Line::Good, Line::Good), cut(600_000), cut(900_000), (Line::Good, Line::Good)],
    );
    let mut command = client(proxy.address(), &scene.local("one"));
    let follower = Running::start(command.args(["subscribe", "chat", "--count", "1", "--json"]));
    eventually("it follows", || followers(&scene) == 1);
    let sending = Proxy::start(
        scene.server.address(),
        &[(Line::CutAfter(1_500_000), Line::Good), (Line::CutAfter(1_000_000), Line::Good), (Line::Good, Line::Good)],
    );
    let bytes = random(4, 5_000_000);
    let mut command = client(sending.address(), &scene.downloads());
    command.args(["publish", "chat", "-", "--name", "big", "--wait", "0"]);
    crate::scene::run_with_input(&mut command, &bytes).ends(0);
    let run = follower.wait().ends(0);
    assert_eq!((proxy.cuts(), sending.cuts()), (2, 2), "{run:#?}");
    assert!(fs::read(scene.local("one").join("chat/big")).unwrap() == bytes);
    assert!(partials(&scene.local("one")).is_empty());
    // The bytes went once over the line, less what was lost with the cuts.
    let file = run.file("chat/big");
    assert!(file["resumed_from"].as_u64().unwrap() > 500_000, "{file}");
}

#[test]
fn a_publisher_that_gives_up_leaves_nothing_with_its_followers() {
    let scene = Scene::new();
    let follower = follow(&scene, "one", &["chat", "--json"]);
    let mut child = publisher(&scene, "log");
    child.stdin.as_mut().unwrap().write_all(b"first\n").unwrap();
    eventually("it is being fetched", || !partials(&scene.local("one")).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    follower.signal(Signal::INT);
    follower.wait().ends(130);
    assert!(!scene.local("one").join("chat").exists());
}

#[test]
fn a_server_that_restarts_is_followed_on() {
    let mut scene = Scene::new();
    let follower = follow(&scene, "one", &["chat", "--count", "2", "--json"]);
    write_random(&scene.local("a"), 1, 10_000);
    write_random(&scene.local("b"), 2, 3_000_000);
    scene.run(&["publish", "chat", scene.local("a").to_str().unwrap()]).ends(0);
    let port = scene.server.address().port();
    scene.server.terminate();
    assert_eq!(scene.server.wait(), 0);
    scene.server = Server::launch(scene.host.path(), &Launch { port, ..Launch::default() });
    scene.run(&["publish", "chat", scene.local("b").to_str().unwrap(), "--wait", "0"]).ends(0);
    let run = follower.wait().ends(0);
    assert!(run.json("event").iter().any(|event| event["event"] == "reconnected"), "{run:#?}");
    assert_eq!((run.file("chat/a")["number"].as_u64(), run.file("chat/b")["number"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_killed_subscriber_is_told_to_the_publisher_as_gone() {
    let scene = Scene::new();
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Good), (Line::Good, Line::Held)]);
    let mut command = client(proxy.address(), &scene.local("one"));
    let follower = Running::start(command.args(["subscribe", "chat", "--serial", "--once-complete"]));
    eventually("it follows", || followers(&scene) == 1);
    write_random(&scene.local("a"), 1, 3_000_000);
    let path = scene.local("a");
    let publishing = Running::start(scene.client().args(["publish", "chat", path.to_str().unwrap(), "--wait", "300"]));
    proxy.wait_for_connections(2);
    let since = Instant::now();
    follower.kill();
    drop(proxy);
    let run = publishing.wait().ends(0).says("1 gone");
    // Those who might still receive it are waited for for longer.
    assert!(since.elapsed() < Duration::from_secs(120), "{run:#?}");
}
