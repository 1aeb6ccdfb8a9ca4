//! A small client of the protocol that does what it is told, also what no client should do.

use hostdir::wire::{
    Begin, Digest, End, Entry, ErrorCode, FRAME_HEADER, Fault, FileHeader, Finish, FrameHeader, Get, Hello, Kind, List,
    Listed, Offer, OnConflict, PREAMBLE, Phase, Put, PutKind, RawBytes, Receipt, ReceiptOutcome, Reply, Request,
    Stored, Token, TransferId, UploadId, Welcome,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for a server's word.
const PATIENCE: Duration = Duration::from_secs(90);

/// One connection, blocking.
pub struct RawClient {
    pub stream: TcpStream,
    /// WAIT frames that came.
    pub waits: usize,
    phase: Phase,
}

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Reply(Reply),
    Data(Vec<u8>),
    Closed,
}

/// The answer to a GET.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    pub header: FileHeader,
    pub bytes: Vec<u8>,
    pub digest: Option<Digest>,
}

/// The answer to a LIST.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Whole paths, in the order in which they came.
    pub entries: Vec<(Vec<u8>, Entry)>,
    pub pages: usize,
    pub listed: Listed,
}

impl Listing {
    /// The paths, sorted.
    pub fn paths(&self) -> Vec<&[u8]> {
        let mut paths: Vec<&[u8]> = self.entries.iter().map(|(path, _)| path.as_slice()).collect();
        paths.sort_unstable();
        paths
    }
}

/// An upload identity.
pub fn upload_id(number: u64) -> UploadId {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    UploadId(id)
}

/// A PUT of a file of a known size, to be changed as the test needs it.
pub fn put_file(path: impl AsRef<[u8]>, size: usize) -> Put {
    Put {
        path: RawBytes(path.as_ref().to_vec()),
        kind: PutKind::File,
        size: Some(size as u64),
        modified: None,
        on_conflict: OnConflict::Rename,
        upload: None,
        digest: None,
        ask: false,
    }
}

pub fn digest_of(bytes: &[u8]) -> Digest {
    hostdir::transfer::digest_bytes(bytes)
}

