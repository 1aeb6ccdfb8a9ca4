//! Disks that are full, failing or read-only: a precise error, old data intact, and service again when the cause is gone.

use crate::common::{Launch, Log, RawClient, Server, content, eventually, put_file, upload_id};
use crate::mount::{self, Image, Tmpfs};
use hostdir::wire::{Begin, ErrorCode, Put, Request};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn of_unknown_size(path: &str) -> Put {
    Put { size: None, ..put_file(path, 0) }
}

fn partials(dir: &Path) -> usize {
    fs::read_dir(dir.join(".hostdir/partial")).unwrap().count()
}

#[test]
fn a_full_disk_is_told_old_files_stay_and_service_returns_with_the_space() {
    if !mount::is_possible("a full disk") {
        return;
    }
    let disk = Tmpfs::new(8 << 20);
    let server = Server::start(disk.point(), &[]);
    let mut client = server.client();
    let old = content(1, MIB);
    client.put("old", &old).unwrap().unwrap();
    // One that says its size is refused before it comes; one that does not meets the end of the disk.
    assert_eq!(client.ask(put_file("large", 20 * MIB)).unwrap().unwrap_err().unwrap_err().code, ErrorCode::NoSpace);
    for _ in 0..3 {
        let fault = client.put_as(of_unknown_size("endless"), &vec![7; 10 * MIB]).unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::NoSpace);
    }
    assert_eq!(partials(disk.point()), 0);
    fs::write(disk.point().join("filler"), vec![0; 20 * MIB]).unwrap_err();
    assert!(client.put("no", &content(2, MIB)).unwrap().is_err());
    assert_eq!(client.get("old").unwrap().unwrap().bytes, old);
    disk.resize(32 << 20);
    fs::remove_file(disk.point().join("filler")).unwrap();
    eventually("there is room again", || client.put("yes", &content(2, MIB)).unwrap().is_ok());
    client.put_as(of_unknown_size("endless"), &vec![7; 10 * MIB]).unwrap().unwrap();
    assert_eq!(client.list("").unwrap().unwrap().paths(), [&b"endless"[..], b"old", b"yes"]);
}

/// What is there already of an upload takes its space already, all the more where the rest was reserved with it.
#[test]
fn an_upload_that_broke_off_is_resumed_where_only_the_rest_has_room() {
    if !mount::is_possible("a resumed upload on a small disk") {
        return;
    }
    let (memory, image) = (Tmpfs::new(100 << 20), Image::new(128 << 20, None));
    for disk in [memory.point(), image.point()] {
        let server = Server::start(disk, &[]);
        let bytes = content(1, 60 * MIB);
        let put = Put { upload: Some(upload_id(1)), ..put_file("f", bytes.len()) };
        let mut client = server.client();
        client.ask(put.clone()).unwrap().unwrap();
        client.send(Request::Begin(Begin { offset: 0 })).unwrap();
        bytes[..50 * MIB].chunks(MIB).for_each(|chunk| client.data(chunk).unwrap());
        drop(client);
        let partial = disk.join(".hostdir/partial").join(upload_id(1).to_string());
        eventually("what came is kept", || partial.metadata().is_ok_and(|it| it.len() == 50 << 20));
        let mut client = server.client();
        assert_eq!(client.ask(put).unwrap().unwrap().offset, 50 << 20);
        client.upload_from(50 * MIB, &bytes).unwrap();
        client.stored().unwrap().unwrap();
        assert!(fs::read(disk.join("f")).unwrap() == bytes);
    }
}

