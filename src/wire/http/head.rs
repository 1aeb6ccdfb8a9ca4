//! The head of a request: its first line and its fields (RFC 9112; WEB.md, section 1).

use super::{Authority, BadRequest, Fields, Target};
use httparse::{EMPTY_HEADER, Error, Request, Status};

/// A head that keeps to all the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub target: Target,
    /// The version that the client speaks.
    pub version: HttpVersion,
    /// Of whom it is asked: what `Host` says, or the target if it is in absolute form. HTTP/1.0 may not say it.
    pub authority: Option<Authority>,
    /// What follows the head.
    pub framing: Framing,
    /// The fields.
    pub fields: Fields,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Head,
    Put,
    Options,
    /// One that is not answered here.
    Other(Box<str>),
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }
}

/// The versions that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/1.0: one request a connection, and no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the body of a request is framed (RFC 9112, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What a client waits for before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// The word that the body is wanted.
    Continue,
}

impl Head {
    /// Parses a head, which [`super::HeadScan`] has found the end of.
    ///
    /// # Errors
    /// The status and the reason of the refusal; the connection cannot be used any further.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRequest> {
        let mut headers = [EMPTY_HEADER; Fields::MAX];
        let mut request = Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(BadRequest::malformed("the head does not end where its last line does")),
            Err(error) => return Err(refusal(error, bytes)),
        }
        let missing = || BadRequest::malformed("no request line");
        let (target, authority) = Target::parse(request.path.ok_or_else(missing)?)?;
        let version = if request.version == Some(1) { HttpVersion::Http11 } else { HttpVersion::Http10 };
        let method = Method::of(request.method.ok_or_else(missing)?);
        let fields = Fields::of(request.headers);
        if target.path() == "*" && method != Method::Options {
            return Err(BadRequest::malformed("only OPTIONS can be asked of *"));
        }
        let host = host(&fields, version)?;
        let framing = framing(&fields, version)?;
        Ok(Self { method, target, version, authority: authority.or(host), framing, fields })
    }

    /// Whether the client would send another request on this connection.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.version == HttpVersion::Http11 && !self.fields.has_member("connection", "close")
    }

    /// What the client waits for before it sends the body.
    ///
    /// # Errors
    /// 417 for what is not known here.
    pub fn expectation(&self) -> Result<Expectation, BadRequest> {
        if self.version < HttpVersion::Http11 {
            return Ok(Expectation::None);
        }
        match self.fields.sole("expect")? {
            None => Ok(Expectation::None),
            Some(text) if text.eq_ignore_ascii_case("100-continue") => Ok(Expectation::Continue),
            Some(_) => Err(BadRequest { status: 417, reason: "only 100-continue can be expected here" }),
        }
    }

    /// Whether the client would speak WebSocket from here on (RFC 6455, section 4.1).
    #[must_use]
    pub fn is_websocket_upgrade(&self) -> bool {
        self.method == Method::Get
            && self.version == HttpVersion::Http11
            && self.framing == Framing::None
            && self.fields.has_member("connection", "upgrade")
            && self.fields.has_member("upgrade", "websocket")
    }
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.into()),
        }
    }
}

fn refusal(error: Error, bytes: &[u8]) -> BadRequest {
    match error {
        Error::TooManyHeaders => BadRequest { status: 431, reason: "the head has more than 64 fields" },
        Error::Version if names_another_version(bytes) => {
            BadRequest { status: 505, reason: "only HTTP/1.1 and HTTP/1.0 are spoken here" }
        }
        Error::Version => BadRequest::malformed("the request line does not end with a version of HTTP"),
        Error::HeaderName => BadRequest::malformed("a field's name has a character that it cannot have"),
        Error::HeaderValue => BadRequest::malformed("a field has a control character in it"),
        Error::NewLine | Error::Status | Error::Token => BadRequest::malformed("not a request line"),
    }
}

fn names_another_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (version, nothing) = (words.next().unwrap_or_default(), words.next());
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version else { return false };
    nothing.is_none() && major.is_ascii_digit() && minor.is_ascii_digit()
}

fn host(fields: &Fields, version: HttpVersion) -> Result<Option<Authority>, BadRequest> {
    match fields.sole("host")? {
        None if version == HttpVersion::Http11 => Err(BadRequest::malformed("no Host")),
        None => Ok(None),
        Some(text) => Authority::parse(text).map(Some),
    }
}

/// Two statements about the length are one too many: whoever stands between may have believed the other one.
fn framing(fields: &Fields, version: HttpVersion) -> Result<Framing, BadRequest> {
    let mut codings = fields.all("transfer-encoding");
    let length = fields.sole("content-length")?;
    let Some(coding) = codings.next() else { return length.map_or(Ok(Framing::None), parse_length) };
    if length.is_some() {
        return Err(BadRequest::malformed("both Content-Length and Transfer-Encoding"));
    }
    if version < HttpVersion::Http11 {
        return Err(BadRequest::malformed("HTTP/1.0 has no Transfer-Encoding"));
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(BadRequest { status: 501, reason: "only the transfer coding chunked is known here" });
    }
    Ok(Framing::Chunked)
}

