//! Relay A, at `/`.

use super::common::websocket::{BINARY, CONTINUATION, FINAL, PING, TEXT, WsClient, WsMessage, masked, push_masked};
use super::common::{Log, Server, Strace, content, digest_of, eventually, put_file};
use super::{Frame, Reply};
use super::{base64, finish, message, names, native_follower, served, subscriber};
use std::fs;

const MIB: usize = 1 << 20;

/// Sends files by relay A, on a connection of its own.
fn publish(server: &Server, messages: &[String]) {
    let mut client = WsClient::connect(server, "/");
    messages.iter().for_each(|message| client.text(message));
    finish(client);
}

#[test]
fn a_file_goes_to_those_who_listen_and_into_the_folder() {
    let (dir, server) = served(&[]);
    let mut listeners = [subscriber(&server, "chat"), subscriber(&server, "chat")];
    let mut elsewhere = subscriber(&server, "chatter");
    let bytes = content(1, 100_000);
    publish(&server, &[message("chat", "image/x-odd; a=1", "año nuevo.png", &bytes), message("chatter", "", "b", b"")]);
    for listener in &mut listeners {
        assert_eq!(listener.next_text(), format!("image/x-odd; a=1:año nuevo.png:{}", base64(&bytes)));
    }
    assert_eq!(elsewhere.next_text(), ":b:");
    assert_eq!(fs::read(dir.path().join("chat/año nuevo.png")).unwrap(), bytes);
    assert_eq!(fs::read(dir.path().join("chatter/b")).unwrap(), b"");
    let line = server.logged(Log::Transfers, &["event=upload", "via=relay-a", "status=ok", "size=100000"]);
    assert!(line.contains("path=\"chat/año nuevo.png\""), "{line}");
    server.logged(Log::Transfers, &["event=download", "via=relay-a", "status=sent", "size=100000"]);
    eventually("it is counted", || {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
        let (_, mut metrics) = WsClient::ask(server.address().into(), &head);
        let label = r#"direction="download",via="relay-a",status="sent""#;
        metrics.rest().contains(&format!("hostdir_transfers_total{{{label}}} 3\n"))
    });
}

#[test]
fn files_come_in_the_order_of_arrival_and_only_from_the_folder_itself() {
    let (_dir, server) = served(&[]);
    let mut listener = subscriber(&server, "t");
    let mut sender = server.client();
    sender.put("t/deep/no", b"no").unwrap().unwrap();
    sender.put("other", b"no").unwrap().unwrap();
    for number in 0..50 {
        sender.put(format!("t/{number}.txt"), format!("{number}").as_bytes()).unwrap().unwrap();
    }
    for number in 0..50 {
        let expected = format!("text/plain:{number}.txt:{}", base64(number.to_string().as_bytes()));
        assert_eq!(listener.next_text(), expected);
    }
}

#[test]
fn types_are_remembered_for_files_of_this_relay_and_guessed_for_others() {
    let (_dir, server) = served(&[]);
    let mut listener = subscriber(&server, "t");
    publish(&server, &[message("t", "x/y", "a.html", b"1")]);
    assert_eq!(listener.next_text(), format!("x/y:a.html:{}", base64(b"1")));
    for (name, mime) in [("b.html", "text/html"), ("c", "application/octet-stream"), ("d.PNG", "image/png")] {
        server.client().put(format!("t/{name}"), b"2").unwrap().unwrap();
        assert_eq!(listener.next_text(), format!("{mime}:{name}:{}", base64(b"2")));
    }
}

#[test]
fn what_is_sent_again_goes_out_again_and_is_kept_once() {
    let (dir, server) = served(&[]);
    let mut listener = subscriber(&server, "t");
    let mut native = native_follower(&server, "t");
    for _ in 0..3 {
        publish(&server, &[message("t", "a/b", "f", b"same")]);
        assert_eq!(listener.next_text(), format!("a/b:f:{}", base64(b"same")));
    }
    assert_eq!(names(&dir.path().join("t")), ["f"]);
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        if let Frame::Reply(Reply::Arrived(arrived)) = native.receive().unwrap() {
            assert_eq!((&*arrived.path, arrived.digest), (&b"t/f"[..], digest_of(b"same")));
            numbers.push(arrived.number);
        }
    }
    assert_eq!(numbers, [1, 2, 3]);
    publish(&server, &[message("t", "a/b", "f", b"other")]);
    assert_eq!(listener.next_text(), format!("a/b:f (1):{}", base64(b"other")));
}

