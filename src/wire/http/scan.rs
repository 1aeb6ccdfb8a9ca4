//! Where a head ends, while it is still coming in.

use super::BadRequest;

/// Longest head, in bytes, with the empty line that ends it.
pub const MAX_HEAD: usize = 16_384;
/// Longest request line, in bytes, without the line's end.
pub const MAX_REQUEST_LINE: usize = 8_192;

/// Looks for the end of a head in bytes that come piece by piece, at each byte once.
///
/// A lone CR or LF ends the search: some readers take it for the end of a line, and others do not.
#[derive(Debug, Clone, Default)]
pub struct HeadScan {
    seen: usize,
    line_start: usize,
    is_past_first_line: bool,
}

impl HeadScan {
    /// How many bytes the head has that `bytes` begin with; `None` if it is not all there yet. To be called with the same
    /// bytes, and more, until it knows.
    ///
    /// # Errors
    /// 400 for a line that does not end with CR and LF, or a first line that is empty; 414 and 431 for what is too long.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadRequest> {
        while let Some(byte) = bytes.get(self.seen) {
            if self.seen >= MAX_HEAD {
                return Err(BadRequest { status: 431, reason: "the head has more than 16384 bytes" });
            }
            let is_after_cr = self.seen > self.line_start && bytes.get(self.seen.saturating_sub(1)) == Some(&b'\r');
            match (is_after_cr, byte) {
                (true, b'\n') => {
                    if self.ends_the_head()? {
                        return Ok(Some(self.seen.saturating_add(1)));
                    }
                    self.is_past_first_line = true;
                    self.line_start = self.seen.saturating_add(1);
                }
                (true, _) => return Err(BadRequest::malformed("a CR without LF")),
                (false, b'\n') => return Err(BadRequest::malformed("a LF without CR")),
                (false, byte) => self.check_request_line(*byte)?,
            }
            self.seen = self.seen.saturating_add(1);
        }
        Ok(None)
    }

    /// Whether the line that ends here, with a CR before, is the empty one.
    fn ends_the_head(&self) -> Result<bool, BadRequest> {
        let is_empty = self.seen.saturating_sub(self.line_start) == 1;
        if is_empty && !self.is_past_first_line {
            return Err(BadRequest::malformed("no request line"));
        }
        Ok(is_empty)
    }

    fn check_request_line(&self, byte: u8) -> Result<(), BadRequest> {
        let is_too_long = self.seen.saturating_sub(self.line_start) >= MAX_REQUEST_LINE && byte != b'\r';
        if !self.is_past_first_line && is_too_long {
            return Err(BadRequest { status: 414, reason: "the request line has more than 8192 bytes" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let with_more = [HEAD, b"body\n\r"].concat();
        assert_eq!(HeadScan::default().find(&with_more), Ok(Some(HEAD.len())));
        let mut scan = HeadScan::default();
        for end in 0..HEAD.len() {
            assert_eq!(scan.find(&HEAD[..end]), Ok(None), "up to {end}");
        }
        assert_eq!(scan.find(HEAD), Ok(Some(HEAD.len())));
    }

    #[test]
    fn lines_end_with_both_and_the_first_is_not_empty() {
        for bytes in ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: x\n\n", "GET\r /", "\r\n", "\n", "GET / \r\r\n"] {
            let error = HeadScan::default().find(bytes.as_bytes()).unwrap_err();
            assert_eq!(error.status, 400, "{bytes:?}");
        }
    }

    #[test]
    fn lengths_hold_to_the_byte() {
        let line = |length: usize| [&vec![b'a'; length][..], b"\r\n\r\n"].concat();
        assert_eq!(HeadScan::default().find(&line(MAX_REQUEST_LINE)), Ok(Some(MAX_REQUEST_LINE + 4)));
        assert_eq!(HeadScan::default().find(&line(MAX_REQUEST_LINE + 1)).unwrap_err().status, 414);
        let head = |length: usize| [b"G\r\n", &vec![b'a'; length - 7][..], b"\r\n\r\n"].concat();
        assert_eq!(HeadScan::default().find(&head(MAX_HEAD)), Ok(Some(MAX_HEAD)));
        assert_eq!(HeadScan::default().find(&head(MAX_HEAD + 1)).unwrap_err().status, 431);
    }
}
