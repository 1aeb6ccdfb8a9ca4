//! Topics through the real server (PROTOCOL.md, section 16): following, live bytes, receivers, and what survives a kill.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Log, RawClient, Server, content, digest_of, put_file, upload_id};
use hostdir::wire::{
    Abandon, Abandoned, Arrived, Arriving, Begin, ErrorCode, Finish, Gap, Get, JournalId, LiveHeader, LiveId, Put,
    RawBytes, Receipt, ReceiptOutcome, Receiver, ReceiverState, Receivers, Reply, Request, StoredOutcome, Subscribe,
    Subscribed, SubscriberId, TransferId,
};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn served() -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    (dir, server)
}

fn following(folders: &[&str]) -> Subscribe {
    let folders = folders.iter().map(|folder| RawBytes(folder.as_bytes().to_vec())).collect();
    Subscribe { folders, after: None, journal: None, subscriber: None }
}

/// Sends SUBSCRIBE and takes SUBSCRIBED.
fn subscribe(client: &mut RawClient, subscribe: Subscribe) -> Subscribed {
    client.send(Request::Subscribe(subscribe)).unwrap();
    match client.receive().unwrap() {
        Frame::Reply(Reply::Subscribed(subscribed)) => subscribed,
        other => panic!("{other:?}"),
    }
}

fn event(client: &mut RawClient) -> Reply {
    match client.receive().unwrap() {
        Frame::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn arrived(client: &mut RawClient) -> Arrived {
    match event(client) {
        Reply::Arrived(arrived) => arrived,
        other => panic!("{other:?}"),
    }
}

fn arriving(client: &mut RawClient) -> Arriving {
    match event(client) {
        Reply::Arriving(arriving) => arriving,
        other => panic!("{other:?}"),
    }
}

fn paths(client: &mut RawClient, count: usize) -> Vec<String> {
    (0..count).map(|_| String::from_utf8(arrived(client).path.to_vec()).unwrap()).collect()
}

/// An upload whose bytes can be followed.
fn live_put(path: &str, size: Option<usize>, id: u64) -> Put {
    Put { size: size.map(|size| size as u64), upload: Some(upload_id(id)), ..put_file(path, 0) }
}

fn begin(client: &mut RawClient, put: Put, offset: u64) {
    client.ask(put).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset })).unwrap();
}

fn live_get(client: &mut RawClient, arriving: &Arriving) -> LiveHeader {
    live_get_as(client, Get { live: Some(arriving.live), ..Get::whole(&arriving.path) })
}

fn live_get_as(client: &mut RawClient, get: Get) -> LiveHeader {
    client.send(Request::Get(get)).unwrap();
    match client.receive().unwrap() {
        Frame::Reply(Reply::Live(header)) => header,
        other => panic!("{other:?}"),
    }
}

/// Exactly `count` bytes of DATA.
fn take(client: &mut RawClient, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match client.receive().unwrap() {
            Frame::Data(more) => bytes.extend(more),
            other => panic!("{other:?} after {} bytes", bytes.len()),
        }
    }
    assert_eq!(bytes.len(), count);
    bytes
}

#[test]
fn arrivals_are_told_in_order_to_those_who_follow_their_folder() {
    let (_dir, server) = served();
    let (mut all, mut chat, mut other) = (server.client(), server.client(), server.client());
    assert_eq!(subscribe(&mut all, following(&[""])).after, 0);
    subscribe(&mut chat, following(&["chat"]));
    subscribe(&mut other, following(&["news", "chatter"]));
    let mut sender = server.client();
    for path in ["chat/1", "chatter/2", "chat/deep/3", "4", "news/5"] {
        let stored = sender.put(path, path.as_bytes()).unwrap().unwrap();
        assert_eq!(stored.number.map(|number| number.to_string()), path.rsplit(['/']).next().map(str::to_owned));
    }
    assert_eq!(paths(&mut all, 5), ["chat/1", "chatter/2", "chat/deep/3", "4", "news/5"]);
    assert_eq!(paths(&mut chat, 2), ["chat/1", "chat/deep/3"]);
    assert_eq!(paths(&mut other, 2), ["chatter/2", "news/5"]);
}

