//! `client subscribe` and `client publish` against a server that says what a test tells it to say.

use crate::common::eventually;
use crate::fake::{Fake, Peer};
use crate::scene::{Run, Running, random};
use hostdir::wire::{
    Arrived, Arriving, Digest, End, ErrorCode, Fault, FileHeader, Gap, Get, JournalId, LiveHeader, LiveId, Position,
    RawBytes, Receipt, ReceiptOutcome, Reply, Request, Subscribe, Subscribed, TransferId, Version,
};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

const LIVE: LiveId = LiveId([9; 16]);

/// A journal of arrivals that a fake server keeps, and what it heard from its clients.
#[derive(Default)]
struct Journal {
    id: u8,
    arrivals: Vec<(String, Vec<u8>, Option<LiveId>)>,
    /// Arrivals up to this one are not known any more.
    forgotten: u64,
    /// An upload that is on its way.
    arriving: Option<&'static str>,
    /// A file that is not there any more.
    gone: Option<&'static str>,
    /// A file that the server cannot read.
    failing: Option<&'static str>,
    /// Whether connections that follow are cut.
    is_away: bool,
    /// How many were.
    cut: usize,
    subscribed: Vec<Subscribe>,
    receipts: Vec<Receipt>,
    gets: Vec<Get>,
}

#[derive(Clone)]
struct Server {
    journal: Arc<Mutex<Journal>>,
    fake: Arc<Fake>,
}

/// What answers a live GET.
type Live = dyn Fn(&mut Peer, &Get) + Send + Sync;

impl Server {
    fn start(files: &[(&str, &[u8])]) -> Self {
        Self::with_live(files, |peer, _| peer.reply(&fault(ErrorCode::NotFound)))
    }

