//! PUT through the real server: at once, asked for, resumed, refused, taken over, given up.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Launch, Log, RawClient, Server, content, digest_of, eventually, put_file, upload_id};
use hostdir::wire::{
    Abandon, Begin, ErrorCode, Finish, OnConflict, Put, PutKind, Reply, Request, StoredOutcome, UploadId,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn served(arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

fn resumable(path: &str, bytes: &[u8], id: UploadId) -> Put {
    Put { upload: Some(id), ..put_file(path, bytes.len()) }
}

fn partials(dir: &Path) -> usize {
    fs::read_dir(dir.join(".hostdir/partial")).unwrap().count()
}

#[test]
fn files_of_every_size_are_stored_both_ways() {
    let (dir, server) = served(&[]);
    let mut client = server.client();
    for size in [0, 1, 65_536, 65_537, MIB, MIB + 1, 5 * MIB + 3] {
        let bytes = content(size as u64, size);
        for (path, ask) in [(format!("at-once/{size}"), false), (format!("asked/{size}"), true)] {
            let put = put_file(&path, size);
            let stored = if ask { client.put_asking(put, &bytes) } else { client.put_as(put, &bytes) };
            let stored = stored.unwrap().unwrap();
            assert_eq!((&*stored.path, stored.outcome), (path.as_bytes(), StoredOutcome::New));
            assert_eq!(fs::read(dir.path().join(&path)).unwrap(), bytes);
            assert_eq!(client.get(&path).unwrap().unwrap().bytes, bytes);
        }
    }
    assert_eq!(partials(dir.path()), 0);
}

#[test]
fn a_file_of_unknown_size_and_its_time_are_stored() {
    let (dir, server) = served(&[]);
    let bytes = content(1, 3 * MIB);
    let put = Put { size: None, modified: Some(-5_000_000_001), ..put_file("f", 0) };
    server.client().put_as(put, &bytes).unwrap().unwrap();
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), bytes);
    let modified = fs::metadata(dir.path().join("f")).unwrap().modified().unwrap();
    assert_eq!(UNIX_EPOCH.duration_since(modified).unwrap(), Duration::from_nanos(5_000_000_001));
}

#[test]
fn folders_are_made_and_found() {
    let (dir, server) = served(&[]);
    let mut client = server.client();
    for outcome in [StoredOutcome::New, StoredOutcome::Identical] {
        let put = Put { kind: PutKind::Folder, size: None, modified: Some(1_000_000_000), ..put_file("a/b/c", 0) };
        client.send(Request::Put(put)).unwrap();
        assert_eq!(client.stored().unwrap().unwrap().outcome, outcome);
    }
    assert_eq!(
        fs::metadata(dir.path().join("a/b/c")).unwrap().modified().unwrap(),
        UNIX_EPOCH + Duration::from_secs(1)
    );
    client.put("file", b"x").unwrap().unwrap();
    for path in ["file", "file/below"] {
        client.send(Request::Put(Put { kind: PutKind::Folder, ..put_file(path, 0) })).unwrap();
        client.refused(ErrorCode::Exists);
    }
    assert_eq!(client.put("file/below/it", b"x").unwrap().unwrap_err().code, ErrorCode::Exists);
}

#[test]
fn each_policy_is_kept_when_a_name_is_taken() {
    let (dir, server) = served(&["--allow-overwrite"]);
    let mut client = server.client();
    let mut put = |on_conflict, bytes: &[u8]| {
        let put = Put { on_conflict, ..put_file("f.txt", bytes.len()) };
        client.put_as(put, bytes).unwrap().map(|stored| (stored.outcome, stored.path.to_vec())).map_err(|it| it.code)
    };
    assert_eq!(put(OnConflict::Fail, b"one"), Ok((StoredOutcome::New, b"f.txt".to_vec())));
    assert_eq!(put(OnConflict::Rename, b"two"), Ok((StoredOutcome::Renamed, b"f (1).txt".to_vec())));
    assert_eq!(put(OnConflict::Rename, b"two"), Ok((StoredOutcome::Identical, b"f (1).txt".to_vec())));
    assert_eq!(put(OnConflict::Skip, b"three"), Ok((StoredOutcome::Skipped, b"f.txt".to_vec())));
    assert_eq!(put(OnConflict::Fail, b"three"), Err(ErrorCode::Exists));
    assert_eq!(put(OnConflict::Fail, b"one"), Ok((StoredOutcome::Identical, b"f.txt".to_vec())));
    assert_eq!(put(OnConflict::Overwrite, b"four"), Ok((StoredOutcome::Overwritten, b"f.txt".to_vec())));
    assert_eq!(fs::read(dir.path().join("f.txt")).unwrap(), b"four");
    assert_eq!(fs::read(dir.path().join("f (1).txt")).unwrap(), b"two");
    fs::create_dir(dir.path().join("d")).unwrap();
    for (on_conflict, answer) in [(OnConflict::Overwrite, ErrorCode::Exists), (OnConflict::Fail, ErrorCode::Exists)] {
        let put = Put { on_conflict, ..put_file("d", 1) };
        assert_eq!(client.put_as(put, b"x").unwrap().unwrap_err().code, answer);
    }
    assert_eq!(partials(dir.path()), 0);
}

