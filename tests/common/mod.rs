//! What the tests with the real `server` share: the program on a port of its own, and a client that can misbehave.
//!
//! Not every test file uses all of it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "shared by many test programs, and test code"
)]

mod client;
mod server;
mod strace;
pub mod websocket;

pub use client::{Frame, Got, Listing, RawClient, data_frame, digest_of, put_file, upload_id, whole};
pub use server::{Launch, Log, Server, eventually, eventually_in, kept_port};
pub use strace::Strace;

/// A temporary directory in memory where there is one, for what a kill can break but only a power cut could lose.
pub fn memory() -> tempfile::TempDir {
    tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new()).unwrap()
}

/// Whether the long forms of the tests are asked for.
pub fn is_long() -> bool {
    std::env::var_os("HOSTDIR_LONG").is_some_and(|value| value != "0")
}

/// `short`, or `long` where the long forms are asked for.
pub fn scaled<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// A stream of numbers that look random and can be had again: splitmix64 (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Seeded by `HOSTDIR_SEED`, else by the clock; the seed is printed, so that a failure can be had again.
    pub fn announced(test: &str) -> Self {
        let given = std::env::var("HOSTDIR_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(clock);
        eprintln!("{test}: HOSTDIR_SEED={seed}");
        Self(seed)
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        // Optimised also in a debug build, unlike a loop in here.
        blake3::Hasher::new().update(&self.next().to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// Content that differs from one `seed` to the next, and at every offset.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    Random::new(seed).bytes(size)
}
