//! Relay A: text messages `subscribe:TOPIC` and `message:TOPIC:MIME:NAME:BASE64`; a subscriber gets `MIME:NAME:BASE64`.

use super::base64::{Decoding, Encoding};
use super::intake::Intake;
use super::outgoing::{Listener, Outgoing};
use super::{Guest, refused, too_large};
use crate::connection::Event;
use crate::error::{Error, Result};
use crate::server::get::send_unchanged;
use crate::server::record::Via;
use crate::store::Arrival;
use crate::wire::relay::{Message, Opened, Opening, RelayRefusal, base64_says, head_of_file};
use crate::wire::websocket::MessageKind;
use crate::wire::{ErrorCode, RemotePath};

/// Bytes read at a time of what stands before the base64.
const OPENING: usize = 1024;

/// Serves a client of relay A to its end.
pub(in crate::server::web) fn serve(guest: &mut Guest<'_>) -> Result<()> {
    while let Some(kind) = guest.socket.next_message()? {
        guest.check_goes_on()?;
        if kind == MessageKind::Binary {
            return Err(refused(RelayRefusal::Unknown));
        }
        match open(guest)? {
            (Opened::Subscribe(topic), _) => return listen(guest, RemotePath::parse(&topic)?),
            (Opened::Message(message), text) => take_file(guest, message, text)?,
        }
    }
    Ok(())
}

/// What the message that began is about, and what of its base64 was read with that.
fn open(guest: &mut Guest<'_>) -> Result<(Opened, Vec<u8>)> {
    let (mut opening, mut room) = (Opening::default(), [0; OPENING]);
    loop {
        let count = guest.socket.read(&mut room)?;
        let bytes = room.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return opening.finish().map(|opened| (opened, Vec::new())).map_err(refused);
        }
        if let Some((message, taken)) = opening.push(bytes).map_err(refused)? {
            return Ok((Opened::Message(message), bytes.get(taken..).unwrap_or_default().to_vec()));
        }
    }
}

/// Takes the file that a message brings.
fn take_file(guest: &mut Guest<'_>, message: Message, text: Vec<u8>) -> Result<()> {
    let Message { topic, mime, name } = message;
    let left = guest.socket.left_of_message().map(|left| left.saturating_add(text.len() as u64));
    let expected = left.map_or(u64::MAX, base64_says);
    // What is announced to be too large need not come first; two characters may say nothing.
    if left.is_some() && expected.saturating_sub(2) > guest.max_size() {
        return Err(too_large(guest.max_size()));
    }
    let intake = Intake::begin(guest, Via::RelayA, &[topic, name].join(&b'/'))?;
    let mut file = Decoding::new(&mut guest.socket, text);
    let whole = intake.take(guest.shared, &mut file, expected)?;
    whole.store(guest, Some(mime))
}

/// Sends what arrives in a topic, until the client or the server goes.
fn listen(guest: &mut Guest<'_>, topic: RemotePath) -> Result<()> {
    let mut listener = Listener::begin(guest, topic)?;
    loop {
        listener.looks();
        let arrivals = listener.arrivals(guest.shared)?;
        for arrival in &arrivals {
            guest.check_goes_on()?;
            send_file(guest, arrival)?;
            guest.socket.keep_alive()?;
        }
        if !arrivals.is_empty() {
            continue;
        }
        match guest.socket.wait(listener.descriptor())? {
            Event::Message(_) => return Err(Error::refused(ErrorCode::Protocol, "who subscribes only listens")),
            Event::Closed => return Ok(()),
            Event::Other => {}
            Event::Quiet => guest.socket.ping()?,
        }
    }
}

fn send_file(guest: &mut Guest<'_>, arrival: &Arrival) -> Result<()> {
    let Some((outgoing, open)) = Outgoing::open(guest, Via::RelayA, arrival) else { return Ok(()) };
    let mime = guest.shared.mimes.of(arrival);
    let mut message = Encoding::new(&mut guest.socket, head_of_file(&mime, arrival.path.name()));
    let sent = send_unchanged(&mut message, &open, 0, open.state.size, &outgoing.progress());
    // A file that changed meanwhile leaves its message without an end, so nobody takes it for a whole one.
    let sent = sent.and_then(|()| message.finish());
    outgoing.end(guest, sent)
}
