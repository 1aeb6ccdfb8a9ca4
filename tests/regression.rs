//! Defects that were found and fixed, each with its cause.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

mod common;

use common::{Frame, Log, Server, Strace, content, digest_of, eventually, kept_port, put_file, upload_id, whole};
use hostdir::wire::{
    Begin, ErrorCode, Gap, Put, PutKind, RawBytes, Receipt, ReceiptOutcome, ReceiverState, Receivers, Reply, Request,
    StoredOutcome, Subscribe, SubscriberId, TransferId,
};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn served(arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

/// Cause: whatever ended a session was sent as an ERROR frame, also to a peer that had not shown the preamble.
#[test]
fn another_protocol_got_an_error_frame() {
    let (_dir, server) = served(&[]);
    let mut client = server.connection();
    client.raw(b"EHLO example.org\r\n").unwrap();
    let mut answer = Vec::new();
    client.stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"");
}

/// Cause: the limit in the message was what was left of the deadline when the last read began.
#[test]
fn a_timeout_named_what_was_left_instead_of_the_limit() {
    let (_dir, server) = served(&["--idle-timeout", "1"]);
    assert_eq!(server.client().refused(ErrorCode::Timeout), "next frame: not in 1 s");
    let (_dir, server) = served(&["--stall-timeout", "2"]);
    let mut client = server.client();
    client.send(Request::Put(put_file("f", 10))).unwrap();
    assert_eq!(client.refused(ErrorCode::Timeout), "next frame: not in 2 s");
}

/// Cause: refusals waited in a queue of 256 for a thread that tried every socket it held for each of them; beyond the
/// queue, newcomers were closed without a word.
#[test]
fn newcomers_in_a_storm_were_closed_without_hearing_busy() {
    let (_dir, server) = served(&["--max-connections", "1"]);
    let _only = server.client();
    for _ in 0..4 {
        let storm: Vec<_> = (0..1500).map(|_| server.connection()).collect();
        for mut newcomer in storm {
            newcomer.read_preamble().unwrap();
            newcomer.refused(ErrorCode::Busy);
        }
    }
}

/// Cause: the claim to an upload's identity ended with its last byte, before the file was flushed and named. A sender that
/// came back meanwhile was given the same partial file, and truncated it under its new name.
#[test]
fn an_upload_could_be_changed_after_it_was_stored_by_its_sender_coming_back() {
    if !Strace::is_possible() {
        return eprintln!("SKIPPED: strace cannot attach here");
    }
    let (dir, server) = served(&[]);
    let bytes = content(1, 100_000);
    let put = Put { upload: Some(upload_id(1)), digest: Some(digest_of(&bytes)), ..put_file("f", bytes.len()) };
    let mut lost = server.client();
    lost.ask(put.clone()).unwrap().unwrap();
    let strace = Strace::attach(server.pid(), &["fsync:delay_enter=1500000".into()]);
    lost.upload_from(0, &bytes).unwrap();
    eventually("all bytes are there", || {
        let partial = dir.path().join(".hostdir/partial").join(upload_id(1).to_string());
        partial.metadata().is_ok_and(|it| it.len() == bytes.len() as u64)
    });
    let mut back = server.client();
    match back.ask(put).unwrap() {
        Err(answer) => assert_eq!(answer.unwrap().outcome, StoredOutcome::Identical),
        Ok(_) => {
            back.send(Request::Begin(Begin { offset: 0 })).unwrap();
            eventually("it is named", || dir.path().join("f").exists());
        }
    }
    drop(strace);
    assert!(fs::read(dir.path().join("f")).unwrap() == bytes);
}

/// Cause: WAIT was sent while files were hashed, but not while they were flushed, which takes as long on a slow disk; a
/// client gives up after 60 s of silence.
#[test]
fn nothing_was_said_while_a_slow_disk_flushed() {
    if !Strace::is_possible() {
        return eprintln!("SKIPPED: strace cannot attach here");
    }
    let (_dir, server) = served(&[]);
    let mut client = server.client();
    let _strace = Strace::attach(server.pid(), &["fsync:delay_enter=9000000:when=1".into()]);
    client.put("f", b"x").unwrap().unwrap();
    assert!(client.waits >= 1);
}

