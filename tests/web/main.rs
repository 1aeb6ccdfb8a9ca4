//! HTTP against the real `server`, by a client that does what it is told and by those that people have.
#![allow(clippy::type_complexity, reason = "tables of cases are read once, where they stand")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "Clippy's exception for tests does not reach the functions that they share"
)]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod archives;
mod files;
mod following;
mod heads;
mod http;
mod limits;
mod listings;
mod metrics;
mod resuming;
mod stopping;
mod tools;
mod uploads;
