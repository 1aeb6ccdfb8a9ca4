//! What is refused (PROTOCOL.md, section 13): a session ends with it, so nothing may slip through half understood.

use crate::cbor::{Class, EVERY_TYPE, Field, class, fields, map, unhex};
use crate::message::Message;
use crate::samples::samples;
use hostdir::wire::{FrameHeader, Kind, Phase, Reply, Request, Violation};

fn refused(message: &Message, body: &[u8]) -> bool {
    matches!(message.decode_same_kind(body), Err(Violation::Body { kind, .. }) if kind == message.kind())
}

#[test]
fn bytes_after_the_map_are_refused() {
    for sample in samples() {
        for trailing in ["00", "ff", "a0", "f6", "00000001 09 a0"] {
            let body = [sample.message.body(), unhex(trailing)].concat();
            assert!(refused(&sample.message, &body), "{} and {trailing}", sample.name);
        }
        assert!(refused(&sample.message, &sample.message.body().repeat(2)), "{} twice", sample.name);
    }
}

#[test]
fn a_body_that_is_not_a_map_is_refused() {
    for sample in samples() {
        assert!(refused(&sample.message, &[]), "{}: an empty body", sample.name);
        for value in EVERY_TYPE {
            let value = unhex(value);
            if !matches!(value[0], 0xa0..=0xbf) {
                assert!(refused(&sample.message, &value), "{} as {value:x?}", sample.name);
            }
        }
        let tagged = [vec![0xd9, 0xd9, 0xf7], sample.message.body()].concat();
        assert!(refused(&sample.message, &tagged), "{}: a tagged map", sample.name);
    }
}

#[test]
fn a_key_that_is_not_an_integer_is_refused() {
    for sample in samples() {
        for key in ["40", "6130", "80", "a0", "c100", "f4", "f6", "f90000"] {
            let mut body = sample.message.body();
            body[0] += 1;
            body.extend(unhex(key));
            body.push(0x00);
            assert!(refused(&sample.message, &body), "{} with key {key}", sample.name);
        }
    }
}

/// The fields without which a message means nothing, as the tables of PROTOCOL.md have them.
fn required(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Hello | Kind::Receipt | Kind::Arriving | Kind::Abandoned => &[0, 1],
        Kind::Get | Kind::Put | Kind::Finish | Kind::Welcome | Kind::Offer | Kind::Error => &[0],
        Kind::Subscribe | Kind::Receivers | Kind::Received | Kind::Gap | Kind::Position | Kind::Paused => &[0],
        Kind::Live => &[0, 3],
        Kind::Subscribed => &[0, 1, 2],
        Kind::Arrived => &[0, 1, 2, 3, 4, 5],
        Kind::Entries => &[1],
        Kind::File => &[0, 1, 2, 3, 5],
        Kind::Stored => &[0, 1, 2],
        _ => &[],
    }
}

