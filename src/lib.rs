//! hostdir: one directory, one port, two programs.
#![deny(clippy::all)]

pub mod conflict;
pub mod connection;
pub mod error;
pub mod escape;
pub mod root;
pub mod server;
pub mod staged;
pub mod store;
pub mod transfer;
pub mod wire;
