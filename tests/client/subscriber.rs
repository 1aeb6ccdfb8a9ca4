//! Defects of `client subscribe` that only a server shows that says what a test tells it to say; each test names the cause.

use crate::common::{Strace, eventually};
use crate::fake::{Fake, Peer, header};
use crate::scene::{Running, run};
use hostdir::wire::{
    Arrived, Arriving, Digest, End, ErrorCode, Fault, FileHeader, Get, JournalId, LiveHeader, LiveId, Position,
    RawBytes, Reply, Request, Subscribe, Subscribed, TransferId, Version,
};
use rustix::process::Signal;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
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
    let is_position = |name: &str| name.starts_with("topics-") && !name.contains('.');
    let mut positions = files.filter(|file| file.file_name().to_str().is_some_and(is_position));
    positions.next().and_then(|file| fs::read_to_string(file.path()).ok()).unwrap_or_default()
}

/// Tells of these files, the first of which is the second arrival, and leaves the answers to GET to `script`.
fn with_arrivals(files: &'static [(&str, &[u8])], script: impl Fn(&mut Peer, Get) + Send + Sync + 'static) -> Fake {
    let files_end = files.len() as u64 + 1;
    Fake::start(move |peer, request| match request {
        Request::Subscribe(asked) => {
            let after = subscribed(peer, &asked);
            let files = (2..).zip(files).filter(|(number, _)| *number > after);
            files.for_each(|(number, (name, bytes))| peer.reply(&arrived(number, name, bytes)));
            peer.reply(&Reply::Position(Position { after: files_end }));
        }
        Request::Get(get) => script(peer, get),
        _ => {}
    })
}

fn follow(fake: &Fake, arguments: &[&str]) -> Running {
    // Nobody is silent for so long by chance.
    let always = ["subscribe", "chat", "--from", "start", "--serial", "--timeout", "600", "--json"];
    Running::start(fake.client().args(always).args(arguments))
}

/// Cause: a connection that was cut because of one file was dialled again, and the answers about the next ones, which were
/// asked for on the first, were waited for on the second.
#[test]
fn what_was_asked_on_a_connection_that_was_cut_is_asked_again() {
    const FILES: [(&str, &[u8]); 3] = [("chat/first", b""), ("chat/a", b"0123456789"), ("chat/b", b"abcdefghij")];
    let is_new = Mutex::new(true);
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let fake = with_arrivals(&FILES, move |peer, get| {
        match &*get.path {
            b"chat/first" => {
                released.lock().unwrap().recv().unwrap();
                peer.file(b"");
            }
            b"chat/a" if std::mem::take(&mut *is_new.lock().unwrap()) => {
                // Another size than was told, and more than is passed over.
                peer.reply(&Reply::File(header(9 << 20)));
            }
            b"chat/a" => peer.file(b"0123456789"),
            _ => peer.file(b"abcdefghij"),
        }
    });
    let running = follow(&fake, &["--count", "3"]);
    eventually("it has heard of all of them", || saved(&fake).contains("\nafter 1\n"));
    release.send(()).unwrap();
    let run = running.within(Duration::from_secs(90)).ends(0);
    assert_eq!(run.summary()["ok"], 3, "{run:#?}");
}

/// Cause: what was here of a file was forgotten with any refusal, and stayed in its folder: the next attempt began at 0, beside
/// it, and could not be gone on with.
#[test]
fn what_is_here_of_a_file_outlives_a_refusal_that_passes() {
    const SIZE: usize = 200 * 1024;
    for (code, goes_on) in [(ErrorCode::Unavailable, true), (ErrorCode::Changed, false)] {
        let bytes: &'static [u8] = vec![7; SIZE].leak();
        let files: &'static [(&str, &[u8])] = vec![("chat/a", bytes)].leak();
        let offsets = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&offsets);
        let fake = with_arrivals(files, move |peer, get| {
            let attempt = {
                let mut noted = noted.lock().unwrap();
                noted.push(get.offset);
                noted.len()
            };
            let from = get.offset as usize;
            match attempt {
                2 => peer.reply(&Reply::Error(Fault { code, message: None })),
                _ => {
                    let length = (SIZE - from) as u64;
                    peer.reply(&Reply::File(FileHeader { offset: get.offset, length, ..header(SIZE as u64) }));
                    peer.data(&bytes[from..if attempt == 1 { SIZE / 2 } else { SIZE }]);
                    if attempt == 1 {
                        return peer.hang_up();
                    }
                    peer.reply(&Reply::End(End::default()));
                }
            }
        });
        let run = follow(&fake, &["--count", "1"]).within(Duration::from_secs(90)).ends(0);
        let offsets = offsets.lock().unwrap();
        assert!(offsets.len() == 3 && offsets[1] > 0, "{code:?}: {offsets:?} {run:#?}");
        assert_eq!(offsets[2] > 0, goes_on, "{code:?}: {offsets:?}");
        let left = fs::read_dir(fake.downloads().join(".hostdir/partial")).into_iter().flatten().count();
        assert_eq!(left, 0, "{code:?}");
    }
}

