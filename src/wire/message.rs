//! Every message of the protocol and its fields (PROTOCOL.md, sections 5 to 10 and 16), as CBOR maps with integer keys.
//!
//! Paths are raw bytes here: an invalid one is a refused request, not a broken frame, so the receiver parses it into a
//! [`RemotePath`](super::RemotePath) when it handles the message.

use super::topic::{
    Abandoned, Arrived, Arriving, Gap, LiveHeader, Position, Received, Receivers, Subscribe, Subscribed,
};
use super::upload::{Abandon, Begin, Finish, Offer, Put, Stored};
use super::{
    Digest, ErrorCode, FRAME_HEADER, FrameHeader, Kind, LiveId, RawBytes, Rights, SubscriberId, Token, TransferId,
    Version, Violation,
};
use minicbor::{Decode, Decoder, Encode, decode};

/// HELLO: the client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Lowest protocol version spoken.
    #[n(0)]
    pub min_version: u16,
    /// Highest protocol version spoken.
    #[n(1)]
    pub max_version: u16,
    /// Program and version, for the log; hostile like any name.
    #[n(2)]
    pub agent: Option<String>,
    /// Who asks, if it can show that.
    #[n(3)]
    pub token: Option<Token>,
}

/// WELCOME: the server's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The version that holds from here on.
    #[n(0)]
    pub version: u16,
    /// Program and version.
    #[n(1)]
    pub agent: Option<String>,
    /// The server's name, for people; hostile like any name.
    #[n(2)]
    pub name: Option<String>,
    /// Whether every PUT will be refused.
    #[cbor(n(3), skip_if = "is_default")]
    pub read_only: bool,
    /// Whether PUT may ask for `overwrite`.
    #[cbor(n(4), skip_if = "is_default")]
    pub overwrite: bool,
    /// Largest file that PUT may store, in bytes.
    #[n(5)]
    pub max_file_size: Option<u64>,
    /// What the client may do; absent: everything that the server does.
    #[n(6)]
    pub rights: Option<Rights>,
}

/// LIST: asks for the entries of a folder or a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct List {
    /// The folder, empty for the host directory; or a file.
    #[cbor(n(0), skip_if = "is_default")]
    pub path: RawBytes,
    /// Everything below.
    #[cbor(n(1), skip_if = "is_default")]
    pub recursive: bool,
    /// Stop after this many entries.
    #[n(2)]
    pub limit: Option<u64>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryKind {
    /// A regular file.
    #[n(0)]
    File,
    /// A directory.
    #[n(1)]
    Folder,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// One component, raw.
    #[n(0)]
    pub name: RawBytes,
    /// File or folder.
    #[n(1)]
    pub kind: EntryKind,
    /// Bytes; 0 for a folder.
    #[n(2)]
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    #[n(3)]
    pub modified: i64,
}

/// ENTRIES: a page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Entries {
    /// The folder that the entries are in; empty for the host directory.
    #[cbor(n(0), skip_if = "is_default")]
    pub folder: RawBytes,
    /// The entries.
    #[n(1)]
    pub entries: Vec<Entry>,
}

/// LISTED: the end of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Listed {
    /// Entries sent.
    #[cbor(n(0), skip_if = "is_default")]
    pub entries: u64,
    /// Links, devices and unnameable names left out.
    #[cbor(n(1), skip_if = "is_default")]
    pub skipped: u64,
    /// Folders and entries that could not be read.
    #[cbor(n(2), skip_if = "is_default")]
    pub unreadable: u64,
    /// Whether the limit cut the listing.
    #[cbor(n(3), skip_if = "is_default")]
    pub truncated: bool,
}

/// GET: asks for a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Get {
    /// The file, raw.
    #[n(0)]
    pub path: RawBytes,
    /// First byte wanted.
    #[cbor(n(1), skip_if = "is_default")]
    pub offset: u64,
    /// At most this many bytes; 0 asks about the file only.
    #[n(2)]
    pub length: Option<u64>,
    /// Answer only if the file has this version.
    #[n(3)]
    pub version: Option<Version>,
    /// Whether END shall carry the digest; absent means yes.
    #[n(4)]
    pub digest: Option<bool>,
    /// Not the file of that name, but this upload to it, as its bytes come.
    #[n(5)]
    pub live: Option<LiveId>,
}

