//! What was read from the socket and not taken yet.

/// Bytes in the order in which they came. Never holds more than a read put there; gives its memory back when asked.
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

    /// Makes room for `room` bytes behind what is there, lets `read` fill it, and keeps as many as it says.
    pub(super) fn fill<E>(
        &mut self,
        room: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let start = self.bytes.len();
        self.bytes.resize(start.saturating_add(room), 0);
        let result = read(self.bytes.get_mut(start..).unwrap_or_default());
        let count = result.as_ref().map_or(0, |count| *count);
        self.bytes.truncate(start.saturating_add(count));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(input: &mut Input, bytes: &[u8]) {
        let filled: Result<usize, ()> = input.fill(16, |room| {
            room[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        });
        assert_eq!(filled, Ok(bytes.len()));
    }

    #[test]
    fn bytes_come_out_in_order_and_once() {
        let mut input = Input::default();
        put(&mut input, b"abc");
        assert_eq!(input.take(1), b"a");
        put(&mut input, b"de");
        assert_eq!(input.unread(), b"bcde");
        assert_eq!(input.take(99), b"bcde");
        assert_eq!(input.unread(), b"");
    }

    #[test]
    fn a_failed_read_adds_nothing() {
        let mut input = Input::default();
        put(&mut input, b"a");
        assert_eq!(input.fill(16, |_| Err("broken")), Err("broken"));
        assert_eq!(input.unread(), b"a");
        input.release();
        assert_eq!(input.unread(), b"");
    }
}
