//! Subscribers that were away for long, histories that are gone, and several subscriptions in one folder.

use crate::common::{Launch, Log, Random, Server, eventually, scaled};
use crate::scene::{Node, Run, Running, Scene, client, random, tree, write_random};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

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

/// Follows once, so that there is a position, and goes away.
fn leave_position(scene: &Scene, folder: &str, topics: &[&str]) {
    let running = follow(scene, folder, topics);
    let saved = scene.local(folder).join(".hostdir");
    let is_saved = || {
        let mut names = fs::read_dir(&saved).into_iter().flatten().map(|it| it.unwrap().file_name().into_string());
        names.any(|name| name.is_ok_and(|name| name.starts_with("topics-") && !name.contains('.')))
    };
    eventually("its position is saved", is_saved);
    running.signal(Signal::INT);
    running.wait().ends(130);
}

/// Uploads files into a topic, several on each other's heels. Their names and contents.
fn upload(server: &Server, topic: &str, count: usize, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
    let mut sender = server.client();
    let files: Vec<_> = (0..count).map(|_| random.bytes(random.clone().below(3_000) as usize)).collect();
    let named = |index: usize| format!("{topic}/{index:04}");
    for (first, group) in files.chunks(50).enumerate().map(|(index, group)| (index * 50, group)) {
        for (index, bytes) in group.iter().enumerate() {
            let put = crate::common::put_file(named(first + index), bytes.len());
            sender.send_put(put, bytes).unwrap();
        }
        group.iter().for_each(|_| drop(sender.stored().unwrap().unwrap()));
    }
    (0..).map(named).zip(files).collect()
}

/// What came, by name: whole files, and folders on the way to them.
fn received(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = tree(folder).into_iter().filter(|(_, node)| matches!(node, Node::File { .. }));
    files.map(|(name, _)| (name.to_str().unwrap().to_owned(), fs::read(folder.join(name)).unwrap())).collect()
}

fn numbers(run: &Run) -> Vec<u64> {
    run.json("file").iter().map(|file| file["number"].as_u64().unwrap()).collect()
}

fn events(run: &Run, event: &str) -> Vec<Value> {
    run.json("event").into_iter().filter(|it| it["event"] == event).collect()
}

#[test]
fn whoever_was_away_for_long_gets_exactly_what_came_in_order() {
    let count = scaled(300, 1_000);
    let mut random = Random::announced("away for long");
    let scene = Scene::new();
    leave_position(&scene, "ordered", &["chat"]);
    leave_position(&scene, "parallel", &["chat"]);
    let mut files = upload(&scene.server, "chat", count / 2, &mut random);
    upload(&scene.server, "elsewhere", 20, &mut random);
    files.extend(upload(&scene.server, "chat/deep", count - count / 2, &mut random));
    let wanted = count.to_string();
    for (folder, how) in [("ordered", &["--serial"][..]), ("parallel", &[])] {
        let arguments = [&["subscribe", "chat", "--json", "--count", &wanted][..], how].concat();
        let mut command = client(scene.server.address(), &scene.local(folder));
        let run = Running::start(command.args(arguments)).wait().ends(0);
        let mut numbers = numbers(&run);
        if folder == "parallel" {
            numbers.sort_unstable();
        }
        let (first, second) = (1..=(count / 2) as u64, (count / 2 + 21) as u64..=(count + 20) as u64);
        assert!(numbers.iter().copied().eq(first.chain(second)), "{folder}: {numbers:?}");
        assert_eq!(events(&run, "caught_up").len(), 1);
        assert_eq!(events(&run, "caught_up")[0]["files"], count);
        assert!(received(&scene.local(folder)) == files, "{folder}");
        // And the next run has nothing to do with any of them.
        let again = follow(&scene, folder, &["chat", "--json"]);
        again.signal(Signal::INT);
        let again = again.wait().ends(130);
        assert!(again.json("file").is_empty(), "{again:#?}");
    }
}

