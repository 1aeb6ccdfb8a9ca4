//! A stream of bytes, cut into frames and decoded as either side would, through the greeting and after it.
//!
//! The first byte chooses the side and whether the greeting is over. Frames are checked against their limits, and
//! whatever is accepted must come out of another round unchanged.
#![no_main]

use hostdir::wire::{FRAME_HEADER, FrameHeader, Kind, MAX_CONTROL, MAX_CONTROL_BEFORE_WELCOME, MAX_DATA, Phase};
use hostdir::wire::{Reply, Request};
use libfuzzer_sys::fuzz_target;

#[derive(Clone, Copy)]
enum Receiver {
    Server,
    Client,
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut stream)) = input.split_first() else { return };
    let receiver = if choice & 1 == 0 { Receiver::Server } else { Receiver::Client };
    let mut phase = if choice & 2 == 0 { Phase::Greeting } else { Phase::Session };
    while let Ok(Some(header)) = FrameHeader::decode(stream, phase) {
        check_header(header, stream, phase);
        let Some((body, rest)) = stream[FRAME_HEADER..].split_at_checked(header.length as usize) else { break };
        stream = rest;
        if header.kind == Kind::Data || header.kind.is_ignorable() {
            continue;
        }
        let accepted = match receiver {
            Receiver::Server => check_request(header.kind, body),
            Receiver::Client => check_reply(header.kind, body),
        };
        if !accepted {
            break;
        }
        if matches!(header.kind, Kind::Hello | Kind::Welcome) {
            phase = Phase::Session;
        }
    }
});

fn check_header(header: FrameHeader, stream: &[u8], phase: Phase) {
    assert_eq!(header.encode(), stream[..FRAME_HEADER]);
    let limit = match (header.kind, phase) {
        (Kind::Data, _) => MAX_DATA,
        (_, Phase::Greeting) => MAX_CONTROL_BEFORE_WELCOME,
        (_, Phase::Session) => MAX_CONTROL,
    };
    assert!(header.length <= limit);
    assert!(header.kind != Kind::Data || (header.length > 0 && phase == Phase::Session));
    for end in 0..FRAME_HEADER {
        assert_eq!(FrameHeader::decode(&stream[..end], phase), Ok(None));
    }
}

fn check_request(kind: Kind, body: &[u8]) -> bool {
    let Ok(request) = Request::decode(kind, body) else { return false };
    let mut frame = Vec::new();
    request.encode(&mut frame);
    assert_eq!(Request::decode(kind, check_frame(kind, &frame)), Ok(request));
    true
}

fn check_reply(kind: Kind, body: &[u8]) -> bool {
    let Ok(reply) = Reply::decode(kind, body) else { return false };
    let mut frame = Vec::new();
    reply.encode(&mut frame);
    assert_eq!(Reply::decode(kind, check_frame(kind, &frame)), Ok(reply));
    true
}

/// The body of a frame that was just encoded; its header must be right.
fn check_frame(kind: Kind, frame: &[u8]) -> &[u8] {
    let header = FrameHeader::decode(frame, Phase::Session).expect("what was accepted can be sent");
    let header = header.expect("a whole header");
    assert_eq!(header.kind, kind);
    let body = &frame[FRAME_HEADER..];
    assert_eq!(body.len(), header.length as usize);
    body
}