/// FILE: what follows in DATA frames.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileHeader {
    /// Id of this transfer.
    #[n(0)]
    pub transfer: TransferId,
    /// Size of the whole file, in bytes.
    #[n(1)]
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    #[n(2)]
    pub modified: i64,
    /// Version of the content that follows.
    #[n(3)]
    pub version: Version,
    /// First byte that follows.
    #[cbor(n(4), skip_if = "is_default")]
    pub offset: u64,
    /// Bytes that follow.
    #[n(5)]
    pub length: u64,
}

/// END: a GET's answer is complete.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct End {
    /// Digest of the whole file, if it was asked for.
    #[n(0)]
    pub digest: Option<Digest>,
    /// After LIVE: the name that the file has now, raw.
    #[n(1)]
    pub path: Option<RawBytes>,
    /// After LIVE: the number of its arrival.
    #[n(2)]
    pub number: Option<u64>,
}

/// What became of a download at the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReceiptOutcome {
    /// Verified and in place.
    #[n(0)]
    Verified,
    /// The digest did not match.
    #[n(1)]
    Mismatch,
    /// The receiver could not store it.
    #[n(2)]
    NotStored,
    /// The receiver gave up.
    #[n(3)]
    GivenUp,
}

/// RECEIPT: the receiver's word about a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// The transfer, as in FILE.
    #[n(0)]
    pub transfer: TransferId,
    /// What became of it.
    #[n(1)]
    pub outcome: ReceiptOutcome,
    /// The arrival that it was, for its publisher.
    #[n(2)]
    pub number: Option<u64>,
    /// Who received it.
    #[n(3)]
    pub subscriber: Option<SubscriberId>,
}

/// ERROR: a refusal, or the end of the session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fault {
    /// The code.
    #[n(0)]
    pub code: ErrorCode,
    /// One sentence for people; hostile like any name.
    #[n(1)]
    pub message: Option<String>,
}

/// PING, PONG and WAIT: nothing but the frame itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
struct Empty {}

/// What a client sends, apart from DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the message of its name")]
pub enum Request {
    Hello(Hello),
    List(List),
    Get(Get),
    Receipt(Receipt),
    Put(Put),
    Begin(Begin),
    Finish(Finish),
    Abandon(Abandon),
    Ping,
    Subscribe(Subscribe),
    Receivers(Receivers),
}

/// What a server sends, apart from DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the message of its name")]
pub enum Reply {
    Welcome(Welcome),
    Entries(Entries),
    Listed(Listed),
    File(FileHeader),
    End(End),
    Offer(Offer),
    Stored(Stored),
    Pong,
    Live(LiveHeader),
    Received(Received),
    Error(Fault),
    Subscribed(Subscribed),
    Arriving(Arriving),
    Arrived(Arrived),
    Abandoned(Abandoned),
    Gap(Gap),
    Position(Position),
    Paused(Position),
    Wait,
}

impl Get {
    /// Asks for a whole file with its digest.
    #[must_use]
    pub fn whole(path: &[u8]) -> Self {
        Self { path: path.into(), offset: 0, length: None, version: None, digest: None, live: None }
    }
}

impl Receipt {
    /// The word about a download that has nothing to do with a topic.
    #[must_use]
    pub fn new(transfer: TransferId, outcome: ReceiptOutcome) -> Self {
        Self { transfer, outcome, number: None, subscriber: None }
    }
}

