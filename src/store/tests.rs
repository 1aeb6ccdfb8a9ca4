//! What of the store cannot be had through the programs, or only by chance.

use super::*;
use crate::connection::{Deadlines, Stream};
use crate::transfer::{Sink, digest_bytes};
use crate::wire::{PutKind, RawBytes, StoredOutcome, UploadId};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Barrier;
use tempfile::TempDir;

const ID: UploadId = UploadId([7; 16]);

fn store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let config = Config {
        directory: dir.path().to_owned(),
        read_only: false,
        overwrite: false,
        max_file_size: None,
        min_free_space: Some(0),
        keep: Keep::default(),
        rules: Vec::new(),
    };
    let store = Store::open(config).unwrap();
    (dir, store)
}

/// Of a connection that nobody is at.
fn interrupt() -> Interrupt {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    Stream::new(socket, Deadlines::SERVER).unwrap().interrupt()
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

fn plan(store: &Store, path: &str, upload: Option<UploadId>) -> Plan {
    let put = Put {
        path: RawBytes(path.as_bytes().to_vec()),
        kind: PutKind::File,
        size: None,
        modified: None,
        on_conflict: OnConflict::Rename,
        upload,
        digest: None,
        ask: true,
    };
    store.plan(&put).unwrap()
}

fn offered(store: &Store, path: &str, on_wait: &mut OnWait<'_>) -> Upload {
    match store.offer(plan(store, path, Some(ID)), interrupt(), on_wait).unwrap() {
        Offered::Upload(upload) => *upload,
        Offered::Answer(answer) => panic!("{answer:?}"),
    }
}

fn begun(store: &Store, bytes: &[u8]) -> Upload {
    let mut upload = offered(store, "f", &mut || Ok(()));
    store.begin_upload(&mut upload, 0).unwrap();
    upload.store(bytes).unwrap();
    upload
}

fn finished(upload: Upload, bytes: &[u8]) -> Finished {
    upload.finish(digest_bytes(bytes), digest_bytes(bytes)).unwrap()
}

#[test]
fn a_sweep_leaves_what_was_taken_up_again() {
    let (_dir, store) = store();
    drop(begun(&store, b"by"));
    let mut upload = offered(&store, "f", &mut || Ok(()));
    let swept = store.sweep(Sweep::Running, Duration::ZERO).unwrap();
    assert_eq!((swept.removed, swept.kept), (0, 1));
    store.begin_upload(&mut upload, 2).unwrap();
    upload.store(b"tes").unwrap();
    let answers = store.commit(vec![finished(upload, b"bytes")], &mut || Ok(()));
    assert_eq!(answers[0].as_ref().unwrap().outcome, StoredOutcome::New);
    drop(begun(&store, b"more"));
    assert_eq!(store.sweep(Sweep::Running, Duration::ZERO).unwrap().removed, 1);
}

#[test]
fn a_file_that_changes_while_it_is_compared_is_another_one() {
    let (dir, store) = store();
    std::fs::write(dir.path().join("f"), "bytes").unwrap();
    let open = store.open_file(&path("f")).unwrap();
    let has_content = || store.has_content(&open, digest_bytes(b"bytes"), &mut || Ok(())).unwrap();
    assert!(has_content());
    std::fs::write(dir.path().join("f"), "other").unwrap();
    assert!(!has_content());
}

#[test]
fn a_sender_that_is_gone_does_not_end_the_commit_of_what_it_sent() {
    let (_dir, store) = store();
    assert!(store.commit(vec![finished(begun(&store, b"bytes"), b"bytes")], &mut || Ok(()))[0].is_ok());
    let again = finished(begun(&store, b"bytes"), b"bytes");
    // As if somebody were at the file for so long that the sender must be told.
    let there = store.underway.add(&store.open_file(&path("f")).unwrap().file).unwrap();
    let mut told = 0;
    let answers = store.commit(vec![again], &mut || {
        told += 1;
        store.underway.remove(&[there.inode]);
        Err(Error::disconnected("tell the sender"))
    });
    assert_eq!((answers[0].as_ref().unwrap().outcome, told), (StoredOutcome::Identical, 1));
}

#[test]
fn what_was_lost_arrives_once_however_many_find_it() {
    let (dir, store) = store();
    let folder = store.root.open_folder(&RemoteFolder::ROOT).unwrap();
    for number in 0..20 {
        let name = format!("f{number}");
        std::fs::write(dir.path().join(&name), "bytes").unwrap();
        let barrier = Barrier::new(2);
        let settle = || {
            barrier.wait();
            let digest = Some(digest_bytes(b"bytes"));
            let plan = plan(&store, &name, None);
            store.settle_arrival(folder.as_fd(), &path(&name), digest, &plan, &mut || Ok(())).unwrap()
        };
        let numbers = std::thread::scope(|scope| {
            let other = scope.spawn(settle);
            (settle(), other.join().unwrap())
        });
        assert_eq!(numbers, (Some(number + 1), Some(number + 1)));
    }
}

#[test]
fn of_those_who_wait_for_an_upload_the_newest_gets_it() {
    let (_dir, store) = store();
    let claims = &store.claims;
    let held = claims.take(ID, interrupt(), &mut || Ok(())).unwrap();
    std::thread::scope(|scope| {
        // It waits by the time that it is asked to have patience.
        let (waits, patience) = crossbeam_channel::bounded(1);
        let older = scope.spawn(move || {
            claims.take(ID, interrupt(), &mut || {
                let _ = waits.try_send(());
                Ok(())
            })
        });
        patience.recv().unwrap();
        let newest = scope.spawn(|| claims.take(ID, interrupt(), &mut || Ok(())));
        assert_eq!(older.join().unwrap().unwrap_err().code(), ErrorCode::Superseded);
        drop(held);
        assert!(!newest.join().unwrap().unwrap().is_superseded());
    });
}

#[test]
fn an_upload_is_away_before_another_connection_can_take_it_over() {
    let (_dir, store) = store();
    // Nothing is there that would be hashed, with patience asked for.
    let upload = begun(&store, b"");
    let live = store.live.find(store.live_id(ID).unwrap()).unwrap();
    std::thread::scope(|scope| {
        // Whoever leaves comes no further than to this.
        let mut noting = Some(live.hold());
        scope.spawn(move || drop(upload));
        let upload = offered(&store, "f", &mut || {
            noting = None;
            Ok(())
        });
        assert!(noting.is_none(), "the claim was let go before that");
        assert_eq!(upload.length(), 0);
    });
}

#[test]
fn a_reader_that_has_not_read_all_does_not_hear_of_the_end() {
    let (dir, store) = store();
    std::fs::write(dir.path().join("f"), "bytes").unwrap();
    let id = store.live_id(ID).unwrap();
    let begin = || {
        let file = std::fs::File::open(dir.path().join("f")).unwrap();
        store.live.begin(LiveUpload::new(id, path("f"), None, None), 5, false, file)
    };
    let sender = begin();
    let mut reader = store.live.find(id).unwrap().read(0, None).unwrap();
    drop(begin());
    sender.arrived(End { path: path("f"), digest: digest_bytes(b"bytes"), number: None });
    assert_eq!(reader.next(Duration::ZERO, Duration::ZERO).unwrap_err().code(), ErrorCode::Changed);
    reader.advance(5);
    assert!(matches!(reader.next(Duration::ZERO, Duration::ZERO).unwrap(), Next::Arrived(_)));
}

#[test]
fn a_prefix_is_not_hashed_for_whoever_is_superseded() {
    let (_dir, store) = store();
    drop(begun(&store, b"by"));
    let claim = store.claims.take(ID, interrupt(), &mut || Ok(())).unwrap();
    claim.supersede();
    let staging = store.writable().unwrap();
    let opened = Upload::open(staging, plan(&store, "f", Some(ID)), &ID.to_string(), Some(claim), &mut || Ok(()));
    assert_eq!(opened.unwrap_err().code(), ErrorCode::Superseded);
    assert_eq!(offered(&store, "f", &mut || Ok(())).length(), 2);
}
