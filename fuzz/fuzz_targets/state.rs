//! What a crash or a damaged disk can leave in `.hostdir`: a server starts over it, and never takes it for a digest.
#![no_main]

use hostdir::store::{Config, Digests, Keep, Store, Sweep};
use hostdir::wire::{Digest, Version};
use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Bytes of the table that versions of small numbers can lie in.
const BUCKET: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let dir = scratch();
    digests(dir, bytes);
    leftovers(dir, bytes);
});

fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<std::path::PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("hostdir-fuzz-state-{}", std::process::id()));
        fs::create_dir_all(path.join("host/.hostdir/partial")).expect("a scratch folder");
        path
    })
}

/// A table of any bytes remembers nothing that was not put there, and what is put there comes back.
fn digests(dir: &Path, bytes: &[u8]) {
    let folder = File::open(dir).expect("it was made");
    fs::write(dir.join("digests"), &bytes[..bytes.len().min(4 * BUCKET)]).expect("it can be written");
    let digests = Digests::open(Some(folder.as_fd()), 0).expect("any table can be opened");
    let zero = Version::new(&[0; 16]).expect("16 bytes");
    if let Some(found) = digests.recall(&zero) {
        assert!(bytes.windows(32).any(|window| window == found.0), "a digest out of nothing");
    }
    digests.remember(&zero, Digest([7; 32]));
    assert_eq!(digests.recall(&zero), Some(Digest([7; 32])));
}

/// A state folder with files of any names and lengths is swept at the start.
fn leftovers(dir: &Path, bytes: &[u8]) {
    let host = dir.join("host");
    let partial = host.join(".hostdir/partial");
    for name in bytes.split(|byte| *byte == 0).take(4) {
        let printable: String = name.iter().take(60).map(|byte| char::from(b'!' + byte % 90)).collect();
        let name = printable.replace('/', "_");
        if !name.is_empty() && name != "." && name != ".." {
            fs::write(partial.join(name), bytes.get(..8).unwrap_or(bytes)).expect("a leftover");
        }
    }
    let config = Config {
        directory: host,
        read_only: false,
        overwrite: false,
        max_file_size: None,
        min_free_space: Some(0),
        keep: Keep::default(),
        rules: Vec::new(),
    };
    let store = Store::open(config).expect("a store opens over any leftovers");
    store.sweep(Sweep::Start, Duration::ZERO).expect("they can be swept");
    assert_eq!(fs::read_dir(&partial).expect("it is there").count(), 0);
}
