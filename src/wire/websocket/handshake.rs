//! The opening handshake (RFC 6455, section 4.2).

use crate::wire::http::{BadRequest, Head};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The only version of the protocol, as `Sec-WebSocket-Version` says it.
pub const WEBSOCKET_VERSION: &str = "13";

/// Appended to every key before it is hashed (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key.
const KEY: usize = 16;

/// What a request to speak WebSocket ([`Head::is_websocket_upgrade`]) is answered with: the value of
/// `Sec-WebSocket-Accept`.
///
/// # Errors
/// 426 for another version, 400 for whatever else is wrong.
pub fn accept(head: &Head) -> Result<String, BadRequest> {
    let sole = |name| head.fields.sole(name);
    let version = sole("sec-websocket-version")?.ok_or(BadRequest::malformed("no Sec-WebSocket-Version"))?;
    if version != WEBSOCKET_VERSION {
        return Err(BadRequest { status: 426, reason: "only version 13 of WebSocket is spoken here" });
    }
    let key = sole("sec-websocket-key")?.ok_or(BadRequest::malformed("no Sec-WebSocket-Key"))?;
    answer(key.as_bytes()).ok_or(BadRequest::malformed("Sec-WebSocket-Key is not 16 bytes in base64"))
}

/// The answer to a key; `None` unless that is 16 bytes in base64.
fn answer(key: &[u8]) -> Option<String> {
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
        assert_eq!(answer(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
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
            assert_eq!(answer(key), None, "{}", key.escape_ascii());
        }
    }

    fn accepted(fields: &str) -> Result<String, u16> {
        let fields = format!("Host: x\nConnection: Upgrade\nUpgrade: websocket\n{fields}").replace('\n', "\r\n");
        let head = Head::parse(format!("GET /ws HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).unwrap();
        assert!(head.is_websocket_upgrade());
        accept(&head).map_err(|bad| bad.status)
    }

    #[test]
    fn a_handshake_has_one_key_and_version_13() {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let version = "sec-websocket-VERSION: 13";
        assert_eq!(accepted(&format!("{key}\n{version}")).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (fields, status) in [
            (format!("{key}\nSec-WebSocket-Version: 8"), 426),
            (format!("{key}\nSec-WebSocket-Version: 13, 8"), 426),
            (format!("Sec-WebSocket-Version: 12\n{key}x"), 426),
            (key.to_owned(), 400),
            (version.to_owned(), 400),
            (format!("{key}\n{key}\n{version}"), 400),
            (format!("{key}\n{version}\n{version}"), 400),
            (format!("{key}x\n{version}"), 400),
        ] {
            assert_eq!(accepted(&fields), Err(status), "{fields}");
        }
    }
}
