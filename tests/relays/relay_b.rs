//! Relay B, at `/receiver` and `/sender`.

use super::common::websocket::{BINARY, CONTINUATION, FINAL, TEXT, WsClient, WsMessage};
use super::common::{Log, Random, content, eventually, put_file, upload_id};
use super::{Frame, Reply, Request};
use super::{names, native_follower, received, receiver, rest_of_file, send_file, served};
use hostdir::wire::{Begin, Finish, Put};
use std::fs;

const MIB: usize = 1 << 20;

#[test]
fn files_go_to_every_receiver_one_after_another_and_into_the_folder() {
    let (dir, server) = served(&[]);
    let mut receivers = [receiver(&server), receiver(&server)];
    let mut sender = WsClient::connect(&server, "/sender");
    let files = [("a.bin", content(1, 3 * MIB + 1)), ("empty", Vec::new()), ("año nuevo", content(2, 5))];
    for (name, bytes) in &files {
        send_file(&mut sender, name, bytes);
    }
    for receiver in &mut receivers {
        for (name, bytes) in &files {
            let (found, got) = received(receiver);
            assert_eq!((found.as_str(), got == *bytes), (*name, true));
        }
    }
    assert_eq!(names(&dir.path().join("live")), ["a.bin", "año nuevo", "empty"]);
    server.logged(Log::Transfers, &["event=upload", "via=relay-b", "path=live/a.bin", "status=ok"]);
    server.logged(Log::Transfers, &["event=download", "via=relay-b", "path=live/a.bin", "status=sent"]);
}

#[test]
fn bytes_come_before_the_file_is_whole_and_a_late_receiver_starts_at_the_first() {
    let (dir, server) = served(&[]);
    let mut early = receiver(&server);
    let mut sender = WsClient::connect(&server, "/sender");
    sender.text("f");
    assert_eq!(early.next_text(), "START:f");
    for part in [&b"one"[..], b"two", b"three"] {
        sender.binary(part);
        assert_eq!(early.message(), WsMessage::Binary(part.to_vec()));
    }
    assert!(names(&dir.path().join("live")).is_empty(), "nobody sees it before it is whole");
    let mut late = WsClient::connect(&server, "/receiver");
    assert_eq!(late.next_text(), "START:f");
    assert_eq!(late.message(), WsMessage::Binary(b"onetwothree".to_vec()));
    sender.binary(b"__end__");
    assert_eq!(sender.next_text(), "File transfer successful");
    for receiver in [&mut early, &mut late] {
        assert_eq!(receiver.next_text(), "END");
    }
    assert_eq!(fs::read(dir.path().join("live/f")).unwrap(), b"onetwothree");
}

#[test]
fn only_a_message_of_exactly_that_ends_a_file_whatever_its_fragments() {
    let (dir, server) = served(&[]);
    let mut sender = WsClient::connect(&server, "/sender");
    sender.frame(TEXT, b"na");
    sender.frame(FINAL | CONTINUATION, b"me");
    let mut expected = Vec::new();
    for like_it in [&b"__end_"[..], b"__end__ ", b"x__end__", b"", b"__END__", b"_", b"_end__"] {
        sender.binary(like_it);
        expected.extend_from_slice(like_it);
    }
    for fragments in [[&b"__"[..], b"end__", b"!"], [b"", b"", b"__end___"]] {
        sender.frame(BINARY, fragments[0]);
        sender.frame(CONTINUATION, fragments[1]);
        sender.frame(FINAL | CONTINUATION, fragments[2]);
        expected.extend(fragments.concat());
    }
    sender.frame(BINARY, b"__en");
    sender.frame(CONTINUATION, b"");
    sender.frame(FINAL | CONTINUATION, b"d__");
    assert_eq!(sender.next_text(), "File transfer successful");
    assert_eq!(fs::read(dir.path().join("live/name")).unwrap(), expected);
}

#[test]
fn what_is_none_of_its_words_closes_the_connection_with_a_reason() {
    let (dir, server) = served(&[]);
    type Messages = &'static [(u8, &'static [u8])];
    let refusals: [(Messages, &str); 8] = [
        (&[(BINARY, b"bytes")], "before the name"),
        (&[(TEXT, b"")], "slash"),
        (&[(TEXT, b"a/b")], "slash"),
        (&[(TEXT, b"..")], "the path has . or .. in it"),
        (&[(TEXT, b"a:b")], "colon"),
        (&[(TEXT, b"a\nb")], "control"),
        (&[(TEXT, b".hostdir")], "the server's own"),
        (&[(TEXT, b"f"), (BINARY, b"x"), (TEXT, b"g")], "text before the end"),
    ];
    for (messages, reason) in refusals {
        let mut sender = WsClient::connect(&server, "/sender");
        messages.iter().for_each(|(opcode, payload)| sender.frame(FINAL | opcode, payload));
        let told = sender.closed_with(1008);
        assert!(told.contains(reason), "{messages:?}: {told}");
    }
    let mut sender = WsClient::connect(&server, "/sender");
    sender.text(&"n".repeat(1025));
    sender.closed_with(1008);
    let mut receiver = receiver(&server);
    receiver.text("hello");
    assert!(receiver.closed_with(1008).contains("only listens"));
    assert_eq!(names(&dir.path().join("live")), [""; 0], "nothing was stored");
}