#[test]
fn a_message_may_come_in_fragments_with_pings_between_them() {
    let (dir, server) = served(&[]);
    let bytes = content(2, 300_000);
    let text = message("t", "m/n", "año.bin", &bytes).into_bytes();
    let mut client = WsClient::connect(&server, "/");
    // The first ones cut words, and a character.
    let mut cuts = vec![1, 3, 14, 15, 16, 17, 20, 1000];
    cuts.extend((5000..text.len()).step_by(70_001));
    cuts.push(text.len());
    let mut from = 0;
    for cut in cuts {
        client.frame(if from == 0 { TEXT } else { CONTINUATION }, &text[from..cut]);
        client.frame(FINAL | PING, cut.to_string().as_bytes());
        assert_eq!(client.receive().unwrap().unwrap().payload, cut.to_string().as_bytes());
        from = cut;
    }
    client.frame(FINAL | CONTINUATION, b"");
    finish(client);
    assert_eq!(fs::read(dir.path().join("t/año.bin")).unwrap(), bytes);
}

#[test]
fn what_is_none_of_its_words_closes_the_connection_with_a_reason() {
    let (dir, server) = served(&[]);
    let long = format!("message:t:m:{}", "n".repeat(8200));
    let cases = [
        ("", "neither subscribe:TOPIC"),
        ("hello", "neither subscribe:TOPIC"),
        ("message:t:m:n", "neither subscribe:TOPIC"),
        ("subscribe:", "no topic"),
        ("subscribe:../x", "the path has . or .. in it"),
        ("subscribe:/x", "absolute"),
        ("message::m:n:", "no topic"),
        ("message:t:m:a/b:", "slash"),
        ("message:t:m::", "slash"),
        ("message:t:m:..:", "the path has . or .. in it"),
        ("message:.hostdir:m:n:", "the server's own"),
        ("message:t:m:a\\b:", "backslash"),
        ("message:t:m:con:", "device"),
        ("message:t:m:n.:", "dot"),
        ("message:t:m:n:Zg", "base64"),
        ("message:t:m:n:Zg==Zg==", "base64"),
        ("message:t:m:n:Z g=", "base64"),
        ("message:t:m:n:Zh==", "base64"),
        (&long, "8192 bytes"),
    ];
    for (text, reason) in cases {
        let mut client = WsClient::connect(&server, "/");
        client.text(text);
        let told = client.closed_with(1008);
        assert!(told.contains(reason), "{text}: {told}");
    }
    let mut client = WsClient::connect(&server, "/");
    client.frame(FINAL | BINARY, b"message:t:m:n:");
    client.closed_with(1008);
    let mut client = subscriber(&server, "t");
    client.text("message:t:m:n:");
    assert!(client.closed_with(1008).contains("only listens"));
    assert_eq!(names(&dir.path().join("t")), [""; 0], "nothing was stored");
    assert!(names(&dir.path().join(".hostdir/partial")).is_empty(), "nothing is kept of it");
}

#[test]
fn the_limit_holds_to_the_byte_whether_it_is_announced_or_not() {
    let (dir, server) = served(&["--relay-max-size", "100000"]);
    let at_the_limit = content(3, 100_000);
    publish(&server, &[message("t", "m", "good", &at_the_limit)]);
    assert_eq!(fs::read(dir.path().join("t/good")).unwrap(), at_the_limit);
    for size in [100_001, 100_002, 100_003, 2 * MIB] {
        let text = message("t", "m", "large", &content(4, size)).into_bytes();
        let mut whole = WsClient::connect(&server, "/");
        // It is refused before all of it was read.
        let _ = whole.raw(&masked(FINAL | TEXT, &text));
        whole.closed_with(1009);
        let mut in_fragments = WsClient::connect(&server, "/");
        let _ = in_fragments.raw(&masked(TEXT, &text));
        in_fragments.closed_with(1009);
    }
    assert_eq!(names(&dir.path().join("t")), ["good"]);
    server.logged(Log::Transfers, &["event=upload", "via=relay-a", "status=failed", "100000 bytes"]);
}

#[test]
fn an_announced_giant_is_refused_before_it_comes() {
    let (_dir, server) = served(&[]);
    let mut client = WsClient::connect(&server, "/");
    let mut frame = vec![FINAL | TEXT, 0x80 | 127];
    frame.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    push_masked(&mut frame, b"message:t:m:n:");
    client.raw(&frame).unwrap();
    client.closed_with(1009);
}

#[test]
fn a_file_beyond_the_limit_does_not_go_out_and_the_next_one_does() {
    let (_dir, server) = served(&["--relay-max-size", "1000"]);
    let mut listener = subscriber(&server, "t");
    server.client().put("t/large", &content(5, 1001)).unwrap().unwrap();
    server.client().put("t/small", &content(5, 1000)).unwrap().unwrap();
    assert_eq!(listener.next_text(), format!("application/octet-stream:small:{}", base64(&content(5, 1000))));
    server.logged(Log::Transfers, &["event=download", "via=relay-a", "path=t/large", "status=refused"]);
}

