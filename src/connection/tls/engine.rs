//! TLS as bytes in and bytes out: what came from the peer goes in, plaintext and what is to be sent to the peer come out.
//!
//! Owns what is on its way between the two: records that are not whole yet, plaintext that was not taken, and encrypted
//! bytes that were not sent. Does no I/O and keeps no time; [`super::Tls`] does.
//!
//! Memory: at most [`MOST_INCOMING`] bytes of records, what they hold as plaintext, and as many encrypted bytes as its user
//! lets gather; nothing of it while nothing is on its way.

use crate::connection::input::Input;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error};
use std::fmt;

/// More than this that is no whole record, or no whole handshake message, is no TLS of a peer that means well.
pub(super) const MOST_INCOMING: usize = 128 * 1024;
/// What a record adds to its plaintext: header, the longest nonce, content type, tag (RFC 8446, section 5.2).
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Plaintext of a record at most.
const RECORD: usize = 16 * 1024;

/// Which side of the connection this is.
pub(super) enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// One side of a TLS connection.
#[derive(Debug)]
pub(super) struct Engine {
    side: Side,
    incoming: Input,
    plaintext: Input,
    outgoing: Outgoing,
    has_ended: bool,
    /// The first failure; there is no going on after it.
    failure: Option<Error>,
}

/// Encrypted bytes on their way out. Its memory is used again without being cleared.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    filled: usize,
    sent: usize,
}

/// Without the keys.
impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Client(_)) { "Client" } else { "Server" })
    }
}

/// What one look at the records came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was done; there may be more.
    Done,
    /// Plaintext came.
    Data,
    /// Nothing more can be done with the records that are here.
    Waiting,
    /// What was to be encrypted is.
    Encrypted,
}

/// What is to be encrypted when nothing else comes first.
#[derive(Debug, Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Bytes(&'a [u8]),
    CloseNotify,
}

impl Engine {
    pub(super) fn new(side: Side) -> Self {
        let (incoming, plaintext) = (Input::default(), Input::default());
        Self { side, incoming, plaintext, outgoing: Outgoing::default(), has_ended: false, failure: None }
    }