    fn with_live(files: &[(&str, &[u8])], live: impl Fn(&mut Peer, &Get) + Send + Sync + 'static) -> Self {
        let arrivals = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec(), None)).collect();
        let journal = Arc::new(Mutex::new(Journal { id: 1, arrivals, ..Journal::default() }));
        let (shared, live): (_, Box<Live>) = (Arc::clone(&journal), Box::new(live));
        let fake = Fake::start(move |peer, request| match request {
            Request::Subscribe(subscribe) => follow(peer, &shared, subscribe),
            Request::Get(get) => answer(peer, &shared, get, &live),
            Request::Receipt(receipt) => shared.lock().unwrap().receipts.push(receipt),
            Request::Ping => peer.reply(&Reply::Pong),
            _ => {}
        });
        Self { journal, fake: Arc::new(fake) }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap()
    }

    fn add(&self, name: &str, bytes: &[u8]) {
        self.journal().arrivals.push((name.to_owned(), bytes.to_vec(), None));
    }

    fn subscribe(&self, arguments: &[&str]) -> Running {
        Running::start(self.fake.client().arg("subscribe").args(arguments))
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.subscribe(arguments).wait()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.fake.downloads().join(name)).unwrap()
    }

    /// Waits for the receipts of so many arrivals, and returns the numbers of those that were verified, sorted.
    fn received(&self, count: usize) -> Vec<u64> {
        eventually("the receipts come", || self.journal().receipts.len() >= count);
        let journal = self.journal();
        let verified = journal.receipts.iter().filter(|it| it.outcome == ReceiptOutcome::Verified);
        let mut numbers: Vec<u64> = verified.map(|receipt| receipt.number.unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn follow(peer: &mut Peer, journal: &Mutex<Journal>, subscribe: Subscribe) {
    let mut told = {
        let mut journal = journal.lock().unwrap();
        if journal.is_away {
            journal.cut += 1;
            return peer.hang_up();
        }
        let known = journal.arrivals.len() as u64;
        let id = JournalId([journal.id; 16]);
        let is_known =
            subscribe.journal.is_none_or(|asked| asked == id) && subscribe.after.is_none_or(|after| after <= known);
        let after = if is_known { subscribe.after.unwrap_or(known) } else { 0 };
        let oldest = journal.forgotten + 1;
        peer.reply(&Reply::Subscribed(Subscribed { journal: id, oldest, after }));
        if !is_known {
            peer.reply(&Reply::Gap(Gap { after: 0, missed: None }));
        } else if after < journal.forgotten {
            let missed = Some(journal.forgotten - after);
            peer.reply(&Reply::Gap(Gap { after: journal.forgotten, missed }));
        }
        journal.subscribed.push(subscribe);
        after.max(journal.forgotten)
    };
    let mut announced = None;
    loop {
        {
            let mut journal = journal.lock().unwrap();
            if journal.is_away {
                journal.cut += 1;
                return peer.hang_up();
            }
            if let Some(name) = journal.arriving
                && announced.replace(name) != Some(name)
            {
                let path = RawBytes(name.as_bytes().to_vec());
                peer.reply(&Reply::Arriving(Arriving { live: LIVE, path, size: None }));
            }
            while let Some((name, bytes, live)) = journal.arrivals.get(told as usize) {
                told += 1;
                peer.reply(&Reply::Arrived(arrived(told, name, bytes, *live)));
            }
        }
        sleep(Duration::from_millis(5));
    }
}

fn answer(peer: &mut Peer, journal: &Mutex<Journal>, get: Get, live: &Live) {
    journal.lock().unwrap().gets.push(get.clone());
    if get.live.is_some() {
        return live(peer, &get);
    }
    let found = {
        let journal = journal.lock().unwrap();
        if journal.failing.is_some_and(|name| name.as_bytes() == &*get.path) {
            return peer.reply(&fault(ErrorCode::Unavailable));
        }
        let is_it = |name: &str| name.as_bytes() == &*get.path && journal.gone != Some(name);
        journal.arrivals.iter().find(|(name, ..)| is_it(name)).map(|it| it.1.clone())
    };
    let Some(bytes) = found else { return peer.reply(&fault(ErrorCode::NotFound)) };
    let header = FileHeader {
        offset: get.offset,
        length: bytes.len() as u64 - get.offset,
        ..crate::fake::header(bytes.len() as u64)
    };
    peer.reply(&Reply::File(header));
    peer.data(&bytes[get.offset as usize..]);
    peer.end(&bytes);
}

fn arrived(number: u64, name: &str, bytes: &[u8], live: Option<LiveId>) -> Arrived {
    Arrived {
        number,
        path: RawBytes(name.as_bytes().to_vec()),
        size: bytes.len() as u64,
        digest: digest(bytes),
        modified: 1_234_567_890_123_456_789,
        time: 0,
        live,
        publisher: Some("192.168.1.7".into()),
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

fn fault(code: ErrorCode) -> Reply {
    Reply::Error(Fault { code, message: None })
}

fn live_header(offset: u64) -> Reply {
    let version = Version::new(b"live").unwrap();
    Reply::Live(LiveHeader { transfer: TransferId(3), size: None, modified: None, version, offset })
}

fn live_end(bytes: &[u8], name: &str, number: u64) -> Reply {
    let path = Some(RawBytes(name.as_bytes().to_vec()));
    Reply::End(End { digest: Some(digest(bytes)), path, number: Some(number) })
}

#[test]
fn what_arrived_is_saved_verified_and_acknowledged() {
    let server = Server::start(&[("chat/a.txt", b"alpha"), ("chat/b/c.bin", &random(1, 300_000)), ("chat/empty", b"")]);
    let run = server.run(&["chat", "--from", "start", "--count", "3", "--json"]).ends(0);
    assert_eq!(server.read("chat/a.txt"), b"alpha");
    assert_eq!(server.read("chat/b/c.bin"), random(1, 300_000));
    assert_eq!(server.read("chat/empty"), b"");
    let file = run.file("chat/a.txt");
    assert_eq!(
        (&file["status"], &file["number"], &file["publisher"]),
        (&json!("ok"), &json!(1), &json!("192.168.1.7"))
    );
    assert_eq!(run.summary()["ok"], 3);
    assert_eq!(server.received(3), [1, 2, 3]);
    let modified = fs::metadata(server.fake.downloads().join("chat/a.txt")).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos(), 1_234_567_890_123_456_789);
    let journal = server.journal();
    let subscriber = journal.subscribed[0].subscriber.unwrap();
    assert!(journal.receipts.iter().all(|receipt| receipt.subscriber == Some(subscriber)));
    assert_eq!(journal.subscribed[0].after, Some(0));
}

#[test]
fn the_next_run_goes_on_where_the_last_one_ended() {
    let server = Server::start(&[("chat/old", b"old")]);
    let running = server.subscribe(&["chat", "--count", "1", "--json"]);
    eventually("it follows", || server.journal().subscribed.len() == 1);
    server.add("chat/a", b"a");
    let run = running.wait().ends(0);
    assert!(run.json("file").iter().all(|file| file["path"] == "chat/a"), "{run:#?}");
    server.add("chat/b", b"b");
    server.add("chat/c", b"c");
    let run = server.run(&["chat", "--count", "2"]).ends(0).says("2 missed files fetched");
    assert!(run.err.contains("chat/b") && run.err.contains("from 192.168.1.7"), "{run:#?}");
    let journal = server.journal();
    assert_eq!(journal.subscribed[0].after, None, "from now on");
    assert_eq!((journal.subscribed[1].after, journal.subscribed[1].journal), (Some(2), Some(JournalId([1; 16]))));
    assert_eq!(journal.subscribed[0].subscriber, journal.subscribed[1].subscriber);
    assert_eq!(journal.gets.len(), 3);
}

#[test]
fn what_was_received_is_not_fetched_again_after_a_kill() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b")]);
    let mark = server.fake.local.path().join("downloads/mark");
    fs::create_dir(server.fake.downloads()).unwrap();
    let program = script(&server, "echo $HOSTDIR_REMOTE_PATH >> $(dirname $HOSTDIR_PATH)/../mark");
    let exec = ["--exec", program.to_str().unwrap()];
    let running = server.subscribe(&[&["chat", "--from", "start", "--serial"][..], &exec].concat());
    eventually("both are there", || fs::read_to_string(&mark).is_ok_and(|text| text.lines().count() == 2));
    running.kill();
    server.add("chat/c", b"c");
    server.run(&[&["chat", "--count", "1"][..], &exec].concat()).ends(0);
    // With one connection, in the order of arrival.
    assert_eq!(fs::read_to_string(&mark).unwrap(), "chat/a\nchat/b\nchat/c\n");
    assert_eq!(server.journal().gets.len(), 3);
}

fn script(server: &Server, text: &str) -> PathBuf {
    let path = server.fake.downloads().join("run.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_program_learns_which_file_it_is_run_for_and_may_fail() {
    let server = Server::start(&[("chat/it's; $(x)", b"alpha"), ("chat/b", b"")]);
    fs::create_dir(server.fake.downloads()).unwrap();
    let program = script(
        &server,
        "echo \"$HOSTDIR_PATH|$HOSTDIR_REMOTE_PATH|$HOSTDIR_DIGEST|$HOSTDIR_SIZE|$HOSTDIR_NUMBER|$#\"; exit 3",
    );
    let run = server.run(&["chat", "--from", "start", "--count", "2", "--exec", program.to_str().unwrap()]).ends(0);
    let place = fs::canonicalize(server.fake.downloads()).unwrap();
    let expected = format!("{}/chat/it's; $(x)|chat/it's; $(x)|{}|5|1|0", place.display(), digest(b"alpha"));
    assert!(run.out.lines().any(|line| line == expected), "{expected} in {run:#?}");
    assert_eq!(run.err.matches("run.sh ended with exit code 3 for chat/").count(), 2, "{run:#?}");
}

/// Defect: an upload that was fetched as it came, and told as an arrival only while it waited for its program, was fetched
/// and had the program run once more.
#[test]
fn a_file_that_waits_for_its_program_is_no_news_when_it_is_told() {
    let bytes = Arc::new(random(9, 1_000));
    let content = Arc::clone(&bytes);
    let server = Server::with_live(&[("chat/first", b"first")], move |peer, _| {
        peer.reply(&live_header(0));
        peer.data(&content);
        peer.reply(&live_end(&content, "chat/live", 2));
    });
    let downloads = server.fake.downloads();
    fs::create_dir(&downloads).unwrap();
    let program = script(
        &server,
        "cd ${0%/*}; echo $HOSTDIR_REMOTE_PATH >> ran; until [ -e go ] || [ ! -e ran ]; do sleep 0.01; done",
    );
    let ran = || fs::read_to_string(downloads.join("ran")).unwrap_or_default();
    let running = server.subscribe(&["chat", "--from", "start", "--serial", "--exec", program.to_str().unwrap()]);
    eventually("the program runs", || ran() == "chat/first\n");
    server.journal().arriving = Some("chat/live");
    eventually("the upload is in its place", || server.received(2) == [1, 2]);
    server.journal().arrivals.push(("chat/live".into(), bytes.to_vec(), Some(LIVE)));
    server.add("chat/last", b"last");
    server.received(3);
    fs::write(downloads.join("go"), "").unwrap();
    eventually("the program ran for all", || ran().lines().count() >= 3);
    running.signal(Signal::INT);
    running.wait().ends(130);
    // The two were received at once, by two threads.
    let mut paths: Vec<_> = ran().lines().map(str::to_owned).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["chat/first", "chat/last", "chat/live"]);
}

/// Defect: a file of a journal that was replaced while it waited for its program was then finished by its old number, so that
/// another file, which has that number in the new journal, counted as finished as well.
#[test]
fn what_waits_for_its_program_has_no_number_in_a_new_journal() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b")]);
    let downloads = server.fake.downloads();
    fs::create_dir(&downloads).unwrap();
    let program = script(
        &server,
        "cd ${0%/*}; echo $HOSTDIR_REMOTE_PATH >> ran; until [ -e go.$(wc -l < ran) ] || [ ! -e ran ]; do sleep 0.01; done",
    );
    let ran = || fs::read_to_string(downloads.join("ran")).unwrap_or_default();
    let exec = ["--exec", program.to_str().unwrap()];
    let running = server.subscribe(&[&["chat", "--from", "start", "--serial"][..], &exec].concat());
    eventually("both are in place", || server.received(2) == [1, 2] && ran() == "chat/a\n");
    server.journal().is_away = true;
    eventually("it is cut off", || server.journal().cut > 0);
    server.journal().id = 2;
    server.journal().arrivals = vec![("chat/c".into(), b"c".to_vec(), None), ("chat/d".into(), b"d".to_vec(), None)];
    server.journal().is_away = false;
    eventually("both of the new journal are in place", || server.journal().receipts.len() == 4);
    fs::write(downloads.join("go.1"), "").unwrap();
    eventually("the program runs for the second file", || ran() == "chat/a\nchat/b\n");
    running.kill();
    (2..=4).for_each(|run| fs::write(downloads.join(format!("go.{run}")), "").unwrap());
    server.run(&[&["chat", "--count", "2", "--serial"][..], &exec].concat()).ends(0);
    assert_eq!(ran(), "chat/a\nchat/b\nchat/c\nchat/d\n");
}

/// Defect: an upload whose content had arrived already, which its sender brought once more because it had not heard so, was
/// taken for an arrival of its own.
#[test]
fn an_upload_that_turns_out_to_be_an_earlier_arrival_is_no_news() {
    let bytes = Arc::new(random(9, 1_000));
    let content = Arc::clone(&bytes);
    let server = Server::with_live(&[("chat/live", &bytes)], move |peer, _| {
        peer.reply(&live_header(0));
        peer.data(&content);
        peer.reply(&live_end(&content, "chat/live", 1));
    });
    let running = server.subscribe(&["chat", "--from", "start", "--count", "2", "--json"]);
    server.received(1);
    server.journal().arriving = Some("chat/live");
    eventually("it is fetched as it comes", || server.journal().gets.iter().any(|get| get.live.is_some()));
    eventually("it is given up", || server.journal().receipts.len() == 2);
    assert_eq!(server.journal().receipts[1].outcome, ReceiptOutcome::GivenUp);
    server.add("chat/last", b"last");
    let run = running.wait().ends(0);
    assert_eq!((&run.file("chat/live")["number"], &run.file("chat/last")["number"]), (&json!(1), &json!(2)));
}

#[test]
fn history_that_is_gone_is_said_loudly() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b"), ("chat/c", b"c")]);
    server.journal().forgotten = 2;
    server.run(&["chat", "--from", "start", "--count", "1"]).ends(0).says("2 arrivals are gone from the server");
    let run = server.run(&["chat", "--from", "start", "--count", "1", "--json", "--quiet"]).ends(0);
    let gap = run.json("event").into_iter().find(|event| event["event"] == "gap").unwrap();
    assert_eq!((&gap["missed"], &gap["after"]), (&json!(2), &json!(2)));
    // Another journal under the same address.
    server.journal().id = 2;
    server.journal().forgotten = 0;
    server.run(&["chat", "--count", "3"]).ends(0).says("the server has a new journal");
    assert_eq!(server.journal().subscribed.last().unwrap().after, Some(3));
}

