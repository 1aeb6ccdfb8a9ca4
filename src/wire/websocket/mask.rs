//! Masking (RFC 6455, section 5.3).

/// The mask of a frame, and how far it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Its next four bytes.
    key: [u8; 4],
}

impl Mask {
    /// A mask whose first byte is the next one.
    #[must_use]
    pub fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks, or unmasks, the next bytes of the frame.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.key;
        let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        // Eight bytes at a time: one by one costs more than everything else that is done to a byte.
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
            *byte ^= key;
        }
        // A word is two rounds of the key, so only the rest turns it.
        self.key.rotate_left(rest.len() % 4);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cuts_give_what_the_rule_gives(key: [u8; 4], bytes: Vec<u8>, cuts: Vec<u8>) {
            let expected: Vec<u8> = bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            let (mut masked, mut mask, mut done) = (bytes.clone(), Mask::new(key), 0_usize);
            for cut in cuts {
                let end = done.saturating_add(usize::from(cut)).min(masked.len());
                mask.apply(&mut masked[done..end]);
                done = end;
            }
            mask.apply(&mut masked[done..]);
            prop_assert_eq!(masked, expected);
        }
    }
}
