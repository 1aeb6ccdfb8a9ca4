//! Base64 that comes and goes in pieces (RFC 4648, section 4).

use super::RelayRefusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Characters that stand for three bytes, or for what is left of them at the end.
const GROUP: usize = 4;
const PADDING: u8 = b'=';

/// Decodes base64 that comes in pieces. It is strict: nothing but the alphabet, padding where it belongs, no bits that say
/// nothing.
#[derive(Debug, Default)]
pub struct Base64Decoder {
    /// The beginning of a group.
    begun: Vec<u8>,
    is_padded: bool,
}

impl Base64Decoder {
    /// Decodes the next piece, and appends what it says to `output`.
    ///
    /// # Errors
    /// [`RelayRefusal::NotBase64`].
    pub fn push(&mut self, mut text: &[u8], output: &mut Vec<u8>) -> Result<(), RelayRefusal> {
        if !self.begun.is_empty() {
            let (first, rest) = text.split_at(text.len().min(GROUP.saturating_sub(self.begun.len())));
            self.begun.extend_from_slice(first);
            text = rest;
            if self.begun.len() < GROUP {
                return Ok(());
            }
            let group = std::mem::take(&mut self.begun);
            self.decode(&group, output)?;
        }
        let (whole, rest) = text.split_at(text.len().saturating_sub(text.len() % GROUP));
        self.decode(whole, output)?;
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`RelayRefusal::NotBase64`] if it ends within a group.
    pub fn finish(&self) -> Result<(), RelayRefusal> {
        if self.begun.is_empty() { Ok(()) } else { Err(RelayRefusal::NotBase64) }
    }

    fn decode(&mut self, groups: &[u8], output: &mut Vec<u8>) -> Result<(), RelayRefusal> {
        if groups.is_empty() {
            return Ok(());
        }
        if self.is_padded {
            return Err(RelayRefusal::NotBase64);
        }
        self.is_padded = groups.last() == Some(&PADDING);
        STANDARD.decode_vec(groups, output).map_err(|_| RelayRefusal::NotBase64)
    }
}

/// Appends bytes in base64. All but the last piece of a file must have a length that is a multiple of three.
pub fn encode_base64(bytes: &[u8], output: &mut String) {
    STANDARD.encode_string(bytes, output);
}

/// About how many bytes so many characters of base64 say: at most two more than they do.
#[must_use]
pub fn base64_says(characters: u64) -> u64 {
    let groups = characters.checked_div(GROUP as u64).unwrap_or_default();
    groups.saturating_mul(3)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, RelayRefusal> {
        let (mut decoder, mut output) = (Base64Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece, &mut output)?;
        }
        decoder.finish().map(|()| output)
    }

    #[test]
    fn the_test_vectors_of_the_standard_hold() {
        // RFC 4648, section 10.
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode([text.as_bytes()]).as_deref(), Ok(bytes.as_bytes()));
            assert_eq!(decode(text.as_bytes().chunks(1)).as_deref(), Ok(bytes.as_bytes()));
            let mut encoded = String::new();
            encode_base64(bytes.as_bytes(), &mut encoded);
            assert_eq!(encoded, text);
            let about = base64_says(text.len() as u64);
            assert!((bytes.len()..=bytes.len() + 2).contains(&(about as usize)), "{about} for {text}");
        }
    }

    #[test]
    fn whatever_is_not_exactly_base64_is_refused() {
        for text in [
            "Z",
            "Zg",
            "Zg=",
            "Zg===",
            "Zg==Zg==",
            "Zg==\n",
            "Zm9v\n",
            "Zm 9v",
            "=",
            "====",
            "Z===",
            "Zh==",
            "Zm9=",
            "_-8=",
            "Zm9vé===",
            "Zg=a",
        ] {
            assert_eq!(decode([text.as_bytes()]), Err(RelayRefusal::NotBase64), "{text}");
            assert_eq!(decode(text.as_bytes().chunks(1)), Err(RelayRefusal::NotBase64), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_cuts_give_what_was_encoded(bytes: Vec<u8>, size in 1..9_usize) {
            let mut text = String::new();
            bytes.chunks(size.saturating_mul(3)).for_each(|piece| encode_base64(piece, &mut text));
            prop_assert_eq!(decode(text.as_bytes().chunks(size)), Ok(bytes));
        }

        #[test]
        fn any_cuts_give_what_the_whole_gives(text in "[Zg=+/ ]{0,16}", size in 1..9_usize) {
            prop_assert_eq!(decode(text.as_bytes().chunks(size)), decode([text.as_bytes()]));
        }
    }
}