#[test]
fn a_server_that_was_put_back_to_an_older_state_is_followed_anew() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b"), ("chat/c", b"c")]);
    server.run(&["chat", "--from", "start", "--count", "3"]).ends(0);
    server.journal().arrivals.truncate(1);
    server.add("chat/d", b"d");
    let run = server.run(&["chat", "--count", "2", "--json"]).ends(0);
    assert_eq!((&run.file("chat/a")["status"], &run.file("chat/d")["status"]), (&json!("identical"), &json!("ok")));
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let server = Server::start(&[("chat/a", b"a")]);
    let running = server.subscribe(&["chat", "--from", "start", "--count", "3", "--json"]);
    server.received(1);
    server.journal().is_away = true;
    server.add("chat/b", b"b");
    server.add("chat/c", b"c");
    eventually("it is cut off, and turned away once more", || server.journal().cut > 1);
    server.journal().is_away = false;
    let run = running.wait().ends(0);
    let events: Vec<_> = run.json("event").iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    let position =
        |what: &str| events.iter().position(|event| event == what).unwrap_or_else(|| panic!("{what}: {events:?}"));
    assert!(position("disconnected") < position("reconnected"));
    let caught_up = run.json("event").into_iter().find(|event| event["event"] == "caught_up");
    assert!(caught_up.is_none_or(|event| event["files"] == 2));
    assert_eq!(server.received(3), [1, 2, 3]);
    assert_eq!(server.journal().subscribed.last().unwrap().after, Some(1));
}

