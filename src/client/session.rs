//! One connection to a server: greeting, requests and their answers.
//!
//! Requests are queued and answers are read in the same order (PROTOCOL.md, section 11), so callers may pipeline. What the
//! server says in words is made harmless here, once.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::cancel::Registration;
use crate::connection::{Await, Connection, Incoming, Sent, Stream};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::transfer::{Counter, Progress, Received, Sink, discard, receive};
use crate::wire::{
    End, Entry, ErrorCode, Fault, FileHeader, Hello, Kind, List, Listed, LiveHeader, PROTOCOL_VERSION, RemoteFolder,
    RemotePath, Reply, Request, Token, Violation, Welcome,
};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const AGENT: &str = concat!("hostdir-client/", env!("CARGO_PKG_VERSION"));
/// How long a connection that is no longer needed is given to deliver its last frames.
const LAST_WORD: Duration = Duration::from_millis(500);

/// An answer of more bytes than this is not passed over: a new connection costs less.
const SKIP: u64 = 8 * 1024 * 1024;

/// An open connection, greeted.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    welcome: Welcome,
    peer: SocketAddr,
    is_cut: bool,
    /// From HELLO to WELCOME.
    greeting: Duration,
    _registration: Registration,
}

/// The bytes that an answer has.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// How many there must be, where that is known.
    exactly: Option<u64>,
    /// How many must be passed over, if this machine cannot take them.
    skip: u64,
}

impl Session {
    /// Greets the server on a connection on which nothing was said yet; `token` shows who greets. `registration` keeps it among those that Ctrl-C cuts.
    ///
    /// # Errors
    /// [`Error::Network`] with the cure; [`Error::Violation`] if it is not a hostdir server; [`Error::Refused`].
    pub fn greet(stream: Stream, peer: SocketAddr, token: Option<Token>, registration: Registration) -> Result<Self> {
        let mut connection = Connection::over(stream);
        connection.send_preamble()?;
        let agent = Some(AGENT.into());
        connection.send_request(&Request::Hello(Hello {
            min_version: PROTOCOL_VERSION,
            max_version: PROTOCOL_VERSION,
            agent,
            token,
        }))?;
        connection.flush()?;
        let asked = Instant::now();
        connection.read_preamble().map_err(|error| match error {
            Error::Violation(_) => Violation::Contradiction("it is not a hostdir server").into(),
            Error::Timeout { limit, .. } => no_greeting(limit.as_secs()),
            error => error,
        })?;
        let welcome = match next_reply(&mut connection).map_err(with_cure)? {
            Reply::Welcome(welcome) if welcome.version == PROTOCOL_VERSION => welcome,
            Reply::Welcome(_) => return Err(Violation::Contradiction("the server chose a version not offered").into()),
            reply => return Err(Violation::Unexpected(reply.kind()).into()),
        };
        connection.welcomed();
        let greeting = asked.elapsed();
        Ok(Self { connection, welcome, peer, is_cut: false, greeting, _registration: registration })
    }

    /// What the server said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The server's name for people: what it calls itself, or its address.
    pub fn name(&self) -> String {
        match &self.welcome.name {
            Some(name) if !name.is_empty() => harmless(name.as_bytes()),
            _ => self.peer.ip().to_canonical().to_string(),
        }
    }