#[test]
fn the_limit_holds_to_the_byte() {
    let (dir, server) = served(&["--relay-max-size", "100000"]);
    let mut sender = WsClient::connect(&server, "/sender");
    send_file(&mut sender, "good", &content(3, 100_000));
    sender.text("large");
    sender.binary(&content(4, 100_000));
    sender.binary(b"x");
    sender.closed_with(1009);
    assert_eq!(names(&dir.path().join("live")), ["good"]);
    let mut receiver = receiver(&server);
    server.client().put("live/large", &content(4, 100_001)).unwrap().unwrap();
    server.client().put("live/small", b"small").unwrap().unwrap();
    assert_eq!(received(&mut receiver), ("small".into(), b"small".to_vec()));
    server.logged(Log::Transfers, &["event=download", "via=relay-b", "path=live/large", "status=refused"]);
}

#[test]
fn an_upload_that_turns_out_to_be_too_large_closes_the_receiver() {
    let (_dir, server) = served(&["--relay-max-size", "100000"]);
    let mut receiver = receiver(&server);
    let mut sender = server.client();
    sender.ask(Put { size: None, upload: Some(upload_id(1)), ..put_file("live/stream", 0) }).unwrap().unwrap();
    sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
    assert_eq!(receiver.next_text(), "START:stream");
    sender.data(&content(1, 100_001)).unwrap();
    let mut got = 0;
    let code = loop {
        match receiver.message() {
            WsMessage::Binary(bytes) => got += bytes.len(),
            WsMessage::Closed(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Some(1009));
    assert!(got <= 100_000, "{got}");
}

#[test]
fn a_sender_that_vanishes_closes_the_receivers_and_leaves_no_file() {
    let (dir, server) = served(&[]);
    let mut random = Random::announced("a_sender_that_vanishes_closes_the_receivers_and_leaves_no_file");
    for round in 0..super::common::scaled(12, 100) {
        let bytes = content(round, 200_000);
        let name = format!("file {round}");
        let mut frames = super::common::websocket::masked(FINAL | TEXT, name.as_bytes());
        for chunk in bytes.chunks(30_000) {
            frames.extend(super::common::websocket::masked(FINAL | BINARY, chunk));
        }
        frames.extend(super::common::websocket::masked(FINAL | BINARY, b"__end__"));
        // Somewhere between the name's last byte and the last byte of all.
        let first = 6 + name.len();
        let cut = first + random.below((frames.len() - first) as u64) as usize;
        let mut receiver = receiver(&server);
        let mut sender = WsClient::connect(&server, "/sender");
        sender.raw(&frames[..cut]).unwrap();
        assert_eq!(receiver.next_text(), format!("START:{name}"));
        if random.below(2) == 0 {
            drop(sender)
        } else {
            sender.finish_sending()
        }
        let mut got = Vec::new();
        loop {
            match receiver.message() {
                WsMessage::Binary(more) => got.extend(more),
                WsMessage::Closed(Some(1011), _) => break,
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
        assert!(bytes.starts_with(&got), "what came was right");
        assert!(names(&dir.path().join("live")).is_empty(), "no file of that name");
    }
    eventually("nothing is kept", || names(&dir.path().join(".hostdir/partial")).is_empty());
    server.logged(Log::Transfers, &["event=upload", "via=relay-b", "status=incomplete"]);
    server.logged(Log::Transfers, &["event=download", "via=relay-b", "status=aborted"]);
}

#[test]
fn one_file_at_a_time_each_once_and_none_is_missed() {
    let (_dir, server) = served(&[]);
    let mut receiver = receiver(&server);
    const SENDERS: usize = 4;
    const FILES: usize = 15;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let server = &server;
            scope.spawn(move || {
                let mut relay = WsClient::connect(server, "/sender");
                let mut native = server.client();
                for file in 0..FILES {
                    let name = format!("{sender}-{file}");
                    let bytes = content((sender * FILES + file) as u64, 1 + file * 40_000);
                    match (sender + file) % 3 {
                        0 => send_file(&mut relay, &name, &bytes),
                        1 => drop(native.put(format!("live/{name}"), &bytes).unwrap().unwrap()),
                        _ => {
                            let upload = Some(upload_id((sender * FILES + file) as u64));
                            let put = Put { upload, ..put_file(format!("live/{name}"), bytes.len()) };
                            native.put_asking(put, &bytes).unwrap().unwrap();
                        }
                    }
                }
            });
        }
        let mut found = Vec::new();
        for _ in 0..SENDERS * FILES {
            let (name, bytes) = received(&mut receiver);
            let (sender, file) = name.split_once('-').unwrap();
            let (sender, file): (usize, usize) = (sender.parse().unwrap(), file.parse().unwrap());
            assert!(bytes == content((sender * FILES + file) as u64, 1 + file * 40_000), "{name} is what was sent");
            found.push(name);
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), SENDERS * FILES);
    });
    super::settle(&mut receiver);
}

