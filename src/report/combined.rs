//! Transfers in the combined log format of web servers, so that programs which read those read ours.
//!
//! Format: <https://httpd.apache.org/docs/2.4/logs.html#combined>. A download is a GET, an upload a PUT; `via` stands
//! where the program of the client is told.

use super::entry::{Direction, Status, Transfer};
use super::time;
use crate::escape::original;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes the line of a transfer.
pub(super) fn write(transfer: &Transfer<'_>, out: &mut dyn Write) -> io::Result<()> {
    let method = match transfer.direction {
        Direction::Download => "GET",
        Direction::Upload => "PUT",
    };
    let (client, bytes, time) = (transfer.client, transfer.bytes, time::of_web_servers(transfer.time));
    let (path, status, via) = (encoded(&transfer.path), status(transfer), encoded(&transfer.via));
    writeln!(out, "{client} - - [{time}] \"{method} /{path} HTTP/1.1\" {status} {bytes} \"-\" \"hostdir/{via}\"")
}

/// The status of HTTP that comes nearest; 499 is what nginx logs of a client that went away.
fn status(transfer: &Transfer<'_>) -> u16 {
    let is_part = transfer.bytes < transfer.size;
    match (transfer.status, transfer.direction) {
        (Status::Ok | Status::Sent, Direction::Download) if is_part => 206,
        (Status::Ok | Status::Sent, Direction::Upload) if !is_part => 201,
        (Status::Ok | Status::Sent, _) => 200,
        (Status::Aborted | Status::Incomplete, _) => 499,
        (Status::Failed, _) => 500,
        (Status::Refused, _) => 403,
    }
}

/// The name itself, not its escaped form, percent-encoded (RFC 3986): letters, digits, `-._~` and `/` stay.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in original(path) {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Entry, parse};
    use super::*;

    fn combined(line: &str) -> String {
        let Some(Entry::Transfer(transfer)) = parse(line) else { panic!("{line}") };
        let mut out = Vec::new();
        write(&transfer, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_download_is_a_get() {
        let line = "time=2026-11-20T14:03:21.482Z event=download client=[::1]:1 via=native path=\"año \\\"1\\\"\\xff.jpg\" \
                    size=8 offset=0 bytes=8 ms=1 status=ok";
        let expected = "::1 - - [20/Nov/2026:14:03:21 +0000] \"GET /a%C3%B1o%20%221%22%FF.jpg HTTP/1.1\" 200 8 \"-\" \
                        \"hostdir/native\"\n";
        assert_eq!(combined(line), expected);
        assert!(combined(&line.replace("bytes=8", "bytes=3")).contains(" 206 3 "));
        assert!(combined(&line.replace("status=ok", "status=refused")).contains(" 403 8 "));
    }

    #[test]
    fn an_upload_is_a_put() {
        let line = "time=2026-11-20T14:03:21.482Z event=upload client=10.0.0.1:1 via=web path=a size=8 offset=0 bytes=8 \
                    ms=1 status=ok";
        assert!(combined(line).contains("\"PUT /a HTTP/1.1\" 201 8 \"-\" \"hostdir/web\""));
        assert!(combined(&line.replace("=ok", "=incomplete")).contains(" 499 "));
    }
}