/// Cause: WAIT was sent while the content of files was flushed, but not while the folders were that they went into, nor
/// while what was there already was made durable before it was called identical.
#[test]
fn nothing_was_said_while_a_slow_disk_flushed_folders() {
    if !Strace::is_possible() {
        return eprintln!("SKIPPED: strace cannot attach here");
    }
    let (dir, server) = served(&[]);
    fs::write(dir.path().join("there"), b"x").unwrap();
    let [mut file, mut folder, mut identical] = [(); 3].map(|()| server.client());
    // The second flush of a file's group is that of its folder.
    let injections = ["fsync:delay_enter=9000000:when=2", "syncfs:delay_enter=9000000:when=1"];
    let _strace = Strace::attach(server.pid(), &injections.map(String::from));
    file.send_put(put_file("f", 1), b"x").unwrap();
    folder.send(Request::Put(Put { kind: PutKind::Folder, size: None, ..put_file("new/folder", 0) })).unwrap();
    let there = Put { digest: Some(digest_of(b"x")), ask: true, ..put_file("there", 1) };
    identical.send(Request::Put(there)).unwrap();
    for (client, outcome) in
        [(&mut file, StoredOutcome::New), (&mut folder, StoredOutcome::New), (&mut identical, StoredOutcome::Identical)]
    {
        assert_eq!(client.stored().unwrap().unwrap().outcome, outcome);
        assert!(client.waits >= 1, "{outcome:?}");
    }
}

/// Cause: whoever found a folder took its name for durable, also where another connection had made it a moment ago and not
/// flushed it yet. A file that was acknowledged in it could be lost with the folder.
#[test]
fn a_file_was_acknowledged_in_a_folder_that_a_power_cut_could_take() {
    if !Strace::is_possible() {
        return eprintln!("SKIPPED: strace cannot attach here");
    }
    let (dir, server) = served(&[]);
    let logs = TempDir::new().unwrap();
    let log = logs.path().join("strace");
    let (mut maker, mut other) = (server.client(), server.client());
    let mut bytes = Vec::new();
    Request::Put(Put { kind: PutKind::Folder, size: None, ..put_file("a/b", 0) }).encode(&mut bytes);
    // The beginning of another request: while that is read, the folders wait for company.
    maker.raw(&[&bytes[..], &[0, 0]].concat()).unwrap();
    eventually("the folders are made", || dir.path().join("a/b").exists());
    let strace = Strace::note(server.pid(), "fsync", &log);
    other.put("a/b/f", b"x").unwrap().unwrap();
    drop(strace);
    let flushed = fs::read_to_string(&log).unwrap();
    for folder in [dir.path().to_owned(), dir.path().join("a"), dir.path().join("a/b")] {
        assert!(flushed.contains(&format!("<{}>", folder.display())), "{}: {flushed}", folder.display());
    }
    // The maker was not waited for: it is still at its request.
    maker.raw(&[0, 1, 9, 0xa0]).unwrap();
    maker.stored().unwrap().unwrap();
}

/// Cause: a session of a stopping server ended right after the last byte of its download, so the receipt was not read and
/// the log said `incomplete`.
#[test]
fn the_receipt_of_the_last_download_was_not_read() {
    let (dir, mut server) = served(&[]);
    fs::File::create(dir.path().join("big")).unwrap().set_len(32 << 20).unwrap();
    let mut client = server.client();
    client.send(Request::Get(whole("big"))).unwrap();
    let Frame::Reply(Reply::File(header)) = client.receive().unwrap() else { panic!("no FILE") };
    server.terminate();
    server.logged(Log::Events, &["event=stopping"]);
    let transfer = header.transfer;
    client.take_bytes(header).unwrap().unwrap();
    client.receipt(transfer).unwrap();
    assert_eq!(server.wait(), 0);
    server.logged(Log::Transfers, &["event=download", "status=ok"]);
}

/// What `client ping` prints on standard output while nothing listens, with `HOSTDIR_JSON` set to `word`.
fn ping_with_json(word: &str) -> (Option<i32>, String) {
    let port = kept_port();
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    client.args(["ping", "--port", &port.to_string()]).env("HOSTDIR_JSON", word);
    let output = client.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Switches in the environment took `true` and `false` only, and `1` was a usage error.
#[test]
fn a_switch_in_the_environment_takes_the_usual_words() {
    for on in ["true", "1", "yes", "on"] {
        let (code, said) = ping_with_json(on);
        assert_eq!((code, said.starts_with('{')), (Some(4), true), "{on}: {said}");
    }
    for off in ["false", "0", "no", "off"] {
        assert_eq!(ping_with_json(off), (Some(4), String::new()), "{off}");
    }
    assert_eq!(ping_with_json("ture").0, Some(2));
}

/// The line that says why the server does not start was written in pieces, while the console's thread still printed.
#[test]
fn why_the_server_does_not_start_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"));
    server.arg("--dir").arg(dir.path().join("new")).arg("--log-dir").arg(dir.path().join("logs"));
    server.args(["--ip", "127.0.0.1", "--port", &port]);
    server.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let code = server.spawn().unwrap().wait().unwrap().code();
    drop(server);
    let said = std::io::read_to_string(reader).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        matches!(lines[..], [dir, logs, why] if dir.starts_with("Made ") && logs.starts_with("Made ") && why.starts_with("server: ")),
        "{said}"
    );
    assert_eq!(code, Some(3));
}

