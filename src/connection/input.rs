//! What was read from the socket and not taken yet.

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    taken: usize,
}

impl Input {
    /// What was not taken yet.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The same, for whoever works in place.
    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.taken..).unwrap_or_default()
    }

    /// Takes the next `count` bytes, or as many as there are.
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.taken;
        self.taken = start.saturating_add(count).min(self.bytes.len());
        self.bytes.get(start..self.taken).unwrap_or_default()
    }

    /// Gives the memory back. What was not taken is forgotten.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// Moves what is there to the front and lets `read` append to it. Memory far beyond `room` is given back first.
    pub(super) fn append<T>(&mut self, room: usize, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > room.saturating_mul(4) {
            self.release();
        }
        read(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_once() {
        let mut input = Input::default();
        input.append(16, |bytes| bytes.extend_from_slice(b"abc"));
        assert_eq!(input.take(1), b"a");
        input.append(16, |bytes| bytes.extend_from_slice(b"de"));
        assert_eq!(input.unread(), b"bcde");
        assert_eq!(input.take(99), b"bcde");
        assert_eq!(input.unread(), b"");
    }

    #[test]
    fn memory_that_is_not_needed_is_given_back() {
        let mut input = Input::default();
        input.append(1 << 16, |bytes| bytes.resize(1 << 16, 0));
        input.append(16, |bytes| assert!(bytes.capacity() >= 1 << 16, "it still holds what was read"));
        input.take(1 << 16);
        input.append(16, |bytes| assert_eq!(bytes.capacity(), 0));
    }
}
