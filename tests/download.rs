//! GET through the real server: ranges, versions, files that change underneath, digests that are remembered.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Log, RawClient, Server, content, digest_of, eventually, whole};
use hostdir::wire::{ErrorCode, FileHeader, Get, Reply, Request, Version};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn served(files: &[(&str, &[u8])]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    for (path, bytes) in files {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), bytes).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    (dir, server)
}

#[test]
fn files_of_every_size_arrive_with_their_digest() {
    let dir = TempDir::new().unwrap();
    let sizes = [0, 1, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 3 * MIB + 17];
    for size in sizes {
        fs::write(dir.path().join(size.to_string()), content(size as u64, size)).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    for size in sizes {
        let got = client.get(size.to_string()).unwrap().unwrap();
        assert_eq!(got.bytes, content(size as u64, size));
        assert_eq!((got.header.size, got.header.offset, got.header.length), (size as u64, 0, size as u64));
    }
}

#[test]
fn any_range_is_had_and_beyond_the_end_there_is_none() {
    let bytes = content(1, 2 * MIB + 5);
    let (_dir, server) = served(&[("f", &bytes)]);
    let mut client = server.client();
    let size = bytes.len() as u64;
    let ranges = [
        (0, Some(1)),
        (1, Some(MIB as u64)),
        (MIB as u64 - 1, None),
        (size - 1, Some(u64::MAX)),
        (size, None),
        (7, Some(0)),
    ];
    for (offset, length) in ranges {
        let got = client.get_as(Get { offset, length, ..whole("f") }).unwrap().unwrap();
        let end = size.min(offset.saturating_add(length.unwrap_or(u64::MAX)));
        assert_eq!(got.bytes, bytes[offset as usize..end as usize], "{offset} {length:?}");
        assert_eq!((got.header.offset, got.header.length), (offset, end - offset));
        assert_eq!(got.digest, Some(digest_of(&bytes)), "the digest is always that of the whole file");
    }
    for offset in [size + 1, u64::MAX] {
        let fault = client.get_as(Get { offset, ..whole("f") }).unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::OutOfRange);
        assert!(fault.message.unwrap().contains(&size.to_string()));
    }
    client.alive();
}

#[test]
fn a_digest_that_is_not_wanted_is_not_sent() {
    let (_dir, server) = served(&[("small", b"x"), ("large", &content(1, MIB))]);
    for path in ["small", "large"] {
        let got = server.client().get_as(Get { digest: Some(false), ..whole(path) }).unwrap().unwrap();
        assert_eq!(got.digest, None);
    }
}

#[test]
fn resume_is_refused_when_the_file_changed() {
    let bytes = content(1, 300_000);
    let (dir, server) = served(&[("f", &bytes)]);
    let mut client = server.client();
    let version = client.get("f").unwrap().unwrap().header.version;
    let resume = |version: &Version| Get { offset: 100_000, version: Some(version.clone()), ..whole("f") };
    assert_eq!(client.get_as(resume(&version)).unwrap().unwrap().bytes, bytes[100_000..]);
    // The same size and the same modification time, but other bytes.
    let modified = fs::metadata(dir.path().join("f")).unwrap().modified().unwrap();
    let file = File::options().write(true).open(dir.path().join("f")).unwrap();
    file.write_at(b"!", 5).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(client.get_as(resume(&version)).unwrap().unwrap_err().code, ErrorCode::Changed);
    let other = client.get("f").unwrap().unwrap();
    assert_ne!(other.header.version, version);
    assert_eq!(other.bytes[5], b'!');
}

