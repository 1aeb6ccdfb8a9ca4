//! The same over WebSocket: events and the two older relays, every set of rights, every place; tokens, tickets, revocation.

use crate::common::websocket::{CLOSE, FINAL, PING, WsClient, WsMessage, handshake, masked};
use crate::common::{Log, Server, eventually, put_file, upload_id};
use crate::matrix::sets;
use crate::scene::{FOLDER, Scene, with_token};
use crate::table::{Outcome, Place, Row, rows};
use crate::web::{bearer, get};
use hostdir::wire::{Put, Rights};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Asks for a WebSocket; the status of the answer, if there will be none.
pub fn open(server: &Server, target: &str, fields: &str) -> Result<WsClient, u16> {
    let address = server.address().into();
    let (answer, client) = WsClient::ask(address, &format!("{}{fields}\r\n", handshake(address, target)));
    if answer.status == 101 { Ok(client) } else { Err(answer.status) }
}

/// What a command came to: what was told of folders, or that it is forbidden, at the door or inside.
fn told(server: &Server, token: &str, command: &str, place: Place) -> Result<String, String> {
    let (target, folder) = match command {
        "/ws, subscribe" => ("/ws", folder(place)),
        "relay A, subscribe" => ("/", folder(place)),
        "relay A, message" => ("/", topic_of_a_file(place)),
        "relay B, receiver" => ("/receiver", ""),
        "relay B, sender" => ("/sender", ""),
        other => panic!("{other} is not tested"),
    };
    let mut client = open(server, target, &bearer(token)).map_err(|status| status.to_string())?;
    match command {
        "/ws, subscribe" => return follow(&mut client, folder),
        "relay A, subscribe" => client.text(&format!("subscribe:{folder}")),
        "relay A, message" => client.text(&format!("message:{folder}:text/plain:{}:eA==", name(place))),
        "relay B, sender" => {
            client.text(name(place));
            client.binary(b"x");
            client.binary(b"__end__");
        }
        _ => {}
    }
    // It is answered in its turn.
    let _ = client.raw(&masked(FINAL | PING, b"still here"));
    loop {
        match client.receive().map_err(|error| error.to_string())? {
            None => return Err("the end".into()),
            Some(frame) if frame.first & 0xf == CLOSE => {
                return Err(String::from_utf8_lossy(&frame.payload).into_owned());
            }
            Some(frame) if frame.payload == b"still here" => return Ok(String::new()),
            Some(_) => {}
        }
    }
}

fn folder(place: Place) -> &'static str {
    match place {
        Place::Inside => "a/b/deep",
        Place::Folder => FOLDER,
        Place::Above => "a",
        Place::Beside => "a/bc",
    }
}

/// The topic in which [`name`] is a path at the place.
fn topic_of_a_file(place: Place) -> &'static str {
    match place {
        Place::Inside => FOLDER,
        Place::Folder => "a",
        Place::Above => panic!("a file above has no topic"),
        Place::Beside => "a/bc",
    }
}

fn name(place: Place) -> &'static str {
    if place == Place::Folder { "b" } else { "sent" }
}

/// Follows a folder from the start; what was told until its position is.
fn follow(client: &mut WsClient, folder: &str) -> Result<String, String> {
    client.text(&json!({"type": "subscribe", "folders": [folder], "after": 0}).to_string());
    let first = client.json();
    if first["type"] == "error" {
        return Err(first["code"].as_str().unwrap().into());
    }
    assert_eq!(first["type"], "subscribed", "{first}");
    // A second subscribe is answered after everything that the first one had to tell.
    client.text(&json!({"type": "subscribe", "folders": [folder]}).to_string());
    let mut told = String::new();
    loop {
        let event = client.json();
        if event["type"] == "subscribed" {
            return Ok(told);
        }
        told += &event.to_string();
    }
}