#[test]
fn overwriting_and_writing_at_all_are_the_operators_choice() {
    let (dir, server) = served(&[]);
    let mut client = server.client();
    client.put("f", b"old").unwrap().unwrap();
    let put = Put { on_conflict: OnConflict::Overwrite, ..put_file("f", 3) };
    assert_eq!(client.put_as(put.clone(), b"new").unwrap().unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(client.ask(put).unwrap().unwrap_err().unwrap_err().code, ErrorCode::Forbidden);
    drop(server);
    let server = Server::start(dir.path(), &["--read-only"]);
    let mut client = server.connection();
    assert!(client.greet().unwrap().read_only);
    assert_eq!(client.put("g", b"x").unwrap().unwrap_err().code, ErrorCode::ReadOnly);
    client.send(Request::Put(Put { kind: PutKind::Folder, ..put_file("h", 0) })).unwrap();
    client.refused(ErrorCode::ReadOnly);
    assert_eq!(client.get("f").unwrap().unwrap().bytes, b"old");
    assert_eq!(client.list("").unwrap().unwrap().paths(), [b"f"]);
}

#[test]
fn names_that_other_systems_cannot_hold_are_refused_with_the_reason() {
    let (_dir, server) = served(&[]);
    let mut client = server.client();
    let names = ["a:b", "dot.", "space ", "tab\t", "CON", "nul.txt", "d/com1/x", "lpt9.tar.gz", "\u{7f}"];
    for name in names {
        let fault = client.put(name, b"x").unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::BadName, "{name:?}");
        assert!(fault.message.unwrap().len() > 10);
        assert_eq!(client.ask(put_file(name, 1)).unwrap().unwrap_err().unwrap_err().code, ErrorCode::BadName);
    }
    assert_eq!(client.list_tree().unwrap().unwrap().listed.entries, 0);
    for name in ["CONSOLE", "com0", ".profile", "ñ", "a b"] {
        client.put(name, b"x").unwrap().unwrap();
    }
}

#[test]
fn what_is_too_large_is_refused_with_the_limit_and_the_session_goes_on() {
    let (dir, server) = served(&["--max-file-size", "1000B"]);
    let mut client = server.client();
    let bytes = content(1, 1001);
    let fault = client.put("f", &bytes).unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::TooLarge);
    assert!(fault.message.unwrap().contains("1000"));
    assert_eq!(client.ask(put_file("f", 1001)).unwrap().unwrap_err().unwrap_err().code, ErrorCode::TooLarge);
    // One that does not say how large it is meets the limit while it comes.
    let put = Put { size: None, ..put_file("f", 0) };
    assert!(client.put_as(put, &bytes).unwrap().is_err());
    client.put("g", &bytes[..1000]).unwrap().unwrap();
    assert!(!dir.path().join("f").exists());
}

#[test]
fn what_would_fill_the_disk_is_refused_before_it_comes() {
    let (_dir, server) = served(&["--min-free-space", "1000TiB"]);
    let mut client = server.client();
    let fault = client.put("f", b"x").unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::NoSpace);
    assert!(fault.message.unwrap().contains(&(1000_u64 << 40).to_string()));
    assert_eq!(client.ask(put_file("f", 1)).unwrap().unwrap_err().unwrap_err().code, ErrorCode::NoSpace);
    client.alive();
}

#[test]
fn what_is_still_sent_after_a_refusal_is_thrown_away() {
    let (dir, server) = served(&[]);
    let mut client = server.client();
    client.send(Request::Put(put_file("bad:name", 100 * MIB))).unwrap();
    client.refused(ErrorCode::BadName);
    for _ in 0..20 {
        client.data(&vec![0; MIB]).unwrap();
    }
    client.send(Request::Abandon(Abandon { keep: false })).unwrap();
    client.alive();
    // Pipelined: refused uploads between good ones.
    for name in ["one", "bad.", "two", "a:b", "three"] {
        client.send_put(put_file(name, 3), b"abc").unwrap();
    }
    let outcomes: Vec<bool> = (0..5).map(|_| client.stored().unwrap().is_ok()).collect();
    assert_eq!(outcomes, [true, false, true, false, true]);
    assert_eq!(fs::read(dir.path().join("three")).unwrap(), b"abc");
}