#[test]
fn what_is_there_already_is_kept_and_counts_as_received() {
    let server = Server::start(&[("chat/a", b"alpha"), ("chat/b", b"beta")]);
    fs::create_dir_all(server.fake.downloads().join("chat")).unwrap();
    fs::write(server.fake.downloads().join("chat/a"), b"alpha").unwrap();
    fs::write(server.fake.downloads().join("chat/b"), b"mine").unwrap();
    let run = server.run(&["chat", "--from", "start", "--count", "2", "--json"]).ends(0);
    assert_eq!(run.file("chat/a")["status"], "identical");
    assert_eq!(run.file("chat/b")["stored_as"], "chat/b (1)");
    assert_eq!((server.read("chat/b"), server.read("chat/b (1)")), (b"mine".to_vec(), b"beta".to_vec()));
    assert_eq!(server.received(2), [1, 2]);
    let journal = server.journal();
    assert_eq!(journal.gets.len(), 1);
    assert_eq!(journal.receipts.iter().find(|it| it.number == Some(1)).unwrap().transfer, TransferId(0));
}

#[test]
fn a_file_that_is_gone_again_is_told_and_passed() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b")]);
    server.journal().gone = Some("chat/a");
    let run = server.run(&["chat", "--from", "start", "--count", "1", "--json", "--serial"]);
    assert_eq!(run.file("chat/a")["code"], "not-found", "{run:#?}");
    assert_eq!(run.file("chat/b")["status"], "ok");
    assert_eq!(run.ends(0).summary()["failed"], 1);
    assert_eq!(server.received(2), [2]);
    server.add("chat/c", b"c");
    server.run(&["chat", "--count", "1"]).ends(0);
    assert_eq!(server.journal().subscribed.last().unwrap().after, Some(2), "what can never be had is passed");
}

