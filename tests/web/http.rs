//! A small client of HTTP/1.1 that does what it is told, also what no client should do. It knows of the server's code nothing.

use crate::common::Server;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long a test waits for a server's word.
const PATIENCE: Duration = Duration::from_secs(90);

/// One connection, blocking.
pub struct Http {
    pub stream: TcpStream,
    read: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether it ended as it said that it would.
    pub is_whole: bool,
}

impl Http {
    /// Connects and says nothing.
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request; `fields` are lines, each with its end.
    pub fn send(&mut self, line: &str, fields: &str, body: &[u8]) {
        self.raw([format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes(), body].concat());
    }

    /// Sends a request and takes its answer.
    pub fn ask(&mut self, line: &str, fields: &str, body: &[u8]) -> Answer {
        self.send(line, fields, body);
        if line.starts_with("HEAD ") { self.head() } else { self.answer() }
    }

    /// As [`Http::ask`], of what needs neither fields nor a body.
    pub fn get(&mut self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), "", b"")
    }

    /// Uploads with the length announced.
    pub fn put(&mut self, target: &str, fields: &str, body: &[u8]) -> Answer {
        let fields = format!("Content-Length: {}\r\n{fields}", body.len());
        self.ask(&format!("PUT {target}"), &fields, body)
    }

    /// The next answer with its body.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if !matches!(answer.status, 100 | 204 | 304) {
            answer.is_whole = self.body(&mut answer);
        }
        answer
    }

    /// The head of the next answer.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end;
            }
            let so_far = String::from_utf8_lossy(&self.read).into_owned();
            assert!(self.more().unwrap() > 0, "closed before an answer, after {so_far:?}");
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Answer { status, fields: lines.map(field).collect(), body: Vec::new(), is_whole: true }
    }

    /// Takes the body of an answer whose head was read; whether it is whole.
    pub fn body(&mut self, answer: &mut Answer) -> bool {
        if answer.field("transfer-encoding").is_none() {
            let length = answer.field("content-length").expect("a body is framed").parse().unwrap();
            return self.take(length, &mut answer.body);
        }
        while let Some(size) = self.line() {
            let size = usize::from_str_radix(&size, 16).unwrap();
            if !self.take(size, &mut answer.body) || self.line().as_deref() != Some("") {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
        false
    }

    /// The next line of a chunked body; `None` if the connection ends.
    pub fn line(&mut self) -> Option<String> {
        while find(&self.read, b"\r\n").is_none() {
            if !matches!(self.more(), Ok(1..)) {
                return None;
            }
        }
        let end = find(&self.read, b"\r\n").unwrap();
        let line: Vec<u8> = self.read.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// Takes bytes; whether so many came.
    pub fn take(&mut self, count: usize, into: &mut Vec<u8>) -> bool {
        while self.read.len() < count {
            if !matches!(self.more(), Ok(1..)) {
                break;
            }
        }
        let count_here = count.min(self.read.len());
        into.extend(self.read.drain(..count_here));
        count_here == count
    }

    /// Nothing more comes but the end of the connection.
    pub fn closed(&mut self) {
        let mut rest = std::mem::take(&mut self.read);
        let end = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        assert!(end.is_ok_and(|count| count == 0), "an orderly close");
    }

    /// The connection ends, in whatever way.
    pub fn gone(&mut self) {
        let mut sink = Vec::new();
        let _ = self.stream.read_to_end(&mut sink);
    }

    /// Whether the connection still answers.
    pub fn is_alive(&mut self) -> bool {
        self.get("/healthz").status == 200
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Answer {
    /// The value of a field; it is there once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// It must be a problem of this status and code; its detail.
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!((&body["status"], &body["code"]), (&status.into(), &code.into()), "{body}");
        assert!(body["title"].is_string());
        body["detail"].as_str().unwrap().to_owned()
    }
}

pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A server over a directory of its own, with some files in it.
pub fn served(files: &[(&str, &[u8])], arguments: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        write(dir.path(), name, content);
    }
    let server = Server::start(dir.path(), arguments);
    (dir, server)
}

/// Writes a file, with the folders that it needs.
pub fn write(dir: &Path, name: &str, content: &[u8]) {
    fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
    fs::write(dir.join(name), content).unwrap();
}

/// One GET on a connection of its own.
pub fn get(server: &Server, target: &str) -> Answer {
    Http::connect(server).get(target)
}

/// One PUT on a connection of its own.
pub fn put(server: &Server, target: &str, fields: &str, body: &[u8]) -> Answer {
    Http::connect(server).put(target, fields, body)
}

/// `blake3=` and the digest, as in a field.
pub fn digest_field(bytes: &[u8]) -> String {
    format!("blake3={}", crate::common::digest_of(bytes))
}
