//! The examples: what each step says against its bytes, and the session as a whole against the rules of the document.

use crate::cbor::unhex;
use crate::document::{Side, Step, fenced, steps};
use crate::message::{Message, cut, decode};
use crate::notation;
use hostdir::wire::{Digest, Gap, Kind, LiveId, PREAMBLE, Phase, Position, Reply, Request, Right};
use std::collections::HashSet;

/// A step, decoded.
enum Meaning {
    Preamble,
    Data(Vec<u8>),
    Message(Message),
}

fn meaning(step: &Step, phase: Phase) -> Meaning {
    if step.bytes == PREAMBLE {
        return Meaning::Preamble;
    }
    let frame = cut(&step.bytes, phase).unwrap_or_else(|violation| panic!("{}: {violation}", step.text));
    let (header, body, rest) = frame.unwrap_or_else(|| panic!("{}: bytes are missing", step.text));
    assert!(rest.is_empty(), "{}: bytes are left over", step.text);
    if header.kind == Kind::Data {
        return Meaning::Data(body.to_vec());
    }
    let message = decode(header.kind, body).unwrap_or_else(|violation| panic!("{}: {violation}", step.text));
    let from_client = matches!(message, Message::Request(_));
    assert_eq!(from_client, step.side == Side::Client, "{}: the wrong side sends it", step.text);
    Meaning::Message(message)
}

#[test]
fn each_step_means_what_its_line_says_and_encodes_to_its_bytes() {
    for step in steps() {
        let (said, again) = match meaning(&step, Phase::Session) {
            Meaning::Preamble => ("preamble".to_owned(), PREAMBLE.to_vec()),
            Meaning::Data(bytes) => (format!("DATA {}", notation::bytes(&bytes)), step.bytes.clone()),
            Meaning::Message(message) => (notation::from_code(&message), message.frame()),
        };
        assert_eq!(said, step.text);
        assert_eq!(again, step.bytes, "{}", step.text);
    }
}

#[test]
fn each_step_means_the_same_by_the_tables_of_the_document() {
    for step in steps() {
        if let Meaning::Message(message) = meaning(&step, Phase::Session) {
            assert_eq!(notation::from_tables(message.kind(), &message.body()), step.text);
        }
    }
}

/// The steps of each session: the client's preamble begins one.
fn sessions() -> Vec<Vec<Step>> {
    let mut sessions: Vec<Vec<Step>> = Vec::new();
    for step in steps() {
        if step.side == Side::Client && step.bytes == PREAMBLE {
            sessions.push(Vec::new());
        }
        sessions.last_mut().expect("a client begins").push(step);
    }
    sessions
}

#[test]
fn each_side_begins_with_the_preamble_and_its_greeting() {
    let sessions = sessions();
    assert_eq!(sessions.len(), 2);
    for (session, side, greeting) in sessions
        .iter()
        .flat_map(|session| [(session, Side::Client, Kind::Hello), (session, Side::Server, Kind::Welcome)])
    {
        let of_side: Vec<&Step> = session.iter().filter(|step| step.side == side).collect();
        assert!(matches!(meaning(of_side[0], Phase::Greeting), Meaning::Preamble));
        let Meaning::Message(message) = meaning(of_side[1], Phase::Greeting) else { panic!("{}", of_side[1].text) };
        assert_eq!(message.kind(), greeting);
        let again = of_side[1..].iter().filter(|step| step.bytes == PREAMBLE).count();
        assert_eq!(again, 0, "a preamble comes once");
    }
}

#[test]
fn a_session_has_a_token_and_the_rights_that_it_gives() {
    let with_token = sessions().pop().expect("the last one");
    let found = with_token.iter().find_map(|step| match meaning(step, Phase::Session) {
        Meaning::Message(Message::Request(Request::Hello(hello))) => hello.token,
        _ => None,
    });
    let token = found.expect("a token in HELLO");
    assert!(token.secret().starts_with(b"hd_") && token.secret().len() == 55);
    let rights = with_token.iter().find_map(|step| match meaning(step, Phase::Session) {
        Meaning::Message(Message::Reply(Reply::Welcome(welcome))) => welcome.rights,
        _ => None,
    });
    assert_eq!(rights, Some(Right::Read | Right::Add));
}

#[test]
fn every_kind_occurs_in_the_session() {
    let occurring: HashSet<String> =
        steps().iter().filter_map(|step| step.text.split(' ').next()).map(str::to_owned).collect();
    for byte in 0..=u8::MAX {
        if let Ok(kind) = Kind::from_byte(byte)
            && !matches!(kind, Kind::Ignorable(_))
        {
            assert!(occurring.contains(&notation::name(kind)), "{kind:?}");
        }
    }
}

#[test]
fn the_preamble_of_section_1_is_that_of_the_code() {
    let lines = fenced("text");
    let line = lines.iter().find(|line| line.contains("\"hostdir\"")).expect("the preamble of section 1");
    let (bytes, _) = line.split_once("    ").filter(|(bytes, _)| !bytes.is_empty()).expect("bytes and their meaning");
    assert_eq!(unhex(bytes), PREAMBLE);
}

/// What a reader of the session would check by hand: lengths add up, digests are those of the bytes, an offer is taken.
#[derive(Default)]
struct Reader {
    content: Vec<u8>,
    downloads: usize,
    uploads: usize,
    due: u64,
    kept: Vec<u8>,
    waiting: Vec<Kind>,
    /// Up to which arrival was told; `None` while nothing is followed.
    told: Option<u64>,
    is_following: bool,
    /// The upload that is fetched as it comes.
    live: Option<LiveId>,
    /// Arrivals that the client has.
    received: Vec<u64>,
}