fn check(server: &Server, token: &str, row: &Row, rights: Rights, place: Place) {
    let Some(expected) = row.outcome(rights, place) else { return };
    let got = told(server, token, row.command, place);
    let what = format!("{} {place:?} with {rights}: {got:?}", row.command);
    match (expected, got) {
        (Outcome::Allowed, Ok(_)) => {}
        (Outcome::Narrowed, Ok(told)) => {
            assert!(told.contains("a/b/news") && !told.contains("a/bc") && !told.contains("missed"), "{what}");
        }
        (Outcome::Forbidden, Err(why)) => {
            assert!(why == "403" || why == "forbidden" || why.contains("not allowed"), "{what}");
        }
        _ => panic!("{what}, and not {expected:?}"),
    }
}

/// Tokens with every set of rights.
fn tokens(scene: &Scene) -> Vec<(Rights, String)> {
    sets().map(|set| (set, scene.token(&set.joined("-"), &set.to_string()))).collect()
}

#[test]
fn every_command_of_websocket_does_what_the_table_says_with_every_set_of_rights_at_every_place() {
    let scene = Scene::new();
    let (master, tokens) = (scene.master("master"), tokens(&scene));
    let server = scene.serve(&[]);
    crate::matrix::publish_both(&server, &master);
    let rows = rows("WebSocket");
    assert_eq!((rows.len(), tokens.len()), (5, 31));
    for (rights, token) in &tokens {
        for row in rows.iter().filter(|row| !row.command.starts_with("relay B")) {
            Place::ALL.into_iter().for_each(|place| check(&server, token, row, *rights, place));
        }
    }
    server.logged(Log::Events, &["event=denied", "token=subscribe", "command=subscribe", "path=a/bc", "why="]);
    server.logged(Log::Events, &["event=denied", "token=add", "command=message", "path=a/bc/sent", "why="]);
    assert!(!scene.path().join("a/bc/sent").exists() && scene.path().join("a/b/sent").exists());
}

#[test]
fn relay_b_does_what_the_table_says_wherever_its_topic_is() {
    let scene = Scene::new();
    let tokens = tokens(&scene);
    let rows = rows("WebSocket");
    for (command, of) in [("relay B, receiver", folder as fn(Place) -> _), ("relay B, sender", topic_of_a_file)] {
        let row = rows.iter().find(|row| row.command == command).unwrap();
        for place in Place::ALL.into_iter().filter(|place| row.outcome(Rights::ALL, *place).is_some()) {
            let server = scene.serve(&["--relay-topic", of(place)]);
            for (rights, token) in &tokens {
                check(&server, token, row, *rights, place);
            }
        }
    }
    assert!(!scene.path().join("a/bc/sent").exists() && scene.path().join("a/b/sent").exists());
}

#[test]
fn a_token_that_does_not_hold_opens_no_websocket() {
    let scene = Scene::new();
    scene.master("valid");
    let (revoked, expired) = (scene.master("revoked"), scene.expired());
    scene.revoke("revoked");
    let server = scene.serve(&[]);
    for fields in [String::new(), bearer(&revoked), bearer(&expired), bearer("hd_wrong")] {
        for target in ["/ws", "/", "/receiver", "/sender"] {
            assert_eq!(open(&server, target, &fields).err(), Some(401), "{target} with {fields}");
        }
    }
}

#[test]
fn a_ticket_opens_what_it_is_for_and_gives_no_more_than_its_token() {
    let scene = Scene::new();
    let token = scene.token("page", "subscribe");
    let server = scene.serve(&[]);
    let ticket = |purpose: &str| {
        let body: Value =
            serde_json::from_str(&get(&server, &format!("/api/ticket?for={purpose}"), &token).body).unwrap();
        body["ticket"].as_str().unwrap().to_owned()
    };
    let (events, relay) = (ticket("events"), ticket("relay"));
    let with = |target: &str, ticket: &str| open(&server, &format!("{target}?ticket={ticket}"), "");
    let mut client = with("/ws", &events).unwrap();
    assert!(follow(&mut client, "a/b").is_ok());
    assert_eq!(follow(&mut client, "a/bc").unwrap_err(), "forbidden");
    assert!(with("/", &relay).is_ok() && with("/receiver", &relay).is_ok());
    assert_eq!(with("/sender", &relay).err(), Some(403));
    assert_eq!((with("/", &events).err(), with("/ws", &relay).err()), (Some(401), Some(401)));
}

