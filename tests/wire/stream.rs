//! Frames out of a stream: truncated at every point, and one byte at a time.

use crate::message::{Message, cut, decode};
use crate::samples::samples;
use hostdir::wire::{FRAME_HEADER, Guess, Kind, PREAMBLE, Phase, sniff};

#[test]
fn a_frame_that_was_cut_at_any_point_is_incomplete() {
    for sample in samples() {
        for end in 0..sample.frame.len() {
            assert_eq!(cut(&sample.frame[..end], Phase::Session), Ok(None), "{} cut at {end}", sample.name);
        }
    }
}

#[test]
fn a_body_that_was_cut_at_any_point_is_refused() {
    for sample in samples() {
        let body = &sample.frame[FRAME_HEADER..];
        for end in 0..body.len() {
            let decoded = sample.message.decode_same_kind(&body[..end]);
            assert!(decoded.is_err(), "{} cut at {end} became {decoded:?}", sample.name);
        }
    }
}

#[test]
fn a_body_that_lost_any_one_byte_never_panics() {
    for sample in samples() {
        let body = &sample.frame[FRAME_HEADER..];
        for at in 0..body.len() {
            let _ = sample.message.decode_same_kind(&[&body[..at], &body[at + 1..]].concat());
        }
    }
}

#[test]
fn a_body_with_any_byte_replaced_by_any_other_never_panics() {
    for sample in samples() {
        let mut body = sample.message.body();
        for at in 0..body.len() {
            let original = body[at];
            for byte in 0..=u8::MAX {
                body[at] = byte;
                if let Ok(message) = sample.message.decode_same_kind(&body) {
                    assert_eq!(message.decode_same_kind(&message.body()).as_ref(), Ok(&message));
                }
            }
            body[at] = original;
        }
    }
}

#[test]
fn messages_come_whole_out_of_a_stream_read_one_byte_at_a_time() {
    let expected: Vec<Message> = samples().into_iter().map(|sample| sample.message).collect();
    let stream: Vec<u8> = expected.iter().flat_map(Message::frame).collect();
    let mut received = Vec::new();
    let mut buffer = Vec::new();
    for byte in stream {
        buffer.push(byte);
        while let Some((header, body, rest)) = cut(&buffer, Phase::Session).expect("no violation") {
            received.push(decode(header.kind, body).expect("no violation"));
            buffer = rest.to_vec();
        }
    }
    assert!(buffer.is_empty());
    assert_eq!(received, expected);
}

#[test]
fn a_whole_greeting_fits_the_limit_before_the_welcome() {
    for sample in samples() {
        if matches!(sample.message.kind(), Kind::Hello | Kind::Welcome | Kind::Error) {
            assert!(cut(&sample.frame, Phase::Greeting).expect(sample.name).is_some(), "{}", sample.name);
        }
    }
}

#[test]
fn a_preamble_is_told_from_its_last_byte_on_whatever_follows() {
    for sample in samples() {
        let stream = [&PREAMBLE[..], &sample.frame].concat();
        for end in 0..stream.len() {
            let expected = if end < PREAMBLE.len() { Guess::Incomplete } else { Guess::Native };
            assert_eq!(sniff(&stream[..end]), expected, "after {end} bytes");
        }
    }
}