    /// Whether the peer has not proved yet who it is, or not said yet that it is ready.
    pub(super) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// What was agreed on.
    pub(super) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(client) => client,
            Side::Server(server) => server,
        }
    }

    /// Lets `read` append what came from the peer, about `room` bytes of it.
    pub(super) fn append<T>(&mut self, room: usize, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.incoming.append(room, read)
    }

    /// Whether the peer has said that nothing more comes, and all that came before was taken.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended && self.plaintext.unread().is_empty()
    }

    /// Whether plaintext can be taken now. Records that hold none are dealt with.
    pub(super) fn has_plaintext(&mut self) -> Result<bool, Error> {
        if self.plaintext.unread().is_empty() {
            let mut kept = std::mem::take(&mut self.plaintext);
            let result = self.look(&mut |bytes| kept.append(RECORD, |kept| kept.extend_from_slice(bytes)));
            self.plaintext = kept;
            result?;
        }
        Ok(!self.plaintext.unread().is_empty())
    }

    /// Gives `sink` up to `room` bytes of plaintext, in one or more pieces; returns how many. None if more records are needed
    /// first, or none will come.
    pub(super) fn take(&mut self, room: usize, sink: &mut dyn FnMut(&[u8])) -> Result<usize, Error> {
        let mut taken = {
            let bytes = self.plaintext.take(room);
            if !bytes.is_empty() {
                sink(bytes);
            }
            bytes.len()
        };
        while taken < room {
            let mut kept = std::mem::take(&mut self.plaintext);
            let came = self.look(&mut |bytes| {
                let (now, later) = bytes.split_at(bytes.len().min(room.saturating_sub(taken)));
                sink(now);
                taken = taken.saturating_add(now.len());
                if !later.is_empty() {
                    kept.append(RECORD, |kept| kept.extend_from_slice(later));
                }
            });
            self.plaintext = kept;
            // What was taken is not lost with what could not be: the failure is told when it is asked for the next time.
            match came {
                Ok(true) => {}
                Err(error) if taken == 0 => return Err(error),
                Ok(false) | Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Encrypts bytes into what is to be sent.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.wish(Wish::Bytes(bytes))
    }

    /// Says to the peer, in what is to be sent, that nothing more comes.
    pub(super) fn close_notify(&mut self) -> Result<(), Error> {
        self.wish(Wish::CloseNotify)
    }

    /// Encrypted bytes that wait to be sent.
    pub(super) fn outgoing(&self) -> &[u8] {
        self.outgoing.bytes.get(self.outgoing.sent..self.outgoing.filled).unwrap_or_default()
    }

    /// So many of them were sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.outgoing.sent = self.outgoing.sent.saturating_add(count).min(self.outgoing.filled);
        if self.outgoing.sent == self.outgoing.filled {
            (self.outgoing.sent, self.outgoing.filled) = (0, 0);
        }
    }

    /// Gives memory back that holds nothing.
    pub(super) fn release(&mut self) {
        for input in [&mut self.incoming, &mut self.plaintext] {
            if input.unread().is_empty() {
                input.release();
            }
        }
        if self.outgoing().is_empty() {
            self.outgoing = Outgoing::default();
        }
    }

    /// Looks at the records that are here until one has plaintext, which `sink` gets; whether one had.
    fn look(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        loop {
            match self.step(Wish::Nothing, sink)? {
                Step::Data => return Ok(true),
                Step::Waiting => return Ok(false),
                Step::Done | Step::Encrypted => {}
            }
        }
    }

    fn wish(&mut self, wish: Wish<'_>) -> Result<(), Error> {
        let mut kept = std::mem::take(&mut self.plaintext);
        let mut keep = |bytes: &[u8]| kept.append(RECORD, |kept| kept.extend_from_slice(bytes));
        let result = loop {
            // Records that are here come first: rustls does not encrypt past them. There are MOST_INCOMING bytes of them.
            match self.step(wish, &mut keep) {
                Ok(Step::Encrypted) => break Ok(()),
                Ok(Step::Done | Step::Data) => {}
                Ok(Step::Waiting) => break Err(Error::HandshakeNotComplete),
                Err(error) => break Err(error),
            }
        };
        self.plaintext = kept;
        result
    }

    /// Lets rustls do one thing.
    fn step(&mut self, wish: Wish<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<Step, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let records = self.incoming.unread_mut();
        let (outgoing, has_ended) = (&mut self.outgoing, &mut self.has_ended);
        let (discard, result) = match &mut self.side {
            Side::Client(client) => handle(client.process_tls_records(records), wish, outgoing, has_ended, sink),
            Side::Server(server) => handle(server.process_tls_records(records), wish, outgoing, has_ended, sink),
        };
        self.incoming.take(discard);
        match result {
            Ok(Step::Waiting) if self.incoming.unread().len() >= MOST_INCOMING => {
                Err(self.failed(Error::General("a handshake message that has no end".into())))
            }
            Ok(step) => Ok(step),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Keeps a failure, and queues what the peer is to be told of it.
    fn failed(&mut self, error: Error) -> Error {
        // Where nothing is queued rustls would look at records again, which it must not after a failure: it panics.
        while self.common().wants_write() {
            let nothing = &mut [];
            let (outgoing, mut has_ended) = (&mut self.outgoing, false);
            let (_, result) = match &mut self.side {
                Side::Client(it) => {
                    handle(it.process_tls_records(nothing), Wish::Nothing, outgoing, &mut has_ended, &mut |_| {})
                }
                Side::Server(it) => {
                    handle(it.process_tls_records(nothing), Wish::Nothing, outgoing, &mut has_ended, &mut |_| {})
                }
            };
            if result != Ok(Step::Done) {
                break;
            }
        }
        self.failure.get_or_insert(error).clone()
    }
}

/// Does what a look at the records asks for; returns how many bytes of them are done with.
fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    wish: Wish<'_>,
    outgoing: &mut Outgoing,
    has_ended: &mut bool,
    sink: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let mut step = Step::Done;
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard = discard.saturating_add(record.discard);
                if !record.payload.is_empty() {
                    sink(record.payload);
                    step = Step::Data;
                }
            }
            Ok(step)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            outgoing.fill(0, |room| data.encode(room).map_err(Short::of_encoding)).map(|()| Step::Done)
        }
        ConnectionState::TransmitTlsData(data) => {
            // It is queued before whatever is encrypted from now on, and that is all that the order asks for.
            data.done();
            Ok(Step::Done)
        }
        ConnectionState::WriteTraffic(mut traffic) => match wish {
            Wish::Nothing => Ok(Step::Waiting),
            Wish::Bytes(bytes) => {
                let encrypt = |room: &mut [u8]| traffic.encrypt(bytes, room).map_err(Short::of_encrypting);
                outgoing.fill(encrypted_size(bytes.len()), encrypt).map(|()| Step::Encrypted)
            }
            Wish::CloseNotify => {
                let notify = |room: &mut [u8]| traffic.queue_close_notify(room).map_err(Short::of_encrypting);
                outgoing.fill(0, notify).map(|()| Step::Encrypted)
            }
        },
        ConnectionState::PeerClosed => {
            *has_ended = true;
            Ok(Step::Done)
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Step::Waiting),
        // Early data is not offered and not taken; there are no other states.
        _ => Err(Error::General("a state that is not known".into())),
    });
    (discard, step)
}

/// How many bytes plaintext takes when it is encrypted, or a few more.
fn encrypted_size(plaintext: usize) -> usize {
    let records = plaintext.div_ceil(RECORD);
    plaintext.saturating_add(records.saturating_mul(RECORD_OVERHEAD))
}

/// Why something could not be encoded.
enum Short {
    /// It takes so many bytes.
    Of(usize),
    /// The keys must not be used any longer.
    Exhausted,
}

impl Short {
    fn of_encoding(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Self::Of(required_size),
            EncodeError::AlreadyEncoded => Self::Exhausted,
        }
    }

    fn of_encrypting(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Self::Of(required_size),
            EncryptError::EncryptExhausted => Self::Exhausted,
        }
    }
}

impl Outgoing {
    /// Lets `encode` add to what is to be sent, with `room` bytes or as many as it asks for.
    fn fill(&mut self, room: usize, mut encode: impl FnMut(&mut [u8]) -> Result<usize, Short>) -> Result<(), Error> {
        let mut needed = room;
        loop {
            let end = self.filled.saturating_add(needed);
            if self.bytes.len() < end {
                self.bytes.resize(end, 0);
            }
            match encode(self.bytes.get_mut(self.filled..).unwrap_or_default()) {
                Ok(count) => {
                    self.filled = self.filled.saturating_add(count);
                    return Ok(());
                }
                // It says how much it needs; asking for no more would be asked again for ever.
                Err(Short::Of(more)) if more > needed => needed = more,
                Err(Short::Of(_) | Short::Exhausted) => return Err(Error::EncryptError),
            }
        }
    }
}

#[cfg(test)]
#[path = "engine/tests.rs"]
mod tests;
