//! `client put`.

use crate::scene::{
    Scene, assert_same, date_folders, fill, modified, node, random, run, run_with_input, tree, write, write_random,
};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_folder_goes_up_identical_in_names_bytes_and_times() {
    let scene = Scene::new();
    let source = scene.local("source");
    fill(&source);
    scene.run(&["put", text(&source)]).ok().says("10 of 10 files").says("10 verified");
    assert_same(&tree(&source), &tree(&scene.hosted("source")));
    assert_eq!(modified(&source), modified(&scene.hosted("source")));
    scene.run(&["put", text(&source), "--to", "a/b/"]).ok();
    assert_same(&tree(&source), &tree(&scene.hosted("a/b/source")));
    scene.run(&["put", text(&source), "--to", "/a", "--name", "c"]).ok();
    assert_same(&tree(&source), &tree(&scene.hosted("a/c")));
}

#[test]
fn a_second_run_moves_nothing() {
    let scene = Scene::new();
    let source = scene.local("source");
    fill(&source);
    scene.run(&["put", text(&source)]).ok();
    let (before, moved) = (tree(scene.host.path()), scene.moved());
    let run = scene.run(&["put", text(&source), "--json"]).ok();
    assert_eq!((&run.summary()["identical"], &run.summary()["bytes"]), (&json!(10), &json!(0)));
    assert_eq!(scene.moved(), moved);
    assert_same(&before, &tree(scene.host.path()));
}

#[test]
fn several_files_go_into_the_folder_that_was_named() {
    let scene = Scene::new();
    write(&scene.local("one"), b"1");
    write_random(&scene.local("two"), 2, 2_500_000);
    let (one, two) = (scene.local("one"), scene.local("two"));
    scene.run(&["put", text(&one), text(&two), "--to", "deep/er"]).ok().says("2 of 2 files");
    assert_eq!(node(&scene.hosted("deep/er/one")), node(&one));
    assert_eq!(node(&scene.hosted("deep/er/two")), node(&two));
    scene.run(&["put", text(&two), "--name", "three"]).ok();
    assert_eq!(node(&scene.hosted("three")), node(&two));
}

#[test]
fn the_folder_one_stands_in_has_its_own_name() {
    let scene = Scene::new();
    write(&scene.local("source/inner/f"), b"1");
    let mut put = scene.client();
    run(put.current_dir(scene.local("source")).args(["put", "."])).ok();
    let mut put = scene.client();
    run(put.current_dir(scene.local("source")).args(["put", "inner/..", "--to", "x"])).ok();
    assert!(scene.hosted("source/inner/f").is_file());
    assert!(scene.hosted("x/source/inner/f").is_file());
}

#[test]
fn an_empty_folder_and_an_empty_file_go_up() {
    let scene = Scene::new();
    fs::create_dir_all(scene.local("source/hollow/inner")).unwrap();
    write(&scene.local("source/empty"), b"");
    date_folders(scene.local.path());
    scene.run(&["put", text(&scene.local("source"))]).ok();
    assert_same(&tree(&scene.local("source")), &tree(&scene.hosted("source")));
}

#[test]
fn standard_input_goes_up_under_a_name() {
    let scene = Scene::new();
    for (name, size) in [("none", 0), ("some", 5), ("much", 5_000_000)] {
        let input = random(size as u64, size);
        run_with_input(scene.client().args(["put", "-", "--to", "in", "--name", name]), &input).ok();
        assert!(fs::read(scene.hosted("in").join(name)).unwrap() == input, "{name}");
    }
    let again = run_with_input(scene.client().args(["put", "-", "--to", "in", "--name", "some", "--json"]), b"other");
    assert_eq!(again.ok().file("in/some")["stored_as"], "in/some (1)");
    let input = random(5, 5);
    let same = run_with_input(scene.client().args(["put", "-", "--to", "in", "--name", "some", "--json"]), &input).ok();
    assert_eq!(same.file("in/some")["status"], "identical");
    let flags = ["put", "-", "--to", "in", "--name", "some", "--on-conflict", "skip", "--json"];
    assert_eq!(run_with_input(scene.client().args(flags), b"third").ok().file("in/some")["status"], "skipped");
    assert_eq!(tree(&scene.hosted("in")).len(), 4);
}

#[test]
fn standard_input_goes_alone_and_needs_a_name() {
    let scene = Scene::new();
    for words in [&["put", "-"][..], &["put", "-", "other", "--name", "x"]] {
        scene.run(words).refused(2, &["put: standard input (-) goes alone, with --name"]);
    }
    scene.run(&["put", "one", "two", "--name", "x"]).refused(2, &["--name goes with one file or folder"]);
}

