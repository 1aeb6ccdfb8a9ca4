//! hostdir: one directory, one port, two programs.
#![deny(clippy::all)]

pub mod client;
pub mod escape;
