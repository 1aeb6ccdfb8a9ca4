//! Wrong tokens slow down the address that they come from, and nobody else.

use crate::common::{Frame, RawClient, Server, eventually};
use crate::scene::Scene;
use hostdir::wire::{ErrorCode, Reply};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Attempts with a wrong token.
const STORM: usize = 1000;

/// A connection from an address of this machine.
pub fn connect_from(server: &Server, address: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(server.address()).into()).unwrap();
    socket.into()
}

fn from(server: &Server, last: u8) -> RawClient {
    RawClient::over(connect_from(server, Ipv4Addr::new(127, 0, 0, last))).unwrap()
}

/// What a token from an address comes to.
fn attempt(server: &Server, last: u8, token: &str) -> Option<ErrorCode> {
    from(server, last).greet_as(Some(token)).unwrap().err().map(|fault| fault.code)
}

/// Has so many wrong tokens wait for their answer at 127.0.0.2.
fn waiting(server: &Server, count: usize) -> Vec<RawClient> {
    let ask = |_| {
        let mut client = from(server, 2);
        client.say_hello_as(Some("hd_wrong")).unwrap();
        client
    };
    (0..count).map(ask).collect()
}

fn has_answer(client: &mut RawClient) -> bool {
    let mut byte = [0; 9];
    client.stream.set_nonblocking(true).unwrap();
    // The preamble comes before the answer.
    client.stream.peek(&mut byte).is_ok_and(|count| count == byte.len())
}

#[test]
fn a_thousand_wrong_tokens_are_throttled_and_a_right_one_from_elsewhere_is_not() {
    let scene = Scene::new();
    let token = scene.master("right");
    let server = scene.serve(&[]);
    let (answers, left) = (Mutex::new(HashMap::new()), AtomicUsize::new(STORM));
    std::thread::scope(|scope| {
        for _ in 0..25 {
            scope.spawn(|| {
                // Whoever waits for an answer leaves the other attempts to the others.
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let code = attempt(&server, 2, "hd_wrong").unwrap();
                    *answers.lock().unwrap().entry(code).or_insert(0) += 1;
                }
            });
        }
        for other in 3..23 {
            assert_eq!(attempt(&server, other, &token), None, "a right token is let in during the storm");
        }
    });
    let answers = answers.into_inner().unwrap();
    let count = |code| answers.get(&code).copied().unwrap_or(0);
    assert_eq!(count(ErrorCode::Busy) + count(ErrorCode::Unauthorized), STORM, "{answers:?}");
    assert!(count(ErrorCode::Busy) > STORM / 2, "{answers:?}");
    // Now its address is known, and its next answers wait for seconds; nobody else's does.
    let mut other = 23..=254;
    eventually("others are answered while those of the first address wait", || {
        let mut pending = waiting(&server, 8);
        let other = other.next().unwrap();
        assert_eq!(attempt(&server, other, &token), None);
        assert_eq!(attempt(&server, other, "hd_wrong"), Some(ErrorCode::Unauthorized), "a first mistake");
        pending.iter_mut().any(|client| !has_answer(client))
    });
}

#[test]
fn who_waits_for_the_answer_to_a_wrong_token_does_not_keep_the_server_from_stopping() {
    let scene = Scene::new();
    scene.master("right");
    let mut server = scene.serve(&[]);
    let pending = waiting(&server, 20);
    server.terminate();
    assert_eq!(server.wait(), 0);
    drop(pending);
}

#[test]
fn a_missing_token_is_no_wrong_one() {
    let scene = Scene::new();
    scene.master("right");
    let server = scene.serve(&[]);
    for _ in 0..20 {
        let mut client = from(&server, 2);
        client.say_hello_as(None).unwrap();
        client.read_preamble().unwrap();
        let Frame::Reply(Reply::Error(fault)) = client.receive().unwrap() else { panic!("let in") };
        assert_eq!(fault.code, ErrorCode::Unauthorized);
    }
}
