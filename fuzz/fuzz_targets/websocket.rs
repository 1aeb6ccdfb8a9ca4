//! What clients send over WebSocket: frames in pieces of any size, and what the relays' messages say in them.
//!
//! The first byte chooses how long the pieces are. However the bytes are cut, the same must be heard; and what is heard must
//! be what a second, slow reading of RFC 6455 finds.
#![no_main]

use hostdir::wire::relay::{Base64Decoder, Opened, Opening};
use hostdir::wire::websocket::{Close, Failure, Inbound, Opcode, Part};
use libfuzzer_sys::fuzz_target;

/// What was heard before a rule was broken: messages, and control frames.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    messages: Vec<(bool, Vec<u8>)>,
    controls: Vec<(Opcode, Vec<u8>)>,
    failure: Option<Failure>,
}

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let heard = hear(stream, usize::from(*size) % 61 + 1);
    let at_once = hear(stream, stream.len().max(1));
    assert_eq!(heard, at_once);
    check_by_a_second_reading(stream, &heard);
    for (opcode, payload) in &heard.controls {
        assert!(payload.len() <= 125);
        if *opcode == Opcode::Close {
            check_close(payload);
        }
    }
    for (is_text, message) in &heard.messages {
        if *is_text {
            assert!(std::str::from_utf8(message).is_ok());
            check_relay(message, usize::from(*size) % 7 + 1);
        }
    }
});

fn hear(stream: &[u8], size: usize) -> Heard {
    let (mut inbound, mut heard, mut unread) = (Inbound::default(), Heard::default(), Vec::new());
    let (mut message, mut control) = (Vec::new(), None);
    for chunk in stream.chunks(size) {
        unread.extend_from_slice(chunk);
        loop {
            match step(&mut inbound, &mut unread, &mut heard, &mut message, &mut control) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    heard.failure = Some(failure);
                    return heard;
                }
            }
        }
    }
    heard
}

/// Takes a header or a piece of a payload; whether there was one.
fn step(
    inbound: &mut Inbound,
    unread: &mut Vec<u8>,
    heard: &mut Heard,
    message: &mut Vec<u8>,
    frame: &mut Option<(Opcode, Part, bool, Vec<u8>)>,
) -> Result<bool, Failure> {
    if inbound.left() == 0 {
        let Some((header, taken)) = inbound.begin(unread)? else { return Ok(false) };
        unread.drain(..taken);
        let is_text = match (header.opcode, frame.as_ref()) {
            (Opcode::Text, _) => true,
            (Opcode::Binary, _) => false,
            (_, before) => before.is_some_and(|(_, _, is_text, _)| *is_text),
        };
        *frame = Some((header.opcode, header.part, is_text, Vec::new()));
    } else {
        let count = unread.len().min(usize::try_from(inbound.left()).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(false);
        }
        let mut piece: Vec<u8> = unread.drain(..count).collect();
        inbound.payload(&mut piece)?;
        if let Some((.., payload)) = frame {
            payload.extend(piece);
        }
    }
    if inbound.left() == 0
        && let Some((opcode, part, is_text, payload)) = frame
    {
        let payload = std::mem::take(payload);
        if opcode.is_control() {
            heard.controls.push((*opcode, payload));
        } else {
            message.extend(payload);
            if *part == Part::Last {
                heard.messages.push((*is_text, std::mem::take(message)));
            }
        }
    }
    Ok(true)
}

/// Reads the stream once more, a byte at a time from the start of each frame, as RFC 6455, section 5.2, draws it.
fn check_by_a_second_reading(stream: &[u8], heard: &Heard) {
    let (mut at, mut messages, mut begun) = (0, Vec::new(), None::<(bool, Vec<u8>)>);
    while let Some((last, opcode, payload, end)) = read_frame(stream, at) {
        at = end;
        match opcode {
            0x1 | 0x2 if begun.is_none() => begun = Some((opcode == 0x1, payload)),
            0x0 if begun.is_some() => begun.as_mut().expect("begun").1.extend(payload),
            0x8..=0xa => continue,
            _ => break,
        }
        if last {
            messages.extend(begun.take());
        }
    }
    let count = heard.messages.len();
    assert!(messages.len() >= count, "a message was heard that is not there");
    assert_eq!(messages[..count], heard.messages[..]);
    if heard.failure.is_none() {
        assert_eq!(messages.len(), count, "a message was not heard");
    }
}

/// A masked frame without reserved bits at a place: whether it is the last one, its opcode, its payload, and where it ends.
fn read_frame(stream: &[u8], at: usize) -> Option<(bool, u8, Vec<u8>, usize)> {
    let (first, second) = (*stream.get(at)?, *stream.get(at + 1)?);
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return None;
    }
    let (width, length) = match second & 0x7f {
        126 => (2, number(stream.get(at + 2..at + 4)?)),
        127 => (8, number(stream.get(at + 2..at + 10)?)),
        length => (0, u64::from(length)),
    };
    let mask = stream.get(at + 2 + width..at + 6 + width)?;
    let start = at + 6 + width;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    let payload = stream.get(start..end)?.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    Some((first & 0x80 != 0, first & 0xf, payload, end))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn check_close(payload: &[u8]) {
    if let Ok(close) = Close::decode(payload) {
        assert_eq!(close.encode(), payload, "what was understood can be said again");
    }
}

/// A text message, as relay A takes it: in pieces, or at once.
fn check_relay(message: &[u8], size: usize) {
    let in_pieces = relay(message, size);
    assert_eq!(in_pieces, relay(message, message.len().max(1)));
    if let Some((Opened::Message(opened), _)) = &in_pieces {
        let head = [&b"message:"[..], &opened.topic, b":", opened.mime.as_bytes(), b":", &opened.name, b":"].concat();
        assert!(message.starts_with(&head), "an opening is what stands there");
    }
}

/// What a message opens, and the file in it if its base64 is good.
fn relay(message: &[u8], size: usize) -> Option<(Opened, Option<Vec<u8>>)> {
    let (mut opening, mut opened) = (Opening::default(), None);
    let (mut decoder, mut file, mut is_good) = (Base64Decoder::default(), Vec::new(), true);
    for piece in message.chunks(size) {
        let text = match &opened {
            Some(_) => piece,
            None => match opening.push(piece).ok()? {
                Some((message, taken)) => {
                    opened = Some(message);
                    &piece[taken..]
                }
                None => continue,
            },
        };
        is_good = is_good && decoder.push(text, &mut file).is_ok();
    }
    match opened {
        None => opening.finish().ok().map(|opened| (opened, None)),
        Some(message) => {
            let file = (is_good && decoder.finish().is_ok()).then_some(file);
            Some((Opened::Message(message), file))
        }
    }
}
