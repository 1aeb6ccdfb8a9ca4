//! A native session: greets, then reads a request, dispatches it, replies, until one side ends it.
//!
//! Owns the order of replies: whatever is answered, the uploads received before it are made durable and answered first
//! ([`Session::settle`]). Every request is dispatched in [`Session::dispatch`]; each command has a file of its own.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::admission::{Admitted, Direction, Live};
use super::audit::Asked;
use super::negotiate::negotiate;
use super::put::Group;
use super::receipt::Unconfirmed;
use super::recognise::{self, Shown};
use super::record::{Record, Status, Via};
use super::{Shared, get, list, put, rates, receipt, receivers, subscribe, web};
use crate::access::Caller;
use crate::connection::{Await, Connection, Incoming, NextRequest};
use crate::error::{Error, Result};
use crate::escape::harmless;
use crate::store::{Follower, Upload};
use crate::wire::{ErrorCode, Guess, Hello, Kind, PROTOCOL_VERSION, Reply, Request, Right, Violation, Welcome};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a session that ends waits for its peer to take the last word.
const LAST_WORD: Duration = Duration::from_secs(2);
const AGENT: &str = concat!("hostdir-server/", env!("CARGO_PKG_VERSION"));

/// One connection's session.
pub(super) struct Session<'a> {
    pub(super) connection: Connection,
    pub(super) shared: &'a Shared,
    pub(super) live: Arc<Live>,
    pub(super) group: Group,
    pub(super) unconfirmed: Unconfirmed,
    pub(super) offered: Option<(Upload, Record)>,
    /// What it follows, also while it fetches what it was told of.
    pub(super) follower: Option<Follower>,
    /// Who asks.
    pub(super) caller: Caller,
    /// Whether the peer is known to speak this protocol: another one is closed without a word.
    is_native: bool,
}

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    End,
}

/// Runs a connection to its end, in the protocol that its first bytes are of.
pub(super) fn run(socket: TcpStream, admitted: Admitted, shared: &Shared) {
    let live = Arc::clone(admitted.live());
    let peer = live.peer;
    match negotiate(socket, &live, shared) {
        Ok((stream, Guess::Http)) => web::run(stream, Arc::clone(&live), shared),
        Ok((stream, _)) => Session::new(Connection::over(stream), Arc::clone(&live), shared).run(),
        Err(error @ Error::Refused { .. }) => {
            log::warn!(event = error.code().name(), client:% = peer, cause:% = error; "")
        }
        Err(error) => log::warn!(event = "disconnect", client:% = peer, ms = live.age_ms(), cause:% = error; ""),
    }
    rates::tell(&live);
    drop(admitted);
}

impl<'a> Session<'a> {
    fn new(connection: Connection, live: Arc<Live>, shared: &'a Shared) -> Self {
        let (group, unconfirmed) = (Group::default(), Unconfirmed::default());
        let (offered, follower) = (None, None);
        let caller = Caller::nobody();
        Self { connection, shared, live, group, unconfirmed, offered, follower, caller, is_native: false }
    }

    fn run(mut self) {
        let peer = self.live.peer;
        let result = self.greet().and_then(|()| self.serve());
        let result = self.live.check_revoked().and(result);
        match &result {
            Ok(()) => log::info!(event = "disconnect", client:% = peer, ms = self.live.age_ms(); ""),
            Err(error) => {
                log::warn!(event = "disconnect", client:% = peer, ms = self.live.age_ms(), cause:% = error; "")
            }
        }
        self.shared.console.left(peer);
        self.group.close(self.shared);
        self.unconfirmed.close(self.shared);
        // Whoever waits for what this session held need not wait for its goodbye.
        (self.offered, self.follower) = (None, None);
        if let Err(error) = result
            && self.is_native
            && !matches!(error, Error::Network { .. })
        {
            // The peer may be gone; then nobody needs the reason.
            let _ = self.connection.send_reply(&Reply::Error(error.to_fault()));
        }
        self.live.end_transfer();
        self.connection.close(LAST_WORD);
    }

    fn greet(&mut self) -> Result<()> {
        self.connection.read_preamble()?;
        self.is_native = true;
        self.connection.send_preamble()?;
        let hello = match self.connection.next_frame(Await::Message)? {
            Some(Incoming::Control(Kind::Hello, body)) => Request::decode(Kind::Hello, body)?,
            Some(Incoming::Control(kind, _)) => return Err(Violation::Unexpected(kind).into()),
            Some(Incoming::Data(_)) => return Err(Violation::Unexpected(Kind::Data).into()),
            None => return Err(Error::disconnected("greeting")),
        };
        let Request::Hello(hello) = hello else { return Err(Violation::Unexpected(hello.kind()).into()) };
        check_version(&hello)?;
        let peer = self.live.peer;
        let agent = harmless(hello.agent.unwrap_or_default().as_bytes());
        let shown = if hello.token.is_some() { Shown::Something } else { Shown::Nothing };
        let caller = self.asked("HELLO", b"").note(self.shared.access.caller(hello.token.as_ref()));
        self.caller = recognise::admit(self.shared, &self.live, shown, caller)?;
        self.connection.limit(self.shared.rates.share(&self.live, &self.caller));
        let token = self.caller.grant();
        log::info!(event = "connect", client:% = peer, agent:%, token:%; "");
        self.shared.console.joined(peer);
        let store = self.shared.store.config();
        self.connection.send_reply(&Reply::Welcome(Welcome {
            version: PROTOCOL_VERSION,
            agent: Some(AGENT.into()),
            name: Some(self.shared.config.name.clone()),
            read_only: store.read_only,
            overwrite: store.overwrite && !store.read_only && token.has(Right::Overwrite),
            max_file_size: store.max_file_size,
            rights: token.told(),
        }))?;
        self.connection.welcomed();
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        loop {
            // Whether the kernel has more costs a call: it is only asked where uploads wait for company.
            if !self.connection.has_buffered_input() && (self.group.is_empty() || !self.connection.has_input()) {
                self.settle()?;
                self.connection.flush()?;
            }
            if self.shared.registry.is_draining() {
                self.settle()?;
                self.connection.flush()?;
                return Err(self.last_receipts());
            }
            if self.next()? == Next::End {
                return self.settle();
            }
        }
    }

