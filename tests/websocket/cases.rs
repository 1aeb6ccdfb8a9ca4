//! What a conformance suite asks of a server, as a table: the groups are those of the Autobahn test suite, which runs
//! beside it where it can be had (`autobahn`); the cases were written down from RFC 6455.

use super::common::websocket::{BINARY, CLOSE, CONTINUATION, FINAL, PING, PONG, TEXT, masked, push_masked};

/// One case: what is sent, in as many writes, and what must come of it.
pub struct Case {
    pub name: String,
    pub writes: Vec<Vec<u8>>,
    pub expected: Vec<Expected>,
    pub asked_of: AskedOf,
}

/// Whom a case can be asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedOf {
    /// Somebody who says everything again.
    Echo,
    /// Whoever takes text without looking at it before it is whole: `/ws` too.
    TakersOfText,
    /// Everybody: what breaks a rule is the first frame, or follows control frames only.
    Everybody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A whole message of this opcode.
    Message(u8, Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame of this code, and the end.
    Close(u16),
    /// A close frame without a code, and the end.
    CloseWithoutCode,
}

use AskedOf::{Echo, Everybody, TakersOfText};
use Expected::{Close, CloseWithoutCode, Message, Pong};

fn text(payload: &[u8]) -> Vec<u8> {
    masked(FINAL | TEXT, payload)
}

