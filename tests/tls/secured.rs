//! A server that speaks TLS, clients of it, and what can be put in between.

use crate::common::Log;
use crate::scene::{Run, Scene, client, run};
use hostdir::connection::{Await, Connection, Deadlines, Fingerprint, Identity, Incoming, Stream, guess};
use hostdir::wire::{
    End, Entries, Entry, EntryKind, FileHeader, Guess, Hello, Listed, RawBytes, Reply, Request, TransferId, Version,
    Welcome,
};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a key of its own, and a user who knows servers.
pub struct Secured {
    pub scene: Scene,
    pub keys: TempDir,
}

impl Secured {
    pub fn new() -> Self {
        Self::with(&[], |_| {})
    }

    /// Fills the host directory, then starts the server with further arguments.
    pub fn with(arguments: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let keys = TempDir::new().unwrap();
        let folder = keys.path().join("server").display().to_string();
        let scene = Scene::with(&[&["--tls", "--tls-dir", &folder], arguments].concat(), fill);
        Self { scene, keys }
    }

    /// The key of the server, as its log says.
    pub fn key(&self) -> Fingerprint {
        key_in(&self.scene.server.logged(Log::Events, &["event=certificate"]))
    }

    /// The file with the servers that the user knows.
    pub fn known(&self) -> PathBuf {
        self.keys.path().join("known-servers")
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.scene.server.address()
    }

    /// A client that was told the key, at any address.
    pub fn told(&self, address: SocketAddrV4) -> Command {
        let mut command = self.untold(address);
        command.args(["--fingerprint", &self.key().to_string()]);
        command
    }

    /// A client that was told nothing, and has a file of known servers.
    pub fn untold(&self, address: SocketAddrV4) -> Command {
        let mut command = client(address, &self.scene.downloads());
        command.arg("--known-servers").arg(self.known());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        run(self.told(self.address()).args(arguments))
    }

    /// A connection that has greeted.
    pub fn connect(&self) -> Connection {
        greeted(self.stream())
    }

    /// A connection within TLS on which nothing was said yet.
    pub fn stream(&self) -> Stream {
        let socket = TcpStream::connect(self.address()).unwrap();
        let mut stream = Stream::new(socket, Deadlines::client(PATIENCE)).unwrap();
        let seen = stream.connect_tls("127.0.0.1", Ipv4Addr::LOCALHOST.into(), Some(self.key())).unwrap();
        assert_eq!(seen, self.key());
        stream
    }
}

/// The fingerprint in a line.
pub fn key_in(line: &str) -> Fingerprint {
    let (_, rest) = line.split_once("sha256//").unwrap();
    format!("sha256//{}", &rest[..44]).parse().unwrap()
}

/// Greets as a client, and takes the welcome.
pub fn greeted(stream: Stream) -> Connection {
    let mut connection = Connection::over(stream);
    connection.send_preamble().unwrap();
    connection
        .send_request(&Request::Hello(Hello { min_version: 1, max_version: 1, agent: None, token: None }))
        .unwrap();
    connection.flush().unwrap();
    connection.read_preamble().unwrap();
    assert!(matches!(reply(&mut connection), Reply::Welcome(_)));
    connection.welcomed();
    connection
}

pub fn reply(connection: &mut Connection) -> Reply {
    match connection.next_frame(Await::Message).unwrap() {
        Some(Incoming::Control(kind, body)) => Reply::decode(kind, body).unwrap(),
        other => panic!("no reply: {other:?}"),
    }
}

/// A certificate that nobody has seen before.
pub fn other_identity() -> Identity {
    let (certificate, key) = pem();
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

/// A certificate and its key.
pub fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// What a connection to something in between has brought.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Everything that the client sent, as it passed the wire, a connection each.
    pub raw: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What the client sent within TLS.
    pub plaintext: Arc<Mutex<Vec<u8>>>,
}

impl Seen {
    pub fn connections(&self) -> Vec<Vec<u8>> {
        self.raw.lock().unwrap().clone()
    }

