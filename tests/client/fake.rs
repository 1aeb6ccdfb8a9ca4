//! A server that says what a test tells it to say.

use crate::scene::{Run, client, run};
use hostdir::wire::{
    Digest, End, Entries, Entry, EntryKind, FRAME_HEADER, FileHeader, FrameHeader, Kind, Listed, PREAMBLE, Phase,
    RawBytes, Reply, Request, TransferId, Version, Welcome,
};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A listening fake, and a place for what the client makes of it.
pub struct Fake {
    pub address: SocketAddrV4,
    pub local: TempDir,
}

/// One connection to a fake. What cannot be sent any more is not: the client may have hung up.
pub struct Peer {
    stream: TcpStream,
}

impl Fake {
    /// Every connection is handled by `script`, from its first byte on.
    pub fn raw(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was asked for") };
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
                let script = Arc::clone(&script);
                thread::spawn(move || script(&mut Peer { stream }));
            }
        });
        Self { address, local: TempDir::new().unwrap() }
    }

    /// Greets as a server does, then leaves each request to `script`, until the client closes.
    pub fn start(script: impl Fn(&mut Peer, Request) + Send + Sync + 'static) -> Self {
        Self::raw(move |peer| {
            if peer.greet(welcome()) {
                while let Some(request) = peer.request() {
                    script(peer, request);
                }
            }
        })
    }

    /// Lists one file of `size` bytes, and leaves the answers to GET to `script`.
    pub fn with_file(name: &'static [u8], size: u64, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::start(move |peer, request| match request {
            Request::List(_) => {
                peer.entries(b"", &[file(name, size)]);
                peer.reply(&Reply::Listed(Listed { entries: 1, ..Listed::default() }));
            }
            Request::Get(_) => script(peer),
            _ => {}
        })
    }

    pub fn downloads(&self) -> PathBuf {
        self.local.path().join("downloads")
    }

    pub fn client(&self) -> Command {
        client(self.address, &self.downloads())
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        run(self.client().args(arguments))
    }

    /// Nothing may stand outside of the download folder, and nothing but `names` in it.
    #[track_caller]
    pub fn left(&self, names: &[&str]) {
        let list = |path: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
            names.retain(|name| name != ".hostdir");
            names.sort();
            names
        };
        let outside = list(self.local.path());
        assert!(outside.is_empty() || outside == ["downloads"], "{outside:?}");
        assert_eq!(list(&self.downloads()), names);
    }
}

impl Peer {
    /// Takes preamble and HELLO, and answers both; whether the client is still there.
    pub fn greet(&mut self, welcome: Welcome) -> bool {
        if !self.hear_hello() {
            return false;
        }
        self.send(&PREAMBLE);
        self.reply(&Reply::Welcome(welcome));
        true
    }

    /// Takes preamble and HELLO, and says nothing; whether the client is still there.
    pub fn hear_hello(&mut self) -> bool {
        let mut preamble = [0; PREAMBLE.len()];
        self.stream.read_exact(&mut preamble).is_ok() && self.request().is_some()
    }

    /// The next request; `None` once the client hung up. File bytes are passed over.
    pub fn request(&mut self) -> Option<Request> {
        loop {
            let (kind, body) = self.frame()?;
            if kind != Kind::Data {
                return Some(Request::decode(kind, &body).unwrap());
            }
        }
    }

    /// The next frame; `None` once the client hung up.
    pub fn frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        let mut header = [0; FRAME_HEADER];
        self.stream.read_exact(&mut header).ok()?;
        let header = FrameHeader::decode(&header, Phase::Session).unwrap().unwrap();
        let mut body = vec![0; header.length as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some((header.kind, body))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn reply(&mut self, reply: &Reply) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        self.send(&bytes);
    }

    pub fn data(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(1024 * 1024) {
            self.send(&FrameHeader { kind: Kind::Data, length: chunk.len() as u32 }.encode());
            self.send(chunk);
        }
    }

    pub fn entries(&mut self, folder: &[u8], entries: &[Entry]) {
        self.reply(&Reply::Entries(Entries { folder: RawBytes(folder.to_vec()), entries: entries.to_vec() }));
    }

    pub fn listed(&mut self, entries: u64) {
        self.reply(&Reply::Listed(Listed { entries, ..Listed::default() }));
    }

    /// A whole, honest answer to a GET.
    pub fn file(&mut self, bytes: &[u8]) {
        self.reply(&Reply::File(header(bytes.len() as u64)));
        self.data(bytes);
        self.end(bytes);
    }

    pub fn end(&mut self, bytes: &[u8]) {
        let digest = Some(Digest(*blake3::hash(bytes).as_bytes()));
        self.reply(&Reply::End(End { digest, ..End::default() }));
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Waits until the client hangs up, whatever it still says.
    pub fn until_closed(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

pub fn welcome() -> Welcome {
    Welcome {
        version: 1,
        agent: None,
        name: None,
        read_only: false,
        overwrite: false,
        max_file_size: None,
        rights: None,
    }
}

pub fn file(name: &[u8], size: u64) -> Entry {
    Entry { name: RawBytes(name.to_vec()), kind: EntryKind::File, size, modified: 0 }
}

pub fn folder(name: &[u8]) -> Entry {
    Entry { name: RawBytes(name.to_vec()), kind: EntryKind::Folder, size: 0, modified: 0 }
}

pub fn header(size: u64) -> FileHeader {
    FileHeader {
        transfer: TransferId(7),
        size,
        modified: 0,
        version: Version::new(b"v1").unwrap(),
        offset: 0,
        length: size,
    }
}
