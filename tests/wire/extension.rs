//! What lets an older and a newer peer talk (PROTOCOL.md, sections 3 and 14): fields that are not known are skipped,
//! whatever they hold, and fields that are missing have their defaults.

use crate::cbor::{EVERY_TYPE, Field, fields, indefinite_map, map, unhex};
use crate::message::Message;
use crate::samples::samples;
use hostdir::wire::{Entries, Entry, EntryKind, Get, Hello, Kind, MAX_CONTROL, RawBytes, Reply, Request, Token};
use minicbor::{Decode, Encode};
use proptest::prelude::*;

/// A key that no message has.
const UNKNOWN: u8 = 99;

#[test]
fn an_unknown_field_of_any_type_is_skipped_wherever_it_stands() {
    for sample in samples() {
        let known = fields(&sample.message.body());
        for value in EVERY_TYPE {
            for at in 0..=known.len() {
                let mut extended = known.clone();
                extended.insert(at, Field { key: UNKNOWN, value: unhex(value) });
                for body in [map(&extended), indefinite_map(&extended)] {
                    let decoded = sample.message.decode_same_kind(&body);
                    assert_eq!(decoded.as_ref(), Ok(&sample.message), "{} with {value} at {at}", sample.name);
                }
            }
        }
    }
}

#[test]
fn a_negative_key_is_an_unknown_field() {
    for sample in samples() {
        let mut body = sample.message.body();
        body[0] += 1;
        body.extend([0x20, 0xf5]);
        assert_eq!(sample.message.decode_same_kind(&body).as_ref(), Ok(&sample.message), "{}", sample.name);
    }
}

#[test]
fn fields_may_come_in_any_order() {
    for sample in samples() {
        let mut reversed = fields(&sample.message.body());
        reversed.reverse();
        let decoded = sample.message.decode_same_kind(&map(&reversed));
        assert_eq!(decoded.as_ref(), Ok(&sample.message), "{}", sample.name);
    }
}

#[test]
fn of_a_field_given_twice_the_last_one_counts() {
    let body = unhex("a4 00 01 01 01 01 02 01 03");
    let hello = Hello { min_version: 1, max_version: 3, agent: None, token: None };
    assert_eq!(Request::decode(Kind::Hello, &body), Ok(Request::Hello(hello)));
    for sample in samples() {
        let known = fields(&sample.message.body());
        let twice: Vec<Field> = known.iter().chain(&known).cloned().collect();
        for body in [map(&twice), indefinite_map(&twice)] {
            assert_eq!(sample.message.decode_same_kind(&body).as_ref(), Ok(&sample.message), "{}", sample.name);
        }
    }
}

#[test]
fn maps_and_arrays_of_indefinite_length_are_understood() {
    for sample in samples() {
        let body = indefinite_map(&fields(&sample.message.body()));
        assert_eq!(sample.message.decode_same_kind(&body).as_ref(), Ok(&sample.message), "{}", sample.name);
    }
    let page = unhex("bf 01 9f 9f 4166 00 05 07 ff 84 4167 01 00 20 ff ff");
    let entry = |name: &[u8], kind, size, modified| Entry { name: RawBytes::from(name), kind, size, modified };
    let entries = vec![entry(b"f", EntryKind::File, 5, 7), entry(b"g", EntryKind::Folder, 0, -1)];
    assert_eq!(
        Reply::decode(Kind::Entries, &page),
        Ok(Reply::Entries(Entries { folder: RawBytes::default(), entries }))
    );
}

#[test]
fn numbers_may_be_encoded_longer_than_needed() {
    let body = unhex("a2 1800 190001 1b0000000000000001 1a00000002");
    let hello = Hello { min_version: 1, max_version: 2, agent: None, token: None };
    assert_eq!(Request::decode(Kind::Hello, &body), Ok(Request::Hello(hello)));
}

#[test]
fn further_elements_of_an_entry_are_ignored() {
    for value in EVERY_TYPE {
        for (open, close) in [("86", ""), ("9f", "ff")] {
            let body = unhex(&format!("a1 01 82 {open} 4166 00 05 07 {value} {value} {close} 84 4167 00 05 07"));
            let Ok(Reply::Entries(page)) = Reply::decode(Kind::Entries, &body) else { panic!("{value} was refused") };
            assert_eq!(page.entries.len(), 2, "{value}");
            assert_eq!(page.entries[1].name, RawBytes::from(&b"g"[..]), "{value}");
        }
    }
}

/// HELLO as a later edition of the protocol may have it.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
struct LaterHello {
    #[n(0)]
    min_version: u16,
    #[n(1)]
    max_version: u16,
    #[n(2)]
    agent: Option<String>,
    #[cbor(n(3), with = "minicbor::bytes")]
    token: Option<Vec<u8>>,
    #[n(30)]
    nested: Option<Vec<LaterHello>>,
}

/// GET as an earlier edition may have had it.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
struct EarlierGet {
    #[cbor(n(0), with = "minicbor::bytes")]
    path: Vec<u8>,
    #[n(2)]
    length: Option<u64>,
}

