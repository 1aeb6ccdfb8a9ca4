//! When a server is given up, and when it is not; each test names the cause of a defect.

use crate::fake::{Fake, Peer, file, welcome};
use hostdir::wire::{ErrorCode, Fault, PREAMBLE, Reply, Request};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
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
