//! The cases of the table, against the crate's WebSocket and against everything in the real server that speaks it.

use super::cases::{AskedOf, Case, Expected, all};
use super::common::Server;
use super::common::websocket::{CLOSE, CONTINUATION, FINAL, PING, PONG, WsClient};
use super::echo;
use hostdir::connection::Heartbeat;
use std::net::SocketAddr;
use tempfile::TempDir;

/// Sends what a case sends; what comes of it, as far as the case expects something.
fn run(case: &Case, address: SocketAddr, target: &str) -> Vec<Expected> {
    let mut client = WsClient::connect_to(address, target);
    let writer = client.raw_meanwhile(case.writes.clone());
    let mut found = Vec::new();
    let mut message: Option<(u8, Vec<u8>)> = None;
    while found.len() < case.expected.len() {
        let Ok(Some(frame)) = client.receive() else { break };
        match frame.first & 0xf {
            PING => {}
            PONG => found.push(Expected::Pong(frame.payload)),
            CLOSE => {
                found.push(match frame.payload.split_first_chunk() {
                    Some((code, _)) => Expected::Close(u16::from_be_bytes(*code)),
                    None => Expected::CloseWithoutCode,
                });
                writer.join().unwrap();
                client.end(&frame.payload);
                return found;
            }
            CONTINUATION => message.as_mut().expect("something to continue").1.extend(frame.payload),
            opcode => assert_eq!(message.replace((opcode, frame.payload)), None),
        }
        if frame.first & FINAL != 0
            && let Some((opcode, payload)) = message.take_if(|_| frame.first & 0xf < CLOSE)
        {
            found.push(Expected::Message(opcode, payload));
        }
    }
    writer.join().unwrap();
    client.close(&1000_u16.to_be_bytes());
    found
}

fn check(address: SocketAddr, target: &str, asked_of: &[AskedOf]) -> usize {
    let cases: Vec<Case> = all().into_iter().filter(|case| asked_of.contains(&case.asked_of)).collect();
    for case in &cases {
        // Long payloads would make a failure unreadable.
        let found = run(case, address, target);
        assert!(found == case.expected, "{} at {target}: {}", case.name, shown(&found));
    }
    cases.len()
}

fn shown(found: &[Expected]) -> String {
    let mut text = format!("{found:?}");
    text.truncate(500);
    text
}

#[test]
fn every_case_of_the_table_holds() {
    let address = echo::start(Heartbeat::SERVER);
    let asked = check(address, "/", &[AskedOf::Echo, AskedOf::TakersOfText, AskedOf::Everybody]);
    assert!(asked > 300, "only {asked} cases");
}

#[test]
fn the_server_keeps_to_the_rules_wherever_it_speaks_websocket() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    for target in ["/ws", "/", "/receiver", "/sender"] {
        assert!(check(server.address().into(), target, &[AskedOf::Everybody]) > 100);
    }
    assert!(check(server.address().into(), "/ws", &[AskedOf::TakersOfText]) > 40);
}
