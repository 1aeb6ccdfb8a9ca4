//! Events and the two older relays by WebSocket (docs/WEB.md, sections 9 and 10), through the real server.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

#[path = "../common/mod.rs"]
mod common;

mod events;
mod faces;
mod many;
mod python;
mod relay_a;
mod relay_b;

use common::websocket::{FINAL, PING, WsClient, WsMessage};
use common::{Frame, RawClient, Server};
use hostdir::wire::{Arriving, RawBytes, Reply, Request, Subscribe};
use std::path::Path;
use tempfile::TempDir;

/// A server over a directory of its own.
fn served(arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

/// A ping that is answered says that what was sent before it was dealt with.
fn settle(client: &mut WsClient) {
    client.frame(FINAL | PING, b"settled");
    let pong = client.receive().unwrap().unwrap();
    assert_eq!((pong.first & 0xf, &*pong.payload), (common::websocket::PONG, &b"settled"[..]));
}

/// A subscriber of relay A that is listening.
fn subscriber(server: &Server, topic: &str) -> WsClient {
    let mut client = WsClient::connect(server, "/");
    client.text(&format!("subscribe:{topic}"));
    settle(&mut client);
    client
}

/// A receiver of relay B that is listening.
fn receiver(server: &Server) -> WsClient {
    let mut client = WsClient::connect(server, "/receiver");
    settle(&mut client);
    client
}

/// A client of `/ws` that follows folders, and what it was answered.
fn follower(server: &Server, subscribe: serde_json::Value) -> (WsClient, serde_json::Value) {
    let mut client = WsClient::connect(server, "/ws");
    client.text(&subscribe.to_string());
    let subscribed = client.json();
    (client, subscribed)
}

/// A native session that follows folders.
fn native_follower(server: &Server, folder: &str) -> RawClient {
    let mut client = server.client();
    let folders = vec![RawBytes(folder.as_bytes().to_vec())];
    client.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    client
}

fn arriving(client: &mut RawClient) -> Arriving {
    match client.receive().unwrap() {
        Frame::Reply(Reply::Arriving(arriving)) => arriving,
        other => panic!("{other:?}"),
    }
}

/// One file as a receiver of relay B gets it: its name, and its bytes.
fn received(client: &mut WsClient) -> (String, Vec<u8>) {
    let start = client.next_text();
    let name = start.strip_prefix("START:").unwrap_or_else(|| panic!("no START: {start}")).to_owned();
    (name, rest_of_file(client))
}

fn rest_of_file(client: &mut WsClient) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match client.message() {
            WsMessage::Binary(more) => bytes.extend(more),
            WsMessage::Text(text) if text == "END" => return bytes,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends a file by relay B, and takes the answer.
fn send_file(client: &mut WsClient, name: &str, bytes: &[u8]) {
    client.text(name);
    bytes.chunks(64 * 1024).for_each(|chunk| client.binary(chunk));
    client.binary(b"__end__");
    assert_eq!(client.next_text(), "File transfer successful");
}

/// A message of relay A with a file.
fn message(topic: &str, mime: &str, name: &str, bytes: &[u8]) -> String {
    format!("message:{topic}:{mime}:{name}:{}", base64(bytes))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Ends a sender of relay A in an orderly way: when that is answered, all that it sent is stored.
fn finish(mut client: WsClient) {
    client.close(&1000_u16.to_be_bytes());
    assert_eq!(client.message(), WsMessage::Closed(Some(1000), String::new()));
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
