//! `--rate`: what a token or an address moves in a second, shared by all of its connections.
//!
//! Times are only compared with what they must be at least. Where something must not take long, the clock is what another, limited
//! transfer has moved meanwhile.

use crate::common::websocket::{FINAL, PING, PONG, WsClient, WsMessage};
use crate::common::{Log, RawClient, Server, content, put_file, upload_id, whole};
use crate::scene::{Scene, with_token};
use crate::throttle::connect_from;
use hostdir::connection::{Deadlines, More, Stream};
use hostdir::wire::{Begin, Put, Request};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
/// How long 4 MiB take at 2 MiB/s, less what may come at once.
const TIME: Duration = Duration::from_millis(1500);
const RATE: [&str; 2] = ["--rate", "2MiB"];

/// Ways to speak to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    Native,
    Http,
    Https,
}

const FACES: [Face; 3] = [Face::Native, Face::Http, Face::Https];

/// A server with a rate, for a face.
struct Limited {
    scene: Scene,
    server: Server,
    face: Face,
}

/// A connection that was asked for something.
enum Peer {
    Plain(TcpStream),
    Secured(Box<Stream>),
}

impl Limited {
    fn new(face: Face, arguments: &[&str]) -> Self {
        let scene = Scene::new();
        std::fs::write(scene.path().join("four"), content(1, 4 * MIB)).unwrap();
        let keys = tempfile::tempdir().unwrap();
        let tls = ["--tls", "--tls-dir", keys.path().to_str().unwrap()];
        let tls = if face == Face::Https { &tls[..] } else { &[] };
        let server = scene.serve(&[tls, arguments].concat());
        Self { scene, server, face }
    }

    /// A download of the four MiB that has begun.
    fn downloading(&self) -> Peer {
        let request = b"GET /files/four HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        match self.face {
            Face::Native => {
                let mut client = self.server.client();
                client.send(Request::Get(whole("four"))).unwrap();
                Peer::Plain(client.stream)
            }
            Face::Http | Face::Https => self.asked(request),
        }
    }

    /// Sends all of this by HTTP.
    fn asked(&self, bytes: &[u8]) -> Peer {
        let mut socket = TcpStream::connect(self.server.address()).unwrap();
        if self.face == Face::Http {
            socket.write_all(bytes).unwrap();
            return Peer::Plain(socket);
        }
        let mut stream = Stream::new(socket, Deadlines::client(Duration::from_secs(90))).unwrap();
        stream.connect_tls("127.0.0.1", Ipv4Addr::LOCALHOST.into(), None).unwrap();
        stream.send(bytes).unwrap();
        stream.flush(More::Nothing).unwrap();
        Peer::Secured(Box::new(stream))
    }

    /// Uploads four MiB, to the answer that they are durable.
    fn upload(&self) {
        let bytes = content(2, 4 * MIB);
        if self.face == Face::Native {
            self.server.client().put("new", &bytes).unwrap().unwrap();
            return;
        }
        let head = format!("PUT /files/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", bytes.len());
        let mut answer = [0; 12];
        assert!(self.asked(&[head.as_bytes(), &bytes].concat()).read(&mut answer) > 0);
        assert_eq!(&answer, b"HTTP/1.1 201");
    }
}

impl Peer {
    /// Reads some bytes; 0 at the end, however it came.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self {
            Self::Plain(socket) => socket.read(buffer).unwrap_or(0),
            Self::Secured(stream) => stream.read(buffer).unwrap_or(0),
        }
    }

    /// Reads so many bytes, or to the end, and counts them.
    fn take(&mut self, count: usize, taken: &AtomicUsize) {
        let mut buffer = vec![0; 64 * 1024];
        while taken.load(Relaxed) < count {
            match self.read(&mut buffer) {
                0 => return,
                some => taken.fetch_add(some, Relaxed),
            };
        }
    }
}

/// Reads it to its end on a thread of its own, and counts.
fn counted(mut peer: Peer) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    std::thread::spawn(move || peer.take(usize::MAX, &counting));
    count
}