fn ping(payload: &[u8]) -> Vec<u8> {
    masked(FINAL | PING, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(FINAL | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

fn bytewise(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(1).map(<[u8]>::to_vec).collect()
}

fn echoed(payload: &[u8]) -> Expected {
    Message(TEXT, payload.to_vec())
}

/// The frames of one message, each byte of it in a frame of its own.
fn in_bytes(opcode: u8, payload: &[u8]) -> Vec<Vec<u8>> {
    let last = payload.len().saturating_sub(1);
    let frame = |(index, byte): (usize, &u8)| {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        masked(if index == last { FINAL | opcode } else { opcode }, &[*byte])
    };
    payload.iter().enumerate().map(frame).collect()
}

struct Table(Vec<Case>);

impl Table {
    fn add(&mut self, name: impl Into<String>, asked_of: AskedOf, writes: Vec<Vec<u8>>, expected: Vec<Expected>) {
        self.0.push(Case { name: name.into(), writes, expected, asked_of });
    }

    /// What breaks a rule by its first frame, by itself, and after a message that must still be answered.
    fn add_violation(&mut self, name: &str, frames: &[Vec<u8>], code: u16) {
        self.add(name, Everybody, frames.to_vec(), vec![Close(code)]);
        let after = [vec![text(b"good")], frames.to_vec(), vec![ping(b"never answered")]].concat();
        self.add(format!("{name}, after a message"), Echo, after, vec![echoed(b"good"), Close(code)]);
    }
}

pub fn all() -> Vec<Case> {
    let mut table = Table(Vec::new());
    framing(&mut table);
    pings(&mut table);
    reserved(&mut table);
    fragments(&mut table);
    utf8(&mut table);
    closing(&mut table);
    headers(&mut table);
    table.0
}

/// Group 1, and the sizes of group 9.
fn framing(table: &mut Table) {
    for opcode in [TEXT, BINARY] {
        for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20, 4 << 20] {
            let payload = vec![if opcode == TEXT { b'*' } else { 0xfe }; size];
            let frame = masked(FINAL | opcode, &payload);
            let expected = vec![Message(opcode, payload.clone())];
            table.add(format!("1: opcode {opcode} of {size}"), Echo, vec![frame.clone()], expected.clone());
            if size <= 65_537 {
                let chopped = frame.chunks(997).map(<[u8]>::to_vec).collect();
                table.add(format!("1: opcode {opcode} of {size}, chopped"), Echo, chopped, expected.clone());
            }
            for fragment in [64, 4096, 65_536].into_iter().filter(|fragment| size / fragment < 5000 && size > *fragment)
            {
                let mut frames: Vec<u8> = Vec::new();
                for (index, chunk) in payload.chunks(fragment).enumerate() {
                    frames.extend(masked(if index == 0 { opcode } else { CONTINUATION }, chunk));
                }
                frames.extend(masked(FINAL | CONTINUATION, b""));
                let name = format!("9: opcode {opcode} of {size} in fragments of {fragment}");
                table.add(name, Echo, vec![frames], expected.clone());
            }
        }
    }
}

/// Group 2.
fn pings(table: &mut Table) {
    let payloads: [&[u8]; 4] = [b"", b"Hello, world!", &[0x00, 0xff, 0xfe, 0xfd], &[0xfe; 125]];
    for payload in payloads {
        let expected = vec![Pong(payload.to_vec())];
        table.add(format!("2: ping of {}", payload.len()), Everybody, vec![ping(payload)], expected.clone());
        table.add(format!("2: ping of {}, chopped", payload.len()), Everybody, bytewise(&ping(payload)), expected);
    }
    table.add_violation("2: ping of 126", &[ping(&[0xfe; 126])], 1002);
    let unasked = [masked(FINAL | PONG, b""), masked(FINAL | PONG, b"unasked"), ping(b"asked")];
    table.add("2: pongs that nobody asked for", Everybody, unasked.to_vec(), vec![Pong(b"asked".to_vec())]);
    let ten: Vec<Vec<u8>> = (0..10).map(|number: u8| vec![b'0' + number]).collect();
    let pongs: Vec<Expected> = ten.iter().cloned().map(Pong).collect();
    let frames: Vec<u8> = ten.iter().flat_map(|payload| ping(payload)).collect();
    table.add("2: ten pings at once", Everybody, vec![frames.clone()], pongs.clone());
    table.add("2: ten pings, chopped", Everybody, bytewise(&frames), pongs);
}

/// Groups 3 and 4.
fn reserved(table: &mut Table) {
    for bits in 1..8_u8 {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            let frame = masked(FINAL | bits << 4 | opcode, b"");
            table.add_violation(&format!("3: reserved bits {bits} with opcode {opcode}"), &[frame], 1002);
        }
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        for payload in [&b""[..], b"payload"] {
            let frame = masked(FINAL | opcode, payload);
            table.add_violation(&format!("4: opcode {opcode}, {} bytes", payload.len()), &[frame], 1002);
        }
    }
}

/// Group 5.
fn fragments(table: &mut Table) {
    for opcode in [PING, PONG, CLOSE] {
        let frames = [masked(opcode, b""), masked(FINAL | CONTINUATION, b"")];
        table.add_violation(&format!("5: opcode {opcode} in fragments"), &frames, 1002);
    }
    let (one, two) = (masked(TEXT, b"fragment1 "), masked(FINAL | CONTINUATION, b"fragment2"));
    let both = || echoed(b"fragment1 fragment2");
    table.add("5: two fragments", Echo, vec![one.clone(), two.clone()], vec![both()]);
    table.add("5: two fragments, chopped", Echo, bytewise(&[one.clone(), two.clone()].concat()), vec![both()]);
    let with_ping = vec![one.clone(), ping(b"between"), two.clone()];
    let expected = vec![Pong(b"between".to_vec()), both()];
    table.add("5: a ping between fragments", Echo, with_ping.clone(), expected.clone());
    table.add("5: a ping between fragments, chopped", Echo, bytewise(&with_ping.concat()), expected);
    for last in [FINAL, 0] {
        let nothing = [masked(last | CONTINUATION, b"of nothing"), text(b"Hello")];
        table.add_violation(&format!("5: a continuation of nothing, final {last:#x}"), &nothing, 1002);
    }
    let frames = vec![one.clone(), two.clone(), masked(CONTINUATION, b"of nothing"), text(b"Hello")];
    table.add("5: a continuation after the last one", Echo, frames, vec![both(), Close(1002)]);
    for opcode in [TEXT, BINARY] {
        let frames = vec![one.clone(), masked(FINAL | opcode, b"another")];
        table.add(format!("5: opcode {opcode} within a message"), TakersOfText, frames, vec![Close(1002)]);
    }
    let mut frames = vec![masked(TEXT, b"a")];
    let mut expected = Vec::new();
    for number in 0..5_u8 {
        frames.extend([masked(CONTINUATION, b""), ping(&[number]), masked(CONTINUATION, b"b")]);
        expected.push(Pong(vec![number]));
    }
    frames.push(masked(FINAL | CONTINUATION, b""));
    expected.push(echoed(b"abbbbb"));
    table.add("5: pings among empty fragments", Echo, frames, expected);
}

/// Group 6.
fn utf8(table: &mut Table) {
    let good: [&[u8]; 10] = [
        "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
        "κόσμε".as_bytes(),
        b"\x00",
        b"\x7f",
        b"\xc2\x80\xdf\xbf",
        b"\xe0\xa0\x80\xed\x9f\xbf",
        b"\xee\x80\x80\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf",
        b"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
        b"\xf0\x9f\xbf\xbe\xf0\x9f\xbf\xbf",
        b"a\xcc\x80",
    ];
    for payload in good {
        let name = format!("6: {}", payload.escape_ascii());
        table.add(name.clone(), Echo, vec![text(payload)], vec![echoed(payload)]);
        table.add(format!("{name}, each byte a frame"), Echo, in_bytes(TEXT, payload), vec![echoed(payload)]);
    }
    let bad: [&[u8]; 24] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xfe",
        b"\xff",
        b"\xc2",
        b"\xe1\xbd",
        b"\xf0\x9f\x98",
        b"\xc2 \xc2",
        b"fine up to the end \xe2\x82",
    ];
    for payload in bad {
        let name = format!("6: {}", payload.escape_ascii());
        table.add(name.clone(), TakersOfText, vec![text(payload)], vec![Close(1007)]);
        table.add(format!("{name}, each byte a frame"), TakersOfText, in_bytes(TEXT, payload), vec![Close(1007)]);
    }
    // What cannot become good is refused before the message is whole.
    for (start, wrong) in [("κόσμε", &b"\xf4\x90"[..]), ("", b"\xed\xa0"), ("a", b"\xff"), ("a", b"\xe2(")] {
        let frames = vec![masked(TEXT, start.as_bytes()), masked(CONTINUATION, wrong)];
        table.add(format!("6: fails at {}", wrong.escape_ascii()), TakersOfText, frames, vec![Close(1007)]);
        let mut within = vec![TEXT, 0x80 | 126, 0x10, 0x00];
        push_masked(&mut within, &[start.as_bytes(), wrong].concat());
        let name = format!("6: fails at {} within a frame", wrong.escape_ascii());
        table.add(name, TakersOfText, vec![within], vec![Close(1007)]);
    }
}

