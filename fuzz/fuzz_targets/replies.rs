//! What a hostile server can say to a client: it may be refused, but never panics and never delivers a byte too many.
#![no_main]

use hostdir::client::cancel::Cancel;
use hostdir::client::session::Session;
use hostdir::connection::{Deadlines, Stream};
use hostdir::error::Result;
use hostdir::transfer::{Progress, Sink};
use hostdir::wire::{Get, List, Request};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let mut script = b"\x8ahostdir\0\0\0\x03\x81\xa1\0\x01".to_vec();
    // One input in four also forges the greeting.
    match bytes.split_first() {
        Some((first, rest)) if first % 4 != 0 => script.extend_from_slice(rest),
        Some((_, rest)) => script = rest.to_vec(),
        None => {}
    }
    let server = server();
    server.scripts.send(script).expect("the server lives as long as the process");
    converse(server.address);
    server.done.lock().expect("nobody panics with it").recv().expect("it answers every script");
});

struct Server {
    address: SocketAddr,
    scripts: SyncSender<Vec<u8>>,
    done: std::sync::Mutex<Receiver<()>>,
}

/// Says each script to one connection and closes it.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (scripts, queue) = sync_channel::<Vec<u8>>(0);
        let (finished, done) = sync_channel(0);
        std::thread::spawn(move || {
            for script in queue {
                let (socket, _) = listener.accept().expect("a client");
                say(&socket, &script);
                if finished.send(()).is_err() {
                    return;
                }
            }
        });
        Server { address, scripts, done: std::sync::Mutex::new(done) }
    })
}

fn say(mut socket: &TcpStream, script: &[u8]) {
    // The client may hang up in the middle.
    let _ = socket.write_all(script);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

fn converse(address: SocketAddr) {
    let socket = TcpStream::connect(address).expect("somebody listens");
    let stream = Stream::new(socket, Deadlines::client(Duration::from_secs(5))).expect("a socket can be set up");
    let registration = Cancel::default().register(stream.interrupt());
    let Ok(mut session) = Session::greet(stream, address, None, registration) else { return };
    let listed = session.list(List { recursive: true, ..List::default() }, &mut |folder, entry| {
        folder.join(&entry.name).expect("only names that can be joined are handed on");
        Ok(())
    });
    if listed.is_ok() {
        let _ = fetch(&mut session);
        let _ = session.ping();
    }
}

fn fetch(session: &mut Session) -> Result<()> {
    session.request(&Request::Get(Get::whole(b"f")))?;
    session.flush()?;
    let header = session.file_header()?;
    let mut counted = Counted { bytes: 0, most: header.length };
    session.file_body(&header, &mut counted, blake3::Hasher::new(), &Progress::default())?;
    assert_eq!(counted.bytes, header.length, "a body that ends well has the length that was announced");
    Ok(())
}

struct Counted {
    bytes: u64,
    most: u64,
}

impl Sink for Counted {
    fn store(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        assert!(self.bytes <= self.most, "more bytes than announced");
        Ok(())
    }

    fn take_back(&mut self, bytes: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(())
    }
}
