//! Whatever comes first on a connection: it is told what it is from any prefix on, and no bytes are a TLS handshake that ends
//! well, on either side, but those of a peer that takes part in it.
#![no_main]

use hostdir::connection::{Deadlines, Identity, Stream, guess};
use hostdir::wire::{Guess, sniff};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    prefixes(bytes);
    let Some((first, rest)) = bytes.split_first() else { return };
    if first % 2 == 0 { server(rest) } else { client(rest) }
});

/// More bytes never change what is known.
fn prefixes(bytes: &[u8]) {
    let whole = sniff(bytes);
    for end in 0..bytes.len().min(16) {
        let part = sniff(&bytes[..end]);
        assert!(part == Guess::Incomplete || part == whole, "{part:?} became {whole:?}");
    }
}

fn server(bytes: &[u8]) {
    let mut stream = stream(bytes);
    match guess(&mut stream) {
        Ok(Guess::Tls) => assert!(stream.accept_tls(identity()).is_err(), "nobody was there to shake hands with"),
        Ok(Guess::Incomplete) => panic!("it is a guess"),
        _ => {}
    }
}

fn client(bytes: &[u8]) {
    let result = stream(bytes).connect_tls("localhost", Ipv4Addr::LOCALHOST.into(), None);
    assert!(result.is_err(), "nobody was there to shake hands with");
}

/// A stream on which `bytes` come, and then its end.
fn stream(bytes: &[u8]) -> Stream {
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    let listener = LISTENER.get_or_init(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let socket = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (mut peer, _) = listener.accept().expect("somebody connects");
    // As much as the socket takes without anybody who reads.
    peer.write_all(bytes).expect("it fits");
    peer.shutdown(Shutdown::Write).expect("it is open");
    let stream = Stream::new(socket, Deadlines::client(Duration::from_secs(5))).expect("a socket can be set up");
    // The peer must be there until the stream is done with.
    PEER.with(|kept| kept.replace(Some(peer)));
    stream
}

thread_local! {
    static PEER: std::cell::RefCell<Option<TcpStream>> = const { std::cell::RefCell::new(None) };
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        Identity::from_pem(pem.as_bytes(), pem.as_bytes()).expect("it belongs together")
    })
}
