//! Uploads that are read while they come in (WEB.md, section 4), whoever sends them.

use crate::common::{Frame, Log, RawClient, Server, content, put_file, upload_id};
use crate::http::{Answer, Http, served};
use hostdir::wire::{Abandon, Arriving, Begin, Finish, Put, RawBytes, Reply, Request, Subscribe};
use std::fs;

const ID: &str = "00112233445566778899aabbccddeeff";

/// A native client that follows everything.
fn follower(server: &Server) -> RawClient {
    let mut client = server.client();
    let folders = vec![RawBytes(Vec::new())];
    client.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    client
}

fn arriving(follower: &mut RawClient) -> Arriving {
    match follower.receive().unwrap() {
        Frame::Reply(Reply::Arriving(arriving)) => arriving,
        other => panic!("{other:?}"),
    }
}

/// Begins to read an upload; the head has come.
fn read(server: &Server, arriving: &Arriving) -> (Http, Answer) {
    let mut reader = Http::connect(server);
    let path = String::from_utf8(arriving.path.to_vec()).unwrap();
    reader.send(&format!("GET /files/{path}?live={}", arriving.live), "", b"");
    let answer = reader.head();
    assert_eq!((answer.status, answer.field("transfer-encoding")), (200, Some("chunked")), "{answer:?}");
    (reader, answer)
}

/// Takes chunks until so many bytes came.
fn take(reader: &mut Http, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let size = usize::from_str_radix(&reader.line().unwrap(), 16).unwrap();
        assert!(size > 0 && reader.take(size, &mut bytes));
        assert_eq!(reader.line().as_deref(), Some(""));
    }
    assert_eq!(bytes.len(), count);
    bytes
}

/// The end of the line behind a chunk is nothing that would have to be waited for first.
#[test]
fn a_chunk_is_read_as_soon_as_it_is_there() {
    let (_dir, server) = served(&[], &[]);
    let mut follower = follower(&server);
    let mut sender = Http::connect(&server);
    let fields = format!("Transfer-Encoding: chunked\r\nHostdir-Upload: {ID}\r\n");
    sender.send("PUT /files/chat/log", &fields, b"4\r\none\n\r\n");
    let arriving = arriving(&mut follower);
    let (mut reader, _) = read(&server, &arriving);
    assert_eq!(take(&mut reader, 4), b"one\n");
    sender.raw("4\r\ntwo\n\r\n");
    assert_eq!(take(&mut reader, 4), b"two\n");
    sender.raw("0\r\n\r\n");
    assert_eq!(sender.answer().status, 201);
}

#[test]
fn an_upload_by_http_is_read_while_it_comes_in() {
    let (dir, server) = served(&[], &[]);
    let mut follower = follower(&server);
    let content = content(1, 300_000);
    let mut sender = Http::connect(&server);
    sender.send(
        "PUT /files/chat/a.txt",
        &format!("Content-Length: 300000\r\nHostdir-Upload: {ID}\r\n"),
        &content[..1000],
    );
    let arriving = arriving(&mut follower);
    assert_eq!((&arriving.path[..], arriving.size), (&b"chat/a.txt"[..], Some(300_000)));
    let (mut reader, answer) = read(&server, &arriving);
    assert_eq!(answer.field("hostdir-size"), Some("300000"));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.field("content-disposition").unwrap().starts_with("attachment"));
    let mut bytes = take(&mut reader, 1000);
    for part in content[1000..].chunks(50_000) {
        sender.raw(part);
        bytes.extend(take(&mut reader, part.len()));
    }
    assert!(bytes == content);
    assert_eq!(sender.answer().status, 201);
    assert_eq!((reader.line().as_deref(), reader.line().as_deref()), (Some("0"), Some("")));
    assert!(dir.path().join("chat/a.txt").exists(), "the last chunk comes when the file is there");
    assert!(reader.is_alive());
    // It has arrived: the same answer, from the file.
    let target = format!("/files/chat/a.txt?live={}", arriving.live);
    let late = reader.get(&target);
    assert!(late.is_whole && late.body == content && late.field("transfer-encoding") == Some("chunked"));
    assert_eq!(late.field("hostdir-size"), Some("300000"));
    server.logged(Log::Transfers, &["event=download", "via=web", "path=chat/a.txt", "bytes=300000", "status=sent"]);
}

