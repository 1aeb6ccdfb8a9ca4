//! Who asks by HTTP (WEB.md, section 2): a token in `Authorization`, a ticket or a token in the address, or nobody in
//! particular.

use super::super::recognise::{self, Shown};
use super::exchange::{Answered, Exchange};
use super::response::{Problem, Response};
use super::upgrade;
use crate::access::{Caller, GOOD_FOR, Purpose};
use crate::error::{Error, Result};
use crate::wire::http::{Head, Method, percent_decode};
use crate::wire::{ErrorCode, Right, Token};

/// What anybody may have who is let in nowhere else: a page that can ask for a token, and whether the server is well.
const OPEN: [&str; 2] = ["/", "/healthz"];
/// The addresses below which a ticket for a download is good.
const DOWNLOADS: [&str; 2] = ["/files/", "/tar/"];

/// Finds out who asks, and lets the exchange know.
pub(super) fn identify(exchange: &mut Exchange<'_>, upgrade: Option<upgrade::Purpose>) -> Answered {
    if upgrade.is_none() && OPEN.contains(&exchange.head.target.path()) {
        return Ok(());
    }
    let (shared, live) = (exchange.shared, exchange.live);
    live.check_revoked()?;
    let (shown, found) = find(exchange, upgrade)?;
    exchange.caller = recognise::admit(shared, live, shown, found)?;
    exchange.stream.limit(shared.rates.share(live, &exchange.caller));
    match upgrade {
        Some(purpose) => Ok(may_upgrade(&exchange.caller, purpose)?),
        None => Ok(()),
    }
}

fn find(
    exchange: &Exchange<'_>,
    upgrade: Option<upgrade::Purpose>,
) -> std::result::Result<(Shown, Result<Caller>), Problem> {
    let (head, access) = (exchange.head, &exchange.shared.access);
    if let Some(field) = head.fields.sole("authorization")? {
        let token = bearer(field).ok_or_else(unknown);
        return Ok((Shown::Something, token.and_then(|token| access.caller(Some(&token)))));
    }
    if let Some((purpose, path)) = ticket_for(head, upgrade)?
        && let Some(ticket) = head.target.parameter("ticket")?
    {
        return Ok((Shown::Something, access.caller_with_ticket(&ticket, purpose, &path)));
    }
    let is_relay = upgrade.is_some_and(|purpose| purpose != upgrade::Purpose::Events);
    match head.target.parameter("token")?.filter(|_| is_relay) {
        Some(token) => {
            let token = Token::new(&token).ok_or_else(unknown);
            Ok((Shown::Something, token.and_then(|token| access.caller(Some(&token)))))
        }
        None => Ok((Shown::Nothing, access.caller(None))),
    }
}

/// What a ticket must be for, to be good here.
fn ticket_for(
    head: &Head,
    upgrade: Option<upgrade::Purpose>,
) -> std::result::Result<Option<(Purpose, Vec<u8>)>, Problem> {
    match upgrade {
        Some(upgrade::Purpose::Events) => return Ok(Some((Purpose::Events, Vec::new()))),
        Some(_) => return Ok(Some((Purpose::Relay, Vec::new()))),
        None => {}
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        return Ok(None);
    }
    let below = DOWNLOADS.iter().find_map(|prefix| head.target.path().strip_prefix(prefix));
    Ok(below.map(percent_decode).transpose()?.map(|path| (Purpose::Download, path)))
}

/// RFC 6750, section 2.1; the name of the scheme in any case.
fn bearer(field: &str) -> Option<Token> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token::new(token.trim_matches(' ').as_bytes())).flatten()
}

/// What a WebSocket needs. What it is told of or sends is compared with the folders of whoever speaks there.
fn may_upgrade(caller: &Caller, purpose: upgrade::Purpose) -> Result<()> {
    match purpose {
        upgrade::Purpose::Events | upgrade::Purpose::Receiver => caller.may_speak(Right::Subscribe.into()),
        upgrade::Purpose::Sender => caller.may_speak(Right::Publish | Right::Add),
        upgrade::Purpose::RelayA => caller.may_speak(Right::Subscribe | Right::Publish | Right::Add),
    }
}

/// Answers `GET /api/ticket`: a ticket for whoever asks, or none where they have no token and so need none.
pub(super) fn ticket(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    let target = &exchange.head.target;
    let purpose = target.parameter("for")?.and_then(|name| Purpose::parse(&name));
    let wrong = "the parameter for is none of download, events and relay";
    let purpose = purpose.ok_or_else(|| Problem::new(400, ErrorCode::Protocol, wrong))?;
    let path = target.parameter("path")?.filter(|_| purpose == Purpose::Download).unwrap_or_default();
    let ticket = exchange.shared.access.ticket(&exchange.caller, purpose, &path);
    let body = serde_json::json!({ "ticket": ticket, "seconds": GOOD_FOR });
    Ok(exchange.respond_json(Response::new(200).field("Cache-Control", "no-store"), &body)?)
}

fn unknown() -> Error {
    Error::refused(ErrorCode::Unauthorized, "this is no token: Authorization holds Bearer and a token")
}
