//! What goes wrong with machines, done on purpose: kills, power cuts, full and failing disks, cut wires, races.
//!
//! The short form is part of `cargo test`; `HOSTDIR_LONG=1` asks for the full counts, `HOSTDIR_SEED` for the run whose
//! seed was printed. Power cuts and mounts need root, faults of system calls need `strace`: where the machine cannot do it, a
//! test says so loudly and is skipped; CI can.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "also in the helpers of tests")]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod disk;
mod follow;
mod journal;
mod kill;
mod ledger;
mod model;
mod mount;
mod power;
mod race;
mod syscall;
mod topics;
mod wire;
