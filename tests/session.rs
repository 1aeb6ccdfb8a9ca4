//! A session from the outside: greeting, violations, order, errors, and what the log says of it.
//! The rows of PROTOCOL.md, section 13, are named by what they forbid.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Log, Server, content, data_frame, digest_of, eventually, put_file, upload_id, whole};
use hostdir::wire::{
    Abandon, Begin, ErrorCode, Finish, FrameHeader, Hello, Kind, List, MAX_CONTROL, MAX_CONTROL_BEFORE_WELCOME,
    MAX_DATA, PREAMBLE, Put, RawBytes, Receipt, ReceiptOutcome, Reply, Request, StoredOutcome, Subscribe, TransferId,
};
use std::fs;
use tempfile::TempDir;

fn served() -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("hello.txt"), "hello").unwrap();
    let server = Server::start(dir.path(), &[]);
    (dir, server)
}

fn hello(min_version: u16, max_version: u16) -> Request {
    Request::Hello(Hello { min_version, max_version, agent: None, token: None })
}

#[test]
fn a_client_is_welcomed_and_learns_the_rules() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--allow-overwrite", "--max-file-size", "1MiB", "--name", "the attic"]);
    let welcome = server.connection().greet().unwrap();
    assert_eq!((welcome.version, welcome.read_only, welcome.overwrite), (1, false, true));
    assert_eq!((welcome.name.as_deref(), welcome.max_file_size), (Some("the attic"), Some(1 << 20)));
    assert!(welcome.agent.unwrap().starts_with("hostdir-server/"));
}

#[test]
fn another_protocol_is_closed_without_a_word() {
    let (_dir, server) = served();
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x8ahostdiR", b"\0\0\0\0\0\0\0\0", b"\x8bhostdir"] {
        let mut client = server.connection();
        client.raw(bytes).unwrap();
        client.closed();
    }
}

#[test]
fn versions_without_an_overlap_are_refused_by_name() {
    let (_dir, server) = served();
    let mut client = server.connection();
    client.raw(&PREAMBLE).unwrap();
    client.send(hello(2, 7)).unwrap();
    client.read_preamble().unwrap();
    assert!(client.refused(ErrorCode::UnsupportedVersion).contains("version 1"));
    client.closed();
    let mut client = server.connection();
    client.raw(&PREAMBLE).unwrap();
    client.send(hello(1, 9)).unwrap();
    assert_eq!(client.welcomed().unwrap().version, 1);
}

#[test]
fn a_first_frame_other_than_hello_is_a_violation() {
    let (_dir, server) = served();
    let firsts = [Request::Ping, Request::List(List::default()), Request::Get(whole("hello.txt"))];
    for first in firsts {
        let mut client = server.connection();
        client.raw(&PREAMBLE).unwrap();
        client.send(first).unwrap();
        client.read_preamble().unwrap();
        client.refused(ErrorCode::Protocol);
        client.closed();
    }
    let mut client = server.connection();
    client.raw(&[&PREAMBLE[..], &data_frame(b"x")].concat()).unwrap();
    client.read_preamble().unwrap();
    client.refused(ErrorCode::Protocol);
    client.closed();
}

#[test]
fn a_large_hello_is_refused_before_its_body_comes() {
    let (_dir, server) = served();
    let mut client = server.connection();
    let header = FrameHeader { kind: Kind::Hello, length: MAX_CONTROL_BEFORE_WELCOME + 1 };
    client.raw(&[&PREAMBLE[..], &header.encode()].concat()).unwrap();
    client.read_preamble().unwrap();
    assert!(client.refused(ErrorCode::Protocol).contains("1024"));
    client.closed();
}

/// Sends bytes after the greeting, and expects ERROR `protocol` and the end.
fn is_a_violation(server: &Server, what: &str, bytes: &[u8]) {
    let mut client = server.client();
    client.raw(bytes).unwrap();
    let fault = client.fault();
    assert_eq!(fault.code, ErrorCode::Protocol, "{what}: {fault:?}");
    client.closed();
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &[kind], body].concat()
}

fn encoded(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    requests.iter().for_each(|request| request.encode(&mut bytes));
    bytes
}

#[test]
fn frames_beyond_the_limits_or_of_unknown_kinds_are_violations() {
    let (_dir, server) = served();
    let announced = |kind, length| FrameHeader { kind, length }.encode().to_vec();
    is_a_violation(&server, "a control frame above its limit", &announced(Kind::List, MAX_CONTROL + 1));
    is_a_violation(&server, "a DATA frame above its limit", &announced(Kind::Data, MAX_DATA + 1));
    is_a_violation(&server, "a length of 4 GiB", &announced(Kind::Get, u32::MAX));
    is_a_violation(&server, "DATA without a byte", &announced(Kind::Data, 0));
    for kind in [0x00, 0x0a, 0x11, 0x3f, 0x80, 0x89, 0x90, 0xbf] {
        is_a_violation(&server, "a kind that is not known", &frame(kind, b"\xa0"));
    }
    for kind in [0x81, 0x82, 0x8f] {
        is_a_violation(&server, "a kind that only servers send", &frame(kind, b"\xa0"));
    }
}

