//! The bytes of the journal's files, purely: headers of segments, and records. The diagrams are in the module above.

use super::{Arrival, Removal};
use crate::wire::{Digest, JournalId, LiveId, RawBytes, RemotePath};
use minicbor::{Decode, Encode};
use std::time::Duration;

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 52;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest payload: a path of 1,024 bytes, a publisher of 128, and some 120 of everything else.
pub(super) const MAX_PAYLOAD: usize = 2048;
/// Longest record.
pub(super) const MAX_RECORD: usize = RECORD_HEADER + MAX_PAYLOAD;
/// Longest name of a publisher, in bytes (PROTOCOL.md, section 16).
const MAX_PUBLISHER: usize = 128;
/// Bytes of a check: the first of a BLAKE3.
pub(super) const CHECK: usize = 8;

const MAGIC: [u8; 8] = *b"hostdirJ";
/// What the format of segments is called; another number is a newer program's.
const VERSION: u32 = 1;

/// What a record is of. The marker begins it, and is what a search for the next good one goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Arrival,
    Removal,
}

impl Kind {
    const fn marker(self) -> [u8; 4] {
        match self {
            Self::Arrival => [0xa7, b'A', b'R', 0xd1],
            Self::Removal => [0xa7, b'R', b'M', 0xd1],
        }
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: JournalId,
    /// Number of the first arrival in it.
    pub(super) first: u64,
    /// When it was made, by the clock of the file system: nanoseconds since the epoch.
    pub(super) made: i64,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    Damaged,
    /// It is whole, but of a format that this program does not know.
    Newer(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &VERSION.to_be_bytes(), &self.id.0, &self.first.to_be_bytes()].concat();
        bytes.extend_from_slice(&self.made.to_be_bytes());
        let check = check(&[&bytes]);
        bytes.extend_from_slice(&check);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let split = bytes.get(..SEGMENT_HEADER).and_then(|header| header.split_last_chunk::<CHECK>());
        let Some((fields, _)) = split.filter(|(fields, sum)| check(&[fields]) == **sum) else {
            return Err(NoHeader::Damaged);
        };
        let mut fields = Fields(fields);
        match (fields.take(), fields.take().map(u32::from_be_bytes)) {
            (Some(MAGIC), Some(VERSION)) => {}
            (Some(MAGIC), Some(version)) => return Err(NoHeader::Newer(version)),
            _ => return Err(NoHeader::Damaged),
        }
        let (id, first, made) = (fields.take(), fields.take(), fields.take());
        match (id, first, made) {
            (Some(id), Some(first), Some(made)) => {
                let (first, made) = (u64::from_be_bytes(first), i64::from_be_bytes(made));
                Ok(Self { id: JournalId(id), first, made })
            }
            _ => Err(NoHeader::Damaged),
        }
    }
}

/// Takes fields of fixed size from the front of bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// The first bytes of the BLAKE3 of all parts.
pub(super) fn check(parts: &[&[u8]]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The payload of an arrival's record.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(super) struct ArrivalBody {
    #[n(0)]
    number: u64,
    #[n(1)]
    path: RawBytes,
    #[n(2)]
    size: u64,
    #[n(3)]
    digest: Digest,
    #[n(4)]
    modified: i64,
    #[n(5)]
    time: i64,
    #[n(6)]
    live: Option<LiveId>,
    #[n(7)]
    publisher: Option<String>,
    #[n(8)]
    inode: u64,
}

/// The payload of a removal's record.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
struct RemovalBody {
    /// The last arrival before it.
    #[n(0)]
    after: u64,
    #[n(1)]
    path: RawBytes,
    /// Seconds, for a file that expired; absent if it went over the quota.
    #[n(2)]
    expired_after: Option<u64>,
}

/// Appends the record of an arrival.
pub(super) fn encode_arrival(id: JournalId, arrival: &Arrival, inode: u64, bytes: &mut Vec<u8>) {
    let publisher = arrival.publisher.as_ref().map(|name| {
        let end = name.floor_char_boundary(MAX_PUBLISHER);
        name.get(..end).unwrap_or_default().to_owned()
    });
    let body = ArrivalBody {
        number: arrival.number,
        path: arrival.path.as_bytes().into(),
        size: arrival.size,
        digest: arrival.digest,
        modified: arrival.modified,
        time: arrival.time,
        live: arrival.live,
        publisher,
        inode,
    };
    encode(id, Kind::Arrival, &body, bytes);
}

/// The arrival of a payload, and its inode.
pub(super) fn decode_arrival(payload: &[u8]) -> Option<(Arrival, u64)> {
    let body: ArrivalBody = minicbor::decode(payload).ok()?;
    let arrival = Arrival {
        number: body.number,
        path: RemotePath::parse(&body.path).ok()?,
        size: body.size,
        digest: body.digest,
        modified: body.modified,
        time: body.time,
        live: body.live,
        publisher: body.publisher,
    };
    Some((arrival, body.inode))
}

/// The record of a removal that came after arrival `after`.
pub(super) fn encode_removal(id: JournalId, after: u64, path: &RemotePath, reason: Removal) -> Vec<u8> {
    let expired_after = match reason {
        Removal::Expired { after } => Some(after.as_secs()),
        Removal::OverQuota => None,
    };
    let mut bytes = Vec::new();
    encode(id, Kind::Removal, &RemovalBody { after, path: path.as_bytes().into(), expired_after }, &mut bytes);
    bytes
}

/// The removal of a payload, with the last arrival before it.
pub(super) fn decode_removal(payload: &[u8]) -> Option<(RemotePath, Removal, u64)> {
    let body: RemovalBody = minicbor::decode(payload).ok()?;
    let reason = match body.expired_after {
        Some(seconds) => Removal::Expired { after: Duration::from_secs(seconds) },
        None => Removal::OverQuota,
    };
    Some((RemotePath::parse(&body.path).ok()?, reason, body.after))
}

