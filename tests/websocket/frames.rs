//! What comes in, without a socket: golden bytes, every cut, and sequences that nobody wrote down.

use super::common::websocket::{BINARY, CONTINUATION, FINAL, PING, TEXT, masked};
use hostdir::wire::websocket::{Failure, FrameHeader, Inbound, MAX_FRAME_HEADER, Opcode, Part};
use proptest::prelude::*;

/// What an owner of [`Inbound`] hears, with the pieces of each frame put together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Frame(Opcode, Part, Vec<u8>),
    Failed(Failure),
}

/// Feeds what comes in `size` bytes at a time, as a socket does.
fn feed(bytes: &[u8], size: usize) -> (Vec<Heard>, Inbound) {
    let (mut inbound, mut heard, mut unread) = (Inbound::default(), Vec::new(), Vec::new());
    for chunk in bytes.chunks(size.max(1)) {
        unread.extend_from_slice(chunk);
        loop {
            match step(&mut inbound, &mut unread, &mut heard) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    heard.push(Heard::Failed(failure));
                    return (heard, inbound);
                }
            }
        }
    }
    (heard, inbound)
}

/// Takes a header, or a piece of a payload; whether there was one.
fn step(inbound: &mut Inbound, unread: &mut Vec<u8>, heard: &mut Vec<Heard>) -> Result<bool, Failure> {
    if inbound.left() > 0 {
        let count = unread.len().min(usize::try_from(inbound.left()).unwrap_or(usize::MAX));
        let mut piece: Vec<u8> = unread.drain(..count).collect();
        let result = inbound.payload(&mut piece);
        if let Some(Heard::Frame(_, _, payload)) = heard.last_mut() {
            payload.extend(piece);
        }
        return result.map(|()| count > 0);
    }
    let Some((header, taken)) = inbound.begin(unread)? else { return Ok(false) };
    unread.drain(..taken);
    heard.push(Heard::Frame(header.opcode, header.part, Vec::new()));
    Ok(true)
}

fn whole(opcode: Opcode, payload: &[u8]) -> Heard {
    Heard::Frame(opcode, Part::Last, payload.to_vec())
}

/// RFC 6455, section 5.7, as far as a server receives it; the unmasked ones under the mask of the masked one.
const HELLO: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const PONG_HELLO: [u8; 11] = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

#[test]
fn the_examples_of_section_5_7_are_understood() {
    assert_eq!(feed(&HELLO, 99).0, [whole(Opcode::Text, b"Hello")]);
    assert_eq!(feed(&PONG_HELLO, 99).0, [whole(Opcode::Pong, b"Hello")]);
    let fragments = [masked(TEXT, b"Hel"), masked(FINAL | CONTINUATION, b"lo")].concat();
    let expected = [Heard::Frame(Opcode::Text, Part::MoreFollow, b"Hel".to_vec()), whole(Opcode::Continuation, b"lo")];
    assert_eq!(feed(&fragments, 99).0, expected);
    for size in [256, 65_536] {
        let payload = vec![7; size];
        assert_eq!(feed(&masked(FINAL | BINARY, &payload), 4096).0, [whole(Opcode::Binary, &payload)]);
    }
}

#[test]
fn a_stream_cut_anywhere_asks_for_more_and_goes_on() {
    let text = "año €😀".as_bytes();
    let frames =
        [masked(TEXT, &text[..2]), masked(FINAL | PING, b"p"), masked(FINAL | CONTINUATION, &text[2..])].concat();
    let (expected, _) = feed(&frames, frames.len());
    assert_eq!(expected.len(), 3);
    for size in 1..frames.len() {
        assert_eq!(feed(&frames, size).0, expected, "{size} bytes at a time");
    }
    for end in 0..frames.len() {
        let (heard, inbound) = feed(&frames[..end], 1);
        assert!(!heard.iter().any(|heard| matches!(heard, Heard::Failed(_))), "cut at {end}");
        assert!(heard.len() < 3 || inbound.left() > 0 || end == frames.len());
    }
}

