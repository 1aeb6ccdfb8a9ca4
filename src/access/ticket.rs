//! Tickets: what a browser puts into an address where it cannot send a token, on a download link or a WebSocket.
//!
//! A ticket is good for one purpose and one path, for a minute, and only as long as its token is. It is not kept: it says whose it is
//! and until when, with a keyed hash over all of that. The key is made at each start.

use super::TokenHash;
use crate::error::{Error, Result};

/// Seconds that a ticket is good for.
pub const GOOD_FOR: u64 = 60;
/// Keeps the keyed hash apart from every other use of BLAKE3.
const CONTEXT: &[u8] = b"hostdir ticket 1";
/// Bytes of a token's hash that name it.
const NAME: usize = 16;

/// What a ticket is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To fetch a file, or a folder as an archive.
    Download,
    /// To be told of arrivals.
    Events,
    /// To speak like one of the older relays.
    Relay,
}

/// Makes and checks tickets.
pub(super) struct Tickets {
    key: [u8; 32],
}

impl Purpose {
    /// The purpose of this name.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"download" => Some(Self::Download),
            b"events" => Some(Self::Events),
            b"relay" => Some(Self::Relay),
            _ => None,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Download => 0,
            Self::Events => 1,
            Self::Relay => 2,
        }
    }
}

impl Tickets {
    pub(super) fn new() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| Error::local("make", "a key", std::io::Error::other(error)))?;
        Ok(Self { key })
    }

    /// A ticket for the holder of a token.
    pub(super) fn issue(&self, token: &TokenHash, purpose: Purpose, path: &[u8], now: u64) -> String {
        let until = now.saturating_add(GOOD_FOR);
        let name = token.as_bytes().first_chunk().copied().unwrap_or_default();
        format!("{until:016x}{}{}", hexadecimal(&name), self.seal(&name, purpose, path, until).to_hex())
    }

    /// The start of the hash of the token that a ticket stands for; nothing if it is not good for this, or no more.
    pub(super) fn check(&self, ticket: &[u8], purpose: Purpose, path: &[u8], now: u64) -> Option<[u8; NAME]> {
        let text = str::from_utf8(ticket).ok().filter(|text| text.is_ascii())?;
        let (until, rest) = text.split_at_checked(16)?;
        let (name, seal) = rest.split_at_checked(NAME.saturating_mul(2))?;
        let until = u64::from_str_radix(until, 16).ok().filter(|until| *until > now)?;
        let name = u128::from_str_radix(name, 16).ok()?.to_be_bytes();
        // Hashes are compared in constant time.
        let is_good = blake3::Hash::from_hex(seal).ok()? == self.seal(&name, purpose, path, until);
        is_good.then_some(name)
    }

    fn seal(&self, name: &[u8; NAME], purpose: Purpose, path: &[u8], until: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(CONTEXT).update(&[purpose.number()]).update(&until.to_be_bytes()).update(name).update(path);
        hasher.finalize()
    }
}

/// The key is nobody's business.
impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(…)")
    }
}

fn hexadecimal(bytes: &[u8; NAME]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::generate;

    #[test]
    fn a_ticket_is_good_for_what_it_was_made_for_and_for_a_minute() {
        let (tickets, token) = (Tickets::new().unwrap(), TokenHash::of(&generate().unwrap()));
        let ticket = tickets.issue(&token, Purpose::Download, b"a/b", 1000);
        let check = |ticket: &str, purpose, path: &[u8], now| tickets.check(ticket.as_bytes(), purpose, path, now);
        let good = check(&ticket, Purpose::Download, b"a/b", 1059);
        assert_eq!(good.as_ref().map(|name| &name[..]), Some(&token.as_bytes()[..16]));
        assert!(check(&ticket, Purpose::Download, b"a/b", 1060).is_none());
        assert!(check(&ticket, Purpose::Events, b"a/b", 1000).is_none());
        assert!(check(&ticket, Purpose::Download, b"a/c", 1000).is_none());
        assert!(Tickets::new().unwrap().check(ticket.as_bytes(), Purpose::Download, b"a/b", 1000).is_none());
    }

    #[test]
    fn no_changed_ticket_is_one() {
        let (tickets, token) = (Tickets::new().unwrap(), TokenHash::of(&generate().unwrap()));
        let ticket = tickets.issue(&token, Purpose::Relay, b"", 1000);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(tickets.check(&changed, Purpose::Relay, b"", 1000).is_none(), "{at}");
            assert!(tickets.check(&ticket.as_bytes()[..at], Purpose::Relay, b"", 1000).is_none(), "{at}");
        }
    }
}
