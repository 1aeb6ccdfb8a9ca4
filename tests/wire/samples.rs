//! Every message, with the least and with all that it can carry, and the bytes of its frame.
//!
//! The bytes were made by another CBOR implementation, so they are not what the code says about itself.

use crate::cbor::unhex;
use crate::message::Message;
use hostdir::wire::*;

/// A message and its frame.
pub struct Sample {
    /// What it is, for a failure's message.
    pub name: &'static str,
    /// The value.
    pub message: Message,
    /// The frame, header and body.
    pub frame: Vec<u8>,
}

/// A digest that is easily seen in hexadecimal: 00 01 02 … 1f.
pub const DIGEST: Digest = {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = at as u8;
        at += 1;
    }
    Digest(bytes)
};

const UPLOAD: UploadId =
    UploadId([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]);

/// b0 b1 … bf.
const LIVE: LiveId = LiveId(counting(0xb0));
/// c0 c1 … cf.
const JOURNAL: JournalId = JournalId(counting(0xc0));
/// d0 d1 … df.
const SUBSCRIBER: SubscriberId = SubscriberId(counting(0xd0));

const fn counting(first: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut at = 0;
    while at < 16 {
        bytes[at] = first + at as u8;
        at += 1;
    }
    bytes
}

fn raw(bytes: &[u8]) -> RawBytes {
    RawBytes::from(bytes)
}

fn version(bytes: &[u8]) -> Version {
    Version::new(bytes).expect("1 to 32 bytes")
}

fn plain_put(path: &[u8]) -> Put {
    Put {
        path: raw(path),
        kind: PutKind::File,
        size: None,
        modified: None,
        on_conflict: OnConflict::Rename,
        upload: None,
        digest: None,
        ask: false,
    }
}

fn stored(outcome: StoredOutcome) -> Reply {
    Reply::Stored(Stored { transfer: TransferId(9), path: raw(b"a (1).txt"), outcome, number: None })
}

fn receiver(name: &str, state: ReceiverState) -> Receiver {
    Receiver { name: name.into(), state }
}

fn receipt(transfer: u64, outcome: ReceiptOutcome) -> Request {
    Request::Receipt(Receipt::new(TransferId(transfer), outcome))
}

/// All samples, requests first.
pub fn samples() -> Vec<Sample> {
    let request = |(name, request, hex)| Sample { name, message: Message::Request(request), frame: unhex(hex) };
    let reply = |(name, reply, hex)| Sample { name, message: Message::Reply(reply), frame: unhex(hex) };
    requests().into_iter().map(request).chain(replies().into_iter().map(reply)).collect()
}