#[test]
fn what_is_left_of_a_message_is_known_where_its_last_frame_has_begun() {
    let mut inbound = Inbound::default();
    assert_eq!(inbound.left_of_message(), Some(0));
    inbound.begin(&masked(TEXT, b"ab")).unwrap();
    assert_eq!((inbound.left_of_message(), inbound.left(), inbound.is_in_message()), (None, 2, true));
    inbound.payload(&mut masked(TEXT, b"ab")[6..]).unwrap();
    assert_eq!((inbound.left_of_message(), inbound.is_in_message()), (None, true));
    let last = masked(FINAL | CONTINUATION, &[b'a'; 300]);
    assert_eq!(inbound.begin(&last[..8]).unwrap().map(|(_, taken)| taken), Some(8));
    assert_eq!(inbound.left_of_message(), Some(300));
    inbound.payload(&mut last[8..].to_vec()).unwrap();
    assert_eq!((inbound.left_of_message(), inbound.is_in_message()), (Some(0), false));
}

#[test]
fn a_header_that_is_encoded_is_the_one_that_clients_read() {
    for (length, bytes) in [(0_u64, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 40, 10)] {
        let mut output = Vec::new();
        FrameHeader { opcode: Opcode::Binary, part: Part::MoreFollow, length }.encode(&mut output);
        assert_eq!((output.len(), output[0], output[1] & 0x80), (bytes, BINARY, 0), "{length}");
        assert!(output.len() + 4 <= MAX_FRAME_HEADER);
    }
}

/// A frame that a client may send at any time, or one that breaks a rule, and perhaps only where it stands.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..9),
        "[a-zé€😀]{0,5}".prop_map(String::into_bytes),
        Just(vec![b'x'; 126]),
    ];
    let first = prop_oneof![
        9 => (any::<bool>(), 0..3_u8).prop_map(|(last, opcode)| if last { FINAL | opcode } else { opcode }),
        3 => Just(FINAL | PING),
        1 => any::<u8>(),
    ];
    (first, payload).prop_map(|(first, payload)| masked(first, &payload))
}

proptest! {
    #[test]
    fn any_cuts_of_any_frames_are_heard_alike(
        frames in proptest::collection::vec(frame(), 0..8),
        tail: Vec<u8>,
        size in 1..20_usize,
    ) {
        let stream = [frames.concat(), tail].concat();
        let joined = |size: usize| feed(&stream, size).0;
        let (one, other) = (joined(size), joined(stream.len()));
        // What failed may have been heard of in part before it did.
        let failed = |heard: &[Heard]| heard.iter().find(|heard| matches!(heard, Heard::Failed(_))).cloned();
        prop_assert_eq!(failed(&one), failed(&other));
        if failed(&one).is_none() {
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn messages_come_out_as_they_went_in(
        messages in proptest::collection::vec((any::<bool>(), "\\PC{0,40}", 1..7_usize), 0..5),
        size in 1..64_usize,
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (is_text, text, fragment) in &messages {
            let opcode = if *is_text { TEXT } else { BINARY };
            let mut first = opcode;
            for piece in text.as_bytes().chunks(*fragment) {
                stream.extend(masked(std::mem::take(&mut first), piece));
                stream.extend(masked(FINAL | PING, b""));
            }
            stream.extend(masked(FINAL | first, b""));
            expected.push(text.as_bytes().to_vec());
        }
        let (heard, inbound) = feed(&stream, size);
        prop_assert!(!inbound.is_in_message());
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut begun = Vec::new();
        for heard in heard {
            match heard {
                Heard::Frame(opcode, part, payload) if !opcode.is_control() => {
                    begun.extend(payload);
                    if part == Part::Last {
                        found.push(std::mem::take(&mut begun));
                    }
                }
                Heard::Frame(..) => {}
                Heard::Failed(failure) => panic!("{failure}"),
            }
        }
        prop_assert_eq!(found, expected);
    }
}
