//! Servers that lie: nothing is written outside the folder, nothing is replaced, nothing reaches the terminal raw.

use crate::fake::{Fake, Peer, file, folder, header, welcome};
use crate::scene::{Run, random, run, write};
use hostdir::wire::{
    Digest, End, ErrorCode, Fault, FileHeader, FrameHeader, Kind, Listed, Offer, Reply, Request, Stored, StoredOutcome,
    TransferId, Welcome,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const ESCAPE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}";

fn no_escapes(run: &Run) {
    let harmful = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']);
    assert!(!harmful(&run.out) && !harmful(&run.err), "{run:?}");
}

/// Everything is listed by `list`; a GET gets `content`.
fn listing(list: impl Fn(&mut Peer) + Send + Sync + 'static) -> Fake {
    Fake::start(move |peer, request| match request {
        Request::List(_) => list(peer),
        Request::Get(_) => peer.file(b"content"),
        _ => {}
    })
}

#[test]
fn names_that_lead_elsewhere_are_left_out_and_counted() {
    let long = [b'a'; 300];
    let fake = listing(move |peer| {
        let names: [&[u8]; 11] =
            [b"../x", b"..", b".", b"", b"/etc/x", b"a/b", b".hostdir", b".HostDir", b"a\\b", b"a\0b", &long];
        let entries: Vec<_> = names.iter().map(|name| file(name, 7)).chain([file(b"good", 7)]).collect();
        peer.entries(b"", &entries);
        for elsewhere in [&b".."[..], b"../..", b"/etc", b".hostdir", b"a/../..", b"a//b"] {
            peer.entries(elsewhere, &[file(b"x", 7)]);
        }
        peer.listed(18);
    });
    fake.run(&["get", "/"]).ok().says("1 of 1 file").says("17 left out");
    fake.left(&["good"]);
    assert_eq!(fake.run(&["list", "-R"]).ok().out, "good\n");
    assert_eq!(fake.run(&["list", "-R", "-U"]).ok().out, "good\n");
}

#[test]
fn what_was_not_asked_for_is_not_taken() {
    let fake = listing(|peer| {
        peer.entries(b"docs", &[file(b"asked", 7)]);
        peer.entries(b"elsewhere", &[file(b"planted", 7)]);
        peer.entries(b"", &[file(b".bashrc", 7)]);
        peer.listed(3);
    });
    fake.run(&["get", "docs"]).refused(7, &["broke the protocol", "not asked for"]);
    fake.left(&[]);
    fake.run(&["list", "-U", "docs"]).ends(7);
}

#[test]
fn a_listing_of_one_folder_does_not_reach_below_it() {
    let fake = listing(|peer| {
        peer.entries(b"a/b", &[file(b"deep", 7)]);
        peer.listed(1);
    });
    fake.run(&["list", "a"]).refused(7, &["not asked for"]);
}

#[test]
fn names_and_messages_reach_the_terminal_escaped() {
    let name = format!("f{ESCAPE}\n.txt");
    let fake = Fake::raw(move |peer| {
        let said = Some(format!("attic{ESCAPE}"));
        if !peer.greet(Welcome { name: said.clone(), agent: said.clone(), ..welcome() }) {
            return;
        }
        while let Some(request) = peer.request() {
            match request {
                Request::List(list) if !list.path.is_empty() => {
                    peer.reply(&Reply::Error(Fault { code: ErrorCode::Unavailable, message: said.clone() }));
                }
                Request::List(_) => {
                    peer.entries(b"", &[file(name.as_bytes(), 7), folder(format!("d{ESCAPE}").as_bytes())]);
                    peer.listed(2);
                }
                Request::Get(get) if get.path.starts_with(b"f") => peer.file(b"content"),
                Request::Ping => peer.reply(&Reply::Pong),
                Request::Put(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::Exists, message: said.clone() })),
                _ => {}
            }
        }
    });
    write(&fake.local.path().join("downloads/source"), b"x");
    let source = fake.downloads().join("source");
    for words in [
        &["list"][..],
        &["list", "-l"],
        &["list", "--json"],
        &["list", "-U"],
        &["list", "bad"],
        &["list", "bad", "--json"],
        &["get", "/"],
        &["get", "/", "--json"],
        &["get", "/", "-v"],
        &["get", "/", "--dry-run"],
        &["get", "bad"],
        &["get", "bad", "-o", "-"],
        &["ping"],
        &["ping", "--json"],
        &["put", source.to_str().unwrap()],
        &["put", source.to_str().unwrap(), "--json"],
    ] {
        let run = fake.run(words);
        no_escapes(&run);
        assert!([0, 8].contains(&run.code.unwrap()), "{words:?}: {run:?}");
    }
}

