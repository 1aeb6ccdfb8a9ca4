//! The texts of the two older relays (docs/WEB.md, section 10), purely.
//!
//! Owns the grammar of what their clients send and of what they are sent. Must not know how messages travel; a file within
//! a message is never held whole ([`Base64Decoder`]).

mod base64;
mod opening;
mod refusal;

pub use base64::{Base64Decoder, base64_says, encode_base64};
pub use opening::{MAX_OPENING, Message, Opened, Opening};
pub use refusal::RelayRefusal;

/// Relay B, to a receiver: before the name of a file that follows.
const START: &str = "START:";
/// Relay B, to a receiver: the file is whole.
pub const END: &str = "END";
/// Relay B, from a sender, as bytes: the file is whole.
pub const END_OF_FILE: &[u8] = b"__end__";
/// Relay B, to a sender: the file is durable under its name.
pub const SUCCESS: &str = "File transfer successful";

/// Relay B, to a receiver: a file of this name follows.
#[must_use]
pub fn start_of_file(name: &[u8]) -> String {
    format!("{START}{}", String::from_utf8_lossy(name))
}

/// Relay A, to a subscriber: what stands before a file's base64. A name can hold what a field of this message cannot; it
/// is shown as near as can be.
#[must_use]
pub fn head_of_file(mime: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).replace(SEPARATOR_CHARACTER, "_");
    format!("{mime}{SEPARATOR_CHARACTER}{name}{SEPARATOR_CHARACTER}")
}

const SEPARATOR_CHARACTER: char = ':';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_messages_as_near_as_can_be() {
        assert_eq!(start_of_file("año.txt".as_bytes()), "START:año.txt");
        assert_eq!(start_of_file(b"\xff:x"), "START:\u{fffd}:x");
        assert_eq!(head_of_file("text/plain", "año.txt".as_bytes()), "text/plain:año.txt:");
        assert_eq!(head_of_file("", b"a:b\xff"), ":a_b\u{fffd}:");
    }
}