    /// Nothing of these words was given away, and nothing at all within TLS.
    #[track_caller]
    pub fn knows_nothing_of(&self, words: &[&str]) {
        let raw = self.connections().concat();
        assert!(!raw.is_empty(), "nobody came");
        for word in words {
            assert!(!raw.windows(word.len()).any(|window| window == word.as_bytes()), "{word} was given away");
        }
        assert_eq!(*self.plaintext.lock().unwrap(), b"", "something was said within TLS");
    }
}

/// Listens, and leaves each connection to `script`.
pub fn listen(script: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was asked for") };
    let script = Arc::new(script);
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            thread::spawn(move || script(socket));
        }
    });
    address
}

/// Passes everything on, and notes what clients send.
pub fn recorder(target: SocketAddrV4) -> (SocketAddrV4, Seen) {
    let seen = Seen::default();
    let raw = Arc::clone(&seen.raw);
    let address = listen(move |mut client| {
        let mut server = TcpStream::connect(target).unwrap();
        let place = {
            let mut raw = raw.lock().unwrap();
            raw.push(Vec::new());
            raw.len() - 1
        };
        let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Write);
        });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            raw.lock().unwrap()[place].extend_from_slice(&buffer[..count]);
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Write);
    });
    (address, seen)
}

/// Somebody in between who ends TLS with a certificate of his own, and listens.
pub fn impostor() -> (SocketAddrV4, Seen) {
    let identity = other_identity();
    let plaintext: Arc<Mutex<Vec<u8>>> = Arc::default();
    let heard = Arc::clone(&plaintext);
    let target = listen(move |socket| {
        let mut stream = Stream::new(socket, Deadlines::SERVER).unwrap();
        if matches!(guess(&mut stream), Ok(Guess::Tls)) && stream.accept_tls(&identity).is_ok() {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                heard.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        }
    });
    let (address, seen) = recorder(target);
    (address, Seen { plaintext, ..seen })
}

/// A server within TLS that lists one file of `size` bytes and answers each GET with FILE and what `script` does then.
pub fn fake(size: usize, script: impl Fn(Connection) + Send + Sync + 'static) -> (SocketAddrV4, Fingerprint) {
    let identity = other_identity();
    let key = identity.fingerprint();
    let address = listen(move |socket| {
        let mut stream = Stream::new(socket, Deadlines::SERVER).unwrap();
        if matches!(guess(&mut stream), Ok(Guess::Tls)) && stream.accept_tls(&identity).is_ok() {
            converse(Connection::over(stream), size as u64, &script);
        }
    });
    (address, key)
}

fn converse(mut connection: Connection, size: u64, script: &dyn Fn(Connection)) {
    let Ok(()) = connection.read_preamble() else { return };
    connection.send_preamble().unwrap();
    while let Ok(Some(Incoming::Control(kind, body))) = connection.next_frame(Await::Message) {
        match Request::decode(kind, body).unwrap() {
            Request::Hello(_) => {
                let (agent, name, max_file_size) = (None, None, None);
                let welcome = Welcome {
                    version: 1,
                    agent,
                    name,
                    read_only: false,
                    overwrite: false,
                    max_file_size,
                    rights: None,
                };
                connection.send_reply(&Reply::Welcome(welcome)).unwrap();
                connection.welcomed();
            }
            Request::List(_) => {
                let entry = Entry { name: RawBytes(b"f".to_vec()), kind: EntryKind::File, size, modified: 0 };
                let entries = Entries { folder: RawBytes(Vec::new()), entries: vec![entry] };
                connection.send_reply(&Reply::Entries(entries)).unwrap();
                connection.send_reply(&Reply::Listed(Listed { entries: 1, ..Listed::default() })).unwrap();
            }
            Request::Get(_) => {
                let header = FileHeader {
                    transfer: TransferId(1),
                    size,
                    modified: 0,
                    version: Version::new(b"v1").unwrap(),
                    offset: 0,
                    length: size,
                };
                connection.send_reply(&Reply::File(header)).unwrap();
                connection.flush().unwrap();
                return script(connection);
            }
            _ => {}
        }
        let _ = connection.flush();
    }
}

/// The END of a file.
pub fn end_of(bytes: &[u8]) -> Reply {
    Reply::End(End { digest: Some(hostdir::transfer::digest_bytes(bytes)), ..End::default() })
}
