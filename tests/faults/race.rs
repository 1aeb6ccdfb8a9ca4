//! A folder is swapped with a link to the outside, in a loop, while it is read and written: nothing leaves the root.

use crate::common::{Random, Server, memory, put_file, scaled};
use hostdir::wire::{List, OnConflict, Put, RawBytes};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECRET: &[u8] = b"the canary outside";

#[test]
fn no_byte_of_a_canary_outside_is_read_or_written_while_links_are_swapped_in() {
    let patience = Duration::from_secs(scaled(3, 60));
    let (dir, outside) = (memory(), memory());
    fs::write(outside.path().join("canary"), SECRET).unwrap();
    fs::write(outside.path().join("only-outside"), SECRET).unwrap();
    fs::create_dir(outside.path().join("deep")).unwrap();
    fs::write(outside.path().join("deep/canary"), SECRET).unwrap();
    fs::create_dir_all(dir.path().join("door/deep")).unwrap();
    fs::write(dir.path().join("door/canary"), "inside").unwrap();
    fs::write(dir.path().join("door/deep/canary"), "inside").unwrap();
    symlink(outside.path(), dir.path().join("link")).unwrap();
    symlink(outside.path().join("canary"), dir.path().join("file-link")).unwrap();
    fs::write(dir.path().join("file"), "inside").unwrap();
    // Without the second wall, which would hide a hole in the first.
    let server = Server::start(dir.path(), &["--allow-overwrite", "--no-confinement"]);
    let done = AtomicBool::new(false);
    let (swaps, read, refused, written) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let mut random = Random::announced("link race");
    std::thread::scope(|scope| {
        let swap = |one: &'static str, other: &'static str| {
            let (one, other) = (dir.path().join(one), dir.path().join(other));
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        };
        scope.spawn(move || swap("door", "link"));
        scope.spawn(move || swap("file", "file-link"));
        for _ in 0..2 {
            let mut random = Random::new(random.next());
            let (server, done, read, refused, written) = (&server, &done, &read, &refused, &written);
            scope.spawn(move || {
                let mut client = server.client();
                while !done.load(Ordering::Relaxed) {
                    let paths = ["door/canary", "door/deep/canary", "door/only-outside", "file"];
                    let path = paths[random.below(4) as usize];
                    match client.get(path).unwrap() {
                        Ok(got) => {
                            assert!(got.bytes != SECRET, "the canary was read");
                            read.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    }
                    let listing =
                        client.list_as(List { path: RawBytes(b"door".to_vec()), recursive: true, limit: Some(50) });
                    if let Ok(listing) = listing.unwrap() {
                        assert!(!listing.paths().iter().any(|path| path.ends_with(b"only-outside")), "listed outside");
                    }
                    let number = random.below(20);
                    let path = ["door/deep/canary".into(), format!("door/new{number}"), format!("door/made{number}/x")]
                        [random.below(3) as usize]
                        .clone();
                    let put = Put { on_conflict: OnConflict::Overwrite, ..put_file(path, 6) };
                    if client.put_as(put, b"inside").unwrap().is_ok() {
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let began = Instant::now();
        crate::common::eventually_in(patience * 2, "the time is over", || began.elapsed() >= patience);
        done.store(true, Ordering::Relaxed);
    });
    let mut left: Vec<_> = fs::read_dir(outside.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["canary", "deep", "only-outside"], "written outside");
    assert_eq!(fs::read_dir(outside.path().join("deep")).unwrap().count(), 1);
    for path in ["canary", "only-outside", "deep/canary"] {
        assert_eq!(fs::read(outside.path().join(path)).unwrap(), SECRET);
    }
    let [swaps, read, refused, written] = [swaps, read, refused, written].map(AtomicU64::into_inner);
    eprintln!("{swaps} swaps; {read} files read inside, {refused} refused, {written} written inside; 0 of the canary");
    assert!(swaps > 100 && read > 0 && refused > 0 && written > 0);
}