#[test]
fn an_arrival_says_what_came() {
    let (_dir, server) = served();
    let mut follower = server.client();
    subscribe(&mut follower, following(&["t"]));
    let put = Put { modified: Some(1_700_000_000_123_456_789), ..put_file("t/f", 5) };
    server.client().put_as(put, b"bytes").unwrap().unwrap();
    let arrived = arrived(&mut follower);
    assert_eq!((arrived.number, &*arrived.path, arrived.size), (1, &b"t/f"[..], 5));
    assert_eq!((arrived.digest, arrived.modified), (digest_of(b"bytes"), 1_700_000_000_123_456_789));
    assert_eq!((arrived.live, arrived.publisher.as_deref()), (None, Some("127.0.0.1")));
    assert!(arrived.time > 1_700_000_000_000_000_000);
}

#[test]
fn a_cursor_gives_exactly_what_came_after_it_also_after_a_kill() {
    let (dir, server) = served();
    let mut follower = server.client();
    let first = subscribe(&mut follower, following(&["t"]));
    let mut sender = server.client();
    for number in 1..=600 {
        let folder = if number % 3 == 0 { "u" } else { "t" };
        sender.put(format!("{folder}/{number}"), b"x").unwrap().unwrap();
    }
    let cursor = (0..5).map(|_| arrived(&mut follower).number).last();
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let mut follower = server.client();
    let again = Subscribe { after: cursor, journal: Some(first.journal), ..following(&["t"]) };
    assert_eq!(subscribe(&mut follower, again).journal, first.journal);
    let numbers: Vec<u64> = (5..400).map(|_| arrived(&mut follower).number).collect();
    let expected: Vec<u64> = (1..=600).filter(|number| number % 3 != 0 && Some(*number) > cursor).collect();
    assert_eq!(numbers, expected);
    let mut anew = server.client();
    subscribe(&mut anew, Subscribe { after: Some(0), ..following(&["u"]) });
    assert_eq!(arrived(&mut anew).number, 3);
}

#[test]
fn the_next_request_pauses_the_events_and_is_answered() {
    let (_dir, server) = served();
    let (mut follower, mut sender) = (server.client(), server.client());
    let journal = subscribe(&mut follower, following(&[""])).journal;
    sender.put("f", b"1").unwrap().unwrap();
    let number = arrived(&mut follower).number;
    follower.send(Request::Get(Get::whole(b"f"))).unwrap();
    let Reply::Paused(paused) = event(&mut follower) else { panic!() };
    assert_eq!(paused.after, number);
    assert_eq!(follower.take_file().unwrap().unwrap().bytes, b"1");
    sender.put("g", b"2").unwrap().unwrap();
    subscribe(&mut follower, Subscribe { after: Some(number), journal: Some(journal), ..following(&[""]) });
    assert_eq!(&*arrived(&mut follower).path, b"g");
}

#[test]
fn a_cursor_of_another_journal_is_a_gap() {
    let (_dir, server) = served();
    server.client().put("f", b"1").unwrap().unwrap();
    let mut follower = server.client();
    let foreign = Subscribe { after: Some(7), journal: Some(JournalId([9; 16])), ..following(&[""]) };
    subscribe(&mut follower, foreign);
    assert_eq!(event(&mut follower), Reply::Gap(Gap { after: 0, missed: None }));
    assert_eq!(arrived(&mut follower).number, 1);
}

#[test]
fn bad_subscriptions_are_refused_and_the_session_goes_on() {
    let (_dir, server) = served();
    let mut client = server.client();
    for (folders, code) in [
        (vec![], ErrorCode::OutOfRange),
        (vec!["t"; 65], ErrorCode::OutOfRange),
        (vec!["../t"], ErrorCode::BadPath),
        (vec![".hostdir"], ErrorCode::BadPath),
    ] {
        client.send(Request::Subscribe(following(&folders))).unwrap();
        client.refused(code);
    }
    client.alive();
    client.send(Request::Subscribe(Subscribe { after: Some(3), ..following(&["t"]) })).unwrap();
    client.refused(ErrorCode::Protocol);
    client.closed();
}

