//! LIST through the real server: pages, trees, limits, and names that are no ordinary ones.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Server};
use hostdir::wire::{EntryKind, ErrorCode, List, RawBytes, Reply, Request};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

fn served() -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("a/b/empty")).unwrap();
    fs::create_dir_all(dir.path().join("a/.hostdir")).unwrap();
    fs::write(dir.path().join("top"), "12345").unwrap();
    fs::write(dir.path().join("a/.HostDir"), "").unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"a/\xff\n")), "x").unwrap();
    fs::write(dir.path().join("a/back\\slash"), "x").unwrap();
    fs::write(dir.path().join("a/b/CON"), "x").unwrap();
    symlink("/etc", dir.path().join("a/link")).unwrap();
    let server = Server::start(dir.path(), &[]);
    (dir, server)
}

#[test]
fn a_tree_lists_whole_without_links_and_state() {
    let (_dir, server) = served();
    let listing = server.client().list_tree().unwrap().unwrap();
    assert_eq!(listing.paths(), [&b"a"[..], b"a/b", b"a/b/CON", b"a/b/empty", b"a/\xff\n", b"top"]);
    let listed = listing.listed;
    assert_eq!((listed.entries, listed.skipped, listed.unreadable, listed.truncated), (6, 4, 0, false));
    let place = |path: &[u8]| listing.entries.iter().position(|(found, _)| found == path).unwrap();
    assert!(place(b"a") < place(b"a/b") && place(b"a/b") < place(b"a/b/CON"), "a folder comes before what is in it");
    let (_, top) = &listing.entries[place(b"top")];
    assert_eq!((top.kind, top.size), (EntryKind::File, 5));
    assert_eq!(listing.entries[place(b"a")].1.kind, EntryKind::Folder);
}

#[test]
fn a_folder_lists_its_own_entries_a_file_itself_and_a_link_nothing() {
    let (_dir, server) = served();
    let mut client = server.client();
    assert_eq!(client.list("").unwrap().unwrap().paths(), [&b"a"[..], b"top"]);
    assert_eq!(client.list("a/b").unwrap().unwrap().paths(), [&b"a/b/CON"[..], b"a/b/empty"]);
    assert_eq!(client.list("a/b/empty").unwrap().unwrap().listed.entries, 0);
    assert_eq!(client.list("top").unwrap().unwrap().paths(), [b"top"]);
    assert_eq!(client.list(b"a/\xff\n").unwrap().unwrap().paths(), [b"a/\xff\n"]);
    for path in ["missing", "a/link", "top/x"] {
        assert_eq!(client.list(path).unwrap().unwrap_err().code, ErrorCode::NotFound, "{path}");
    }
    assert_eq!(client.get(b"a/\xff\n").unwrap().unwrap().bytes, b"x");
    assert_eq!(client.get("a/b/CON").unwrap().unwrap().bytes, b"x", "a name that cannot be stored can be read");
}

#[test]
fn a_limit_cuts_and_says_so() {
    let (_dir, server) = served();
    let mut client = server.client();
    for (limit, truncated) in [(1, true), (5, true), (6, false), (u64::MAX, false)] {
        let list = List { recursive: true, limit: Some(limit), ..List::default() };
        let listing = client.list_as(list).unwrap().unwrap();
        assert_eq!(listing.entries.len() as u64, limit.min(6));
        assert_eq!((listing.listed.entries, listing.listed.truncated), (limit.min(6), truncated));
    }
}

#[test]
fn a_large_folder_comes_in_pages_while_it_is_read() {
    let dir = TempDir::new().unwrap();
    for number in 0..3000 {
        fs::write(dir.path().join(format!("{number:0>200}")), "").unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    let listing = client.list("").unwrap().unwrap();
    assert_eq!(listing.entries.len(), 3000);
    assert!(listing.pages > 10);
    // Somebody who leaves after the first page hurts nobody.
    client.send(Request::List(List::default())).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Entries(_))));
    drop(client);
    server.client().alive();
}

#[test]
fn modification_times_are_told_to_the_nanosecond_also_before_1970() {
    let dir = TempDir::new().unwrap();
    for (name, time) in [("old", -1_234_567_890_123_456_789_i64), ("new", 1_999_999_999_000_000_001)] {
        let file = fs::File::create(dir.path().join(name)).unwrap();
        hostdir::staged::set_modified(std::os::fd::AsFd::as_fd(&file), time).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    let listing = server.client().list("").unwrap().unwrap();
    let time = |name: &[u8]| listing.entries.iter().find(|(path, _)| path == name).unwrap().1.modified;
    assert_eq!(time(b"new"), 1_999_999_999_000_000_001);
    assert_eq!(time(b"old"), -1_234_567_890_123_456_789);
}

#[test]
fn a_folder_at_the_greatest_depth_is_listed_and_one_below_it_is_skipped() {
    let dir = TempDir::new().unwrap();
    let deep = ["d"; 64].join("/");
    fs::create_dir_all(dir.path().join(&deep).join("beyond")).unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    let listing = client.list_tree().unwrap().unwrap();
    assert_eq!((listing.listed.entries, listing.listed.skipped), (64, 1));
    let list = List { path: RawBytes(deep.into_bytes()), ..List::default() };
    assert_eq!(client.list_as(list).unwrap().unwrap().listed.skipped, 1);
}
