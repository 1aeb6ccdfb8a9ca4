//! One line of `transfers.log`, understood: the fields that a report asks for, borrowed from the line.
//!
//! Owns the names of the fields (docs/OPERATING.md). Knows nothing of files or of what is counted.

use crate::logging::logfmt;
use jiff::Timestamp;
use std::borrow::Cow;

/// What a report reads; a line that ends within one of these words is damaged, and not of another event.
const EVENTS: [&str; 4] = ["download", "upload", "received", "dropped"];

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A transfer that ended.
    Transfer(Transfer<'a>),
    /// A receiver's word on an arrival.
    Received(Received<'a>),
    /// At this time, so many lines had been lost.
    Dropped(Timestamp, u64),
    /// Something that no report asks for.
    Other,
}

/// A transfer that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer<'a> {
    pub(super) time: Timestamp,
    pub(super) direction: Direction,
    pub(super) id: Cow<'a, str>,
    /// Its address, without the port.
    pub(super) client: &'a str,
    pub(super) via: Cow<'a, str>,
    /// Escaped, as it stands in the log.
    pub(super) path: Cow<'a, str>,
    pub(super) size: u64,
    pub(super) offset: u64,
    /// Bytes that were moved.
    pub(super) bytes: u64,
    pub(super) ms: u64,
    pub(super) status: Status,
    pub(super) cause: Option<Cow<'a, str>>,
    /// The number of the arrival that an upload is.
    pub(super) arrival: Option<u64>,
    /// How many followed its folder then.
    pub(super) followers: u64,
}

/// A receiver's word on an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub(super) time: Timestamp,
    pub(super) arrival: u64,
    pub(super) client: &'a str,
    pub(super) subscriber: Cow<'a, str>,
    pub(super) path: Option<Cow<'a, str>>,
    pub(super) status: Status,
    pub(super) cause: Option<Cow<'a, str>>,
}

/// Which way a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Download,
    Upload,
}

/// How a transfer ended. Sorted as in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Status {
    Ok,
    Sent,
    Aborted,
    Incomplete,
    Failed,
    Refused,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

impl Status {
    const ALL: [Self; 6] = [Self::Ok, Self::Sent, Self::Aborted, Self::Incomplete, Self::Failed, Self::Refused];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Sent => "sent",
            Self::Aborted => "aborted",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Whether the file went where it was to go, as far as that can be known.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Sent)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// The fields of a line, as they stand there.
#[derive(Default)]
struct Fields<'a> {
    time: Option<Timestamp>,
    event: Cow<'a, str>,
    id: Cow<'a, str>,
    client: Cow<'a, str>,
    via: Cow<'a, str>,
    path: Option<Cow<'a, str>>,
    subscriber: Cow<'a, str>,
    status: Option<Status>,
    cause: Option<Cow<'a, str>>,
    size: Option<u64>,
    offset: Option<u64>,
    bytes: Option<u64>,
    ms: Option<u64>,
    arrival: Option<u64>,
    followers: Option<u64>,
    lines: Option<u64>,
}

/// Reads a line, given without its line end; `None` if it is damaged: torn, changed, or not a line of this log at all.
pub(super) fn parse(line: &str) -> Option<Entry<'_>> {
    let mut fields = Fields::default();
    for pair in logfmt::pairs(line) {
        let (key, value) = pair.ok()?;
        fields.take(key, value)?;
    }
    match &*fields.event {
        "download" => fields.transfer(Direction::Download).map(Entry::Transfer),
        "upload" => fields.transfer(Direction::Upload).map(Entry::Transfer),
        "received" => fields.received().map(Entry::Received),
        "dropped" => Some(Entry::Dropped(fields.time?, fields.lines?)),
        torn if EVENTS.iter().any(|event| event.starts_with(torn)) => None,
        _ => fields.time.map(|_| Entry::Other),
    }
}

impl<'a> Fields<'a> {
    /// `None` if the value is not what the key demands.
    fn take(&mut self, key: &str, value: Cow<'a, str>) -> Option<()> {
        match key {
            "time" => self.time = Some(value.parse().ok()?),
            "event" => self.event = value,
            "id" => self.id = value,
            "client" => self.client = value,
            "via" => self.via = value,
            "path" => self.path = Some(value),
            "subscriber" => self.subscriber = value,
            "status" => self.status = Some(Status::parse(&value)?),
            "cause" => self.cause = Some(value),
            "size" => self.size = Some(number(&value)?),
            "offset" => self.offset = Some(number(&value)?),
            "bytes" => self.bytes = Some(number(&value)?),
            "ms" => self.ms = Some(number(&value)?),
            "arrival" => self.arrival = Some(number(&value)?),
            "followers" => self.followers = Some(number(&value)?),
            "lines" => self.lines = Some(number(&value)?),
            _ => {}
        }
        Some(())
    }