#[test]
fn the_topic_can_be_chosen() {
    let (dir, server) = served(&["--relay-topic", "class/7b"]);
    let mut receiver = receiver(&server);
    send_file(&mut WsClient::connect(&server, "/sender"), "f", b"x");
    assert_eq!(received(&mut receiver), ("f".into(), b"x".to_vec()));
    assert_eq!(fs::read(dir.path().join("class/7b/f")).unwrap(), b"x");
}

#[test]
fn a_name_that_is_taken_is_given_another() {
    let (dir, server) = served(&[]);
    let mut native = native_follower(&server, "live");
    let mut receiver = receiver(&server);
    let mut sender = WsClient::connect(&server, "/sender");
    for bytes in [&b"one"[..], b"two", b"two"] {
        send_file(&mut sender, "f.txt", bytes);
        assert_eq!(received(&mut receiver).1, bytes);
    }
    assert_eq!(names(&dir.path().join("live")), ["f (1).txt", "f.txt"]);
    let mut arrived = Vec::new();
    while arrived.len() < 3 {
        if let Frame::Reply(Reply::Arrived(arrival)) = native.receive().unwrap() {
            arrived.push(String::from_utf8(arrival.path.to_vec()).unwrap());
        }
    }
    assert_eq!(arrived, ["live/f.txt", "live/f (1).txt", "live/f (1).txt"]);
}

#[test]
fn a_sender_that_starts_over_closes_those_who_have_the_wrong_bytes() {
    let (_dir, server) = served(&[]);
    let mut receiver = receiver(&server);
    let put = || Put { upload: Some(upload_id(7)), ..put_file("live/f", 6) };
    let mut first = server.client();
    first.ask(put()).unwrap().unwrap();
    first.send(Request::Begin(Begin { offset: 0 })).unwrap();
    first.data(b"wro").unwrap();
    assert_eq!(receiver.next_text(), "START:f");
    assert_eq!(receiver.message(), WsMessage::Binary(b"wro".to_vec()));
    drop(first);
    let mut second = server.client();
    second.ask(put()).unwrap().unwrap();
    second.send(Request::Begin(Begin { offset: 0 })).unwrap();
    second.data(b"right!").unwrap();
    second.send(Request::Finish(Finish { digest: super::common::digest_of(b"right!") })).unwrap();
    second.stored().unwrap().unwrap();
    receiver.closed_with(1011);
    // Whoever comes now gets what comes now.
    let mut other = super::receiver(&server);
    server.client().put("live/g", b"g").unwrap().unwrap();
    assert_eq!(received(&mut other), ("g".into(), b"g".to_vec()));
}

#[test]
fn a_server_that_stops_waits_for_the_file_that_is_coming() {
    let (dir, mut server) = served(&[]);
    let mut receiver = receiver(&server);
    let mut idle = WsClient::connect(&server, "/sender");
    super::settle(&mut idle);
    let mut sender = WsClient::connect(&server, "/sender");
    sender.text("f");
    sender.binary(b"one");
    assert_eq!(receiver.next_text(), "START:f");
    assert_eq!(receiver.message(), WsMessage::Binary(b"one".to_vec()));
    server.terminate();
    assert_eq!(idle.closed_with(1001), "the server is stopping");
    sender.binary(b"two");
    sender.binary(b"__end__");
    assert_eq!(sender.next_text(), "File transfer successful");
    sender.closed_with(1001);
    assert_eq!(rest_of_file(&mut receiver), b"two");
    receiver.closed_with(1001);
    assert_eq!(server.wait(), 0);
    assert_eq!(fs::read(dir.path().join("live/f")).unwrap(), b"onetwo");
}
