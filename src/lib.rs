//! hostdir: one directory, one port, two programs.
//!
//! This file is the map of the crate and has no logic. A module may name those above it in this list; `server` and
//! `client` never name each other.
//!
//! | Module | Owns |
//! |---|---|
//! | [`escape`] | names from the other side, made harmless |
//! | [`home`] | where a user's own data is kept |
//! | [`wire`] | the protocols, purely: frames, messages, remote paths, HTTP, WebSocket |
//! | [`error`] | the error type, and the one table from error to wire code |
//! | [`connection`] | a stream over a socket, plain or within TLS, and the frames of two protocols on it: buffering and deadlines |
//! | [`root`] | a directory that nothing escapes from |
//! | [`staged`] | a partial file that becomes visible in one step |
//! | [`conflict`] | a name that is taken |
//! | [`transfer`] | bytes between a file and a connection |
//! | [`store`] | the host directory |
//! | [`access`] | who may do what: tokens and rights |
//! | [`logging`] | the two logs |
//! | [`discovery`] | finding a server on the local network |
//! | [`display`] | what a terminal can show, and text fitted to it |
//! | [`report`] | what the logs say, for people and programs |
//! | [`manual`] | manual page and completions, made from the arguments |
//! | [`configuration`] | where settings come from: flag, environment, file |
//! | [`server`] | sessions and commands |
//! | [`client`] | typed calls, download and upload strategies, commands and the menu |
//!
//! `docs/ARCHITECTURE.md` tells the life of a GET and of a PUT; `docs/PROTOCOL.md` and `docs/WEB.md` are the wire.
#![deny(clippy::all, clippy::print_stdout, clippy::print_stderr)]

pub mod access;
pub mod client;
pub mod configuration;
pub mod conflict;
pub mod connection;
pub mod discovery;
pub mod display;
pub mod error;
pub mod escape;
pub mod home;
pub mod logging;
pub mod manual;
pub mod report;
pub mod root;
pub mod server;
pub mod staged;
pub mod store;
pub mod transfer;
pub mod wire;
