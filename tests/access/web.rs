//! The same over HTTP: every command, every set of rights, every place; tokens in `Authorization`, and tickets.

use crate::common::{Log, Server};
use crate::matrix::{publish_both, sets};
use crate::scene::{FOLDER, Scene, with_token};
use crate::sockets::open;
use crate::table::{Outcome, Place, Row, rows};
use crate::throttle::connect_from;
use hostdir::wire::{Put, Request, Rights};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// An answer: its status, its head and its body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends one request with these fields, and takes the answer.
pub fn ask(server: &Server, method: &str, target: &str, fields: &str, body: &str) -> Answer {
    // Each from an address of its own, so that no wrong token slows down the next one.
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let [high, low] = ASKED.fetch_add(1, Relaxed).to_be_bytes();
    let mut stream = connect_from(server, Ipv4Addr::new(127, 9, high, low));
    let length = if method == "PUT" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{fields}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // An answer that breaks off is looked at as far as it came.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {target}: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub fn get(server: &Server, target: &str, token: &str) -> Answer {
    ask(server, "GET", target, &bearer(token), "")
}

/// The address of a command at a place, with its method and further fields.
fn request(command: &str, place: Place) -> (&'static str, String, &'static str) {
    let (folder, file) = match place {
        Place::Inside => ("a/b/deep", "a/b/inside.txt"),
        Place::Folder => (FOLDER, FOLDER),
        Place::Above => ("a", "a"),
        Place::Beside => ("a/bc", "a/bc/secret.txt"),
    };
    let live = "07".repeat(16);
    match command {
        "GET /files" => ("GET", format!("/files/{file}"), ""),
        "HEAD /files" => ("HEAD", format!("/files/{file}"), ""),
        "GET /files, live" => ("GET", format!("/files/{file}?live={live}"), ""),
        "PUT /files" => ("PUT", format!("/files/{file}"), ""),
        "PUT /files, overwrite" => ("PUT", format!("/files/{file}"), "Hostdir-On-Conflict: overwrite\r\n"),
        "GET /api/upload" => ("GET", format!("/api/upload?path={file}&upload={live}"), ""),
        "GET /api/list" => ("GET", format!("/api/list?path={folder}"), ""),
        "GET /api/list, recursive" => ("GET", format!("/api/list?path={folder}&recursive=1"), ""),
        "GET /tar" => ("GET", format!("/tar/{folder}"), ""),
        "GET /metrics" => ("GET", "/metrics".into(), ""),
        "GET /api/server" => ("GET", "/api/server".into(), ""),
        "GET /api/ticket" => ("GET", format!("/api/ticket?for=download&path={file}"), ""),
        other => panic!("{other} is not tested"),
    }
}

fn check(server: &Server, token: &str, row: &Row, rights: Rights, place: Place) {
    let Some(expected) = row.outcome(rights, place) else { return };
    let (method, target, fields) = request(row.command, place);
    let answer = ask(server, method, &target, &(bearer(token) + fields), if method == "PUT" { "x" } else { "" });
    let what = format!("{} {place:?} with {rights}: {} {}", row.command, answer.status, answer.body);
    match expected {
        Outcome::Allowed => assert!(answer.status != 403 && answer.status != 401, "{what}"),
        Outcome::Narrowed => {
            assert_eq!(answer.status, 200, "{what}");
            assert!(
                !answer.body.contains("bc") && !answer.body.contains("above") && !answer.body.contains("secret"),
                "{what}"
            );
            assert!(answer.body.contains('b'), "{what}");
        }
        Outcome::Forbidden => assert_eq!(answer.status, 403, "{what}"),
        Outcome::NotFound => assert_eq!(answer.status, 404, "{what}"),
    }
}

#[test]
fn every_command_of_http_does_what_the_table_says_with_every_set_of_rights_at_every_place() {
    let scene = Scene::new();
    let master = scene.master("master");
    let tokens: Vec<(Rights, String)> =
        sets().map(|set| (set, scene.token(&set.joined("-"), &set.to_string()))).collect();
    let server = scene.serve(&["--allow-overwrite"]);
    publish_both(&server, &master);
    let rows = rows("HTTP");
    assert_eq!((rows.len(), tokens.len()), (12, 31));
    for (rights, token) in &tokens {
        for row in &rows {
            Place::ALL.into_iter().for_each(|place| check(&server, token, row, *rights, place));
        }
    }
    server.logged(Log::Events, &["event=denied", "token=add", "command=GET", "path=/files/a/bc/secret.txt", "why="]);
}

