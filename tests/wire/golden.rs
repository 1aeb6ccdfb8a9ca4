//! Golden bytes: what is on the wire today must be on it tomorrow.

use crate::message::{Message, cut, decode};
use crate::samples::samples;
use hostdir::wire::{Kind, Phase, Reply, Request, Violation};
use std::collections::HashSet;

#[test]
fn every_message_has_its_golden_bytes() {
    for sample in samples() {
        assert_eq!(hex(&sample.message.frame()), hex(&sample.frame), "{}", sample.name);
    }
}

#[test]
fn golden_bytes_decode_to_their_message() {
    for sample in samples() {
        let (header, body, rest) = cut(&sample.frame, Phase::Session).expect(sample.name).expect(sample.name);
        assert!(rest.is_empty(), "{}", sample.name);
        assert_eq!(header.kind, sample.message.kind(), "{}", sample.name);
        assert_eq!(decode(header.kind, body).as_ref(), Ok(&sample.message), "{}", sample.name);
    }
}

#[test]
fn no_kind_is_without_a_sample() {
    let sampled: HashSet<Kind> = samples().iter().map(|sample| sample.message.kind()).collect();
    for byte in 0..=u8::MAX {
        if let Ok(kind) = Kind::from_byte(byte)
            && !matches!(kind, Kind::Data | Kind::Ignorable(_))
        {
            assert!(sampled.contains(&kind), "{kind:?}");
        }
    }
}

#[test]
fn encoding_appends_and_leaves_what_was_there() {
    for sample in samples() {
        let mut buffer = b"before".to_vec();
        match &sample.message {
            Message::Request(request) => request.encode(&mut buffer),
            Message::Reply(reply) => reply.encode(&mut buffer),
        }
        assert_eq!(buffer.strip_prefix(b"before"), Some(&sample.frame[..]), "{}", sample.name);
    }
}

#[test]
fn a_message_is_refused_from_the_side_that_may_not_send_it() {
    for sample in samples() {
        let (kind, body) = (sample.message.kind(), sample.message.body());
        let from_wrong_side = match sample.message {
            Message::Request(_) => Reply::decode(kind, &body).err(),
            Message::Reply(_) => Request::decode(kind, &body).err(),
        };
        assert_eq!(from_wrong_side, Some(Violation::Unexpected(kind)), "{}", sample.name);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
