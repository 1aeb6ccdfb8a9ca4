//! Defects of `client subscribe` that only a server shows that says what a test tells it to say; each test names the cause.

use crate::common::eventually;
use crate::fake::{Fake, Peer};
use crate::scene::{Running, run};
use hostdir::wire::{Arrived, Digest, JournalId, Position, RawBytes, Reply, Request, Subscribe, Subscribed};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// A journal of this number was asked for, from here on.
fn subscribed(peer: &mut Peer, asked: &Subscribe) -> u64 {
    let after = asked.after.unwrap_or(0);
    peer.reply(&Reply::Subscribed(Subscribed { journal: JournalId([1; 16]), oldest: 1, after }));
    after
}

fn arrived(number: u64, name: &str, bytes: &[u8]) -> Reply {
    Reply::Arrived(Arrived {
        number,
        path: RawBytes(name.as_bytes().to_vec()),
        size: bytes.len() as u64,
        digest: Digest(*blake3::hash(bytes).as_bytes()),
        modified: 1_234_567_890_123_456_789,
        time: 0,
        live: None,
        publisher: None,
    })
}

/// Cause: whoever waited for others to fetch waited for them alone, and they for the server.
#[test]
fn a_subscriber_that_has_the_server_pause_can_be_stopped() {
    let fake = Fake::start(|peer, request| match request {
        Request::Subscribe(asked) => {
            subscribed(peer, &asked);
            (2..10_000).for_each(|number| peer.reply(&arrived(number, "chat/a", b"alpha")));
        }
        Request::Ping => {
            let mut both = Vec::new();
            Reply::Paused(Position { after: 10_000 }).encode(&mut both);
            Reply::Pong.encode(&mut both);
            peer.send(&both);
        }
        // No GET is ever answered.
        _ => {}
    });
    let running = Running::start(fake.client().args(["subscribe", "chat", "--from", "start", "--jobs", "2"]));
    // The last thing that it does before it waits: nothing is known to have arrived before the second.
    eventually("it has heard that the server paused", || saved(&fake).contains("\nafter 1\n"));
    running.signal(Signal::INT);
    running.within(Duration::from_secs(60)).ends(130);
}

/// The position that is saved.
fn saved(fake: &Fake) -> String {
    let files = fs::read_dir(fake.downloads().join(".hostdir")).into_iter().flatten().map(Result::unwrap);
    let is_position =
        |name: &str| name.starts_with("topics-") && !name.contains('.');
    let mut positions = files.filter(|file| file.file_name().to_str().is_some_and(is_position));
    positions.next().and_then(|file| fs::read_to_string(file.path()).ok()).unwrap_or_default()
}