#[test]
fn live_bytes_come_while_they_are_being_sent() {
    let (_dir, server) = served();
    let (mut sender, mut follower, mut reader) = (server.client(), server.client(), server.client());
    subscribe(&mut follower, following(&["t"]));
    let bytes = content(1, 3 * MIB);
    begin(&mut sender, Put { modified: Some(5), ..live_put("t/f", Some(bytes.len()), 1) }, 0);
    let arriving = arriving(&mut follower);
    assert_eq!((&*arriving.path, arriving.size), (&b"t/f"[..], Some(bytes.len() as u64)));
    let header = live_get(&mut reader, &arriving);
    assert_eq!((header.size, header.modified, header.offset), (Some(bytes.len() as u64), Some(5), 0));
    // Each small piece comes through before the next is sent.
    for piece in bytes[..4000].chunks(1000) {
        sender.data(piece).unwrap();
        assert_eq!(take(&mut reader, piece.len()), piece);
    }
    sender.data(&bytes[4000..MIB]).unwrap();
    sender.data(&bytes[MIB..2 * MIB]).unwrap();
    sender.data(&bytes[2 * MIB..]).unwrap();
    assert_eq!(take(&mut reader, bytes.len() - 4000), &bytes[4000..]);
    sender.send(Request::Finish(Finish { digest: digest_of(&bytes) })).unwrap();
    let stored = sender.stored().unwrap().unwrap();
    let Reply::End(end) = event(&mut reader) else { panic!() };
    assert_eq!(end.digest, Some(digest_of(&bytes)));
    assert_eq!((end.path.as_deref(), end.number), (Some(&b"t/f"[..]), stored.number));
    let arrived = arrived(&mut follower);
    assert_eq!((arrived.number, arrived.live), (stored.number.unwrap(), Some(arriving.live)));
    // Who comes after that gets the same answer from the file.
    let header = live_get_as(&mut reader, Get { offset: 7, live: Some(arriving.live), ..Get::whole(b"t/f") });
    assert_eq!(header.offset, 7);
    assert_eq!(take(&mut reader, bytes.len() - 7), &bytes[7..]);
    assert!(matches!(event(&mut reader), Reply::End(end) if end.digest == Some(digest_of(&bytes))));
}

#[test]
fn a_live_id_is_not_the_upload_id() {
    let (_dir, server) = served();
    let (mut sender, mut follower) = (server.client(), server.client());
    subscribe(&mut follower, following(&[""]));
    begin(&mut sender, live_put("f", None, 1), 0);
    assert_ne!(arriving(&mut follower).live.0, upload_id(1).0);
}

#[test]
fn a_reader_stays_while_the_sender_is_cut_and_comes_back() {
    let (_dir, server) = served();
    let (mut sender, mut follower, mut reader) = (server.client(), server.client(), server.client());
    subscribe(&mut follower, following(&["t"]));
    let bytes = content(2, 2 * MIB);
    begin(&mut sender, live_put("t/f", None, 2), 0);
    let first = arriving(&mut follower);
    live_get(&mut reader, &first);
    sender.data(&bytes[..MIB]).unwrap();
    assert_eq!(take(&mut reader, MIB), &bytes[..MIB]);
    drop(sender);
    let mut sender = server.client();
    begin(&mut sender, live_put("t/f", None, 2), MIB as u64);
    assert_eq!(arriving(&mut follower).live, first.live);
    sender.data(&bytes[MIB..]).unwrap();
    assert_eq!(take(&mut reader, MIB), &bytes[MIB..]);
    sender.send(Request::Finish(Finish { digest: digest_of(&bytes) })).unwrap();
    sender.stored().unwrap().unwrap();
    assert!(matches!(event(&mut reader), Reply::End(end) if end.digest == Some(digest_of(&bytes))));
}

#[test]
fn who_has_bytes_that_were_replaced_hears_changed() {
    let (_dir, server) = served();
    let (mut sender, mut follower, mut reader) = (server.client(), server.client(), server.client());
    subscribe(&mut follower, following(&[""]));
    begin(&mut sender, live_put("f", None, 3), 0);
    let arriving = arriving(&mut follower);
    let version = live_get(&mut reader, &arriving).version;
    sender.data(&[1; MIB]).unwrap();
    take(&mut reader, MIB);
    drop(sender);
    let mut sender = server.client();
    begin(&mut sender, live_put("f", None, 3), 0);
    reader.refused(ErrorCode::Changed);
    let live = Some(arriving.live);
    reader.send(Request::Get(Get { offset: 5, version: Some(version), live, ..Get::whole(b"f") })).unwrap();
    reader.refused(ErrorCode::Changed);
    live_get(&mut reader, &arriving);
    sender.data(b"other").unwrap();
    assert_eq!(take(&mut reader, 5), b"other");
}