fn requests() -> Vec<(&'static str, Request, &'static str)> {
    vec![
        (
            "HELLO, least",
            Request::Hello(Hello { min_version: 1, max_version: 1, agent: None, token: None }),
            "00000005 01 a2 00 01 01 01",
        ),
        (
            "HELLO, full",
            Request::Hello(Hello {
                min_version: 1,
                max_version: 300,
                agent: Some("client 0.1".into()),
                token: Token::new(b"hd_abc"),
            }),
            "0000001b 01 a4 00 01 01 19012c 02 6a636c69656e7420302e31 03 4668645f616263",
        ),
        ("LIST, least", Request::List(List::default()), "00000001 02 a0"),
        (
            "LIST, full",
            Request::List(List { path: raw(b"a/b"), recursive: true, limit: Some(100_000) }),
            "0000000e 02 a3 00 43612f62 01 f5 02 1a000186a0",
        ),
        ("GET, least", Request::Get(Get::whole(b"f")), "00000004 03 a1 00 4166"),
        (
            "GET, full",
            Request::Get(Get {
                path: raw(b"\xff/f"),
                offset: 1 << 32,
                length: Some(0),
                version: Some(version(&[1, 2])),
                digest: Some(false),
                live: Some(LIVE),
            }),
            "0000002a 03 a6 00 43ff2f66 01 1b0000000100000000 02 00 03 420102 04 f4 \
             05 50b0b1b2b3b4b5b6b7b8b9babbbcbdbebf",
        ),
        ("RECEIPT verified", receipt(7, ReceiptOutcome::Verified), "00000005 04 a2 00 07 01 00"),
        ("RECEIPT mismatch", receipt(u64::MAX, ReceiptOutcome::Mismatch), "0000000d 04 a2 00 1bffffffffffffffff 01 01"),
        (
            "RECEIPT not stored",
            receipt(u64::MAX, ReceiptOutcome::NotStored),
            "0000000d 04 a2 00 1bffffffffffffffff 01 02",
        ),
        ("RECEIPT given up", receipt(u64::MAX, ReceiptOutcome::GivenUp), "0000000d 04 a2 00 1bffffffffffffffff 01 03"),
        (
            "RECEIPT of an arrival",
            Request::Receipt(Receipt {
                number: Some(12),
                subscriber: Some(SUBSCRIBER),
                ..Receipt::new(TransferId(0), ReceiptOutcome::Verified)
            }),
            "00000019 04 a4 00 00 01 00 02 0c 03 50d0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        ),
        ("PUT, least", Request::Put(plain_put(b"f")), "00000004 05 a1 00 4166"),
        (
            "PUT of a folder",
            Request::Put(Put { kind: PutKind::Folder, ..plain_put(b"d") }),
            "00000006 05 a2 00 4164 01 01",
        ),
        (
            "PUT, full",
            Request::Put(Put {
                path: raw(b"a/f.iso"),
                kind: PutKind::File,
                size: Some(5_000_000_000),
                modified: Some(-1),
                on_conflict: OnConflict::Overwrite,
                upload: Some(UPLOAD),
                digest: Some(DIGEST),
                ask: true,
            }),
            "0000004f 05 a7 00 47612f662e69736f 02 1b000000012a05f200 03 20 04 03 \
             05 50a0a1a2a3a4a5a6a7a8a9aaabacadaeaf \
             06 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 07 f5",
        ),
        (
            "PUT or skip",
            Request::Put(Put { on_conflict: OnConflict::Skip, ..plain_put(b"f") }),
            "00000006 05 a2 00 4166 04 01",
        ),
        (
            "PUT or fail",
            Request::Put(Put { on_conflict: OnConflict::Fail, ..plain_put(b"f") }),
            "00000006 05 a2 00 4166 04 02",
        ),
        ("BEGIN, least", Request::Begin(Begin::default()), "00000001 06 a0"),
        ("BEGIN, full", Request::Begin(Begin { offset: 65_536 }), "00000007 06 a1 00 1a00010000"),
        (
            "FINISH",
            Request::Finish(Finish { digest: DIGEST }),
            "00000024 07 a1 00 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        ),
        ("ABANDON, least", Request::Abandon(Abandon::default()), "00000001 08 a0"),
        ("ABANDON, full", Request::Abandon(Abandon { keep: true }), "00000003 08 a1 00 f5"),
        ("PING", Request::Ping, "00000001 09 a0"),
        (
            "SUBSCRIBE, least",
            Request::Subscribe(Subscribe { folders: vec![raw(b"")], after: None, journal: None, subscriber: None }),
            "00000004 0a a1 00 8140",
        ),
        (
            "SUBSCRIBE, full",
            Request::Subscribe(Subscribe {
                folders: vec![raw(b"chat"), raw(b"a/b")],
                after: Some(65_536),
                journal: Some(JOURNAL),
                subscriber: Some(SUBSCRIBER),
            }),
            "00000036 0a a4 00 82446368617443612f62 01 1a00010000 02 50c0c1c2c3c4c5c6c7c8c9cacbcccdcecf \
             03 50d0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        ),
        ("RECEIVERS, least", Request::Receivers(Receivers { number: 1, wait: 0 }), "00000003 0b a1 00 01"),
        ("RECEIVERS, full", Request::Receivers(Receivers { number: 300, wait: 10 }), "00000007 0b a2 00 19012c 01 0a"),
    ]
}

fn replies() -> Vec<(&'static str, Reply, &'static str)> {
    vec![
        (
            "WELCOME, least",
            Reply::Welcome(Welcome {
                version: 1,
                agent: None,
                name: None,
                read_only: false,
                overwrite: false,
                max_file_size: None,
                rights: None,
            }),
            "00000003 81 a1 00 01",
        ),
        (
            "WELCOME, full",
            Reply::Welcome(Welcome {
                version: 1,
                agent: Some("server 0.1".into()),
                name: Some("año".into()),
                read_only: true,
                overwrite: true,
                max_file_size: Some(1 << 40),
                rights: Some(Right::Read | Right::Subscribe),
            }),
            "00000025 81 a7 00 01 01 6a73657276657220302e31 02 6461c3b16f 03 f5 04 f5 05 1b0000010000000000 06 11",
        ),
        ("ENTRIES, least", Reply::Entries(Entries::default()), "00000003 82 a1 01 80"),
        (
            "ENTRIES, full",
            Reply::Entries(Entries {
                folder: raw(b"d"),
                entries: vec![
                    Entry { name: raw(b"f"), kind: EntryKind::File, size: 5, modified: 1_700_000_000_000_000_000 },
                    Entry { name: raw(b"\xfe"), kind: EntryKind::Folder, size: 0, modified: i64::MIN },
                ],
            }),
            "00000022 82 a2 00 4164 01 82 84 4166 00 05 1b17979cfe362a0000 84 41fe 01 00 3b7fffffffffffffff",
        ),
        ("LISTED, least", Reply::Listed(Listed::default()), "00000001 83 a0"),
        (
            "LISTED, full",
            Reply::Listed(Listed { entries: 3, skipped: 1, unreadable: 2, truncated: true }),
            "00000009 83 a4 00 03 01 01 02 02 03 f5",
        ),
        (
            "FILE, least",
            Reply::File(FileHeader {
                transfer: TransferId(1),
                size: 0,
                modified: 0,
                version: version(b"v"),
                offset: 0,
                length: 0,
            }),
            "0000000c 84 a5 00 01 01 00 02 00 03 4176 05 00",
        ),
        (
            "FILE, full",
            Reply::File(FileHeader {
                transfer: TransferId(258),
                size: 10,
                modified: -5,
                version: version(&DIGEST.0),
                offset: 4,
                length: 6,
            }),
            "00000030 84 a6 00 190102 01 0a 02 24 \
             03 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 04 04 05 06",
        ),
        ("END, least", Reply::End(End::default()), "00000001 85 a0"),
        (
            "END, full",
            Reply::End(End { digest: Some(DIGEST), path: Some(raw(b"f")), number: Some(12) }),
            "00000029 85 a3 00 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 01 4166 02 0c",
        ),
        (
            "OFFER, least",
            Reply::Offer(Offer { transfer: TransferId(9), offset: 0, digest: None }),
            "00000003 86 a1 00 09",
        ),
        (
            "OFFER, full",
            Reply::Offer(Offer { transfer: TransferId(9), offset: 4096, digest: Some(DIGEST) }),
            "0000002a 86 a3 00 09 01 191000 \
             02 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        ),
        ("STORED new", stored(StoredOutcome::New), "00000010 87 a3 00 09 01 4961202831292e747874 02 00"),
        ("STORED renamed", stored(StoredOutcome::Renamed), "00000010 87 a3 00 09 01 4961202831292e747874 02 01"),
        (
            "STORED overwritten",
            stored(StoredOutcome::Overwritten),
            "00000010 87 a3 00 09 01 4961202831292e747874 02 02",
        ),
        ("STORED identical", stored(StoredOutcome::Identical), "00000010 87 a3 00 09 01 4961202831292e747874 02 03"),
        ("STORED skipped", stored(StoredOutcome::Skipped), "00000010 87 a3 00 09 01 4961202831292e747874 02 04"),
        (
            "STORED as an arrival",
            Reply::Stored(Stored {
                transfer: TransferId(9),
                path: raw(b"f"),
                outcome: StoredOutcome::New,
                number: Some(12),
            }),
            "0000000a 87 a4 00 09 01 4166 02 00 03 0c",
        ),
        ("PONG", Reply::Pong, "00000001 88 a0"),
        (
            "LIVE, least",
            Reply::Live(LiveHeader {
                transfer: TransferId(1),
                size: None,
                modified: None,
                version: version(b"v"),
                offset: 0,
            }),
            "00000006 89 a2 00 01 03 4176",
        ),
        (
            "LIVE, full",
            Reply::Live(LiveHeader {
                transfer: TransferId(258),
                size: Some(10),
                modified: Some(-5),
                version: version(&[1, 2]),
                offset: 4,
            }),
            "0000000f 89 a5 00 190102 01 0a 02 24 03 420102 04 04",
        ),
        ("RECEIVED, least", Reply::Received(Received::default()), "00000003 8a a1 00 80"),
        (
            "RECEIVED, full",
            Reply::Received(Received {
                receivers: vec![
                    receiver("10.0.0.1:5", ReceiverState::Verified),
                    receiver("a", ReceiverState::Fetching),
                    receiver("b", ReceiverState::Failed),
                    receiver("c", ReceiverState::Gone),
                ],
                more: 7,
            }),
            "0000001e 8a a2 00 84826a31302e302e302e313a3500826161018261620282616303 01 07",
        ),
        ("ERROR, least", Reply::Error(Fault { code: ErrorCode::NotFound, message: None }), "00000003 8f a1 00 07"),
        (
            "ERROR, full, of a code to come",
            Reply::Error(Fault { code: ErrorCode::Other(u16::MAX), message: Some("no such file".into()) }),
            "00000013 8f a2 00 19ffff 01 6c6e6f20737563682066696c65",
        ),
        (
            "SUBSCRIBED",
            Reply::Subscribed(Subscribed { journal: JOURNAL, oldest: 1, after: 0 }),
            "00000017 90 a3 00 50c0c1c2c3c4c5c6c7c8c9cacbcccdcecf 01 01 02 00",
        ),
        (
            "ARRIVING, least",
            Reply::Arriving(Arriving { live: LIVE, path: raw(b"f"), size: None }),
            "00000016 91 a2 00 50b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 4166",
        ),
        (
            "ARRIVING, full",
            Reply::Arriving(Arriving { live: LIVE, path: raw(b"f"), size: Some(5_000_000_000) }),
            "00000020 91 a3 00 50b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 4166 02 1b000000012a05f200",
        ),
        (
            "ARRIVED, least",
            Reply::Arrived(Arrived {
                number: 1,
                path: raw(b"f"),
                size: 0,
                digest: DIGEST,
                modified: 0,
                time: 0,
                live: None,
                publisher: None,
            }),
            "0000002f 92 a6 00 01 01 4166 02 00 \
             03 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 04 00 05 00",
        ),
        (
            "ARRIVED, full",
            Reply::Arrived(Arrived {
                number: 1 << 32,
                path: raw(b"\xff/f"),
                size: 10,
                digest: DIGEST,
                modified: -1,
                time: 1_700_000_000_000_000_000,
                live: Some(LIVE),
                publisher: Some("10.0.0.1".into()),
            }),
            "0000005d 92 a8 00 1b0000000100000000 01 43ff2f66 02 0a \
             03 5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 04 20 05 1b17979cfe362a0000 \
             06 50b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 07 6831302e302e302e31",
        ),
        (
            "ABANDONED",
            Reply::Abandoned(Abandoned { live: LIVE, path: raw(b"f") }),
            "00000016 93 a2 00 50b0b1b2b3b4b5b6b7b8b9babbbcbdbebf 01 4166",
        ),
        ("GAP, least", Reply::Gap(Gap { after: 3, missed: None }), "00000003 94 a1 00 03"),
        ("GAP, full", Reply::Gap(Gap { after: 3, missed: Some(2) }), "00000005 94 a2 00 03 01 02"),
        ("POSITION", Reply::Position(Position { after: 24 }), "00000004 95 a1 00 1818"),
        ("PAUSED", Reply::Paused(Position { after: 65_536 }), "00000007 96 a1 00 1a00010000"),
        ("WAIT", Reply::Wait, "00000001 c0 a0"),
    ]
}
