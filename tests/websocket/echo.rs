//! Servers in the test's own process, over the crate's WebSocket: one that says everything again, a piece at a time, so that
//! a conformance test can choose the messages; and one that always has something to say.

use hostdir::connection::{Deadlines, Event, Heartbeat, More, Stream, WebSocket};
use hostdir::error::{Error, Result};
use hostdir::wire::Violation;
use hostdir::wire::http::{Head, HeadScan};
use hostdir::wire::websocket::{Close, CloseCode, MessageKind, Part, accept};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// What a server does with a client.
type Service = fn(&mut WebSocket) -> Result<()>;

/// Starts an echo server that runs as long as the test process; where it listens.
pub fn start(heartbeat: Heartbeat) -> SocketAddr {
    start_with(heartbeat, echo)
}

/// As [`start`]: a server that has something to say every few milliseconds.
pub fn start_talker(heartbeat: Heartbeat) -> SocketAddr {
    start_with(heartbeat, talk)
}

/// As [`start`]: a server that has something to do for some seconds, and does not take what it is sent meanwhile.
pub fn start_busy(heartbeat: Heartbeat) -> SocketAddr {
    start_with(heartbeat, work)
}

fn start_with(heartbeat: Heartbeat, service: Service) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            // A client that is gone is no failure of the server.
            thread::spawn(move || serve(socket, heartbeat, service));
        }
    });
    address
}

fn serve(socket: TcpStream, heartbeat: Heartbeat, service: Service) -> Result<()> {
    let mut stream = Stream::new(socket, Deadlines::SERVER)?;
    shake_hands(&mut stream)?;
    let mut socket = WebSocket::over(stream, heartbeat);
    let close = match service(&mut socket) {
        Ok(()) => Close::new(CloseCode::NORMAL, ""),
        Err(Error::Violation(Violation::WebSocket(failure))) => Close::new(failure.close_code(), failure.to_string()),
        Err(error) => Close::new(CloseCode::SERVER_ERROR, error.to_string()),
    };
    socket.close(&close, Duration::from_secs(2));
    Ok(())
}

fn shake_hands(stream: &mut Stream) -> Result<()> {
    let mut scan = HeadScan::default();
    let length = loop {
        if let Some(length) = scan.find(stream.unread()).unwrap() {
            break length;
        }
        let deadline = stream.greeting_deadline();
        assert_ne!(stream.fill(deadline, ("greeting", Duration::from_secs(10)))?, 0, "a whole head");
    };
    let head = Head::parse(stream.take(length)).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept(&head).unwrap()
    );
    stream.send(answer.as_bytes())?;
    stream.flush(More::Nothing)
}

fn echo(socket: &mut WebSocket) -> Result<()> {
    let mut room = vec![0; 16 * 1024];
    while let Some(kind) = socket.next_message()? {
        loop {
            let count = socket.read(&mut room)?;
            let part = if socket.is_in_message() { Part::MoreFollow } else { Part::Last };
            socket.send_part(kind, &room[..count], part)?;
            if part == Part::Last {
                break;
            }
        }
    }
    Ok(())
}

fn work(socket: &mut WebSocket) -> Result<()> {
    for _ in 0..100 {
        socket.keep_alive()?;
        thread::sleep(Duration::from_millis(50));
    }
    socket.send(MessageKind::Text, b"done")
}

fn talk(socket: &mut WebSocket) -> Result<()> {
    // Always readable: a byte that nobody reads.
    let (mut writer, always) = UnixStream::pair().unwrap();
    writer.write_all(b"x").unwrap();
    loop {
        match socket.wait(always.as_fd())? {
            Event::Closed => return Ok(()),
            Event::Message(_) | Event::Quiet => {}
            Event::Other => socket.send(MessageKind::Text, b"news")?,
        }
        thread::sleep(Duration::from_millis(5));
    }
}
