//! Text that comes in pieces, which may be cut within a character.

use super::Failure;

/// Checks that pieces are UTF-8 together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Utf8Check {
    /// The beginning of a character whose rest did not come yet.
    begun: [u8; 4],
    length: usize,
}

impl Utf8Check {
    /// Takes the next piece. A byte that no text can have here is found at once, not when its character should be whole.
    ///
    /// # Errors
    /// [`Failure::NotUtf8`].
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut rest = piece;
        while self.length > 0 {
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            self.push_to_begun(*byte)?;
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => rest
                .get(error.valid_up_to()..)
                .unwrap_or_default()
                .iter()
                .try_for_each(|byte| self.push_to_begun(*byte)),
            Err(_) => Err(Failure::NotUtf8),
        }
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`Failure::NotUtf8`] if it ends within a character.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.length == 0 { Ok(()) } else { Err(Failure::NotUtf8) }
    }

    fn push_to_begun(&mut self, byte: u8) -> Result<(), Failure> {
        let place = self.begun.get_mut(self.length).ok_or(Failure::NotUtf8)?;
        *place = byte;
        self.length = self.length.saturating_add(1);
        match std::str::from_utf8(self.begun.get(..self.length).unwrap_or_default()) {
            Ok(_) => self.length = 0,
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Failure::NotUtf8),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pushes one byte at a time; how many were taken before one was refused.
    fn taken(bytes: &[u8]) -> usize {
        let mut check = Utf8Check::default();
        bytes.iter().take_while(|byte| check.push(&[**byte]).is_ok()).count()
    }

    #[test]
    fn a_byte_that_cannot_be_there_is_refused_when_it_comes() {
        // Overlong, a surrogate, beyond U+10FFFF, a continuation of nothing.
        for (bytes, good) in [
            (&b"\xc0\x80"[..], 0),
            (b"\xe0\x80\x80", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xf4\x90\x80\x80", 1),
            (b"a\x80", 1),
            (b"\xce\xbaa", 3),
            (b"\xf0\x9f\x8f", 3),
            (b"\xf0\x9f\x8fz", 3),
        ] {
            assert_eq!(taken(bytes), good, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_cuts_give_what_the_whole_gives(
            bytes in prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)],
            cuts: Vec<u8>,
        ) {
            let expected = std::str::from_utf8(&bytes).is_ok();
            let (mut check, mut done, mut is_good) = (Utf8Check::default(), 0_usize, true);
            for cut in cuts {
                let end = done.saturating_add(usize::from(cut) % 8).min(bytes.len());
                is_good &= check.push(&bytes[done..end]).is_ok();
                done = end;
            }
            is_good &= check.push(&bytes[done..]).is_ok() && check.finish().is_ok();
            prop_assert_eq!(is_good, expected);
        }
    }
}
