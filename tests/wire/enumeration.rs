//! Unknown numbers in enumerations are violations (PROTOCOL.md, section 13), wherever the field stands and whatever
//! follows it: a decoder that skips "the value it does not know" a moment too late swallows its neighbour.

use crate::cbor::{EVERY_TYPE, Field, fields, indefinite_map, map, unhex};
use crate::samples::samples;
use hostdir::wire::{Kind, Reply, Request};

/// The fields that are enumerations, and how many numbers each has.
fn enumeration(kind: Kind, key: u8) -> Option<u8> {
    match (kind, key) {
        (Kind::Receipt, 1) => Some(4),
        (Kind::Put, 1) => Some(2),
        (Kind::Put, 4) => Some(4),
        (Kind::Stored, 2) => Some(5),
        _ => None,
    }
}

/// Every enumeration field of every sample, given `number` and moved to each place among the others.
fn with_number(number: impl Fn(u8) -> u64) -> impl Iterator<Item = (Kind, Vec<Field>)> {
    let mut cases = Vec::new();
    for sample in samples() {
        let kind = sample.message.kind();
        let known = fields(&sample.message.body());
        for key in 0..8 {
            let Some(count) = enumeration(kind, key) else { continue };
            let mut others = known.clone();
            others.retain(|field| field.key != key);
            let value = minicbor::to_vec(number(count)).expect("encoding cannot fail");
            for at in 0..=others.len() {
                let mut changed = others.clone();
                changed.insert(at, Field { key, value: value.clone() });
                cases.push((kind, changed));
            }
        }
    }
    cases.into_iter()
}

fn is_accepted(kind: Kind, body: &[u8]) -> bool {
    Request::decode(kind, body).is_ok() || Reply::decode(kind, body).is_ok()
}

#[test]
fn the_last_known_number_is_accepted() {
    for (kind, fields) in with_number(|count| u64::from(count) - 1) {
        assert!(is_accepted(kind, &map(&fields)), "{kind:?} {fields:?}");
    }
}

#[test]
fn an_unknown_number_is_refused_whatever_stands_around_it() {
    for number in [|count: u8| u64::from(count), |_: u8| 23, |_: u8| 255, |_: u8| u64::from(u32::MAX), |_: u8| u64::MAX]
    {
        for (kind, fields) in with_number(number) {
            for body in [map(&fields), indefinite_map(&fields)] {
                assert!(!is_accepted(kind, &body), "{kind:?} {fields:?}");
            }
        }
    }
}

#[test]
fn an_unknown_number_does_not_swallow_what_follows_it() {
    for (kind, fields) in with_number(u64::from) {
        for follower in EVERY_TYPE.map(unhex) {
            let beyond_the_map = [map(&fields), follower.clone()].concat();
            assert!(!is_accepted(kind, &beyond_the_map), "{kind:?} {fields:?} and then {follower:x?}");
            let mut lopsided = indefinite_map(&fields);
            lopsided.splice(lopsided.len() - 1..lopsided.len() - 1, follower.clone());
            assert!(!is_accepted(kind, &lopsided), "{kind:?} {fields:?} with {follower:x?} at its end");
        }
    }
}

#[test]
fn an_unknown_kind_of_entry_is_refused() {
    for number in ["02", "17", "18ff", "20", "f4", "6130"] {
        for page in [format!("a1 01 81 84 4166 {number} 05 07"), format!("a1 01 9f 9f 4166 {number} 05 07 ff ff")] {
            assert!(Reply::decode(Kind::Entries, &unhex(&page)).is_err(), "{number}");
        }
    }
}
