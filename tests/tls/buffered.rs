//! What is buffered within TLS counts as there, and what is there only in part does not.

use crate::common::eventually;
use crate::secured::{PATIENCE, other_identity};
use hostdir::connection::{Deadlines, More, Stream, guess};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything may take that need not be waited for.
const LONG: Duration = Duration::from_secs(20);

/// Two ends of a connection within TLS, and the two sockets in between, through which the test carries what it wants.
struct Ends {
    client: Stream,
    server: Stream,
    to_client: TcpStream,
    from_server: TcpStream,
}

impl Ends {
    fn new() -> Self {
        let (client, mut to_client) = sockets();
        let (server, mut from_server) = sockets();
        let identity = other_identity();
        let client = std::thread::spawn(move || {
            let mut stream = Stream::new(client, Deadlines::client(PATIENCE)).unwrap();
            stream.connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None).unwrap();
            stream
        });
        let server = std::thread::spawn(move || {
            let mut stream = Stream::new(server, Deadlines::SERVER).unwrap();
            guess(&mut stream).unwrap();
            stream.accept_tls(&identity).unwrap();
            stream
        });
        carry(&mut to_client, &mut from_server, &client, &server);
        Self { client: client.join().unwrap(), server: server.join().unwrap(), to_client, from_server }
    }

    /// What the server has sent, as it is on the wire.
    fn sent(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.server.send(bytes).unwrap();
        self.server.flush(More::Nothing).unwrap();
        let mut wire = Vec::new();
        eventually("it is on the wire", || {
            let mut buffer = [0; 65_536];
            if let Ok(count) = self.from_server.read(&mut buffer) {
                wire.extend_from_slice(&buffer[..count]);
            }
            wire.len() > bytes.len()
        });
        wire
    }
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    other.set_nonblocking(true).unwrap();
    other.set_nodelay(true).unwrap();
    (one, other)
}

/// Passes everything on until both sides have shaken hands.
fn carry(one: &mut TcpStream, other: &mut TcpStream, client: &JoinHandle<Stream>, server: &JoinHandle<Stream>) {
    let pass = |from: &mut TcpStream, to: &mut TcpStream| {
        let mut buffer = [0; 16_384];
        match from.read(&mut buffer) {
            Ok(count) => to.write_all(&buffer[..count]).unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    eventually("they have shaken hands", || {
        pass(one, other);
        pass(other, one);
        client.is_finished() && server.is_finished()
    });
}

#[test]
fn plaintext_that_was_not_taken_is_input_although_the_socket_is_empty() {
    let mut ends = Ends::new();
    let wire = ends.sent(&[7; 16_000]);
    ends.to_client.write_all(&wire).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut came = ends.client.fill(deadline, ("test", PATIENCE)).unwrap();
    ends.client.take(came);
    assert!(came > 0 && came < 16_000, "{came}");
    // A record is decrypted as a whole, so nothing of it is in the socket any more.
    let (other, _open) = UnixStream::pair().unwrap();
    while came < 16_000 {
        assert!(!ends.client.has_buffered_input() && ends.client.has_input(), "{came}");
        let began = Instant::now();
        let ready = ends.client.wait_for_input_or(other.as_fd(), LONG).unwrap();
        assert!(ready.input && began.elapsed() < LONG, "{came}");
        assert!(ends.client.wait_for_input(LONG).unwrap() && began.elapsed() < LONG, "{came}");
        let count = ends.client.fill(deadline, ("test", PATIENCE)).unwrap();
        ends.client.take(count);
        came += count;
    }
    assert_eq!(came, 16_000);
    assert!(!ends.client.has_input());
    let ready = ends.client.wait_for_input_or(other.as_fd(), Duration::from_millis(1)).unwrap();
    assert!(!ready.input && !ready.other);
}

#[test]
fn a_part_of_a_record_is_no_input_yet() {
    let mut ends = Ends::new();
    let wire = ends.sent(b"a frame or so");
    let (other, mut waker) = UnixStream::pair().unwrap();
    let (first, rest) = wire[..wire.len() - 1].split_at(7);
    let mut line = ends.to_client.try_clone().unwrap();
    let first = first.to_vec();
    let late = std::thread::spawn(move || {
        // Not a synchronisation: it is to come while somebody waits, and the test holds if it does not.
        std::thread::sleep(Duration::from_millis(10));
        line.write_all(&first).unwrap();
    });
    let ready = ends.client.wait_for_input_or(other.as_fd(), Duration::from_millis(200)).unwrap();
    assert!(!ready.input, "woken for nothing");
    late.join().unwrap();
    for piece in rest.chunks(7) {
        ends.to_client.write_all(piece).unwrap();
        assert!(!ends.client.has_input());
    }
    assert!(!ends.client.wait_for_input(Duration::from_millis(20)).unwrap());
    // Whoever waits for two things still hears of the other one.
    waker.write_all(b"!").unwrap();
    let ready = ends.client.wait_for_input_or(other.as_fd(), LONG).unwrap();
    assert!(ready.other && !ready.input);
    ends.to_client.write_all(&wire[wire.len() - 1..]).unwrap();
    eventually("it is whole", || ends.client.has_input());
    assert_eq!(ends.client.fill(Instant::now() + PATIENCE, ("test", PATIENCE)).unwrap(), 13);
    assert_eq!(ends.client.unread(), b"a frame or so");
}

#[test]
fn the_end_is_input_too() {
    let mut ends = Ends::new();
    let wire = ends.sent(b"last");
    ends.to_client.write_all(&wire).unwrap();
    let deadline = Instant::now() + PATIENCE;
    assert_eq!(ends.client.fill(deadline, ("test", PATIENCE)).unwrap(), 4);
    ends.client.take(4);
    assert!(!ends.client.has_input());
    let server = ends.server;
    let closing = std::thread::spawn(move || server.close(Duration::from_millis(100)));
    let mut wire = Vec::new();
    eventually("it says goodbye", || {
        let mut buffer = [0; 1_000];
        if let Ok(count) = ends.from_server.read(&mut buffer) {
            wire.extend_from_slice(&buffer[..count]);
        }
        !wire.is_empty()
    });
    ends.to_client.write_all(&wire).unwrap();
    eventually("the end is seen", || ends.client.has_input());
    assert_eq!(ends.client.fill(deadline, ("test", PATIENCE)).unwrap(), 0);
    closing.join().unwrap();
}
