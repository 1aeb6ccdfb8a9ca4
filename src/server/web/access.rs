//! Who may ask by HTTP (WEB.md, section 2): a page of another site must not use its visitor's access.

use super::response::{Problem, Response};
use crate::wire::ErrorCode;
use crate::wire::http::{Authority, Head};
use std::net::IpAddr;

const METHODS: &str = "GET, HEAD, PUT";
const HEADERS: &str = "Authorization, Content-Range, Content-Type, Hostdir-Digest, Hostdir-Modified, Hostdir-On-Conflict, \
                       Hostdir-Prefix, Hostdir-Size, Hostdir-Upload, If-Match, If-Modified-Since, If-None-Match, \
                       If-Range, If-Unmodified-Since, Range";
/// Seconds for which a browser remembers a preflight.
const MAX_AGE: u32 = 600;

/// What the operator says of who may ask by HTTP.
#[derive(Debug, Clone, Default)]
pub struct WebAccess {
    /// The names of this server; addresses and `localhost` need not be named.
    pub host_names: Vec<String>,
    /// Origins of other sites whose pages may ask.
    pub origins: Vec<String>,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read, which does no harm if the page that asks cannot see the answer.
    Read,
    /// To add something, or to speak WebSocket, where a browser lets every page see everything.
    Write,
}

impl WebAccess {
    /// Whether a request may be answered; the origin that may see the answer besides this server's own page.
    pub(super) fn check<'a>(&self, head: &'a Head, purpose: Purpose) -> Result<Option<&'a str>, Problem> {
        if let Some(authority) = &head.authority {
            self.check_host(authority)?;
        }
        let origin = head.fields.sole("origin")?;
        let named = origin.filter(|origin| self.origins.iter().any(|known| known == origin));
        let is_own = origin.is_some_and(|origin| is_of(origin, head.authority.as_ref()));
        let is_foreign = match origin {
            Some(_) => named.is_none() && !is_own,
            None => head.fields.has_member("sec-fetch-site", "cross-site"),
        };
        if is_foreign && purpose == Purpose::Write {
            let why = "pages of another site may not do this; the operator can allow one with --allow-origin";
            return Err(Problem::new(403, ErrorCode::Forbidden, why));
        }
        Ok(named)
    }

    /// A name of somebody else's that leads here is how a page gets around the rule that it sees only its own site.
    fn check_host(&self, authority: &Authority) -> Result<(), Problem> {
        let host = authority.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_known = host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.host_names.iter().any(|name| name.eq_ignore_ascii_case(host));
        if is_known {
            return Ok(());
        }
        let why = format!("this server is not known as {host}; the operator can name it with --host-name");
        Err(Problem::new(421, ErrorCode::Forbidden, why))
    }

    /// What an answer says to a browser of who may see it.
    pub(super) fn mark(&self, response: Response, origin: Option<&str>) -> Response {
        let response = if self.origins.is_empty() { response } else { response.field("Vary", "Origin") };
        match origin {
            None => response,
            Some(origin) => {
                response.field("Access-Control-Allow-Origin", origin).field("Access-Control-Expose-Headers", "*")
            }
        }
    }
}

/// What the answer to a preflight says besides.
pub(super) fn mark_preflight(response: Response) -> Response {
    response
        .field("Access-Control-Allow-Methods", METHODS)
        .field("Access-Control-Allow-Headers", HEADERS)
        .field("Access-Control-Allow-Private-Network", "true")
        .field("Access-Control-Max-Age", MAX_AGE)
}

/// Whether an origin is that of the server that is asked.
fn is_of(origin: &str, authority: Option<&Authority>) -> bool {
    let asked = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    asked.zip(authority).is_some_and(|(origin, authority)| origin.eq_ignore_ascii_case(authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        Head::parse(format!("PUT / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).unwrap()
    }

    fn access() -> WebAccess {
        WebAccess { host_names: vec!["nas".into(), "NAS.local".into()], origins: vec!["https://ok.example".into()] }
    }

    fn status(fields: &str, purpose: Purpose) -> Option<u16> {
        access().check(&head(fields), purpose).err().map(|problem| problem.status())
    }

    #[test]
    fn only_names_of_this_server_are_answered() {
        for host in ["nas", "NAS:9000", "nas.local.", "localhost:1", "192.0.2.1:9000", "[::1]:9000", "[2001:db8::1]"] {
            assert_eq!(status(&format!("Host: {host}"), Purpose::Write), None, "{host}");
        }
        for host in ["evil.example", "nas.evil.example", "127.0.0.1.nip.example", "localhost.evil", "1", "0x7f.1"] {
            assert_eq!(status(&format!("Host: {host}"), Purpose::Read), Some(421), "{host}");
        }
    }

    #[test]
    fn another_site_may_neither_write_nor_see() {
        let own = ["http://nas:9000", "https://nas:9000", "https://ok.example"];
        for origin in own {
            let fields = format!("Host: nas:9000\r\nOrigin: {origin}\r\nSec-Fetch-Site: cross-site");
            assert_eq!(status(&fields, Purpose::Write), None, "{origin}");
        }
        let other = ["http://nas", "http://nas:9001", "http://evil.example", "null", "ftp://nas:9000", "nas:9000", ""];
        for origin in other {
            let fields = format!("Host: nas:9000\r\nOrigin: {origin}");
            assert_eq!(status(&fields, Purpose::Write), Some(403), "{origin}");
            assert_eq!(access().check(&head(&fields), Purpose::Read).unwrap(), None, "{origin}");
        }
        let named = head("Host: nas\r\nOrigin: https://ok.example");
        assert_eq!(access().check(&named, Purpose::Read).unwrap(), Some("https://ok.example"));
    }

    #[test]
    fn without_an_origin_the_browsers_word_counts() {
        assert_eq!(status("Host: nas\r\nSec-Fetch-Site: cross-site", Purpose::Write), Some(403));
        assert_eq!(status("Host: nas\r\nSec-Fetch-Site: cross-site", Purpose::Read), None);
        for site in ["same-origin", "none", "same-site"] {
            assert_eq!(status(&format!("Host: nas\r\nSec-Fetch-Site: {site}"), Purpose::Write), None, "{site}");
        }
        assert_eq!(status("Host: nas\r\nOrigin: http://nas\r\nOrigin: http://nas", Purpose::Read), Some(400));
    }
}