#[test]
fn a_missing_field_is_refused_if_it_is_required_and_only_then() {
    for sample in samples() {
        let known = fields(&sample.message.body());
        for at in 0..known.len() {
            let mut fewer = known.clone();
            let removed = fewer.remove(at).key;
            let is_required = required(sample.message.kind()).contains(&removed);
            assert_eq!(refused(&sample.message, &map(&fewer)), is_required, "{} without {removed}", sample.name);
        }
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    for sample in samples() {
        let known = fields(&sample.message.body());
        for at in 0..known.len() {
            for value in EVERY_TYPE.map(unhex) {
                if may_stand(sample.message.kind(), &known[at], &value) {
                    continue;
                }
                let mut changed = known.clone();
                changed[at].value.clone_from(&value);
                let key = known[at].key;
                assert!(refused(&sample.message, &map(&changed)), "{} with {value:x?} as {key}", sample.name);
            }
        }
    }
}

/// Whether PROTOCOL.md allows `value` in the place of `field`, or leaves it open (null in the place of a field that
/// may be missing; an integer's width).
fn may_stand(kind: Kind, field: &Field, value: &[u8]) -> bool {
    let is_time = matches!((kind, field.key), (Kind::File | Kind::Live, 2) | (Kind::Put, 3) | (Kind::Arrived, 4 | 5));
    match (class(&field.value), class(value)) {
        (Class::Unsigned | Class::Negative, Class::Negative) => is_time,
        (Class::Unsigned | Class::Negative, Class::Unsigned) => true,
        (_, Class::Null) => !required(kind).contains(&field.key),
        (is, other) => is == other,
    }
}

#[test]
fn a_number_beyond_its_field_is_refused() {
    let cases = [
        (Kind::Hello, "a2 00 01 01 1a00010000"),         // a version above 65,535
        (Kind::Receipt, "a2 00 20 01 00"),               // a negative id
        (Kind::Get, "a2 00 4166 01 20"),                 // a negative offset
        (Kind::Put, "a2 00 4166 03 1b8000000000000000"), // a time above 2^63 - 1
        (Kind::Put, "a2 00 4166 03 3b8000000000000000"), // a time below -2^63
    ];
    for (kind, body) in cases {
        assert!(matches!(Request::decode(kind, &unhex(body)), Err(Violation::Body { .. })), "{kind:?} {body}");
    }
    assert!(Reply::decode(Kind::Error, &unhex("a1 00 1a00010000")).is_err(), "an error code above 65,535");
}

#[test]
fn byte_strings_of_fixed_length_are_refused_at_any_other() {
    let filled = |length: usize| [vec![0x58, u8::try_from(length).expect("short")], vec![0; length]].concat();
    let with = |start: &str, length| [unhex(start), filled(length)].concat();
    for length in 0..64 {
        let digest = Request::decode(Kind::Finish, &with("a1 00", length));
        assert_eq!(digest.is_ok(), length == 32, "a digest of {length}");
        let digest = Reply::decode(Kind::End, &with("a1 00", length));
        assert_eq!(digest.is_ok(), length == 32, "a digest of {length}");
        let upload = Request::decode(Kind::Put, &with("a2 00 4166 05", length));
        assert_eq!(upload.is_ok(), length == 16, "an upload id of {length}");
        let version = Request::decode(Kind::Get, &with("a2 00 4166 03", length));
        assert_eq!(version.is_ok(), (1..=32).contains(&length), "a version of {length}");
        let live = Request::decode(Kind::Get, &with("a2 00 4166 05", length));
        assert_eq!(live.is_ok(), length == 16, "a live id of {length}");
        let journal = Request::decode(Kind::Subscribe, &with("a2 00 8140 02", length));
        assert_eq!(journal.is_ok(), length == 16, "a journal id of {length}");
        let subscriber = Request::decode(Kind::Subscribe, &with("a2 00 8140 03", length));
        assert_eq!(subscriber.is_ok(), length == 16, "a subscriber id of {length}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert!(Request::decode(Kind::Hello, &unhex("a3 00 01 01 01 02 62c328")).is_err());
    assert!(Reply::decode(Kind::Error, &unhex("a2 00 07 01 61ff")).is_err());
}

#[test]
fn strings_in_chunks_are_refused_in_known_fields() {
    assert!(Request::decode(Kind::Get, &unhex("a1 00 5f 4161 4162 ff")).is_err());
    assert!(Request::decode(Kind::Hello, &unhex("a3 00 01 01 01 02 7f 6161 ff")).is_err());
}

#[test]
fn an_entry_with_too_few_elements_is_refused() {
    for entries in ["81 80", "81 81 4166", "81 82 4166 00", "81 83 4166 00 05", "81 a0", "81 f6", "82 80 80"] {
        assert!(Reply::decode(Kind::Entries, &unhex(&format!("a1 01 {entries}"))).is_err(), "{entries}");
    }
}

#[test]
fn announced_lengths_are_not_believed() {
    let huge = [
        "bbffffffffffffffff 00 4166",  // a map of 2^64 - 1 pairs
        "ba7fffffff 00 4166",          // of 2^31
        "a1 00 5bffffffffffffffff 66", // bytes
        "a1 00 5b00000000ffffffff 66",
        "a2 00 4166 1863 9bffffffffffffffff 00", // an array in an unknown field
        "a2 00 4166 1863 bbffffffffffffffff 00",
        "a2 00 4166 1863 7bffffffffffffffff 61",
    ];
    for body in huge {
        for kind in [Kind::Get, Kind::Put, Kind::List] {
            assert!(Request::decode(kind, &unhex(body)).is_err(), "{body}");
        }
    }
    for count in ["9bffffffffffffffff", "9b0000000100000000", "9affffffff"] {
        let body = unhex(&format!("a1 01 {count} 84 4166 00 05 07"));
        assert!(Reply::decode(Kind::Entries, &body).is_err(), "{count}");
        let folders = unhex(&format!("a1 00 {count} 40"));
        assert!(Request::decode(Kind::Subscribe, &folders).is_err(), "{count}");
        let receivers = unhex(&format!("a1 00 {count} 82 6161 00"));
        assert!(Reply::decode(Kind::Received, &receivers).is_err(), "{count}");
    }
}

#[test]
fn a_receiver_with_too_few_elements_or_an_unknown_state_is_refused() {
    for receivers in
        ["81 80", "81 81 6161", "81 82 6161 04", "81 82 6161 17", "81 82 4161 00", "81 82 00 6161", "81 f6"]
    {
        assert!(Reply::decode(Kind::Received, &unhex(&format!("a1 00 {receivers}"))).is_err(), "{receivers}");
    }
    assert!(Reply::decode(Kind::Received, &unhex("a1 00 81 83 6161 03 f6")).is_ok(), "further elements are ignored");
}

#[test]
fn folders_that_are_no_byte_strings_are_refused() {
    for folders in ["81 6161", "81 00", "81 80", "82 4161 f6", "81 5f 4161 ff"] {
        assert!(Request::decode(Kind::Subscribe, &unhex(&format!("a1 00 {folders}"))).is_err(), "{folders}");
    }
}

#[test]
fn reserved_kinds_are_unknown() {
    let reserved = [0x00, 0x0c, 0x0f, 0x11, 0x3f, 0x80, 0x8b, 0x8e, 0x97, 0x9f, 0xa0, 0xbf];
    for byte in reserved {
        let header = [0, 0, 0, 1, byte];
        for phase in [Phase::Greeting, Phase::Session] {
            assert_eq!(FrameHeader::decode(&header, phase), Err(Violation::UnknownKind(byte)));
        }
    }
}

#[test]
fn ignorable_kinds_are_skipped_by_either_side() {
    for byte in (0x40..=0x7f).chain(0xc0..=0xff) {
        let header = FrameHeader::decode(&[0, 0, 4, 0, byte], Phase::Greeting).expect("no violation");
        let header = header.expect("a whole header");
        assert!(header.kind.is_ignorable(), "{byte:#x}");
        assert_eq!((header.length, header.kind.byte()), (1024, byte));
    }
}