#[test]
fn a_name_that_got_a_hostile_number_is_escaped() {
    let fake = Fake::start(|peer, request| match request {
        Request::List(_) => {
            peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None }));
        }
        Request::Finish(_) => peer.reply(&Reply::Stored(Stored {
            transfer: TransferId(1),
            path: format!("x{ESCAPE}").as_bytes().into(),
            outcome: StoredOutcome::Renamed,
            number: None,
        })),
        _ => {}
    });
    write(&fake.downloads().join("f"), b"x");
    for flag in ["-v", "--json"] {
        no_escapes(&fake.run(&["put", fake.downloads().join("f").to_str().unwrap(), flag]).ok());
    }
}

/// A download of the one file, which must fail with `code` and leave nothing.
#[track_caller]
fn spoiled(code: i32, part: &str, answer: impl Fn(&mut Peer) + Send + Sync + 'static) {
    let fake = Fake::with_file(b"f", 1_000_000, answer);
    let run = fake.run(&["get", "f", "--json", "--retries", "0", "--timeout", "5"]).ends(code);
    assert_eq!(run.file("f")["status"], "failed", "{run:?}");
    assert!(run.file("f")["message"].as_str().unwrap().contains(part), "{run:?}");
    fake.left(&[]);
    fake.run(&["get", "f", "-o", "-", "--timeout", "5"]).ends(code).says(part);
}

#[test]
fn more_bytes_than_announced_are_a_broken_protocol() {
    spoiled(7, "more bytes than announced", |peer| {
        peer.reply(&Reply::File(header(1_000_000)));
        peer.data(&random(1, 1_000_000));
        peer.data(&random(2, 1_000_000));
        peer.end(b"");
    });
    spoiled(7, "more bytes than announced", |peer| {
        peer.reply(&Reply::File(header(3)));
        peer.data(b"four");
        peer.end(b"four");
    });
}

#[test]
fn what_follows_after_too_many_bytes_is_still_fetched() {
    let fake = Fake::start(|peer, request| match request {
        Request::List(_) => {
            peer.entries(b"", &[file(b"a", 3), file(b"b", 3)]);
            peer.listed(2);
        }
        Request::Get(get) if get.path.starts_with(b"a") => {
            peer.reply(&Reply::File(header(3)));
            peer.data(b"four");
            peer.end(b"four");
        }
        Request::Get(_) => peer.file(b"bbb"),
        _ => {}
    });
    for flags in [&["--serial"][..], &["--parallel"]] {
        fake.run(&[&["get", "/"], flags].concat()).ends(7).says("more bytes than announced");
        fake.left(&["b"]);
    }
}

#[test]
fn no_more_requests_are_on_their_way_than_a_server_must_take() {
    let names: Vec<String> = (0..400).map(|number| format!("{number:03}{}", "n".repeat(250))).collect();
    let size = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start({
        let size = Arc::clone(&size);
        move |peer, request| match request {
            Request::List(_) => {
                let entries: Vec<_> = names.iter().map(|name| file(name.as_bytes(), 1)).collect();
                entries.chunks(100).for_each(|page| peer.entries(b"", page));
                peer.listed(400);
            }
            request @ Request::Get(_) => {
                let mut bytes = Vec::new();
                request.encode(&mut bytes);
                size.fetch_add(bytes.len(), Ordering::AcqRel);
            }
            _ => {}
        }
    });
    fake.run(&["get", "/", "--serial", "--timeout", "2", "--retries", "0"]).ends(4);
    let size = size.load(Ordering::Acquire);
    assert!((20_000..=65_536).contains(&size), "{size} bytes of requests without an answer");
}

#[test]
fn another_digest_is_never_put_in_place() {
    spoiled(7, "", |peer| {
        peer.reply(&Reply::File(header(7)));
        peer.data(b"content");
        peer.end(b"other");
    });
    spoiled(7, "", |peer| {
        peer.reply(&Reply::File(header(1_000_000)));
        peer.data(&random(1, 1_000_000));
        peer.end(&random(2, 1_000_000));
    });
}

#[test]
fn an_end_without_digest_or_before_its_time_is_a_broken_protocol() {
    spoiled(7, "before all bytes", |peer| {
        peer.reply(&Reply::File(header(1_000_000)));
        peer.data(&random(1, 999_999));
        peer.end(&random(1, 999_999));
    });
    spoiled(7, "", |peer| {
        peer.reply(&Reply::File(header(7)));
        peer.data(b"content");
        peer.reply(&Reply::End(End::default()));
    });
}