#[test]
fn a_file_that_cannot_have_its_place_does_not_hold_up_others() {
    let server = Server::start(&[("chat/a", b"a"), ("b", b"b")]);
    fs::create_dir_all(server.fake.downloads()).unwrap();
    fs::write(server.fake.downloads().join("chat"), b"a file where a folder should be").unwrap();
    let run = server.run(&["/", "--from", "start", "--count", "1", "--serial", "--json"]).ends(0);
    assert_eq!((&run.file("chat/a")["code"], &run.file("b")["status"]), (&json!("exists"), &json!("ok")));
    assert_eq!(server.received(2), [2]);
}

#[test]
fn a_server_that_fails_again_and_again_is_given_up_for_that_file() {
    let server = Server::start(&[("chat/a", b"a"), ("chat/b", b"b")]);
    server.journal().failing = Some("chat/a");
    let running = server.subscribe(&["chat", "--from", "start", "--serial", "--json"]);
    eventually("both are told", || server.journal().receipts.len() == 2);
    let journal = server.journal();
    assert!(journal.gets.iter().filter(|get| *get.path == *b"chat/a").count() > 3);
    assert_eq!(journal.receipts[0].number, Some(2), "the other one did not wait for it");
    drop(journal);
    running.signal(Signal::INT);
    assert_eq!(running.wait().ends(130).file("chat/a")["code"], "unavailable");
}

