//! The programs over TLS: every command, and whoever stands in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "Clippy's exception for tests does not reach the functions that they share"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../client/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests of the client, which use all of it")]
mod proxy;
#[path = "../client/scene.rs"]
#[allow(dead_code, reason = "shared with the tests of the client, which use all of it")]
mod scene;
#[path = "../common/terminal.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod terminal;

mod buffered;
mod certificate;
mod commands;
mod crowd;
mod hostile;
mod idle;
mod interop;
mod patience;
mod plaintext;
mod secured;
mod truncated;
mod trust;
mod websocket;