#[test]
fn another_part_than_was_asked_for_is_a_broken_protocol() {
    spoiled(7, "another part", |peer| {
        peer.reply(&Reply::File(FileHeader { offset: 5, length: 2, ..header(7) }));
        peer.data(b"nt");
        peer.end(b"content");
    });
    spoiled(7, "another part", |peer| {
        peer.reply(&Reply::File(FileHeader { length: 2, ..header(7) }));
        peer.data(b"co");
        peer.end(b"content");
    });
    spoiled(7, "more bytes than the file has", |peer| {
        peer.reply(&Reply::File(FileHeader { offset: u64::MAX, length: 2, ..header(7) }));
        peer.data(b"co");
        peer.end(b"content");
    });
}

#[test]
fn an_answer_to_something_else_is_a_broken_protocol() {
    spoiled(7, "unexpected Stored", |peer| {
        peer.reply(&Reply::Stored(Stored {
            transfer: TransferId(1),
            path: b"f"[..].into(),
            outcome: StoredOutcome::New,
            number: None,
        }));
    });
    spoiled(7, "unexpected Data", |peer| peer.data(b"content"));
    spoiled(7, "unknown frame kind", |peer| peer.send(&[0, 0, 0, 1, 0x3f, 0]));
    spoiled(7, "limit", |peer| peer.send(&[0xff, 0xff, 0xff, 0xff, 0x84]));
    spoiled(7, "malformed", |peer| peer.send(&[0, 0, 0, 1, 0x84, 0xff]));
    spoiled(7, "without bytes", |peer| {
        peer.reply(&Reply::File(header(7)));
        peer.send(&FrameHeader { kind: Kind::Data, length: 0 }.encode());
    });
}

#[test]
fn a_size_that_no_disk_has_is_an_error_of_this_machine() {
    let fake = Fake::with_file(b"f", 10, |peer| {
        peer.reply(&Reply::File(header(1 << 60)));
        peer.until_closed();
    });
    fake.run(&["get", "f", "--timeout", "20", "--retries", "0"]).ends(3).says("f");
    fake.left(&[]);
    let fake = Fake::with_file(b"f", 1 << 60, |_| {});
    fake.run(&["get", "f"]).refused(3, &["need", "free", "Nothing written"]);
    fake.left(&[]);
}

#[test]
fn sums_of_announced_sizes_do_not_overflow() {
    let fake = listing(|peer| {
        peer.entries(b"", &[file(b"a", u64::MAX), file(b"b", u64::MAX), file(b"c", 3)]);
        peer.listed(3);
    });
    fake.run(&["get", "/"]).refused(3, &["Nothing written"]);
    fake.run(&["get", "/", "--dry-run"]).ok();
    fake.run(&["list", "-l"]).ok();
    fake.left(&[]);
}

#[test]
fn a_digest_asked_about_takes_no_bytes() {
    let fake = Fake::with_file(b"f", 7, |peer| peer.file(b"content"));
    write(&fake.downloads().join("f"), b"mine!!!");
    fake.run(&["get", "f", "--on-conflict", "skip"]).ends(7).says("another part");
    assert_eq!(fs::read(fake.downloads().join("f")).unwrap(), b"mine!!!");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let patience = ["--timeout", "1", "--retries", "0"];
    let mute = Fake::raw(Peer::until_closed);
    let greeted = Fake::raw(|peer| {
        _ = peer.greet(welcome()) && {
            peer.until_closed();
            true
        }
    });
    let listed = Fake::with_file(b"f", 7, Peer::until_closed);
    let begun = Fake::with_file(b"f", 70, |peer| {
        peer.reply(&Reply::File(header(70)));
        peer.data(b"content");
        peer.until_closed();
    });
    for (fake, words) in
        [(&mute, ["list", "f"]), (&greeted, ["list", "f"]), (&listed, ["get", "f"]), (&begun, ["get", "f"])]
    {
        let run = fake.run(&[&words[..], &patience].concat()).ends(4);
        assert!(run.err.contains("in 1 s"), "{run:?}");
        fake.left(&[]);
    }
}

#[test]
fn a_server_that_says_wait_is_waited_for() {
    let fake = Fake::with_file(b"f", 7, |peer| {
        let wait = |peer: &mut Peer| {
            // Longer than the silence that is granted.
            for _ in 0..8 {
                thread::sleep(Duration::from_millis(600));
                peer.reply(&Reply::Wait);
            }
        };
        wait(peer);
        peer.reply(&Reply::File(header(7)));
        peer.data(b"content");
        wait(peer);
        peer.end(b"content");
    });
    fake.run(&["get", "f", "--timeout", "3", "--retries", "0"]).ok();
    fake.left(&["f"]);
}