#[test]
fn the_session_adds_up() {
    let mut reader = Reader::default();
    for step in steps() {
        match meaning(&step, Phase::Session) {
            Meaning::Preamble => {}
            Meaning::Data(bytes) => reader.content.extend(bytes),
            Meaning::Message(Message::Request(request)) => reader.request(&request, step.text),
            Meaning::Message(Message::Reply(reply)) => reader.reply(&reply, step.text),
        }
    }
    assert_eq!(reader.waiting, [], "requests without an answer");
    assert_eq!((reader.downloads, reader.uploads), (3, 3), "whole transfers");
}

impl Reader {
    fn request(&mut self, request: &Request, text: &str) {
        if std::mem::take(&mut self.is_following) {
            self.waiting.push(Kind::Subscribe);
        }
        match request {
            Request::Subscribe(subscribe) => {
                assert!(self.told.is_none() || subscribe.after == self.told, "{text}");
                self.told = subscribe.after;
                self.waiting.push(Kind::Subscribe);
            }
            Request::Receivers(receivers) => {
                assert!(receivers.wait <= 60, "{text}");
                self.waiting.push(Kind::Receivers);
            }
            Request::Hello(_) | Request::List(_) | Request::Ping => self.waiting.push(request.kind()),
            Request::Get(_) | Request::Put(_) => {
                self.waiting.push(request.kind());
                if let Request::Get(get) = request {
                    assert!(get.live.is_none() || get.live == self.live, "{text}: an upload that was not announced");
                }
                if let Request::Put(put) = request {
                    self.due = put.size.expect(text);
                    self.content.clear();
                }
            }
            Request::Begin(begin) => self.content = self.kept.get(..begin.offset as usize).expect(text).to_vec(),
            Request::Finish(finish) => {
                assert_eq!(self.content.len() as u64, self.due, "{text}");
                assert_eq!(finish.digest, digest(&self.content), "{text}");
            }
            Request::Abandon(abandon) => {
                assert!(abandon.keep, "{text}");
                self.kept = b"milk, ".to_vec();
                assert!(self.content.starts_with(&self.kept), "{text}");
            }
            Request::Receipt(receipt) => self.received.extend(receipt.number),
        }
    }

    fn reply(&mut self, reply: &Reply, text: &str) {
        let answered: &[Kind] = match reply {
            Reply::Welcome(_) => &[Kind::Hello],
            Reply::Listed(_) => &[Kind::List],
            Reply::End(_) => &[Kind::Get],
            Reply::Stored(_) => &[Kind::Put],
            Reply::Error(_) => &[Kind::Get, Kind::Put],
            Reply::Pong => &[Kind::Ping],
            Reply::Subscribed(_) | Reply::Paused(_) => &[Kind::Subscribe],
            Reply::Received(_) => &[Kind::Receivers],
            Reply::Entries(_) | Reply::File(_) | Reply::Live(_) | Reply::Offer(_) | Reply::Wait => &[],
            Reply::Arriving(_) | Reply::Arrived(_) | Reply::Abandoned(_) | Reply::Gap(_) | Reply::Position(_) => {
                assert!(self.is_following, "{text} while nobody follows");
                &[]
            }
        };
        if !answered.is_empty() {
            assert!(answered.contains(&self.waiting.remove(0)), "{text} answers another request");
        }
        match reply {
            Reply::File(file) => {
                self.content.truncate(file.offset as usize);
                assert_eq!(self.content.len() as u64, file.offset, "{text}");
                assert_eq!(file.offset + file.length, file.size, "{text}");
                self.due = file.size;
            }
            Reply::End(end) => {
                assert_eq!(self.content.len() as u64, self.due, "{text}");
                assert_eq!(end.digest, Some(digest(&self.content)), "{text}");
                self.downloads += 1;
            }
            Reply::Offer(offer) => {
                assert_eq!(offer.offset as usize, self.kept.len(), "{text}");
                assert_eq!(offer.digest, (offer.offset > 0).then(|| digest(&self.kept)), "{text}");
            }
            Reply::Stored(_) => self.uploads += 1,
            Reply::Live(live) => {
                self.content.truncate(live.offset as usize);
                self.due = live.size.expect(text);
            }
            Reply::Subscribed(subscribed) => {
                assert_eq!(Some(subscribed.after), self.told, "{text}");
                self.is_following = true;
            }
            Reply::Arriving(arriving) => self.live = Some(arriving.live),
            Reply::Abandoned(abandoned) => assert_ne!(Some(abandoned.live), self.live, "{text}"),
            Reply::Arrived(arrived) => {
                assert!(Some(arrived.number) > self.told, "{text}");
                let is_fetched = arrived.digest == digest(&self.content) && arrived.size == self.content.len() as u64;
                assert_eq!(is_fetched, self.received.contains(&arrived.number), "{text}");
                self.told = Some(arrived.number);
            }
            Reply::Gap(Gap { after, .. }) | Reply::Position(Position { after }) => self.told = Some(*after),
            Reply::Paused(position) => assert_eq!(Some(position.after), self.told, "{text}"),
            _ => {}
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(blake3::hash(bytes).into())
}