/// Sends the first `count` bytes of an upload, and waits until the server has them on disk after the cut.
fn cut_after(server: &Server, dir: &Path, put: Put, bytes: &[u8], count: usize) {
    let mut client = server.client();
    client.ask(put).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    bytes[..count].chunks(100_000).for_each(|chunk| client.data(chunk).unwrap());
    drop(client);
    eventually("what came is kept", || {
        let partial = fs::read_dir(dir.join(".hostdir/partial")).unwrap().next();
        partial.is_some_and(|partial| partial.unwrap().metadata().unwrap().len() == count as u64)
    });
}

#[test]
fn an_upload_that_broke_off_is_resumed_also_after_a_kill() {
    let (dir, mut server) = served(&[]);
    let bytes = content(1, 3 * MIB);
    let put = resumable("f", &bytes, upload_id(1));
    for kill in [false, true] {
        cut_after(&server, dir.path(), put.clone(), &bytes, 2 * MIB);
        if kill {
            server.kill();
            server = Server::start(dir.path(), &[]);
        }
        let mut client = server.client();
        let offer = client.ask(put.clone()).unwrap().unwrap();
        assert_eq!((offer.offset, offer.digest), (2 * MIB as u64, Some(digest_of(&bytes[..2 * MIB]))));
        if kill {
            client.upload_from(2 * MIB, &bytes).unwrap();
            assert_eq!(client.stored().unwrap().unwrap().outcome, StoredOutcome::New);
        } else {
            client.send(Request::Begin(Begin { offset: 0 })).unwrap();
            client.send(Request::Abandon(Abandon { keep: false })).unwrap();
            client.refused(ErrorCode::Abandoned);
        }
    }
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), bytes);
    assert_eq!(partials(dir.path()), 0);
    server.logged(Log::Transfers, &["event=upload", "status=ok", &format!("offset={}", 2 * MIB)]);
}

#[test]
fn a_prefix_that_is_not_the_senders_is_replaced() {
    let (dir, server) = served(&[]);
    let (old, new) = (content(1, 2 * MIB), content(2, 2 * MIB));
    cut_after(&server, dir.path(), resumable("f", &old, upload_id(1)), &old, MIB);
    let stored = server.client().put_asking(resumable("f", &new, upload_id(1)), &new).unwrap().unwrap();
    assert_eq!(stored.outcome, StoredOutcome::New);
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), new);
}

#[test]
fn a_wrong_prefix_that_is_resumed_all_the_same_is_a_mismatch() {
    let (dir, server) = served(&[]);
    let (old, new) = (content(1, 2 * MIB), content(2, 2 * MIB));
    cut_after(&server, dir.path(), resumable("f", &old, upload_id(1)), &old, MIB);
    let mut client = server.client();
    client.ask(resumable("f", &new, upload_id(1))).unwrap().unwrap();
    client.upload_from(MIB, &new).unwrap();
    assert_eq!(client.stored().unwrap().unwrap_err().code, ErrorCode::Mismatch);
    assert!(!dir.path().join("f").exists());
    assert_eq!(client.ask(resumable("f", &new, upload_id(1))).unwrap().unwrap().offset, 0);
}

#[test]
fn an_upload_may_go_on_under_another_path_and_with_another_size() {
    let (dir, server) = served(&[]);
    let bytes = content(1, 3 * MIB);
    cut_after(&server, dir.path(), resumable("first", &bytes[..2 * MIB], upload_id(1)), &bytes, MIB);
    let mut client = server.client();
    let put = resumable("folder/second", &bytes, upload_id(1));
    assert_eq!(client.ask(put.clone()).unwrap().unwrap().offset, MIB as u64);
    client.upload_from(MIB, &bytes).unwrap();
    assert_eq!(*client.stored().unwrap().unwrap().path, *b"folder/second");
    assert!(fs::read(dir.path().join("folder/second")).unwrap() == bytes && !dir.path().join("first").exists());
    assert_eq!(partials(dir.path()), 0);
}

#[test]
fn a_partial_file_that_is_longer_than_the_upload_is_begun_anew() {
    let (dir, server) = served(&[]);
    let bytes = content(1, 2 * MIB);
    cut_after(&server, dir.path(), resumable("f", &bytes, upload_id(1)), &bytes, MIB);
    let mut client = server.client();
    assert_eq!(client.ask(resumable("f", &bytes[..MIB - 1], upload_id(1))).unwrap().unwrap().offset, 0);
}

