//! The messages of topics (PROTOCOL.md, section 16), as those of [`message`](super::message): following folders, live bytes,
//! receivers.

use super::message::is_default;
use super::{Digest, JournalId, LiveId, RawBytes, SubscriberId, TransferId, Version};
use minicbor::{Decode, Encode};

/// SUBSCRIBE: asks to be told what arrives in some folders.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subscribe {
    /// The folders, raw; with everything below them. An empty one is the host directory.
    #[n(0)]
    pub folders: Vec<RawBytes>,
    /// Begin after this arrival; absent: from now on.
    #[n(1)]
    pub after: Option<u64>,
    /// The journal that `after` is a number of.
    #[n(2)]
    pub journal: Option<JournalId>,
    /// Who follows, to be counted among the receivers.
    #[n(3)]
    pub subscriber: Option<SubscriberId>,
}

/// SUBSCRIBED: events follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subscribed {
    /// The journal of all numbers that follow.
    #[n(0)]
    pub journal: JournalId,
    /// The oldest arrival that is still known; above `after` if none is.
    #[n(1)]
    pub oldest: u64,
    /// The arrival after which the events begin.
    #[n(2)]
    pub after: u64,
}

/// ARRIVING: an upload is on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Arriving {
    /// For GET.
    #[n(0)]
    pub live: LiveId,
    /// The name that it will have, unless that is taken by then; raw.
    #[n(1)]
    pub path: RawBytes,
    /// Bytes that it will have, if its sender has said so.
    #[n(2)]
    pub size: Option<u64>,
}

/// ARRIVED: an upload was committed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Arrived {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// The file's name, raw.
    #[n(1)]
    pub path: RawBytes,
    /// Its size in bytes.
    #[n(2)]
    pub size: u64,
    /// Its digest.
    #[n(3)]
    pub digest: Digest,
    /// Its modification time, nanoseconds since the epoch.
    #[n(4)]
    pub modified: i64,
    /// When it arrived, nanoseconds since the epoch.
    #[n(5)]
    pub time: i64,
    /// As in ARRIVING, if there was one.
    #[n(6)]
    pub live: Option<LiveId>,
    /// Who sent it, for people; hostile like any name.
    #[n(7)]
    pub publisher: Option<String>,
}

/// ABANDONED: an upload will not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Abandoned {
    /// As in ARRIVING.
    #[n(0)]
    pub live: LiveId,
    /// As in ARRIVING.
    #[n(1)]
    pub path: RawBytes,
}

/// GAP: arrivals that are not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Gap {
    /// The last of them.
    #[n(0)]
    pub after: u64,
    /// How many there were, in all folders; absent if that is not known.
    #[n(1)]
    pub missed: Option<u64>,
}

/// POSITION, and PAUSED: everything up to an arrival was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Position {
    /// That arrival's number.
    #[n(0)]
    pub after: u64,
}

/// RECEIVERS: asks who received an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receivers {
    /// The arrival.
    #[n(0)]
    pub number: u64,
    /// Wait at most this many seconds until nobody is fetching it any more.
    #[cbor(n(1), skip_if = "is_default")]
    pub wait: u64,
}

/// Where a receiver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReceiverState {
    /// It has the file: verified, and in place.
    #[n(0)]
    Verified,
    /// It is there, and has not said anything about the file yet.
    #[n(1)]
    Fetching,
    /// It could not take the file.
    #[n(2)]
    Failed,
    /// It went away before it had the file.
    #[n(3)]
    Gone,
}

/// One receiver of an arrival.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Receiver {
    /// Its address, for people; hostile like any name.
    #[n(0)]
    pub name: String,
    /// Where it stands.
    #[n(1)]
    pub state: ReceiverState,
}

/// RECEIVED: who received an arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Received {
    /// The subscribers that were there when it arrived.
    #[n(0)]
    pub receivers: Vec<Receiver>,
    /// How many more there were than fit into the frame.
    #[cbor(n(1), skip_if = "is_default")]
    pub more: u64,
}

/// LIVE: what follows in DATA frames, as it comes in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LiveHeader {
    /// Id of this transfer.
    #[n(0)]
    pub transfer: TransferId,
    /// Size of the whole file, in bytes, if its sender has said it.
    #[n(1)]
    pub size: Option<u64>,
    /// Modification time, nanoseconds since the epoch, if its sender has said it.
    #[n(2)]
    pub modified: Option<i64>,
    /// Version of the content that follows.
    #[n(3)]
    pub version: Version,
    /// First byte that follows.
    #[cbor(n(4), skip_if = "is_default")]
    pub offset: u64,
}
