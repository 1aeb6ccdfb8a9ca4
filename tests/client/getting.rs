//! `client get`.

use crate::common::Log;
use crate::scene::{Node, Scene, assert_same, date, fill, modified, moment, node, random, run, tree, write};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

#[test]
fn everything_comes_identical_in_names_bytes_and_times() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "/"]).ok().says("10 of 10 files").says("10 verified");
    assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
    assert!(!scene.downloaded(".hostdir").exists(), "no state is left behind");
}

#[test]
fn a_second_run_moves_nothing() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "/"]).ok();
    let (before, moved) = (tree(&scene.downloads()), scene.moved());
    let run = scene.run(&["get", "/", "--json"]).ok();
    assert_eq!(run.summary()["identical"], 10);
    assert_eq!(run.summary()["bytes"], 0);
    assert!(run.json("file").iter().all(|file| file["status"] == "identical" && file["bytes"] == 0));
    assert_eq!(scene.moved(), moved);
    assert_same(&before, &tree(&scene.downloads()));
}

#[test]
fn a_file_comes_under_its_path() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "photos/2026/beach.jpg"]).ok();
    assert_eq!(node(&scene.downloaded("photos/2026/beach.jpg")), node(&scene.hosted("photos/2026/beach.jpg")));
    assert_eq!(tree(&scene.downloads()).len(), 3);
}

#[test]
fn a_folder_comes_with_all_that_is_below_it_and_its_own_time() {
    let scene = Scene::with(&[], fill);
    for folder in ["photos", "photos/raw/", "/hollow/inner"] {
        scene.run(&["get", folder]).ok();
        let folder = folder.trim_matches('/');
        assert_same(&tree(&scene.hosted(folder)), &tree(&scene.downloaded(folder)));
        assert_eq!(node(&scene.downloaded(folder)), node(&scene.hosted(folder)), "{folder}");
    }
}

#[test]
fn an_empty_folder_comes() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "hollow/inner"]).ok();
    assert_eq!(node(&scene.downloaded("hollow/inner")), node(&scene.hosted("hollow/inner")));
}

#[test]
fn a_glob_brings_the_files_and_folders_that_match() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "*.txt", "photos/r*", "hol*"]).ok();
    let names: Vec<_> = tree(&scene.downloads()).into_keys().collect();
    let expected = ["a.txt", "b.txt", "hollow", "hollow/inner", "photos", "photos/raw", "photos/raw/one.cr2"];
    assert_eq!(names, expected);
    assert_eq!(node(&scene.downloaded("hollow")), node(&scene.hosted("hollow")));
}

#[test]
fn a_name_that_is_not_text_comes_too() {
    let scene = Scene::with(&[], fill);
    let name = OsStr::from_bytes(b"odd/\xff\xfe.bin");
    scene.run(&[OsStr::new("get"), name]).ok();
    assert_eq!(fs::read(scene.downloads().join(name)).unwrap(), b"not text");
    scene.run(&["get", "--", "-dash"]).ok();
    assert_eq!(fs::read(scene.downloaded("-dash")).unwrap(), b"dash");
}

#[test]
fn one_file_can_go_to_a_file_of_another_name() {
    let scene = Scene::with(&[], fill);
    let out = scene.local("elsewhere.bin");
    scene.run(&[OsStr::new("get"), OsStr::new("photos/raw/one.cr2"), OsStr::new("-o"), out.as_os_str()]).ok();
    assert_eq!(node(&out), node(&scene.hosted("photos/raw/one.cr2")));
    assert!(!scene.downloads().exists());
    let mut relative = scene.client();
    relative.current_dir(scene.local.path()).args(["get", "a.txt", "--output", "b"]);
    run(&mut relative).ok();
    assert_eq!(fs::read(scene.local("b")).unwrap(), b"alpha");
}

#[test]
fn one_file_can_go_to_standard_output() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["get", "photos/raw/one.cr2", "-o", "-"]).ok();
    assert!(run.bytes == random(3, 1_500_000));
    assert_eq!(run.err, "");
    assert!(scene.run(&["get", "empty", "-o", "-"]).ok().bytes.is_empty());
    assert!(!scene.downloads().exists());
    scene.server.logged(Log::Transfers, &["path=photos/raw/one.cr2", "status=ok"]);
}

#[test]
fn an_output_takes_exactly_one_file() {
    let scene = Scene::with(&[], fill);
    for output in ["-", "file"] {
        scene.run(&["get", "a.txt", "b.txt", "-o", output]).refused(2, &["-o takes exactly one file"]);
        scene.run(&["get", "photos", "-o", output]).refused(2, &["-o takes exactly one file"]);
        scene.run(&["get", "nope", "-o", output]).refused(8, &["nope: not found"]);
    }
}

#[test]
fn an_output_that_is_a_folder_is_told_what_to_do() {
    let scene = Scene::with(&[], fill);
    let folder = scene.local("folder");
    fs::create_dir_all(&folder).unwrap();
    let (there, missing) = (folder.to_str().unwrap(), format!("{}/", scene.local("missing").display()));
    for output in [there, &missing] {
        let name = format!("-o {}/NAME", output.trim_end_matches('/'));
        scene
            .run(&["get", "a.txt", "-o", output])
            .refused(2, &["get: -o", "a folder", &name, &format!("--dir {output}")]);
    }
    scene.run(&["get", "a.txt", "-o", "missing/.."]).refused(2, &["get: -o takes the name of a file"]);
    scene.run(&["get", "a.txt", "-o", &format!("{there}/.hostdir")]).refused(2, &["get: -o", ".hostdir"]);
    assert!(tree(scene.local.path()).len() == 1 && !scene.downloads().exists());
    scene.run(&["get", "a.txt", "-o", &format!("{there}/b")]).ok();
    assert_eq!(fs::read(folder.join("b")).unwrap(), fs::read(scene.hosted("a.txt")).unwrap());
}

