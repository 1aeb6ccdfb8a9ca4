//! `--on-conflict`, both ways.

use crate::scene::{Scene, write};
use serde_json::json;
use std::fs;
use std::path::Path;

/// What stands in a folder: names with contents.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    let mut found: Vec<_> = files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect()
}

const BOTH: &[(&str, &str)] = &[("f (1).txt", "theirs"), ("f.txt", "mine!")];

#[test]
fn a_download_does_with_a_taken_name_what_it_was_told() {
    let cases = [
        ("rename", 0, "ok", BOTH),
        ("skip", 0, "skipped", &[("f.txt", "mine!")]),
        ("fail", 8, "failed", &[("f.txt", "mine!")]),
        ("overwrite", 0, "ok", &[("f.txt", "theirs")]),
    ];
    for (policy, code, status, expected) in cases {
        let scene = Scene::with(&[], |host| write(&host.join("f.txt"), b"theirs"));
        write(&scene.downloaded("f.txt"), b"mine!");
        let run = scene.run(&["get", "f.txt", "--json", "--on-conflict", policy]).ends(code);
        assert_eq!(run.file("f.txt")["status"], status, "{policy}: {run:?}");
        assert_eq!(contents(&scene.downloads()), pairs(expected), "{policy}");
        let moved = scene.moved();
        let again = scene.run(&["get", "f.txt", "--json", "--on-conflict", policy]).ends(code);
        assert_eq!(again.file("f.txt")["bytes"], 0, "{policy}: {again:?}");
        assert_eq!(scene.moved(), moved, "{policy}: a second run moves nothing");
        assert_eq!(contents(&scene.downloads()), pairs(expected), "{policy}");
    }
}

#[test]
fn other_content_of_the_same_size_is_a_conflict_too() {
    for (policy, code, expected) in [
        ("rename", 0, &[("f (1).txt", "theirs"), ("f.txt", "minee!")][..]),
        ("skip", 0, &[("f.txt", "minee!")]),
        ("fail", 8, &[("f.txt", "minee!")]),
        ("overwrite", 0, &[("f.txt", "theirs")]),
    ] {
        let scene = Scene::with(&[], |host| write(&host.join("f.txt"), b"theirs"));
        fs::create_dir(scene.downloads()).unwrap();
        fs::write(scene.downloaded("f.txt"), b"minee!").unwrap();
        scene.run(&["get", "f.txt", "--on-conflict", policy]).ends(code);
        assert_eq!(contents(&scene.downloads()), pairs(expected), "{policy}");
        let moved = scene.moved();
        scene.run(&["get", "f.txt", "--on-conflict", policy]).ends(code);
        assert_eq!(scene.moved(), moved, "{policy}: a second run moves nothing");
    }
}

#[test]
fn a_folder_in_the_way_of_a_file_is_never_replaced() {
    let scene = Scene::with(&[], |host| write(&host.join("f"), b"theirs"));
    fs::create_dir_all(scene.downloaded("f/mine")).unwrap();
    scene.run(&["get", "f", "--on-conflict", "overwrite"]).ends(8).says("taken");
    scene.run(&["get", "f"]).ok();
    assert!(scene.downloaded("f/mine").is_dir());
    assert_eq!(fs::read(scene.downloaded("f (1)")).unwrap(), b"theirs");
}

#[test]
fn a_file_in_the_way_of_a_folder_is_told_and_left() {
    let scene = Scene::with(&[], |host| write(&host.join("d/f"), b"theirs"));
    write(&scene.downloaded("d"), b"mine");
    scene.run(&["get", "/"]).ends(8).says("d").says("not a folder");
    assert_eq!(contents(&scene.downloads()), pairs(&[("d", "mine")]));
}

#[test]
fn an_upload_does_with_a_taken_name_what_it_was_told() {
    let cases = [
        ("rename", 0, "ok", &[("f (1).txt", "theirs"), ("f.txt", "mine!")][..]),
        ("skip", 0, "skipped", &[("f.txt", "mine!")]),
        ("fail", 8, "failed", &[("f.txt", "mine!")]),
        ("overwrite", 0, "ok", &[("f.txt", "theirs")]),
    ];
    for (policy, code, status, expected) in cases {
        let scene = Scene::with(&["--allow-overwrite"], |host| write(&host.join("f.txt"), b"mine!"));
        let source = scene.local("f.txt");
        write(&source, b"theirs");
        let put = ["put", source.to_str().unwrap(), "--json", "--on-conflict", policy];
        let run = scene.run(&put).ends(code);
        assert_eq!(run.file("f.txt")["status"], status, "{policy}: {run:?}");
        assert_eq!(contents(scene.host.path()), pairs(expected), "{policy}");
        let moved = scene.moved();
        let again = scene.run(&put).ends(code);
        assert_eq!(again.file("f.txt")["bytes"], 0, "{policy}: {again:?}");
        assert_eq!(scene.moved(), moved, "{policy}: a second run moves nothing");
        assert_eq!(contents(scene.host.path()), pairs(expected), "{policy}");
        let partial = fs::read_dir(scene.hosted(".hostdir/partial")).unwrap();
        assert_eq!(partial.count(), 0, "{policy}: an upload that only asked leaves nothing");
    }
}

#[test]
fn a_large_upload_does_with_a_taken_name_what_it_was_told() {
    for (policy, code, status, files) in
        [("rename", 0, "ok", 2), ("skip", 0, "skipped", 1), ("fail", 8, "failed", 1), ("overwrite", 0, "ok", 1)]
    {
        let scene = Scene::with(&["--allow-overwrite"], |host| write(&host.join("f"), b"mine!"));
        let source = scene.local("f");
        crate::scene::write_random(&source, 9, 3_000_000);
        let put = ["put", source.to_str().unwrap(), "--json", "--on-conflict", policy];
        let run = scene.run(&put).ends(code);
        assert_eq!(run.file("f")["status"], status, "{policy}: {run:?}");
        assert_eq!(crate::scene::tree(scene.host.path()).len(), files, "{policy}");
        let moved = scene.moved();
        scene.run(&put).ends(code);
        assert_eq!(scene.moved(), moved, "{policy}: a second run moves nothing");
        assert_eq!(crate::scene::tree(scene.host.path()).len(), files, "{policy}");
    }
}

#[test]
fn an_upload_replaces_nothing_where_the_operator_does_not_allow_it() {
    let scene = Scene::with(&[], |host| write(&host.join("f"), b"mine"));
    let source = scene.local("f");
    write(&source, b"theirs");
    let put = ["put", source.to_str().unwrap(), "--on-conflict", "overwrite"];
    scene.run(&put).ends(8).says("does not let uploads replace files");
    assert_eq!(fs::read(scene.hosted("f")).unwrap(), b"mine");
    let run = scene.run(&[&put[..], &["--json"]].concat()).ends(8);
    assert_eq!(run.file("f")["code"], json!("forbidden"));
}

#[test]
fn the_name_that_an_upload_got_is_told() {
    let scene = Scene::with(&[], |host| write(&host.join("f.txt"), b"mine"));
    let source = scene.local("f.txt");
    write(&source, b"theirs");
    let run = scene.run(&["put", source.to_str().unwrap(), "--json"]).ok();
    assert_eq!(run.file("f.txt")["stored_as"], "f (1).txt");
    write(&source, b"other theirs");
    scene.run(&["put", source.to_str().unwrap(), "-v"]).ok().says("f.txt: ok, as f (2).txt [");
}
