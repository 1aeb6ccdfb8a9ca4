//! Bounds, as clients that speak HTTP meet them (promise 8).

use crate::common::{Log, content, eventually};
use crate::http::{Http, get, put, served};
use std::fs::File;
use std::time::{Duration, Instant};

#[test]
fn a_browser_without_a_place_is_told_to_come_back() {
    let (_dir, server) = served(&[("f", b"x")], &["--max-connections", "8"]);
    let mut held: Vec<_> = (0..7).map(|_| Http::connect(&server)).collect();
    assert!(held.iter_mut().all(Http::is_alive));
    let mut newcomer = Http::connect(&server);
    let refused = newcomer.get("/files/f");
    assert!(refused.problem(503, "busy").contains("limit of 7 connections of one address"));
    assert_eq!((refused.field("retry-after"), refused.field("connection")), (Some("5"), Some("close")));
    newcomer.closed();
    // One that speaks late, and one that speaks the other protocol.
    let mut late = Http::connect(&server);
    std::thread::sleep(Duration::from_millis(20));
    late.get("/").problem(503, "busy");
    let mut native = server.connection();
    native.say_hello().unwrap();
    native.read_preamble().unwrap();
    native.refused(hostdir::wire::ErrorCode::Busy);
    held.pop();
    eventually("a place comes back", || {
        let mut client = Http::connect(&server);
        client.get("/files/f").status == 200
    });
}

#[test]
fn a_reader_that_takes_too_little_is_cut_and_costs_nobody_else() {
    let (dir, server) = served(&[("f", b"x")], &["--stall-timeout", "1"]);
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let mut slow: Vec<_> = ["/files/big", "/tar/"]
        .into_iter()
        .map(|target| {
            let mut client = Http::connect(&server);
            client.send(&format!("GET {target}"), "", b"");
            client.head();
            client
        })
        .collect();
    let began = Instant::now();
    let mut other = Http::connect(&server);
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(other.get("/files/f").body, b"x");
    }
    for path in ["path=big", "path=/"] {
        server.logged(Log::Transfers, &["event=download", path, "status=incomplete", "in 1 s"]);
    }
    slow.iter_mut().for_each(Http::gone);
}

#[test]
fn a_full_disk_is_told_before_the_body() {
    let (dir, server) = served(&[], &["--min-free-space", "1000TiB"]);
    let mut client = Http::connect(&server);
    client.send("PUT /files/f", "Content-Length: 1000000\r\nExpect: 100-continue\r\n", b"");
    client.answer().problem(507, "no-space");
    put(&server, "/files/small", "", b"x").problem(507, "no-space");
    assert!(!dir.path().join("f").exists() && !dir.path().join("small").exists());
}

#[test]
fn what_a_rule_of_the_operator_removed_is_said_to_be_gone() {
    let (_dir, server) = served(&[], &["--topic-quota", "chat=100KiB"]);
    for number in 1..=2 {
        assert_eq!(put(&server, &format!("/files/chat/{number}"), "", &content(number, 60_000)).status, 201);
    }
    eventually("the older one has made room", || get(&server, "/files/chat/1").status != 200);
    get(&server, "/files/chat/1").problem(410, "expired");
    assert_eq!(get(&server, "/files/chat/2").status, 200);
    get(&server, "/files/chat/3").problem(404, "not-found");
}

/// A connection that waits for its next request holds no buffer, whatever it did before.
#[test]
fn idle_connections_are_held_in_little_memory() {
    const COUNT: u64 = 500;
    let (_dir, server) = served(&[("f", &content(1, 60_000))], &["--max-connections", "1000"]);
    // What the first connections need is needed once.
    let mut held: Vec<_> = (0..20).map(|_| Http::connect(&server)).collect();
    for client in &mut held {
        assert_eq!(client.get("/files/f").body.len(), 60_000);
        assert_eq!(client.put("/files/f", "", &content(1, 60_000)).status, 200);
    }
    let before = server.memory_kib("VmRSS");
    for _ in 0..COUNT {
        let mut client = Http::connect(&server);
        assert_eq!(client.get("/files/f").body.len(), 60_000);
        assert_eq!(client.put("/files/f", "", &content(1, 60_000)).status, 200);
        held.push(client);
    }
    let each = server.memory_kib("VmRSS").saturating_sub(before) / COUNT;
    // What is left is the stacks of a build without optimisation.
    assert!(each < 110, "{each} KiB for each");
    assert!(held.iter_mut().all(Http::is_alive));
}
