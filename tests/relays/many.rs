//! Many who listen, and slow ones: they cost the server little memory, and nobody else any time.

use super::common::websocket::{FINAL, PING, PONG, WsClient};
use super::common::{Random, Server, content, eventually, memory, put_file, scaled, upload_id};
use super::{base64, message, receiver, send_file, settle, subscriber};
use hostdir::wire::Put;
use std::io::Write;
use std::thread;

const MIB: usize = 1 << 20;
/// The most that the server may have held at any time, in KiB.
const MOST: u64 = 32 * 1024;

/// Takes a long message of text; the hash of what came after its head. Pings are answered, and nothing is kept.
fn take_long_message(client: &mut WsClient, head: &str) -> (blake3::Hash, u64) {
    let (mut hasher, mut total, mut room) = (blake3::Hasher::new(), 0, vec![0; MIB]);
    loop {
        let (first, length) = client.receive_header().unwrap().expect("more of the message");
        let payload = &mut room[..length as usize];
        client.receive_some(payload).unwrap();
        if first & 0xf == PING {
            let payload = payload.to_vec();
            client.frame(FINAL | PONG, &payload);
            continue;
        }
        assert!(first & 0xf <= 1, "{first:x} after {total} bytes");
        hasher.update(payload);
        total += length;
        if first & FINAL != 0 {
            assert!(total >= head.len() as u64);
            return (hasher.finalize(), total);
        }
    }
}

#[test]
fn ten_subscribers_to_a_long_message_cost_little_memory() {
    let dir = memory();
    let size = scaled(40 * MIB, 200 * MIB);
    let server = Server::start(dir.path(), &["--min-free-space", "0"]);
    let bytes = content(1, size);
    let head = "application/x-long:long.bin:";
    let mut expected = blake3::Hasher::new();
    expected.update(head.as_bytes());
    let text = message("t", "application/x-long", "long.bin", &bytes);
    expected.update(text.strip_prefix("message:t:application/x-long:long.bin:").unwrap().as_bytes());
    let expected = (expected.finalize(), (head.len() + size.div_ceil(3) * 4) as u64);
    let listeners: Vec<WsClient> = (0..10).map(|_| subscriber(&server, "t")).collect();
    thread::scope(|scope| {
        let takers: Vec<_> = listeners
            .into_iter()
            .map(|mut listener| scope.spawn(move || take_long_message(&mut listener, head)))
            .collect();
        let mut sender = WsClient::connect(&server, "/");
        sender.text(&text);
        drop(text);
        super::finish(sender);
        for taker in takers {
            assert_eq!(taker.join().unwrap(), expected);
        }
    });
    let peak = server.memory_kib("VmHWM");
    eprintln!("ten subscribers to {} MiB: the server held {peak} KiB at most", size / MIB);
    assert!(peak < MOST, "{peak} KiB");
}

#[test]
fn those_who_do_not_read_hold_up_nobody() {
    let (_dir, server) = super::served(&[]);
    let mut stalled: Vec<WsClient> = (0..5).map(|_| subscriber(&server, "live")).collect();
    stalled.extend((0..5).map(|_| receiver(&server)));
    let (mut listener, mut quick) = (subscriber(&server, "live"), receiver(&server));
    let mut sender = WsClient::connect(&server, "/sender");
    // Far more than the kernels' buffers hold for those who do not read.
    for round in 0..4 {
        let bytes = content(round, 8 * MIB);
        send_file(&mut sender, &format!("{round}"), &bytes);
        let (name, got) = super::received(&mut quick);
        assert!((name, got) == (format!("{round}"), bytes.clone()));
        let text = listener.next_text();
        assert!(text == format!("application/octet-stream:{round}:{}", base64(&bytes)));
    }
    assert!(server.memory_kib("VmHWM") < MOST, "{} KiB", server.memory_kib("VmHWM"));
    drop(stalled);
}

#[test]
fn those_who_wait_hold_no_buffers() {
    const LISTENERS: u64 = 200;
    let (_dir, server) = super::served(&[]);
    let mut listeners: Vec<WsClient> =
        (0..LISTENERS).map(|number| subscriber(&server, &format!("topic {number}"))).collect();
    let before = server.memory_kib("VmRSS");
    let bytes = content(1, 300_000);
    // One after another, so that what one gives back serves the next.
    for (number, listener) in listeners.iter_mut().enumerate() {
        server.client().put(format!("topic {number}/f"), &bytes).unwrap().unwrap();
        assert!(listener.next_text().ends_with(&base64(&bytes)));
        settle(listener);
    }
    let each = server.memory_kib("VmRSS").saturating_sub(before) / LISTENERS;
    // What a thread's stack has grown by; a buffer of a part would be 64 KiB.
    assert!(each < 48, "each holds {each} KiB more than before its first file");
}

#[test]
fn senders_that_are_cut_at_random_leave_whole_files_or_none() {
    let dir = memory();
    let server = Server::start(dir.path(), &[]);
    let mut random = Random::announced("senders_that_are_cut_at_random_leave_whole_files_or_none");
    let mut stored = Vec::new();
    for round in 0..scaled(15, 150) {
        let bytes = content(round, 150_000);
        let name = format!("{round}");
        let text = message("t", "m", &name, &bytes);
        let frame = super::common::websocket::masked(FINAL | 1, text.as_bytes());
        let cut = random.below(frame.len() as u64 + 1) as usize;
        let mut sender = WsClient::connect(&server, "/");
        sender.stream.write_all(&frame[..cut]).unwrap();
        if cut == frame.len() {
            super::finish(sender);
            stored.push(name);
        } else {
            drop(sender);
        }
        let put = Put { upload: Some(upload_id(round)), ..put_file(format!("t/native {round}"), 10) };
        server.client().put_asking(put, &content(round, 10)).unwrap().unwrap();
        stored.push(format!("native {round}"));
    }
    stored.sort();
    eventually("nothing is kept", || super::names(&dir.path().join(".hostdir/partial")).is_empty());
    assert_eq!(super::names(&dir.path().join("t")), stored);
}
