//! The client: typed calls over one connection, strategies that use several, commands for scripts and a menu for people.
//!
//! Trusts no server: names are parsed before they touch the disk, nothing is written outside the chosen folder, nothing
//! beyond the announced size, and no file is replaced unasked. Must not know the server's side (`crate::server`).
//!
//! | Module | Owns |
//! |---|---|
//! | `cancel` | Ctrl-C |
//! | `known_servers`, `trust` | the keys of servers that are spoken to with TLS, and who decides on them |
//! | `token` | where the token comes from that shows who asks |
//! | `dial` | from a name to a connection that may be spoken on |
//! | `session` | one connection: greeting, requests and their answers |
//! | `folder`, `open_folders` | the download folder: what is there, partial files, places |
//! | `select` | from words on the command line to files on the server |
//! | `options`, `line` | strategy and patience; a worker's connection, dialled again when it breaks |
//! | `job` | one file of a download, and what is asked for of it |
//! | `download`, `upload` | many files over one or several connections |
//! | `segments` | one large file over several connections |
//! | `exchange`, `stream` | one upload that is asked about and resumed; one whose bytes are not there yet |
//! | `publish` | who received what was published |
//! | `subscribe` | following topics: what arrives is fetched, verified and put in place |
//! | `report` | what became of each file, for people and for programs |
//! | `commands` | one file a command |
//! | `menu`, `topics` | the same for people |
//! | `terminal` | screen, picker, bars; knows nothing of the network |

pub mod arguments;
pub mod cancel;
mod commands;
mod dial;
mod download;
mod exchange;
mod exit;
pub mod folder;
mod job;
pub mod known_servers;
mod line;
mod menu;
mod open_folders;
mod options;
mod publish;
mod report;
mod retry;
mod segments;
mod select;
pub mod session;
mod stream;
mod subscribe;
pub mod terminal;
mod token;
mod topics;
mod trust;
mod upload;

pub use commands::run;
