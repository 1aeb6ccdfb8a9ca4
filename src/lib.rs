//! hostdir: one directory, one port, two programs.
#![deny(clippy::all)]

pub mod escape;
pub mod logging;
