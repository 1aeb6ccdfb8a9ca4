//! What stands between the bytes of a chunked body (RFC 9112, section 7.1).

use super::BadRequest;

/// Longest head of a chunk, with its extensions, and longest trailer section, in bytes.
pub const MAX_CHUNK_HEAD: usize = 4096;

/// Which chunk a head is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPlace {
    /// The first one.
    First,
    /// One after another, whose line end comes before it.
    Next,
}

/// The head of the chunk that `bytes` begin with: how many bytes it takes up, and how many the chunk has, 0 for the last.
/// `None` if it is not all there yet. Extensions are passed over.
///
/// # Errors
/// 400 for what is no head of a chunk.
pub fn chunk_head(bytes: &[u8], place: ChunkPlace) -> Result<Option<(usize, u64)>, BadRequest> {
    let before: usize = match (place, bytes) {
        (ChunkPlace::First, _) => 0,
        (ChunkPlace::Next, [b'\r', b'\n', ..]) => 2,
        (ChunkPlace::Next, [] | [b'\r']) => return Ok(None),
        (ChunkPlace::Next, _) => return Err(BadRequest::malformed("a chunk is longer than its head says")),
    };
    let Some(line) = line(bytes.get(before..).unwrap_or_default())? else { return Ok(None) };
    let length = before.saturating_add(line.len()).saturating_add(2);
    Ok(Some((length, size(line)?)))
}

/// How many bytes the trailer section has that `bytes` begin with; `None` if it is not all there yet. What it says is of no
/// use here.
///
/// # Errors
/// 400 for what is no trailer section, or is too long.
pub fn trailer_length(bytes: &[u8]) -> Result<Option<usize>, BadRequest> {
    let mut start: usize = 0;
    loop {
        if start > MAX_CHUNK_HEAD {
            return Err(BadRequest::malformed("the trailer section has more than 4096 bytes"));
        }
        let Some(line) = line(bytes.get(start..).unwrap_or_default())? else { return Ok(None) };
        start = start.saturating_add(line.len()).saturating_add(2);
        if line.is_empty() {
            return Ok(Some(start));
        }
        if !line.contains(&b':') {
            return Err(BadRequest::malformed("a line of the trailer section is no field"));
        }
    }
}

/// The line that `bytes` begin with, without its end.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, BadRequest> {
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    match bytes.iter().position(|byte| !is_text(byte)) {
        Some(end) if end <= MAX_CHUNK_HEAD => match bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => Ok(bytes.get(..end)),
            Some([b'\r']) => Ok(None),
            _ => Err(BadRequest::malformed("a control character between chunks")),
        },
        None if bytes.len() <= MAX_CHUNK_HEAD => Ok(None),
        _ => Err(BadRequest::malformed("a line between chunks has more than 4096 bytes")),
    }
}

fn size(line: &[u8]) -> Result<u64, BadRequest> {
    let bad = || BadRequest::malformed("a chunk's size is not a hexadecimal number below 2^63");
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extensions) = line.split_at_checked(end).ok_or_else(bad)?;
    let after = extensions.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if digits.is_empty() || !(extensions.is_empty() || after == Some(&b';')) {
        return Err(bad());
    }
    let digits = str::from_utf8(digits).map_err(|_| bad())?;
    i64::from_str_radix(digits, 16).map(i64::unsigned_abs).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChunkPlace::{First, Next};

    #[test]
    fn heads_tell_their_length_and_size() {
        let cases: [(&[u8], ChunkPlace, (usize, u64)); 6] = [
            (b"5\r\nhello", First, (3, 5)),
            (b"\r\nfF\r\n", Next, (6, 255)),
            (b"0;a=\"b\" ; c\r\n\r\n", First, (13, 0)),
            (b"1 \t;x\r\n", First, (7, 1)),
            (b"0000000000000000000001\r\n", First, (24, 1)),
            (b"7fffffffffffffff\r\n", First, (18, i64::MAX as u64)),
        ];
        for (bytes, place, found) in cases {
            assert_eq!(chunk_head(bytes, place), Ok(Some(found)), "{bytes:?}");
            for end in 0..found.0 {
                assert_eq!(chunk_head(&bytes[..end], place), Ok(None), "{bytes:?} up to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_head_of_a_chunk_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"5\n",
            b"5\rx",
            b"+5\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"5 \r\n",
            b"5 5\r\n",
            b"g\r\n",
            b" 5\r\n",
            b"8000000000000000\r\n",
            b"5;\x01\r\n",
            b"5;a\nb\r\n",
        ] {
            assert!(chunk_head(bytes, First).is_err(), "{bytes:?}");
        }
        assert!(chunk_head(b"x5\r\n", Next).is_err() && chunk_head(b"5\r\n", Next).is_err());
        let long = |length: usize| [b"5;", &vec![b'a'; length - 2][..], b"\r\n"].concat();
        assert!(chunk_head(&long(MAX_CHUNK_HEAD), First).is_ok());
        assert!(chunk_head(&long(MAX_CHUNK_HEAD + 1), First).is_err());
        assert!(chunk_head(&long(MAX_CHUNK_HEAD + 1)[..MAX_CHUNK_HEAD + 1], First).is_err());
    }

    #[test]
    fn trailers_end_with_an_empty_line() {
        for (bytes, length) in [(&b"\r\nGET"[..], 2), (b"a: b\r\n\r\n", 8), (b"a: b\r\nc:\r\n\r\nx", 12)] {
            assert_eq!(trailer_length(bytes), Ok(Some(length)), "{bytes:?}");
            for end in 0..length {
                assert_eq!(trailer_length(&bytes[..end]), Ok(None), "{bytes:?} up to {end}");
            }
        }
        assert!(trailer_length(b"a\r\n\r\n").is_err() && trailer_length(b"a: b\n\n").is_err());
        assert!(trailer_length(&b"a: b\r\n".repeat(1000)).is_err());
    }
}