    fn transfer(self, direction: Direction) -> Option<Transfer<'a>> {
        Some(Transfer {
            time: self.time?,
            direction,
            id: self.id,
            client: address(self.client)?,
            via: self.via,
            path: self.path?,
            size: self.size?,
            offset: self.offset?,
            bytes: self.bytes?,
            ms: self.ms?,
            status: self.status?,
            cause: self.cause,
            arrival: self.arrival,
            followers: self.followers.unwrap_or(0),
        })
    }

    fn received(self) -> Option<Received<'a>> {
        Some(Received {
            time: self.time?,
            arrival: self.arrival?,
            client: address(self.client)?,
            subscriber: self.subscriber,
            path: self.path,
            status: self.status?,
            cause: self.cause,
        })
    }
}

/// Digits only: the standard library would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `192.168.1.34` of `192.168.1.34:51824`, `fe80::1` of `[fe80::1%2]:51824`. No address has a quote in it.
fn address(client: Cow<'_, str>) -> Option<&str> {
    let Cow::Borrowed(client) = client else { return None };
    let (address, _) = client.rsplit_once(':')?;
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    let (address, _) = address.split_once('%').unwrap_or((address, ""));
    (!address.is_empty()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "time=2026-11-20T14:03:21.482Z level=warn event=download id=7f3b client=192.168.1.40:50012 \
                        via=native path=\"a \\\"b\\\".iso\" size=20 offset=8 bytes=7 ms=61210 status=incomplete \
                        cause=\"connection lost\"";

    #[test]
    fn a_line_of_the_manual_is_understood() {
        let Some(Entry::Transfer(transfer)) = parse(LINE) else { panic!("no transfer") };
        assert_eq!((transfer.direction, transfer.status), (Direction::Download, Status::Incomplete));
        assert_eq!((transfer.client, &*transfer.path), ("192.168.1.40", "a \"b\".iso"));
        assert_eq!((transfer.size, transfer.offset, transfer.bytes, transfer.ms), (20, 8, 7, 61_210));
        assert_eq!(transfer.cause.as_deref(), Some("connection lost"));
    }

    #[test]
    fn every_line_that_is_cut_short_is_damaged() {
        let needed = LINE.find(" cause=").unwrap();
        for (end, _) in LINE.char_indices() {
            // Whole up to its status, a line lacks nothing that is counted.
            assert_eq!(parse(&LINE[..end]).is_some(), end == needed, "{}", &LINE[..end]);
        }
    }

    #[test]
    fn what_is_not_what_its_key_demands_is_damaged() {
        for (good, bad) in [
            ("size=20", "size=+20"),
            ("size=20", "size=-1"),
            ("size=20", "size=99999999999999999999"),
            ("status=incomplete", "status=ok2"),
            ("time=2026", "time=20260"),
            ("client=192.168.1.40:50012", "client=nobody"),
            ("client=192.168.1.40:50012", "client=:1"),
            (" path", " paths"),
        ] {
            assert_eq!(parse(&LINE.replace(good, bad)), None, "{bad}");
        }
    }

    #[test]
    fn addresses_are_told_without_their_ports() {
        for (client, told) in
            [("10.0.0.1:9", "10.0.0.1"), ("[fe80::1%2]:9", "fe80::1"), ("[2001:db8::5]:9", "2001:db8::5")]
        {
            assert_eq!(address(Cow::Borrowed(client)), Some(told));
        }
    }

    #[test]
    fn other_events_are_passed_over() {
        assert_eq!(parse("time=2026-11-20T14:03:21.482Z level=info event=later"), Some(Entry::Other));
        let dropped = "time=2026-11-20T14:03:21.482Z level=warn event=dropped lines=12";
        assert_eq!(parse(dropped), Some(Entry::Dropped("2026-11-20T14:03:21.482Z".parse().unwrap(), 12)));
        assert_eq!(parse(""), None);
    }
}
