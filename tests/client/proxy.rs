//! A bad line: passes bytes on between client and server, and cuts or holds them where a test says.

use crate::common::eventually;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How late bytes are on a line that is [`Line::Far`].
const LATE: Duration = Duration::from_millis(8);

/// What is done to the bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// They pass.
    Good,
    /// The connection is cut, both ways, after so many of them.
    CutAfter(u64),
    /// They pass as far as the test allows.
    Held,
    /// They are late, each time that some come: the other side is far away, and a connection only so fast.
    Far,
}

/// A proxy in front of a server.
pub struct Proxy {
    address: SocketAddrV4,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    /// What the connections to come are like: from the client, from the server. The last one is used again and again.
    lines: Mutex<Vec<(Line, Line)>>,
    /// Bytes that may still pass on held lines, all together.
    allowed: Mutex<u64>,
    changed: Condvar,
    connections: AtomicUsize,
    cuts: AtomicUsize,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// The first connection is like the first of `lines` (from the client, from the server), and so on; the last one
    /// stands for all that follow.
    pub fn start(target: SocketAddrV4, lines: &[(Line, Line)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was asked for") };
        let shared = Arc::new(Shared {
            target: target.into(),
            lines: Mutex::new(lines.to_vec()),
            allowed: Mutex::new(0),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                accepting.connect(&client);
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Lets so many more bytes pass on held lines.
    pub fn allow(&self, bytes: u64) {
        let mut allowed = self.shared.allowed.lock().unwrap();
        *allowed = allowed.saturating_add(bytes);
        self.shared.changed.notify_all();
    }

    /// Forgets what was allowed and not used.
    pub fn hold(&self) {
        *self.shared.allowed.lock().unwrap() = 0;
    }

    /// Cuts every connection there is.
    pub fn cut_all(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Acquire)
    }

    pub fn wait_for_connections(&self, count: usize) {
        eventually(&format!("{count} connections"), || self.connections() >= count);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.allow(u64::MAX);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: &TcpStream) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        let (from_client, from_server) = {
            let mut lines = self.lines.lock().unwrap();
            if lines.len() > 1 { lines.remove(0) } else { lines[0] }
        };
        // A server that is not there is a connection that ends at once.
        let Ok(server) = TcpStream::connect(self.target) else { return };
        self.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let pass = |from: &TcpStream, to: &TcpStream, line| {
            let (shared, from, to) = (Arc::clone(self), from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || shared.pass(from, to, line));
        };
        pass(client, &server, from_client);
        pass(&server, client, from_server);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, line: Line) {
        let mut buffer = vec![0; if line == Line::Far { 256 } else { 64 } * 1024];
        let mut passed = 0;
        loop {
            let room = match line {
                Line::Good | Line::Far => buffer.len() as u64,
                Line::CutAfter(limit) => (limit - passed).min(buffer.len() as u64),
                Line::Held => self.take(buffer.len() as u64),
            };
            if room == 0 {
                self.cuts.fetch_add(1, Ordering::AcqRel);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            let count = from.read(&mut buffer[..room as usize]).unwrap_or(0);
            if line == Line::Held {
                self.give_back(room - count as u64);
            }
            if line == Line::Far {
                thread::sleep(LATE);
            }
            passed += count as u64;
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                let _ = to.shutdown(Shutdown::Write);
                let _ = from.shutdown(Shutdown::Read);
                return;
            }
        }
    }

    /// Waits until some bytes are allowed, and takes at most `most` of them.
    fn take(&self, most: u64) -> u64 {
        let allowed = self.allowed.lock().unwrap();
        let mut allowed = self.changed.wait_while(allowed, |allowed| *allowed == 0).unwrap();
        let taken = most.min(*allowed);
        *allowed -= taken;
        taken
    }

    fn give_back(&self, bytes: u64) {
        let mut allowed = self.allowed.lock().unwrap();
        *allowed = allowed.saturating_add(bytes);
        self.changed.notify_all();
    }
}