#[test]
fn a_lost_acknowledgement_is_neither_a_loss_nor_a_duplicate() {
    let (dir, server) = served(&[]);
    for (number, policy) in [OnConflict::Rename, OnConflict::Skip, OnConflict::Fail].into_iter().enumerate() {
        let name = format!("f{number}");
        let bytes = content(number as u64, 100_000);
        let put = Put {
            on_conflict: policy,
            digest: Some(digest_of(&bytes)),
            ..resumable(&name, &bytes, upload_id(number as u64))
        };
        let mut client = server.client();
        client.send_put(put.clone(), &bytes).unwrap();
        eventually("it is stored", || dir.path().join(&name).exists());
        drop(client);
        let again = server.client().put_asking(put.clone(), &bytes).unwrap().unwrap();
        assert_eq!((again.outcome, &*again.path), (StoredOutcome::Identical, name.as_bytes()));
        let again = server.client().put_as(put, &bytes).unwrap().unwrap();
        assert_eq!(again.outcome, StoredOutcome::Identical);
    }
    assert_eq!(server.client().list("").unwrap().unwrap().listed.entries, 3);
}

#[test]
fn a_newer_connection_takes_an_upload_over() {
    let (dir, server) = served(&[]);
    let bytes = content(1, 2 * MIB);
    let put = resumable("f", &bytes, upload_id(9));
    let mut sending = server.client();
    sending.ask(put.clone()).unwrap().unwrap();
    sending.send(Request::Begin(Begin { offset: 0 })).unwrap();
    sending.data(&bytes[..500_000]).unwrap();
    let mut waiting = server.client();
    waiting.ask(put.clone()).unwrap().unwrap();
    sending.refused(ErrorCode::Superseded);
    sending.closed();
    let mut last = server.client();
    let offer = last.ask(put).unwrap().unwrap();
    waiting.refused(ErrorCode::Superseded);
    waiting.closed();
    let held = offer.offset as usize;
    assert!(held == 0 || offer.digest == Some(digest_of(&bytes[..held])));
    last.upload_from(held, &bytes).unwrap();
    assert_eq!(last.stored().unwrap().unwrap().outcome, StoredOutcome::New);
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), bytes);
}

#[test]
fn an_upload_that_is_given_up_is_kept_only_if_its_sender_wants_it() {
    let (_dir, server) = served(&[]);
    let bytes = content(1, 2 * MIB);
    for (keep, left) in [(true, 300_000), (false, 0)] {
        let put = resumable("f", &bytes, upload_id(1));
        let mut client = server.client();
        client.ask(put.clone()).unwrap().unwrap();
        client.send(Request::Begin(Begin { offset: 0 })).unwrap();
        client.data(&bytes[..300_000]).unwrap();
        // Padding: the last frame is not to be trusted.
        client.data(&[0; 1000]).unwrap();
        client.send(Request::Abandon(Abandon { keep })).unwrap();
        client.refused(ErrorCode::Abandoned);
        assert_eq!(client.ask(put).unwrap().unwrap().offset, left);
        client.alive();
    }
    server.logged(Log::Transfers, &["event=upload", "status=aborted"]);
}

#[test]
fn many_that_only_ask_can_be_pipelined() {
    let (_dir, server) = served(&[]);
    let mut client = server.client();
    client.put("there", b"there").unwrap().unwrap();
    let ask = |name: &str, number| {
        let digest = Some(digest_of(b"there"));
        Request::Put(Put { ask: true, digest, upload: Some(upload_id(number)), ..put_file(name, 5) })
    };
    client.send_all(&[ask("there", 1), ask("new", 2), ask("there", 3), ask("new", 2)]).unwrap();
    for is_there in [true, false, true, false] {
        match client.receive().unwrap() {
            Frame::Reply(Reply::Stored(stored)) => assert!(is_there && stored.outcome == StoredOutcome::Identical),
            Frame::Reply(Reply::Offer(_)) => assert!(!is_there),
            other => panic!("{other:?}"),
        }
    }
    client.upload_from(0, b"there").unwrap();
    assert_eq!(client.stored().unwrap().unwrap().outcome, StoredOutcome::New);
}

