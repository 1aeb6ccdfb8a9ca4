//! Properties over arbitrary input: what was encoded is decoded, and nothing whatever panics.

use crate::message::{Message, cut, decode};
use crate::samples::samples;
use hostdir::wire::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn raw() -> impl Strategy<Value = RawBytes> {
    vec(any::<u8>(), 0..40).prop_map(RawBytes)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn transfer() -> impl Strategy<Value = TransferId> {
    any::<u64>().prop_map(TransferId)
}

fn version() -> impl Strategy<Value = Version> {
    vec(any::<u8>(), 1..=Version::MAX).prop_map(|bytes| Version::new(&bytes).expect("1 to 32 bytes"))
}

fn live() -> impl Strategy<Value = LiveId> {
    any::<[u8; 16]>().prop_map(LiveId)
}

fn subscriber() -> impl Strategy<Value = SubscriberId> {
    any::<[u8; 16]>().prop_map(SubscriberId)
}

fn journal() -> impl Strategy<Value = JournalId> {
    any::<[u8; 16]>().prop_map(JournalId)
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    any::<u16>().prop_map(ErrorCode::from_number)
}

fn rights() -> impl Strategy<Value = Rights> {
    subsequence(Right::ALL.to_vec(), 0..=Right::ALL.len())
        .prop_map(|rights| rights.into_iter().fold(Rights::NONE, |all, right| all | right))
}

prop_compose! {
    fn hello()(
        min_version: u16,
        max_version: u16,
        agent: Option<String>,
        token in option::of(vec(any::<u8>(), 1..128)),
    ) -> Request {
        let token = token.and_then(|bytes| Token::new(&bytes));
        Request::Hello(Hello { min_version, max_version, agent, token })
    }
}

prop_compose! {
    fn list()(path in raw(), recursive: bool, limit: Option<u64>) -> Request {
        Request::List(List { path, recursive, limit })
    }
}

prop_compose! {
    fn get()(path in raw(), offset: u64, length: Option<u64>, version in option::of(version()), digest: Option<bool>,
        live in option::of(live()))
        -> Request {
        Request::Get(Get { path, offset, length, version, digest, live })
    }
}

prop_compose! {
    fn receipt()(
        transfer in transfer(),
        outcome in select(vec![
            ReceiptOutcome::Verified, ReceiptOutcome::Mismatch, ReceiptOutcome::NotStored, ReceiptOutcome::GivenUp,
        ]),
        number: Option<u64>,
        subscriber in option::of(subscriber()),
    ) -> Request {
        Request::Receipt(Receipt { transfer, outcome, number, subscriber })
    }
}

prop_compose! {
    fn subscribe()(
        folders in vec(raw(), 0..20),
        after: Option<u64>,
        journal in option::of(journal()),
        subscriber in option::of(subscriber()),
    ) -> Request {
        Request::Subscribe(Subscribe { folders, after, journal, subscriber })
    }
}

prop_compose! {
    fn live_header()(
        transfer in transfer(),
        size: Option<u64>,
        modified: Option<i64>,
        version in version(),
        offset: u64,
    ) -> Reply {
        Reply::Live(LiveHeader { transfer, size, modified, version, offset })
    }
}

prop_compose! {
    fn receiver()(
        name: String,
        state in select(vec![
            ReceiverState::Verified, ReceiverState::Fetching, ReceiverState::Failed, ReceiverState::Gone,
        ]),
    ) -> Receiver {
        Receiver { name, state }
    }
}

prop_compose! {
    fn received()(receivers in vec(receiver(), 0..10), more: u64) -> Reply {
        Reply::Received(Received { receivers, more })
    }
}

prop_compose! {
    fn subscribed()(journal in journal(), oldest: u64, after: u64) -> Reply {
        Reply::Subscribed(Subscribed { journal, oldest, after })
    }
}

prop_compose! {
    fn arriving()(live in live(), path in raw(), size: Option<u64>) -> Reply {
        Reply::Arriving(Arriving { live, path, size })
    }
}

prop_compose! {
    fn arrived()(
        number: u64,
        path in raw(),
        size: u64,
        digest in digest(),
        modified: i64,
        time: i64,
        live in option::of(live()),
        publisher: Option<String>,
    ) -> Reply {
        Reply::Arrived(Arrived { number, path, size, digest, modified, time, live, publisher })
    }
}

prop_compose! {
    fn end()(digest in option::of(digest()), path in option::of(raw()), number: Option<u64>) -> Reply {
        Reply::End(End { digest, path, number })
    }
}

prop_compose! {
    fn put()(
        path in raw(),
        kind in select(vec![PutKind::File, PutKind::Folder]),
        size: Option<u64>,
        modified: Option<i64>,
        on_conflict in select(vec![OnConflict::Rename, OnConflict::Skip, OnConflict::Fail, OnConflict::Overwrite]),
        upload in option::of(any::<[u8; 16]>().prop_map(UploadId)),
        digest in option::of(digest()),
        ask: bool,
    ) -> Request {
        Request::Put(Put { path, kind, size, modified, on_conflict, upload, digest, ask })
    }
}

prop_compose! {
    fn welcome()(
        version: u16,
        agent: Option<String>,
        name: Option<String>,
        read_only: bool,
        overwrite: bool,
        max_file_size: Option<u64>,
        rights in option::of(rights()),
    ) -> Reply {
        Reply::Welcome(Welcome { version, agent, name, read_only, overwrite, max_file_size, rights })
    }
}

prop_compose! {
    fn entry()(name in raw(), kind in select(vec![EntryKind::File, EntryKind::Folder]), size: u64, modified: i64)
        -> Entry {
        Entry { name, kind, size, modified }
    }
}

prop_compose! {
    fn entries()(folder in raw(), entries in vec(entry(), 0..40)) -> Reply {
        Reply::Entries(Entries { folder, entries })
    }
}

prop_compose! {
    fn listed()(entries: u64, skipped: u64, unreadable: u64, truncated: bool) -> Reply {
        Reply::Listed(Listed { entries, skipped, unreadable, truncated })
    }
}

prop_compose! {
    fn file()(transfer in transfer(), size: u64, modified: i64, version in version(), offset: u64, length: u64)
        -> Reply {
        Reply::File(FileHeader { transfer, size, modified, version, offset, length })
    }
}

prop_compose! {
    fn offer()(transfer in transfer(), offset: u64, digest in option::of(digest())) -> Reply {
        Reply::Offer(Offer { transfer, offset, digest })
    }
}

prop_compose! {
    fn stored()(
        transfer in transfer(),
        path in raw(),
        outcome in select(vec![
            StoredOutcome::New, StoredOutcome::Renamed, StoredOutcome::Overwritten, StoredOutcome::Identical,
            StoredOutcome::Skipped,
        ]),
        number: Option<u64>,
    ) -> Reply {
        Reply::Stored(Stored { transfer, path, outcome, number })
    }
}

fn message() -> impl Strategy<Value = Message> {
    let request = prop_oneof![
        hello(),
        list(),
        get(),
        receipt(),
        put(),
        any::<u64>().prop_map(|offset| Request::Begin(Begin { offset })),
        digest().prop_map(|digest| Request::Finish(Finish { digest })),
        any::<bool>().prop_map(|keep| Request::Abandon(Abandon { keep })),
        Just(Request::Ping),
        subscribe(),
        any::<(u64, u64)>().prop_map(|(number, wait)| Request::Receivers(Receivers { number, wait })),
    ];
    let event = prop_oneof![
        subscribed(),
        arriving(),
        arrived(),
        (live(), raw()).prop_map(|(live, path)| Reply::Abandoned(Abandoned { live, path })),
        any::<(u64, Option<u64>)>().prop_map(|(after, missed)| Reply::Gap(Gap { after, missed })),
        any::<u64>().prop_map(|after| Reply::Position(Position { after })),
        any::<u64>().prop_map(|after| Reply::Paused(Position { after })),
    ];
    let reply = prop_oneof![
        welcome(),
        entries(),
        listed(),
        file(),
        end(),
        offer(),
        stored(),
        Just(Reply::Pong),
        (error_code(), any::<Option<String>>()).prop_map(|(code, message)| Reply::Error(Fault { code, message })),
        Just(Reply::Wait),
        live_header(),
        received(),
        event,
    ];
    prop_oneof![request.prop_map(Message::Request), reply.prop_map(Message::Reply)]
}

/// Bytes that get further into a decoder than random ones do: frames of real messages with some bytes changed.
fn nearly_a_body() -> impl Strategy<Value = Vec<u8>> {
    let bodies: Vec<Vec<u8>> = samples().iter().map(|sample| sample.message.body()).collect();
    (select(bodies), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), vec(any::<u8>(), 0..3)).prop_map(
        |(mut body, changes, tail)| {
            for (place, byte) in changes {
                let at = place.index(body.len());
                body[at] = byte;
            }
            body.extend(tail);
            body
        },
    )
}

