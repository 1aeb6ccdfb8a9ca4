//! The page (WEB.md, section 1): one file that stands for itself.

use super::exchange::{Answered, Exchange};
use super::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

/// Of scripts and styles, only those of the page itself run: by their hashes (CSP Level 3, section 2.3.1).
static SOURCES: LazyLock<String> =
    LazyLock::new(|| format!("script-src {}; style-src {}", hashes(PAGE, "script"), hashes(PAGE, "style")));

/// Answers `GET /`.
pub(super) fn answer(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let host = exchange.head.authority.as_ref().map(|authority| authority.as_str());
    let response = Response::new(200)
        .field("Content-Type", "text/html; charset=utf-8")
        .field("Cache-Control", "no-cache")
        .policy(policy(host));
    Ok(exchange.respond(response, PAGE.as_bytes())?)
}

/// What the page may do: ask the server that it came from.
fn policy(host: Option<&str>) -> String {
    // Browsers do not agree that 'self' covers WebSocket. An address of IPv6 cannot be named in a policy.
    let socket = host.filter(|host| !host.starts_with('[')).map(|host| format!(" ws://{host} wss://{host}"));
    format!(
        "default-src 'none'; {}; connect-src 'self'{}; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        *SOURCES,
        socket.unwrap_or_default(),
    )
}

/// The hashes of what stands in the elements of that name; `'none'` if there are none.
fn hashes(page: &str, element: &str) -> String {
    let (start, end) = (format!("<{element}"), format!("</{element}>"));
    let inner = page.split(&start).skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once('>')?;
        rest.split_once(&end).map(|(inner, _)| inner)
    });
    let hashes = inner.map(|inner| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, inner.as_bytes()))));
    let hashes: Vec<String> = hashes.collect();
    if hashes.is_empty() { "'none'".into() } else { hashes.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_inline_script_and_style_is_allowed_by_its_hash() {
        // The hashes are those of `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`, and of `a{}`.
        let page = "<script>alert(1)</script><style media=\"all\">a{}</style><script type=\"module\">alert(1)</script>";
        let script = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert_eq!(hashes(page, "script"), format!("{script} {script}"));
        assert_eq!(hashes(page, "style"), "'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='");
        assert_eq!(hashes("<p>", "script"), "'none'");
    }

    #[test]
    fn the_page_reaches_nobody_but_its_server() {
        let policy = policy(Some("nas:9000"));
        assert!(policy.contains("connect-src 'self' ws://nas:9000 wss://nas:9000;"), "{policy}");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        assert!(super::policy(Some("[::1]:9000")).contains("connect-src 'self';"));
    }
}
