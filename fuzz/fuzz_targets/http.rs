//! Heads of HTTP, what their fields come to, and chunked bodies.
//!
//! A head must be found and understood in the same way however its bytes come, and whatever is accepted must leave no doubt
//! where it ends and what follows. A body must decode to the same bytes however they come. The first byte chooses.
#![no_main]

use hostdir::wire::http::{
    Access, ChunkPlace, Framing, Head, HeadScan, HttpVersion, MAX_HEAD, Validators, Wanted, attachment, chunk_head,
    content_range, evaluate, parse_digest, parse_live_id, parse_number, parse_seconds, percent_decode, percent_encode,
    range_counts, seconds, trailer_length, wanted,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    match choice % 3 {
        0 => check_head(input),
        1 => check_body(input),
        _ => check_values(&String::from_utf8_lossy(input)),
    }
});

fn check_head(input: &[u8]) {
    let found = HeadScan::default().find(input);
    let mut scan = HeadScan::default();
    // At most one more byte than the search looks at: anything after that changes nothing.
    let seen = input.len().min(MAX_HEAD + 1);
    let stepwise = (0..=seen).map(|end| scan.find(&input[..end])).find(|found| !matches!(found, Ok(None)));
    assert_eq!(stepwise.unwrap_or(Ok(None)), found);
    let Ok(Some(length)) = found else { return };
    assert!(length <= MAX_HEAD && input[..length].ends_with(b"\r\n\r\n"));
    let Ok(head) = Head::parse(&input[..length]) else { return };
    assert!(Head::parse(&input[..length - 2]).is_err(), "a head that is not all there is none");
    assert!(head.target.path().starts_with('/') || head.target.path() == "*");
    assert!(head.version == HttpVersion::Http10 || head.authority.is_some());
    let (lengths, codings) = (head.fields.all("content-length").count(), head.fields.all("transfer-encoding").count());
    assert!(lengths + codings <= 1, "one statement about the length at most");
    match head.framing {
        Framing::Chunked => assert_eq!(codings, 1),
        Framing::Length(length) => assert!(lengths == 1 && length > 0 && length <= i64::MAX as u64),
        Framing::None => assert_eq!(codings, 0),
    }
    let _ = (head.keeps_alive(), head.expectation(), head.is_websocket_upgrade());
    let _ = (percent_decode(head.target.path()), head.target.parameter("path"));
    let current =
        Validators { tag: "a".into(), modified: "Sun, 06 Nov 1994 08:49:37 GMT".parse().ok(), is_date_weak: false };
    for access in [Access::Reads, Access::Writes] {
        let _ = (evaluate(&head.fields, access, Some(&current)), evaluate(&head.fields, access, None));
    }
    let _ = range_counts(&head.fields, &current);
}

fn check_body(input: &[u8]) {
    let Some((step, body)) = input.split_first() else { return };
    let step = usize::from(*step).max(1);
    assert_eq!(decode(body, step), decode(body, body.len().max(1)), "in steps of {step}");
}

/// What a reader makes of a body that comes in steps: its bytes and how many it took up; `None` if it is broken or not whole.
fn decode(body: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
    let (mut decoded, mut at, mut place, mut end) = (Vec::new(), 0, ChunkPlace::First, step.min(body.len()));
    loop {
        match chunk_head(&body[at..end], place).ok()? {
            None if end == body.len() => return None,
            None => end = (end + step).min(body.len()),
            Some((length, 0)) => {
                at += length;
                break;
            }
            Some((length, size)) => {
                let size = usize::try_from(size).ok()?;
                at += length;
                decoded.extend_from_slice(body.get(at..at.checked_add(size)?)?);
                (at, place) = (at + size, ChunkPlace::Next);
                end = end.max(at);
            }
        }
    }
    loop {
        match trailer_length(&body[at..end]).ok()? {
            None if end == body.len() => return None,
            None => end = (end + step).min(body.len()),
            Some(length) => return Some((decoded, at + length)),
        }
    }
}

fn check_values(text: &str) {
    for size in [0, 1, 10, u64::MAX] {
        if let Wanted::Part { offset, length } = wanted(text, size) {
            assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= size));
        }
    }
    if let Some(sent) = content_range(text) {
        assert!(sent.offset <= sent.size);
    }
    assert_eq!(percent_decode(&percent_encode(text.as_bytes())).as_deref(), Ok(text.as_bytes()));
    assert!(attachment(text.as_bytes()).bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
    if let Ok(nanoseconds) = parse_seconds(text) {
        assert_eq!(parse_seconds(&seconds(nanoseconds)), Ok(nanoseconds));
    }
    let _ = (parse_digest(text), parse_live_id(text.as_bytes()), parse_number(text.as_bytes()));
}
