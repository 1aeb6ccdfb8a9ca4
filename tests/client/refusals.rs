//! Each refusal is one clear line and its documented exit code, and the server goes on.

use crate::common::{Server, eventually, kept_port};
use crate::fake::{Fake, welcome};
use crate::scene::{Scene, bare_client, client, fill, run, write};
use hostdir::wire::{ErrorCode, Fault, PREAMBLE, Reply, Welcome};
use std::fs::File;

fn goes_on(scene: &Scene) {
    scene.run(&["get", "a.txt", "-o", "-"]).ok();
}

#[test]
fn a_missing_file() {
    let scene = Scene::with(&["--name", "attic"], fill);
    for words in [&["get", "nope"][..], &["get", "photos/nope"], &["get", "a.txt/x"], &["get", "no*pe"]] {
        scene.run(words).refused(8, &[&format!("get {}: not found on attic", words[1]), "see: client list"]);
    }
    scene.run(&["list", "nope"]).refused(8, &["list nope: not found on attic"]);
    goes_on(&scene);
}

#[test]
fn a_path_that_leads_outside() {
    let scene = Scene::with(&[], fill);
    for path in ["../x", "a/../../x", "photos/..", ".."] {
        scene.run(&["get", path]).refused(8, &[&format!("get {path}:"), "..", "path"]);
        scene.run(&["list", path]).refused(8, &[&format!("list {path}:"), ".."]);
    }
    scene.run(&["get", ".hostdir/digests"]).refused(8, &[".hostdir is the server's own"]);
    let source = scene.local("f");
    write(&source, b"x");
    let source = source.to_str().unwrap();
    for flag in ["--to", "--name"] {
        scene.run(&["put", source, flag, "../out"]).refused(2, &[&format!("put: {flag} ../out: "), "path"]);
    }
    scene.run(&["put", "-", "--name", "../out"]).refused(2, &["put: --name ../out: ", "path"]);
    goes_on(&scene);
}

#[test]
fn a_name_that_is_too_long() {
    let scene = Scene::with(&[], fill);
    let long = "n".repeat(256);
    scene.run(&["get", &long]).refused(8, &["longer than 255 bytes"]);
    let source = scene.local("f");
    write(&source, b"x");
    scene.run(&["put", source.to_str().unwrap(), "--name", &long]).refused(2, &["longer than 255 bytes"]);
    let deep = vec!["d"; 65].join("/");
    scene.run(&["put", source.to_str().unwrap(), "--to", &deep]).refused(2, &["deeper than 64 folders"]);
    let wide = vec!["n".repeat(200); 6].join("/");
    scene.run(&["get", &wide]).refused(8, &["longer than 1024 bytes"]);
    goes_on(&scene);
}

#[test]
fn a_name_that_other_systems_cannot_hold() {
    let scene = Scene::with(&[], fill);
    let source = scene.local("f");
    write(&source, b"x");
    scene.run(&["put", source.to_str().unwrap(), "--name", "a:b"]).refused(8, &["put", "colon"]);
    goes_on(&scene);
}

#[test]
fn a_server_that_takes_no_uploads() {
    let scene = Scene::with(&["--read-only", "--name", "attic"], fill);
    write(&scene.local("f"), b"x");
    crate::scene::write_random(&scene.local("big"), 1, 3_000_000);
    std::fs::create_dir(scene.local("folder")).unwrap();
    for name in ["f", "big", "folder"] {
        scene.run(&["put", scene.local(name).to_str().unwrap()]).refused(8, &["put", "attic takes no uploads"]);
    }
    goes_on(&scene);
}

#[test]
fn a_file_that_is_too_large() {
    let scene = Scene::with(&["--max-file-size", "1MiB"], fill);
    let (large, small) = (scene.local("large"), scene.local("small"));
    File::create(&large).unwrap().set_len(1024 * 1024 + 1).unwrap();
    write(&small, b"x");
    let run = scene.run(&["put", large.to_str().unwrap(), small.to_str().unwrap()]).ends(8);
    assert!(run.err.contains("large") && run.err.contains("more than the server takes: at most 1.0 MiB"), "{run:?}");
    assert!(scene.hosted("small").exists() && !scene.hosted("large").exists());
    let run = scene.run(&["put", large.to_str().unwrap(), "--json"]).ends(8);
    assert_eq!(run.file("large")["code"], "too-large");
    assert_eq!(scene.moved(), 1, "nothing of it is sent");
    scene.run(&["put", large.to_str().unwrap()]).refused(8, &["put large", "at most 1.0 MiB"]);
    goes_on(&scene);
}

#[test]
fn a_server_that_is_busy() {
    let scene = Scene::with(&["--max-connections", "1"], fill);
    let mut first = scene.server.client();
    scene
        .run(&["list"])
        .refused(8, &["list", "limit of 1 connections", "try again later", &scene.server.address().to_string()]);
    first.alive();
    drop(first);
    eventually("there is room again", || scene.run(&["get", "a.txt", "-o", "-"]).code == Some(0));
}

#[test]
fn another_version() {
    let fake = Fake::raw(|peer| {
        peer.hear_hello();
        peer.send(&PREAMBLE);
        let message = Some("the server speaks protocol version 2, the client 1 to 1".to_owned());
        peer.reply(&Reply::Error(Fault { code: ErrorCode::UnsupportedVersion, message }));
        peer.until_closed();
    });
    fake.run(&["list"]).refused(7, &["list", "version 2", &fake.address.to_string()]);
    let fake = Fake::raw(|peer| {
        _ = peer.greet(Welcome { version: 2, ..welcome() }) && {
            peer.until_closed();
            true
        }
    });
    fake.run(&["list"]).refused(7, &["version"]);
}

#[test]
fn something_that_is_no_hostdir_server() {
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x8ahostfile",
    ] {
        let fake = Fake::raw(move |peer| {
            peer.send(greeting);
            peer.until_closed();
        });
        fake.run(&["list"]).refused(7, &["list", "not a hostdir server", &fake.address.to_string()]);
    }
    let fake = Fake::raw(|_| {});
    fake.run(&["list"]).refused(4, &["list", &fake.address.to_string()]);
}

#[test]
fn nobody_there() {
    let port = kept_port().to_string();
    for words in [&["list"][..], &["get", "x"], &["ping"]] {
        run(bare_client().args(["--port", &port]).args(words)).refused(4, &[words[0], "is the server running?", &port]);
    }
    run(bare_client().args(["--ip", "no.such.host.invalid", "list"])).refused(4, &["cannot be resolved", "--ip"]);
}

#[test]
fn a_server_that_went_away() {
    let scene = Scene::with(&[], fill);
    let address = scene.server.address();
    scene.run(&["list"]).ok();
    let Scene { host, local, server } = scene;
    server.kill();
    run(client(address, local.path()).arg("list")).refused(4, &["is the server running?", &address.to_string()]);
    let server = Server::start(host.path(), &[]);
    run(client(server.address(), local.path()).arg("list")).ok();
}
