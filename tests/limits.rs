//! Every resource has a bound, and reaching it is a clear answer. `HOSTDIR_LONG=1` asks for the full counts.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Launch, Log, RawClient, Server, content, eventually, put_file, scaled, whole};
use hostdir::wire::{ErrorCode, List, Reply, Request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A connection from one of the many addresses of the loopback interface.
fn connect_from(address: u8, server: &Server) -> io::Result<RawClient> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, address), 0)))?;
    socket.connect(&SockAddr::from(SocketAddr::from(server.address())))?;
    RawClient::over(socket.into())
}

fn raise_own_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn beyond_the_caps_every_newcomer_hears_busy_and_the_limit() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--max-connections", "16"]);
    let mut held: Vec<_> = (0..14).map(|_| server.client()).collect();
    let mut newcomer = server.connection();
    newcomer.say_hello().unwrap();
    newcomer.read_preamble().unwrap();
    assert!(newcomer.refused(ErrorCode::Busy).contains("limit of 14 connections of one address"));
    newcomer.closed();
    held.extend((0..2).map(|_| {
        let mut client = connect_from(2, &server).unwrap();
        client.greet().unwrap();
        client
    }));
    let mut newcomer = connect_from(3, &server).unwrap();
    newcomer.read_preamble().unwrap();
    assert!(newcomer.refused(ErrorCode::Busy).contains("limit of 16 connections;"));
    held.pop();
    eventually("a place comes back", || connect_from(3, &server).unwrap().greet().is_ok());
    held.iter_mut().for_each(RawClient::alive);
}

/// Long: 10,000 held, 10,000 refused. Short: 1,000 and 1,000.
#[test]
fn idle_connections_are_held_in_little_memory_and_a_storm_of_newcomers_hears_busy() {
    raise_own_descriptor_limit();
    let count = scaled(1_000, 10_000);
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    // One address can have seven eighths of the places, so two are needed to fill them.
    let server = Server::start(dir.path(), &["--max-connections", &(count + 8).to_string()]);
    let open = |number: usize| {
        let mut client = connect_from(1 + (number % 2) as u8, &server).unwrap();
        client.greet().unwrap();
        client
    };
    let mut held: Vec<_> = (0..count).map(open).collect();
    let resident = server.memory_kib("VmRSS") / 1024;
    let began = Instant::now();
    let mut newcomer = connect_from(3, &server).unwrap();
    newcomer.greet().unwrap();
    assert_eq!(newcomer.list("").unwrap().unwrap().listed.entries, 1);
    let listed = began.elapsed();
    held.push(newcomer);
    held.extend((1..8).map(open));
    let began = Instant::now();
    let mut heard = 0;
    for _ in 0..count / 100 {
        // A hundred at a time, so that they are a storm and not a row.
        let newcomers: Vec<_> = (0..100).map(|_| connect_from(3, &server).unwrap()).collect();
        for mut newcomer in newcomers {
            newcomer.read_preamble().unwrap();
            newcomer.refused(ErrorCode::Busy);
            heard += 1;
        }
    }
    eprintln!(
        "{count} idle connections: {resident} MiB resident, LIST after {listed:?}; {heard} newcomers heard busy in {:?}",
        began.elapsed()
    );
    // A debug build touches 32 KiB of each stack, an optimised one a third of it.
    let most = if cfg!(debug_assertions) { 400 } else { 256 };
    assert!(resident <= most, "{resident} MiB");
    assert!(listed < Duration::from_secs(2), "{listed:?}");
    held.iter_mut().step_by(97).for_each(RawClient::alive);
}

/// Long: 1,000,000 entries. Short: 100,000.
#[test]
fn a_huge_folder_lists_in_little_memory_and_its_first_page_comes_at_once() {
    let count = scaled(100_000, 1_000_000);
    let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let folder = dir.path().join("many");
    fs::create_dir(&folder).unwrap();
    let first = folder.join("entry-000000");
    File::create(&first).unwrap();
    for number in 1..count {
        // Links to one file, in groups that every file system can hold, are entries like any other, and are made faster.
        let number_of_group = number / 30_000 * 30_000;
        let entry = folder.join(format!("entry-{number:06}"));
        if number == number_of_group {
            File::create(&entry).unwrap();
        } else {
            fs::hard_link(folder.join(format!("entry-{number_of_group:06}")), &entry).unwrap();
        }
    }
    let server = Server::start(dir.path(), &[]);
    let mut client = server.client();
    client.list("").unwrap().unwrap();
    let before = server.memory_kib("VmRSS");
    let began = Instant::now();
    client.send(Request::List(List { path: b"many"[..].into(), ..List::default() })).unwrap();
    let Frame::Reply(Reply::Entries(page)) = client.receive().unwrap() else { panic!("no page") };
    let first_page = began.elapsed();
    let mut entries = page.entries.len();
    let listed = loop {
        match client.receive().unwrap() {
            Frame::Reply(Reply::Entries(page)) => entries += page.entries.len(),
            Frame::Reply(Reply::Listed(listed)) => break listed,
            other => panic!("{other:?}"),
        }
    };
    let more = server.memory_kib("VmHWM").saturating_sub(before) / 1024;
    eprintln!("{count} entries: first page after {first_page:?}, all after {:?}, {more} MiB more", began.elapsed());
    assert_eq!((entries, listed.entries), (count, count as u64));
    assert!(first_page < Duration::from_secs(1), "{first_page:?}");
    assert!(more <= 32, "{more} MiB");
}

