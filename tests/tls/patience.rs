//! A server that takes what is sent as slowly as it wants to, and says so: with TLS, where what was encrypted must be sent and not
//! encrypted again, and without.

use crate::common::content;
use crate::secured::other_identity;
use hostdir::connection::{Await, Connection, Deadlines, Incoming, More, Stream, guess};
use hostdir::error::{Error, Result};
use hostdir::wire::{Kind, Reply};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// More than the buffers of both sides hold.
const SIZE: usize = 24 * 1024 * 1024;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_millis(200);
/// How long the server of these tests takes nothing.
const REST: Duration = Duration::from_millis(700);
/// Bytes of WAIT that are there all the time: the client looks at 4 KiB of it in each silence, so this lasts for long.
const SAID: usize = 400 * 1024;
const PATIENT: Duration = Duration::from_secs(60);

/// A client and a server of it, with TLS or without.
fn pair(is_secured: bool) -> (Stream, Stream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let deadlines = Deadlines { greeting: PATIENT, ..Deadlines::client(SILENCE) };
    let mut client = Stream::new(client, deadlines).unwrap();
    let mut server = Stream::new(listener.accept().unwrap().0, Deadlines::SERVER).unwrap();
    if is_secured {
        let identity = other_identity();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                guess(&mut server).unwrap();
                server.accept_tls(&identity).unwrap();
            });
            client.connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None).unwrap();
        });
    }
    (client, server)
}

/// Sends it all to a server that rests first; what the server gets.
fn send(is_secured: bool, says_so: bool, send: impl FnOnce(&mut Stream) -> Result<()> + Send) -> (Result<()>, Vec<u8>) {
    let (mut client, mut server) = pair(is_secured);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            send(&mut client)?;
            client.close(PATIENT);
            Ok(())
        });
        if says_so {
            let mut wait = Vec::new();
            Reply::Wait.encode(&mut wait);
            server.send(&wait.repeat(SAID / wait.len())).unwrap();
            server.flush(More::Nothing).unwrap();
            std::thread::sleep(REST);
        } else {
            let sent = sending.join().unwrap();
            return (sent, Vec::new());
        }
        let mut taken = vec![0; SIZE];
        let mut count = 0;
        while count < SIZE {
            match server.read(&mut taken[count..]) {
                Ok(some) => count += some,
                Err(_) => break,
            }
        }
        drop(server);
        (sending.join().unwrap(), taken)
    })
}

#[test]
fn a_client_goes_on_sending_to_a_server_that_takes_nothing_and_says_that_it_will() {
    let bytes = content(1, SIZE);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    for is_secured in [false, true] {
        let (sent, taken) = send(is_secured, true, |stream| {
            stream.send(&bytes)?;
            stream.flush(More::Nothing)
        });
        sent.unwrap();
        assert!(taken == bytes, "from memory, secured: {is_secured}");
        let (sent, taken) = send(is_secured, true, |stream| stream.send_file(&file, 0, SIZE as u32).map(drop));
        sent.unwrap();
        assert!(taken == bytes, "from a file, secured: {is_secured}");
    }
}

#[test]
fn a_server_that_takes_nothing_and_says_nothing_is_given_up() {
    for is_secured in [false, true] {
        let (sent, _) = send(is_secured, false, |stream| stream.send(&vec![0; SIZE]));
        assert!(matches!(sent, Err(Error::Timeout { operation: "send", .. })), "{sent:?}");
    }
}

#[test]
fn a_sign_of_life_is_no_answer() {
    for is_secured in [false, true] {
        let (client, server) = pair(is_secured);
        let (mut client, mut server) = (Connection::over(client), Connection::over(server));
        client.welcomed();
        for _ in 0..10 {
            server.send_reply(&Reply::Wait).unwrap();
            server.flush().unwrap();
            assert!(!client.has_input());
        }
        server.send_reply(&Reply::Pong).unwrap();
        server.flush().unwrap();
        crate::common::eventually("the answer is there", || client.has_input());
        let answer = client.next_frame(Await::Message).unwrap();
        assert!(matches!(answer, Some(Incoming::Control(Kind::Pong, _))), "{answer:?}");
    }
}
