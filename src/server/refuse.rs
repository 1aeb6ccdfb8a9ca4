//! Tells a newcomer that there is no room, or that the server is stopping, without a thread for it.
//!
//! The accepting thread says it: a new socket always has room for a few hundred bytes. One thread holds the sockets of all
//! of them for a moment after that word, and throws away what they send: closing a socket with unread input resets the
//! connection, and the word would be lost.

use crate::error::{Error, Result};
use crate::wire::{PREAMBLE, Reply};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Refused sockets that may wait to be held; those beyond are closed right after their word.
const WAITING: usize = 256;
/// Refused sockets that are held at a time.
const HELD: usize = 1024;
/// How long each is held.
const LINGER: Duration = Duration::from_secs(1);
/// How often what they send is thrown away.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Refuser {
    /// What is said instead of the reason, where that cannot be understood.
    alert: Option<[u8; 7]>,
    refused: Sender<TcpStream>,
}

impl Refuser {
    /// A server that speaks TLS only has no more than an `alert` for newcomers: reasons are for those whom it has met.
    pub(super) fn start(alert: Option<[u8; 7]>) -> Result<Self> {
        let (refused, queue) = bounded(WAITING);
        std::thread::Builder::new()
            .name("refuse".into())
            .spawn(move || linger(&queue))
            .map_err(|error| Error::local("start", "a thread", error))?;
        Ok(Self { alert, refused })
    }

    pub(super) fn refuse(&self, socket: TcpStream, refusal: &Error) {
        let word = self.alert.map_or_else(|| reason(refusal), |alert| alert.to_vec());
        if say(&socket, &word).is_ok() {
            throw_away(&socket);
            // Where too many are held already, the word must do.
            let _ = self.refused.try_send(socket);
        }
    }
}

fn reason(refusal: &Error) -> Vec<u8> {
    let mut word = PREAMBLE.to_vec();
    Reply::Error(refusal.to_fault()).encode(&mut word);
    word
}

fn linger(queue: &Receiver<TcpStream>) {
    let mut held: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    let mut tidied = Instant::now();
    loop {
        let patience = if held.is_empty() { Duration::from_secs(3600) } else { TICK };
        match queue.recv_timeout(patience) {
            Ok(socket) => held.push_back((Instant::now(), socket)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if tidied.elapsed() >= TICK {
            tidied = Instant::now();
            held.iter().for_each(|(_, socket)| throw_away(socket));
        }
        while held.len() > HELD || held.front().is_some_and(|(since, _)| since.elapsed() >= LINGER) {
            if let Some((_, socket)) = held.pop_front() {
                throw_away(&socket);
            }
        }
    }
}

fn say(mut socket: &TcpStream, word: &[u8]) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.write_all(word)?;
    socket.shutdown(Shutdown::Write)
}

fn throw_away(mut socket: &TcpStream) {
    let mut sink = [0; 4096];
    // A flood is not worth more than this: the rest is answered with a reset.
    for _ in 0..16 {
        if !matches!(socket.read(&mut sink), Ok(count) if count > 0) {
            return;
        }
    }
}
