//! Events, at `/ws`.

use super::common::websocket::{BINARY, CONTINUATION, FINAL, TEXT, WsClient};
use super::common::{Log, Server, content, digest_of, put_file, upload_id};
use super::{Request, follower, served, settle};
use hostdir::wire::{Abandon, Begin, Finish, Put};
use serde_json::{Value, json};
use std::fs;

/// A client that follows folders from now on.
fn following(server: &Server, folders: &[&str]) -> WsClient {
    let (client, subscribed) = follower(server, json!({"type": "subscribe", "folders": folders}));
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    client
}

#[test]
fn an_upload_is_told_from_its_first_byte_to_its_arrival() {
    let (_dir, server) = served(&[]);
    let (mut client, subscribed) = follower(&server, json!({"type": "subscribe", "folders": ["chat"], "x": 1}));
    let journal = subscribed["journal"].as_str().unwrap().to_owned();
    assert!(journal.len() == 32 && journal.bytes().all(|digit| digit.is_ascii_hexdigit()), "{journal}");
    assert_eq!(subscribed, json!({"type": "subscribed", "journal": journal, "oldest": 1, "after": 0}));
    let mut sender = server.client();
    let modified = Some(1_767_225_600_000_000_000);
    let put = Put { modified, upload: Some(upload_id(1)), ..put_file("chat/año nuevo.iso", 5) };
    sender.ask(put).unwrap().unwrap();
    sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
    let arriving = client.json();
    let live = arriving["live"].as_str().unwrap().to_owned();
    let href = "/files/chat/a%C3%B1o%20nuevo.iso";
    assert_eq!(
        arriving,
        json!({"type": "arriving", "live": live, "path": "chat/año nuevo.iso", "href": href, "size": 5})
    );
    sender.data(b"bytes").unwrap();
    sender.send(Request::Finish(Finish { digest: digest_of(b"bytes") })).unwrap();
    sender.stored().unwrap().unwrap();
    let mut arrived = client.json();
    let time = arrived["time"].take().as_f64().unwrap();
    assert!((time - arrived_about()).abs() < 600.0, "{time}");
    assert_eq!(
        arrived,
        json!({
            "type": "arrived", "number": 1, "path": "chat/año nuevo.iso", "href": href, "size": 5,
            "digest": digest_of(b"bytes").to_string(), "modified": 1_767_225_600.0, "time": null, "live": live,
            "publisher": "127.0.0.1",
        })
    );
}

fn arrived_about() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

#[test]
fn an_upload_that_is_given_up_is_abandoned_and_names_that_are_no_text_have_an_exact_address() {
    let (_dir, server) = served(&[]);
    let mut client = following(&server, &[""]);
    let mut sender = server.client();
    let path = b"a\xff/b%";
    let put = Put { upload: Some(upload_id(2)), size: None, ..put_file(path, 0) };
    sender.ask(put).unwrap().unwrap();
    sender.send(Request::Begin(Begin { offset: 0 })).unwrap();
    let arriving = client.json();
    assert_eq!((&arriving["path"], &arriving["href"]), (&json!("a\u{fffd}/b%"), &json!("/files/a%FF/b%25")));
    assert!(arriving.get("size").is_none(), "{arriving}");
    sender.send(Request::Abandon(Abandon { keep: false })).unwrap();
    let abandoned = client.json();
    let expected = json!({
        "type": "abandoned", "live": arriving["live"], "path": "a\u{fffd}/b%", "href": "/files/a%FF/b%25",
    });
    assert_eq!(abandoned, expected);
    sender.put("plain", b"x").ok();
    let arrived = client.json();
    assert!(arrived["type"] == "arrived" && arrived.get("live").is_none(), "{arrived}");
}

