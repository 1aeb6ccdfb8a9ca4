//! A small WebSocket client that does what it is told, also what no client should do. Written from RFC 6455, apart from
//! the server's own code.

use super::Server;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a test waits for a server's word.
const PATIENCE: Duration = Duration::from_secs(90);

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// Says that a frame is the last one of its message.
pub const FINAL: u8 = 0x80;

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsFrame {
    /// The first byte: FINAL, reserved bits, opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// What came, with fragments put together and pings answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WsMessage {
    Text(String),
    Binary(Vec<u8>),
    /// A close frame: its code, if it has one, and its reason.
    Closed(Option<u16>, String),
    /// The end of the stream, without a close frame.
    End,
}

/// One connection, blocking.
pub struct WsClient {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// Pings that came.
    pub pings: usize,
}

/// The answer to a handshake.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// The head of a good handshake, but for its last line.
pub fn handshake(address: SocketAddr, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        address
    )
}

/// A frame as a client sends it; `first` is FINAL, reserved bits and opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    push_masked(&mut frame, payload);
    frame
}

/// Appends a mask, and the bytes under it.
pub fn push_masked(frame: &mut Vec<u8>, payload: &[u8]) {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

impl WsClient {
    /// Connects and shakes hands.
    pub fn connect(server: &Server, target: &str) -> Self {
        Self::connect_to(server.address().into(), target)
    }

    /// As [`WsClient::connect`], to another server.
    pub fn connect_to(address: SocketAddr, target: &str) -> Self {
        let (answer, client) = Self::ask(address, &format!("{}\r\n", handshake(address, target)));
        assert_eq!(answer.status, 101, "{answer:?}");
        client
    }

    /// Sends a head, and takes that of the answer.
    pub fn ask(address: SocketAddr, head: &str) -> (Answer, Self) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::with_capacity(256 * 1024, stream.try_clone().unwrap());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let text = String::from_utf8(answer).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into()));
        (Answer { status, fields: fields.collect() }, Self { stream, reader, pings: 0 })
    }

    /// Whatever comes up to the end of the stream, as text.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes while others are received: whoever says everything again waits for its listener. What cannot be sent any
    /// more, because the server has closed, is left out.
    pub fn raw_meanwhile(&self, writes: Vec<Vec<u8>>) -> JoinHandle<()> {
        let mut stream = self.stream.try_clone().unwrap();
        thread::spawn(move || drop(writes.iter().try_for_each(|bytes| stream.write_all(bytes))))
    }

    /// Sends a frame; `first` is FINAL, reserved bits and opcode.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        self.raw(&masked(first, payload)).unwrap();
    }

    pub fn text(&mut self, text: &str) {
        self.frame(FINAL | TEXT, text.as_bytes());
    }

    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(FINAL | BINARY, bytes);
    }

    pub fn close(&mut self, payload: &[u8]) {
        self.frame(FINAL | CLOSE, payload);
    }

    /// Nothing more will be sent; what comes in is still read.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub fn receive(&mut self) -> io::Result<Option<WsFrame>> {
        let Some((first, length)) = self.receive_header()? else { return Ok(None) };
        let mut payload = vec![0; length as usize];
        self.reader.read_exact(&mut payload)?;
        Ok(Some(WsFrame { first, payload }))
    }

    /// The header of the next frame, and how many bytes it announces.
    pub fn receive_header(&mut self) -> io::Result<Option<(u8, u64)>> {
        let mut header = [0; 2];
        match self.reader.read(&mut header[..1]) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            result => result?,
        };
        self.reader.read_exact(&mut header[1..])?;
        assert_eq!(header[1] & 0x80, 0, "a server masks nothing");
        let length = match header[1] {
            126 => {
                let mut length = [0; 2];
                self.reader.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.reader.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        Ok(Some((header[0], length)))
    }

    /// Reads bytes of a frame.
    pub fn receive_some(&mut self, room: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(room)
    }

    /// The next message. Pings are answered, pongs are not told.
    pub fn message(&mut self) -> WsMessage {
        let mut begun: Option<(u8, Vec<u8>)> = None;
        loop {
            let Some(WsFrame { first, payload }) = self.receive().unwrap() else { return WsMessage::End };
            assert_eq!(first & 0x70, 0, "no reserved bits");
            match first & 0xf {
                PING => {
                    self.pings += 1;
                    // The server may have closed already.
                    let _ = self.raw(&masked(FINAL | PONG, &payload));
                    continue;
                }
                PONG => continue,
                CLOSE => return closed(&payload),
                CONTINUATION => begun.as_mut().expect("a message to continue").1.extend(payload),
                opcode => {
                    assert_eq!(begun, None, "a message within a message");
                    begun = Some((opcode, payload));
                }
            }
            if first & FINAL != 0 {
                return match begun.take().unwrap() {
                    (TEXT, bytes) => WsMessage::Text(String::from_utf8(bytes).unwrap()),
                    (BINARY, bytes) => WsMessage::Binary(bytes),
                    (opcode, _) => panic!("opcode {opcode}"),
                };
            }
        }
    }

    /// The next message, which must be text.
    pub fn next_text(&mut self) -> String {
        match self.message() {
            WsMessage::Text(text) => text,
            other => panic!("not text: {other:?}"),
        }
    }

    /// The next message, which must be JSON.
    pub fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.next_text()).unwrap()
    }

    /// What comes next is a close frame of this code, and then, after it was answered, the end. Its reason.
    pub fn closed_with(&mut self, code: u16) -> String {
        match self.message() {
            WsMessage::Closed(Some(found), reason) if found == code => {
                self.end(&code.to_be_bytes());
                reason
            }
            other => panic!("not closed with {code}: {other:?}"),
        }
    }

    /// Answers a close frame; nothing may come after it.
    pub fn end(&mut self, payload: &[u8]) {
        // The server need not wait for it.
        let _ = self.raw(&masked(FINAL | CLOSE, payload));
        assert_eq!(self.receive().unwrap_or(None), None, "nothing comes after a close frame");
    }
}

fn closed(payload: &[u8]) -> WsMessage {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            WsMessage::Closed(Some(u16::from_be_bytes(*code)), String::from_utf8(reason.to_vec()).unwrap())
        }
        None => WsMessage::Closed(None, String::new()),
    }
}
