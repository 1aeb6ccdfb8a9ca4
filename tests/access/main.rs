//! Who may do what: tokens, rights and folders, on every face of the server.
#![allow(clippy::unwrap_used, reason = "test code, also in functions that tests share")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/terminal.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod terminal;

mod asked;
mod command;
mod matrix;
mod rates;
mod revocation;
mod scene;
mod siblings;
mod sockets;
mod table;
mod throttle;
mod web;