#[test]
fn who_has_no_token_that_holds_gets_the_page_and_nothing_else() {
    let scene = Scene::new();
    let valid = scene.master("valid");
    let (revoked, expired) = (scene.master("revoked"), scene.expired());
    scene.revoke("revoked");
    let server = scene.serve(&[]);
    let kinds =
        [String::new(), bearer(&revoked), bearer(&expired), bearer("hd_wrong"), "Authorization: Basic eDp5\r\n".into()];
    for fields in &kinds {
        for (method, target) in [
            ("GET", "/files/top.txt"),
            ("HEAD", "/files/top.txt"),
            ("GET", "/files/missing"),
            ("PUT", "/files/new"),
            ("GET", "/api/list"),
            ("GET", "/api/server"),
            ("GET", "/api/ticket?for=events"),
            ("GET", "/tar/"),
            ("GET", "/metrics"),
        ] {
            let answer = ask(&server, method, target, fields, "");
            assert_eq!(answer.status, 401, "{method} {target} with {fields}");
            assert!(answer.head.contains("WWW-Authenticate: Bearer"), "{}", answer.head);
        }
        for target in ["/", "/healthz"] {
            assert_eq!(ask(&server, "GET", target, fields, "").status, 200, "{target} with {fields}");
        }
    }
    assert_eq!(get(&server, "/files/top.txt", &valid).body, "content of top.txt");
    assert!(!scene.path().join("new").exists());
    let log = server.log(Log::Events).join("\n");
    assert!([&valid, &revoked, &expired].iter().all(|token| !log.contains(token.as_str())), "a token is in the log");
}

#[test]
fn what_is_there_and_what_is_not_are_answered_with_the_same_bytes() {
    let scene = Scene::new();
    let token = scene.token("narrow", "all");
    let server = scene.serve(&[]);
    for (there, missing) in
        [("a/bc/secret.txt", "a/bc/nothing.txt"), ("a/bc", "a/xx"), ("other", "nobod"), ("a/above.txt", "a/xxxxx.txt")]
    {
        for target in
            ["/files/PATH", "/files/PATH?live=07070707070707070707070707070707", "/api/list?path=PATH", "/tar/PATH"]
        {
            let answers = [there, missing].map(|path| get(&server, &target.replace("PATH", path), &token));
            let [one, other] = answers.map(|answer| {
                let head: Vec<&str> = answer.head.lines().filter(|line| !line.starts_with("Date:")).collect();
                (head.join("\n"), answer.body)
            });
            assert_eq!(one, other, "{target} {there}");
        }
    }
}

/// The bytes of a chunked body that is text.
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    text
}

#[test]
fn an_archive_from_above_has_the_way_and_nothing_beside_it() {
    let scene = Scene::new();
    let folders = ["--folder", "a/b/deep", "--folder", "a/bc", "--folder", "not/there"];
    let token = scene.said(&[&["add", "some", "--rights", "read"], &folders[..]].concat());
    let server = scene.serve(&[]);
    let archive = unchunked(&get(&server, "/tar/", token.trim_end()).body);
    let mut archive = tar::Archive::new(archive.as_bytes());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let is_timeless = entry.header().mtime().unwrap() == 0;
        (entry.path().unwrap().to_str().unwrap().to_owned(), is_timeless)
    });
    let expected = [
        ("a/", true),
        ("a/b/", true),
        ("a/b/deep/", false),
        ("a/b/deep/file.txt", false),
        ("a/bc/", false),
        ("a/bc/secret.txt", false),
    ];
    assert_eq!(entries.collect::<Vec<_>>(), expected.map(|(name, is_timeless)| (name.to_owned(), is_timeless)));
}