    /// The server is stopping: only the receipts of downloads that are done are still taken, from among requests that nobody
    /// answers any more, and nobody waits long for them.
    fn last_receipts(&mut self) -> Error {
        let began = Instant::now();
        while !self.unconfirmed.is_empty()
            && began.elapsed() < LAST_WORD
            && let Ok(Some(incoming)) = self.connection.next_frame(Await::Message)
        {
            let Incoming::Control(Kind::Receipt, body) = incoming else { continue };
            let Ok(Request::Receipt(receipt)) = Request::decode(Kind::Receipt, body) else { break };
            if receipt::note(self, receipt).is_err() {
                break;
            }
        }
        Error::refused(ErrorCode::ShuttingDown, "the server is stopping")
    }

    /// Reads a request and answers it; a refusal is an answer.
    fn next(&mut self) -> Result<Next> {
        let request = match self.connection.next_request()? {
            NextRequest::Frame(Incoming::Control(kind, body)) => Request::decode(kind, body)?,
            NextRequest::Frame(Incoming::Data(_)) => return Err(Violation::Unexpected(Kind::Data).into()),
            NextRequest::Nothing => return Ok(Next::Request),
            NextRequest::End => return self.ended(),
        };
        self.live.check_revoked()?;
        self.connection.restart_pace();
        match self.dispatch(request) {
            Ok(()) => Ok(Next::Request),
            Err(error) if ends_session(&error) => Err(error),
            Err(error) => self.reply(&Reply::Error(error.to_fault())).map(|()| Next::Request),
        }
    }

    /// Every request there is, and who answers it.
    fn dispatch(&mut self, request: Request) -> Result<()> {
        if !matches!(request, Request::Begin(_)) {
            self.offered = None;
        }
        match request {
            Request::List(list) => list::answer(self, &list),
            Request::Get(get) => get::answer(self, &get),
            Request::Put(put) => put::answer(self, &put),
            Request::Begin(begin) => put::begin(self, begin),
            Request::Receipt(receipt) => receipt::note(self, receipt),
            Request::Ping => self.reply(&Reply::Pong),
            Request::Subscribe(subscribe) => subscribe::answer(self, &subscribe),
            Request::Receivers(request) => receivers::answer(self, request),
            Request::Hello(_) | Request::Finish(_) | Request::Abandon(_) => {
                Err(Violation::Unexpected(request.kind()).into())
            }
        }
    }

    /// The peer closed, or another thread stopped the reading.
    fn ended(&mut self) -> Result<Next> {
        if self.offered.as_ref().is_some_and(|(upload, _)| upload.is_superseded()) {
            return Err(Error::refused(ErrorCode::Superseded, "another connection took this upload over"));
        }
        Ok(Next::End)
    }

    /// Answers the uploads that were received so far, once they are durable.
    pub(super) fn settle(&mut self) -> Result<()> {
        put::settle(self)
    }

    /// Sends a reply, after those that are due before it.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<()> {
        self.settle()?;
        self.connection.send_reply(reply)
    }

    /// Begins the record of a transfer.
    pub(super) fn record(&self, direction: Direction, path: String, size: Option<u64>) -> Record {
        self.live.name_transfer(&path);
        Record::begin(self.shared, self.live.peer, Via::Native, direction, path, size)
    }

    /// What the log says of a request that is not allowed.
    pub(super) fn asked<'b>(&'b self, command: &'b str, path: &'b [u8]) -> Asked<'b> {
        Asked { client: self.live.peer, caller: &self.caller, command, path }
    }

    /// Logs a transfer that was refused before it began, and gives its error back.
    pub(super) fn refuse(&self, direction: Direction, path: &[u8], error: Error) -> Error {
        self.record(direction, harmless(path), None).fail(self.shared, Status::Refused, &error);
        let command = match direction {
            Direction::Download => "GET",
            Direction::Upload => "PUT",
        };
        self.asked(command, path).log(&error);
        error
    }
}

/// Tells a client that waits that this side still works.
pub(super) fn wait_frame(connection: &mut Connection) -> Result<()> {
    connection.send_reply(&Reply::Wait)?;
    connection.flush()
}

fn check_version(hello: &Hello) -> Result<()> {
    if (hello.min_version..=hello.max_version).contains(&PROTOCOL_VERSION) {
        return Ok(());
    }
    Err(Error::refused(
        ErrorCode::UnsupportedVersion,
        format!(
            "the server speaks protocol version {PROTOCOL_VERSION}, the client {} to {}",
            hello.min_version, hello.max_version
        ),
    ))
}

fn ends_session(error: &Error) -> bool {
    matches!(error, Error::Network { .. } | Error::Violation(_)) || error.code().ends_session()
}