#[test]
fn a_sender_that_vanishes_leaves_nothing_and_those_who_follow_hear_it() {
    let (dir, server) = served(&[]);
    let mut native = native_follower(&server, "t");
    let text = message("t", "m", "half", &content(6, MIB)).into_bytes();
    let mut client = WsClient::connect(&server, "/");
    client.frame(TEXT, &text[..MIB / 2]);
    let live = super::arriving(&mut native).live;
    drop(client);
    match native.receive().unwrap() {
        Frame::Reply(Reply::Abandoned(abandoned)) => assert_eq!(abandoned.live, live),
        other => panic!("{other:?}"),
    }
    assert!(names(&dir.path().join("t")).is_empty());
    eventually("nothing is kept", || names(&dir.path().join(".hostdir/partial")).is_empty());
    server.logged(Log::Transfers, &["event=upload", "via=relay-a", "path=t/half", "status=incomplete"]);
}

#[test]
fn a_read_only_server_takes_nothing_by_it() {
    let (_dir, server) = served(&["--read-only"]);
    let mut client = WsClient::connect(&server, "/");
    client.text(&message("t", "m", "f", b"x"));
    assert_eq!(client.closed_with(1008), "this server takes no uploads");
}

#[test]
fn a_server_that_cannot_store_a_file_says_so() {
    let (dir, server) = served(&["--min-free-space", "1000PiB"]);
    let mut client = WsClient::connect(&server, "/");
    client.text(&message("t", "m", "f", b"x"));
    let told = client.closed_with(1011);
    assert!(told.contains("keeps free"), "{told}");
    assert!(names(&dir.path().join("t")).is_empty());
}

#[test]
fn a_server_that_stops_says_so_when_the_message_that_is_coming_is_stored() {
    let (dir, mut server) = served(&[]);
    let mut idle = subscriber(&server, "u");
    let mut native = native_follower(&server, "t");
    let text = message("t", "m", "f", b"whole").into_bytes();
    let mut client = WsClient::connect(&server, "/");
    client.frame(TEXT, &text[..text.len() - 4]);
    super::arriving(&mut native);
    server.terminate();
    assert_eq!(idle.closed_with(1001), "the server is stopping");
    client.frame(FINAL | CONTINUATION, &text[text.len() - 4..]);
    client.closed_with(1001);
    assert_eq!(server.wait(), 0);
    assert_eq!(fs::read(dir.path().join("t/f")).unwrap(), b"whole");
}

#[test]
fn a_close_frame_is_answered_when_what_came_before_it_is_stored() {
    if !Strace::is_possible() {
        return eprintln!("SKIPPED: strace cannot attach here");
    }
    let (dir, server) = served(&[]);
    let mut client = WsClient::connect(&server, "/");
    // For longer than it takes until the server sees to the connection meanwhile.
    let strace = Strace::attach(server.pid(), &["fsync:delay_enter=7000000:when=1".into()]);
    client.text(&message("t", "m", "f", b"stored"));
    client.close(&1000_u16.to_be_bytes());
    assert_eq!(client.message(), WsMessage::Closed(Some(1000), String::new()));
    assert_eq!(fs::read(dir.path().join("t/f")).unwrap(), b"stored");
    drop(strace);
}

#[test]
fn a_ping_is_answered_while_a_long_message_is_being_sent() {
    let (_dir, server) = served(&[]);
    let mut listener = subscriber(&server, "t");
    let bytes = content(7, 64 * MIB);
    server.client().put_asking(put_file("t/long", bytes.len()), &bytes).unwrap().unwrap();
    let (first, _) = listener.receive_header().unwrap().unwrap();
    assert_eq!(first, TEXT, "a fragment that is not the last one");
    // The rest of the fragment is taken below: the next frames must have the answer among them before the message ends.
    let mut head = vec![0; "application/octet-stream:long:".len()];
    listener.receive_some(&mut head).unwrap();
    listener.frame(FINAL | PING, b"in between");
    let mut rest = vec![0; 64 * 1024];
    listener.receive_some(&mut rest).unwrap();
    let mut parts = 0;
    loop {
        let frame = listener.receive().unwrap().unwrap();
        match frame.first {
            CONTINUATION => parts += 1,
            0x8a => break assert_eq!(frame.payload, b"in between"),
            0x89 => {}
            other => panic!("{other:x} after {parts} parts"),
        }
    }
    settle_after_message(&mut listener);
}

/// Takes the rest of a long message; then the connection still works.
fn settle_after_message(listener: &mut WsClient) {
    loop {
        let frame = listener.receive().unwrap().unwrap();
        if frame.first == FINAL | CONTINUATION {
            break;
        }
    }
    // Its last ping may still be on its way.
    listener.frame(FINAL | PING, b"done");
    loop {
        let frame = listener.receive().unwrap().unwrap();
        if frame.first == 0x8a {
            break assert_eq!(frame.payload, b"done");
        }
    }
}

#[test]
fn a_subscriber_of_a_folder_that_is_not_there_yet_gets_its_first_file() {
    let (_dir, server) = served(&[]);
    let mut listener = subscriber(&server, "new/deep");
    publish(&server, &[message("new/deep", "m", "f", b"x")]);
    assert_eq!(listener.next_text(), format!("m:f:{}", base64(b"x")));
}
