//! The opening handshake with the real server, and who may open one.

use super::common::Server;
use super::common::websocket::{FINAL, PING, WsClient, handshake, masked};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tempfile::TempDir;

const TARGETS: [&str; 4] = ["/ws", "/", "/receiver", "/sender"];

fn served(arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

fn address(server: &Server) -> SocketAddr {
    server.address().into()
}

#[test]
fn a_good_one_is_answered_as_the_standard_has_it() {
    let (_dir, server) = served(&[]);
    for target in TARGETS {
        let head = handshake(address(&server), target);
        let head =
            head.replace("Upgrade: websocket", "upgrade: WebSocket").replace(": Upgrade", ": keep-alive, UPGRADE");
        let extras = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        let (answer, mut client) = WsClient::ask(address(&server), &format!("{head}{extras}\r\n"));
        assert_eq!(answer.status, 101, "{target}");
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert_eq!(answer.field("connection"), Some("Upgrade"));
        // RFC 6455, section 1.3.
        assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for name in ["sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        client.frame(FINAL | PING, b"there?");
        assert_eq!(client.receive().unwrap().unwrap().payload, b"there?");
    }
}

#[test]
fn frames_that_come_with_the_handshake_are_not_lost() {
    let (_dir, server) = served(&[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!("{}\r\n", handshake(address(&server), "/ws"));
    stream.write_all(&[head.as_bytes(), &masked(FINAL | PING, b"early"), &masked(FINAL | 8, b"")].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"\x8a\x05early\x88\x00"), "{}", answer.escape_ascii());
}

#[test]
fn what_is_no_handshake_is_refused_with_its_status() {
    let (_dir, server) = served(&[]);
    let good = handshake(address(&server), "/ws");
    let cases = [
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 8\r\n", 426),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 14\r\n", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!", 400),
        ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n", 400),
        ("Upgrade: websocket\r\n", "", 426),
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n", 426),
        ("Connection: Upgrade\r\n", "Connection: keep-alive\r\n", 426),
        ("GET /ws HTTP/1.1", "GET /ws HTTP/1.0", 426),
        ("GET /ws HTTP/1.1", "GET /wss HTTP/1.1", 404),
        ("GET /ws HTTP/1.1", "PUT /ws HTTP/1.1", 405),
    ];
    for (from, to, status) in cases {
        let head = good.replace(from, to);
        assert_ne!(head, good, "{from}");
        let (answer, _) = WsClient::ask(address(&server), &format!("{head}\r\n"));
        assert_eq!(answer.status, status, "{from:?} -> {to:?}");
        if to.contains("Version: 8") {
            assert_eq!(answer.field("sec-websocket-version"), Some("13"));
        }
    }
    let (answer, _) = WsClient::ask(address(&server), &format!("{}\r\n", good.replace("Upgrade: websocket\r\n", "")));
    assert_eq!(answer.field("upgrade"), Some("websocket"), "what would be spoken here");
}

#[test]
fn pages_of_other_sites_are_refused_and_those_that_were_named_are_not() {
    let (_dir, server) = served(&["--allow-origin", "https://ok.example", "--host-name", "files.example"]);
    let own = format!("http://{}", server.address());
    for target in TARGETS {
        let head = handshake(address(&server), target);
        let cases = [
            (format!("Origin: {own}\r\n"), 101),
            ("Origin: https://ok.example\r\n".into(), 101),
            ("Origin: http://evil.example\r\n".into(), 403),
            ("Origin: null\r\n".into(), 403),
            (format!("Origin: {own}0\r\n"), 403),
            ("Sec-Fetch-Site: cross-site\r\n".into(), 403),
            (format!("Sec-Fetch-Site: cross-site\r\nOrigin: {own}\r\n"), 101),
        ];
        for (fields, status) in cases {
            let (answer, _) = WsClient::ask(address(&server), &format!("{head}{fields}\r\n"));
            assert_eq!(answer.status, status, "{fields} at {target}");
        }
        let host = format!("Host: {}\r\n", server.address());
        for (name, status) in [("evil.example", 421), ("files.example", 101), ("localhost:1", 101)] {
            let head = head.replace(&host, &format!("Host: {name}\r\n"));
            let (answer, _) = WsClient::ask(address(&server), &format!("{head}\r\n"));
            assert_eq!(answer.status, status, "{name} at {target}");
        }
    }
}
