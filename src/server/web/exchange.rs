//! One request, and its answer.
//!
//! Owns what must hold between them: one answer a request, not a byte of a body after HEAD, a connection that goes on only
//! if it is known where the next request begins. Knows nothing of what is asked for.

use super::body::Body;
use super::response::{Content, Problem, Response};
use super::{Live, Shared};
use crate::access::Caller;
use crate::connection::{More, Stream};
use crate::error::Result;
use crate::wire::ErrorCode;
use crate::wire::http::{Expectation, Framing, Head, HttpVersion, Method};

/// A body that nobody asked for is read up to here, so that the connection can go on.
const UNEXPECTED_BODY: u64 = 64 * 1024;

/// What a handler gives back: a problem is told to the client, if the head of an answer was not sent yet.
pub(super) type Answered = std::result::Result<(), Problem>;

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    pub(super) stream: &'a mut Stream,
    pub(super) head: &'a Head,
    pub(super) live: &'a Live,
    pub(super) shared: &'a Shared,
    pub(super) body: Body,
    /// Who asks.
    pub(super) caller: Caller,
    /// The origin, besides this server's own, whose pages may see the answer.
    origin: Option<&'a str>,
    /// The client does not send the body before it is told to.
    awaits_continue: bool,
    stage: Stage,
    after: After,
}

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was said yet.
    Open,
    /// The head was sent; what fails now can only be told by cutting the connection.
    Begun,
    /// All of it was sent.
    Whole,
}

/// What becomes of the connection when a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request is read.
    Request,
    /// It is closed, in an orderly way.
    Close,
    /// It is cut, because the answer is not whole.
    Cut,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(stream: &'a mut Stream, head: &'a Head, live: &'a Live, shared: &'a Shared) -> Self {
        let after = if head.keeps_alive() { After::Request } else { After::Close };
        let (body, awaits_continue) = (Body::of(head.framing), false);
        let caller = Caller::nobody();
        Self { stream, head, live, shared, body, caller, origin: None, awaits_continue, stage: Stage::Open, after }
    }

    /// Takes note of what the client waits for.
    pub(super) fn note_expectation(&mut self) -> Answered {
        let expects = self.head.expectation().inspect_err(|_| self.after = After::Close)?;
        self.awaits_continue = expects == Expectation::Continue && self.head.framing != Framing::None;
        Ok(())
    }

    /// The answer can be seen by pages of this origin.
    pub(super) fn allow(&mut self, origin: Option<&'a str>) {
        self.origin = origin;
    }

    /// Whether the answer has no body, because of the method.
    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::Head
    }

    /// Whether the client waits for a word before it sends the body.
    pub(super) fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// The body is wanted: says so, if the client waits for it.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn want_body(&mut self) -> Result<()> {
        if std::mem::take(&mut self.awaits_continue) {
            self.stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.stream.flush(More::Nothing)?;
        }
        Ok(())
    }

    /// Answers with a body that is here already.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn respond(&mut self, response: Response, content: &[u8]) -> Result<()> {
        self.begin(response, Content::Length(content.len() as u64))?;
        if !self.is_head() {
            self.stream.send(content)?;
        }
        self.conclude();
        Ok(())
    }

    /// Answers with JSON.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn respond_json(&mut self, response: Response, body: &serde_json::Value) -> Result<()> {
        let response = response.field("Content-Type", "application/json").field("Cache-Control", "no-store");
        self.respond(response, body.to_string().as_bytes())
    }

    /// Answers with a head alone: one that announces a body, to HEAD or with 304, or one that has none.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn respond_head(&mut self, response: Response, content: Content) -> Result<()> {
        self.begin(response, content)?;
        self.conclude();
        Ok(())
    }

    /// Sends the head of an answer, whose body follows.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn begin(&mut self, response: Response, content: Content) -> Result<()> {
        self.settle_body()?;
        let mut response = self.shared.config.web.mark(response, self.origin);
        if self.after != After::Request {
            response = response.field("Connection", "close");
        }
        self.stage = Stage::Begun;
        response.send(self.stream, content)
    }

    /// The body of the answer is whole.
    pub(super) fn conclude(&mut self) {
        self.stage = Stage::Whole;
    }

    /// What must be chunked cannot be told in HTTP/1.0: its end would look like that of a broken connection.
    pub(super) fn check_chunks(&self) -> Answered {
        if self.head.version >= HttpVersion::Http11 {
            return Ok(());
        }
        Err(Problem::new(505, ErrorCode::Protocol, "this is only to be had in HTTP/1.1, which has chunks"))
    }

    /// Tells a problem, if that is still possible.
    pub(super) fn refuse(&mut self, problem: &Problem) -> Result<()> {
        if self.stage != Stage::Open {
            self.after = After::Cut;
            return Ok(());
        }
        let (response, body) = problem.to_response();
        self.respond(response, body.as_bytes())
    }

    /// The connection is closed after this answer.
    pub(super) fn close_after(&mut self) {
        self.after = After::Close;
    }

    /// Reads and forgets the body, however long it is.
    ///
    /// # Errors
    /// Those of the connection, which is of no use then but for the answer.
    pub(super) fn discard_body(&mut self) -> Result<()> {
        let discarded = self.body.discard(self.stream, u64::MAX);
        discarded.map(drop).inspect_err(|_| self.stop_listening())
    }

    /// What still comes of the body is of no use any more, nor is the connection after this answer.
    pub(super) fn stop_listening(&mut self) {
        (self.body, self.after) = (Body::of(Framing::None), After::Close);
    }

    /// Listens to a client that sends a body although it was refused, for as long as it keeps to the rate of a transfer:
    /// many look for the answer only when they have sent everything.
    pub(super) fn hear_out(&mut self) {
        let is_sending = self.head.method == Method::Put && !self.body.is_done() && !self.awaits_continue;
        if is_sending && self.stream.flush(More::Nothing).is_ok() {
            // However it ends, the answer was sent.
            let _ = self.discard_body();
        }
    }

    /// What becomes of the connection now.
    pub(super) fn after(&self) -> After {
        if self.stage == Stage::Whole { self.after } else { After::Cut }
    }

    /// The answer is due, and says whether the connection goes on: a small body that nobody wanted is read first. A larger
    /// one, or one that the client may send or not, leaves nobody knowing where the next request begins.
    fn settle_body(&mut self) -> Result<()> {
        if self.body.is_done() || self.after != After::Request {
            return Ok(());
        }
        let is_large = self.body.length().is_some_and(|length| length > UNEXPECTED_BODY);
        if self.awaits_continue || is_large {
            self.after = After::Close;
            return Ok(());
        }
        match self.body.discard(self.stream, UNEXPECTED_BODY) {
            Ok(true) => {}
            Ok(false) => self.after = After::Close,
            Err(error) => {
                self.stop_listening();
                return Err(error);
            }
        }
        Ok(())
    }
}
