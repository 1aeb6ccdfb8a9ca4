//! An arrival as a subscriber sees it: parsed, and in a topic that it asked for.

use crate::error::Result;
use crate::wire::{Arrived, Digest, LiveId, RemoteFolder, RemotePath, Violation};

/// The number of an arrival, in one run of numbers: those of another journal, or of one that was put back, mean nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) run: u64,
    pub(super) value: u64,
}

/// A file that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Its number; `None` if it is one of a journal that is no longer followed.
    pub(super) number: Option<Number>,
    pub(super) path: RemotePath,
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// Modification time, where it is known.
    pub(super) modified: Option<i64>,
    pub(super) live: Option<LiveId>,
    /// Who sent it; hostile like any name.
    pub(super) publisher: Option<String>,
    /// Attempts that failed.
    pub(super) attempts: u32,
}

impl Arrival {
    /// Parses ARRIVED of a run of numbers; `None` if no file can have its name.
    pub(super) fn parse(arrived: Arrived, run: u64, topics: &[RemoteFolder]) -> Result<Option<Self>> {
        let Some(path) = path(&arrived.path, topics)? else { return Ok(None) };
        let Arrived { number, size, digest, modified, live, publisher, .. } = arrived;
        Ok(Some(Self {
            number: Some(Number { run, value: number }),
            path,
            size,
            digest,
            modified: Some(modified),
            live,
            publisher,
            attempts: 0,
        }))
    }
}

/// The path of an event; `None` if it is none. A server that could name others could choose what is downloaded.
pub(super) fn path(bytes: &[u8], topics: &[RemoteFolder]) -> Result<Option<RemotePath>> {
    let Ok(path) = RemotePath::parse(bytes) else { return Ok(None) };
    let is_below = |topic: &RemoteFolder| {
        let topic = topic.as_bytes();
        topic.is_empty() || path.as_bytes().strip_prefix(topic).is_some_and(|rest| rest.starts_with(b"/"))
    };
    if topics.iter().any(is_below) {
        Ok(Some(path))
    } else {
        Err(Violation::Contradiction("an event of a folder that was not asked for").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_a_topic_is_taken() {
        let topics = [RemoteFolder::parse(b"chat").unwrap()];
        assert!(path(b"chat/a/b", &topics).unwrap().is_some());
        assert!(path(b"chat/../x", &topics).unwrap().is_none());
        for other in [&b"chat"[..], b"chats/a", b"a"] {
            assert!(path(other, &topics).is_err(), "{other:?}");
        }
        assert!(path(b"a", &[RemoteFolder::ROOT]).unwrap().is_some());
    }
}
