//! What one face of the server takes, the others give, live.

use super::common::websocket::{CONTINUATION, FINAL, TEXT, WsClient, WsMessage};
use super::common::{Frame, RawClient, content, digest_of, eventually, put_file, upload_id};
use super::{
    Reply, Request, base64, finish, follower, message, native_follower, received, receiver, send_file, served,
};
use super::{rest_of_file, subscriber};
use hostdir::wire::{Begin, Finish, Get, Put};
use serde_json::json;
use std::fs;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// The next bytes of a live GET.
fn live_bytes(client: &mut RawClient, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match client.receive().unwrap() {
            Frame::Data(more) => bytes.extend(more),
            other => panic!("{other:?} after {} bytes", bytes.len()),
        }
    }
    bytes
}

/// Asks for an upload that is arriving, and takes what is said before its bytes.
fn get_live(client: &mut RawClient) {
    let arriving = super::arriving(client);
    client.send(Request::Get(Get { live: Some(arriving.live), ..Get::whole(&arriving.path) })).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Paused(_))));
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Live(_))));
}

#[test]
fn a_message_of_relay_a_goes_to_all_others_before_it_is_whole() {
    let (_dir, server) = served(&[]);
    let mut native = native_follower(&server, "live");
    let mut receiver = receiver(&server);
    let (mut events, _) = follower(&server, json!({"type": "subscribe", "folders": ["live"]}));
    let mut listener = subscriber(&server, "live");
    let bytes = content(1, 300_000);
    let text = message("live", "m/n", "f", &bytes).into_bytes();
    let mut sender = WsClient::connect(&server, "/");
    sender.frame(TEXT, &text[..200_000]);
    let there = (200_000 - "message:live:m/n:f:".len()) / 4 * 3;
    get_live(&mut native);
    assert!(live_bytes(&mut native, there) == bytes[..there]);
    assert_eq!(receiver.next_text(), "START:f");
    let mut got = Vec::new();
    while got.len() < there {
        let WsMessage::Binary(more) = receiver.message() else { panic!("no bytes after {}", got.len()) };
        got.extend(more);
    }
    assert_eq!(events.json()["type"], "arriving");
    sender.frame(FINAL | CONTINUATION, &text[200_000..]);
    got.extend(rest_of_file(&mut receiver));
    assert!(got == bytes);
    assert!(live_bytes(&mut native, bytes.len() - there) == bytes[there..]);
    let arrived = events.json();
    assert_eq!((&arrived["type"], &arrived["digest"]), (&json!("arrived"), &json!(digest_of(&bytes).to_string())));
    assert_eq!(listener.next_text(), format!("m/n:f:{}", base64(&bytes)));
}

#[test]
fn a_native_upload_goes_to_both_relays_and_to_the_events() {
    let (_dir, server) = served(&[]);
    let mut receiver = receiver(&server);
    let mut listener = subscriber(&server, "live");
    let (mut events, _) = follower(&server, json!({"type": "subscribe", "folders": ["live"]}));
    let bytes = content(2, MIB);
    let mut sender = server.client();
    sender.ask(Put { upload: Some(upload_id(1)), ..put_file("live/f.txt", bytes.len()) }).unwrap().unwrap();
    sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
    assert_eq!((receiver.next_text().as_str(), &events.json()["type"]), ("START:f.txt", &json!("arriving")));
    sender.data(&bytes[..500_000]).unwrap();
    let mut got = Vec::new();
    while got.len() < 500_000 {
        let WsMessage::Binary(more) = receiver.message() else { panic!("no bytes after {}", got.len()) };
        got.extend(more);
    }
    sender.data(&bytes[500_000..]).unwrap();
    sender.send(Request::Finish(Finish { digest: digest_of(&bytes) })).unwrap();
    sender.stored().unwrap().unwrap();
    got.extend(rest_of_file(&mut receiver));
    assert!(got == bytes);
    assert_eq!(events.json()["type"], "arrived");
    assert!(listener.next_text() == format!("text/plain:f.txt:{}", base64(&bytes)));
}

#[test]
fn a_file_of_relay_b_goes_to_natives_and_to_relay_a() {
    let (_dir, server) = served(&[]);
    let mut native = native_follower(&server, "live");
    let mut listener = subscriber(&server, "live");
    let mut sender = WsClient::connect(&server, "/sender");
    sender.text("f.png");
    sender.binary(b"first ");
    get_live(&mut native);
    assert_eq!(live_bytes(&mut native, 6), b"first ");
    sender.binary(b"second");
    assert_eq!(live_bytes(&mut native, 6), b"second");
    sender.binary(b"__end__");
    assert_eq!(sender.next_text(), "File transfer successful");
    match native.receive().unwrap() {
        Frame::Reply(Reply::End(end)) => assert_eq!(end.digest, Some(digest_of(b"first second"))),
        other => panic!("{other:?}"),
    }
    assert_eq!(listener.next_text(), format!("image/png:f.png:{}", base64(b"first second")));
}

#[test]
fn relay_b_gives_what_relay_a_takes_and_the_other_way_round() {
    let (_dir, server) = served(&[]);
    let (mut receiver, mut listener) = (receiver(&server), subscriber(&server, "live"));
    let mut a = WsClient::connect(&server, "/");
    let mut b = WsClient::connect(&server, "/sender");
    for round in 0..5_u64 {
        let (one, two) = (content(round, 70_000), content(100 + round, 90_000));
        a.text(&message("live", "x/y", &format!("a{round}"), &one));
        assert!(received(&mut receiver) == (format!("a{round}"), one.clone()));
        assert!(listener.next_text() == format!("x/y:a{round}:{}", base64(&one)));
        send_file(&mut b, &format!("b{round}"), &two);
        assert!(received(&mut receiver) == (format!("b{round}"), two.clone()));
        assert!(listener.next_text() == format!("application/octet-stream:b{round}:{}", base64(&two)));
    }
    finish(a);
}

#[test]
fn the_client_subscribes_to_what_relays_send_and_publishes_to_their_listeners() {
    let (_dir, server) = served(&[]);
    let (downloads, sources) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let port = server.address().port().to_string();
    let client = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(["--ip", "127.0.0.1", "--port", &port, "--dir"]).arg(downloads.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut subscriber_process = client(&["subscribe", "live", "--count", "2"]).spawn().unwrap();
    server.logged(super::common::Log::Events, &["event=subscribe"]);
    let (mut receiver, mut listener) = (receiver(&server), subscriber(&server, "live"));
    let mut a = WsClient::connect(&server, "/");
    a.text(&message("live", "x/y", "from a", &content(1, MIB)));
    finish(a);
    send_file(&mut WsClient::connect(&server, "/sender"), "from b", &content(2, MIB));
    let status = subscriber_process.wait().unwrap();
    assert!(status.success(), "{status}");
    for (name, seed) in [("from a", 1), ("from b", 2)] {
        assert!(fs::read(downloads.path().join("live").join(name)).unwrap() == content(seed, MIB), "{name}");
        assert!(received(&mut receiver) == (name.to_owned(), content(seed, MIB)));
        listener.next_text();
    }
    let file = sources.path().join("from the client");
    fs::write(&file, content(3, 2 * MIB)).unwrap();
    assert!(client(&["publish", "live"]).arg(&file).status().unwrap().success());
    assert!(received(&mut receiver) == ("from the client".to_owned(), content(3, 2 * MIB)));
    let text = listener.next_text();
    assert!(text.strip_prefix("application/octet-stream:from the client:") == Some(&base64(&content(3, 2 * MIB))));
    eventually("the log has it", || server.log(super::common::Log::Transfers).len() >= 6);
}