#[test]
fn a_ticket_stands_for_a_token_for_one_path_and_one_purpose() {
    let scene = Scene::new();
    let token = scene.token("phone", "read");
    let server = scene.serve(&[]);
    let ticket = |path: &str| {
        let answer = get(&server, &format!("/api/ticket?for=download&path={path}"), &token);
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["seconds"], 60);
        body["ticket"].as_str().unwrap().to_owned()
    };
    let with = |method: &str, target: &str, ticket: &str| {
        ask(&server, method, &format!("{target}?ticket={ticket}"), "", "").status
    };
    let good = ticket("a/b/inside.txt");
    assert_eq!(with("GET", "/files/a/b/inside.txt", &good), 200);
    assert_eq!(with("GET", "/files/a/b/deep/file.txt", &good), 401);
    assert_eq!(with("PUT", "/files/a/b/inside.txt", &good), 401);
    assert_eq!(with("GET", "/api/list", &good), 401);
    // It gives no right that the token does not have.
    assert_eq!(with("GET", "/files/a/bc/secret.txt", &ticket("a/bc/secret.txt")), 403);
    assert_eq!(with("GET", "/tar/a/b", &ticket("a/b")), 200);
    // Nor longer than the token has it.
    let unused = ticket("a/b/inside.txt");
    scene.revoke("phone");
    crate::common::eventually("the server takes notice", || with("GET", "/files/a/b/inside.txt", &unused) == 401);
    let log = server.log(Log::Events).join("\n");
    assert!(!log.contains(&good) && !log.contains(&unused), "a ticket is in the log");
}

#[test]
fn where_nobody_needs_a_token_nobody_needs_a_ticket() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    let answer = ask(&server, "GET", "/api/ticket?for=download&path=top.txt", "", "");
    assert_eq!((answer.status, answer.body.trim_end()), (200, "{\"seconds\":60,\"ticket\":null}"));
}

#[test]
fn a_token_in_the_address_is_taken_from_the_relays_only() {
    let scene = Scene::new();
    let token = scene.master("phone");
    let server = scene.serve(&[]);
    for target in ["/files/top.txt", "/api/list", "/tar/", "/api/server"] {
        assert_eq!(ask(&server, "GET", &format!("{target}?token={token}"), "", "").status, 401, "{target}");
    }
    for target in ["/", "/receiver", "/sender"] {
        assert_eq!(open(&server, target, "").err(), Some(401), "{target}");
        assert!(open(&server, &format!("{target}?token={token}"), "").is_ok(), "{target}");
    }
    assert_eq!(open(&server, &format!("/ws?token={token}"), "").err(), Some(401));
    assert!(!server.log(Log::Events).join("\n").contains(&token), "a token is in the log");
}

#[test]
fn a_download_by_http_ends_when_its_token_is_revoked() {
    let scene = Scene::new();
    let token = scene.token("gone", "read");
    let large = 1_u64 << 30;
    std::fs::File::create(scene.path().join("a/b/large")).unwrap().set_len(large).unwrap();
    let server = scene.serve(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let request = format!("GET /files/a/b/large HTTP/1.1\r\nHost: localhost\r\n{}\r\n", bearer(&token));
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    scene.revoke("gone");
    server.logged(Log::Transfers, &["event=download", "via=web", "path=a/b/large", "status=incomplete"]);
    let mut count = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(some @ 1..) = stream.read(&mut buffer) {
        count += some as u64;
    }
    assert!(count < large);
}

#[test]
fn the_rights_are_told_to_a_page() {
    let scene = Scene::new();
    let (token, master) = (scene.token("phone", "read,add"), scene.master("all"));
    let server = scene.serve(&["--allow-overwrite"]);
    let told =
        |token: &str| -> serde_json::Value { serde_json::from_str(&get(&server, "/api/server", token).body).unwrap() };
    assert_eq!(told(&token)["rights"], serde_json::json!(["read", "add"]));
    assert_eq!((&told(&token)["overwrite"], &told(&master)["overwrite"]), (&false.into(), &true.into()));
    // The native protocol says the same.
    let mut client = with_token(&server, &token);
    client.send(Request::Put(Put { ask: true, ..crate::common::put_file("x", 1) })).unwrap();
    client.refused(hostdir::wire::ErrorCode::Forbidden);
}