#[test]
fn a_cursor_misses_nothing_across_a_kill() {
    let (dir, server) = served(&[]);
    let (mut client, subscribed) = follower(&server, json!({"type": "subscribe", "folders": ["t"]}));
    let mut sender = server.client();
    let mut numbers = Vec::new();
    for number in 0..20 {
        sender.put(format!("t/{number}"), b"x").unwrap().unwrap();
        numbers.push(client.json()["number"].as_u64().unwrap());
    }
    for number in 20..300 {
        let folder = if number % 3 == 0 { "u" } else { "t" };
        sender.put(format!("{folder}/{number}"), b"x").unwrap().unwrap();
    }
    server.kill();
    let server = Server::start(dir.path(), &[]);
    server.client().put("t/last", b"x").unwrap().unwrap();
    let cursor = json!({
        "type": "subscribe", "folders": ["t"], "after": numbers.last(), "journal": subscribed["journal"],
    });
    let (mut client, again) = follower(&server, cursor);
    assert_eq!((&again["journal"], &again["after"]), (&subscribed["journal"], &json!(20)));
    loop {
        let event = client.json();
        numbers.push(event["number"].as_u64().unwrap());
        if event["path"] == "t/last" {
            break;
        }
    }
    let expected: Vec<u64> =
        (1..=301).filter(|number| *number <= 20 || (number - 1) % 3 != 0 || *number == 301).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn what_is_missing_is_a_gap() {
    let (dir, server) = served(&[]);
    server.client().put("t/1", b"x").unwrap().unwrap();
    let other = "ffffffffffffffffffffffffffffffff";
    let subscribe = json!({"type": "subscribe", "folders": ["t"], "after": 0, "journal": other});
    let (mut client, subscribed) = follower(&server, subscribe);
    assert_eq!(subscribed["after"], 0);
    assert_eq!(client.json(), json!({"type": "gap", "after": 0}));
    assert_eq!(client.json()["path"], "t/1");
    let (mut client, _) = follower(&server, json!({"type": "subscribe", "folders": ["t"], "after": 0}));
    assert_eq!(client.json()["path"], "t/1");
    drop(dir);
}

#[test]
fn another_subscribe_takes_the_place_of_the_one_before() {
    let (_dir, server) = served(&[]);
    let mut client = following(&server, &["a", "b/c"]);
    let mut sender = server.client();
    for path in ["a/1", "b/2", "b/c/d/3"] {
        sender.put(path, b"x").unwrap().unwrap();
    }
    assert_eq!([client.json(), client.json()].map(|event| event["number"].clone()), [json!(1), json!(3)]);
    client.text(&json!({"type": "subscribe", "folders": ["b"]}).to_string());
    assert_eq!(client.json()["after"], 3);
    sender.put("a/4", b"x").unwrap().unwrap();
    sender.put("b/5", b"x").unwrap().unwrap();
    assert_eq!(client.json()["path"], "b/5");
}

#[test]
fn a_refusal_is_told_and_nothing_is_followed_until_the_next_subscribe() {
    let (_dir, server) = served(&[]);
    let mut client = following(&server, &["t"]);
    let many: Vec<String> = (0..65).map(|number| format!("f{number}")).collect();
    let refused: [(Value, &str); 4] = [
        (json!({"type": "subscribe", "folders": ["../x"]}), "bad-path"),
        (json!({"type": "subscribe", "folders": ["a", ".hostdir"]}), "bad-path"),
        (json!({"type": "subscribe", "folders": []}), "out-of-range"),
        (json!({"type": "subscribe", "folders": many}), "out-of-range"),
    ];
    for (message, code) in refused {
        client.text(&message.to_string());
        let error = client.json();
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
        assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{error}");
    }
    server.client().put("t/unheard", b"x").unwrap().unwrap();
    settle(&mut client);
    client.text(&json!({"type": "subscribe", "folders": ["t"], "after": null}).to_string());
    assert_eq!(client.json()["after"], 1);
    server.client().put("t/heard", b"x").unwrap().unwrap();
    assert_eq!(client.json()["path"], "t/heard");
}

#[test]
fn what_is_no_subscribe_closes_the_connection() {
    let (_dir, server) = served(&[]);
    let journal = "f".repeat(31);
    for text in [
        "",
        "x",
        "[]",
        "null",
        "{}",
        r#"{"type":"subscribe"}"#,
        r#"{"type":"publish","folders":["t"]}"#,
        r#"{"type":"subscribe","folders":"t"}"#,
        r#"{"type":"subscribe","folders":[1]}"#,
        r#"{"type":"subscribe","folders":["t"],"after":"1"}"#,
        r#"{"type":"subscribe","folders":["t"],"after":-1}"#,
        r#"{"type":"subscribe","folders":["t"],"after":1}"#,
        &format!(r#"{{"type":"subscribe","folders":["t"],"after":1,"journal":"{journal}"}}"#),
        &format!(r#"{{"type":"subscribe","folders":["t"],"after":1,"journal":"+{journal}"}}"#),
        r#"{"type":"subscribe","folders":["t"]} x"#,
    ] {
        let mut client = WsClient::connect(&server, "/ws");
        client.text(text);
        assert!(client.closed_with(1008).contains("subscribe"), "{text}");
    }
    let mut client = WsClient::connect(&server, "/ws");
    client.frame(FINAL | BINARY, br#"{"type":"subscribe","folders":["t"]}"#);
    client.closed_with(1003);
}

#[test]
fn a_message_has_64_kib_at_most() {
    let (_dir, server) = served(&[]);
    let of_size = |size: usize| {
        let message = json!({"type": "subscribe", "folders": ["t"]}).to_string();
        format!("{message}{}", " ".repeat(size - message.len()))
    };
    let mut client = WsClient::connect(&server, "/ws");
    client.text(&of_size(64 * 1024));
    assert_eq!(client.json()["type"], "subscribed");
    client.text(&of_size(64 * 1024 + 1));
    client.closed_with(1009);
    let mut client = WsClient::connect(&server, "/ws");
    client.frame(TEXT, of_size(40_000).as_bytes());
    client.frame(CONTINUATION, " ".repeat(40_000).as_bytes());
    client.closed_with(1009);
}

#[test]
fn a_server_that_stops_says_goodbye() {
    let (_dir, mut server) = served(&[]);
    let mut clients = [following(&server, &["t"]), WsClient::connect(&server, "/ws")];
    settle(&mut clients[1]);
    server.terminate();
    for client in &mut clients {
        assert_eq!(client.closed_with(1001), "the server is stopping");
    }
    assert_eq!(server.wait(), 0);
}

#[test]
fn hundreds_of_arrivals_come_in_order_to_a_client_that_comes_late() {
    let (dir, server) = served(&[]);
    let mut sender = server.client();
    for number in 1..=1500 {
        sender
            .put(format!("a rather long name, so that much is to be told/{number}"), &content(1, 3))
            .unwrap()
            .unwrap();
    }
    let (mut client, subscribed) = follower(&server, json!({"type": "subscribe", "folders": [""], "after": 0}));
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    for number in 1..=1500 {
        assert_eq!(client.json()["number"], number);
    }
    server.logged(Log::Events, &["event=websocket"]);
    fs::remove_dir_all(dir.path().join("a rather long name, so that much is to be told")).unwrap();
}