#[test]
fn every_file_is_an_object_with_path_status_and_bytes() {
    let scene = Scene::with(&[], fill);
    scene.run(&["get", "a.txt"]).ok();
    let run = scene.run(&["get", "a.txt", "b.txt", "nope", "--json"]).ends(8);
    assert_eq!(run.err, "");
    let (there, new) = (run.file("a.txt"), run.file("b.txt"));
    assert_eq!((&there["status"], &there["bytes"], &there["size"]), (&json!("identical"), &json!(0), &json!(5)));
    assert_eq!((&new["status"], &new["bytes"], &new["size"]), (&json!("ok"), &json!(9), &json!(9)));
    scene.server.logged(Log::Transfers, &["status=ok", &format!("id={}", new["id"].as_str().unwrap())]);
    assert_eq!(run.json("error")[0]["code"], "not-found");
    assert_eq!(run.json("error")[0]["what"], "nope");
    let summary = run.summary();
    assert_eq!((&summary["ok"], &summary["identical"], &summary["failed"]), (&json!(1), &json!(1), &json!(1)));
}

#[test]
fn a_dry_run_says_what_would_come_and_does_nothing() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["get", "/", "--dry-run"]).ok().says("10 files").says("would be downloaded");
    assert_eq!(run.lines().len(), 10);
    assert!(run.out.contains("1.4 MiB  photos/raw/one.cr2"), "{}", run.out);
    assert!(!scene.downloads().exists());
    scene.run(&["get", "photos"]).ok();
    let (before, moved) = (node(&scene.downloads()), scene.moved());
    let run = scene.run(&["get", "/", "--dry-run", "--json"]).ok();
    assert_eq!(run.json("file").len(), 6, "what is there already would not be moved: {run:?}");
    assert!(run.json("file").iter().all(|file| file["status"] == "dry-run" && file["bytes"] == 0));
    assert_eq!((node(&scene.downloads()), scene.moved()), (before, moved));
}

#[test]
fn quiet_is_quiet_unless_something_fails() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["get", "/", "-q"]).ok();
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    scene.run(&["get", "nope", "-q"]).refused(8, &["nope", "not found"]);
}

#[test]
fn verbose_names_every_file_with_its_transfer() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["get", "a.txt", "-v"]).ok();
    let line = run.err.lines().find(|line| line.starts_with("a.txt: ok [")).unwrap_or_else(|| panic!("{run:?}"));
    let id = line.trim_start_matches("a.txt: ok [").trim_end_matches(']');
    scene.server.logged(Log::Transfers, &["path=a.txt", &format!("id={id}"), "status=ok"]);
}

#[test]
fn links_of_the_server_are_left_out_and_counted() {
    let scene = Scene::with(&[], |host| {
        fill(host);
        symlink("a.txt", host.join("link")).unwrap();
        symlink("/etc", host.join("photos/etc")).unwrap();
    });
    scene.run(&["get", "/"]).ok().says("2 left out (links and devices)");
    assert!(tree(&scene.downloads()).values().all(|node| !matches!(node, Node::Link(_))));
    assert_eq!(scene.run(&["get", "/", "--json"]).ok().summary()["left_out"], 2);
    scene.run(&["get", "link"]).refused(8, &["link: not found"]);
}

#[test]
fn a_file_with_another_time_is_compared_and_only_dated() {
    let scene = Scene::with(&[], |host| write(&host.join("f"), &random(1, 900_000)));
    fs::create_dir(scene.downloads()).unwrap();
    fs::write(scene.downloaded("f"), random(1, 900_000)).unwrap();
    let run = scene.run(&["get", "f", "--json"]).ok();
    assert_eq!((&run.file("f")["status"], &run.file("f")["bytes"]), (&json!("identical"), &json!(0)));
    assert_eq!(scene.moved(), 0);
    assert_eq!(modified(&scene.downloaded("f")), modified(&scene.hosted("f")));
}

#[test]
fn a_changed_file_comes_again_beside_the_old_one_or_in_its_place() {
    let scene = Scene::with(&[], |host| write(&host.join("f.txt"), b"old"));
    scene.run(&["get", "f.txt"]).ok();
    write(&scene.hosted("f.txt"), b"changed");
    scene.run(&["get", "f.txt"]).ok();
    assert_eq!(fs::read(scene.downloaded("f.txt")).unwrap(), b"old");
    assert_eq!(fs::read(scene.downloaded("f (1).txt")).unwrap(), b"changed");
    let moved = scene.moved();
    scene.run(&["get", "f.txt"]).ok().says("1 already there");
    assert_eq!(scene.moved(), moved);
    scene.run(&["get", "f.txt", "--on-conflict", "overwrite"]).ok();
    assert_eq!(fs::read(scene.downloaded("f.txt")).unwrap(), b"changed");
    assert_eq!(tree(&scene.downloads()).len(), 2);
}

#[test]
fn times_before_1970_and_far_ahead_are_kept() {
    let scene = Scene::with(&[], |host| {
        write(&host.join("old"), b"1");
        write(&host.join("new"), b"2");
        date(&host.join("old"), std::time::UNIX_EPOCH - std::time::Duration::new(1_000_000, 5));
        date(&host.join("new"), moment(30_000));
    });
    scene.run(&["get", "/"]).ok();
    assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
}
