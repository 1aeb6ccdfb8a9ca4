//! The server is killed at random moments under eight uploaders, again and again.

use crate::common::{Launch, Random, RawClient, Server, digest_of, put_file, scaled, upload_id};
use crate::ledger::{Ledger, stamped};
use hostdir::wire::Put;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

const UPLOADERS: u64 = 8;

struct Stage {
    address: RwLock<SocketAddr>,
    ledger: Ledger,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    done: AtomicBool,
}

/// Uploads one file after another; one whose answer does not come is sent again, as the same upload.
fn upload(stage: &Stage, uploader: u64, mut random: Random, seeds: &Mutex<Vec<u64>>) {
    let mut client = None;
    for number in 0_u64.. {
        if stage.done.load(Ordering::Acquire) {
            return;
        }
        let seed = uploader << 32 | number;
        seeds.lock().unwrap().push(seed);
        let size = match random.below(4) {
            0 => 100_000 + random.below(3_000_000) as usize,
            _ => random.below(30_000) as usize,
        };
        let bytes = stamped(seed, size);
        // Half of the names are wanted by everybody.
        let path = match random.below(2) {
            0 => format!("{uploader}/{}/{number}", number % 7),
            _ => format!("shared/{}.bin", number % 50),
        };
        let put = Put { digest: Some(digest_of(&bytes)), upload: Some(upload_id(seed)), ..put_file(path, bytes.len()) };
        let asks = random.below(2) == 0;
        let stored = loop {
            let address = *stage.address.read().unwrap();
            let mut attempt = || {
                if client.is_none() {
                    client = Some(RawClient::greeted(address)?);
                }
                let client = client.as_mut().unwrap();
                if asks { client.put_asking(put.clone(), &bytes) } else { client.put_as(put.clone(), &bytes) }
            };
            match attempt() {
                Ok(answer) => break answer.unwrap(),
                Err(_) => {
                    client = None;
                    stage.repeated.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        stage.ledger.acknowledged(&stored.path, seed);
        stage.acknowledged.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn random_kills_under_eight_uploaders_lose_nothing_acknowledged() {
    let kills = scaled(15, 1_000);
    let mut random = Random::announced("random kills");
    let dir = crate::common::memory();
    let mut server = Server::start(dir.path(), &[]);
    let stage = Stage {
        address: RwLock::new(server.address().into()),
        ledger: Ledger::default(),
        acknowledged: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
        done: AtomicBool::new(false),
    };
    let seeds = Mutex::new(Vec::new());
    let (mut sum, mut sent) = (0, 0);
    for round in 0..kills {
        // A fresh directory now and then: the comparison reads everything that is there.
        if round % 25 == 0 && round > 0 {
            stage.ledger.forget();
            drop(server);
            for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
                std::fs::remove_dir_all(entry.path()).unwrap();
            }
            server = Server::start(dir.path(), &[]);
            *stage.address.write().unwrap() = server.address().into();
        }
        let (stage, seeds) = (&stage, &seeds);
        let seed = random.next();
        server = std::thread::scope(|scope| {
            stage.done.store(false, Ordering::Release);
            for uploader in 0..UPLOADERS {
                let who = round as u64 * UPLOADERS + uploader;
                scope.spawn(move || upload(stage, who, Random::new(seed ^ who), seeds));
            }
            let enough = stage.acknowledged.load(Ordering::Acquire) + random.below(60);
            crate::common::eventually("uploads are acknowledged", || {
                stage.acknowledged.load(Ordering::Acquire) >= enough
            });
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            server.kill();
            let server = Server::launch(dir.path(), &Launch::default());
            *stage.address.write().unwrap() = server.address().into();
            // Each uploader brings its last file to its end, and stops.
            stage.done.store(true, Ordering::Release);
            server
        });
        let mut visible = stage.ledger.check(dir.path(), &format!("after kill {round}"));
        visible.sort_unstable();
        let whole = visible.len();
        visible.dedup();
        assert_eq!(visible.len(), whole, "after kill {round}: a lost acknowledgement made a duplicate");
        sum += 1;
        sent = seeds.lock().unwrap().len();
    }
    let repeated = stage.repeated.load(Ordering::Relaxed);
    eprintln!(
        "{sum} kills, {sent} files sent, {repeated} attempts repeated, {} in the last ledger",
        stage.ledger.len()
    );
    assert!(repeated > 0);
}