/// The image has room, but what it lies on has not: writes succeed, and the flush finds out.
#[test]
fn a_flush_that_fails_for_want_of_space_below_acknowledges_nothing() {
    if !mount::is_possible("a disk that is full underneath") {
        return;
    }
    let below = Tmpfs::new(24 << 20);
    let mut image = Image::new(256 << 20, Some(below.point()));
    let mut server = Server::start(image.point(), &[]);
    let mut client = server.client();
    let old = content(1, MIB);
    client.put("old", &old).unwrap().unwrap();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for number in 0..12 {
        match client.put(format!("f{number}"), &content(number, 4 * MIB)).unwrap() {
            Ok(stored) => acknowledged.push((number, stored.path)),
            Err(fault) => {
                assert!(matches!(fault.code, ErrorCode::Unavailable | ErrorCode::NoSpace), "{fault:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "12 files of 4 MiB found room in 24 MiB");
    assert_eq!(client.get("old").unwrap().unwrap().bytes, old);
    below.resize(512 << 20);
    // Where the journal itself met the end of the space, ext4 has given up until it is mounted again.
    if !(0..20).any(|number| client.put("after", &content(number, MIB)).unwrap().is_ok()) {
        drop(client);
        server.kill();
        image.remount();
        server = Server::start(image.point(), &[]);
        client = server.client();
        client.put("after", &content(99, MIB)).unwrap().unwrap();
    }
    for (number, path) in acknowledged {
        assert_eq!(client.get(&*path).unwrap().unwrap().bytes, content(number, 4 * MIB));
    }
}

#[test]
fn a_read_only_file_system_is_served_when_asked_for_and_refused_with_the_cause_otherwise() {
    if !mount::is_possible("a read-only file system") {
        return;
    }
    let image = Image::new(32 << 20, None);
    fs::write(image.point().join("f"), "x").unwrap();
    assert!(image.remount_as("ro"));
    let Err(said) = Server::try_launch(image.point(), &Launch::default()) else {
        panic!("it serves what it cannot write")
    };
    assert!(said.contains("--read-only"), "{said}");
    let server = Server::start(image.point(), &["--read-only"]);
    let mut client = server.client();
    assert_eq!(client.get("f").unwrap().unwrap().bytes, b"x");
    assert_eq!(client.put("g", b"x").unwrap().unwrap_err().code, ErrorCode::ReadOnly);
    drop(server);
    assert!(image.remount_as("rw"));
    Server::start(image.point(), &[]).client().put("g", b"x").unwrap().unwrap();
}

/// As ext4 does by itself when its disk fails.
#[test]
fn a_file_system_that_turns_read_only_under_the_server_refuses_uploads_and_serves_on() {
    if !mount::is_possible("a file system that turns read-only") {
        return;
    }
    let mut image = Image::new(32 << 20, None);
    let server = Server::start(image.point(), &[]);
    let mut client = server.client();
    let bytes = content(1, 300_000);
    client.put("f", &bytes).unwrap().unwrap();
    // Aborts the journal; that it answers with an error is its way.
    let _ = image.remount_as("abort");
    for _ in 0..3 {
        let fault = client.put("g", &bytes).unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::Unavailable, "{fault:?}");
    }
    assert_eq!(client.get("f").unwrap().unwrap().bytes, bytes);
    assert_eq!(client.list("").unwrap().unwrap().paths(), [&b"f"[..], b"lost+found"]);
    server.logged(Log::Transfers, &["event=upload", "status=refused", "Read-only file system"]);
    server.kill();
    image.remount();
    Server::start(image.point(), &[]).client().put("g", &bytes).unwrap().unwrap();
}

#[test]
fn a_full_disk_under_the_logs_stops_no_transfer() {
    if !mount::is_possible("a full disk under the logs") {
        return;
    }
    let (dir, logs) = (TempDir::new().unwrap(), Tmpfs::new(64 << 10));
    let server = Server::launch(dir.path(), &Launch { logs: Some(logs.point()), ..Launch::default() });
    let filler = logs.point().join("filler");
    fs::write(&filler, vec![0; MIB]).unwrap_err();
    let mut client: RawClient = server.client();
    for number in 0..300 {
        client.put(format!("f{number}"), b"x").unwrap().unwrap();
    }
    fs::remove_file(&filler).unwrap();
    eventually("the log goes on", || {
        client.put("more", &content(1, 10)).unwrap().unwrap();
        server.log(Log::Transfers).iter().any(|line| line.contains("dropped"))
            || server.log(Log::Events).iter().any(|line| line.contains("dropped"))
    });
}
