//! The opening handshake (RFC 6455, section 4.2), but for what HTTP asks of every request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What a handshake that is a good one is answered with: the value of `Sec-WebSocket-Accept`.
pub type Accept = String;

/// Appended to every key before it is hashed (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key.
const KEY: usize = 16;

/// The answer to the value of `Sec-WebSocket-Key`; `None` unless that is 16 bytes in base64.
#[must_use]
pub fn accept(key: &[u8]) -> Option<Accept> {
    let decoded = STANDARD.decode(key).ok()?;
    if decoded.len() != KEY {
        return None;
    }
    Some(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_section_1_3_is_answered_as_it_stands_there() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let bad: [&[u8]; 7] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25j",
            b"dGhlIHNhbXBsZSBub25jZSE=",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub25j_Q==",
            b"\xff\xff",
        ];
        for key in bad {
            assert_eq!(accept(key), None, "{}", key.escape_ascii());
        }
    }
}