/// Group 7.
fn closing(table: &mut Table) {
    let done = || close(1000, b"");
    table.add("7: a message, then the end", Echo, vec![text(b"Hello"), done()], vec![echoed(b"Hello"), Close(1000)]);
    for (what, after) in
        [("close", done()), ("ping", ping(b"late")), ("text", text(b"late")), ("rubbish", vec![0xff; 9])]
    {
        table.add(format!("7: {what} after the end"), Everybody, vec![done(), after], vec![Close(1000)]);
    }
    let within = vec![masked(TEXT, b"fragment1"), done(), masked(FINAL | CONTINUATION, b"fragment2")];
    table.add("7: the end within a message", TakersOfText, within, vec![Close(1000)]);
    table.add("7: the end without a code", Everybody, vec![masked(FINAL | CLOSE, b"")], vec![CloseWithoutCode]);
    table.add_violation("7: the end with half a code", &[masked(FINAL | CLOSE, b"\x03")], 1002);
    table.add("7: a reason", Everybody, vec![close(1000, "¡adiós!".as_bytes())], vec![Close(1000)]);
    table.add("7: a long reason", Everybody, vec![close(1000, &[b'*'; 123])], vec![Close(1000)]);
    table.add_violation("7: too long a reason", &[close(1000, &[b'*'; 124])], 1002);
    table.add_violation("7: a reason that is no text", &[close(1000, b"\xce\xba\xed\xa0\x80")], 1007);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        table.add(format!("7: code {code}"), Everybody, vec![close(code, b"")], vec![Close(code)]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        table.add_violation(&format!("7: code {code}"), &[close(code, b"")], 1002);
    }
}

/// What the suite does not ask: masks and lengths.
fn headers(table: &mut Table) {
    table.add_violation("a frame without a mask", &[vec![FINAL | TEXT, 5, b'H', b'e', b'l', b'l', b'o']], 1002);
    table.add_violation("a ping without a mask", &[vec![FINAL | PING, 0]], 1002);
    let of_length = |bits: u8, length: &[u8], payload: &[u8]| {
        let mut frame = [&[FINAL | TEXT, 0x80 | bits][..], length].concat();
        push_masked(&mut frame, payload);
        frame
    };
    table.add_violation("5 in 16 bits", &[of_length(126, &[0, 5], b"Hello")], 1002);
    table.add_violation("125 in 16 bits", &[of_length(126, &[0, 125], &[b'a'; 125])], 1002);
    table.add_violation("5 in 64 bits", &[of_length(127, &5_u64.to_be_bytes(), b"Hello")], 1002);
    table.add_violation("65535 in 64 bits", &[of_length(127, &65_535_u64.to_be_bytes(), &[b'a'; 9])], 1002);
    table.add_violation("2^63", &[of_length(127, &(1_u64 << 63).to_be_bytes(), b"")], 1002);
    table.add_violation("2^64-1", &[of_length(127, &u64::MAX.to_be_bytes(), b"")], 1002);
    let control = vec![FINAL | PING, 0x80 | 126, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    table.add_violation("a control frame with its length in 16 bits", &[control], 1002);
}
