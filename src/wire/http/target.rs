//! What a request asks for: its target, and the authority that it is asked of (RFC 9112, section 3.2).

use super::BadRequest;

/// A request target: path and query, still percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: Box<str>,
    query: Option<Box<str>>,
}

/// A host, and perhaps a port, as in `Host` (RFC 9110, section 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority(Box<str>);

impl Target {
    /// Parses a target, and the authority that stands in one of absolute form.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<Authority>), BadRequest> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(BadRequest::malformed("the target has a character that must be percent-encoded"));
        }
        if text == "*" || text.starts_with('/') {
            return Ok((Self::of(text), None));
        }
        let rest = ["http://", "https://"].iter().find_map(|scheme| strip_prefix_ignoring_case(text, scheme));
        let rest = rest.ok_or_else(|| BadRequest::malformed("the target is no path and no address"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let authority = Authority::parse(authority)?;
        let target = if path.starts_with('/') { Self::of(path) } else { Self::of(&format!("/{path}")) };
        Ok((target, Some(authority)))
    }

    fn of(text: &str) -> Self {
        match text.split_once('?') {
            Some((path, query)) => Self { path: path.into(), query: Some(query.into()) },
            None => Self { path: text.into(), query: None },
        }
    }

    /// The path, percent-encoded: it begins with `/`, or is `*`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a parameter of the query, decoded; the first if there are several. `+` is a plus sign.
    ///
    /// # Errors
    /// 400 if its percent-encoding is broken.
    pub fn parameter(&self, name: &str) -> Result<Option<Vec<u8>>, BadRequest> {
        let parameters = self.query.as_deref().unwrap_or_default().split('&');
        let mut pairs = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = pairs.find(|(known, _)| *known == name).map(|(_, value)| value);
        value.map(percent_decode).transpose()
    }
}

impl Authority {
    /// Parses what stands in `Host`: a host, which is not empty, and perhaps a port. No user.
    ///
    /// # Errors
    /// 400.
    pub(super) fn parse(text: &str) -> Result<Self, BadRequest> {
        let (host, port) = split_port(text);
        let is_name = |host: &str| !host.is_empty() && host.bytes().all(is_of_a_name);
        let is_address = |inner: &str| {
            !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = bracketed.map_or_else(|| is_name(host), is_address);
        if is_host && port.is_none_or(is_port) {
            return Ok(Self(text.into()));
        }
        Err(BadRequest::malformed("the host is not a name or an address, and perhaps a port"))
    }

    /// Its text, as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port, and an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let (host, _) = split_port(&self.0);
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// RFC 3986, section 3.2.3: digits, which may be none.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

/// What a registered name is made of here (RFC 3986, section 3.2.2, without percent-encoding and delimiters), and
/// underscores, which machines have in their names.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The bytes that a percent-encoded text stands for (RFC 3986, section 2.1), decoded once.
///
/// # Errors
/// 400 for a percent sign without two hexadecimal digits.
pub fn percent_decode(text: &str) -> Result<Vec<u8>, BadRequest> {
    let broken = || BadRequest::malformed("a percent sign without two hexadecimal digits");
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(broken)?;
        // A sign would be taken for part of the number.
        let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal).ok_or_else(broken)?;
        decoded.push(byte);
        decoded.extend_from_slice(rest.as_bytes());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_target_is_told() {
        let cases = [
            ("/", "/", None),
            ("*", "*", None),
            ("/a%20b?x=1", "/a%20b", None),
            ("http://nas:9000/files/a?x", "/files/a", Some("nas:9000")),
            ("HTTPS://[::1]:9000", "/", Some("[::1]:9000")),
            ("http://nas?x=1", "/", Some("nas")),
        ];
        for (text, path, authority) in cases {
            let (target, found) = Target::parse(text).unwrap();
            assert_eq!((target.path(), found.as_ref().map(Authority::as_str)), (path, authority), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "a", "nas:9000", "ftp://nas/", "/a b", "/a#b", "/año", "http:///x", "http://a@b/", "/\x7f"] {
            assert_eq!(Target::parse(text).unwrap_err().status, 400, "{text:?}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        let good = [
            ("nas", "nas"),
            ("nas.local:9000", "nas.local"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
            ("my_host:", "my_host"),
        ];
        for (text, host) in good {
            assert_eq!(Authority::parse(text).unwrap().host(), host, "{text}");
        }
        for text in ["", ":80", "a b", "a:b", "a:80:90", "::1", "[::1", "[]", "[::1]x", "a/b", "a@b", "a,b", "x:65536"]
        {
            assert_eq!(Authority::parse(text).unwrap_err().status, 400, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_decoded_once_and_plus_is_plus() {
        let (target, _) = Target::parse("/x?path=a%2525+b%2Fc&recursive=1&flag&path=z").unwrap();
        assert_eq!(target.parameter("path").unwrap().unwrap(), b"a%25+b/c");
        assert_eq!(target.parameter("recursive").unwrap().unwrap(), b"1");
        assert_eq!(target.parameter("flag").unwrap().unwrap(), b"");
        assert_eq!(target.parameter("limit"), Ok(None));
        for broken in ["%", "%4", "%zz", "%+1", "a%1 "] {
            assert_eq!(percent_decode(broken).unwrap_err().status, 400, "{broken}");
        }
    }
}
