//! Asks for one file again and again over many connections, and counts the answers.
//!
//! `load PORT PATH CONNECTIONS SECONDS` prints answers in a second. One thread and `poll(2)`, as `wrk -t1` does with its
//! own. Every answer is checked against its digest, and receipted with the next request.

use hostdir::wire::{
    FRAME_HEADER, FrameHeader, Get, Hello, Kind, PREAMBLE, Phase, Receipt, ReceiptOutcome, Reply, Request, TransferId,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Error, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

struct Client {
    socket: TcpStream,
    get: Get,
    input: Vec<u8>,
    greeted: bool,
    transfer: Option<TransferId>,
    hasher: blake3::Hasher,
    answers: u64,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, path, connections, seconds] = &arguments[..] else {
        return writeln!(io::stdout(), "load: PORT PATH CONNECTIONS SECONDS; run by bench/compare");
    };
    let number = |text: &str| text.parse::<u64>().map_err(Error::other);
    let port = u16::try_from(number(port)?).map_err(Error::other)?;
    let mut clients = (0..number(connections)?).map(|_| Client::new(port, path)).collect::<io::Result<Vec<_>>>()?;
    let (began, lasts) = (Instant::now(), Duration::from_secs(number(seconds)?));
    while began.elapsed() < lasts {
        let ready: Vec<bool> = {
            let mut waiting: Vec<_> = clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)).collect();
            poll(&mut waiting, None)?;
            waiting.iter().map(|descriptor| !descriptor.revents().is_empty()).collect()
        };
        for (client, _) in clients.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            client.take()?;
        }
    }
    let answers: u64 = clients.iter().map(|client| client.answers).sum();
    writeln!(io::stdout(), "{:.0}", answers as f64 / began.elapsed().as_secs_f64())
}

impl Client {
    fn new(port: u16, path: &str) -> io::Result<Self> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        let mut greeting = PREAMBLE.to_vec();
        Request::Hello(Hello { min_version: 1, max_version: 1, agent: None, token: None }).encode(&mut greeting);
        socket.write_all(&greeting)?;
        let get = Get::whole(path.as_bytes());
        let hasher = blake3::Hasher::new();
        Ok(Self { socket, get, input: Vec::new(), greeted: false, transfer: None, hasher, answers: 0 })
    }

    /// Takes what came, and asks again after a whole answer.
    fn take(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let count = self.socket.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&bytes[..count]);
        if !self.greeted && self.input.len() >= PREAMBLE.len() {
            self.input.drain(..PREAMBLE.len());
            self.greeted = true;
        }
        let mut consumed = 0;
        while let Some(header) = FrameHeader::decode(&self.input[consumed..], Phase::Session).map_err(Error::other)? {
            let (start, end) = (consumed + FRAME_HEADER, consumed + FRAME_HEADER + header.length as usize);
            if end > self.input.len() {
                break;
            }
            consumed = end;
            if header.kind == Kind::Data {
                self.hasher.update(&self.input[start..end]);
                continue;
            }
            let reply = Reply::decode(header.kind, &self.input[start..end]).map_err(Error::other)?;
            self.reply(reply)?;
        }
        self.input.drain(..consumed);
        Ok(())
    }

    fn reply(&mut self, reply: Reply) -> io::Result<()> {
        let mut request = Vec::new();
        match reply {
            Reply::Welcome(_) => {}
            Reply::File(file) => {
                self.transfer = Some(file.transfer);
                return Ok(());
            }
            Reply::End(end) if end.digest.is_some_and(|digest| digest.0 == *self.hasher.finalize().as_bytes()) => {
                self.hasher.reset();
                self.answers += 1;
                if let Some(transfer) = self.transfer {
                    let outcome = ReceiptOutcome::Verified;
                    Request::Receipt(Receipt::new(transfer, outcome)).encode(&mut request);
                }
            }
            reply => return Err(Error::other(format!("unexpected {:?}", reply.kind()))),
        }
        Request::Get(self.get.clone()).encode(&mut request);
        self.socket.write_all(&request)
    }
}