#[test]
fn an_upload_that_is_given_up_is_abandoned_for_all() {
    let (_dir, server) = served();
    let (mut sender, mut follower, mut reader) = (server.client(), server.client(), server.client());
    subscribe(&mut follower, following(&[""]));
    for (number, wrong_digest) in [(4, false), (5, true)] {
        begin(&mut sender, live_put("f", None, number), 0);
        let arriving = arriving(&mut follower);
        live_get(&mut reader, &arriving);
        sender.data(b"bytes").unwrap();
        take(&mut reader, 5);
        let last = match wrong_digest {
            true => Request::Finish(Finish { digest: digest_of(b"other") }),
            false => Request::Abandon(Abandon { keep: false }),
        };
        sender.send(last).unwrap();
        sender.fault();
        reader.refused(ErrorCode::Abandoned);
        let expected = Abandoned { live: arriving.live, path: arriving.path };
        assert_eq!(event(&mut follower), Reply::Abandoned(expected));
    }
    reader.send(Request::Get(Get { live: Some(LiveId([1; 16])), ..Get::whole(b"f") })).unwrap();
    reader.refused(ErrorCode::NotFound);
}

#[test]
fn a_server_that_was_killed_in_a_live_upload_goes_on_with_it() {
    let (dir, server) = served();
    let bytes = content(6, 2 * MIB);
    let (mut sender, mut follower) = (server.client(), server.client());
    subscribe(&mut follower, following(&["t"]));
    begin(&mut sender, live_put("t/f", None, 6), 0);
    let first = arriving(&mut follower);
    let mut reader = server.client();
    let version = live_get(&mut reader, &first).version;
    sender.data(&bytes[..MIB]).unwrap();
    take(&mut reader, MIB);
    server.kill();
    let server = Server::start(dir.path(), &[]);
    let (mut sender, mut follower, mut reader) = (server.client(), server.client(), server.client());
    subscribe(&mut follower, following(&["t"]));
    begin(&mut sender, live_put("t/f", None, 6), MIB as u64);
    let again = arriving(&mut follower);
    assert_eq!(again.live, first.live);
    let resumed = Get { offset: MIB as u64, version: Some(version), live: Some(first.live), ..Get::whole(b"t/f") };
    assert_eq!(live_get_as(&mut reader, resumed).offset, MIB as u64);
    sender.data(&bytes[MIB..]).unwrap();
    assert_eq!(take(&mut reader, MIB), &bytes[MIB..]);
}

#[test]
fn a_lost_acknowledgement_is_one_arrival() {
    let (_dir, server) = served();
    let mut follower = server.client();
    subscribe(&mut follower, following(&[""]));
    let bytes = content(7, MIB);
    let put = Put { digest: Some(digest_of(&bytes)), ..live_put("f", Some(bytes.len()), 7) };
    let stored = server.client().put_asking(put.clone(), &bytes).unwrap().unwrap();
    let again = server.client().put_asking(put, &bytes).unwrap().unwrap();
    assert_eq!((again.outcome, again.number), (StoredOutcome::Identical, stored.number));
    assert_eq!(stored.number, Some(1));
    arriving(&mut follower);
    assert_eq!(arrived(&mut follower).number, 1);
    server.client().put("g", b"").unwrap().unwrap();
    assert_eq!(arrived(&mut follower).number, 2);
}