#[test]
fn a_newer_hello_is_read_by_this_code_and_an_older_one_by_newer_code() {
    let inner = LaterHello { min_version: 9, max_version: 9, agent: None, token: None, nested: None };
    let later = LaterHello {
        min_version: 1,
        max_version: 2,
        agent: Some("later".into()),
        token: Some(vec![0xff; 16]),
        nested: Some(vec![inner]),
    };
    let token = Token::new(&[0xff; 16]);
    let now = Hello { min_version: 1, max_version: 2, agent: Some("later".into()), token };
    let bytes = minicbor::to_vec(&later).expect("encoding cannot fail");
    assert_eq!(Request::decode(Kind::Hello, &bytes), Ok(Request::Hello(now.clone())));

    let bytes = Message::Request(Request::Hello(now)).body();
    let read: LaterHello = minicbor::decode(&bytes).expect("newer code reads it");
    assert_eq!(read, LaterHello { nested: None, ..later });
}

#[test]
fn an_older_get_is_read_by_this_code_and_this_one_by_older_code() {
    let earlier = EarlierGet { path: b"f".to_vec(), length: Some(3) };
    let bytes = minicbor::to_vec(&earlier).expect("encoding cannot fail");
    let get = Get { length: Some(3), ..Get::whole(b"f") };
    assert_eq!(Request::decode(Kind::Get, &bytes), Ok(Request::Get(get.clone())));

    let bytes = Message::Request(Request::Get(Get { offset: 7, digest: Some(false), ..get })).body();
    assert_eq!(minicbor::decode::<EarlierGet>(&bytes).expect("older code reads it"), earlier);
}

/// Values that nest deeper than any stack: `open` as often as fits, then one item, then every `close`.
const NESTS: [(&str, &str); 9] = [
    ("81", ""),       // array of one
    ("9f", "ff"),     // array of indefinite length
    ("8200", ""),     // array of two, deep in its last
    ("9f00", "00ff"), // the same of indefinite length
    ("a100", ""),     // map
    ("bf00", "ff"),   // map of indefinite length
    ("c1", ""),       // tag
    ("d9d9f7", ""),   // a longer tag
    ("829f", "ff00"), // definite and indefinite in turn
];

#[test]
fn an_unknown_field_may_nest_as_deep_as_a_frame_allows() {
    for sample in samples() {
        for (open, close) in NESTS {
            let (open, close) = (unhex(open), unhex(close));
            let room = MAX_CONTROL as usize - sample.frame.len() - 8;
            let depth = room / (open.len() + close.len());
            let value = [open.repeat(depth), vec![0x00], close.repeat(depth)].concat();
            let mut extended = fields(&sample.message.body());
            extended.insert(0, Field { key: UNKNOWN, value });
            let decoded = sample.message.decode_same_kind(&map(&extended));
            assert_eq!(decoded.as_ref(), Ok(&sample.message), "{} with {open:x?} {depth} deep", sample.name);
        }
    }
}

#[test]
fn nesting_without_an_end_is_refused_and_nothing_more() {
    for sample in samples() {
        for (open, _) in NESTS {
            let value = unhex(open).repeat(MAX_CONTROL as usize / (open.len() / 2));
            for start in [&[0xa1, 0x18, UNKNOWN][..], &[0xbf, 0x18, UNKNOWN], &[0xa1, 0x00], &[0xa1, 0x01], &[]] {
                let body = [start, &value].concat();
                assert!(sample.message.decode_same_kind(&body).is_err(), "{} {start:x?} {open}", sample.name);
            }
        }
    }
}

fn any_cbor() -> impl Strategy<Value = Vec<u8>> {
    let leaf = proptest::sample::select(&EVERY_TYPE[..]).prop_map(unhex);
    leaf.prop_recursive(6, 60, 5, |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..5);
        let pairs = proptest::collection::vec((inner.clone(), inner.clone()), 0..4);
        let head = |major: u8, count: usize| vec![(major << 5) | u8::try_from(count).expect("few")];
        prop_oneof![
            items.clone().prop_map(move |items| [head(4, items.len()), items.concat()].concat()),
            items.prop_map(|items| [vec![0x9f], items.concat(), vec![0xff]].concat()),
            pairs.clone().prop_map(move |pairs| {
                let flat: Vec<u8> =
                    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
                [head(5, pairs.len()), flat].concat()
            }),
            pairs.prop_map(|pairs| {
                let flat: Vec<u8> =
                    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
                [vec![0xbf], flat, vec![0xff]].concat()
            }),
            inner.prop_map(|item| [vec![0xd9, 0x01, 0x00], item].concat()),
        ]
    })
}

proptest! {
    #[test]
    fn an_unknown_field_of_any_shape_is_skipped_to_its_very_end(value in any_cbor()) {
        for sample in samples() {
            let mut extended = fields(&sample.message.body());
            extended.insert(0, Field { key: UNKNOWN, value: value.clone() });
            for body in [map(&extended), indefinite_map(&extended)] {
                let decoded = sample.message.decode_same_kind(&body);
                prop_assert_eq!(decoded.as_ref(), Ok(&sample.message), "{}", sample.name);
            }
        }
    }
}
