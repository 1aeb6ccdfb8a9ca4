//! Tells a newcomer that there is no room, without a thread for it.
//!
//! One thread says it to all of them. It holds their sockets for a moment after its word, and throws away what they send:
//! closing a socket with unread input resets the connection, and the word would be lost.

use crate::error::{Error, Result};
use crate::wire::{PREAMBLE, Reply};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Newcomers that may wait for their word; those beyond are closed without one.
const WAITING: usize = 256;
/// Refused sockets that are held at a time.
const HELD: usize = 1024;
/// How long each is held.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Refuser {
    newcomers: Sender<(TcpStream, Vec<u8>)>,
}

impl Refuser {
    pub(super) fn start() -> Result<Self> {
        let (newcomers, queue) = bounded(WAITING);
        std::thread::Builder::new()
            .name("refuse".into())
            .spawn(move || serve(&queue))
            .map_err(|error| Error::local("start", "a thread", error))?;
        Ok(Self { newcomers })
    }

    pub(super) fn refuse(&self, socket: TcpStream, refusal: &Error) {
        let mut word = PREAMBLE.to_vec();
        Reply::Error(refusal.to_fault()).encode(&mut word);
        match self.newcomers.try_send((socket, word)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn serve(queue: &Receiver<(TcpStream, Vec<u8>)>) {
    let mut held: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    loop {
        let patience = if held.is_empty() { Duration::from_secs(3600) } else { LINGER / 10 };
        match queue.recv_timeout(patience) {
            Ok((socket, word)) => {
                if say(&socket, &word).is_ok() {
                    held.push_back((Instant::now(), socket));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.iter().for_each(|(_, socket)| throw_away(socket));
        while held.len() > HELD || held.front().is_some_and(|(since, _)| since.elapsed() >= LINGER) {
            held.pop_front();
        }
    }
}

fn say(mut socket: &TcpStream, word: &[u8]) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    // A new socket has room for a few hundred bytes.
    socket.write_all(word)?;
    socket.shutdown(Shutdown::Write)
}

fn throw_away(mut socket: &TcpStream) {
    let mut sink = [0; 4096];
    while matches!(socket.read(&mut sink), Ok(count) if count > 0) {}
}