#[test]
fn a_listing_without_end_ends() {
    let fake = listing(|peer| {
        let entries: Vec<_> =
            (0..4_000_u32).map(|number| file(&number.to_le_bytes().map(|byte| byte | 0x40), 7)).collect();
        let mut page = Vec::new();
        Reply::Entries(hostdir::wire::Entries { folder: b""[..].into(), entries }).encode(&mut page);
        // Far more than any directory has; a client that is satisfied hangs up.
        (0..3_000).for_each(|_| peer.send(&page));
        peer.reply(&Reply::Listed(Listed::default()));
    });
    fake.run(&["list"]).refused(7, &["broke the protocol", "entries"]);
}

#[test]
fn nothing_that_is_there_is_replaced() {
    let fake = Fake::with_file(b"f", 7, |peer| peer.file(b"content"));
    write(&fake.downloads().join("f"), b"mine");
    fake.run(&["get", "f"]).ok();
    assert_eq!(fs::read(fake.downloads().join("f")).unwrap(), b"mine");
    assert_eq!(fs::read(fake.downloads().join("f (1)")).unwrap(), b"content");
}

#[test]
fn links_in_the_download_folder_are_not_followed() {
    let fake = listing(|peer| {
        peer.entries(b"", &[folder(b"sub"), file(b"f", 7)]);
        peer.entries(b"sub", &[file(b"x", 7), folder(b"deeper")]);
        peer.entries(b"sub/deeper", &[file(b"y", 7)]);
        peer.listed(5);
    });
    let outside = tempfile::tempdir().unwrap();
    write(&outside.path().join("target"), b"theirs!");
    let before = crate::scene::tree(outside.path());
    for policy in ["rename", "overwrite", "skip", "fail"] {
        let _ = fs::remove_dir_all(fake.downloads());
        fs::create_dir(fake.downloads()).unwrap();
        symlink(outside.path(), fake.downloads().join("sub")).unwrap();
        symlink(outside.path().join("target"), fake.downloads().join("f")).unwrap();
        let run = fake.run(&["get", "/", "--on-conflict", policy]).ends(8);
        assert!(run.err.contains("not a folder"), "{run:?}");
        crate::scene::assert_same(&before, &crate::scene::tree(outside.path()));
        assert!(fs::symlink_metadata(fake.downloads().join("f")).unwrap().is_symlink());
        let output = fake.downloads().join("sub/z");
        let _ = run_get_output(&fake, &output);
    }
}

/// `-o` names a place of the user's own, links and all.
fn run_get_output(fake: &Fake, output: &std::path::Path) -> Run {
    let run = run(fake.client().args(["get", "f", "-o"]).arg(output));
    let _ = fs::remove_file(output);
    run
}

#[test]
fn an_offer_that_lies_begins_at_nothing() {
    let wrong = Some(Digest([7; 32]));
    for (offset, digest) in [(6_000_000, wrong), (1_000_000, wrong), (3_000_000, wrong), (1_000_000, None)] {
        let fake = Fake::start(move |peer, request| match request {
            Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
            Request::Put(_) => peer.reply(&Reply::Offer(Offer { transfer: TransferId(1), offset, digest })),
            Request::Begin(begin) if begin.offset == 0 => {}
            Request::Finish(_) => peer.reply(&Reply::Stored(Stored {
                transfer: TransferId(1),
                path: b"f"[..].into(),
                outcome: StoredOutcome::New,
                number: None,
            })),
            other => panic!("{other:?}"),
        });
        write(&fake.downloads().join("f"), &random(1, 3_000_000));
        let run = fake.run(&["put", fake.downloads().join("f").to_str().unwrap(), "--json", "--timeout", "20"]).ok();
        let file = run.file("f");
        assert_eq!((file["bytes"].as_u64(), file["resumed_from"].as_u64()), (Some(3_000_000), None), "{run:?}");
    }
}

#[test]
fn answers_that_an_upload_cannot_have_are_a_broken_protocol() {
    for size in [10, 3_000_000] {
        for reply in [Reply::Pong, Reply::End(End::default()), Reply::Listed(Listed::default())] {
            let fake = Fake::start(move |peer, request| match request {
                Request::List(_) => peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None })),
                Request::Put(_) => peer.reply(&reply),
                _ => {}
            });
            write(&fake.downloads().join("f"), &random(1, size));
            let run = fake.run(&["put", fake.downloads().join("f").to_str().unwrap()]).ends(7);
            assert!(run.err.contains("broke the protocol"), "{run:?}");
        }
    }
}
