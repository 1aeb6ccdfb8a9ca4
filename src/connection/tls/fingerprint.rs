//! How a server's key is told from any other by a person: its fingerprint.
//!
//! Owns the text form, which is that of RFC 7469 and of `curl --pinnedpubkey`: `sha256//` and the base64 of the SHA-256 of
//! the certificate's SubjectPublicKeyInfo. Only the key counts: a certificate that is renewed for the same key keeps it.

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "sha256//";
/// RFC 4648, section 4.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The fingerprint of a server's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoFingerprint;

impl Fingerprint {
    /// Of the key that a certificate is for.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &key).as_ref());
        Ok(Self(hash))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for group in self.0.chunks(3) {
            let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let letter = ALPHABET.get((bits >> shift & 0x3f) as usize).copied().unwrap_or(b'=');
                write!(f, "{}", if place > group.len() { '=' } else { char::from(letter) })?;
            }
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let letters = text.strip_prefix(PREFIX).ok_or(NoFingerprint)?.as_bytes();
        let mut hash = [0; 32];
        let groups = letters.chunks(4).zip(hash.chunks_mut(3));
        for (group, bytes) in groups {
            let value = |letter: &u8| ALPHABET.iter().position(|known| known == letter).unwrap_or(0) as u32;
            let bits = group.iter().fold(0, |bits: u32, letter| bits << 6 | value(letter));
            let [_, three @ ..] = bits.to_be_bytes();
            bytes.iter_mut().zip(three).for_each(|(byte, read)| *byte = read);
        }
        // Whatever is not the one way to write it is refused here: other letters, lengths and bits left over.
        let read = Self(hash);
        if read.to_string() == text { Ok(read) } else { Err(NoFingerprint) }
    }
}

impl fmt::Display for NoFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a fingerprint: {PREFIX} and 44 characters, as the server shows it")
    }
}

impl std::error::Error for NoFingerprint {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_it() {
        for seed in 0..=u8::MAX {
            let fingerprint = Fingerprint(std::array::from_fn(|place| seed.wrapping_mul(37).wrapping_add(place as u8)));
            let text = fingerprint.to_string();
            assert_eq!(text.len(), PREFIX.len() + 44, "{text}");
            assert_eq!(text.parse(), Ok(fingerprint));
        }
        // Made with: printf 'abc…' | base64.
        assert_eq!(
            Fingerprint(*b"abcdefghijklmnopqrstuvwxyz012345").to_string(),
            "sha256//YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let right = "sha256//YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";
        assert!(right.parse::<Fingerprint>().is_ok());
        let wrong = [
            String::new(),
            right.replace("sha256//", ""),
            right.replace('=', ""),
            format!("{right}="),
            format!(" {right}"),
            right.replace("U=", "V="),
            right.replace('Y', "?"),
            right.replace('Y', "ñ"),
            right.replace("NDU=", "NDU1"),
        ];
        for text in wrong {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
