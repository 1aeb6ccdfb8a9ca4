//! hostdir: one directory, one port, two programs.
#![deny(clippy::all)]

pub mod connection;
pub mod error;
pub mod escape;
pub mod wire;