fn encode(id: JournalId, kind: Kind, body: &impl Encode<()>, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; RECORD_HEADER]);
    // Encoding into memory cannot fail, and no derived encoder fails by itself.
    let _ = minicbor::encode(body, &mut *bytes);
    let Some((header, payload)) =
        bytes.get_mut(start..).and_then(|record| record.split_first_chunk_mut::<RECORD_HEADER>())
    else {
        return;
    };
    *header = record_header(id, kind, payload);
}

fn record_header(id: JournalId, kind: Kind, payload: &[u8]) -> [u8; RECORD_HEADER] {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let sum = check(&[&id.0, &kind.marker(), &length, payload]);
    let mut header = [0; RECORD_HEADER];
    let bytes = kind.marker().into_iter().chain(length).chain(sum);
    header.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    header
}

/// The payload of the record that `bytes` begin with, if it is whole and undamaged.
pub(super) fn payload(id: JournalId, kind: Kind, bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
    let mut fields = Fields(header);
    fields.take().filter(|marker| *marker == kind.marker())?;
    let length = usize::try_from(u32::from_be_bytes(fields.take()?)).ok()?;
    let payload = rest.get(..length).filter(|_| length <= MAX_PAYLOAD)?;
    // Before anything is hashed: it begins with a map (RFC 8949, section 3.1).
    payload.first().filter(|first| **first >> 5 == 5)?;
    (record_header(id, kind, payload) == *header).then_some(payload)
}

/// Where in `bytes` the next record may begin.
pub(super) fn next_marker(kind: Kind, bytes: &[u8]) -> Option<usize> {
    let marker = kind.marker();
    bytes.windows(marker.len()).position(|window| window == marker)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "Clippy has no exception for tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: JournalId = JournalId([7; 16]);

    prop_compose! {
        fn arrival()(
            number: u64, size: u64, modified: i64, time: i64, digest: [u8; 32],
            path in "[a-z/é ]{1,200}", live: Option<[u8; 16]>, publisher in prop::option::of(".{0,200}"),
        ) -> Option<Arrival> {
            let path = RemotePath::parse(path.as_bytes()).ok()?;
            let (digest, live) = (Digest(digest), live.map(LiveId));
            Some(Arrival { number, path, size, digest, modified, time, live, publisher })
        }
    }

    proptest! {
        #[test]
        fn an_arrival_comes_back_and_no_flipped_bit_is_overlooked(
            arrival in arrival().prop_filter_map("a path", |arrival| arrival),
            inode: u64,
            place: prop::sample::Index,
            bits in 1..=255_u8,
        ) {
            let mut bytes = Vec::new();
            encode_arrival(ID, &arrival, inode, &mut bytes);
            let (found, same) = decode_arrival(payload(ID, Kind::Arrival, &bytes).unwrap()).unwrap();
            let cut = arrival.publisher.map(|name| name[..name.floor_char_boundary(128)].to_owned());
            prop_assert_eq!((found, same), (Arrival { publisher: cut, ..arrival }, inode));
            prop_assert_eq!(payload(ID, Kind::Removal, &bytes), None);
            prop_assert_eq!(payload(JournalId([8; 16]), Kind::Arrival, &bytes), None);
            prop_assert_eq!(payload(ID, Kind::Arrival, &bytes[..bytes.len() - 1]), None);
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
            prop_assert_eq!(payload(ID, Kind::Arrival, &bytes), None);
        }

        #[test]
        fn a_header_comes_back_and_no_flipped_bit_is_overlooked(
            id: [u8; 16], first: u64, made: i64, place: prop::sample::Index, bits in 1..=255_u8,
        ) {
            let header = SegmentHeader { id: JournalId(id), first, made };
            let mut bytes = header.encode();
            prop_assert_eq!(bytes.len(), SEGMENT_HEADER);
            prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
            prop_assert_eq!(SegmentHeader::decode(&bytes), Err(NoHeader::Damaged));
        }
    }

    #[test]
    fn the_longest_arrival_fits_into_a_record() {
        let path = RemotePath::parse(&[&[b'x'; 255][..]; 4].join(&b'/')).unwrap();
        let (digest, live, publisher) = (Digest([1; 32]), Some(LiveId([2; 16])), Some("x".repeat(9_999)));
        let numbers = (u64::MAX, i64::MIN);
        let arrival = Arrival {
            number: numbers.0,
            path,
            size: numbers.0,
            digest,
            modified: numbers.1,
            time: numbers.1,
            live,
            publisher,
        };
        let mut bytes = Vec::new();
        encode_arrival(ID, &arrival, u64::MAX, &mut bytes);
        assert!(payload(ID, Kind::Arrival, &bytes).is_some_and(|payload| payload.len() < 1400), "{}", bytes.len());
    }

    #[test]
    fn an_arrival_has_its_golden_bytes() {
        let arrival = Arrival {
            number: 1,
            path: RemotePath::parse(b"a").unwrap(),
            size: 2,
            digest: Digest([3; 32]),
            modified: -4,
            time: 5,
            live: None,
            publisher: None,
        };
        let mut bytes = Vec::new();
        encode_arrival(ID, &arrival, 6, &mut bytes);
        let (header, payload) = bytes.split_at(RECORD_HEADER);
        assert_eq!(header[..8], [0xa7, b'A', b'R', 0xd1, 0, 0, 0, 49]);
        let mut expected = vec![0xa7, 0, 1, 1, 0x41, b'a', 2, 2, 3, 0x58, 32];
        expected.extend([3; 32]);
        expected.extend([4, 0x23, 5, 5, 8, 6]);
        assert_eq!(payload, expected);
    }
}
