//! Peers that say nothing, or do not read: short times, so the crate's WebSocket in this process, and once the real server.

use super::common::websocket::{BINARY, CLOSE, FINAL, PING, PONG, TEXT, WsClient, WsMessage, masked};
use super::common::{Server, is_long};
use super::echo;
use hostdir::connection::Heartbeat;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn heartbeat(ping: u64, gone: u64) -> Heartbeat {
    Heartbeat { ping: Duration::from_millis(ping), gone: Duration::from_millis(gone) }
}

#[test]
fn a_silent_peer_is_pinged_and_one_that_never_answers_is_gone() {
    let mut client = WsClient::connect_to(echo::start(heartbeat(50, 400)), "/");
    let mut pings = 0;
    loop {
        let frame = client.receive().unwrap().unwrap();
        match frame.first {
            first if first == FINAL | PING => pings += 1,
            first if first == FINAL | CLOSE => break,
            other => panic!("{other:x}"),
        }
    }
    assert!((1..=9).contains(&pings), "{pings} pings");
}

#[test]
fn a_peer_that_is_told_something_all_the_time_must_show_that_it_lives_too() {
    let mut silent = WsClient::connect_to(echo::start_talker(heartbeat(50, 400)), "/");
    let mut pings = 0;
    loop {
        match silent.receive().unwrap().unwrap().first & 0xf {
            PING => pings += 1,
            TEXT => {}
            CLOSE => break,
            other => panic!("{other:x}"),
        }
    }
    assert!((1..=9).contains(&pings), "{pings} pings");
    let mut alive = WsClient::connect_to(echo::start_talker(heartbeat(50, 60_000)), "/");
    while alive.pings < 20 {
        assert_eq!(alive.message(), WsMessage::Text("news".into()));
    }
    alive.frame(FINAL | PING, b"and is heard");
    while alive.receive().unwrap().unwrap().payload != b"and is heard" {}
}

#[test]
fn a_peer_whose_next_message_waits_is_not_given_up_for_the_pongs_behind_it() {
    let mut client = WsClient::connect_to(echo::start_busy(heartbeat(1000, 2000)), "/");
    client.text("in between");
    assert_eq!(client.message(), WsMessage::Text("done".into()));
}

#[test]
fn a_silent_peer_that_answers_stays() {
    // In all it is silent for longer than it may be at once, which is long enough for a busy machine.
    let mut client = WsClient::connect_to(echo::start(heartbeat(100, 5000)), "/");
    for _ in 0..60 {
        let ping = client.receive().unwrap().unwrap();
        assert_eq!(ping.first, FINAL | PING);
        client.frame(FINAL | PONG, &ping.payload);
    }
    client.text("still here");
    assert_eq!(client.message(), WsMessage::Text("still here".into()));
}

#[test]
fn a_slow_reader_of_a_long_message_shows_by_its_pongs_that_it_lives() {
    // The kernels' buffers hold all of it, so the sender is done long before the reader, and its next ping stands behind it.
    let mut client = WsClient::connect_to(echo::start(heartbeat(500, 8000)), "/");
    let bytes = vec![7; 2 << 20];
    let writer = client.raw_meanwhile(vec![masked(FINAL | BINARY, &bytes)]);
    let mut got = 0;
    loop {
        let frame = client.receive().unwrap().unwrap();
        match frame.first & 0xf {
            PING => client.frame(FINAL | PONG, &frame.payload),
            CLOSE => panic!("closed after {got} bytes"),
            _ => got += frame.payload.len(),
        }
        if frame.first & 0xf < CLOSE && frame.first & FINAL != 0 {
            break;
        }
        // A reader that is slow, for longer than it may be silent.
        std::thread::sleep(Duration::from_millis(120));
    }
    writer.join().unwrap();
    assert_eq!(got, bytes.len());
}

#[test]
fn the_real_server_pings_after_20_s_and_gives_up_after_60() {
    if !is_long() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut client = WsClient::connect(&server, "/ws");
    let began = Instant::now();
    for number in 1..=2 {
        assert_eq!(client.receive().unwrap().unwrap().first, FINAL | PING);
        assert!(began.elapsed().as_secs().abs_diff(number * 20) <= 2, "{:?}", began.elapsed());
    }
    while client.receive().unwrap().unwrap().first == FINAL | PING {}
    assert!(began.elapsed().as_secs().abs_diff(60) <= 2, "{:?}", began.elapsed());
}
