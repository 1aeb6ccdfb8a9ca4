//! The real `client` against the real `server`, and against servers that lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "Clippy's exception for tests does not reach the functions that they share"
)]

#[path = "../common/mod.rs"]
mod common;

mod away;
mod broken;
mod commands;
mod conflicts;
mod fake;
mod following;
mod getting;
mod given_up;
mod hostile;
mod interrupted;
mod large;
mod listing;
mod many;
mod proxy;
mod publishing;
mod putting;
mod refusals;
mod regression;
mod scene;
mod segments;
mod strategies;
mod subscriber;
mod topics;
mod trees;