#[test]
fn who_follows_hears_that_an_upload_will_not_arrive_whose_content_is_there() {
    let (_dir, server) = served();
    let (mut follower, mut reader) = (server.client(), server.client());
    subscribe(&mut follower, following(&[""]));
    let bytes = content(8, MIB);
    let first = server.client().put_asking(live_put("f", None, 8), &bytes).unwrap().unwrap();
    assert_eq!(first.number, Some(1));
    arriving(&mut follower);
    arrived(&mut follower);
    // Its digest is not known before it is here.
    let mut sender = server.client();
    begin(&mut sender, live_put("f", None, 9), 0);
    let coming = arriving(&mut follower);
    live_get(&mut reader, &coming);
    sender.data(&bytes).unwrap();
    assert_eq!(take(&mut reader, MIB), bytes);
    sender.send(Request::Finish(Finish { digest: digest_of(&bytes) })).unwrap();
    let stored = sender.stored().unwrap().unwrap();
    assert_eq!((stored.outcome, stored.number), (StoredOutcome::Identical, Some(1)));
    assert!(matches!(event(&mut reader), Reply::End(end) if end.digest == Some(digest_of(&bytes))));
    assert_eq!(event(&mut follower), Reply::Abandoned(Abandoned { live: coming.live, path: coming.path }));
    // Of one that has arrived that is not said, whenever its sender comes back.
    server.client().put_asking(live_put("f", None, 8), &bytes).unwrap().unwrap();
    arriving(&mut follower);
    server.client().put("g", b"").unwrap().unwrap();
    assert_eq!(arrived(&mut follower).number, 2);
}

#[test]
fn an_upload_that_broke_off_is_abandoned_when_its_sender_hears_that_it_is_not_needed() {
    let (_dir, server) = served();
    let (mut sender, mut follower) = (server.client(), server.client());
    subscribe(&mut follower, following(&[""]));
    let bytes = content(9, MIB);
    begin(&mut sender, live_put("f", Some(MIB), 10), 0);
    let coming = arriving(&mut follower);
    drop(sender);
    server.client().put("f", &bytes).unwrap().unwrap();
    arrived(&mut follower);
    let put = Put { digest: Some(digest_of(&bytes)), ..live_put("f", Some(MIB), 10) };
    assert_eq!(server.client().ask(put).unwrap().unwrap_err().unwrap().outcome, StoredOutcome::Identical);
    assert_eq!(event(&mut follower), Reply::Abandoned(Abandoned { live: coming.live, path: coming.path }));
}

#[test]
fn a_publisher_learns_who_received_its_file() {
    let (_dir, server) = served();
    let mut followers: Vec<RawClient> = (0..3).map(|_| server.client()).collect();
    for (index, follower) in (0..).zip(&mut followers) {
        let subscriber = Some(SubscriberId([index; 16]));
        subscribe(follower, Subscribe { subscriber, ..following(&["t"]) });
    }
    let mut sender = server.client();
    let number = sender.put("t/f", b"bytes").unwrap().unwrap().number.unwrap();
    let states = |sender: &mut RawClient, wait| {
        sender.send(Request::Receivers(Receivers { number, wait })).unwrap();
        let Reply::Received(received) = event(sender) else { panic!() };
        let mut states: Vec<ReceiverState> = received.receivers.iter().map(|it: &Receiver| it.state).collect();
        states.sort_by_key(|state| *state as u8);
        states
    };
    use ReceiverState::{Failed, Fetching, Gone, Verified};
    assert_eq!(states(&mut sender, 0), [Fetching, Fetching, Fetching]);
    let word = |subscriber, outcome| {
        let (number, subscriber) = (Some(number), Some(SubscriberId([subscriber; 16])));
        Request::Receipt(Receipt { number, subscriber, ..Receipt::new(TransferId(0), outcome) })
    };
    followers[0].send(word(0, ReceiptOutcome::Verified)).unwrap();
    followers[1].send(word(1, ReceiptOutcome::NotStored)).unwrap();
    // Its word about another's, or from nobody who follows, is not heard.
    sender.send(word(9, ReceiptOutcome::Verified)).unwrap();
    drop(followers.pop());
    assert_eq!(states(&mut sender, 60), [Verified, Failed, Gone]);
    sender.send(Request::Receivers(Receivers { number: 99, wait: 0 })).unwrap();
    sender.refused(ErrorCode::NotFound);
}