    /// Whether what passes is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.connection.is_encrypted()
    }

    /// Queues a request.
    pub fn request(&mut self, request: &Request) -> Result<()> {
        self.connection.send_request(request)
    }

    /// Queues bytes in DATA frames.
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.send_data(bytes)
    }

    /// Sends one DATA frame of a file.
    pub fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        self.connection.send_file(file, offset, count)
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> Result<()> {
        self.connection.restart_pace();
        self.connection.flush()
    }

    /// Whether the server said something that was not read yet.
    pub fn has_answer(&mut self) -> bool {
        self.connection.has_input()
    }

    /// The next answer; ERROR is [`Error::Refused`].
    pub fn answer(&mut self) -> Result<Reply> {
        next_reply(&mut self.connection)
    }

    /// The answer to a GET up to its bytes.
    pub fn file_header(&mut self) -> Result<FileHeader> {
        match self.answer()? {
            Reply::File(header) if header.offset.saturating_add(header.length) <= header.size => Ok(header),
            Reply::File(_) => Err(Violation::Contradiction("FILE with more bytes than the file has").into()),
            reply => Err(Violation::Unexpected(reply.kind()).into()),
        }
    }

    /// The bytes of a GET's answer, and END with the digest that the server announces, if one was asked for.
    ///
    /// `hasher` holds what was there before; it comes back with what came in.
    ///
    /// # Errors
    /// Also [`ErrorCode::Changed`] and the like, which the server may send in place of END: `sink` has then taken the last
    /// DATA frame back. After an error of `sink` the rest of the answer was passed over.
    pub fn file_body(
        &mut self,
        header: &FileHeader,
        sink: &mut dyn Sink,
        hasher: blake3::Hasher,
        counter: &dyn Counter,
    ) -> Result<(Received, Option<crate::wire::Digest>)> {
        let due = Due { exactly: Some(header.length), skip: header.length };
        let (received, end) = self.body(due, sink, hasher, counter)?;
        Ok((received, end.digest))
    }

    /// The answer to a live GET up to its bytes.
    pub fn live_header(&mut self) -> Result<LiveHeader> {
        match self.answer()? {
            Reply::Live(header) if header.size.is_none_or(|size| header.offset <= size) => Ok(header),
            Reply::Live(_) => Err(Violation::Contradiction("LIVE beyond the end of the file").into()),
            reply => Err(Violation::Unexpected(reply.kind()).into()),
        }
    }

    /// The bytes of a live GET's answer as they come in, and END. As [`Session::file_body`]; but after an error of `sink`
    /// the connection is cut, because nobody knows for how long bytes would still come.
    pub fn live_body(
        &mut self,
        header: &LiveHeader,
        sink: &mut dyn Sink,
        hasher: blake3::Hasher,
        counter: &dyn Counter,
    ) -> Result<(Received, End)> {
        let exactly = header.size.map(|size| size.saturating_sub(header.offset));
        self.body(Due { exactly, skip: u64::MAX }, sink, hasher, counter)
    }

    /// DATA frames, as many bytes as are due, and END.
    fn body(
        &mut self,
        due: Due,
        sink: &mut dyn Sink,
        hasher: blake3::Hasher,
        counter: &dyn Counter,
    ) -> Result<(Received, End)> {
        self.connection.restart_pace();
        let expected = due.exactly.unwrap_or(u64::MAX);
        let received = receive(&mut self.connection, sink, hasher, expected, expected, counter);
        // What the server is refused for is its fault, and the connection is out of step.
        let received = match received {
            Ok(received) => received,
            Err(Error::Refused { code: ErrorCode::Mismatch, .. }) => {
                return Err(Violation::Contradiction("more bytes than announced").into());
            }
            Err(error @ Error::Local { .. }) => {
                self.skip_body(due.skip);
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        match Reply::decode(received.kind, &received.body)? {
            Reply::End(end) if due.exactly.is_none_or(|length| received.bytes == length) => match received.stored {
                Ok(()) => Ok((Received { stored: Ok(()), ..received }, end)),
                Err(error) => Err(error),
            },
            Reply::End(_) => Err(Violation::Contradiction("END before all bytes came").into()),
            Reply::Error(fault) => {
                sink.take_back(received.last_frame)?;
                Err(refusal(fault))
            }
            reply => Err(Violation::Unexpected(reply.kind()).into()),
        }
    }

    /// The answer to a GET for no bytes: the digest, if one was asked for.
    ///
    /// # Errors
    /// [`Error::Violation`] if bytes follow.
    pub fn no_body(&mut self, header: &FileHeader) -> Result<Option<crate::wire::Digest>> {
        if header.length != 0 {
            return Err(Violation::Contradiction("FILE with another part than was asked for").into());
        }
        let no_bytes = Progress::default();
        self.file_body(header, &mut Nowhere, blake3::Hasher::new(), &no_bytes).map(|(_, digest)| digest)
    }

    /// Brings the connection back into step after this machine failed: reads and forgets the rest of an answer of
    /// `length` bytes. If that fails or would take long, the connection is cut, so that nobody takes what comes next for
    /// another answer.
    pub fn skip_body(&mut self, length: u64) {
        let skipped = length <= SKIP && matches!(discard(&mut self.connection), Ok((Kind::End | Kind::Error, _)));
        if !skipped {
            self.connection.interrupt().cut();
            self.is_cut = true;
        }
    }

    /// Whether this side gave the connection up.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Lists, page by page. Entries whose names no remote path can hold are left out and counted in `skipped`.
    pub fn list(&mut self, list: List, on_entry: &mut dyn FnMut(&RemoteFolder, Entry) -> Result<()>) -> Result<Listed> {
        let (asked, recursive) = (list.path.clone(), list.recursive);
        self.request(&Request::List(list))?;
        self.flush()?;
        let mut invalid = 0_u64;
        loop {
            let page = match self.answer()? {
                Reply::Entries(page) => page,
                Reply::Listed(listed) => {
                    return Ok(Listed { skipped: listed.skipped.saturating_add(invalid), ..listed });
                }
                reply => return Err(Violation::Unexpected(reply.kind()).into()),
            };
            let Ok(folder) = RemoteFolder::parse(&page.folder) else {
                invalid = invalid.saturating_add(page.entries.len() as u64);
                continue;
            };
            if !is_asked_for(&asked, recursive, &folder, &page.entries) {
                return Err(Violation::Contradiction("ENTRIES of a folder that was not asked for").into());
            }
            for entry in page.entries {
                if entry.name.contains(&b'/') || folder.join(&entry.name).is_err() {
                    invalid = invalid.saturating_add(1);
                } else {
                    on_entry(&folder, entry)?;
                }
            }
        }
    }

    /// How long the server takes to answer.
    pub fn ping(&mut self) -> Result<Duration> {
        let asked = Instant::now();
        self.request(&Request::Ping)?;
        self.flush()?;
        match self.answer()? {
            Reply::Pong => Ok(asked.elapsed()),
            reply => Err(Violation::Unexpected(reply.kind()).into()),
        }
    }

    /// Whether answers take `limit` at least. A busy machine may be late once, so where the greeting was slow the server is
    /// asked again, and the faster answer counts. Nothing else may be on its way.
    pub fn is_far(&mut self, limit: Duration) -> bool {
        // A connection that breaks now is the next request's business.
        self.greeting >= limit && self.ping().map_or(true, |time| time >= limit)
    }

    /// Ends the session; what is queued is delivered first.
    pub fn close(self) {
        self.connection.close(LAST_WORD);
    }
}

/// Takes the bytes of an answer that has none.
struct Nowhere;

impl Sink for Nowhere {
    fn store(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn take_back(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

/// Whether entries belong to what a LIST asked for. A server that could add others could choose what is downloaded.
fn is_asked_for(asked: &[u8], recursive: bool, folder: &RemoteFolder, entries: &[Entry]) -> bool {
    let folder = folder.as_bytes();
    let is_below = || asked.is_empty() || folder.strip_prefix(asked).is_some_and(|rest| rest.starts_with(b"/"));
    if folder == asked || (recursive && is_below()) {
        return true;
    }
    // A file is listed as the one entry that it is, in the folder that it is in.
    RemotePath::parse(asked)
        .is_ok_and(|path| path.parent().as_bytes() == folder && entries.iter().all(|entry| *entry.name == *path.name()))
}

fn no_greeting(seconds: u64) -> Error {
    let why = format!("connected, but no greeting in {seconds} s: is it a hostdir server?");
    Error::network("connect", io::Error::new(io::ErrorKind::NotConnected, why))
}

/// Says where a token can come from, if it is that.
fn with_cure(error: Error) -> Error {
    match error {
        Error::Refused { code: ErrorCode::Unauthorized, message } => {
            let cure = "give one with --token-file, --ask-token or HOSTDIR_TOKEN";
            Error::refused(ErrorCode::Unauthorized, format!("{message}; {cure}"))
        }
        error => error,
    }
}

fn next_reply(connection: &mut Connection) -> Result<Reply> {
    let reply = match connection.next_frame(Await::Message)? {
        Some(Incoming::Control(kind, body)) => Reply::decode(kind, body)?,
        Some(Incoming::Data(_)) => return Err(Violation::Unexpected(Kind::Data).into()),
        None => return Err(Error::disconnected("wait for the server")),
    };
    match reply {
        Reply::Error(fault) => Err(refusal(fault)),
        reply => Ok(reply),
    }
}

fn refusal(fault: Fault) -> Error {
    let message = match &fault.message {
        Some(message) if !message.is_empty() => harmless(message.as_bytes()),
        _ => fault.code.to_string(),
    };
    Error::Refused { code: known(fault.code), message }
}

/// A code that this version does not know is treated as `unavailable` (PROTOCOL.md, section 10).
fn known(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::Other(_) => ErrorCode::Unavailable,
        code => code,
    }
}