#[test]
fn bodies_that_are_not_one_whole_map_are_violations() {
    let (_dir, server) = served();
    let cases: [(&str, u8, &[u8]); 10] = [
        ("an empty body", 0x09, b""),
        ("a cut body", 0x02, b"\xa1"),
        ("not a map", 0x02, b"\x01"),
        ("a required field is missing", 0x03, b"\xa0"),
        ("a wrong type", 0x03, b"\xa1\x00\x61a"),
        ("an unknown number in an enumeration", 0x05, b"\xa2\x00\x41a\x04\x09"),
        ("trailing bytes", 0x09, b"\xa0\x00"),
        ("a digest of 31 bytes", 0x07, &[&b"\xa1\x00\x58\x1f"[..], &[0; 31]].concat()),
        ("a version of no byte", 0x03, b"\xa2\x00\x41a\x03\x40"),
        ("a negative limit", 0x02, b"\xa1\x02\x20"),
    ];
    for (what, kind, body) in cases {
        is_a_violation(&server, what, &frame(kind, body));
    }
    // Nesting must neither recurse nor be skipped at the cost of the stack.
    is_a_violation(&server, "deep nesting", &frame(0x02, &[&[0xa1, 0x18, 0x63][..], &[0x81; 60_000]].concat()));
}

#[test]
fn frames_out_of_place_are_violations() {
    let (_dir, server) = served();
    let finish = Request::Finish(Finish { digest: digest_of(b"") });
    let abandon = || Request::Abandon(Abandon { keep: false });
    let put = || Request::Put(put_file("p", 4));
    is_a_violation(&server, "a second HELLO", &encoded(&[hello(1, 1)]));
    is_a_violation(&server, "DATA where none is due", &data_frame(b"x"));
    is_a_violation(&server, "BEGIN where none is due", &encoded(&[Request::Begin(Begin { offset: 0 })]));
    is_a_violation(&server, "FINISH where none is due", &encoded(&[finish]));
    is_a_violation(&server, "ABANDON where none is due", &encoded(&[abandon()]));
    is_a_violation(&server, "another request inside an upload", &encoded(&[put(), Request::Ping]));
    is_a_violation(&server, "PUT inside an upload", &encoded(&[put(), put()]));
}

#[test]
fn a_beginning_that_was_not_offered_is_a_violation() {
    let (dir, server) = served();
    let mut client = server.client();
    client.ask(Put { upload: Some(upload_id(1)), ..put_file("p", 100) }).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 7 })).unwrap();
    client.refused(ErrorCode::Protocol);
    client.closed();
    assert!(!dir.path().join("p").exists());
}

#[test]
fn ignorable_frames_and_unknown_fields_are_skipped() {
    let (_dir, server) = served();
    let mut client = server.client();
    client.raw(&frame(0x40, b"whatever")).unwrap();
    client.raw(&frame(0x7f, &[0; MAX_CONTROL as usize])).unwrap();
    // PING with the fields 5 and 4,294,967,296, and an indefinite-length map.
    client.raw(&frame(0x09, b"\xa2\x05\x82\x01\xf6\x1b\x00\x00\x00\x01\x00\x00\x00\x00\x60")).unwrap();
    client.raw(&frame(0x09, b"\xbf\xff")).unwrap();
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
}

#[test]
fn what_was_asked_does_not_wait_for_a_request_behind_an_ignorable_frame() {
    let (_dir, server) = served();
    let mut client = server.client();
    let ignorable = frame(0x40, b"whatever");
    client.raw(&[frame(0x09, b"\xa0"), ignorable.clone()].concat()).unwrap();
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
    let mut put = Vec::new();
    Request::Put(put_file("chat/f", 1)).encode(&mut put);
    put.extend(data_frame(b"x"));
    Request::Finish(Finish { digest: digest_of(b"x") }).encode(&mut put);
    client.raw(&[put, ignorable.clone()].concat()).unwrap();
    client.stored().unwrap().unwrap();
    // Nor does it end a subscription.
    let mut follow = Vec::new();
    let folders = vec![RawBytes(b"chat".to_vec())];
    Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None }).encode(&mut follow);
    client.raw(&[follow, ignorable.clone()].concat()).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    client.raw(&ignorable).unwrap();
    server.client().put("chat/new", b"y").unwrap().unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Arrived(_))));
}

