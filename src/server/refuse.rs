//! Tells a newcomer that there is no room, or that the server is stopping, without a thread for it.
//!
//! It is told in the protocol that it speaks, which its first bytes say: where they are here already, the accepting thread
//! tells it, since a new socket always has room for a few hundred bytes. One thread waits for the first bytes of the others,
//! and holds the sockets of all of them for a moment after that word, and throws away what they send: closing a socket with
//! unread input resets the connection, and the word would be lost.

use super::web;
use crate::connection::TAKES_NONE_NOW;
use crate::error::{Error, Result};
use crate::wire::{Guess, PREAMBLE, Reply, sniff};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Refused sockets that may wait to be held; those beyond are closed right after their word.
const WAITING: usize = 256;
/// Refused sockets that are held at a time.
const HELD: usize = 1024;
/// How long the first bytes of each are waited for, and how long it is held after its word.
const LINGER: Duration = Duration::from_secs(1);
/// How often what they send is looked at, or thrown away.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Refuser {
    refused: Sender<Held>,
}

/// A refused newcomer.
#[derive(Debug)]
struct Held {
    socket: TcpStream,
    since: Instant,
    /// What it is still to be told.
    word: Option<Word>,
}

/// A refusal, in each protocol.
#[derive(Debug)]
struct Word {
    native: Vec<u8>,
    http: Vec<u8>,
    /// Has no reason: those are for whom the server has met.
    tls: Vec<u8>,
}

impl Refuser {
    pub(super) fn start() -> Result<Self> {
        let (refused, queue) = bounded(WAITING);
        std::thread::Builder::new()
            .name("refuse".into())
            .spawn(move || linger(&queue))
            .map_err(|error| Error::local("start", "a thread", error))?;
        Ok(Self { refused })
    }

    pub(super) fn refuse(&self, socket: TcpStream, refusal: &Error) {
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let mut held = Held { socket, since: Instant::now(), word: Some(Word::of(refusal)) };
        held.tell_if_known();
        // Where too many are held already, a word that may be of the wrong protocol must do.
        if let Err(error) = self.refused.try_send(held) {
            error.into_inner().tell_anyway();
        }
    }
}

impl Word {
    fn of(refusal: &Error) -> Self {
        let mut native = PREAMBLE.to_vec();
        Reply::Error(refusal.to_fault()).encode(&mut native);
        Self { native, http: web::refusal(refusal), tls: TAKES_NONE_NOW.to_vec() }
    }
}

impl Held {
    /// Tells it, if its first bytes say how.
    fn tell_if_known(&mut self) {
        let mut first = [0; PREAMBLE.len()];
        let Ok(count) = self.socket.peek(&mut first) else { return };
        match sniff(first.get(..count).unwrap_or_default()) {
            Guess::Incomplete => {}
            Guess::Http => self.tell(|word| &word.http),
            Guess::Tls => self.tell(|word| &word.tls),
            Guess::Native | Guess::Unknown => self.tell_anyway(),
        }
    }

    /// Tells it, although it has not said what it speaks.
    fn tell_anyway(&mut self) {
        self.tell(|word| &word.native);
    }

    fn tell(&mut self, choose: fn(&Word) -> &Vec<u8>) {
        if let Some(word) = self.word.take() {
            // A newcomer that cannot be told is gone.
            let _ = (&self.socket).write_all(choose(&word)).and_then(|()| self.socket.shutdown(Shutdown::Write));
            self.since = Instant::now();
        }
    }

    /// Goes on with it; whether it is to be held any longer, which one with a word to come always is.
    fn tend(&mut self) -> bool {
        // Looked at once: a clock that goes on between two looks would let one go that was not told anything yet.
        let is_over = self.since.elapsed() >= LINGER;
        if self.word.is_none() {
            throw_away(&self.socket);
            return !is_over;
        }
        self.tell_if_known();
        if is_over {
            self.tell_anyway();
        }
        true
    }
}

fn linger(queue: &Receiver<Held>) {
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut tidied = Instant::now();
    loop {
        let patience = if held.is_empty() { Duration::from_secs(3600) } else { TICK };
        match queue.recv_timeout(patience) {
            Ok(newcomer) => held.push_back(newcomer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if tidied.elapsed() >= TICK {
            tidied = Instant::now();
            held.retain_mut(Held::tend);
        }
        if held.len() > HELD
            && let Some(mut oldest) = held.pop_front()
        {
            oldest.tell_anyway();
            throw_away(&oldest.socket);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ErrorCode;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn nobody_is_let_go_of_before_the_word() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let refusal = Error::refused(ErrorCode::Busy, "full");
        // Each is looked at again and again over the end of its time.
        for _ in 0..200 {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = listener.accept().unwrap().0;
            socket.set_nonblocking(true).unwrap();
            let nearly = Instant::now().checked_sub(LINGER - Duration::from_micros(200)).unwrap();
            let mut held = Held { socket, since: nearly, word: Some(Word::of(&refusal)) };
            while held.word.is_some() {
                assert!(held.tend());
            }
            drop(held);
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, Word::of(&refusal).native);
        }
    }
}
