//! One control body: decoded, encoded, decoded again; it must be one CBOR item, and no piece of it is accepted.
//!
//! The first byte is the kind, the rest the body.
#![no_main]

use hostdir::wire::{FRAME_HEADER, Kind, Reply, Request};
use libfuzzer_sys::fuzz_target;

mod well_formed;

use well_formed::{Form, form};

fuzz_target!(|input: &[u8]| {
    let Some((byte, body)) = input.split_first() else { return };
    let Ok(kind) = Kind::from_byte(*byte) else { return };
    let request = Request::decode(kind, body);
    let reply = Reply::decode(kind, body);
    assert!(request.is_err() || reply.is_err(), "both sides may send {kind:?}");
    if let Ok(request) = request {
        check(body, &request, |body| Request::decode(kind, body).ok(), Request::encode);
    }
    if let Ok(reply) = reply {
        check(body, &reply, |body| Reply::decode(kind, body).ok(), Reply::encode);
    }
});

fn check<T: PartialEq + std::fmt::Debug>(
    body: &[u8],
    message: &T,
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T, &mut Vec<u8>),
) {
    let encoded = |message: &T| {
        let mut frame = Vec::new();
        encode(message, &mut frame);
        frame.split_off(FRAME_HEADER)
    };
    let canonical = encoded(message);
    let again = decode(&canonical).expect("what was encoded is decoded");
    assert_eq!(&again, message);
    assert_eq!(encoded(&again), canonical);
    assert_eq!(form(&canonical), Form::OneItem);
    assert_ne!(form(body), Form::Malformed, "{message:?} was made of it");
    assert!(canonical.len() <= body.len(), "the shortest form is the one that is sent");

    // A map tells how many fields it has, or ends with a mark: no piece of it is a message, and nothing may follow.
    for end in [body.len() - 1, body.len() / 2] {
        assert_eq!(decode(&body[..end]), None);
    }
    assert_eq!(decode(&[body, &[0xf6]].concat()), None);
}