fn parse_length(text: &str) -> Result<Framing, BadRequest> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(0) if is_number => Ok(Framing::None),
        Ok(length) if is_number => Ok(Framing::Length(length.unsigned_abs())),
        _ => Err(BadRequest::malformed("Content-Length is not a number below 2^63")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<Head, BadRequest> {
        Head::parse(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    fn refused(lines: &str) -> u16 {
        parse(lines).map_or_else(|error| error.status, |head| panic!("{lines:?} is {head:?}"))
    }

    #[test]
    fn a_head_is_taken_apart() {
        let head = parse("PUT /files/a?x=1 HTTP/1.1\nHost: nas:9000\nCONTENT-length: 5\nExpect: 100-Continue").unwrap();
        assert_eq!((&head.method, head.target.path(), head.version), (&Method::Put, "/files/a", HttpVersion::Http11));
        assert_eq!((head.framing, head.expectation()), (Framing::Length(5), Ok(Expectation::Continue)));
        assert_eq!(head.authority.as_ref().map(Authority::host), Some("nas"));
        assert!(head.keeps_alive() && !head.is_websocket_upgrade());
    }

    #[test]
    fn http_1_0_is_one_request_without_expectations() {
        let head = parse("GET / HTTP/1.0\nConnection: keep-alive\nExpect: 100-continue").unwrap();
        assert!(!head.keeps_alive());
        assert_eq!((head.expectation(), head.authority), (Ok(Expectation::None), None));
    }

    #[test]
    fn the_absolute_form_stands_for_the_host() {
        let head = parse("GET http://evil.example/x HTTP/1.1\nHost: nas").unwrap();
        assert_eq!(head.authority.unwrap().as_str(), "evil.example");
    }

    #[test]
    fn a_websocket_upgrade_needs_all_of_its_signs() {
        let fields = "Host: x\nConnection: keep-alive, Upgrade\nUpgrade: WebSocket";
        assert!(parse(&format!("GET /ws HTTP/1.1\n{fields}")).unwrap().is_websocket_upgrade());
        let not = [
            format!("PUT /ws HTTP/1.1\n{fields}"),
            format!("GET /ws HTTP/1.0\n{fields}"),
            format!("GET /ws HTTP/1.1\n{fields}\nContent-Length: 1"),
            "GET /ws HTTP/1.1\nHost: x\nUpgrade: websocket".into(),
            "GET /ws HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: h2c".into(),
        ];
        not.iter().for_each(|head| assert!(!parse(head).unwrap().is_websocket_upgrade(), "{head}"));
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        let get = |fields: &str| refused(&format!("GET / HTTP/1.1\nHost: x\n{fields}"));
        for fields in [
            "Content-Length: 1\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length:",
            "Content-Length: 9223372036854775808",
            "Content-Length: 1\nTransfer-Encoding: chunked",
            "Content-Length : 1",
            "X: a\n Content-Length: 1",
            "X: a\n\tb",
            " X: a",
            "Host: y",
            ": a",
            "X\u{e9}: a",
            "X: a\u{1}",
            "X: a\0",
            "no colon",
        ] {
            assert_eq!(get(fields), 400, "{fields:?}");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", ""] {
            assert_eq!(get(&format!("Transfer-Encoding: {coding}")), 501, "{coding:?}");
        }
        assert_eq!(get("Transfer-Encoding: chunked\nTransfer-Encoding: chunked"), 501);
        assert_eq!(refused("PUT / HTTP/1.0\nTransfer-Encoding: chunked"), 400);
    }

    #[test]
    fn request_lines_and_hosts_are_checked() {
        let cases = [
            ("GET / HTTP/1.1", 400),
            ("GET / HTTP/1.1\nHost: x\nHost: x", 400),
            ("GET / HTTP/1.1\nHost: a b", 400),
            ("GET / HTTP/1.1\nHost:", 400),
            ("GET / HTTP/1.0\nHost: x\nHost: x", 400),
            ("GET  / HTTP/1.1\nHost: x", 400),
            ("GET /  HTTP/1.1\nHost: x", 400),
            (" GET / HTTP/1.1\nHost: x", 400),
            ("GET / a HTTP/1.1\nHost: x", 400),
            ("GET /\u{f1} HTTP/1.1\nHost: x", 400),
            ("GET /\nHost: x", 400),
            ("GET / HTTX/1.1\nHost: x", 400),
            ("GET / http/1.1\nHost: x", 400),
            ("GET * HTTP/1.1\nHost: x", 400),
            ("G@T / HTTP/1.1\nHost: x", 400),
            ("GET / HTTP/2.0\nHost: x", 505),
            ("GET / HTTP/1.2\nHost: x", 505),
            ("GET / HTTP/0.9\nHost: x", 505),
        ];
        for (head, status) in cases {
            assert_eq!(refused(head), status, "{head:?}");
        }
        let many = |count: usize| format!("GET / HTTP/1.1\nHost: x{}", "\nX: y".repeat(count - 1));
        assert!(parse(&many(64)).is_ok());
        assert_eq!(refused(&many(65)), 431);
        assert!(parse("OPTIONS * HTTP/1.1\nHost: x").is_ok());
        let expected = parse("PUT / HTTP/1.1\nHost: x\nExpect: 200-ok").unwrap().expectation();
        assert_eq!(expected.unwrap_err().status, 417);
    }

    #[test]
    fn a_head_cut_anywhere_is_refused_and_breaks_nothing() {
        let head = b"PUT /files/a HTTP/1.1\r\nHost: nas\r\nContent-Length: 5\r\n\r\n";
        for end in 0..head.len() {
            assert!(Head::parse(&head[..end]).is_err(), "up to {end}");
        }
        assert!(Head::parse(&[&head[..], b"x"].concat()).is_err());
    }
}
