//! `client list`.

use crate::scene::{Scene, fill, write};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_folder_is_listed_sorted_with_a_slash_after_folders() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["list"]).ok();
    assert_eq!(run.lines(), ["-dash", "a.txt", "b.txt", "empty", "hollow/", "odd/", "photos/"]);
    assert_eq!(run.err, "");
    assert_eq!(scene.run(&["list", "/"]).ok().out, run.out);
    assert_eq!(scene.run(&["list", "photos/"]).ok().lines(), ["photos/2026/", "photos/index.txt", "photos/raw/"]);
    assert_eq!(scene.run(&["list", "/photos/raw/"]).ok().lines(), ["photos/raw/one.cr2"]);
    assert_eq!(scene.run(&["list", "photos/index.txt"]).ok().lines(), ["photos/index.txt"]);
    assert_eq!(scene.run(&["list", "hollow/inner"]).ok().lines(), [""; 0]);
}

#[test]
fn everything_below_is_listed_when_asked_for() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["list", "-R"]).ok();
    assert_eq!(run.lines().len(), 16, "{run:?}");
    assert!(run.lines().contains(&"photos/2026/año nuevo.jpg"));
    assert!(run.lines().contains(&r"odd/\xff\xfe.bin"));
    assert!(run.lines().contains(&"hollow/inner/"));
    let unsorted = scene.run(&["list", "-R", "-U"]).ok();
    let mut lines = unsorted.lines();
    lines.sort_unstable();
    let mut expected = run.lines();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_long_listing_has_sizes_and_times() {
    let scene = Scene::with(&[], |host| write(&host.join("a.txt"), b"alpha"));
    assert_eq!(scene.run(&["list", "-l"]).ok().out, "       5 B  2001-09-14 01:46:35  a.txt\n");
}

#[test]
fn names_are_exact_when_they_end_with_a_nul() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["list", "-0", "odd"]).ok();
    let names: Vec<&[u8]> = run.bytes.split_inclusive(|byte| *byte == 0).collect();
    assert_eq!(names, [&b"odd/ leading space -and--dashes'\"$\0"[..], b"odd/\xff\xfe.bin\0"]);
}

#[test]
fn globs_stay_within_a_name_unless_doubled() {
    let scene = Scene::with(&[], fill);
    assert_eq!(scene.run(&["list", "*.txt"]).ok().lines(), ["a.txt", "b.txt"]);
    assert_eq!(scene.run(&["list", "**/*.txt"]).ok().lines(), ["a.txt", "b.txt", "photos/index.txt"]);
    assert_eq!(scene.run(&["list", "photos/2026/b*.jp?"]).ok().lines(), ["photos/2026/beach.jpg"]);
    scene.run(&["list", "*.nothing"]).refused(8, &["list", "*.nothing", "not found"]);
}

#[test]
fn a_name_that_looks_like_a_glob_is_taken_as_it_is() {
    let scene = Scene::with(&[], |host| {
        write(&host.join("[a]*"), b"1");
        write(&host.join("ab"), b"22");
    });
    assert_eq!(scene.run(&["list", "[a]*"]).ok().lines(), ["[a]*"]);
    assert_eq!(scene.run(&["list", "[a]?"]).ok().lines(), ["ab"]);
}

#[test]
fn every_entry_is_an_object_with_a_type() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["list", "-R", "--json"]).ok();
    let entries = run.json("entry");
    assert_eq!(entries.len(), 16);
    let find = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap().clone();
    assert_eq!(find("a.txt")["size"], 5);
    assert_eq!(find("a.txt")["kind"], "file");
    assert_eq!(find("a.txt")["modified_ns"], 1_000_431_995_123_456_789_i64);
    assert_eq!(find("photos")["kind"], "folder");
    assert_eq!(find(r"odd/\xff\xfe.bin")["path_hex"], "6f64642ffffe2e62696e");
    let missing = scene.run(&["list", "nope", "--json"]).ends(8).json("error");
    assert_eq!(missing[0]["code"], "not-found");
}

#[test]
fn what_is_left_out_is_counted_on_standard_error() {
    let scene = Scene::with(&[], |host| {
        fs::create_dir(host.join("folder")).unwrap();
        symlink("folder", host.join("link")).unwrap();
    });
    let run = scene.run(&["list"]).ok();
    assert_eq!(run.out, "folder/\n");
    assert_eq!(run.err, "1 left out: links, devices and names that cannot be sent\n");
}

#[test]
fn a_word_that_is_missing_does_not_hide_the_others() {
    let scene = Scene::with(&[], fill);
    let run = scene.run(&["list", "a.txt", "nope", "b.txt"]).refused(8, &["nope: not found"]);
    assert_eq!(run.lines(), ["a.txt", "b.txt"]);
    let run = scene.run(&["list", "-U", "a.txt", "nope", "b.txt"]).refused(8, &["nope: not found"]);
    assert_eq!(run.lines(), ["a.txt", "b.txt"]);
}
