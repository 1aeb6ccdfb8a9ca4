//! Real trees that nobody here wrote, and folders of very many files.

use crate::common::{is_long, scaled};
use crate::scene::{Node, Scene, assert_same, date, date_folders, modified, moment, tree, write};
use hostdir::wire::RemotePath;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;
use walkdir::WalkDir;

/// What of a tree can go up: no links, and no names that other systems cannot hold.
fn storable(tree: BTreeMap<OsString, Node>) -> (BTreeMap<OsString, Node>, usize, usize) {
    let (links, rest): (Vec<_>, Vec<_>) = tree.into_iter().partition(|(_, node)| matches!(node, Node::Link(_)));
    let portable = |name: &OsString| RemotePath::parse(name.as_bytes()).is_ok_and(|path| path.check_portable().is_ok());
    let (rest, odd): (BTreeMap<_, _>, BTreeMap<_, _>) = rest.into_iter().partition(|(name, _)| portable(name));
    (rest, links.len(), odd.len())
}

/// Up and down again, by one strategy; then once more, which moves nothing.
fn round_trip(source: &Path, strategy: &str) {
    let scene = Scene::new();
    let name = source.file_name().unwrap().to_str().unwrap();
    let (expected, links, odd) = storable(tree(source));
    assert!(expected.len() > 100, "{source:?} is hardly a tree");
    let code = if odd == 0 { 0 } else { 8 };
    let began = Instant::now();
    let put = scene.run(&["put", source.to_str().unwrap(), strategy, "--json"]).ends(code);
    let up = began.elapsed();
    assert_eq!(put.summary()["left_out"], links);
    assert_eq!(put.json("error").len(), odd, "every name that cannot be stored is reported");
    assert_same(&expected, &tree(&scene.hosted(name)));
    let began = Instant::now();
    scene.run(&["get", "/", strategy, "-q"]).ok();
    let down = began.elapsed();
    assert_same(&expected, &tree(&scene.downloaded(name)));
    let moved = scene.moved();
    scene.run(&["put", source.to_str().unwrap(), strategy, "-q"]).ends(code);
    scene.run(&["get", "/", strategy, "-q"]).ok();
    assert_eq!(scene.moved(), moved, "a second run moves nothing");
    let count = expected.len();
    eprintln!("{source:?} {strategy}: {count} entries, {links} links, {odd} odd names, up {up:.1?}, down {down:.1?}");
}

/// A tree that stands on most machines; others have nothing to test here.
fn on_this_machine(path: &str, strategy: &str) {
    let whole = Path::new(path);
    if !whole.is_dir() {
        eprintln!("{path} is not on this machine: nothing tested");
    } else if is_long() {
        round_trip(whole, strategy);
    } else {
        let copy = tempfile::tempdir().unwrap();
        let part = copy.path().join("part");
        copy_part(whole, &part, 400);
        round_trip(&part, strategy);
    }
}

/// Copies every so many of a tree's entries, with their times.
fn copy_part(source: &Path, target: &Path, count: usize) {
    let entries: Vec<_> =
        WalkDir::new(source).min_depth(1).sort_by_file_name().into_iter().map(Result::unwrap).collect();
    for entry in entries.iter().step_by(entries.len().div_ceil(count)) {
        let path = target.join(entry.path().strip_prefix(source).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if entry.file_type().is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), &path).unwrap();
        } else if entry.file_type().is_dir() {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::copy(entry.path(), &path).unwrap();
            date(&path, modified(entry.path()));
        }
    }
    date_folders(target);
}

#[test]
fn the_documents_of_a_system_come_back_identical_serially() {
    on_this_machine("/usr/share/doc", "--serial");
}

#[test]
fn the_documents_of_a_system_come_back_identical_in_parallel() {
    on_this_machine("/usr/share/doc", "--parallel");
}

#[test]
fn the_modules_of_python_come_back_identical_serially() {
    on_this_machine("/usr/lib/python3", "--serial");
}

#[test]
fn the_modules_of_python_come_back_identical_in_parallel() {
    on_this_machine("/usr/lib/python3", "--parallel");
}

#[test]
fn names_with_a_colon_are_reported_and_the_others_come_back() {
    let scene = Scene::new();
    let source = scene.local("perl");
    for name in ["Dpkg::Version.3perl.gz", "Locale::gettext.3pm.gz"] {
        write(&source.join(name), b"manual");
    }
    (0..150).for_each(|number| write(&source.join(format!("{number}/page.3")), b"manual"));
    date_folders(&source);
    round_trip(&source, "--serial");
}

#[test]
fn very_many_small_files_go_up_and_come_back() {
    let strategies = if is_long() { &["--serial", "--parallel", "--jobs=4"][..] } else { &["--serial"] };
    let count = scaled(5_000_u64, 100_000);
    let source = tempfile::tempdir().unwrap();
    let many = source.path().join("many");
    for number in 0..count {
        // Without the walk that dates each file by itself: that would take longer than the test.
        let folder = many.join((number / 10_000).to_string());
        if number % 10_000 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(format!("{number}.txt")), format!("file number {number}")).unwrap();
    }
    date(&many.join("0/0.txt"), moment(1));
    date_folders(source.path());
    strategies.iter().for_each(|strategy| round_trip(&many, strategy));
}