fn any_kind() -> impl Strategy<Value = Kind> {
    any::<u8>().prop_filter_map("a kind", |byte| Kind::from_byte(byte).ok())
}

/// Decoding must not panic; what was accepted must survive another round.
fn settle(kind: Kind, body: &[u8]) -> Result<(), TestCaseError> {
    let _ = Request::decode(kind, body);
    let _ = Reply::decode(kind, body);
    if let Ok(message) = decode(kind, body) {
        prop_assert_eq!(decode(kind, &message.body()), Ok(message));
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(message in message()) {
        let frame = message.frame();
        let (header, body, rest) = cut(&frame, Phase::Session).expect("no violation").expect("a whole frame");
        prop_assert!(rest.is_empty());
        prop_assert_eq!(decode(header.kind, body), Ok(message));
    }

    #[test]
    fn a_truncated_message_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
        let body = message.body();
        prop_assert!(message.decode_same_kind(&body[..cut.index(body.len())]).is_err());
    }

    #[test]
    fn arbitrary_bodies_do_not_panic(kind in any_kind(), body in vec(any::<u8>(), 0..200)) {
        settle(kind, &body)?;
    }

    #[test]
    fn bodies_that_are_nearly_right_do_not_panic(kind in any_kind(), body in nearly_a_body()) {
        settle(kind, &body)?;
        for sample in samples() {
            settle(sample.message.kind(), &body)?;
        }
    }

    #[test]
    fn arbitrary_headers_do_not_panic_and_are_held_to_their_limits(bytes in vec(any::<u8>(), 0..12)) {
        for (phase, limit) in [(Phase::Greeting, MAX_CONTROL_BEFORE_WELCOME), (Phase::Session, MAX_DATA)] {
            if let Ok(Some(header)) = FrameHeader::decode(&bytes, phase) {
                prop_assert!(header.length <= limit);
                prop_assert!(header.kind == Kind::Data || header.length <= MAX_CONTROL);
                prop_assert_eq!(&header.encode()[..], &bytes[..FRAME_HEADER]);
            }
        }
    }

    #[test]
    fn arbitrary_paths_do_not_panic_and_keep_their_bytes(
        bytes in vec(prop_oneof![4 => any::<u8>(), 2 => Just(b'/'), 2 => Just(b'.'), 1 => select(b".hostdir\\".to_vec())], 0..1100),
    ) {
        let path = RemotePath::parse(&bytes);
        let folder = RemoteFolder::parse(&bytes);
        prop_assert_eq!(folder.is_ok(), bytes.is_empty() || path.is_ok());
        if let Ok(path) = path {
            prop_assert_eq!(path.as_bytes(), &bytes[..]);
            let _ = (path.check_portable(), path.to_string(), path.with_name(b"x"));
        }
    }

    #[test]
    fn a_parsed_path_obeys_every_rule(
        names in vec(vec(prop_oneof![8 => 0x20_u8..0x7f, 1 => any::<u8>()], 0..30), 0..70),
    ) {
        let bytes = names.join(&b'/');
        if let Ok(path) = RemotePath::parse(&bytes) {
            let components: Vec<&[u8]> = path.components().collect();
            prop_assert!((1..=64).contains(&components.len()) && bytes.len() <= 1024);
            for name in components {
                prop_assert!((1..=255).contains(&name.len()) && name != b"." && name != b"..");
                prop_assert!(!name.eq_ignore_ascii_case(b".hostdir"));
                prop_assert!(!name.contains(&0) && !name.contains(&b'\\') && !name.contains(&b'/'));
            }
        }
    }

    #[test]
    fn sniffing_does_not_panic_and_never_takes_a_guess_back(bytes in vec(select(b"\x8ahostdirGETPUADOIN \x16".to_vec()), 0..12)) {
        let mut settled = None;
        for end in 0..=bytes.len() {
            let guess = sniff(&bytes[..end]);
            if let Some(before) = settled {
                prop_assert_eq!(guess, before);
            } else if guess != Guess::Incomplete {
                settled = Some(guess);
            }
        }
    }

    #[test]
    fn sniffing_arbitrary_bytes_does_not_panic(bytes in vec(any::<u8>(), 0..20)) {
        let _ = sniff(&bytes);
    }
}