/// A download by a native client.
fn native(mut client: RawClient, path: &str) -> Peer {
    client.send(Request::Get(whole(path))).unwrap();
    Peer::Plain(client.stream)
}

fn sparse(folder: &Path, name: &str, size: usize) {
    std::fs::File::create(folder.join(name)).unwrap().set_len(size as u64).unwrap();
}

#[test]
fn a_limited_download_takes_its_time_on_every_face_and_the_log_says_so() {
    for face in FACES {
        let limited = Limited::new(face, &RATE);
        let (began, taken) = (Instant::now(), AtomicUsize::new(0));
        limited.downloading().take(4 * MIB, &taken);
        assert!(taken.load(Relaxed) >= 4 * MIB, "{face:?}");
        assert!(began.elapsed() >= TIME, "{face:?}: {:?}", began.elapsed());
        let line = limited.server.logged(Log::Events, &["event=limited", "token=anonymous", "rate=2097152"]);
        let (_, held_back) = line.split_once("held_back_ms=").unwrap();
        // A machine that is busy itself needs no more holding back than that.
        assert!(held_back.split(' ').next().unwrap().parse::<u64>().unwrap() > 0, "{line}");
    }
}

#[test]
fn a_limited_archive_takes_its_time() {
    let limited = Limited::new(Face::Http, &RATE);
    let (began, taken) = (Instant::now(), AtomicUsize::new(0));
    let request = b"GET /tar/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    limited.asked(request).take(usize::MAX, &taken);
    assert!(taken.load(Relaxed) > 4 * MIB);
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
}

#[test]
fn what_a_limited_websocket_sends_and_receives_takes_its_time() {
    let limited = Limited::new(Face::Http, &RATE);
    let mut receiver = WsClient::connect(&limited.server, "/receiver");
    // The other direction has a bucket of its own.
    let mut sender = WsClient::connect(&limited.server, "/sender");
    let (began, bytes) = (Instant::now(), content(5, 4 * MIB));
    sender.text("sent");
    for piece in bytes.chunks(64 * 1024) {
        sender.binary(piece);
    }
    sender.binary(b"__end__");
    assert_eq!(sender.next_text(), "File transfer successful");
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
    assert_eq!(receiver.next_text(), "START:sent");
    let mut received = Vec::new();
    while let WsMessage::Binary(piece) = receiver.message() {
        received.extend_from_slice(&piece);
    }
    assert!(received == bytes);

    let mut follower = WsClient::connect(&limited.server, "/");
    follower.text("subscribe:chat");
    follower.frame(FINAL | PING, b"");
    // It follows once what was sent after it is answered.
    while follower.receive().unwrap().unwrap().first & 0xf != PONG {}
    let began = Instant::now();
    std::fs::create_dir(limited.scene.path().join("chat")).unwrap();
    std::fs::rename(limited.scene.path().join("four"), limited.scene.path().join("chat/four")).unwrap();
    let message = follower.next_text();
    assert!(message.len() > 4 * MIB / 3 * 4, "{}", message.len());
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
}

#[test]
fn a_limited_upload_takes_its_time_on_every_face_and_arrives_whole() {
    for face in FACES {
        let limited = Limited::new(face, &RATE);
        let began = Instant::now();
        limited.upload();
        assert!(began.elapsed() >= TIME, "{face:?}: {:?}", began.elapsed());
        assert!(std::fs::read(limited.scene.path().join("new")).unwrap() == content(2, 4 * MIB), "{face:?}");
    }
}

#[test]
fn many_small_files_are_limited_like_a_large_one() {
    let scene = Scene::new();
    let server = scene.serve(&RATE);
    let mut client = server.client();
    let (began, bytes) = (Instant::now(), content(3, 16 * 1024));
    for number in 0..256 {
        client.send_put(put_file(format!("small/{number}"), bytes.len()), &bytes).unwrap();
    }
    (0..256).for_each(|_| drop(client.stored().unwrap().unwrap()));
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
    let began = Instant::now();
    client
        .send_all(&(0..256).map(|number| Request::Get(whole(format!("small/{number}")))).collect::<Vec<_>>())
        .unwrap();
    (0..256).for_each(|_| assert!(client.take_file().unwrap().unwrap().bytes == bytes));
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
}