#[test]
fn a_native_upload_of_unknown_size_is_read_and_its_end_is_told() {
    let (_dir, server) = served(&[], &[]);
    let mut follower = follower(&server);
    let mut sender = server.client();
    sender.ask(Put { size: None, upload: Some(upload_id(1)), ..put_file("log", 0) }).unwrap().unwrap();
    sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
    let (mut reader, answer) = read(&server, &arriving(&mut follower));
    assert_eq!(answer.field("hostdir-size"), None);
    for line in [&b"one\n"[..], b"two\n"] {
        sender.data(line).unwrap();
        assert_eq!(take(&mut reader, line.len()), line);
    }
    sender.send(Request::Finish(Finish { digest: crate::common::digest_of(b"one\ntwo\n") })).unwrap();
    sender.stored().unwrap().unwrap();
    assert_eq!(reader.line().as_deref(), Some("0"));
}

#[test]
fn an_upload_that_is_given_up_or_starts_over_is_not_whole() {
    let (_dir, server) = served(&[], &[]);
    let mut follower = follower(&server);
    let mut sender = server.client();
    let begin = |sender: &mut RawClient, name: &str, id| {
        sender.ask(Put { size: None, upload: Some(upload_id(id)), ..put_file(name, 0) }).unwrap().unwrap();
        sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
        sender.data(b"some").unwrap();
    };
    begin(&mut sender, "given up", 1);
    let told = arriving(&mut follower);
    let target = format!("/files/given%20up?live={}", told.live);
    let mut reader = Http::connect(&server);
    reader.send(&format!("GET {target}"), "", b"");
    let mut answer = reader.head();
    assert_eq!(take(&mut reader, 4), b"some");
    sender.send(Request::Abandon(Abandon { keep: false })).unwrap();
    sender.refused(hostdir::wire::ErrorCode::Abandoned);
    assert!(!reader.body(&mut answer), "no last chunk");
    server.logged(Log::Transfers, &["event=download", "path=\"given up\"", "status=aborted"]);
    crate::http::get(&server, &target).problem(404, "not-found");
    follower.receive().unwrap();
    begin(&mut sender, "again", 2);
    let told = arriving(&mut follower);
    let (mut reader, mut answer) = read(&server, &told);
    assert_eq!(take(&mut reader, 4), b"some");
    drop(sender);
    let mut sender = server.client();
    begin(&mut sender, "again", 2);
    assert!(!reader.body(&mut answer), "its bytes were wrong");
    server.logged(Log::Transfers, &["event=download", "path=again", "status=failed", "started over"]);
}

#[test]
fn what_is_no_upload_on_its_way_cannot_be_followed() {
    let (dir, server) = served(&[("f", b"x")], &[]);
    let mut client = Http::connect(&server);
    client.get(&format!("/files/f?live={}", "0".repeat(32))).problem(404, "not-found");
    for id in ["", "x", &"0".repeat(31)] {
        client.get(&format!("/files/f?live={id}")).problem(400, "protocol");
    }
    let head = client.ask(&format!("HEAD /files/f?live={}", "0".repeat(32)), "", b"");
    assert_eq!((head.status, head.field("allow")), (405, Some("GET, OPTIONS")));
    let mut old = Http::connect(&server);
    old.raw(format!("GET /files/f?live={} HTTP/1.0\r\n\r\n", "0".repeat(32)));
    old.answer().problem(505, "protocol");
    // A live id belongs to a path.
    let mut follower = follower(&server);
    let mut sender = Http::connect(&server);
    sender.send("PUT /files/g", &format!("Content-Length: 2\r\nHostdir-Upload: {ID}\r\n"), b"x");
    let live = arriving(&mut follower).live;
    client.get(&format!("/files/f?live={live}")).problem(404, "not-found");
    sender.raw(b"y");
    assert_eq!(sender.answer().status, 201);
    assert_eq!(fs::read(dir.path().join("g")).unwrap(), b"xy");
}

/// Nothing can be said to a reader while no bytes come, so it is looked whether it is still there.
#[test]
fn a_reader_that_leaves_while_nothing_comes_is_noticed() {
    let (_dir, server) = served(&[], &[]);
    let mut follower = follower(&server);
    let mut sender = Http::connect(&server);
    sender.send("PUT /files/g", &format!("Content-Length: 2\r\nHostdir-Upload: {ID}\r\n"), b"x");
    let (reader, _) = read(&server, &arriving(&mut follower));
    drop(reader);
    server.logged(Log::Transfers, &["event=download", "path=g", "status=incomplete"]);
    sender.raw(b"y");
    assert_eq!(sender.answer().status, 201);
}