#[test]
fn who_follows_everything_by_websocket_hears_of_its_folder_only() {
    let scene = Scene::new();
    let (token, master) = (scene.token("narrow", "subscribe"), scene.master("master"));
    let server = scene.serve(&[]);
    let mut client = open(&server, "/ws", &bearer(&token)).ok().unwrap();
    client.text(&json!({"type": "subscribe", "folders": [""]}).to_string());
    assert_eq!(client.json()["type"], "subscribed");
    let mut publisher = with_token(&server, &master);
    for (number, path) in ["a/bc/x", "top", "a/b/x", "other/x", "a/b/y"].into_iter().enumerate() {
        let put = Put { upload: Some(upload_id(number as u64)), ..put_file(path, 1) };
        publisher.put_asking(put, b"x").unwrap().unwrap();
    }
    let mut arrived = Vec::new();
    while arrived.len() < 2 {
        let event = client.json();
        let path = event["path"].as_str().unwrap().to_owned();
        assert!(path.starts_with("a/b/"), "{event}");
        if event["type"] == "arrived" {
            arrived.push(path);
        }
    }
    assert_eq!(arrived, ["a/b/x", "a/b/y"]);
}

#[test]
fn a_websocket_ends_when_its_token_is_revoked_and_hears_why() {
    let scene = Scene::new();
    let (token, other) = (scene.token("gone", "all"), scene.token("stays", "all"));
    let server = scene.serve(&["--relay-topic", FOLDER]);
    let connect = |target: &str, token: &str| open(&server, target, &bearer(token)).ok().unwrap();
    let mut events = connect("/ws", &token);
    events.text(&json!({"type": "subscribe", "folders": [FOLDER]}).to_string());
    assert_eq!(events.json()["type"], "subscribed");
    let (mut relay, mut receiver, mut sender) =
        (connect("/", &token), connect("/receiver", &token), connect("/sender", &token));
    relay.text(&format!("subscribe:{FOLDER}"));
    // Its file is on its way: whoever listens hears so.
    let mut bystander = connect("/receiver", &other);
    sender.text("begun");
    sender.binary(b"half");
    assert_eq!(bystander.message(), WsMessage::Text("START:begun".into()));
    assert_eq!(events.json()["type"], "arriving");
    assert_eq!(receiver.message(), WsMessage::Text("START:begun".into()));
    scene.revoke("gone");
    for client in [&mut events, &mut relay, &mut receiver, &mut sender] {
        let reason = loop {
            match client.message() {
                WsMessage::Closed(code, reason) => {
                    assert_eq!(code, Some(1008), "{reason}");
                    break reason;
                }
                WsMessage::End => panic!("it hears nothing"),
                _ => {}
            }
        };
        assert!(reason.contains("revoked"), "{reason}");
    }
    server.logged(Log::Transfers, &["event=upload", "via=relay-b", "path=a/b/begun", "status=incomplete"]);
    assert!(!scene.path().join("a/b/begun").exists());
    let mut bystander = connect("/ws", &other);
    assert!(follow(&mut bystander, FOLDER).is_ok());
}

#[test]
fn anonymous_rights_are_those_of_the_relays_too() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--anonymous", "subscribe"]);
    assert!(open(&server, "/receiver", "").is_ok() && open(&server, "/ws", "").is_ok());
    assert_eq!(open(&server, "/sender", "").err(), Some(403));
    let mut client = open(&server, "/", "").ok().unwrap();
    client.text("message:chat:text/plain:x:eA==");
    assert!(client.closed_with(1008).contains("not allowed"));
    eventually("it is logged", || server.log(Log::Events).iter().any(|line| line.contains("path=chat/x")));
    assert!(!dir.path().join("chat").exists());
}
