//! Requests and replies as one type, so that a test can go through all messages of both sides.

use hostdir::wire::{FRAME_HEADER, FrameHeader, Kind, Phase, Reply, Request, Violation};

/// A message of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From a client.
    Request(Request),
    /// From a server.
    Reply(Reply),
}

impl Message {
    /// The kind of its frame.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Request(request) => request.kind(),
            Self::Reply(reply) => reply.kind(),
        }
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Request(request) => request.encode(&mut bytes),
            Self::Reply(reply) => reply.encode(&mut bytes),
        }
        bytes
    }

    /// The frame's body alone.
    pub fn body(&self) -> Vec<u8> {
        self.frame().split_off(FRAME_HEADER)
    }

    /// Decodes a body as the side that this message comes from would have sent it.
    pub fn decode_same_kind(&self, body: &[u8]) -> Result<Self, Violation> {
        decode(self.kind(), body)
    }
}

/// Decodes a body of either side; the kind says which.
pub fn decode(kind: Kind, body: &[u8]) -> Result<Message, Violation> {
    match kind.byte() {
        0x00..=0x3f => Request::decode(kind, body).map(Message::Request),
        _ => Reply::decode(kind, body).map(Message::Reply),
    }
}

/// A frame at the start of some bytes: its header, its body, and what follows it.
pub type Cut<'b> = (FrameHeader, &'b [u8], &'b [u8]);

/// Cuts the first frame off `bytes`; `None` while it is incomplete.
pub fn cut(bytes: &[u8], phase: Phase) -> Result<Option<Cut<'_>>, Violation> {
    let Some(header) = FrameHeader::decode(bytes, phase)? else { return Ok(None) };
    let length = usize::try_from(header.length).expect("a u32 fits");
    Ok(bytes[FRAME_HEADER..].split_at_checked(length).map(|(body, rest)| (header, body, rest)))
}