#[test]
fn whoever_was_away_for_too_long_is_told_how_much_is_gone_and_gets_the_rest() {
    let (count, keep) = (scaled(300, 3_000), scaled("40", "400"));
    let mut random = Random::announced("away for too long");
    let mut scene = Scene::new();
    for folder in ["json", "people", "quiet"] {
        leave_position(&scene, folder, &["chat"]);
    }
    scene.server.end();
    // What is kept is trimmed when a server starts.
    scene.server = Server::launch(scene.host.path(), &launch(&scene, keep));
    let files = upload(&scene.server, "chat", count, &mut random);
    scene.server.end();
    scene.server = Server::launch(scene.host.path(), &launch(&scene, keep));
    let run = |folder: &str, arguments: &[&str]| {
        let mut command = client(scene.server.address(), &scene.local(folder));
        Running::start(command.args(["subscribe", "chat"]).args(arguments))
    };
    let mut looking = scene.server.client();
    looking.send(subscribe_from_start()).unwrap();
    let crate::common::Frame::Reply(hostdir::wire::Reply::Subscribed(subscribed)) = looking.receive().unwrap() else {
        panic!()
    };
    let gone = subscribed.oldest - 1;
    let left = count as u64 - gone;
    assert!((keep.parse().unwrap()..count as u64 / 2).contains(&left), "{left} are left");
    let left = left.to_string();
    let ended = run("json", &["--json", "--serial", "--count", &left]).wait().ends(0);
    let gaps = events(&ended, "gap");
    assert_eq!(gaps.len(), 1, "{ended:#?}");
    assert_eq!((gaps[0]["missed"].as_u64(), gaps[0]["after"].as_u64()), (Some(gone), Some(gone)));
    assert!(numbers(&ended).into_iter().eq(gone + 1..=count as u64));
    let names: BTreeSet<_> = received(&scene.local("json")).into_keys().collect();
    assert!(names.iter().eq(files.keys().skip(gone as usize)));
    let sentence = format!("{gone} arrivals are gone from the server");
    run("people", &["--count", &left]).wait().ends(0).says(&sentence);
    run("quiet", &["--quiet", "--count", &left]).wait().ends(0).says(&sentence);
    // It is said once.
    write_random(&scene.local("new"), 1, 100);
    scene.run(&["publish", "chat", scene.local("new").to_str().unwrap(), "--wait", "0"]).ends(0);
    let again = run("people", &["--count", "1"]).wait().ends(0);
    assert!(!again.err.contains("gone"), "{again:#?}");
}

fn launch<'a>(scene: &Scene, keep: &'a str) -> Launch<'a> {
    let arguments: Box<[&str]> = Box::new(["--keep-arrivals", keep]);
    Launch { port: scene.server.address().port(), arguments: Box::leak(arguments), ..Launch::default() }
}

fn subscribe_from_start() -> hostdir::wire::Request {
    let folders = vec![hostdir::wire::RawBytes(Vec::new())];
    hostdir::wire::Request::Subscribe(hostdir::wire::Subscribe {
        folders,
        after: Some(0),
        journal: None,
        subscriber: None,
    })
}

#[test]
fn one_process_follows_two_topics_and_two_share_a_folder() {
    let count = scaled(40, 400);
    let mut random = Random::announced("two topics");
    let scene = Scene::new();
    let (both, one) = ((2 * count).to_string(), count.to_string());
    let both = follow(&scene, "both", &["a", "b", "--json", "--count", &both]);
    let a = follow(&scene, "shared", &["a", "--json", "--count", &one]);
    let b = follow(&scene, "shared", &["b", "--json", "--count", &one]);
    let server = &scene.server;
    let uploaded: Vec<_> = std::thread::scope(|scope| {
        let uploads = ["a", "b", "c"].map(|topic| {
            let mut random = Random::new(random.next());
            scope.spawn(move || upload(server, topic, count, &mut random))
        });
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    let expected: BTreeMap<_, _> =
        uploaded[0].iter().chain(&uploaded[1]).map(|(k, v)| (k.clone(), v.clone())).collect();
    for (run, topics) in [(both.wait(), "ab"), (a.wait(), "a"), (b.wait(), "b")] {
        let run = run.ends(0);
        let files = run.json("file");
        let paths: BTreeSet<_> = files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
        assert_eq!((files.len(), paths.len()), (topics.len() * count, topics.len() * count));
        assert!(paths.iter().all(|path| topics.contains(&path[..1])), "{topics}: {paths:?}");
    }
    assert!(received(&scene.local("both")) == expected);
    assert!(received(&scene.local("shared")) == expected);
}

#[test]
fn two_that_follow_the_same_files_into_one_folder_leave_one_of_each() {
    let count = scaled(12, 200);
    let mut random = Random::announced("overlapping topics");
    let scene = Scene::new();
    let wanted = count.to_string();
    let all = follow(&scene, "shared", &["/", "--json", "--count", &wanted]);
    let part = follow(&scene, "shared", &["chat", "--json", "--count", &wanted]);
    let nested = follow(&scene, "shared", &["chat/deep", "chat", "--json", "--once-complete", "--count", &wanted]);
    let mut expected = BTreeMap::new();
    for index in 0..count {
        // Large ones are fetched while they come, by both at a time.
        let size = if index % 2 == 0 { 3_000_000 } else { 20_000 } + random.below(100_000) as usize;
        let (name, bytes) = (format!("{index}"), self::random(index as u64, size));
        crate::scene::run_with_input(
            scene.client().args(["publish", "chat/deep", "-", "--name", &name, "--wait", "0"]),
            &bytes,
        )
        .ends(0);
        expected.insert(format!("chat/deep/{name}"), bytes);
    }
    for run in [all, part, nested] {
        let run = run.wait().ends(0);
        assert!(run.json("file").iter().all(|file| file["stored_as"].is_null()), "{run:#?}");
        assert_eq!(numbers(&run).len(), count);
    }
    let there = received(&scene.local("shared"));
    assert!(there == expected, "{:?}", there.keys());
}