#[test]
fn a_live_upload_is_seen_when_it_is_whole_and_verified_and_not_before() {
    let bytes = Arc::new(random(5, 400_000));
    let step = Arc::new(Mutex::new(0));
    let (content, at) = (Arc::clone(&bytes), Arc::clone(&step));
    let server = Server::with_live(&[], move |peer, _| {
        peer.reply(&live_header(0));
        peer.data(&content[..100_000]);
        *at.lock().unwrap() = 1;
        while *at.lock().unwrap() < 2 {
            sleep(Duration::from_millis(2));
        }
        peer.data(&content[100_000..]);
        peer.reply(&live_end(&content, "chat/big", 1));
    });
    server.journal().arriving = Some("chat/big");
    let running = server.subscribe(&["chat", "--count", "1", "--json"]);
    eventually("it is on its way", || *step.lock().unwrap() == 1);
    assert!(!server.fake.downloads().join("chat/big").exists());
    // Others are not kept waiting by it.
    server.journal().arrivals.push(("chat/big".into(), bytes.to_vec(), Some(LIVE)));
    *step.lock().unwrap() = 2;
    let run = running.wait().ends(0);
    assert_eq!(server.read("chat/big"), *bytes);
    let file = run.file("chat/big");
    assert_eq!(
        (&file["status"], &file["number"], &file["publisher"]),
        (&json!("ok"), &json!(1), &json!("192.168.1.7"))
    );
    assert_eq!(server.received(1), [1]);
    assert!(server.journal().gets.iter().all(|get| get.live == Some(LIVE)), "it was fetched once");
}

#[test]
fn a_live_upload_with_other_bytes_than_announced_is_fetched_by_its_path() {
    let bytes = random(6, 200_000);
    let server = Server::with_live(&[], {
        let bytes = bytes.clone();
        move |peer, _| {
            peer.reply(&live_header(0));
            peer.data(&random(7, 200_000));
            peer.reply(&live_end(&bytes, "chat/big", 1));
        }
    });
    server.journal().arriving = Some("chat/big");
    let running = server.subscribe(&["chat", "--count", "1", "--json"]);
    eventually("it is asked for", || !server.journal().gets.is_empty());
    server.journal().arrivals.push(("chat/big".into(), bytes.clone(), Some(LIVE)));
    running.wait().ends(0);
    assert_eq!(server.read("chat/big"), bytes);
    server.fake.left(&["chat"]);
}

#[test]
fn a_live_upload_goes_on_after_the_client_was_stopped() {
    let bytes = Arc::new(random(8, 600_000));
    let content = Arc::clone(&bytes);
    let server = Server::with_live(&[], move |peer, get| {
        peer.reply(&live_header(get.offset));
        if get.offset == 0 {
            peer.data(&content[..300_000]);
            return peer.until_closed();
        }
        peer.data(&content[get.offset as usize..]);
        peer.reply(&live_end(&content, "chat/big", 1));
    });
    server.journal().arriving = Some("chat/big");
    let running = server.subscribe(&["chat"]);
    let partial = server.fake.downloads().join(".hostdir/partial");
    let held =
        || fs::read_dir(&partial).into_iter().flatten().map(|it| it.unwrap().metadata().unwrap().len()).sum::<u64>();
    eventually("a part of it is here", || held() > 100_000);
    running.signal(Signal::INT);
    running.wait().ends(130);
    assert!(!server.fake.downloads().join("chat").exists());
    server.journal().arriving = None;
    server.journal().arrivals.push(("chat/big".into(), bytes.to_vec(), Some(LIVE)));
    let run = server.run(&["chat", "--count", "1", "--json"]).ends(0);
    assert!(run.file("chat/big")["resumed_from"].as_u64().unwrap() > 100_000, "{run:#?}");
    assert_eq!(server.read("chat/big"), *bytes);
    assert_eq!(server.journal().gets.len(), 2);
}

