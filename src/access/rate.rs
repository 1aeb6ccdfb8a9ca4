//! How much somebody may move in a second.

use bytesize::ByteSize;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes a second, each way, of which there are [`Rate::LEAST`] at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// Fewer would look to clients like a server that has stopped, as soon as some of them share it.
    pub const LEAST: u64 = 64 * 1024;

    /// So many bytes a second; `None` if they are too few.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).filter(|bytes| bytes.get() >= Self::LEAST).map(Self)
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes(self) -> NonZeroU64 {
        self.0
    }
}

/// `10MiB`, and `10MiB/s` as well.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.strip_suffix("/s").unwrap_or(text);
        let size: ByteSize = size.parse().map_err(|_| "not bytes a second such as 10MiB or 500KB")?;
        Self::new(size.as_u64())
            .ok_or_else(|| format!("the least is {} a second", ByteSize(Self::LEAST).display().iec()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0.get()).display().iec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_size_and_not_too_little() {
        for (text, bytes) in [("64KiB", 64 * 1024), ("10MiB", 10 << 20), ("2MB/s", 2_000_000), ("100000", 100_000)] {
            assert_eq!(text.parse(), Ok(Rate::new(bytes).unwrap()), "{text}");
        }
        for text in ["", "0", "63KiB", "fast", "-1MiB", "1MiB/h"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!(Rate::new(2 << 20).unwrap().to_string(), "2.0 MiB/s");
    }
}
