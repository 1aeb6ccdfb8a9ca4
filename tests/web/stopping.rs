//! How the server stops under clients that speak HTTP.

use crate::common::{Log, Server, content, eventually};
use crate::http::{Answer, Http, served};
use std::fs::{self, File};
use std::time::Instant;
use tempfile::TempDir;

/// A server in the middle of a download that is larger than all buffers on the way.
fn busy() -> (TempDir, Server, Http, Answer) {
    let (dir, server) = served(&[], &[]);
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let mut client = Http::connect(&server);
    client.send("GET /files/big", "", b"");
    // It is asked for something more already, which will not be answered as usual.
    client.send("GET /files/big", "", b"");
    let answer = client.head();
    (dir, server, client, answer)
}

#[test]
fn a_running_download_is_finished_and_the_next_request_turned_away() {
    let (_dir, mut server, mut client, mut answer) = busy();
    server.terminate();
    server.logged(Log::Events, &["event=stopping", "transfers=1"]);
    assert!(client.body(&mut answer) && answer.body.len() == 64 << 20);
    let refused = client.answer();
    refused.problem(503, "shutting-down");
    assert_eq!((refused.field("retry-after"), refused.field("connection")), (Some("5"), Some("close")));
    client.closed();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Transfers, &["path=big", "status=sent"]);
}

#[test]
fn a_running_upload_is_finished_and_stored() {
    let (dir, mut server) = served(&[], &[]);
    let bytes = content(1, 3 << 20);
    let mut client = Http::connect(&server);
    client.send("PUT /files/f", &format!("Content-Length: {}\r\n", bytes.len()), &bytes[..1 << 20]);
    eventually("it has begun", || {
        let partial = fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().next();
        partial.is_some_and(|partial| partial.unwrap().metadata().unwrap().len() > 500_000)
    });
    server.terminate();
    server.logged(Log::Events, &["event=stopping", "transfers=1"]);
    bytes[1 << 20..].chunks(1 << 19).for_each(|chunk| client.raw(chunk));
    assert_eq!(client.answer().status, 201);
    assert_eq!(server.wait(), 0);
    assert!(fs::read(dir.path().join("f")).unwrap() == bytes);
}

#[test]
fn newcomers_are_told_in_their_protocol_while_a_transfer_is_waited_for() {
    let (_dir, mut server, mut client, mut answer) = busy();
    server.terminate();
    server.logged(Log::Events, &["event=stopping"]);
    for target in ["/healthz", "/files/big", "/"] {
        let mut newcomer = Http::connect(&server);
        let refused = newcomer.get(target);
        refused.problem(503, "shutting-down");
        assert_eq!(refused.field("retry-after"), Some("5"));
        newcomer.closed();
    }
    assert!(client.body(&mut answer));
    assert_eq!(server.wait(), 0);
}

#[test]
fn idle_connections_are_let_go_at_once() {
    let (_dir, mut server) = served(&[], &[]);
    let mut clients: Vec<_> = (0..20).map(|_| Http::connect(&server)).collect();
    assert!(clients.iter_mut().all(Http::is_alive));
    // One that is in the middle of a head, and one that has said nothing.
    clients[0].raw("GET /");
    clients.push(Http::connect(&server));
    let began = Instant::now();
    server.terminate();
    assert_eq!(server.wait(), 0);
    // The next deadline that could end it is the greeting's, 10 s.
    assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
    clients.iter_mut().for_each(Http::gone);
}

/// What is still read of a client that was refused is no transfer.
#[test]
fn a_refused_client_that_goes_on_sending_does_not_hold_the_server() {
    let (_dir, mut server) = served(&[], &["--max-file-size", "1MiB"]);
    let mut client = Http::connect(&server);
    client.send("PUT /files/x", "Content-Length: 100000000\r\n", &[0; 100_000]);
    client.answer().problem(413, "too-large");
    let began = Instant::now();
    server.terminate();
    assert_eq!(server.wait(), 0);
    // The next deadline that could end it is the greeting's, 10 s.
    assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
}