impl Request {
    /// The kind of its frame.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::List(_) => Kind::List,
            Self::Get(_) => Kind::Get,
            Self::Receipt(_) => Kind::Receipt,
            Self::Put(_) => Kind::Put,
            Self::Begin(_) => Kind::Begin,
            Self::Finish(_) => Kind::Finish,
            Self::Abandon(_) => Kind::Abandon,
            Self::Ping => Kind::Ping,
            Self::Subscribe(_) => Kind::Subscribe,
            Self::Receivers(_) => Kind::Receivers,
        }
    }

    /// Decodes the body of a frame that a client sent.
    ///
    /// # Errors
    /// [`Violation`] if a client may not send this kind, or the body is malformed.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, Violation> {
        Ok(match kind {
            Kind::Hello => Self::Hello(from_cbor(kind, body)?),
            Kind::List => Self::List(from_cbor(kind, body)?),
            Kind::Get => Self::Get(from_cbor(kind, body)?),
            Kind::Receipt => Self::Receipt(from_cbor(kind, body)?),
            Kind::Put => Self::Put(from_cbor(kind, body)?),
            Kind::Begin => Self::Begin(from_cbor(kind, body)?),
            Kind::Finish => Self::Finish(from_cbor(kind, body)?),
            Kind::Abandon => Self::Abandon(from_cbor(kind, body)?),
            Kind::Ping => from_cbor::<Empty>(kind, body).map(|_| Self::Ping)?,
            Kind::Subscribe => Self::Subscribe(from_cbor(kind, body)?),
            Kind::Receivers => Self::Receivers(from_cbor(kind, body)?),
            _ => return Err(Violation::Unexpected(kind)),
        })
    }

    /// Appends the whole frame to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => append(buffer, self.kind(), hello),
            Self::List(list) => append(buffer, self.kind(), list),
            Self::Get(get) => append(buffer, self.kind(), get),
            Self::Receipt(receipt) => append(buffer, self.kind(), receipt),
            Self::Put(put) => append(buffer, self.kind(), put),
            Self::Begin(begin) => append(buffer, self.kind(), begin),
            Self::Finish(finish) => append(buffer, self.kind(), finish),
            Self::Abandon(abandon) => append(buffer, self.kind(), abandon),
            Self::Ping => append(buffer, self.kind(), &Empty {}),
            Self::Subscribe(subscribe) => append(buffer, self.kind(), subscribe),
            Self::Receivers(receivers) => append(buffer, self.kind(), receivers),
        }
    }
}