#[test]
fn only_regular_files_inside_are_served_and_nothing_blocks() {
    let (dir, _) = served(&[("d/f", b"x")]);
    // Without the second wall, which would hide a hole in the first.
    let server = Server::start(dir.path(), &["--no-confinement"]);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
    symlink("d/f", dir.path().join("inner")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let mut client = server.client();
    for path in ["link", "out/secret", "inner", "d/missing", "d/f/g"] {
        assert_eq!(client.get(path).unwrap().unwrap_err().code, ErrorCode::NotFound, "{path}");
    }
    for path in ["fifo", "socket", "d"] {
        assert_eq!(client.get(path).unwrap().unwrap_err().code, ErrorCode::NotAFile, "{path}");
    }
    assert_eq!(client.get("d/f").unwrap().unwrap().bytes, b"x");
}

/// Begins a GET of a file that is larger than all buffers on the way, and takes no more than FILE.
fn begin(dir: &Path, server: &Server) -> (RawClient, FileHeader) {
    File::create(dir.join("big")).unwrap().set_len(64 * MIB as u64).unwrap();
    let mut client = server.client();
    client.send(Request::Get(whole("big"))).unwrap();
    match client.receive().unwrap() {
        Frame::Reply(Reply::File(header)) => (client, header),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_changed_while_it_is_sent_ends_in_changed() {
    let (dir, server) = served(&[]);
    let (mut client, header) = begin(dir.path(), &server);
    File::options().write(true).open(dir.path().join("big")).unwrap().write_at(b"x", 60 * MIB as u64).unwrap();
    assert_eq!(client.take_bytes(header).unwrap().unwrap_err().code, ErrorCode::Changed);
    client.alive();
    server.logged(Log::Transfers, &["event=download", "status=failed", "changed"]);
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_is_padded_and_ends_in_changed() {
    let (dir, server) = served(&[]);
    let (mut client, header) = begin(dir.path(), &server);
    let cut = 50 * MIB as u64 + 12_345;
    File::options().write(true).open(dir.path().join("big")).unwrap().set_len(cut).unwrap();
    let mut received = 0;
    let fault = loop {
        match client.receive().unwrap() {
            Frame::Data(bytes) => received += bytes.len() as u64,
            Frame::Reply(Reply::Error(fault)) => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.code, ErrorCode::Changed);
    assert_eq!(received, cut.next_multiple_of(MIB as u64), "the frame that was begun is completed, and no other begun");
    assert!(received < header.length);
    client.alive();
}

#[test]
fn a_file_that_is_replaced_or_removed_while_it_is_sent_is_never_mixed() {
    let (dir, server) = served(&[]);
    for remove in [true, false] {
        let (mut client, header) = begin(dir.path(), &server);
        if remove {
            fs::remove_file(dir.path().join("big")).unwrap();
        } else {
            fs::write(dir.path().join("other"), vec![1; 64 * MIB]).unwrap();
            fs::rename(dir.path().join("other"), dir.path().join("big")).unwrap();
        }
        match client.take_bytes(header).unwrap() {
            Ok(got) => assert!(got.bytes.iter().all(|byte| *byte == 0)),
            Err(fault) => assert_eq!(fault.code, ErrorCode::Changed),
        }
        client.alive();
    }
}

#[test]
fn whoever_appends_while_it_is_read_sees_changed_or_one_state() {
    let (dir, server) = served(&[("log", b"")]);
    let path = dir.path().join("log");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&path).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) && file.metadata().unwrap().len() < 8 * MIB as u64 {
                file.write_all(&[7; 4000]).unwrap();
            }
        });
        let mut client = server.client();
        for _ in 0..200 {
            // The client's own check of the digest is in `get`.
            if let Err(fault) = client.get("log").unwrap() {
                assert_eq!(fault.code, ErrorCode::Changed);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_digest_is_computed_once_and_remembered_across_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("big");
    File::create(&path).unwrap().set_len(512 * MIB as u64).unwrap();
    let settled = || {
        let changed = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(
                std::os::unix::fs::MetadataExt::ctime(&fs::metadata(&path).unwrap()) as u64
            );
        changed.elapsed().unwrap() > std::time::Duration::from_secs(4)
    };
    eventually("the file is settled", settled);
    let ask = |server: &Server| {
        let before = server.cpu_ticks();
        let got = server.client().get_as(Get { length: Some(0), ..whole("big") }).unwrap().unwrap();
        (got.digest.unwrap(), server.cpu_ticks() - before)
    };
    let server = Server::start(dir.path(), &[]);
    let (digest, first) = ask(&server);
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let (remembered, second) = ask(&server);
    assert_eq!(digest, remembered);
    assert!(first >= 6 && second <= first / 3, "the digest took {first} ticks at first, {second} after the restart");
}

#[test]
fn a_damaged_memory_of_digests_costs_time_and_nothing_else() {
    let (dir, server) = served(&[]);
    let bytes = content(3, 200_000);
    server.client().put("f", &bytes).unwrap().unwrap();
    server.kill();
    let memory = dir.path().join(".hostdir/digests");
    for damage in [vec![0xff; 1 << 20], vec![0; 3], vec![]] {
        fs::write(&memory, damage).unwrap();
        let server = Server::start(dir.path(), &[]);
        assert_eq!(server.client().get("f").unwrap().unwrap().bytes, bytes);
    }
}