/// Cause: the time was taken twice, once for the journal and once for those who follow.
#[test]
fn an_arrival_had_another_time_for_those_who_came_late() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let first = |server: &Server, after| {
        let mut follower = server.client();
        let folders = vec![RawBytes(Vec::new())];
        follower.send(Request::Subscribe(Subscribe { folders, after, journal: None, subscriber: None })).unwrap();
        assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
        server.client().put("f", b"x").unwrap().unwrap();
        loop {
            match follower.receive().unwrap() {
                Frame::Reply(Reply::Arrived(arrived)) => return arrived,
                Frame::Reply(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let told_at_once = first(&server, None);
    server.kill();
    assert_eq!(first(&Server::start(dir.path(), &[]), Some(0)), told_at_once);
}

/// Cause: 0 was taken for "the oldest that is known" also where it was the cursor of one who had followed an empty folder.
#[test]
fn whoever_followed_before_the_first_arrival_was_not_told_of_a_gap() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--keep-arrivals", "8"]);
    let ask = |server: &Server, after, journal| {
        let mut follower = server.client();
        let folders = vec![RawBytes(Vec::new())];
        follower.send(Request::Subscribe(Subscribe { folders, after, journal, subscriber: None })).unwrap();
        let Frame::Reply(Reply::Subscribed(subscribed)) = follower.receive().unwrap() else { panic!() };
        (follower, subscribed)
    };
    let (_, first) = ask(&server, None, None);
    assert_eq!(first.after, 0);
    for number in 0..40 {
        server.client().put(format!("f{number}"), b"x").unwrap().unwrap();
    }
    server.kill();
    let server = Server::start(dir.path(), &["--keep-arrivals", "8"]);
    let (mut follower, again) = ask(&server, Some(0), Some(first.journal));
    let gone = again.oldest - 1;
    assert!((again.after, gone > 20) == (0, true), "{again:?}");
    assert_eq!(follower.receive().unwrap(), Frame::Reply(Reply::Gap(Gap { after: gone, missed: Some(gone) })));
    // Who asks for the oldest that is known misses nothing.
    assert_eq!(ask(&server, Some(0), None).1.after, gone);
}

/// Cause: a subscriber was called gone as soon as the connection that follows ended, while its word that it had the file was
/// still on its way on another one.
#[test]
fn a_receiver_was_called_gone_before_its_last_word_was_heard() {
    let (_dir, server) = served(&[]);
    let (mut follower, mut fetching, mut sender) = (server.client(), server.client(), server.client());
    let subscriber = Some(SubscriberId([1; 16]));
    let folders = vec![RawBytes(Vec::new())];
    follower.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber })).unwrap();
    assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    let number = sender.put("f", b"x").unwrap().unwrap().number;
    sender.send(Request::Receivers(Receivers { number: number.unwrap(), wait: 60 })).unwrap();
    let before = server.log(Log::Events).len();
    drop(follower);
    eventually("its end is seen", || server.log(Log::Events)[before..].join("").contains("event=disconnect"));
    let verified = Receipt::new(TransferId(0), ReceiptOutcome::Verified);
    fetching.send(Request::Receipt(Receipt { number, subscriber, ..verified })).unwrap();
    let Frame::Reply(Reply::Received(received)) = sender.receive().unwrap() else { panic!() };
    assert_eq!(received.receivers[0].state, ReceiverState::Verified);
}

/// Cause: an allowance of ten minutes for clocks that are set back, where the journal had dropped its oldest arrivals. Files of
/// arrivals that were dropped then were taken for lost ones.
#[test]
fn files_whose_arrivals_were_forgotten_arrived_again_at_every_start() {
    let keep = ["--keep-arrivals", "8"];
    let (dir, mut server) = served(&keep);
    for number in 0..40 {
        server.client().put(format!("f{number}"), b"x").unwrap().unwrap();
    }
    for start in 0..2 {
        server.kill();
        server = Server::start(dir.path(), &keep);
        let mut follower = server.client();
        let folders = vec![RawBytes(Vec::new())];
        follower.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
        assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
        // When the second of two has come to rest, so has all that was found at the start.
        for sign in ["one", "two"] {
            let sign = format!("{sign} {start}");
            fs::write(dir.path().join(&sign), "x").unwrap();
            let arrived = loop {
                match follower.receive().unwrap() {
                    Frame::Reply(Reply::Arrived(arrived)) => break arrived,
                    Frame::Reply(_) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(arrived.path, RawBytes(sign.into_bytes()));
        }
    }
}