#[test]
fn an_upload_that_was_not_needed_leaves_nothing_behind() {
    let (dir, server) = served(&[]);
    let (there, other) = (content(1, MIB), content(2, MIB));
    for (number, bytes, on_conflict, outcome) in [
        (1, &there, OnConflict::Rename, StoredOutcome::Identical),
        (2, &other, OnConflict::Skip, StoredOutcome::Skipped),
    ] {
        let (name, mut client) = (format!("f{number}"), server.client());
        client.ask(Put { on_conflict, ..resumable(&name, bytes, upload_id(number)) }).unwrap().unwrap();
        // The name is taken only now, so the bytes come all the same.
        server.client().put(&name, &there).unwrap().unwrap();
        client.upload_from(0, bytes).unwrap();
        assert_eq!((client.stored().unwrap().unwrap().outcome, partials(dir.path())), (outcome, 0));
    }
}

#[test]
fn what_is_left_of_an_upload_goes_when_its_content_is_there() {
    let (dir, server) = served(&[]);
    let bytes = content(1, 2 * MIB);
    for (number, on_conflict, outcome) in
        [(1, OnConflict::Rename, StoredOutcome::Identical), (2, OnConflict::Skip, StoredOutcome::Skipped)]
    {
        let put = Put { on_conflict, ..resumable("f", &bytes, upload_id(number)) };
        cut_after(&server, dir.path(), resumable("g", &bytes, upload_id(number)), &bytes, MIB);
        server.client().put("f", &bytes).unwrap().unwrap();
        let digest = (on_conflict == OnConflict::Rename).then(|| digest_of(&bytes));
        let stored = server.client().ask(Put { digest, ..put }).unwrap().unwrap_err().unwrap();
        assert_eq!((stored.outcome, partials(dir.path())), (outcome, 0));
    }
}

#[test]
fn two_writers_of_one_name_end_in_two_whole_files() {
    let (dir, server) = served(&[]);
    let contents: Vec<_> = (0..8).map(|seed| content(seed, 300_000)).collect();
    std::thread::scope(|scope| {
        for bytes in &contents {
            scope.spawn(|| server.client().put("d/same.bin", bytes).unwrap().unwrap());
        }
    });
    let mut found: Vec<_> =
        fs::read_dir(dir.path().join("d")).unwrap().map(|it| fs::read(it.unwrap().path()).unwrap()).collect();
    let mut expected = contents;
    found.sort();
    expected.sort();
    assert!(found == expected);
}

#[test]
fn no_link_is_followed_or_replaced_by_an_upload() {
    let (dir, server) = served(&["--allow-overwrite", "--no-confinement"]);
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("canary"), "alive").unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("canary"), dir.path().join("link")).unwrap();
    let mut client = server.client();
    assert!(client.put("out/new", b"x").unwrap().is_err());
    for on_conflict in [OnConflict::Overwrite, OnConflict::Fail] {
        assert!(client.put_as(Put { on_conflict, ..put_file("link", 1) }, b"x").unwrap().is_err());
    }
    assert_eq!(client.put("link", b"x").unwrap().unwrap().outcome, StoredOutcome::Renamed);
    assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"alive");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn what_a_kill_left_is_swept_or_kept_for_its_sender() {
    let (dir, server) = served(&[]);
    let bytes = content(1, MIB);
    cut_after(&server, dir.path(), resumable("kept", &bytes, upload_id(1)), &bytes, MIB / 2);
    let mut client = server.client();
    client.send(Request::Put(put_file("swept", MIB))).unwrap();
    client.data(&bytes[..MIB / 2]).unwrap();
    eventually("it has begun", || partials(dir.path()) == 2);
    server.kill();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(partials(dir.path()), 1);
    server.logged(Log::Events, &["event=sweep", "removed=1", "resumable=1"]);
    assert_eq!(server.client().list_tree().unwrap().unwrap().listed.entries, 0);
}

#[test]
fn a_directory_is_served_by_one_server_at_a_time() {
    let (dir, server) = served(&[]);
    let Err(said) = Server::try_launch(dir.path(), &Launch::default()) else { panic!("a second server runs") };
    assert!(said.contains("another server is serving it"), "{said}");
    server.kill();
    Server::start(dir.path(), &[]).client().alive();
}

#[test]
fn an_empty_file_needs_no_data_and_an_early_finish_no_begin() {
    let (dir, server) = served(&[]);
    let mut client: RawClient = server.client();
    client.send_all(&[Request::Put(put_file("empty", 0)), Request::Finish(Finish { digest: digest_of(b"") })]).unwrap();
    assert_eq!(client.stored().unwrap().unwrap().outcome, StoredOutcome::New);
    assert_eq!(fs::read(dir.path().join("empty")).unwrap(), b"");
}
