//! Who may do what: tokens, the rights and folders that they are for, and what is open to whoever has none.
//!
//! Owns `.hostdir/tokens`, the making and the checking of tokens, and the one place where a right is compared with a remote
//! path ([`Caller`]). Knows nothing of connections, requests or hosted files: a check is on a parsed path, before the disk is
//! touched, so a refusal is the same for what is there and what is not.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod book;
mod caller;
pub mod command;
mod file;
mod grant;
mod rate;
mod record;
mod secret;
mod throttle;
mod ticket;

pub use book::{Access, Transport};
pub use caller::Caller;
pub use file::TokenFile;
pub use grant::{Grant, MAX_FOLDERS, MAX_NAME};
pub use rate::Rate;
pub use record::{Damaged, MAX_TOKENS, parse, write};
pub use secret::{TokenHash, generate};
pub use throttle::{Throttle, Waiting, source};
pub use ticket::{GOOD_FOR, Purpose};

use std::time::SystemTime;

/// Seconds since 1970-01-01T00:00:00Z.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
