//! The power is cut under uploaders: an ext4 image is shut down by its ioctl, taken up again, and compared with the ledger.

use crate::common::{Random, RawClient, Server, Strace, digest_of, memory, put_file, scaled, upload_id};
use crate::ledger::{Ledger, stamped};
use crate::mount::{self, Image};
use crate::topics::client as real_client;
use hostdir::wire::{Put, StoredOutcome};
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const SIZE: u64 = 256 << 20;
/// Most rounds of an uploader between two cuts, so that it never meets the end of the image.
const ROUNDS: u64 = 100;

/// Uploads until the power is cut: small files alone and in groups, some larger ones, into old and new folders.
fn upload(
    client: &mut RawClient,
    uploader: u64,
    random: &mut Random,
    ledger: &Ledger,
    count: &AtomicU64,
) -> io::Result<()> {
    for number in 0..ROUNDS {
        let group = if random.below(3) == 0 { 12 } else { 1 };
        let seeds: Vec<u64> = (0..group).map(|it| uploader << 40 | number << 8 | it).collect();
        let contents: Vec<Vec<u8>> = seeds
            .iter()
            .map(|seed| {
                let size = if group == 1 && random.below(4) == 0 {
                    200_000 + random.below(1_500_000)
                } else {
                    random.below(8_000)
                };
                stamped(*seed, size as usize)
            })
            .collect();
        for (seed, bytes) in seeds.iter().zip(&contents) {
            client.send_put(put_file(format!("{uploader}/{}/{seed}", number % 5), bytes.len()), bytes)?;
        }
        for seed in seeds {
            match client.stored()? {
                Ok(stored) => ledger.acknowledged(&stored.path, seed),
                // The disk is gone under it.
                Err(_) => return Ok(()),
            }
            count.fetch_add(1, Ordering::Release);
        }
    }
    Ok(())
}

fn cut_again_and_again(flag: u32) {
    let cuts = scaled(6, 500);
    let mut random = Random::announced(&format!("power cuts with flag {flag}"));
    let mut image = Image::new(SIZE, None);
    let ledger = Ledger::default();
    let mut sum = 0;
    for cut in 0..cuts {
        if cut % 5 == 0 || image.is_half_full() {
            image.clear();
            ledger.forget();
        }
        let server = Server::start(image.point(), &[]);
        let count = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for uploader in 0..3 {
                let mut client = server.client();
                let mut random = Random::new(random.next());
                let (ledger, count) = (&ledger, &count);
                scope.spawn(move || upload(&mut client, cut << 8 | uploader, &mut random, ledger, count));
            }
            let enough = 1 + random.below(40);
            crate::common::eventually("uploads are acknowledged", || count.load(Ordering::Acquire) >= enough);
            image.cut(flag);
            server.kill();
        });
        image.remount();
        ledger.check(image.point(), &format!("after cut {cut} with flag {flag}"));
        sum += count.into_inner();
    }
    eprintln!("{cuts} power cuts with flag {flag}, {sum} acknowledged uploads, none lost or wrong");
}

#[test]
fn a_power_cut_loses_no_acknowledged_name() {
    if mount::is_possible("power cuts with flag 2") {
        cut_again_and_again(2);
    }
}

#[test]
fn a_power_cut_shows_no_file_without_its_content() {
    if mount::is_possible("power cuts with flag 1") {
        cut_again_and_again(1);
    }
}

/// A sender whose STORED was lost takes `identical` for it; so it must be as good.
#[test]
fn what_is_called_identical_after_a_kill_survives_a_power_cut() {
    if !mount::is_possible("identical after a kill") || !Strace::is_possible() {
        return;
    }
    let mut image = Image::new(SIZE, None);
    let bytes = stamped(1, 5000);
    let put = Put { digest: Some(digest_of(&bytes)), upload: Some(upload_id(1)), ..put_file("f", bytes.len()) };
    let mut server = Server::start(image.point(), &[]);
    let mut client = server.client();
    // Killed when the folder is to be flushed: the file has its name already, but only in memory.
    let strace = Strace::attach(server.pid(), &["fsync:signal=SIGKILL:when=2".into()]);
    assert!(client.put_as(put.clone(), &bytes).is_err());
    server.wait();
    drop(strace);
    drop(server);
    assert!(image.point().join("f").exists());
    let server = Server::start(image.point(), &[]);
    let stored = server.client().put_asking(put, &bytes).unwrap().unwrap();
    assert_eq!(stored.outcome, StoredOutcome::Identical);
    image.cut(2);
    server.kill();
    image.remount();
    assert_eq!(fs::read(image.point().join("f")).unwrap(), bytes);
}

/// The seed that a file of the topic was named by, where the subscriber says that it is in place.
fn in_place(line: &str) -> Option<u64> {
    let object: Value = serde_json::from_str(line).ok()?;
    let is_here = object["type"] == "file" && (object["status"] == "ok" || object["status"] == "identical");
    is_here.then(|| object["path"].as_str().unwrap().strip_prefix("chat/").unwrap().parse().unwrap())
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The position that a subscriber saves must not say more than what is on its disk: the difference would never come.
#[test]
fn a_power_cut_under_a_subscriber_loses_nothing_and_brings_nothing_twice() {
    if !mount::is_possible("power cuts under a subscriber") {
        return;
    }
    let cuts = scaled(4, 200);
    let mut random = Random::announced("power cuts under a subscriber");
    let host = memory();
    let server = Server::start(host.path(), &[]);
    let (mut sender, mut image, ledger) = (server.client(), Image::new(SIZE, None), Ledger::default());
    let follow = |image: &Image, output: Stdio| {
        let mut command = real_client(server.address(), image.point(), "subscribe");
        // Until a position is saved it must be told where to begin; a cut may have taken the first one.
        let state = fs::read_dir(image.point().join(".hostdir")).into_iter().flatten();
        let mut names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_saved = names.any(|name| name.starts_with("topics-") && !name.contains('.'));
        command.args(["chat", "--json", "--quiet"]).args(if is_saved { &[] } else { &["--from", "start"][..] });
        command.stdout(output).spawn().unwrap()
    };
    let mut sent = 0;
    for cut in 0..cuts {
        let mut subscriber = follow(&image, Stdio::piped());
        let new = sent..sent + 5 + random.below(40);
        for seed in new.clone() {
            let bytes = stamped(seed, random.below(20_000) as usize);
            sender.put_as(put_file(format!("chat/{seed}"), bytes.len()), &bytes).unwrap().unwrap();
        }
        sent = new.end;
        let lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
        for seed in lines.filter_map(|line| in_place(&line)).take(1 + random.below(new.end - new.start) as usize) {
            ledger.acknowledged(format!("chat/{seed}").as_bytes(), seed);
        }
        image.cut(1 + (cut % 2) as u32);
        end(subscriber);
        image.remount();
        ledger.check(image.point(), &format!("after cut {cut}"));
    }
    let subscriber = follow(&image, Stdio::null());
    let count = || fs::read_dir(image.point().join("chat")).unwrap().count() as u64;
    crate::common::eventually("all are in place", || count() == sent);
    end(subscriber);
    let mut seeds = ledger.check(image.point(), "at the end");
    seeds.sort_unstable();
    assert_eq!(seeds, (0..sent).collect::<Vec<_>>());
    eprintln!("{cuts} power cuts under a subscriber, {sent} files, all there, none twice");
}
