//! Messages in the notation of PROTOCOL.md, section 15: `NAME {field: value, …}`. Written twice over, from what the
//! code decoded and from the bytes with the names that the document's tables give, so that the two hold each other.

use crate::document::field_rows;
use crate::message::Message;
use hostdir::wire::{Entry, Kind, Reply, Request};
use minicbor::Decoder;
use minicbor::data::Type;

/// The name of a kind in the document.
pub fn name(kind: Kind) -> String {
    format!("{kind:?}").to_uppercase()
}

/// What the code made of a message.
pub fn from_code(message: &Message) -> String {
    let mut fields = Fields::default();
    match message {
        Message::Request(request) => describe_request(request, &mut fields),
        Message::Reply(reply) => describe_reply(reply, &mut fields),
    }
    fields.written(message.kind())
}

/// What a body's bytes are, by the tables of the document.
pub fn from_tables(kind: Kind, body: &[u8]) -> String {
    let rows = field_rows();
    let mut fields = Fields::default();
    let mut decoder = Decoder::new(body);
    let count = decoder.map().expect("a map").expect("of definite length");
    for _ in 0..count {
        let key = decoder.u8().expect("a key");
        let row = rows.iter().find(|row| row.message == name(kind) && row.key == key);
        let row = row.unwrap_or_else(|| panic!("{} has no field {key} in the tables", name(kind)));
        fields.push(row.name, value(&mut decoder));
    }
    fields.written(kind)
}

/// Bytes: `'printable'` or `h'hexadecimal'`.
pub fn bytes(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte) && !br"'\".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return format!("'{}'", bytes.escape_ascii());
    }
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("h'{hexadecimal}'")
}