#[test]
fn names_that_other_systems_cannot_hold_are_reported_and_the_rest_goes_up() {
    let scene = Scene::new();
    for name in ["good", "a:b", "line\nbreak", "dot.", "space ", "aux.txt", "back\\slash", "folder:/below"] {
        write(&scene.local("source").join(name), b"x");
    }
    let run = scene.run(&["put", text(&scene.local("source")), "--json"]).ends(8);
    let errors = run.json("error");
    assert_eq!(run.file("source/good")["status"], "ok");
    let code = |name: &str| {
        let found = errors.iter().find(|error| error["what"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name} is not reported: {run:?}"))["code"].as_str().unwrap().to_owned()
    };
    for name in ["a:b", r"line\nbreak", "dot.", "space ", "aux.txt", "folder:"] {
        assert_eq!(code(name), "bad-name", "{name}");
    }
    assert_eq!(code(r"back\\slash"), "bad-path");
    assert_eq!(tree(scene.host.path()).len(), 2);
    scene.run(&["put", text(&scene.local("source"))]).ends(8).says("a:b").says("colon");
}

#[test]
fn links_and_pipes_in_a_folder_are_left_out_and_counted() {
    let scene = Scene::new();
    let source = scene.local("source");
    write(&source.join("file"), b"x");
    symlink("file", source.join("link")).unwrap();
    symlink("/etc", source.join("etc")).unwrap();
    symlink("nowhere", source.join("broken")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    scene.run(&["put", text(&source)]).ok().says("4 left out (links and devices)");
    assert_eq!(scene.run(&["put", text(&source), "--json"]).ok().summary()["left_out"], 4);
    let names: Vec<_> = tree(scene.host.path()).into_keys().collect();
    assert_eq!(names, ["source", "source/file"]);
}

#[test]
fn a_link_that_is_named_is_meant() {
    let scene = Scene::new();
    write(&scene.local("real/f"), b"x");
    symlink("real", scene.local("link")).unwrap();
    scene.run(&["put", text(&scene.local("link"))]).ok();
    assert_eq!(fs::read(scene.hosted("link/f")).unwrap(), b"x");
}

#[test]
fn what_is_missing_here_is_told_and_the_rest_goes_up() {
    let scene = Scene::new();
    write(&scene.local("file"), b"x");
    let (missing, file) = (scene.local("missing"), scene.local("file"));
    scene.run(&["put", text(&missing), text(&file)]).ends(3).says("missing").says("No such file");
    assert_eq!(fs::read(scene.hosted("file")).unwrap(), b"x");
    scene.run(&["put", text(&missing)]).refused(3, &["missing", "No such file"]);
}

#[test]
fn a_dry_run_says_what_would_go_up_and_does_nothing() {
    let scene = Scene::new();
    let source = scene.local("source");
    fill(&source);
    scene.run(&["put", text(&source.join("photos")), "--to", "source"]).ok();
    let before = tree(scene.host.path());
    let run = scene.run(&["put", text(&source), "--dry-run"]).ok().says("6 files").says("would be uploaded");
    assert_eq!(run.lines().len(), 6);
    let run = scene.run(&["put", text(&source), "--dry-run", "--json"]).ok();
    assert!(run.json("file").iter().all(|file| file["status"] == "dry-run"));
    assert_eq!(run.json("file").len(), 6);
    assert_same(&before, &tree(scene.host.path()));
}

#[test]
fn the_same_content_under_another_time_is_not_sent_again() {
    let scene = Scene::with(&[], |host| {
        write_random(&host.join("small"), 1, 10_000);
        write_random(&host.join("large"), 2, 4_000_000);
    });
    fs::write(scene.local("small"), random(1, 10_000)).unwrap();
    fs::write(scene.local("large"), random(2, 4_000_000)).unwrap();
    let (small, large) = (scene.local("small"), scene.local("large"));
    let run = scene.run(&["put", text(&small), text(&large), "--json"]).ok();
    assert_eq!((&run.summary()["identical"], &run.summary()["bytes"]), (&json!(2), &json!(0)));
    assert_eq!(scene.moved(), 0);
}

#[test]
fn a_name_that_is_not_text_goes_up() {
    use std::os::unix::ffi::OsStrExt;
    let scene = Scene::new();
    let source = scene.local.path().join(OsStr::from_bytes(b"\xff\xfe"));
    write(&source, b"x");
    scene.run(&[OsStr::new("put"), source.as_os_str()]).ok();
    assert_eq!(fs::read(scene.host.path().join(OsStr::from_bytes(b"\xff\xfe"))).unwrap(), b"x");
}
