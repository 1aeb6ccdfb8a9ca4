//! When a server is given up, and when it is not; each test names the cause of a defect.

use crate::fake::{Fake, Peer, file, header, welcome};
use crate::scene::Running;
use hostdir::wire::{ErrorCode, Fault, Kind, Offer, PREAMBLE, Reply, Request, TransferId};
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

/// Refuses a newcomer for lack of a place.
fn refuse(peer: &mut Peer) {
    if peer.hear_hello() {
        peer.send(&PREAMBLE);
        peer.reply(&Reply::Error(Fault { code: ErrorCode::Busy, message: None }));
        peer.until_closed();
    }
}

/// Cause: one worker for which there was no place gave the server up for all of them.
#[test]
fn a_worker_without_a_place_leaves_the_files_to_those_that_have_one() {
    const FILES: usize = 10;
    let (refused, connections) = (Arc::new((Mutex::new(0), Condvar::new())), AtomicUsize::new(0));
    let fake = Fake::raw(move |peer| {
        let (count, changed) = &*refused;
        if connections.fetch_add(1, Ordering::SeqCst) > 0 {
            refuse(peer);
            *count.lock().unwrap() += 1;
            return changed.notify_all();
        }
        peer.greet(welcome());
        while let Some(request) = peer.request() {
            match request {
                Request::List(_) => {
                    let names: Vec<_> = (0..FILES).map(|number| format!("f{number}")).collect();
                    // As large as is listed, they are asked for one by one.
                    let entries: Vec<_> = names.iter().map(|name| file(name.as_bytes(), 5 << 20)).collect();
                    peer.entries(b"", &entries);
                    peer.listed(FILES as u64);
                }
                Request::Get(_) => {
                    // Nobody gets through before the other one has made its attempts.
                    let is_early = |count: &mut usize| *count < 2;
                    drop(changed.wait_timeout_while(count.lock().unwrap(), Duration::from_secs(60), is_early).unwrap());
                    peer.file(b"content");
                }
                _ => {}
            }
        }
    });
    let run = fake.run(&["get", "/", "--jobs", "2", "--retries", "1", "--json"]).ends(0);
    assert_eq!(run.summary()["ok"], FILES, "{run:#?}");
}

/// Cause: a file that was only sent, and not answered, counted as progress, so that the attempts began anew with each.
#[test]
fn an_upload_that_is_never_answered_is_given_up() {
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    let fake = Fake::start(move |peer, request| match request {
        Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
        Request::Put(_) => {
            counted.fetch_add(1, Ordering::SeqCst);
            peer.hang_up();
        }
        _ => {}
    });
    let source = fake.local.path().join("small");
    std::fs::write(&source, b"small").unwrap();
    let running = Running::start(fake.client().arg("put").arg(source).args(["--retries", "2", "--json"]));
    running.within(Duration::from_secs(60)).ends(4);
    assert_eq!(puts.load(Ordering::SeqCst), 3);
}

/// Cause: bytes that came counted as progress, also where none of them was kept.
#[test]
fn a_download_that_breaks_again_and_again_is_given_up_where_nothing_is_kept() {
    for (size, flags) in [(10_000, &[][..]), (200_000, &["--no-resume"])] {
        let gets = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&gets);
        let fake = Fake::with_file(b"f", size, move |peer| {
            counted.fetch_add(1, Ordering::SeqCst);
            peer.reply(&Reply::File(header(size)));
            peer.data(&vec![1; size as usize / 2]);
            peer.hang_up();
        });
        let running = Running::start(fake.client().args(["get", "f", "--retries", "2", "--json"]).args(flags));
        running.within(Duration::from_secs(60)).ends(4);
        assert_eq!(gets.load(Ordering::SeqCst), 3, "{flags:?}");
    }
}

/// Cause: input that was read counted as progress, also where the server kept nothing of it.
#[test]
fn standard_input_that_never_gets_through_is_given_up() {
    const ENOUGH: usize = 20;
    let (send, begun) = mpsc::channel();
    let (puts, seen) = (Arc::new(AtomicUsize::new(0)), Mutex::new(0));
    let counted = Arc::clone(&puts);
    let fake = Fake::start(move |peer, request| match request {
        Request::Put(_) => {
            counted.fetch_add(1, Ordering::SeqCst);
            peer.reply(&Reply::Offer(Offer { transfer: TransferId(1), offset: 0, digest: None }));
        }
        Request::Begin(_) => {
            let _ = send.send(());
            // More than the last time must be read before the connection breaks.
            let (mut before, mut bytes) = (seen.lock().unwrap(), 0);
            while bytes <= *before
                && let Some((Kind::Data, data)) = peer.frame()
            {
                bytes += data.len();
            }
            *before = bytes;
            peer.hang_up();
        }
        _ => {}
    });
    let mut command = fake.client();
    command.args(["put", "-", "--name", "log", "--retries", "2", "--json"]).stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut stdin = running.stdin();
    let writing = std::thread::spawn(move || {
        for () in begun.into_iter().take(ENOUGH) {
            if stdin.write_all(b"more").is_err() {
                break;
            }
        }
    });
    running.within(Duration::from_secs(60)).ends(4);
    assert_eq!(puts.load(Ordering::SeqCst), 3);
    drop(fake);
    drop(writing);
}