/// Cause: a server that was short of something for a moment, when a subscriber came back to it, ended that one for good.
#[test]
fn a_subscriber_outlives_a_server_that_cannot_do_it_just_now() {
    let subscriptions = Mutex::new(0);
    let fake = Fake::start(move |peer, request| match request {
        Request::Subscribe(asked) => {
            let mut count = subscriptions.lock().unwrap();
            *count += 1;
            if *count == 2 {
                return peer.reply(&Reply::Error(Fault { code: ErrorCode::Unavailable, message: None }));
            }
            subscribed(peer, &asked);
            match *count {
                1 => peer.hang_up(),
                _ => peer.reply(&arrived(1, "chat/a", b"alpha")),
            }
        }
        Request::Get(_) => peer.file(b"alpha"),
        _ => {}
    });
    let run = follow(&fake, &["--count", "1"]).wait().ends(0);
    assert_eq!(run.file("chat/a")["status"], "ok");
}

/// Cause: where an upload ends is its sender's choice, and was taken for a lie of the server.
#[test]
fn an_upload_that_ends_in_another_folder_is_no_breach_of_the_protocol() {
    const LIVE: LiveId = LiveId([9; 16]);
    let (say, ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    let fake = Fake::start(move |peer, request| match request {
        Request::Subscribe(asked) => {
            subscribed(peer, &asked);
            let path = RawBytes(b"chat/a".to_vec());
            peer.reply(&Reply::Arriving(Arriving { live: LIVE, path, size: None }));
            ended.lock().unwrap().recv().unwrap();
            peer.reply(&arrived(2, "chat/b", b"beta"));
        }
        Request::Get(get) if get.live == Some(LIVE) => {
            let version = Version::new(b"live").unwrap();
            let header = LiveHeader { transfer: TransferId(3), size: None, modified: None, version, offset: 0 };
            peer.reply(&Reply::Live(header));
            peer.data(b"alpha");
            let digest = Some(Digest(*blake3::hash(b"alpha").as_bytes()));
            let path = Some(RawBytes(b"other/a".to_vec()));
            peer.reply(&Reply::End(End { digest, path, number: Some(1) }));
        }
        // It is of no use to the client, which says so.
        Request::Receipt(_) => _ = say.send(()),
        Request::Get(_) => peer.file(b"beta"),
        _ => {}
    });
    let run = follow(&fake, &["--count", "1"]).wait().ends(0);
    assert_eq!(run.file("chat/b")["status"], "ok");
    fake.left(&["chat"]);
}

/// Cause: a file that was there already counted as safely here, although whoever put it there, as `client get` does, may not have
/// flushed it.
#[test]
fn what_is_there_already_is_flushed_before_it_counts() {
    let fake = with_arrivals(&[("chat/a", b"alpha")], |_, get| panic!("{get:?}"));
    fs::create_dir_all(fake.downloads().join("chat")).unwrap();
    fs::write(fake.downloads().join("chat/a"), b"alpha").unwrap();
    let log = fake.local.path().join("calls");
    let client = fake.client();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-e", "trace=fsync", "-o"]).arg(&log).arg(client.get_program()).args(client.get_args());
    client.get_envs().for_each(|(name, value)| match value {
        Some(value) => _ = traced.env(name, value),
        None => _ = traced.env_remove(name),
    });
    traced.args(["subscribe", "chat", "--from", "start", "--count", "1", "--json"]);
    if !Strace::is_possible() {
        return eprintln!("skipped: strace may not trace here");
    }
    let run = run(&mut traced).ends(0);
    assert_eq!(run.file("chat/a")["status"], "identical");
    let calls = fs::read_to_string(log).unwrap();
    let at =
        |what: &str| calls.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {calls}"));
    assert!(at("/downloads/chat/a>") < at("/downloads/chat>"), "{calls}");
}
