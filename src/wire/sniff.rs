//! Telling protocols on one port apart by their first bytes (PROTOCOL.md, section 1).

/// The first eight bytes of a native session, both ways.
pub const PREAMBLE: [u8; 8] = *b"\x8ahostdir";

/// What the first bytes of a connection say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// The native protocol.
    Native,
    /// HTTP, and perhaps WebSocket.
    Http,
    /// TLS around one of the others.
    Tls,
    /// None of ours.
    Unknown,
    /// Not enough bytes to tell.
    Incomplete,
}

const HTTP_METHODS: [&[u8]; 6] = [b"GET ", b"HEAD ", b"PUT ", b"POST ", b"OPTIONS ", b"DELETE "];
const TLS_HANDSHAKE: u8 = 0x16;

/// Guesses from the bytes that are there, which may be any number.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Guess {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Guess::Tls;
    }
    let candidates = HTTP_METHODS.iter().map(|method| (*method, Guess::Http));
    let mut guess = Guess::Unknown;
    for (start, meaning) in candidates.chain([(&PREAMBLE[..], Guess::Native)]) {
        if bytes.starts_with(start) {
            return meaning;
        }
        if start.starts_with(bytes) {
            guess = Guess::Incomplete;
        }
    }
    guess
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_told_from_every_prefix_on() {
        let full: [(&[u8], Guess); 5] = [
            (&PREAMBLE, Guess::Native),
            (b"GET ", Guess::Http),
            (b"OPTIONS ", Guess::Http),
            (b"PUT ", Guess::Http),
            (b"HEAD ", Guess::Http),
        ];
        for (bytes, meaning) in full {
            for end in 0..bytes.len() {
                assert_eq!(sniff(&bytes[..end]), Guess::Incomplete, "{bytes:?} up to {end}");
            }
            assert_eq!(sniff(bytes), meaning);
        }
        assert_eq!(sniff(b"\x16"), Guess::Tls);
    }

    #[test]
    fn other_protocols_are_unknown() {
        for bytes in [&b"SSH-2.0"[..], b"\0", b"GETTING", b"PATCH /", b"\x8ahostdiR"] {
            assert_eq!(sniff(bytes), Guess::Unknown, "{bytes:?}");
        }
    }
}