fn value(decoder: &mut Decoder<'_>) -> String {
    match decoder.datatype().expect("a value") {
        Type::Bytes => bytes(decoder.bytes().expect("bytes")),
        Type::String => format!("\"{}\"", decoder.str().expect("text")),
        Type::Bool => decoder.bool().expect("a bool").to_string(),
        Type::Array => {
            let count = decoder.array().expect("an array").expect("of definite length");
            let items: Vec<String> = (0..count).map(|_| value(decoder)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => decoder.int().expect("an integer").to_string(),
    }
}

#[derive(Default)]
struct Fields(Vec<String>);

impl Fields {
    fn push(&mut self, name: &str, value: impl ToString) {
        self.0.push(format!("{name}: {}", value.to_string()));
    }

    fn push_if_some(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    fn push_unless_default<T: Default + PartialEq + ToString>(&mut self, name: &str, value: T) {
        if value != T::default() {
            self.push(name, value);
        }
    }

    fn push_bytes(&mut self, name: &str, value: &[u8]) {
        self.push(name, bytes(value));
    }

    fn push_text(&mut self, name: &str, value: Option<&String>) {
        self.push_if_some(name, value.map(|text| format!("\"{text}\"")));
    }

    fn written(self, kind: Kind) -> String {
        format!("{} {{{}}}", name(kind), self.0.join(", "))
    }
}

fn describe_request(request: &Request, fields: &mut Fields) {
    match request {
        Request::Hello(hello) => {
            fields.push("min version", hello.min_version);
            fields.push("max version", hello.max_version);
            fields.push_text("agent", hello.agent.as_ref());
            fields.push_if_some("token", hello.token.as_ref().map(|token| bytes(token.secret())));
        }
        Request::List(list) => {
            fields.push_if_some("path", (!list.path.is_empty()).then(|| bytes(&list.path)));
            fields.push_unless_default("recursive", list.recursive);
            fields.push_if_some("limit", list.limit);
        }
        Request::Get(get) => {
            fields.push_bytes("path", &get.path);
            fields.push_unless_default("offset", get.offset);
            fields.push_if_some("length", get.length);
            fields.push_if_some("version", get.version.as_ref().map(|version| bytes(version.as_bytes())));
            fields.push_if_some("digest", get.digest);
            fields.push_if_some("live", get.live.map(|live| bytes(&live.0)));
        }
        Request::Receipt(receipt) => {
            fields.push("transfer", receipt.transfer.0);
            fields.push("outcome", receipt.outcome as u8);
            fields.push_if_some("number", receipt.number);
            fields.push_if_some("subscriber", receipt.subscriber.map(|subscriber| bytes(&subscriber.0)));
        }
        Request::Put(put) => {
            fields.push_bytes("path", &put.path);
            fields.push_unless_default("kind", put.kind as u8);
            fields.push_if_some("size", put.size);
            fields.push_if_some("modified", put.modified);
            fields.push_unless_default("on conflict", put.on_conflict as u8);
            fields.push_if_some("upload", put.upload.map(|upload| bytes(&upload.0)));
            fields.push_if_some("digest", put.digest.map(|digest| bytes(&digest.0)));
            fields.push_unless_default("ask", put.ask);
        }
        Request::Begin(begin) => fields.push_unless_default("offset", begin.offset),
        Request::Finish(finish) => fields.push_bytes("digest", &finish.digest.0),
        Request::Abandon(abandon) => fields.push_unless_default("keep", abandon.keep),
        Request::Ping => {}
        Request::Subscribe(subscribe) => {
            let folders: Vec<String> = subscribe.folders.iter().map(|folder| bytes(folder)).collect();
            fields.push("folders", format!("[{}]", folders.join(", ")));
            fields.push_if_some("after", subscribe.after);
            fields.push_if_some("journal", subscribe.journal.map(|journal| bytes(&journal.0)));
            fields.push_if_some("subscriber", subscribe.subscriber.map(|subscriber| bytes(&subscriber.0)));
        }
        Request::Receivers(receivers) => {
            fields.push("number", receivers.number);
            fields.push_unless_default("wait", receivers.wait);
        }
    }
}

fn describe_reply(reply: &Reply, fields: &mut Fields) {
    match reply {
        Reply::Welcome(welcome) => {
            fields.push("version", welcome.version);
            fields.push_text("agent", welcome.agent.as_ref());
            fields.push_text("name", welcome.name.as_ref());
            fields.push_unless_default("read only", welcome.read_only);
            fields.push_unless_default("overwrite", welcome.overwrite);
            fields.push_if_some("max file size", welcome.max_file_size);
            fields.push_if_some("rights", welcome.rights.map(|rights| rights.bits()));
        }
        Reply::Entries(page) => {
            fields.push_if_some("folder", (!page.folder.is_empty()).then(|| bytes(&page.folder)));
            let entries: Vec<String> = page.entries.iter().map(entry).collect();
            fields.push("entries", format!("[{}]", entries.join(", ")));
        }
        Reply::Listed(listed) => {
            fields.push_unless_default("entries", listed.entries);
            fields.push_unless_default("skipped", listed.skipped);
            fields.push_unless_default("unreadable", listed.unreadable);
            fields.push_unless_default("truncated", listed.truncated);
        }
        Reply::File(file) => {
            fields.push("transfer", file.transfer.0);
            fields.push("size", file.size);
            fields.push("modified", file.modified);
            fields.push_bytes("version", file.version.as_bytes());
            fields.push_unless_default("offset", file.offset);
            fields.push("length", file.length);
        }
        Reply::End(end) => {
            fields.push_if_some("digest", end.digest.map(|digest| bytes(&digest.0)));
            fields.push_if_some("path", end.path.as_ref().map(|path| bytes(path)));
            fields.push_if_some("number", end.number);
        }
        Reply::Live(live) => {
            fields.push("transfer", live.transfer.0);
            fields.push_if_some("size", live.size);
            fields.push_if_some("modified", live.modified);
            fields.push_bytes("version", live.version.as_bytes());
            fields.push_unless_default("offset", live.offset);
        }
        Reply::Offer(offer) => {
            fields.push("transfer", offer.transfer.0);
            fields.push_unless_default("offset", offer.offset);
            fields.push_if_some("digest", offer.digest.map(|digest| bytes(&digest.0)));
        }
        Reply::Stored(stored) => {
            fields.push("transfer", stored.transfer.0);
            fields.push_bytes("path", &stored.path);
            fields.push("outcome", stored.outcome as u8);
            fields.push_if_some("number", stored.number);
        }
        Reply::Error(fault) => {
            fields.push("code", fault.code.number());
            fields.push_text("message", fault.message.as_ref());
        }
        Reply::Pong | Reply::Wait => {}
        event => describe_event(event, fields),
    }
}

fn describe_event(event: &Reply, fields: &mut Fields) {
    match event {
        Reply::Received(received) => {
            let receivers = received.receivers.iter().map(|it| format!("[\"{}\", {}]", it.name, it.state as u8));
            fields.push("receivers", format!("[{}]", receivers.collect::<Vec<_>>().join(", ")));
            fields.push_unless_default("more", received.more);
        }
        Reply::Subscribed(subscribed) => {
            fields.push_bytes("journal", &subscribed.journal.0);
            fields.push("oldest", subscribed.oldest);
            fields.push("after", subscribed.after);
        }
        Reply::Arriving(arriving) => {
            fields.push_bytes("live", &arriving.live.0);
            fields.push_bytes("path", &arriving.path);
            fields.push_if_some("size", arriving.size);
        }
        Reply::Arrived(arrived) => {
            fields.push("number", arrived.number);
            fields.push_bytes("path", &arrived.path);
            fields.push("size", arrived.size);
            fields.push_bytes("digest", &arrived.digest.0);
            fields.push("modified", arrived.modified);
            fields.push("time", arrived.time);
            fields.push_if_some("live", arrived.live.map(|live| bytes(&live.0)));
            fields.push_text("publisher", arrived.publisher.as_ref());
        }
        Reply::Abandoned(abandoned) => {
            fields.push_bytes("live", &abandoned.live.0);
            fields.push_bytes("path", &abandoned.path);
        }
        Reply::Gap(gap) => {
            fields.push("after", gap.after);
            fields.push_if_some("missed", gap.missed);
        }
        Reply::Position(position) | Reply::Paused(position) => fields.push("after", position.after),
        other => panic!("{other:?} is no event"),
    }
}

fn entry(entry: &Entry) -> String {
    format!("[{}, {}, {}, {}]", bytes(&entry.name), entry.kind as u8, entry.size, entry.modified)
}
