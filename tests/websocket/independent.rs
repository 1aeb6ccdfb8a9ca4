//! The crate's WebSocket with the client of another library, which has its own idea of the standard.

use super::common::websocket::push_masked;
use super::common::{Server, content, put_file};
use super::echo;
use hostdir::connection::Heartbeat;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

type Client = WebSocket<Drained>;

/// A connection that is read all the time: whoever says everything again waits for its listener, and the library does not
/// read while it writes.
struct Drained {
    stream: TcpStream,
    received: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Drained {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        let (sender, received) = channel();
        let mut reader = stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut room = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = reader.read(&mut room)
                && sender.send(room[..count].to_vec()).is_ok()
            {}
        });
        Self { stream, received, unread: Vec::new() }
    }
}

impl Read for Drained {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = self.received.recv().unwrap_or_default();
        }
        let count = self.unread.len().min(room.len());
        room[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

impl Write for Drained {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        // The thread that reads ends with it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn connect(address: SocketAddr, target: &str) -> Client {
    let stream = Drained::connect(address);
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (client, answer) =
        tungstenite::client::client_with_config(format!("ws://{address}{target}"), stream, Some(config)).unwrap();
    assert_eq!(answer.status(), 101);
    client
}

/// The next message that is not a ping, which the library answers.
fn next(client: &mut Client) -> Message {
    loop {
        match client.read().unwrap() {
            Message::Ping(_) => {}
            message => return message,
        }
    }
}

#[test]
fn what_it_sends_comes_back_in_every_size() {
    let mut client = connect(echo::start(Heartbeat::SERVER), "/");
    for size in [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20, (2 << 20) + 3] {
        let bytes = content(size as u64, size);
        client.send(Message::binary(bytes.clone())).unwrap();
        assert!(next(&mut client).into_data() == bytes, "{size} bytes");
        let text: String = "año €😀".chars().cycle().take(size.min(1 << 20)).collect();
        client.send(Message::text(text.clone())).unwrap();
        assert!(next(&mut client).into_text().unwrap().as_str() == text, "{size} characters");
    }
    client.send(Message::Ping("ping".into())).unwrap();
    assert_eq!(next(&mut client), Message::Pong("ping".into()));
    client.close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "done".into() })).unwrap();
    match client.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 4000),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn it_sees_a_broken_rule_closed_as_documented() {
    let mut client = connect(echo::start(Heartbeat::SERVER), "/");
    let mut frame = vec![0x81, 0x82];
    push_masked(&mut frame, b"\xc3(");
    client.get_mut().write_all(&frame).unwrap();
    match next(&mut client) {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1007),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_uses_both_relays_and_the_events() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let address = server.address().into();
    let (mut listener, mut receiver, mut events) =
        (connect(address, "/"), connect(address, "/receiver"), connect(address, "/ws"));
    listener.send(Message::text("subscribe:live")).unwrap();
    events.send(Message::text(r#"{"type":"subscribe","folders":["live"]}"#)).unwrap();
    assert!(next(&mut events).into_text().unwrap().contains("subscribed"));
    for client in [&mut listener, &mut receiver] {
        client.send(Message::Ping("there?".into())).unwrap();
        assert_eq!(next(client), Message::Pong("there?".into()));
    }
    let (one, two, three) = (content(1, 5 << 20), content(2, 5 << 20), content(3, 5 << 20));
    let mut a = connect(address, "/");
    a.send(Message::text(format!("message:live:x/y:one:{}", STANDARD.encode(&one)))).unwrap();
    let mut b = connect(address, "/sender");
    let mut took = |name: &str, mime: &str, bytes: &[u8]| {
        assert_eq!(next(&mut receiver).into_text().unwrap().as_str(), format!("START:{name}"));
        let mut got = Vec::new();
        loop {
            match next(&mut receiver) {
                Message::Text(end) => break assert_eq!(end.as_str(), "END"),
                piece => got.extend(piece.into_data()),
            }
        }
        assert!(got == bytes);
        assert!(
            next(&mut listener).into_text().unwrap().as_str() == format!("{mime}:{name}:{}", STANDARD.encode(bytes))
        );
        assert!(next(&mut events).into_text().unwrap().contains("arriving"));
        assert!(next(&mut events).into_text().unwrap().contains("arrived"));
    };
    took("one", "x/y", &one);
    b.send(Message::text("two.html")).unwrap();
    for piece in two.chunks(100_000) {
        b.send(Message::binary(piece.to_vec())).unwrap();
    }
    b.send(Message::binary(b"__end__".to_vec())).unwrap();
    assert_eq!(next(&mut b).into_text().unwrap().as_str(), "File transfer successful");
    took("two.html", "text/html", &two);
    let put = hostdir::wire::Put { upload: Some(super::common::upload_id(1)), ..put_file("live/three", three.len()) };
    server.client().put_asking(put, &three).unwrap().unwrap();
    took("three", "application/octet-stream", &three);
}
