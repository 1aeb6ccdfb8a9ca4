//! Many who follow one topic: a large file while it comes in, with slow and dead readers among them, and many small ones.

use crate::common::{
    Frame, Launch, Random, RawClient, Server, digest_of, eventually_in, is_long, memory, put_file, scaled, upload_id,
};
use crate::follow::{From, OnDrop, reply, subscribe};
use hostdir::connection::{Await, Connection, Deadlines, Incoming};
use hostdir::wire::{
    Arrived, Arriving, Begin, Digest, End, Finish, Get, JournalId, LiveHeader, Put, Reply, Request, Version,
};
use rustix::process::Signal;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const TOPIC: &str = "chat";
/// What one piece of the large file has.
const PIECE: u64 = 256 * 1024;
/// More than the server may ever have in memory.
const TOO_MUCH_KIB: u64 = 200 * 1024;

/// How a subscriber behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Steady,
    /// Reads so many bytes a second.
    Slow(u64),
    /// Asks for the bytes and never reads.
    Stopped,
    /// Breaks off at random, and goes on where it was.
    Restless,
    /// Comes when half of the file is there.
    Late,
}

/// How far the publisher is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    #[default]
    Begun,
    Half,
    Stored,
}

/// The publisher's progress, and that of those who follow.
#[derive(Default)]
struct Stage {
    sent: AtomicU64,
    /// How many subscribers follow, and how many of them are at the file.
    following: AtomicUsize,
    begun: AtomicUsize,
    /// What was sent when the first subscriber had a byte.
    sent_at_first_byte: Mutex<Option<u64>>,
    moment: Mutex<Moment>,
    changed: Condvar,
    breaks: AtomicUsize,
}

impl Stage {
    fn has_byte(&self) {
        self.sent_at_first_byte.lock().unwrap().get_or_insert(self.sent.load(Ordering::Acquire));
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    fn wait_for(&self, moment: Moment) {
        let now = self.moment.lock().unwrap();
        drop(self.changed.wait_while(now, |now| *now < moment).unwrap());
    }

    fn say(&self, moment: Moment) {
        *self.moment.lock().unwrap() = moment;
        self.changed.notify_all();
    }
}

/// One who follows, on one connection: events until the upload is announced, then its bytes, then events again.
struct Subscriber<'a> {
    address: SocketAddr,
    stage: &'a Stage,
    manner: Manner,
    random: Random,
    arriving: Option<Arriving>,
    version: Option<Version>,
    /// Journal and number after which it asks again.
    cursor: Option<(JournalId, u64)>,
    hasher: blake3::Hasher,
    received: u64,
    has_byte: bool,
    began: Instant,
}

/// Why a connection came to its end.
enum Left {
    /// The file is whole: END.
    Whole(RawClient, End),
    /// It broke off on purpose.
    Broke,
    /// It never read anything, as long as the upload took.
    Stopped,
}

impl<'a> Subscriber<'a> {
    fn new(address: SocketAddr, stage: &'a Stage, manner: Manner, random: Random) -> Self {
        Self {
            address,
            stage,
            manner,
            random,
            arriving: None,
            version: None,
            cursor: None,
            hasher: blake3::Hasher::new(),
            received: 0,
            has_byte: false,
            began: Instant::now(),
        }
    }