#[test]
fn without_descriptors_the_server_idles_and_recovers() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let launch = Launch { through: &["prlimit", "--nofile=64:64"], ..Launch::default() };
    let server = Server::launch(dir.path(), &launch);
    let mut first = server.client();
    // The kernel completes connections that nobody accepts; these take every descriptor.
    let greeted = |mut connection: RawClient| connection.say_hello().map(|()| connection).unwrap();
    let held: Vec<_> = (0..80).map(|_| greeted(server.connection())).collect();
    server.logged(Log::Events, &["event=accept", "resting"]);
    let before = server.cpu_ticks();
    let refused = first.get("f").unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(first.put("g", b"x").unwrap().is_err());
    let rests = |server: &Server| server.log(Log::Events).iter().filter(|line| line.contains("event=accept")).count();
    let seen = rests(&server);
    eventually("it rests a few times", || rests(&server) >= seen + 4);
    assert!(server.cpu_ticks() - before < 20, "it spins");
    drop(held);
    eventually("service is back", || first.get("f").unwrap().is_ok());
    eventually("so are uploads", || first.put("g", b"x").unwrap().is_ok());
    server.client().alive();
}

#[test]
fn a_file_beyond_the_limit_of_the_process_is_a_failed_write_and_not_its_end() {
    let dir = TempDir::new().unwrap();
    // The memory of digests is a sparse file of 16 MiB, and is written here too.
    let launch = Launch { through: &["prlimit", "--fsize=1000000"], ..Launch::default() };
    let server = Server::launch(dir.path(), &launch);
    let mut client = server.client();
    for ask in [false, true] {
        let bytes = content(1, 1_500_000);
        let put = put_file("f", bytes.len());
        let answer = if ask { client.put_asking(put, &bytes) } else { client.put_as(put, &bytes) };
        assert_eq!(answer.unwrap().unwrap_err().code, ErrorCode::TooLarge);
        if ask {
            // What followed BEGIN is thrown away up to FINISH, which was sent.
            client.alive();
        }
    }
    client.put("g", &content(2, 900_000)).unwrap().unwrap();
    assert_eq!(client.list("").unwrap().unwrap().paths(), [b"g"]);
}

/// Long: 2,000 that drip and 2,000 that never read. Short: 50 and 50.
#[test]
fn slow_peers_are_gone_after_their_deadline_and_honest_ones_never_notice() {
    raise_own_descriptor_limit();
    let count = scaled(50, 2_000);
    let dir = TempDir::new().unwrap();
    File::create(dir.path().join("big")).unwrap().set_len(64 << 20).unwrap();
    let bytes = content(1, 200_000);
    fs::write(dir.path().join("f"), &bytes).unwrap();
    let server =
        Server::start(dir.path(), &["--max-connections", "10900", "--stall-timeout", "5", "--idle-timeout", "8"]);
    let began = Instant::now();
    let never_reading = |_| {
        let mut client = server.client();
        client.send(Request::Get(whole("big"))).unwrap();
        client
    };
    let sinks: Vec<_> = (0..count).map(never_reading).collect();
    let dripping = |number| {
        let mut client = server.client();
        let mut frames = Vec::new();
        Request::Put(put_file(format!("drip{number}"), 1000)).encode(&mut frames);
        frames.extend(common::data_frame(&[0; 1000]));
        client.raw(&frames[..frames.len() - 900]).unwrap();
        client
    };
    let mut drips: Vec<_> = (0..count).map(dripping).collect();
    let set_up = began.elapsed();
    let gone = || {
        let log = server.log(Log::Events);
        log.iter().filter(|line| line.contains("event=disconnect") && line.contains("in 5 s")).count()
    };
    let (mut honest, mut beat) = (0, Instant::now());
    while gone() < 2 * count {
        assert!(began.elapsed() < set_up + Duration::from_secs(65), "{} of {} are gone", gone(), 2 * count);
        let mut client = server.client();
        assert_eq!(client.get("f").unwrap().unwrap().bytes, bytes);
        client.put(format!("honest/{honest}"), &bytes).unwrap().unwrap();
        honest += 1;
        if beat.elapsed() >= Duration::from_secs(1) {
            beat = Instant::now();
            // Those that were closed already refuse the byte.
            drips.iter_mut().for_each(|client| drop(client.raw(&[0])));
        }
    }
    eprintln!(
        "{} slow peers were gone {:?} after the first came; {honest} honest rounds meanwhile",
        2 * count,
        began.elapsed()
    );
    assert!(honest > 0);
    drop(sinks);
}