#[test]
fn uploads_that_were_not_stored_when_the_connection_broke_are_in_the_log() {
    let (dir, server) = served();
    let mut client = server.client();
    let mut bytes = Vec::new();
    for number in 0..5 {
        Request::Put(put_file(format!("f{number}"), 1)).encode(&mut bytes);
        bytes.extend(data_frame(b"x"));
        Request::Finish(Finish { digest: digest_of(b"x") }).encode(&mut bytes);
    }
    // The beginning of another request: while that is read, they wait for company.
    client.raw(&[&bytes[..], &[0, 0]].concat()).unwrap();
    let partials = || std::fs::read_dir(dir.path().join(".hostdir/partial")).unwrap();
    eventually("all of them came", || {
        partials().filter(|it| it.as_ref().unwrap().metadata().unwrap().len() == 1).count() == 5
    });
    socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let told = |line: &&String| line.contains("status=incomplete") && line.contains("before it was stored");
    eventually("all of them are told", || server.log(Log::Transfers).iter().filter(told).count() == 5);
}

#[test]
fn more_bytes_than_announced_are_a_mismatch_and_the_session_goes_on() {
    let (dir, server) = served();
    let mut client = server.client();
    let fault = client.put_as(put_file("p", 3), b"four").unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::Mismatch);
    client.alive();
    assert!(!dir.path().join("p").exists());
}

#[test]
fn fewer_bytes_or_another_digest_are_a_mismatch_and_the_session_goes_on() {
    let (dir, server) = served();
    let mut client = server.client();
    assert_eq!(client.put_as(put_file("p", 5), b"four").unwrap().unwrap_err().code, ErrorCode::Mismatch);
    client.send(Request::Put(put_file("p", 4))).unwrap();
    client.data(b"four").unwrap();
    client.send(Request::Finish(Finish { digest: digest_of(b"five") })).unwrap();
    client.refused(ErrorCode::Mismatch);
    client.alive();
    assert!(!dir.path().join("p").exists());
    assert_eq!(fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().count(), 0);
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let (_dir, server) = served();
    let mut client = server.client();
    let mut bytes = encoded(&[Request::Ping, Request::Get(whole("hello.txt"))]);
    Request::Put(put_file("new", 3)).encode(&mut bytes);
    bytes.extend(data_frame(b"new"));
    bytes.extend(encoded(&[
        Request::Finish(Finish { digest: digest_of(b"new") }),
        Request::Get(whole("missing")),
        Request::Get(whole("new")),
        Request::List(List::default()),
        Request::Ping,
    ]));
    client.raw(&bytes).unwrap();
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
    assert_eq!(client.take_file().unwrap().unwrap().bytes, b"hello");
    assert_eq!(client.stored().unwrap().unwrap().outcome, StoredOutcome::New);
    client.refused(ErrorCode::NotFound);
    assert_eq!(client.take_file().unwrap().unwrap().bytes, b"new");
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Entries(page)) if page.entries.len() == 2));
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Listed(listed)) if listed.entries == 2));
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
}

#[test]
fn a_thousand_uploads_are_pipelined_and_all_acknowledged() {
    let (dir, server) = served();
    let mut client = server.client();
    let files: Vec<_> = (0..1000_u64).map(|number| (format!("many/{number}"), content(number, 100))).collect();
    for (path, bytes) in &files {
        client.send_put(put_file(path, bytes.len()), bytes).unwrap();
    }
    for (path, _) in &files {
        let stored = client.stored().unwrap().unwrap();
        assert_eq!((&*stored.path, stored.outcome), (path.as_bytes(), StoredOutcome::New));
    }
    for (path, bytes) in &files {
        assert_eq!(fs::read(dir.path().join(path)).unwrap(), *bytes);
    }
}

#[test]
fn a_session_that_comes_byte_by_byte_is_understood() {
    let (_dir, server) = served();
    let mut client = server.connection();
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(encoded(&[hello(1, 1), Request::Get(whole("hello.txt")), Request::Ping]));
    for byte in bytes {
        client.raw(&[byte]).unwrap();
    }
    client.welcomed().unwrap();
    assert_eq!(client.take_file().unwrap().unwrap().bytes, b"hello");
    assert_eq!(client.receive().unwrap(), Frame::Reply(Reply::Pong));
}

#[test]
fn a_cut_at_any_byte_ends_that_session_and_no_other() {
    let (_dir, server) = served();
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(encoded(&[hello(1, 1), Request::Put(put_file("cut", 5))]));
    bytes.extend(data_frame(b"12345"));
    let mut honest = server.client();
    for end in 0..bytes.len() {
        let mut client = server.connection();
        client.raw(&bytes[..end]).unwrap();
        drop(client);
    }
    honest.alive();
    assert_eq!(honest.list("").unwrap().unwrap().paths(), [b"hello.txt"]);
}