#[test]
fn files_that_come_by_other_means_arrive_once_when_they_are_complete() {
    let (dir, server) = served();
    server.logged(Log::Events, &["event=watch"]);
    let outside = TempDir::new_in(dir.path().parent().unwrap()).unwrap();
    let mut follower = server.client();
    subscribe(&mut follower, following(&[""]));
    fs::write(dir.path().join("written"), "1").unwrap();
    assert_eq!(paths(&mut follower, 1), ["written"]);
    fs::create_dir_all(outside.path().join("tree/deep")).unwrap();
    fs::write(outside.path().join("tree/deep/f"), "22").unwrap();
    symlink("deep/f", outside.path().join("tree/link")).unwrap();
    fs::rename(outside.path().join("tree"), dir.path().join("tree")).unwrap();
    assert_eq!(paths(&mut follower, 1), ["tree/deep/f"]);
    fs::write(dir.path().join("tree/deep/g"), "333").unwrap();
    let arrived = arrived(&mut follower);
    assert_eq!((&*arrived.path, arrived.size, arrived.digest), (&b"tree/deep/g"[..], 3, digest_of(b"333")));
    assert_eq!(arrived.publisher, None);
    fs::hard_link(dir.path().join("written"), dir.path().join("linked")).unwrap();
    assert_eq!(paths(&mut follower, 1), ["linked"]);
    // An upload is told once, though the kernel tells of it, too.
    server.client().put("up", b"x").unwrap().unwrap();
    fs::write(dir.path().join("last"), "z").unwrap();
    assert_eq!(paths(&mut follower, 2), ["up", "last"]);
}

#[test]
fn what_the_kernel_kept_no_event_of_arrives_also_in_a_folder_that_was_moved_here() {
    let (dir, server) = served();
    server.logged(Log::Events, &["event=watch", "folders="]);
    let outside = TempDir::new_in(dir.path().parent().unwrap()).unwrap();
    fs::create_dir_all(outside.path().join("tree")).unwrap();
    fs::write(outside.path().join("tree/old"), "1").unwrap();
    let mut follower = server.client();
    subscribe(&mut follower, following(&[""]));
    // Each rests for a second, so the other one is older than that.
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), name).unwrap();
        assert_eq!(paths(&mut follower, 1), [name]);
    }
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    server.signal(Signal::STOP);
    for _ in 0..most {
        // The kernel counts what follows itself as one.
        for name in ["a", "b"] {
            fs::File::options().append(true).open(dir.path().join(name)).unwrap();
        }
    }
    fs::rename(outside.path().join("tree"), dir.path().join("tree")).unwrap();
    fs::write(dir.path().join("c"), "c").unwrap();
    server.signal(Signal::CONT);
    let mut found = paths(&mut follower, 2);
    found.sort();
    assert_eq!(found, ["c", "tree/old"]);
    fs::write(dir.path().join("tree/new"), "2").unwrap();
    assert_eq!(paths(&mut follower, 1), ["tree/new"]);
}

#[test]
fn files_that_come_while_the_server_is_down_arrive_when_it_is_up() {
    let (dir, server) = served();
    server.client().put("before", b"x").unwrap().unwrap();
    server.kill();
    fs::write(dir.path().join("meanwhile"), "y").unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut follower = server.client();
    subscribe(&mut follower, Subscribe { after: Some(0), ..following(&[""]) });
    assert_eq!(paths(&mut follower, 2), ["before", "meanwhile"]);
}

#[test]
fn files_that_were_there_before_the_journal_are_no_arrivals() {
    let dir = TempDir::new().unwrap();
    let old = fs::File::create(dir.path().join("old")).unwrap();
    drop(old);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let server = Server::start(dir.path(), &[]);
    let mut follower = server.client();
    subscribe(&mut follower, Subscribe { after: Some(0), ..following(&[""]) });
    fs::write(dir.path().join("new"), "y").unwrap();
    assert_eq!(paths(&mut follower, 1), ["new"]);
}

#[test]
fn a_stream_may_be_quiet_for_longer_than_a_file() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--stall-timeout", "1", "--idle-timeout", "60"]);
    let (mut stream, mut file) = (server.client(), server.client());
    begin(&mut stream, live_put("stream", None, 1), 0);
    begin(&mut file, live_put("file", Some(100), 2), 0);
    // When the file's time is over, so would be that of the stream, which began before it.
    file.refused(ErrorCode::Timeout);
    stream.data(b"late").unwrap();
    stream.send(Request::Finish(Finish { digest: digest_of(b"late") })).unwrap();
    stream.stored().unwrap().unwrap();
}