impl RawClient {
    /// Connects and says nothing.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Self::over(stream)
    }

    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, waits: 0, phase: Phase::Greeting })
    }

    /// Connects and greets.
    pub fn greeted(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::connect(address)?;
        client.greet()?;
        Ok(client)
    }

    /// Says preamble and HELLO, and takes the answer, which must be WELCOME.
    pub fn greet(&mut self) -> io::Result<Welcome> {
        self.say_hello()?;
        self.welcomed()
    }

    pub fn say_hello(&mut self) -> io::Result<()> {
        self.say_hello_as(None)
    }

    /// Says preamble and HELLO with a token, or with none.
    pub fn say_hello_as(&mut self, token: Option<&str>) -> io::Result<()> {
        let mut bytes = PREAMBLE.to_vec();
        let token = token.and_then(|token| Token::new(token.as_bytes()));
        Request::Hello(Hello { min_version: 1, max_version: 1, agent: Some("test".into()), token }).encode(&mut bytes);
        self.raw(&bytes)
    }

    /// Greets with a token, or with none; the refusal, if it is one.
    pub fn greet_as(&mut self, token: Option<&str>) -> io::Result<Result<Welcome, Fault>> {
        self.say_hello_as(token)?;
        self.read_preamble()?;
        match self.receive()? {
            Frame::Reply(Reply::Welcome(welcome)) => {
                self.phase = Phase::Session;
                Ok(Ok(welcome))
            }
            Frame::Reply(Reply::Error(fault)) => Ok(Err(fault)),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes preamble and WELCOME.
    pub fn welcomed(&mut self) -> io::Result<Welcome> {
        self.read_preamble()?;
        match self.receive()? {
            Frame::Reply(Reply::Welcome(welcome)) => {
                self.phase = Phase::Session;
                Ok(welcome)
            }
            Frame::Reply(Reply::Error(fault)) => Err(io::Error::other(format!("{fault:?}"))),
            other => Err(unexpected(&other)),
        }
    }

    pub fn read_preamble(&mut self) -> io::Result<()> {
        let mut preamble = [0; PREAMBLE.len()];
        self.stream.read_exact(&mut preamble)?;
        assert_eq!(preamble, PREAMBLE);
        Ok(())
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send(&mut self, request: Request) -> io::Result<()> {
        self.send_all(&[request])
    }

    /// Sends requests in one write.
    pub fn send_all(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| request.encode(&mut bytes));
        self.raw(&bytes)
    }

    /// Sends a DATA frame, of any length.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw(&data_frame(bytes))
    }

    /// Nothing more will be sent; what comes in is still read.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The next frame that is not WAIT.
    pub fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let mut header = [0; FRAME_HEADER];
            match self.stream.read(&mut header[..1]) {
                Ok(0) => return Ok(Frame::Closed),
                Ok(_) => self.stream.read_exact(&mut header[1..])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let header = FrameHeader::decode(&header, self.phase).unwrap().unwrap();
            let mut body = vec![0; header.length as usize];
            self.stream.read_exact(&mut body)?;
            match header.kind {
                Kind::Wait => self.waits += 1,
                Kind::Data => return Ok(Frame::Data(body)),
                kind => return Ok(Frame::Reply(Reply::decode(kind, &body).unwrap())),
            }
        }
    }

    /// The next frame, which must be an ERROR.
    pub fn fault(&mut self) -> Fault {
        match self.receive().unwrap() {
            Frame::Reply(Reply::Error(fault)) => fault,
            other => panic!("not an error: {other:?}"),
        }
    }

    /// The next frame must be an ERROR of this code.
    pub fn refused(&mut self, code: ErrorCode) -> String {
        let fault = self.fault();
        assert_eq!(fault.code, code, "{fault:?}");
        fault.message.unwrap_or_default()
    }

    /// Nothing more comes but the end of the connection.
    pub fn closed(&mut self) {
        match self.receive() {
            Ok(Frame::Closed) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// The session works: a PING is answered.
    pub fn alive(&mut self) {
        self.send(Request::Ping).unwrap();
        assert_eq!(self.receive().unwrap(), Frame::Reply(Reply::Pong));
    }

    pub fn list(&mut self, path: impl AsRef<[u8]>) -> io::Result<Result<Listing, Fault>> {
        self.list_as(List { path: RawBytes(path.as_ref().to_vec()), ..List::default() })
    }

    pub fn list_tree(&mut self) -> io::Result<Result<Listing, Fault>> {
        self.list_as(List { recursive: true, ..List::default() })
    }

    pub fn list_as(&mut self, list: List) -> io::Result<Result<Listing, Fault>> {
        self.send(Request::List(list))?;
        let mut listing = Listing::default();
        loop {
            match self.receive()? {
                Frame::Reply(Reply::Entries(page)) => {
                    listing.pages += 1;
                    for entry in page.entries {
                        let folder = page.folder.to_vec();
                        let whole = if folder.is_empty() {
                            entry.name.to_vec()
                        } else {
                            [&folder, &entry.name[..]].join(&b'/')
                        };
                        listing.entries.push((whole, entry));
                    }
                }
                Frame::Reply(Reply::Listed(listed)) => {
                    listing.listed = listed;
                    return Ok(Ok(listing));
                }
                Frame::Reply(Reply::Error(fault)) => return Ok(Err(fault)),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// A whole file, with its digest checked.
    pub fn get(&mut self, path: impl AsRef<[u8]>) -> io::Result<Result<Got, Fault>> {
        let result = self.get_as(whole(path))?;
        if let Ok(got) = &result {
            assert_eq!(got.digest, Some(digest_of(&got.bytes)), "the digest is that of the bytes");
        }
        Ok(result)
    }

    pub fn get_as(&mut self, get: Get) -> io::Result<Result<Got, Fault>> {
        self.send(Request::Get(get))?;
        self.take_file()
    }

    /// Takes the answer to a GET that was sent.
    pub fn take_file(&mut self) -> io::Result<Result<Got, Fault>> {
        let header = match self.receive()? {
            Frame::Reply(Reply::File(header)) => header,
            Frame::Reply(Reply::Error(fault)) => return Ok(Err(fault)),
            other => return Err(unexpected(&other)),
        };
        self.take_bytes(header)
    }

    /// Takes DATA and END of a GET whose FILE was taken.
    pub fn take_bytes(&mut self, header: FileHeader) -> io::Result<Result<Got, Fault>> {
        let mut bytes = Vec::new();
        loop {
            match self.receive()? {
                Frame::Data(more) => bytes.extend_from_slice(&more),
                Frame::Reply(Reply::End(End { digest, .. })) => {
                    assert_eq!(bytes.len() as u64, header.length);
                    return Ok(Ok(Got { header, bytes, digest }));
                }
                Frame::Reply(Reply::Error(fault)) => return Ok(Err(fault)),
                other => return Err(unexpected(&other)),
            }
        }
    }

    pub fn receipt(&mut self, transfer: TransferId) -> io::Result<()> {
        self.send(Request::Receipt(Receipt::new(transfer, ReceiptOutcome::Verified)))
    }

    /// Uploads a file at once.
    pub fn put(&mut self, path: impl AsRef<[u8]>, bytes: &[u8]) -> io::Result<Result<Stored, Fault>> {
        self.put_as(put_file(path, bytes.len()), bytes)
    }

    /// Uploads a file at once, as `put` says.
    pub fn put_as(&mut self, put: Put, bytes: &[u8]) -> io::Result<Result<Stored, Fault>> {
        self.send_put(put, bytes)?;
        self.stored()
    }

    /// PUT, DATA and FINISH in one write.
    pub fn send_put(&mut self, put: Put, bytes: &[u8]) -> io::Result<()> {
        let mut frames = Vec::new();
        Request::Put(put).encode(&mut frames);
        bytes.chunks(256 * 1024).for_each(|chunk| frames.extend_from_slice(&data_frame(chunk)));
        Request::Finish(Finish { digest: digest_of(bytes) }).encode(&mut frames);
        self.raw(&frames)
    }

    /// The next frame, which must be STORED or ERROR.
    pub fn stored(&mut self) -> io::Result<Result<Stored, Fault>> {
        match self.receive()? {
            Frame::Reply(Reply::Stored(stored)) => Ok(Ok(stored)),
            Frame::Reply(Reply::Error(fault)) => Ok(Err(fault)),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks with PUT; what is there, or the answer that ends it.
    pub fn ask(&mut self, put: Put) -> io::Result<Result<Offer, Result<Stored, Fault>>> {
        self.send(Request::Put(Put { ask: true, ..put }))?;
        match self.receive()? {
            Frame::Reply(Reply::Offer(offer)) => Ok(Ok(offer)),
            Frame::Reply(Reply::Stored(stored)) => Ok(Err(Ok(stored))),
            Frame::Reply(Reply::Error(fault)) => Ok(Err(Err(fault))),
            other => Err(unexpected(&other)),
        }
    }

    /// Uploads a file as a careful client does: asks, compares the prefix, resumes.
    pub fn put_asking(&mut self, put: Put, bytes: &[u8]) -> io::Result<Result<Stored, Fault>> {
        let offer = match self.ask(put)? {
            Ok(offer) => offer,
            Err(answer) => return Ok(answer),
        };
        let held = usize::try_from(offer.offset).unwrap();
        let is_ours = held <= bytes.len() && (held == 0 || offer.digest == Some(digest_of(&bytes[..held])));
        self.upload_from(if is_ours { held } else { 0 }, bytes)?;
        self.stored()
    }

    /// BEGIN at `offset`, the bytes from there on, and FINISH.
    pub fn upload_from(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.send(Request::Begin(Begin { offset: offset as u64 }))?;
        for chunk in bytes[offset..].chunks(256 * 1024) {
            self.data(chunk)?;
        }
        self.send(Request::Finish(Finish { digest: digest_of(bytes) }))
    }
}

/// A GET of a whole file.
pub fn whole(path: impl AsRef<[u8]>) -> Get {
    Get::whole(path.as_ref())
}

/// A DATA frame, of any length.
pub fn data_frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = FrameHeader { kind: Kind::Data, length: u32::try_from(bytes.len()).unwrap() }.encode().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

fn unexpected(frame: &Frame) -> io::Error {
    match frame {
        Frame::Closed => io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"),
        other => io::Error::other(format!("unexpected: {other:?}")),
    }
}
