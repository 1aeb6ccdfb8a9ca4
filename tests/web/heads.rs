//! Heads, and what may follow them (WEB.md, section 1).

use crate::common::{Log, Server};
use crate::http::{Http, served};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

fn with_a_file(arguments: &[&str]) -> (tempfile::TempDir, Server) {
    served(&[("hello.txt", b"hello")], arguments)
}

/// Each row of the table of refused heads, and others of their kind.
#[test]
fn a_head_that_breaks_a_rule_is_refused_and_ends_its_connection() {
    let (dir, server) = with_a_file(&[]);
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(8192));
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(16_384));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(64));
    let cases: &[(&str, u16)] = &[
        // Anything that RFC 9112 does not allow.
        ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x01b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n", 400),
        ("GET /año HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1x\r\nHost: localhost\r\n\r\n", 400),
        ("GET /\r\nHost: localhost\r\n\r\n", 400),
        ("GET hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /#a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: local host\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost:a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        // Content-Length.
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1\r\n\r\na", 400),
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na", 400),
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x1\r\n\r\na", 400),
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9223372036854775808\r\n\r\na", 400),
        (
            "PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("PUT /files/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        // Transfer-Encoding.
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\n\r\n", 501),
        // Versions.
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
        // Sizes.
        (&long_target, 414),
        (&large, 431),
        (&many, 431),
        // Expectations.
        ("PUT /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: a\r\n\r\n", 417),
    ];
    for (head, status) in cases {
        let mut client = Http::connect(&server);
        // A second request behind it must not be heard, whoever thinks that it begins here.
        client.raw(format!("{head}GET /files/hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.answer().problem(*status, "protocol");
        client.closed();
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was stored beside the file and .hostdir");
}

#[test]
fn a_head_is_understood_however_its_bytes_come() {
    let (_dir, server) = with_a_file(&[]);
    let request = b"GET /files/hello.txt HTTP/1.1\r\nHost: localhost\r\nX-Blank: \t a \t\r\n\r\n";
    let mut client = Http::connect(&server);
    for byte in request {
        client.raw([*byte]);
    }
    assert_eq!(client.answer().body, b"hello");
    for middle in 0..request.len() {
        client.raw(&request[..middle]);
        client.raw(&request[middle..]);
        assert_eq!(client.answer().body, b"hello", "in two at {middle}");
    }
}

#[test]
fn a_connection_that_breaks_off_at_any_byte_hurts_no_other() {
    let (_dir, server) = with_a_file(&[]);
    let request = b"PUT /files/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r";
    let mut other = Http::connect(&server);
    for end in 0..request.len() {
        Http::connect(&server).raw(&request[..end]);
        assert!(other.is_alive());
    }
    assert_eq!(other.get("/files/x").status, 404);
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    let one = "GET /files/hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n\
               PUT /files/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nnew\
               HEAD /files/hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.raw(one.repeat(50));
    for round in 0..50 {
        assert_eq!(client.answer().body, b"hello");
        assert_eq!(client.answer().status, 404);
        assert_eq!(client.answer().status, if round == 0 { 201 } else { 200 });
        assert_eq!(client.head().field("content-length"), Some("5"));
    }
    // Some clients end a body with a line of their own.
    client.raw("\r\nGET /files/hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().body, b"hello");
}

#[test]
fn an_answer_does_not_wait_for_what_comes_after_an_empty_line() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    for after in ["\r\n", "", "GET /he"] {
        client.raw(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n{after}"));
        assert_eq!(client.answer().body, b"ok\n");
    }
}

#[test]
fn a_connection_ends_when_its_client_says_so_or_speaks_the_older_version() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    let answer = client.ask("GET /files/hello.txt", "Connection: keep-alive, Close\r\n", b"");
    assert_eq!((answer.field("connection"), &answer.body[..]), (Some("close"), &b"hello"[..]));
    client.closed();
    for head in ["GET /files/hello.txt HTTP/1.0\r\n\r\n", "GET /files/hello.txt HTTP/1.0\r\nHost: localhost\r\n\r\n"] {
        let mut client = Http::connect(&server);
        client.raw(head);
        assert_eq!(client.answer().body, b"hello");
        client.closed();
    }
    for chunked in ["/api/list", "/tar/"] {
        let mut client = Http::connect(&server);
        client.raw(format!("GET {chunked} HTTP/1.0\r\n\r\n"));
        client.answer().problem(505, "protocol");
        client.closed();
    }
}

#[test]
fn a_target_in_absolute_form_says_whom_it_is_asked_of() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    client.raw("GET http://127.0.0.1:9000/files/hello.txt HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.answer().body, b"hello");
    client.raw("GET http://evil.example/files/hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.answer().problem(421, "forbidden");
}

#[test]
fn what_is_there_says_how_it_can_be_asked_for_and_what_is_not_there_is_not_found() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    let cases = [
        ("POST /files/x", "GET, HEAD, PUT, OPTIONS"),
        ("DELETE /files/hello.txt", "GET, HEAD, PUT, OPTIONS"),
        ("get /", "GET, HEAD, OPTIONS"),
        ("PUT /", "GET, HEAD, OPTIONS"),
        ("PUT /healthz", "GET, HEAD, OPTIONS"),
        ("POST /metrics", "GET, HEAD, OPTIONS"),
        ("PUT /api/list", "GET, HEAD, OPTIONS"),
        ("PUT /ws", "GET, OPTIONS"),
        ("HEAD /ws", "GET, OPTIONS"),
    ];
    for (line, allowed) in cases {
        // The first bytes of a connection tell HTTP from other protocols, so that only later requests have odd methods.
        assert!(client.is_alive());
        let answer = client.ask(line, "", b"");
        assert_eq!((answer.status, answer.field("allow")), (405, Some(allowed)), "{line}");
    }
    for target in ["/ws", "/receiver", "/sender"] {
        let answer = client.get(target);
        answer.problem(426, "protocol");
        assert_eq!(answer.field("upgrade"), Some("websocket"));
    }
    for target in ["/files", "/x", "/api", "/api/list/", "/healthz/", "//", "/%2Ffiles/hello.txt", "/Files/hello.txt"] {
        client.get(target).problem(404, "not-found");
    }
    for (target, allowed) in [("/files/x", "GET, HEAD, PUT, OPTIONS"), ("*", "GET, HEAD, PUT, OPTIONS")] {
        let answer = client.ask(&format!("OPTIONS {target}"), "", b"");
        assert_eq!((answer.status, answer.field("allow")), (204, Some(allowed)), "{target}");
    }
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    let targets = [
        "/",
        "/files/hello.txt",
        "/files/nothing",
        "/files/",
        "/api/list",
        "/api/list?path=nothing",
        "/api/server",
        "/tar/",
        "/tar/nothing",
        "/healthz",
        "/metrics",
        "/nothing",
        "/files/a%zz",
    ];
    for target in targets {
        let mut got = client.get(target);
        let head = client.ask(&format!("HEAD {target}"), "", b"");
        assert_eq!(head.status, got.status, "{target}");
        got.fields.retain(|(name, _)| name != "date");
        let told: Vec<_> = head.fields.into_iter().filter(|(name, _)| name != "date").collect();
        assert_eq!(told, got.fields, "{target}");
    }
    assert!(client.is_alive(), "no byte of a body came");
}

#[test]
fn every_answer_forbids_browsers_what_it_can() {
    let (_dir, server) = with_a_file(&[]);
    let mut answers: Vec<_> = ["/files/hello.txt", "/files/nothing", "/api/list", "/healthz", "/tar/", "/nothing"]
        .map(|target| crate::http::get(&server, target))
        .into();
    let mut client = Http::connect(&server);
    client.raw("GET / HTTP/3.0\r\n\r\n");
    answers.push(client.answer());
    answers.push(crate::http::put(&server, "/files/new", "", b"x"));
    for answer in &answers {
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.field("cross-origin-resource-policy"), Some("same-origin"));
        let policy = "sandbox; default-src 'none'; frame-ancestors 'none'";
        assert_eq!(answer.field("content-security-policy"), Some(policy));
        assert!(answer.field("date").unwrap().ends_with(" GMT"));
        assert!(answer.field("server").unwrap().starts_with("hostdir/"));
        assert_eq!(answer.field("set-cookie"), None);
    }
}

#[test]
fn a_body_that_nobody_asked_for_is_passed_over_if_it_is_small() {
    let (_dir, server) = with_a_file(&[]);
    let mut client = Http::connect(&server);
    // What looks like a request within the body is none.
    let inner = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let small = inner.repeat(64 * 1024 / inner.len());
    let length = format!("Content-Length: {}\r\n", small.len());
    assert_eq!(client.ask("GET /files/hello.txt", &length, small.as_bytes()).body, b"hello");
    let chunk = format!("{:x}\r\n{inner}\r\n0\r\nX: y\r\n\r\n", inner.len());
    let answer = client.ask("GET /files/hello.txt", "Transfer-Encoding: chunked\r\n", chunk.as_bytes());
    assert_eq!(answer.body, b"hello");
    assert_eq!(client.ask("POST /nothing", "Content-Length: 3\r\n", b"abc").status, 404);
    assert!(client.is_alive());
    let large = vec![b'x'; 64 * 1024 + 1];
    let answer = client.ask("GET /files/hello.txt", &format!("Content-Length: {}\r\n", large.len()), &large);
    assert_eq!((answer.field("connection"), &answer.body[..]), (Some("close"), &b"hello"[..]));
    client.closed();
    // Whether this one will be sent nobody knows.
    let mut client = Http::connect(&server);
    let answer = client.ask("GET /files/hello.txt", "Content-Length: 3\r\nExpect: 100-continue\r\n", b"");
    assert_eq!((answer.field("connection"), &answer.body[..]), (Some("close"), &b"hello"[..]));
    client.closed();
}

#[test]
fn a_small_body_that_never_comes_is_told() {
    let (_dir, server) = with_a_file(&["--stall-timeout", "1"]);
    for (line, fields) in [
        ("GET /files/hello.txt", "Content-Length: 10\r\n"),
        ("GET /nothing", "Content-Length: 10\r\n"),
        ("GET /files/hello.txt", "Transfer-Encoding: chunked\r\n"),
    ] {
        let mut client = Http::connect(&server);
        client.ask(line, fields, b"3").problem(408, "timeout");
        client.closed();
    }
    let mut client = Http::connect(&server);
    client.ask("GET /files/hello.txt", "Transfer-Encoding: chunked\r\n", b"x\r\n").problem(400, "protocol");
    client.closed();
}

#[test]
fn a_slow_head_is_told_and_silence_is_not() {
    let (_dir, server) = with_a_file(&["--idle-timeout", "5"]);
    std::thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            let mut client = Http::connect(server);
            let began = Instant::now();
            client.raw("GET / HT");
            client.answer().problem(408, "timeout");
            client.closed();
            assert!((Duration::from_secs(9)..Duration::from_secs(60)).contains(&began.elapsed()));
        });
        scope.spawn(move || {
            let mut client = Http::connect(server);
            assert!(client.is_alive());
            client.raw("GET / HT");
            client.answer().problem(408, "timeout");
            client.closed();
        });
        scope.spawn(move || {
            let mut client = Http::connect(server);
            assert!(client.is_alive());
            client.closed();
        });
        scope.spawn(move || {
            // A byte now and then moves no deadline.
            let mut client = Http::connect(server);
            client.raw("GET /");
            let began = Instant::now();
            client.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let is_silent =
                |read: io::Result<usize>| read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            while client.stream.write_all(b"a").is_ok() && is_silent(client.stream.read(&mut [0; 1])) {
                assert!(began.elapsed() < Duration::from_secs(60));
            }
        });
    });
    server.logged(Log::Events, &["event=disconnect", "cause=", "in 10 s"]);
}
