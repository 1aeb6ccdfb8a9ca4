//! How the server stops: what is running is waited for, what is idle is told, and the port is free at once.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Launch, Log, RawClient, Server, content, put_file, whole};
use hostdir::wire::{Begin, ErrorCode, FileHeader, Receipt, ReceiptOutcome, Reply, Request};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Read;
use tempfile::TempDir;

/// A server in the middle of a download that is larger than all buffers on the way.
fn busy() -> (TempDir, Server, RawClient, FileHeader) {
    let dir = TempDir::new().unwrap();
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.send(Request::Get(whole("big"))).unwrap();
    let Frame::Reply(Reply::File(header)) = client.receive().unwrap() else { panic!("no FILE") };
    (dir, server, client, header)
}

#[test]
fn a_running_download_is_finished_and_its_receipt_taken() {
    let (_dir, mut server, mut client, header) = busy();
    server.terminate();
    server.logged(Log::Events, &["event=stopping", "transfers=1"]);
    let transfer = header.transfer;
    assert_eq!(client.take_bytes(header).unwrap().unwrap().bytes.len(), 64 << 20);
    client.receipt(transfer).unwrap();
    client.refused(ErrorCode::ShuttingDown);
    client.closed();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Transfers, &["event=download", "status=ok"]);
    server.logged(Log::Events, &["event=stopped"]);
}

#[test]
fn a_second_signal_cuts_what_is_running() {
    let (_dir, mut server, mut client, header) = busy();
    server.terminate();
    server.logged(Log::Events, &["event=stopping"]);
    server.signal(Signal::INT);
    assert_eq!(server.wait(), 1);
    assert!(client.take_bytes(header).is_err());
    server.logged(Log::Transfers, &["event=download", "status=incomplete"]);
}

#[test]
fn newcomers_are_told_while_a_transfer_is_waited_for() {
    let (_dir, mut server, mut client, header) = busy();
    server.terminate();
    server.logged(Log::Events, &["event=stopping"]);
    // More than are accepted at a time; some have said something already when they are refused.
    let mut newcomers: Vec<_> = (0..600).map(|_| server.connection()).collect();
    newcomers.iter_mut().step_by(2).for_each(|newcomer| newcomer.say_hello().unwrap());
    for newcomer in &mut newcomers {
        newcomer.read_preamble().unwrap();
        newcomer.refused(ErrorCode::ShuttingDown);
        newcomer.closed();
    }
    let transfer = header.transfer;
    client.take_bytes(header).unwrap().unwrap();
    client.receipt(transfer).unwrap();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Events, &["event=shutting-down", "the server is stopping"]);
}

#[test]
fn a_running_upload_is_finished_and_stored() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let bytes = content(1, 3 << 20);
    let mut client = server.client();
    client.ask(put_file("f", bytes.len())).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    client.data(&bytes[..1 << 20]).unwrap();
    common::eventually("it has begun", || {
        let partial = fs::read_dir(dir.path().join(".hostdir/partial")).unwrap().next();
        partial.is_some_and(|partial| partial.unwrap().metadata().unwrap().len() > 500_000)
    });
    server.terminate();
    server.logged(Log::Events, &["event=stopping", "transfers=1"]);
    bytes[1 << 20..].chunks(1 << 19).for_each(|chunk| client.data(chunk).unwrap());
    client.send(Request::Finish(hostdir::wire::Finish { digest: common::digest_of(&bytes) })).unwrap();
    client.stored().unwrap().unwrap();
    assert_eq!(server.wait(), 0);
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), bytes);
}

#[test]
fn idle_sessions_are_let_go_at_once() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    let mut silent = server.connection();
    let began = std::time::Instant::now();
    server.terminate();
    assert_eq!(server.wait(), 0);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    // It may have come too late to be let in, and hear why.
    let _ = silent.stream.read_to_end(&mut Vec::new());
    for client in &mut clients {
        while !matches!(client.receive(), Ok(Frame::Closed) | Err(_)) {}
    }
}

#[test]
fn a_download_without_a_receipt_does_not_hold_the_server() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.get("f").unwrap().unwrap();
    server.terminate();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Transfers, &["event=download", "status=incomplete", "no receipt"]);
}

#[test]
fn a_receipt_behind_requests_that_are_not_answered_any_more_is_taken() {
    let dir = TempDir::new().unwrap();
    ["a", "b", "c"].iter().for_each(|name| fs::write(dir.path().join(name), "x").unwrap());
    let mut server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.send(Request::Get(whole("a"))).unwrap();
    let Frame::Reply(Reply::File(header)) = client.receive().unwrap() else { panic!("no FILE") };
    let transfer = header.transfer;
    client.take_bytes(header).unwrap().unwrap();
    server.terminate();
    server.logged(Log::Events, &["event=stopping"]);
    let receipt = Request::Receipt(Receipt::new(transfer, ReceiptOutcome::Verified));
    client.send_all(&[Request::Get(whole("b")), Request::Get(whole("c")), receipt]).unwrap();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Transfers, &["event=download", "path=a", "status=ok"]);
}

#[test]
fn the_port_can_be_bound_again_at_once() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    for _ in 0..3 {
        let port = server.address().port();
        let mut held = server.client();
        held.alive();
        server.kill();
        server = Server::launch(dir.path(), &Launch { port, ..Launch::default() });
        server.client().alive();
    }
    let other = TempDir::new().unwrap();
    let launch = Launch { port: server.address().port(), ..Launch::default() };
    let Err(said) = Server::try_launch(other.path(), &launch) else { panic!("two servers have one port") };
    assert!(said.contains("in use"), "{said}");
}
