//! A wire that delays, splits and cuts: a proxy between client and server that does it at every place.

use crate::common::{Random, RawClient, Server, content, digest_of, memory, put_file, scaled, upload_id};
use hostdir::wire::{Put, StoredOutcome};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What the proxy does to the bytes of one direction.
#[derive(Debug, Clone, Copy)]
enum Wire {
    Whole,
    /// Byte by byte, each in a write of its own.
    Split,
    /// Pieces of random sizes with pauses between them.
    Stutter(u64),
    /// After this many bytes both ends are reset.
    CutAfter(usize),
}

/// Carries one connection to `server`. Returns where to connect, and the thread that tells how many bytes went each way.
fn proxy(server: SocketAddr, up: Wire, down: Wire) -> (SocketAddr, thread::JoinHandle<(usize, usize)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let carrying = thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let server = TcpStream::connect(server).unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| carry(&client, &server, up, &sent));
            carry(&server, &client, down, &received);
        });
        (sent.into_inner(), received.into_inner())
    });
    (address, carrying)
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, wire: Wire, count: &AtomicUsize) {
    let mut buffer = [0; 4096];
    let mut random = Random::new(if let Wire::Stutter(seed) = wire { seed } else { 0 });
    let result: io::Result<()> = (|| {
        loop {
            let room = match wire {
                Wire::Split => 1,
                Wire::Stutter(_) => 1 + random.below(300) as usize,
                Wire::CutAfter(most) => (most - count.load(Ordering::Relaxed)).min(buffer.len()),
                Wire::Whole => buffer.len(),
            };
            if room == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let read = from.read(&mut buffer[..room])?;
            if read == 0 {
                return to.shutdown(Shutdown::Write);
            }
            if matches!(wire, Wire::Stutter(_)) && random.below(8) == 0 {
                thread::sleep(Duration::from_micros(random.below(3000)));
            }
            to.write_all(&buffer[..read])?;
            count.fetch_add(read, Ordering::Relaxed);
        }
    })();
    if result.is_err() {
        for socket in [from, to] {
            // No lingering: what is on its way is lost, as with a cut wire and a reset.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A small session: two uploads, one of them asked for, a download, a listing. Tells which uploads were acknowledged.
fn session(address: SocketAddr, name: &str, acknowledged: &mut [bool; 2]) -> io::Result<()> {
    let refused = |fault| io::Error::other(format!("{fault:?}"));
    let mut client = RawClient::greeted(address)?;
    let (first, second) = contents(name);
    client.put_as(put(name, 0, &first), &first)?.map_err(refused)?;
    acknowledged[0] = true;
    client.put_asking(put(name, 1, &second), &second)?.map_err(refused)?;
    acknowledged[1] = true;
    let got = client.get(format!("{name}/1"))?.map_err(refused)?;
    assert_eq!(got.bytes, second);
    client.receipt(got.header.transfer)?;
    let listing = client.list(name)?.map_err(refused)?;
    assert_eq!(listing.entries.len(), 2);
    Ok(())
}

fn contents(name: &str) -> (Vec<u8>, Vec<u8>) {
    ([name.as_bytes(), b" one"].concat(), [name.as_bytes(), &content(2, 100)].concat())
}

fn put(name: &str, number: usize, bytes: &[u8]) -> Put {
    let id: u64 = name.bytes().fold(number as u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
    Put {
        digest: Some(digest_of(bytes)),
        upload: Some(upload_id(id)),
        ..put_file(format!("{name}/{number}"), bytes.len())
    }
}

#[test]
fn a_wire_that_splits_and_stutters_changes_nothing() {
    let mut random = Random::announced("a stuttering wire");
    let dir = memory();
    let server = Server::start(dir.path(), &[]);
    let wires = [(Wire::Split, Wire::Split), (Wire::Split, Wire::Whole), (Wire::Whole, Wire::Split)];
    let stutters = (0..scaled(20, 500)).map(|_| (Wire::Stutter(random.next()), Wire::Stutter(random.next())));
    for (number, (up, down)) in wires.into_iter().chain(stutters).enumerate() {
        let (address, carrying) = proxy(server.address().into(), up, down);
        let mut acknowledged = [false; 2];
        session(address, &format!("s{number}"), &mut acknowledged).unwrap();
        carrying.join().unwrap();
    }
}

#[test]
fn a_reset_at_any_byte_leaves_whole_files_and_a_repeat_makes_no_second_one() {
    let dir = memory();
    let server = Server::start(dir.path(), &[]);
    let (address, carrying) = proxy(server.address().into(), Wire::Whole, Wire::Whole);
    session(address, "whole000", &mut [false; 2]).unwrap();
    let (sent, received) = carrying.join().unwrap();
    let cuts = (0..sent).map(|at| (Wire::CutAfter(at), Wire::Whole, format!("up{at:06}")));
    let cuts = cuts.chain((0..received).map(|at| (Wire::Whole, Wire::CutAfter(at), format!("down{at:04}"))));
    let mut lost = 0;
    for (up, down, name) in cuts {
        let (address, carrying) = proxy(server.address().into(), up, down);
        let mut acknowledged = [false; 2];
        let cut = session(address, &name, &mut acknowledged);
        carrying.join().unwrap();
        let (first, second) = contents(&name);
        for (number, bytes) in [&first, &second].into_iter().enumerate() {
            match std::fs::read(dir.path().join(format!("{name}/{number}"))) {
                Ok(found) => assert!(found == *bytes, "{name}/{number} is partial"),
                Err(_) => assert!(!acknowledged[number], "{name}/{number} was acknowledged and is lost: {cut:?}"),
            }
        }
        let mut client = server.client();
        for (number, bytes) in [first, second].into_iter().enumerate() {
            let stored = client.put_asking(put(&name, number, &bytes), &bytes).unwrap().unwrap();
            assert_eq!(&*stored.path, format!("{name}/{number}").as_bytes());
            lost += usize::from(stored.outcome == StoredOutcome::Identical && !acknowledged[number]);
        }
        assert_eq!(client.list(&name).unwrap().unwrap().entries.len(), 2);
    }
    eprintln!("{} resets, one at each byte; {lost} lost acknowledgements were found again", sent + received);
    assert!(lost > 0);
}