#[test]
fn once_complete_asks_for_nothing_before() {
    let server = Server::start(&[]);
    server.journal().arriving = Some("chat/big");
    let running = server.subscribe(&["chat", "--once-complete", "--count", "1"]);
    eventually("it follows", || server.journal().subscribed.len() == 1);
    sleep(Duration::from_millis(50));
    server.journal().arrivals.push(("chat/big".into(), b"whole".to_vec(), Some(LIVE)));
    running.wait().ends(0).says("chat/big is arriving");
    assert!(server.journal().gets.iter().all(|get| get.live.is_none()));
}

#[test]
fn two_of_different_topics_do_not_disturb_each_other() {
    let server = Server::start(&[]);
    let chat = server.subscribe(&["chat", "--count", "1"]);
    eventually("the first follows", || server.journal().subscribed.len() == 1);
    let same = server.run(&["chat"]).ends(3);
    assert!(same.err.contains("another client follows these topics"), "{same:#?}");
    let news = server.subscribe(&["/", "--count", "1"]);
    eventually("both follow", || server.journal().subscribed.len() == 2);
    server.add("chat/a", b"a");
    chat.wait().ends(0);
    news.wait().ends(0);
    let journal = server.journal();
    assert_ne!(journal.subscribed[0].subscriber, journal.subscribed[1].subscriber);
    assert_eq!(server.read("chat/a"), b"a");
    server.fake.left(&["chat"]);
}

#[test]
fn a_server_cannot_choose_what_is_downloaded() {
    let server = Server::start(&[("other/a", b"a")]);
    server.run(&["chat", "--from", "start"]).ends(7).says("was not asked for");
    server.fake.left(&[]);
}

#[test]
fn a_server_that_tells_faster_than_files_come_is_asked_to_pause() {
    // More than wait and are being fetched at a time.
    const COUNT: u64 = 9_600;
    let name = |number: u64| format!("chat/{}/{number}", number % 4);
    let subscribed = Arc::new(Mutex::new(Vec::new()));
    let (noted, paused) = (Arc::clone(&subscribed), AtomicBool::new(false));
    let fake = Fake::start(move |peer, request| match request {
        Request::Subscribe(subscribe) => {
            let after = subscribe.after.unwrap();
            noted.lock().unwrap().push(after);
            peer.reply(&Reply::Subscribed(Subscribed { journal: JournalId([1; 16]), oldest: 1, after }));
            for number in after + 1..=COUNT {
                peer.reply(&Reply::Arrived(arrived(number, &name(number), b"", None)));
            }
            if after == COUNT {
                peer.reply(&Reply::Arrived(arrived(COUNT + 1, "chat/last", b"", None)));
            }
        }
        Request::Ping => {
            paused.store(true, Ordering::SeqCst);
            peer.reply(&Reply::Paused(Position { after: COUNT }));
            peer.reply(&Reply::Pong);
        }
        Request::Get(_) => {
            // Files come slowly until the server was asked to pause.
            while !paused.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(2));
            }
            peer.file(b"");
        }
        _ => {}
    });
    let count = (COUNT + 1).to_string();
    // Thousands of flushes are not what this is about: in memory they cost nothing.
    let place = TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap());
    let mut command = crate::scene::client(fake.address, place.path());
    command.args(["subscribe", "chat", "--from", "start", "--count", &count, "--json", "--jobs", "16"]);
    let run = crate::scene::run(&mut command).ends(0);
    assert_eq!(*subscribed.lock().unwrap(), [0, COUNT]);
    let numbers: std::collections::BTreeSet<u64> =
        run.json("file").iter().map(|file| file["number"].as_u64().unwrap()).collect();
    assert_eq!((numbers.len() as u64, run.summary()["ok"].as_u64()), (COUNT + 1, Some(COUNT + 1)));
}
