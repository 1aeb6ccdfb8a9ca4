//! Who may ask (WEB.md, section 2; promise 13).

use crate::common::{Log, Server};
use crate::http::{Answer, Http, served};
use tempfile::TempDir;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn with_a_file(arguments: &[&str]) -> (TempDir, Server) {
    served(&[("hello.txt", b"hello"), ("evil.html", b"<script>"), ("evil.svg", b"<svg/>")], arguments)
}

/// Asks with a `Host` and fields of its own.
fn ask(server: &Server, line: &str, host: &str, fields: &str) -> Answer {
    let mut client = Http::connect(server);
    client.raw(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.answer()
}

#[test]
fn a_name_of_somebody_else_that_leads_here_is_turned_away() {
    let (dir, server) = with_a_file(&["--host-name", "files.example,attic", "--host-name", "cellar"]);
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_str().unwrap();
    let own = [
        "127.0.0.1",
        "127.0.0.1:1",
        "192.0.2.1:9000",
        "[::1]",
        "[2001:db8::1]:9000",
        "localhost",
        "LocalHost:80",
        "files.example",
        "attic:9000",
        "cellar.",
        machine,
        &format!("{machine}.local"),
    ];
    for host in own {
        assert_eq!(ask(&server, "GET /files/hello.txt", host, "").body, b"hello", "{host}");
    }
    for host in ["evil.example", "files.example.evil", "localhost.evil.example", "127.0.0.1.evil.example", "attic2"] {
        let detail = ask(&server, "GET /files/hello.txt", host, "").problem(421, "forbidden");
        assert!(detail.contains("--host-name"), "{detail}");
        ask(&server, "PUT /files/x", host, "").problem(421, "forbidden");
        ask(&server, "GET /ws", host, UPGRADE).problem(421, "forbidden");
        ask(&server, "OPTIONS /files/x", host, "").problem(421, "forbidden");
        ask(&server, "GET /nothing", host, "").problem(421, "forbidden");
    }
    assert!(!dir.path().join("x").exists());
    server.logged(Log::Events, &["event=refused", "status=421", "evil.example"]);
}

#[test]
fn a_page_of_another_site_can_write_nothing_and_see_nothing() {
    let (dir, server) = with_a_file(&[]);
    for origin in ["http://evil.example", "null", "http://localhost:1", "https://localhost:1", "ftp://localhost", "x"] {
        let fields = format!("Origin: {origin}\r\n");
        for target in ["/files/x", "/files/hello.txt"] {
            ask(&server, &format!("PUT {target}"), "localhost", &fields).problem(403, "forbidden");
        }
        for target in ["/", "/ws", "/receiver", "/sender"] {
            let detail = ask(&server, &format!("GET {target}"), "localhost", &format!("{fields}{UPGRADE}"));
            assert!(detail.problem(403, "forbidden").contains("--allow-origin"));
        }
        let read = ask(&server, "GET /files/hello.txt", "localhost", &fields);
        assert_eq!((read.status, read.field("access-control-allow-origin")), (200, None), "{origin}");
        let preflight = format!("{fields}Access-Control-Request-Method: PUT\r\n");
        let preflight = ask(&server, "OPTIONS /files/x", "localhost", &preflight);
        assert!(preflight.fields.iter().all(|(name, _)| !name.starts_with("access-control-")), "{preflight:?}");
    }
    let cross_site = "Sec-Fetch-Site: cross-site\r\n";
    ask(&server, "PUT /files/x", "localhost", cross_site).problem(403, "forbidden");
    ask(&server, "GET /ws", "localhost", &format!("{cross_site}{UPGRADE}")).problem(403, "forbidden");
    assert_eq!(ask(&server, "GET /files/hello.txt", "localhost", cross_site).status, 200);
    assert!(!dir.path().join("x").exists());
}

#[test]
fn the_servers_own_page_and_programs_may_write() {
    let (dir, server) = with_a_file(&[]);
    let cases = [
        ("localhost:9000", "Origin: http://localhost:9000\r\n"),
        ("192.0.2.1", "Origin: https://192.0.2.1\r\nSec-Fetch-Site: same-origin\r\n"),
        ("[::1]:9000", "Origin: http://[::1]:9000\r\nSec-Fetch-Site: cross-site\r\n"),
        ("localhost", "Sec-Fetch-Site: none\r\n"),
        ("localhost", ""),
    ];
    for (number, (host, fields)) in cases.iter().enumerate() {
        let answer = ask(&server, &format!("PUT /files/own-{number}"), host, fields);
        assert_eq!(answer.status, 201, "{host} {fields}");
        assert!(dir.path().join(format!("own-{number}")).exists());
        assert_eq!(answer.field("access-control-allow-origin"), None);
    }
}

#[test]
fn an_origin_that_was_named_may_write_and_see() {
    let (dir, server) = with_a_file(&["--allow-origin", "https://ok.example,null"]);
    for (number, origin) in ["https://ok.example", "null"].iter().enumerate() {
        let fields = format!("Origin: {origin}\r\nSec-Fetch-Site: cross-site\r\n");
        let put = ask(&server, &format!("PUT /files/{number}"), "localhost", &fields);
        let read = ask(&server, "GET /files/hello.txt", "localhost", &fields);
        let refused = ask(&server, "GET /files/nothing", "localhost", &fields);
        for answer in [&put, &read, &refused] {
            assert_eq!(answer.field("access-control-allow-origin"), Some(*origin));
            assert_eq!(answer.field("access-control-expose-headers"), Some("*"));
            assert_eq!(answer.field("vary"), Some("Origin"));
            assert_eq!(answer.field("access-control-allow-credentials"), None);
        }
        assert!(
            (put.status, read.status, refused.status) == (201, 200, 404)
                && dir.path().join(number.to_string()).exists()
        );
        let asks =
            format!("{fields}Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Private-Network: true\r\n");
        let preflight = ask(&server, "OPTIONS /files/x", "localhost", &asks);
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.field("access-control-allow-methods"), Some("GET, HEAD, PUT"));
        let allowed = preflight.field("access-control-allow-headers").unwrap();
        for name in ["Hostdir-On-Conflict", "Hostdir-Modified", "Hostdir-Digest", "Hostdir-Upload", "Hostdir-Prefix"] {
            assert!(allowed.contains(name), "{name}");
        }
        assert_eq!(preflight.field("access-control-allow-private-network"), Some("true"));
        assert_eq!(preflight.field("access-control-max-age"), Some("600"));
    }
    let other = ask(&server, "GET /files/hello.txt", "localhost", "Origin: https://ok.example.evil\r\n");
    assert_eq!((other.field("access-control-allow-origin"), other.field("vary")), (None, Some("Origin")));
}

#[test]
fn a_hosted_page_or_picture_is_saved_and_never_shown_as_a_page_of_this_server() {
    let (_dir, server) = with_a_file(&[]);
    for (name, kind) in [("evil.html", "text/html; charset=utf-8"), ("evil.svg", "image/svg+xml")] {
        let answer = crate::http::get(&server, &format!("/files/{name}"));
        assert_eq!(answer.field("content-type"), Some(kind));
        assert_eq!(answer.field("content-disposition"), Some(&*format!("attachment; filename=\"{name}\"")));
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.contains("sandbox;") && policy.contains("default-src 'none'"), "{policy}");
    }
}

#[test]
fn the_page_runs_nothing_but_itself_and_asks_nobody_but_its_server() {
    let (_dir, server) = with_a_file(&[]);
    let page = ask(&server, "GET /", "localhost:9000", "");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src "), "{policy}");
    for part in [
        "connect-src 'self' ws://localhost:9000 wss://localhost:9000;",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http:"), "{policy}");
}
