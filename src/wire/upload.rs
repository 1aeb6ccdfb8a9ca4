//! The messages of PUT (PROTOCOL.md, section 8), as those of [`message`](super::message).

use super::message::{is_default, known_number};
use super::{Digest, RawBytes, TransferId, UploadId};
use minicbor::{Decode, Encode};

/// What a PUT makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum PutKind {
    /// A file.
    #[default]
    #[n(0)]
    File,
    /// A folder.
    #[n(1)]
    Folder,
}

/// What to do when a name is taken by other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum OnConflict {
    /// Store as `name (1).ext`.
    #[default]
    #[n(0)]
    Rename,
    /// Leave what is there.
    #[n(1)]
    Skip,
    /// Refuse.
    #[n(2)]
    Fail,
    /// Replace what is there, in one step.
    #[n(3)]
    Overwrite,
}

/// PUT: announces a file or makes a folder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Put {
    /// Where, raw.
    #[n(0)]
    pub path: RawBytes,
    /// File or folder.
    #[cbor(n(1), skip_if = "is_default", decode_with = "known_number")]
    pub kind: PutKind,
    /// Bytes that will follow, if known.
    #[n(2)]
    pub size: Option<u64>,
    /// Modification time to give it, nanoseconds since the epoch.
    #[n(3)]
    pub modified: Option<i64>,
    /// If the name is taken.
    #[cbor(n(4), skip_if = "is_default", decode_with = "known_number")]
    pub on_conflict: OnConflict,
    /// Identity of the upload.
    #[n(5)]
    pub upload: Option<UploadId>,
    /// Digest of the content, if known beforehand.
    #[n(6)]
    pub digest: Option<Digest>,
    /// Wait for OFFER before sending bytes.
    #[cbor(n(7), skip_if = "is_default")]
    pub ask: bool,
}

/// OFFER: what the server holds of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Id of this transfer.
    #[n(0)]
    pub transfer: TransferId,
    /// Bytes held.
    #[cbor(n(1), skip_if = "is_default")]
    pub offset: u64,
    /// Their digest, if there are any.
    #[n(2)]
    pub digest: Option<Digest>,
}

/// BEGIN: where the client's bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Begin {
    /// The offered offset, or 0.
    #[cbor(n(0), skip_if = "is_default")]
    pub offset: u64,
}

/// FINISH: all bytes were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Finish {
    /// Digest of the whole file, as the client read it.
    #[n(0)]
    pub digest: Digest,
}

/// ABANDON: the client gives an upload up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Abandon {
    /// Keep what was received for a later attempt.
    #[cbor(n(0), skip_if = "is_default")]
    pub keep: bool,
}

/// How an upload ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StoredOutcome {
    /// Under the name asked for.
    #[n(0)]
    New,
    /// Under another name, because that one was taken.
    #[n(1)]
    Renamed,
    /// In place of what was there.
    #[n(2)]
    Overwritten,
    /// The same content was there already.
    #[n(3)]
    Identical,
    /// Other content was there, and was left.
    #[n(4)]
    Skipped,
}

/// STORED: the acknowledgement of a PUT.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stored {
    /// Id of this transfer.
    #[n(0)]
    pub transfer: TransferId,
    /// The name that the file has now, raw.
    #[n(1)]
    pub path: RawBytes,
    /// How it ended.
    #[n(2)]
    pub outcome: StoredOutcome,
    /// The number of its arrival, if it is one.
    #[n(3)]
    pub number: Option<u64>,
}
