//! The heads of answers, and errors as answers (WEB.md, sections 1 and 3).
//!
//! Owns what every answer has, and the one table from an error to a status.

use crate::connection::Stream;
use crate::error::{Error, Result};
use crate::wire::ErrorCode;
use crate::wire::http::BadRequest;
use httpdate::HttpDate;
use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};

const SERVER: &str = concat!("hostdir/", env!("CARGO_PKG_VERSION"));
/// For everything but the page: nothing in a browser may be done with it.
const NO_CONTENT_RUNS: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";
/// The last second of the year 9999, since the epoch: dates in fields have four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;
/// Seconds after which a client that is told to come back later should.
const RETRY_AFTER: u32 = 5;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    fields: String,
    policy: Option<String>,
}

/// How the body of an answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// There is none, and none is announced: 1xx, 204, 304.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A request that is not answered as it was meant: a status, and the error behind it.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    error: Error,
    fields: Vec<(&'static str, String)>,
    /// Whether the log has it already, as the end of a transfer.
    is_logged: bool,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, fields: String::new(), policy: None }
    }

    /// With a field more. What no field can hold is left out of its value.
    pub(super) fn field(mut self, name: &str, value: impl Display) -> Self {
        let value = value.to_string();
        let _ = write!(self.fields, "{name}: {}\r\n", value.replace(char::is_control, ""));
        self
    }

    /// With a content security policy of its own.
    pub(super) fn policy(self, policy: String) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// Queues the head.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn send(self, stream: &mut Stream, content: Content) -> Result<()> {
        stream.queue(|output| output.extend_from_slice(self.into_text(content).as_bytes()))
    }

    fn into_text(self, content: Content) -> String {
        let framing = match content {
            Content::None => String::new(),
            Content::Length(length) => format!("Content-Length: {length}\r\n"),
            Content::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        };
        format!(
            "HTTP/1.1 {} {}\r\n\
             Date: {}\r\n\
             Server: {SERVER}\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n\
             Content-Security-Policy: {}\r\n\
             {}{framing}\r\n",
            self.status,
            reason(self.status),
            HttpDate::from(now()),
            self.policy.as_deref().unwrap_or(NO_CONTENT_RUNS),
            self.fields,
        )
    }
}

impl Problem {
    /// With a status that the error's code does not have by itself.
    pub(super) fn new(status: u16, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status, error: Error::refused(code, detail), fields: Vec::new(), is_logged: false }
    }

    /// With a field more.
    pub(super) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same, which the log has already as the end of a transfer.
    pub(super) fn logged(self) -> Self {
        Self { is_logged: true, ..self }
    }

    /// Whether the log has it already.
    pub(super) fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The status that tells it.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// What is wrong.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// What is wrong.
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// The head and the body that tell it.
    pub(super) fn to_response(&self) -> (Response, String) {
        let fault = self.error.to_fault();
        let body = serde_json::json!({
            "title": reason(self.status),
            "status": self.status,
            "code": fault.code.name(),
            "detail": fault.message,
        });
        let mut response = Response::new(self.status).field("Content-Type", "application/problem+json");
        if fault.code == ErrorCode::Unauthorized {
            response = response.field("WWW-Authenticate", "Bearer realm=\"hostdir\"");
        }
        if matches!(fault.code, ErrorCode::Busy | ErrorCode::ShuttingDown) {
            response = response.field("Retry-After", RETRY_AFTER);
        }
        let fields = self.fields.iter();
        (fields.fold(response, |response, (name, value)| response.field(name, value)), body.to_string())
    }

    /// The whole answer, as the last one of its connection.
    pub(super) fn to_last_answer(&self) -> String {
        let (response, body) = self.to_response();
        let head = response.field("Connection", "close").into_text(Content::Length(body.len() as u64));
        head + &body
    }

    /// Queues the whole answer, which is the last one of its connection.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn send_last(&self, stream: &mut Stream) -> Result<()> {
        stream.send(self.to_last_answer().as_bytes())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status(error.code()), error, fields: Vec::new(), is_logged: false }
    }
}

impl From<BadRequest> for Problem {
    fn from(bad: BadRequest) -> Self {
        Self::new(bad.status, ErrorCode::Protocol, bad.reason)
    }
}

/// The time, as far as HTTP can tell it: a clock that was never set is no reason to fail.
pub(super) fn now() -> SystemTime {
    let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(LAST_SECOND));
    SystemTime::now().clamp(SystemTime::UNIX_EPOCH, last.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The status of a code. This is the only place where one becomes the other.
fn status(code: ErrorCode) -> u16 {
    use ErrorCode::{
        Abandoned, BadName, BadPath, Changed, Exists, Expired, Forbidden, Mismatch, NoSpace, NotAFile, NotFound,
        OutOfRange, Protocol, ReadOnly, Superseded, Timeout, TooLarge, Unauthorized,
    };
    match code {
        Protocol | BadPath | BadName => 400,
        Unauthorized => 401,
        Forbidden | ReadOnly => 403,
        NotFound | NotAFile => 404,
        Timeout => 408,
        Exists | Abandoned | Superseded => 409,
        Expired => 410,
        Changed => 412,
        TooLarge => 413,
        OutOfRange => 416,
        Mismatch => 422,
        NoSpace => 507,
        _ => 503,
    }
}

/// The reason phrase of a status (RFC 9110, section 15; RFC 6585; RFC 4918).
fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_the_status_of_the_document() {
        let document = include_str!("../../../docs/WEB.md");
        let (_, table) = document.split_once("| Code | Status |\n|---|---|\n").unwrap();
        let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        for code in ErrorCode::ALL {
            let row = rows.iter().find(|row| row.contains(&format!("`{code}`")));
            let row = row.or_else(|| rows.iter().find(|row| row.contains("all others"))).unwrap();
            let documented = row.split('|').nth(2).unwrap().trim();
            assert!(documented.starts_with(&status(*code).to_string()), "{code}: {documented}");
            assert_ne!(reason(status(*code)), "Unknown");
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let text = Response::new(200).field("X", "a\r\nSet-Cookie: b").into_text(Content::None);
        assert!(text.contains("X: aSet-Cookie: b\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_problem_is_json_with_code_and_detail() {
        let (_, body) = Problem::from(Error::refused(ErrorCode::NotFound, "no \"x\" here")).to_response();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&404.into(), &"not-found".into()));
        assert_eq!((&body["title"], &body["detail"]), (&"Not Found".into(), &"no \"x\" here".into()));
    }
}