impl Reply {
    /// The kind of its frame.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Welcome(_) => Kind::Welcome,
            Self::Entries(_) => Kind::Entries,
            Self::Listed(_) => Kind::Listed,
            Self::File(_) => Kind::File,
            Self::End(_) => Kind::End,
            Self::Offer(_) => Kind::Offer,
            Self::Stored(_) => Kind::Stored,
            Self::Pong => Kind::Pong,
            Self::Live(_) => Kind::Live,
            Self::Received(_) => Kind::Received,
            Self::Subscribed(_) => Kind::Subscribed,
            Self::Arriving(_) => Kind::Arriving,
            Self::Arrived(_) => Kind::Arrived,
            Self::Abandoned(_) => Kind::Abandoned,
            Self::Gap(_) => Kind::Gap,
            Self::Position(_) => Kind::Position,
            Self::Paused(_) => Kind::Paused,
            Self::Error(_) => Kind::Error,
            Self::Wait => Kind::Wait,
        }
    }

    /// Decodes the body of a frame that a server sent.
    ///
    /// # Errors
    /// [`Violation`] if a server may not send this kind, or the body is malformed.
    pub fn decode(kind: Kind, body: &[u8]) -> Result<Self, Violation> {
        Ok(match kind {
            Kind::Welcome => Self::Welcome(from_cbor(kind, body)?),
            Kind::Entries => Self::Entries(from_cbor(kind, body)?),
            Kind::Listed => Self::Listed(from_cbor(kind, body)?),
            Kind::File => Self::File(from_cbor(kind, body)?),
            Kind::End => Self::End(from_cbor(kind, body)?),
            Kind::Offer => Self::Offer(from_cbor(kind, body)?),
            Kind::Stored => Self::Stored(from_cbor(kind, body)?),
            Kind::Pong => from_cbor::<Empty>(kind, body).map(|_| Self::Pong)?,
            Kind::Live => Self::Live(from_cbor(kind, body)?),
            Kind::Received => Self::Received(from_cbor(kind, body)?),
            Kind::Subscribed => Self::Subscribed(from_cbor(kind, body)?),
            Kind::Arriving => Self::Arriving(from_cbor(kind, body)?),
            Kind::Arrived => Self::Arrived(from_cbor(kind, body)?),
            Kind::Abandoned => Self::Abandoned(from_cbor(kind, body)?),
            Kind::Gap => Self::Gap(from_cbor(kind, body)?),
            Kind::Position => Self::Position(from_cbor(kind, body)?),
            Kind::Paused => Self::Paused(from_cbor(kind, body)?),
            Kind::Error => Self::Error(from_cbor(kind, body)?),
            Kind::Wait => from_cbor::<Empty>(kind, body).map(|_| Self::Wait)?,
            _ => return Err(Violation::Unexpected(kind)),
        })
    }

    /// Appends the whole frame to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Welcome(welcome) => append(buffer, self.kind(), welcome),
            Self::Entries(entries) => append(buffer, self.kind(), entries),
            Self::Listed(listed) => append(buffer, self.kind(), listed),
            Self::File(file) => append(buffer, self.kind(), file),
            Self::End(end) => append(buffer, self.kind(), end),
            Self::Offer(offer) => append(buffer, self.kind(), offer),
            Self::Stored(stored) => append(buffer, self.kind(), stored),
            Self::Live(live) => append(buffer, self.kind(), live),
            Self::Received(received) => append(buffer, self.kind(), received),
            Self::Subscribed(subscribed) => append(buffer, self.kind(), subscribed),
            Self::Arriving(arriving) => append(buffer, self.kind(), arriving),
            Self::Arrived(arrived) => append(buffer, self.kind(), arrived),
            Self::Abandoned(abandoned) => append(buffer, self.kind(), abandoned),
            Self::Gap(gap) => append(buffer, self.kind(), gap),
            Self::Position(position) | Self::Paused(position) => append(buffer, self.kind(), position),
            Self::Pong | Self::Wait => append(buffer, self.kind(), &Empty {}),
            Self::Error(fault) => append(buffer, self.kind(), fault),
        }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Decodes an enumeration that has a default. Left to itself, the derived code takes an unknown number for an absent
/// field and skips the item *after* it; as another error it is refused (PROTOCOL.md, section 13).
pub(super) fn known_number<'b, C, T: Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<T, decode::Error> {
    T::decode(decoder, context).map_err(|error| match error {
        error if error.is_unknown_variant() => decode::Error::message("unknown number in an enumeration"),
        error => error,
    })
}

fn from_cbor<'b, T: Decode<'b, ()>>(kind: Kind, body: &'b [u8]) -> Result<T, Violation> {
    let malformed = |reason: String| Violation::Body { kind, reason };
    let mut decoder = Decoder::new(body);
    let message = decoder.decode().map_err(|error| malformed(error.to_string()))?;
    if decoder.position() != body.len() {
        return Err(malformed("bytes after the map".into()));
    }
    Ok(message)
}

/// Appends header and body. The length is patched in afterwards, so nothing is copied.
fn append<T: Encode<()>>(buffer: &mut Vec<u8>, kind: Kind, message: &T) {
    let start = buffer.len();
    buffer.extend_from_slice(&FrameHeader { kind, length: 0 }.encode());
    // Writing to a Vec cannot fail, and every field is bounded by its sender far below 4 GiB.
    let _ = minicbor::encode(message, &mut *buffer);
    let length = buffer.len().saturating_sub(start).saturating_sub(FRAME_HEADER);
    let header = FrameHeader { kind, length: u32::try_from(length).unwrap_or(u32::MAX) };
    if let Some(place) = buffer.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<FRAME_HEADER>()) {
        *place = header.encode();
    }
}
