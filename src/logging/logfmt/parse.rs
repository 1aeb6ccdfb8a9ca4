//! Reading a line back. Strict, so that a line which was torn by a crash is seen as such rather than believed.

use std::borrow::Cow;
use std::fmt;

/// All pairs of a line, in order. The line is given without its line end. Values are in their
/// [settled](super::settled) form: harmless to print, escapes as they stand.
///
/// # Errors
/// [`Malformed`] when the line is not what [`super::record_line`] writes, as after a crash in the middle of a write.
///
/// ```
/// let pairs = hostdir::logging::logfmt::parse_line(r#"size=12 path="a \"b\"""#).unwrap();
/// assert_eq!(pairs, [("size", "12".into()), ("path", r#"a "b""#.into())]);
/// ```
pub fn parse_line(line: &str) -> Result<Vec<(&str, Cow<'_, str>)>, Malformed> {
    let mut found = Vec::with_capacity(16);
    for pair in pairs(line) {
        found.push(pair?);
    }
    Ok(found)
}

/// The pairs of a line one by one, without allocating for any but values with a `"` in them. Ends after the first
/// error.
#[must_use]
pub fn pairs(line: &str) -> Pairs<'_> {
    Pairs { line, at: 0, ended: line.is_empty() }
}

/// Iterator over the pairs of a line; made by [`pairs`].
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    line: &'a str,
    at: usize,
    ended: bool,
}

/// Where, and why, a line could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the line, in bytes.
    pub at: usize,
    reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "log line: {} at byte {}", self.reason, self.at)
    }
}

impl std::error::Error for Malformed {}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a str, Cow<'a, str>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let pair = self.pair();
        self.ended |= pair.is_err();
        Some(pair)
    }
}

impl<'a> Pairs<'a> {
    fn pair(&mut self) -> Result<(&'a str, Cow<'a, str>), Malformed> {
        let key = self.key()?;
        let value = match self.line.as_bytes().get(self.at) {
            Some(b'"') => self.quoted()?,
            _ => Cow::Borrowed(self.plain()?),
        };
        match self.line.as_bytes().get(self.at) {
            None => self.ended = true,
            Some(b' ') => self.at += 1,
            Some(_) => return Err(self.malformed("no space after a value")),
        }
        Ok((key, value))
    }

    fn key(&mut self) -> Result<&'a str, Malformed> {
        let rest = &self.line[self.at..];
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = rest.bytes().position(|byte| !allowed(byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.malformed("no key"));
        }
        self.at += length;
        if rest.as_bytes().get(length) != Some(&b'=') {
            return Err(self.malformed("no `=` after a key"));
        }
        self.at += 1;
        Ok(&rest[..length])
    }

    fn plain(&mut self) -> Result<&'a str, Malformed> {
        let rest = &self.line[self.at..];
        let ends = |byte: u8| matches!(byte, b'=' | b'"' | 0x7f) || byte <= b' ';
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        match length {
            0 => Err(self.malformed("no value")),
            length => Ok(&rest[..length]),
        }
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let start = self.at + 1;
        let bytes = self.line.as_bytes();
        let mut has_quotes = false;
        self.at = start;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => {
                    has_quotes |= bytes.get(self.at + 1) == Some(&b'"');
                    self.at += 2;
                }
                0..=0x1f | 0x7f => return Err(self.malformed("a control character")),
                _ => self.at += 1,
            }
        }
        if self.at >= bytes.len() {
            return Err(self.malformed("no closing quote"));
        }
        let text = &self.line[start..self.at];
        self.at += 1;
        // Each quote in there has its own backslash right before it: one without would have ended the value.
        Ok(if has_quotes { Cow::Owned(text.replace("\\\"", "\"")) } else { Cow::Borrowed(text) })
    }

    fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { at: self.at.min(self.line.len()), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_quoted_values_are_read() {
        let pairs = parse_line(r#"a=1 b="" c="x y" d="\\\"=" e=\xff"#).unwrap();
        let expected = [("a", "1"), ("b", ""), ("c", "x y"), ("d", r#"\\"="#), ("e", r"\xff")];
        assert_eq!(pairs, expected.map(|(key, value)| (key, Cow::Borrowed(value))));
    }

    #[test]
    fn an_empty_line_has_no_pairs() {
        assert_eq!(parse_line(""), Ok(Vec::new()));
    }

    #[test]
    fn torn_and_foreign_lines_are_malformed() {
        let lines = [
            "a",
            "a=",
            "=1",
            "a=1 ",
            "a=1  b=2",
            "a=\"x",
            "a=\"x\\",
            "a=\"x\\\"",
            "a=\"x\"y",
            "a=b=c",
            "a=b\"c",
            "\0\0",
            "a=b\0",
            "a=\"b\0\"",
            "a=\tb",
            "a=1\tb=2",
            "a=\"x\n\"",
            " a=1",
            "ñ=1",
            "path=big.time=2026-11-20T14:03:21Z level=info",
        ];
        for line in lines {
            assert!(parse_line(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut pairs = pairs("a=1 b c=3");
        assert_eq!(pairs.next(), Some(Ok(("a", Cow::Borrowed("1")))));
        let error = pairs.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "log line: no `=` after a key at byte 5");
        assert_eq!(pairs.next(), None);
    }
}