    /// Follows, takes the file, and hears of its arrival. What came is what was sent.
    fn run(mut self, size: u64) {
        if self.manner == Manner::Late {
            self.stage.wait_for(Moment::Half);
        }
        loop {
            let breaks_at = match self.manner {
                Manner::Restless => self.received + 1 + self.random.below(size / 3),
                _ => u64::MAX,
            };
            let (mut client, end) = match self.connect_and_read(breaks_at).unwrap() {
                Left::Whole(client, end) => (client, end),
                Left::Stopped => return,
                Left::Broke => {
                    self.stage.breaks.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            let digest = Digest(*self.hasher.finalize().as_bytes());
            assert_eq!((self.received, Some(digest)), (size, end.digest), "{:?}", self.manner);
            let (journal, after) = self.cursor.unwrap();
            subscribe(&mut client, TOPIC, From::After(journal, after)).unwrap();
            let arrived = next_arrival(&mut client).unwrap();
            assert_eq!((Some(arrived.number), arrived.digest, arrived.size), (end.number, digest, size));
            return;
        }
    }

    fn connect_and_read(&mut self, breaks_at: u64) -> io::Result<Left> {
        let mut client = RawClient::greeted(self.address)?;
        let from = self.cursor.map_or(From::Now, |(journal, after)| From::After(journal, after));
        let subscribed = subscribe(&mut client, TOPIC, from)?;
        if self.cursor.is_none() {
            self.cursor = Some((subscribed.journal, subscribed.after));
            self.stage.following.fetch_add(1, Ordering::AcqRel);
        }
        while self.arriving.is_none() {
            if let Reply::Arriving(arriving) = reply(&mut client)? {
                self.arriving = Some(arriving);
            }
        }
        let arriving = self.arriving.as_ref().unwrap();
        let get = Get {
            offset: self.received,
            version: self.version.clone(),
            live: Some(arriving.live),
            ..Get::whole(&arriving.path)
        };
        client.send(Request::Get(get))?;
        if self.manner == Manner::Stopped {
            self.stage.begun.fetch_add(1, Ordering::AcqRel);
            self.stage.wait_for(Moment::Stored);
            return Ok(Left::Stopped);
        }
        let header = self.live_header(&mut client)?;
        assert_eq!(header.offset, self.received);
        self.version.get_or_insert(header.version);
        loop {
            match client.receive()? {
                Frame::Data(bytes) => self.take(&bytes),
                Frame::Reply(Reply::End(end)) => return Ok(Left::Whole(client, end)),
                other => {
                    return Err(io::Error::other(format!(
                        "{:?} after {} bytes: {other:?}",
                        self.manner, self.received
                    )));
                }
            }
            if self.received >= breaks_at {
                return Ok(Left::Broke);
            }
        }
    }

    fn live_header(&self, client: &mut RawClient) -> io::Result<LiveHeader> {
        loop {
            match reply(client)? {
                Reply::Live(header) => return Ok(header),
                Reply::Paused(_) | Reply::Arriving(_) | Reply::Arrived(_) | Reply::Position(_) => {}
                other => return Err(io::Error::other(format!("not LIVE: {other:?}"))),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        if !std::mem::replace(&mut self.has_byte, true) {
            self.stage.has_byte();
            self.began = Instant::now();
        }
        if let Manner::Slow(rate) = self.manner {
            let due = Duration::from_secs_f64(self.received as f64 / rate as f64);
            thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
    }
}

fn next_arrival(client: &mut RawClient) -> io::Result<Arrived> {
    loop {
        match reply(client)? {
            Reply::Arrived(arrived) => return Ok(arrived),
            Reply::Arriving(_) | Reply::Position(_) => {}
            other => return Err(io::Error::other(format!("not ARRIVED: {other:?}"))),
        }
    }
}

/// The large file: random bytes, each piece marked by its number.
struct Large {
    piece: Vec<u8>,
    size: u64,
}

impl Large {
    fn new(random: &mut Random, size: u64) -> Self {
        assert_eq!(size % PIECE, 0);
        Self { piece: random.bytes(PIECE as usize), size }
    }

    fn pieces(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.size / PIECE).map(|number| {
            let mut piece = self.piece.clone();
            piece[..8].copy_from_slice(&number.to_le_bytes());
            piece
        })
    }

    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        self.pieces().for_each(|piece| _ = hasher.update(&piece));
        Digest(*hasher.finalize().as_bytes())
    }
}

/// Sends the file; is held after 0.5 % of it until a subscriber has a byte, and then until those that are there have
/// one; and before its end, until those that come late have one, too. How long the rest took.
fn publish(server: &Server, stage: &Stage, large: &Large, digest: Digest, crowd: usize, late: usize) -> Duration {
    let mut client = server.client();
    let put =
        Put { size: Some(large.size), upload: Some(upload_id(large.size)), ..put_file(format!("{TOPIC}/large"), 0) };
    client.ask(put).unwrap().unwrap();
    client.send(Request::Begin(Begin { offset: 0 })).unwrap();
    let patience = Duration::from_secs(60);
    let mut since = None;
    for (piece, number) in large.pieces().zip(1_u64..) {
        // Counted before it is sent: a subscriber cannot have seen more than that.
        let sent = number * PIECE;
        stage.sent.fetch_add(PIECE, Ordering::AcqRel);
        client.data(&piece).unwrap();
        if since.is_none() && (sent + PIECE) * 200 > large.size {
            eventually_in(patience, "a subscriber has a byte", || stage.begun.load(Ordering::Acquire) >= 1);
            eventually_in(patience, "all have a byte", || stage.begun.load(Ordering::Acquire) >= crowd);
            since = Some(Instant::now());
        }
        if sent == large.size / 2 {
            stage.say(Moment::Half);
        }
    }
    let held = Instant::now();
    eventually_in(patience, "the late ones have a byte", || stage.begun.load(Ordering::Acquire) >= crowd + late);
    let held = held.elapsed();
    client.send(Request::Finish(Finish { digest })).unwrap();
    client.stored().unwrap().unwrap();
    let took = since.unwrap().elapsed() - held;
    stage.say(Moment::Stored);
    took
}

/// Real clients that take part, each into a folder of its own.
struct Real(Vec<(TempDir, std::process::Child)>);

impl Real {
    fn start(address: SocketAddr, count: usize) -> Self {
        let start = |_| {
            let place = TempDir::new().unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
            command.args(["subscribe", TOPIC, "--count", "1", "--quiet", "--ip", "127.0.0.1", "--port"]);
            command.arg(address.port().to_string()).arg("--dir").arg(place.path());
            let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            (place, child)
        };
        Self((0..count).map(start).collect())
    }

    fn settle(self, digest: Digest) {
        for (place, mut child) in self.0 {
            assert_eq!(child.wait().unwrap().code(), Some(0));
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(place.path().join(TOPIC).join("large")).unwrap()).unwrap();
            assert_eq!(Digest(*hasher.finalize().as_bytes()), digest);
        }
    }
}

/// What one upload to a crowd took.
#[derive(Debug)]
struct Took {
    publisher: Duration,
    all: Duration,
    memory_kib: u64,
    sent_at_first_byte: u64,
    breaks: usize,
}

/// Publishes to these subscribers, and to so many real clients.
fn publish_to(dir: &Path, large: &Large, manners: &[Manner], real: usize, random: &mut Random) -> Took {
    let server = Server::launch(dir, &Launch::default());
    let (address, stage, digest) = (SocketAddr::from(server.address()), Stage::default(), large.digest());
    let real = Real::start(address, real);
    let began = Instant::now();
    let publisher = thread::scope(|scope| {
        // Whatever happens, nobody is left waiting.
        let _end = OnDrop(|| {
            stage.say(Moment::Stored);
            if thread::panicking() {
                server.signal(Signal::KILL);
            }
        });
        for manner in manners {
            let subscriber = Subscriber::new(address, &stage, *manner, Random::new(random.next()));
            scope.spawn(move || subscriber.run(large.size));
        }
        let present = manners.iter().filter(|manner| **manner != Manner::Late).count();
        let patience = Duration::from_secs(60);
        eventually_in(patience, "all follow", || stage.following.load(Ordering::Acquire) >= present);
        let events = || server.log(crate::common::Log::Events);
        let followers = || events().iter().filter(|line| line.contains(" event=subscribe ")).count();
        eventually_in(patience, "real clients follow", || followers() >= present + real.0.len());
        publish(&server, &stage, large, digest, present, manners.len() - present)
    });
    real.settle(digest);
    let sent_at_first_byte = stage.sent_at_first_byte.lock().unwrap().unwrap();
    let breaks = stage.breaks.load(Ordering::Relaxed);
    Took { publisher, all: began.elapsed(), memory_kib: server.memory_kib("VmHWM"), sent_at_first_byte, breaks }
}

#[test]
fn a_crowd_gets_a_large_file_while_it_comes_and_slow_ones_cost_nobody_else() {
    let mut random = Random::announced("one large file to a crowd");
    let large = Large::new(&mut random, scaled(64 * MIB, 2048 * MIB));
    let slow = Manner::Slow(scaled(32 * MIB, 8 * MIB));
    let quick: Vec<_> = [(Manner::Steady, 25), (Manner::Restless, 10), (Manner::Late, 5)]
        .iter()
        .flat_map(|(manner, count)| std::iter::repeat_n(*manner, *count))
        .collect();
    let all: Vec<_> = [&quick[..], &[slow; 5], &[Manner::Stopped; 5]].concat();
    let mut run = |manners: &[Manner], real| {
        let dir = if is_long() { TempDir::new().unwrap() } else { memory() };
        publish_to(dir.path(), &large, manners, real, &mut random)
    };
    let real = scaled(0, 3);
    let (without, with) = (run(&quick, real), run(&all, real));
    for (who, took) in [("without slow and stopped ones", &without), ("with them", &with)] {
        eprintln!(
            "{} MiB to a crowd {who}: publisher {:.2?}, all {:.2?}, {} MiB of memory, first byte after {} of {} bytes, {} breaks",
            large.size / MIB,
            took.publisher,
            took.all,
            took.memory_kib / 1024,
            took.sent_at_first_byte,
            large.size,
            took.breaks
        );
        assert!(took.sent_at_first_byte * 100 < large.size, "{took:?}");
        assert!(took.memory_kib < TOO_MUCH_KIB, "{took:?}");
        assert!(took.breaks >= 10, "{took:?}");
    }
}

fn nanoseconds_now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Takes so many arrivals, which must be all there are, in order. The delay of each, in nanoseconds.
/// Takes all arrivals as a client of this crate does, with few calls: hundreds of threads share the machine with the server.
fn take_all(client: RawClient, files: &[(String, Digest)]) -> Vec<i64> {
    let mut connection = Connection::new(client.stream, Deadlines::client(Duration::from_secs(90))).unwrap();
    connection.welcomed();
    let mut delays = Vec::with_capacity(files.len());
    for (number, (path, digest)) in (1_u64..).zip(files) {
        let arrived = loop {
            let frame = connection.next_frame(Await::Message).unwrap();
            let Some(Incoming::Control(kind, body)) = frame else { panic!("not a reply: {frame:?}") };
            match Reply::decode(kind, body).unwrap() {
                Reply::Arrived(arrived) => break arrived,
                Reply::Arriving(_) | Reply::Position(_) => {}
                other => panic!("not ARRIVED: {other:?}"),
            }
        };
        delays.push(nanoseconds_now() - arrived.time);
        assert_eq!((arrived.number, &*arrived.path, arrived.digest), (number, path.as_bytes(), *digest));
    }
    delays
}

#[test]
fn hundreds_of_subscribers_hear_of_every_file_in_order() {
    let mut random = Random::announced("many subscribers, many files");
    let (subscribers, count) = scaled((100, 200), (500, 1_000));
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let contents: Vec<Vec<u8>> = (0..count).map(|_| random.bytes(1 + random.clone().below(2_000) as usize)).collect();
    let files: Vec<(String, Digest)> =
        (0..).zip(&contents).map(|(index, bytes): (usize, _)| (format!("{TOPIC}/{index}"), digest_of(bytes))).collect();
    let clients: Vec<RawClient> = (0..subscribers)
        .map(|_| {
            let mut client = server.client();
            subscribe(&mut client, TOPIC, From::Now).unwrap();
            client
        })
        .collect();
    let began = Instant::now();
    let mut delays: Vec<i64> = thread::scope(|scope| {
        let files = &files;
        let start = |client| {
            let thread = thread::Builder::new().stack_size(256 * 1024);
            thread.spawn_scoped(scope, move || take_all(client, files)).unwrap()
        };
        let threads: Vec<_> = clients.into_iter().map(start).collect();
        let (mut sender, mut next) = (server.client(), 0);
        while next < count {
            // Some alone, some on each other's heels.
            let end = (next + 1 + random.below(12) as usize).min(count);
            for (bytes, (path, _)) in contents[next..end].iter().zip(&files[next..end]) {
                sender.send_put(put_file(path, bytes.len()), bytes).unwrap();
            }
            for number in next..end {
                assert_eq!(sender.stored().unwrap().unwrap().number, Some(number as u64 + 1));
            }
            next = end;
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let took = began.elapsed();
    assert_eq!(delays.len(), subscribers * count);
    delays.sort_unstable();
    let at = |part: usize| Duration::from_nanos(delays[(delays.len() - 1) * part / 1000].max(0) as u64);
    eprintln!(
        "{subscribers} subscribers, {count} files in {took:.2?}: ARRIVED after {:.2?} (median), {:.2?} (p99), {:.2?} (last); {} MiB of memory",
        at(500),
        at(990),
        at(1000),
        server.memory_kib("VmHWM") / 1024
    );
    assert!(server.memory_kib("VmHWM") < TOO_MUCH_KIB);
}