#[test]
fn a_download_is_ok_in_the_log_only_after_its_receipt() {
    let (_dir, server) = served();
    let mut client = server.client();
    let ids: Vec<_> = (0..4).map(|_| client.get("hello.txt").unwrap().unwrap().header.transfer).collect();
    client.alive();
    assert!(!server.log(Log::Transfers).iter().any(|line| line.contains("event=download")));
    client.receipt(ids[0]).unwrap();
    let outcomes = [ReceiptOutcome::Mismatch, ReceiptOutcome::GivenUp];
    for (transfer, outcome) in ids[1..3].iter().zip(outcomes) {
        client.send(Request::Receipt(Receipt::new(*transfer, outcome))).unwrap();
    }
    client.receipt(TransferId(1)).unwrap();
    client.alive();
    drop(client);
    for (id, status) in ids.iter().zip(["ok", "failed", "aborted", "incomplete"]) {
        server.logged(Log::Transfers, &["event=download", &format!("id={id}"), &format!("status={status}")]);
    }
    assert_eq!(server.log(Log::Transfers).len(), 4);
}

#[test]
fn hostile_names_and_agents_stay_one_harmless_line_each() {
    let (dir, server) = served();
    let mut client = server.connection();
    client.raw(&PREAMBLE).unwrap();
    let agent = Some("evil\nevent=forged \u{1b}[2J\u{202e}".into());
    client.send(Request::Hello(Hello { min_version: 1, max_version: 1, agent, token: None })).unwrap();
    client.welcomed().unwrap();
    let name = b"a\n2026 event=upload status=ok \x1b[31m\xff\"b";
    assert_eq!(client.get(name).unwrap().unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(client.put(name, b"x").unwrap().unwrap_err().code, ErrorCode::BadName);
    let evil = b"\xe2\x80\xae\xff\xfe";
    assert_eq!(client.put(evil, b"x").unwrap().unwrap().outcome, StoredOutcome::New);
    assert_eq!(client.get(evil).unwrap().unwrap().bytes, b"x");
    drop(client);
    server.logged(Log::Transfers, &["event=download", "no receipt", r"\u{202e}\xff\xfe"]);
    server.logged(Log::Events, &["event=connect", r"evil\nevent=forged"]);
    let lines = [server.log(Log::Transfers), server.log(Log::Events)].concat();
    assert!(
        lines
            .iter()
            .flat_map(|line| line.chars())
            .all(|character| { !character.is_control() && character != '\u{202e}' })
    );
    assert_eq!(server.log(Log::Transfers).len(), 4);
    assert!(lines.iter().all(|line| hostdir::logging::logfmt::parse_line(line).is_ok()), "{lines:#?}");
    drop(dir);
}

#[test]
fn a_message_tells_nothing_of_the_servers_machine() {
    let (dir, server) = served();
    let mut client = server.client();
    for path in ["missing", "hello.txt/x", "a/b/c"] {
        let message = client.get(path).unwrap().unwrap_err().message.unwrap();
        assert!(!message.contains(dir.path().to_str().unwrap()), "{message}");
    }
}

#[test]
fn bad_paths_are_refused_and_the_session_goes_on() {
    let (_dir, server) = served();
    let mut client = server.client();
    let long = "x".repeat(256);
    let deep = ["d"; 65].join("/");
    let wide = ["y".repeat(200).as_str(); 6].join("/");
    let paths = [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        ".",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "a\0b",
        ".hostdir",
        ".HostDir/digests",
        "a/.hostdir/x",
        &long,
        &deep,
        &wide,
    ];
    for path in paths {
        assert_eq!(client.get(path).unwrap().unwrap_err().code, ErrorCode::BadPath, "GET {path:?}");
        assert_eq!(client.put(path, b"x").unwrap().unwrap_err().code, ErrorCode::BadPath, "PUT {path:?}");
        if !path.is_empty() {
            assert_eq!(client.list(path).unwrap().unwrap_err().code, ErrorCode::BadPath, "LIST {path:?}");
        }
    }
    client.alive();
}

#[test]
fn a_message_that_times_out_names_the_limit() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--idle-timeout", "2"]);
    let mut silent = server.client();
    assert!(silent.refused(ErrorCode::Timeout).ends_with("not in 2 s"), "idle");
    silent.closed();
}

#[test]
fn a_client_that_does_not_greet_in_ten_seconds_is_closed() {
    let (_dir, server) = served();
    let mut silent = server.connection();
    let mut half = server.connection();
    half.raw(&PREAMBLE[..4]).unwrap();
    let mut no_hello = server.connection();
    no_hello.raw(&PREAMBLE).unwrap();
    no_hello.read_preamble().unwrap();
    assert!(no_hello.refused(ErrorCode::Timeout).ends_with("not in 10 s"));
    for client in [&mut silent, &mut half] {
        client.closed();
    }
    server.client().alive();
}