#[test]
fn who_is_not_let_in_is_heard_out_no_faster_than_the_rate_of_an_address() {
    let scene = Scene::new();
    scene.master("somebody");
    let server = scene.serve(&["--rate", "512KiB"]);
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let began = Instant::now();
    let head = format!("PUT /files/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MIB}\r\n\r\n");
    socket.write_all(&[head.as_bytes(), &vec![0; MIB]].concat()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
}

#[test]
fn nobody_gains_by_coming_back_for_each_piece() {
    let scene = Scene::new();
    sparse(scene.path(), "piece", 64 * 1024);
    let server = scene.serve(&["--rate", "512KiB"]);
    let began = Instant::now();
    for _ in 0..16 {
        assert_eq!(server.client().get("piece").unwrap().unwrap().bytes.len(), 64 * 1024);
    }
    assert!(began.elapsed() >= TIME, "{:?}", began.elapsed());
}

#[test]
fn transfers_of_one_token_share_its_rate_and_progress_together() {
    let scene = Scene::new();
    let token = scene.said(&["add", "slow", "--rights", "all", "--rate", "1MiB"]);
    sparse(scene.path(), "large", 64 * MIB);
    let server = scene.serve(&[]);
    let began = Instant::now();
    let downloads = [0, 1, 2].map(|_| counted(native(with_token(&server, token.trim_end()), "large")));
    let counts = || downloads.each_ref().map(|count| count.load(Relaxed));
    crate::common::eventually("they have moved 3 MiB together", || counts().iter().sum::<usize>() >= 3 * MIB);
    assert!(began.elapsed() >= Duration::from_millis(2300), "{:?}", began.elapsed());
    let counts = counts();
    assert!(counts.iter().all(|count| *count >= MIB / 3), "{counts:?}");
}

#[test]
fn nobody_else_is_limited_by_what_a_token_or_an_address_moves() {
    let scene = Scene::new();
    let slow = scene.said(&["add", "slow", "--rights", "all", "--rate", "64KiB"]);
    let free = scene.said(&["add", "free", "--rights", "all"]);
    sparse(scene.path(), "large", 64 * MIB);
    let server = scene.serve(&[]);
    let held_back = counted(native(with_token(&server, slow.trim_end()), "large"));
    let taken = AtomicUsize::new(0);
    native(with_token(&server, free.trim_end()), "large").take(64 * MIB, &taken);
    assert!(taken.load(Relaxed) >= 64 * MIB);
    let moved = held_back.load(Relaxed);
    assert!(moved < 4 * MIB, "{moved}: a minute has passed, or the limit is none");
}

#[test]
fn an_address_has_a_rate_of_its_own_whatever_its_neighbours_do() {
    let scene = Scene::new();
    sparse(scene.path(), "large", 64 * MIB);
    sparse(scene.path(), "half", MIB / 2);
    let server = scene.serve(&["--rate", "256KiB"]);
    let from = |last: u8| {
        let mut client = RawClient::over(connect_from(&server, Ipv4Addr::new(127, 0, 0, last))).unwrap();
        client.greet().unwrap();
        client
    };
    let neighbours: Vec<_> = (0..20).map(|_| counted(native(from(2), "large"))).collect();
    let moved = || neighbours.iter().map(|count| count.load(Relaxed)).sum::<usize>();
    crate::common::eventually("the neighbours are at it", || moved() > 0);
    let before = moved();
    assert_eq!(from(3).get("half").unwrap().unwrap().bytes.len(), MIB / 2);
    let meanwhile = moved() - before;
    // With a twenty-first part of what they have it would have taken until they have moved 10 MiB.
    assert!(meanwhile < 4 * MIB, "{meanwhile}");
}

#[test]
fn small_requests_are_answered_while_limited_transfers_run() {
    let scene = Scene::new();
    sparse(scene.path(), "large", 64 * MIB);
    let server = scene.serve(&["--rate", "64KiB"]);
    let running: Vec<_> = (0..4).map(|_| counted(native(server.client(), "large"))).collect();
    let moved = || running.iter().map(|count| count.load(Relaxed)).sum::<usize>();
    crate::common::eventually("they are at it", || moved() > 16 * 1024);
    let mut client = server.client();
    let before = moved();
    for _ in 0..3 {
        client.alive();
        assert!(!client.list("a").unwrap().unwrap().entries.is_empty());
        assert_eq!(server.client().get("top.txt").unwrap().unwrap().bytes, b"content of top.txt");
    }
    assert!(moved() - before < MIB, "it took until {} more bytes had been moved", moved() - before);
    assert!(server.log(Log::Transfers).iter().all(|line| !line.contains("path=large")));
}

#[test]
fn a_limited_transfer_ends_when_its_token_is_revoked() {
    let scene = Scene::new();
    let token = scene.said(&["add", "slow", "--rights", "all", "--rate", "64KiB"]);
    sparse(scene.path(), "large", 64 * MIB);
    let server = scene.serve(&[]);
    let client = || with_token(&server, token.trim_end());
    let downloads: Vec<_> = (0..8).map(|_| counted(native(client(), "large"))).collect();
    let mut uploader = client();
    assert!(uploader.ask(Put { upload: Some(upload_id(1)), ..put_file("new", 64 * MIB) }).unwrap().is_ok());
    uploader.send(Request::Begin(Begin { offset: 0 })).unwrap();
    uploader.data(&vec![0; MIB]).unwrap();
    crate::common::eventually("they are at it", || downloads.iter().any(|count| count.load(Relaxed) > 0));
    scene.revoke("slow");
    server.logged(Log::Transfers, &["event=upload", "path=new", "status=incomplete"]);
    crate::common::eventually("every download has ended", || {
        let ended = |line: &&String| line.contains("path=large") && line.contains("status=incomplete");
        server.log(Log::Transfers).iter().filter(ended).count() == downloads.len()
    });
}

#[test]
fn a_server_that_stops_waits_for_a_limited_transfer_and_cuts_it_when_told_twice() {
    for face in FACES {
        let mut limited = Limited::new(face, &RATE);
        let (mut download, taken) = (limited.downloading(), AtomicUsize::new(0));
        download.take(1, &taken);
        limited.server.terminate();
        download.take(4 * MIB, &taken);
        assert!(taken.load(Relaxed) >= 4 * MIB, "{face:?}");
        drop(download);
        assert_eq!(limited.server.wait(), 0, "{face:?}");

        let mut limited = Limited::new(face, &["--rate", "64KiB"]);
        let downloads: Vec<_> = (0..8).map(|_| counted(limited.downloading())).collect();
        crate::common::eventually("they are at it", || downloads.iter().all(|count| count.load(Relaxed) > 0));
        limited.server.terminate();
        limited.server.logged(Log::Events, &["event=stopping"]);
        let began = Instant::now();
        limited.server.terminate();
        assert_eq!(limited.server.wait(), 1, "{face:?}");
        // Far less than it would have waited for them.
        assert!(began.elapsed() < Duration::from_secs(20), "{face:?}: {:?}", began.elapsed());
    }
}

#[test]
fn who_is_held_back_is_not_taken_for_somebody_who_stalls_and_hears_that_the_server_goes_on() {
    let scene = Scene::new();
    let server = Server::start(scene.path(), &["--rate", "64KiB", "--stall-timeout", "1", "--idle-timeout", "5"]);
    let bytes = content(4, 128 * 1024);
    // Each has less than the 32 KiB a second that are asked for.
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (server, bytes) = (&server, &bytes);
            scope.spawn(move || {
                let path = format!("new-{number}");
                let mut client = server.client();
                client.put(&path, bytes).unwrap().unwrap();
                assert!(client.waits > 0, "it may have waited for long, and has heard nothing");
                assert!(client.get(&path).unwrap().unwrap().bytes == *bytes);
            });
        }
    });
}
