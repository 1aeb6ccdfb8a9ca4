//! Every command over TLS does what it does without.

use crate::common::eventually;
use crate::proxy::{Line, Proxy};
use crate::scene::{Running, assert_same, client, fill, random, run, tree, write_random};
use crate::secured::Secured;
use std::fs;
use std::path::Path;
use std::process::Stdio;

const MIB: usize = 1024 * 1024;

#[test]
fn a_tree_comes_as_it_is_by_every_strategy() {
    let tls = Secured::with(&[], fill);
    for strategy in [&["-q"][..], &["--serial", "-q"], &["--parallel", "-q"], &["--jobs", "9", "-q"]] {
        let _ = fs::remove_dir_all(tls.scene.downloads());
        tls.run(&[strategy, &["get", "/"]].concat()).ok();
        assert_same(&tree(tls.scene.host.path()), &tree(&tls.scene.downloads()));
    }
    // What is there is not moved again.
    let summary = tls.run(&["--json", "get", "/"]).ok().summary();
    assert_eq!(summary["bytes"], 0, "{summary}");
}

#[test]
fn a_tree_goes_as_it_is() {
    let tls = Secured::new();
    let local = tls.scene.local("tree");
    fill(&local);
    tls.run(&["-q", "put", local.to_str().unwrap(), "--to", "there"]).ok();
    assert_same(&tree(&local), &tree(&tls.scene.hosted("there/tree")));
}

#[test]
fn many_small_files_go_both_ways_over_one_connection() {
    let tls = Secured::with(&[], |host| {
        for number in 0..1_500 {
            crate::scene::write(&host.join(format!("many/{number}")), &random(number, number as usize % 5_000));
        }
    });
    tls.run(&["-q", "--serial", "get", "many"]).ok();
    assert_same(&tree(&tls.scene.hosted("many")), &tree(&tls.scene.downloaded("many")));
    let local = tls.scene.downloaded("many").display().to_string();
    tls.run(&["-q", "--serial", "put", &local, "--to", "back"]).ok();
    assert_same(&tree(&tls.scene.hosted("many")), &tree(&tls.scene.hosted("back/many")));
}

#[test]
fn a_large_file_goes_both_ways_also_in_segments_and_to_standard_output() {
    let size = 70 * MIB + 12_345;
    let tls = Secured::with(&[], |host| write_random(&host.join("big"), 7, size));
    let hosted = fs::read(tls.scene.hosted("big")).unwrap();
    tls.run(&["-q", "--segments", "never", "get", "big"]).ok();
    assert!(fs::read(tls.scene.downloaded("big")).unwrap() == hosted);
    fs::remove_file(tls.scene.downloaded("big")).unwrap();
    tls.run(&["-q", "--segments", "always", "get", "big"]).ok();
    assert!(fs::read(tls.scene.downloaded("big")).unwrap() == hosted);
    assert!(tls.run(&["get", "big", "-o", "-"]).ok().bytes == hosted);
    let local = tls.scene.downloaded("big").display().to_string();
    tls.run(&["-q", "put", &local, "--name", "up"]).ok();
    assert!(fs::read(tls.scene.hosted("up")).unwrap() == hosted);
}

#[test]
fn list_and_ping_say_what_they_say_without() {
    let tls = Secured::with(&[], fill);
    let listed = tls.run(&["list", "-R", "-0"]).ok();
    let names = listed.bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty()).count();
    assert_eq!(names, tree(tls.scene.host.path()).len());
    assert_eq!(tls.run(&["--json", "ping"]).ok().json("pong")[0]["tls"], true);
    tls.run(&["get", "no-such-file"]).ends(8);
}

#[test]
fn a_file_is_received_while_it_is_sent_and_the_sender_learns_who_has_it() {
    let tls = Secured::new();
    let follow = |name: &str| {
        let mut command = client(tls.address(), &tls.scene.local(name));
        command.arg("--known-servers").arg(tls.known()).args(["--fingerprint", &tls.key().to_string()]);
        command.args(["--json", "subscribe", "chat", "--count", "1"]);
        command
    };
    let mut followers: Vec<_> = ["one", "two", "three"].iter().map(|name| Running::start(&mut follow(name))).collect();
    eventually("all follow", || {
        let events = tls.scene.server.log(crate::common::Log::Events);
        events.iter().filter(|line| line.contains("event=subscribe ")).count() == 3
    });
    let bytes = random(5, 9 * MIB + 1);
    let mut publish = tls.told(tls.address());
    publish.args(["publish", "chat", "-", "--name", "f"]).stdin(Stdio::piped());
    let mut child = publish.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, &bytes[..5 * MIB]).unwrap();
    // The first part has come before the last one is sent.
    let has_part = |name: &str| partial(&tls.scene.local(name)) >= 4 * MIB as u64;
    eventually("it comes live", || ["one", "two", "three"].iter().all(|name| has_part(name)));
    std::io::Write::write_all(&mut input, &bytes[5 * MIB..]).unwrap();
    drop(input);
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("3 verified"), "{said}");
    followers.drain(..).for_each(|follower| _ = follower.wait().ok());
    for name in ["one", "two", "three"] {
        assert!(fs::read(tls.scene.local(name).join("chat/f")).unwrap() == bytes);
    }
}

/// Bytes of the one partial file in a folder.
fn partial(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join(".hostdir/partial")) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).max().unwrap_or(0)
}

#[test]
fn a_cut_in_the_middle_is_resumed_both_ways() {
    let size = 24 * MIB;
    let tls = Secured::with(&[], |host| write_random(&host.join("big"), 9, size));
    let hosted = fs::read(tls.scene.hosted("big")).unwrap();
    // The first connection lists, the later ones fetch.
    let cut = (Line::Good, Line::CutAfter(10 * MIB as u64));
    let proxy = Proxy::start(tls.address(), &[cut, (Line::Good, Line::Good)]);
    let got = run(tls.told(proxy.address()).args(["--json", "--serial", "get", "big"])).ok();
    assert!(got.file("big")["resumed_from"].as_u64().unwrap() >= 8 * MIB as u64, "{got:?}");
    assert!(fs::read(tls.scene.downloaded("big")).unwrap() == hosted);
    assert_eq!(proxy.cuts(), 1);
    let cut = (Line::CutAfter(10 * MIB as u64), Line::Good);
    let proxy = Proxy::start(tls.address(), &[cut, (Line::Good, Line::Good)]);
    let local = tls.scene.downloaded("big").display().to_string();
    // A cut line may still take bytes, and then it takes a timeout to notice.
    let words = ["--timeout", "5", "--json", "--serial", "put", &local, "--name", "up"];
    let put = run(tls.told(proxy.address()).args(words)).ok();
    // What was on its way when the client came back is lost: a slow server has that much less.
    assert!(put.file("up")["resumed_from"].as_u64().unwrap_or(0) >= MIB as u64, "{put:?}");
    assert!(fs::read(tls.scene.hosted("up")).unwrap() == hosted);
    assert_eq!(proxy.cuts(), 1);
}
