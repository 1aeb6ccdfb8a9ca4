//! What happens in folders, as JSON over WebSocket (WEB.md, section 9): the events of SUBSCRIBE in other words.

use super::upgrade::Guest;
use crate::connection::{Event, WebSocket};
use crate::error::{Error, Result};
use crate::server::subscribe::Subscription;
use crate::wire::http::{self, percent_encode};
use crate::wire::websocket::{Failure, MessageKind};
use crate::wire::{Arrived, ErrorCode, Fault, JournalId, RawBytes, Reply, Subscribe};
use serde_json::{Map, Value, json};

/// Longest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// After so many events a client is listened to, also if there are more.
const TOLD_AT_A_TIME: usize = 64;

/// Tells a client what happens in the folders that it names, until it or the server goes.
pub(super) fn serve(guest: &mut Guest<'_>) -> Result<()> {
    let mut subscription: Option<Subscription> = None;
    loop {
        match next(guest, subscription.as_mut())? {
            Event::Message(kind) => {
                let subscribe = read_subscribe(&mut guest.socket, kind)?;
                subscription = begin(guest, &subscribe)?;
            }
            Event::Closed => return Ok(()),
            Event::Other => {}
            Event::Quiet => {
                if let Some(position) = subscription.as_mut().and_then(Subscription::position_if_news) {
                    send(&mut guest.socket, &position)?;
                }
                guest.socket.ping()?;
            }
        }
    }
}

/// Tells what happened, and waits for more of it, or for the client.
fn next(guest: &mut Guest<'_>, subscription: Option<&mut Subscription>) -> Result<Event> {
    let Guest { socket, shared, .. } = guest;
    let Some(subscription) = subscription else {
        return Ok(socket.next_message()?.map_or(Event::Closed, Event::Message));
    };
    subscription.looks();
    let mut told = 0_usize;
    subscription.tell(&shared.store, &mut |event| {
        told = told.wrapping_add(1);
        if told.is_multiple_of(TOLD_AT_A_TIME) {
            socket.keep_alive()?;
        }
        send(socket, event)
    })?;
    socket.wait(subscription.descriptor())
}

/// Begins to follow; nothing is followed after a refusal, which the client is told.
fn begin(guest: &mut Guest<'_>, subscribe: &Subscribe) -> Result<Option<Subscription>> {
    let Guest { socket, shared, live, caller } = guest;
    let begun = Subscription::begin(shared, live.peer, caller, subscribe, &mut |event| send(socket, event));
    let asked = subscribe.folders.iter().map(|folder| folder.0.as_slice()).collect::<Vec<_>>().join(&b',');
    match guest.asked("subscribe", &asked).note(begun) {
        Ok(subscription) => Ok(Some(subscription)),
        Err(error @ (Error::Refused { .. } | Error::Local { .. })) => {
            send(&mut guest.socket, &Reply::Error(error.to_fault())).map(|()| None)
        }
        Err(error) => Err(error),
    }
}

fn read_subscribe(socket: &mut WebSocket, kind: MessageKind) -> Result<Subscribe> {
    if kind == MessageKind::Binary {
        return Err(Failure::Binary.into());
    }
    let (mut text, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut room)?;
        if count == 0 {
            break;
        }
        text.extend_from_slice(room.get(..count).unwrap_or_default());
        if text.len() > MAX_MESSAGE {
            return Err(Error::refused(ErrorCode::TooLarge, format!("a message of more than {MAX_MESSAGE} bytes")));
        }
    }
    let wrong = || Error::refused(ErrorCode::Protocol, "not a subscribe as WEB.md, section 9, has it");
    serde_json::from_slice(&text).ok().as_ref().and_then(parse).ok_or_else(wrong)
}

/// What a message asks for. Fields that are not known are ignored.
fn parse(message: &Value) -> Option<Subscribe> {
    let message = message.as_object().filter(|message| message.get("type").is_some_and(|kind| kind == "subscribe"))?;
    let folder = |folder: &Value| folder.as_str().map(|folder| RawBytes::from(folder.as_bytes()));
    let folders = message.get("folders")?.as_array()?.iter().map(folder).collect::<Option<_>>()?;
    let after = optional(message, "after", Value::as_u64)?;
    let journal = optional(message, "journal", |journal| parse_journal(journal.as_str()?))?;
    // A number says nothing without its journal.
    let is_a_cursor = after.is_none_or(|after| after == 0) || journal.is_some();
    is_a_cursor.then_some(Subscribe { folders, after, journal, subscriber: None })
}

/// `Some(None)` for a field that is not there, `None` for one that is not what it should be.
fn optional<T>(message: &Map<String, Value>, name: &str, parse: impl FnOnce(&Value) -> Option<T>) -> Option<Option<T>> {
    match message.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => parse(value).map(Some),
    }
}

fn parse_journal(text: &str) -> Option<JournalId> {
    let is_hexadecimal = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hexadecimal)?;
    Some(JournalId(number.to_be_bytes()))
}

fn send(socket: &mut WebSocket, event: &Reply) -> Result<()> {
    socket.queue(MessageKind::Text, to_json(event).to_string().as_bytes())
}

/// An event in the words of this protocol.
fn to_json(event: &Reply) -> Value {
    match event {
        Reply::Subscribed(it) => json!({
            "type": "subscribed", "journal": it.journal.to_string(), "oldest": it.oldest, "after": it.after,
        }),
        Reply::Arriving(it) => with(
            json!({"type": "arriving", "live": it.live.to_string(), "path": text(&it.path), "href": href(&it.path)}),
            [("size", it.size.map(Value::from))],
        ),
        Reply::Arrived(it) => arrived(it),
        Reply::Abandoned(it) => json!({
            "type": "abandoned", "live": it.live.to_string(), "path": text(&it.path), "href": href(&it.path),
        }),
        Reply::Gap(it) => with(json!({"type": "gap", "after": it.after}), [("missed", it.missed.map(Value::from))]),
        Reply::Position(it) => json!({"type": "position", "after": it.after}),
        Reply::Error(fault) => error(fault),
        // A subscription has no other events.
        _ => json!({"type": "unknown"}),
    }
}

fn arrived(it: &Arrived) -> Value {
    let event = json!({
        "type": "arrived",
        "number": it.number,
        "path": text(&it.path),
        "href": href(&it.path),
        "size": it.size,
        "digest": it.digest.to_string(),
        "modified": seconds(it.modified),
        "time": seconds(it.time),
    });
    let live = it.live.map(|live| live.to_string().into());
    with(event, [("live", live), ("publisher", it.publisher.clone().map(Value::from))])
}

fn error(fault: &Fault) -> Value {
    json!({"type": "error", "code": fault.code.name(), "detail": fault.message})
}

/// With the fields that are there.
fn with<const N: usize>(mut event: Value, fields: [(&str, Option<Value>); N]) -> Value {
    if let Some(event) = event.as_object_mut() {
        event.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    event
}

fn href(path: &[u8]) -> String {
    format!("/files/{}", percent_encode(path))
}

/// Seconds since the epoch, as near as a number of JSON can say it.
fn seconds(nanoseconds: i64) -> Option<f64> {
    http::seconds(nanoseconds).parse().ok()
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
