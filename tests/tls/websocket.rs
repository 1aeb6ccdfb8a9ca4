//! WebSocket within TLS.

use crate::common::websocket::{BINARY, FINAL, TEXT, handshake, masked};
use crate::secured::{PATIENCE, Secured};
use hostdir::connection::{More, Stream};
use std::fs;
use std::time::Instant;

/// Waits until so many bytes are there, and takes them.
fn take(stream: &mut Stream, count: usize) -> Vec<u8> {
    while stream.unread().len() < count {
        assert_ne!(stream.fill(Instant::now() + PATIENCE, ("test", PATIENCE)).unwrap(), 0, "the end");
    }
    stream.take(count).to_vec()
}

/// What TLS has decrypted already is not waited for on the socket, which has nothing more to tell.
#[test]
fn a_file_is_stored_as_soon_as_all_of_it_is_there() {
    let tls = Secured::new();
    let mut stream = tls.stream();
    let head = handshake(tls.address().into(), "/sender");
    stream.send(format!("{head}\r\n").as_bytes()).unwrap();
    stream.flush(More::Nothing).unwrap();
    while !stream.unread().ends_with(b"\r\n\r\n") {
        assert_ne!(stream.fill(Instant::now() + PATIENCE, ("test", PATIENCE)).unwrap(), 0, "an answer");
    }
    let answer = stream.unread().to_vec();
    stream.take(answer.len());
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    let frames = [masked(FINAL | TEXT, b"f"), masked(FINAL | BINARY, &[7; 10_000]), masked(FINAL | BINARY, b"__end__")];
    stream.send(&frames.concat()).unwrap();
    stream.flush(More::Nothing).unwrap();
    // A server that waits would ask for a sign of life first.
    let said = b"File transfer successful";
    assert_eq!(take(&mut stream, 2 + said.len()), [&[FINAL | TEXT, said.len() as u8], &said[..]].concat());
    assert_eq!(fs::read(tls.scene.hosted("live/f")).unwrap(), [7; 10_000]);
}
