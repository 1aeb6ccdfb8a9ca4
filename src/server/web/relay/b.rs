//! Relay B: one topic; receivers get `START:NAME`, the bytes, `END`; senders send a name, the bytes, `__end__`.

use super::intake::Intake;
use super::outgoing::{Listener, Outgoing};
use super::{Guest, refused, too_large};
use crate::connection::{Event, Sent, WebSocket};
use crate::error::{Error, Result};
use crate::server::get::send_unchanged;
use crate::server::live::{LiveOutlet, pump};
use crate::server::record::Via;
use crate::store::{Arrival, LiveSource, LiveUpload, Notice};
use crate::transfer::{Outlet, Source};
use crate::wire::relay::{END, END_OF_FILE, RelayRefusal, SUCCESS, start_of_file};
use crate::wire::websocket::MessageKind;
use crate::wire::{ErrorCode, RemotePath};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

/// Most bytes of a file in a message: what libraries take by default is 1 MiB.
const MESSAGE: u32 = 256 * 1024;
/// Most bytes of a name.
const MAX_NAME: usize = 1024;
/// Files that come in are taken to be of this size: they are hashed by the thread that receives them.
const EXPECTED: u64 = 1024 * 1024;

/// Serves a sender to its end.
pub(in crate::server::web) fn serve_sender(guest: &mut Guest<'_>) -> Result<()> {
    while let Some(kind) = guest.socket.next_message()? {
        guest.check_goes_on()?;
        if kind == MessageKind::Binary {
            return Err(refused(RelayRefusal::NoName));
        }
        let name = read_name(&mut guest.socket)?;
        let topic = guest.shared.config.relay.topic.as_bytes();
        let intake = Intake::begin(guest, Via::RelayB, &[topic, &name].join(&b'/'))?;
        let mut file = Messages::new(&mut guest.socket);
        let whole = intake.take(guest.shared, &mut file, EXPECTED)?;
        whole.store(guest, None)?;
        guest.socket.send(MessageKind::Text, SUCCESS.as_bytes())?;
    }
    Ok(())
}

fn read_name(socket: &mut WebSocket) -> Result<Vec<u8>> {
    let (mut name, mut room) = (Vec::new(), [0; MAX_NAME]);
    loop {
        let count = socket.read(&mut room)?;
        name.extend_from_slice(room.get(..count).unwrap_or_default());
        if name.len() > MAX_NAME || name.contains(&b'/') || (count == 0 && name.is_empty()) {
            return Err(refused(RelayRefusal::NameIsAPath));
        }
        if count == 0 {
            return Ok(name);
        }
    }
}

/// Messages of bytes up to the one that says that the file is whole.
struct Messages<'a> {
    socket: &'a mut WebSocket,
    /// The beginning of a message, which may yet turn out to be the last one.
    begun: Vec<u8>,
    is_over: bool,
}

impl<'a> Messages<'a> {
    fn new(socket: &'a mut WebSocket) -> Self {
        Self { socket, begun: Vec::new(), is_over: false }
    }

    /// Begins to read the next message: as much of it as tells whether it is the last one.
    fn begin(&mut self) -> Result<()> {
        match self.socket.next_message()? {
            Some(MessageKind::Binary) => {}
            Some(MessageKind::Text) => return Err(refused(RelayRefusal::TextInFile)),
            None => return Err(Error::disconnected("receive")),
        }
        let mut room = [0; END_OF_FILE.len() + 1];
        while self.begun.len() <= END_OF_FILE.len() {
            let left = room.len().saturating_sub(self.begun.len());
            let count = self.socket.read(room.get_mut(..left).unwrap_or_default())?;
            if count == 0 {
                self.is_over = self.begun == END_OF_FILE;
                break;
            }
            self.begun.extend_from_slice(room.get(..count).unwrap_or_default());
        }
        Ok(())
    }
}

impl Source for Messages<'_> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        while !self.is_over {
            let count = self.begun.len().min(room.len());
            if count > 0 {
                let begun: Vec<u8> = self.begun.drain(..count).collect();
                room.get_mut(..count).unwrap_or_default().copy_from_slice(&begun);
                return Ok(count);
            }
            let count = self.socket.read(room)?;
            if count > 0 {
                return Ok(count);
            }
            self.begin()?;
        }
        Ok(0)
    }

    fn is_dry(&mut self) -> bool {
        self.begun.is_empty() && !self.socket.has_input()
    }
}

/// What a receiver has still to be sent, besides the arrivals.
#[derive(Default)]
struct Coming {
    /// Uploads that are on their way in.
    uploads: VecDeque<Arc<LiveUpload>>,
    /// The one that was sent last: its sender may have been away meanwhile, and be noticed once more.
    last: Option<Arc<LiveUpload>>,
    /// The numbers of arrivals that were sent while they came in.
    sent: BTreeSet<u64>,
}

impl Coming {
    fn note(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            self.uploads.retain(|upload| upload.id != notice.upload().id);
            if let Notice::Arriving(upload) = notice
                && !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &upload))
            {
                self.uploads.push_back(upload);
            }
        }
    }

    /// Leaves out uploads that have arrived, and arrivals that were sent already: each file goes out once.
    fn settle(&mut self, arrivals: &mut Vec<Arc<Arrival>>, position: u64) {
        self.uploads.retain(|upload| !arrivals.iter().any(|arrival| arrival.live == Some(upload.id)));
        arrivals.retain(|arrival| !self.sent.contains(&arrival.number));
        self.sent.retain(|number| *number > position);
    }
}

/// Serves a receiver to its end.
pub(in crate::server::web) fn serve_receiver(guest: &mut Guest<'_>) -> Result<()> {
    let mut listener = Listener::begin(guest, guest.shared.config.relay.topic.clone())?;
    let mut coming = Coming::default();
    loop {
        listener.looks();
        let before = listener.position();
        // The arrivals first: whatever of them was noticed as an upload is among the notices then.
        let mut arrivals = listener.arrivals(guest.shared)?;
        coming.note(listener.notices(guest.shared));
        coming.settle(&mut arrivals, listener.position());
        for arrival in &arrivals {
            guest.check_goes_on()?;
            send_arrived(guest, arrival)?;
            guest.socket.keep_alive()?;
        }
        if listener.position() > before {
            continue;
        }
        if let Some(upload) = coming.uploads.pop_front() {
            guest.check_goes_on()?;
            let number = send_live(guest, &upload)?;
            coming.sent.extend(number.filter(|number| *number > listener.position()));
            coming.last = Some(upload);
            continue;
        }
        match guest.socket.wait(listener.descriptor())? {
            Event::Message(_) => return Err(Error::refused(ErrorCode::Protocol, "a receiver only listens")),
            Event::Closed => return Ok(()),
            Event::Other => {}
            Event::Quiet => guest.socket.ping()?,
        }
    }
}

fn send_arrived(guest: &mut Guest<'_>, arrival: &Arrival) -> Result<()> {
    let Some((outgoing, open)) = Outgoing::open(guest, Via::RelayB, arrival) else { return Ok(()) };
    let progress = outgoing.progress();
    let sent = Pieces::begin(guest, &arrival.path)
        .and_then(|mut file| send_unchanged(&mut file, &open, 0, open.state.size, &progress).and_then(|()| file.end()));
    outgoing.end(guest, sent)
}

/// Sends an upload while it comes in; the number of its arrival then. One that is not coming any more is left to be sent
/// as what it became.
fn send_live(guest: &mut Guest<'_>, upload: &LiveUpload) -> Result<Option<u64>> {
    if upload.size.is_some_and(|size| size > guest.max_size()) {
        // It is refused when it has arrived.
        return Ok(None);
    }
    let source = guest.shared.store.open_live(upload.id, &upload.path, 0, None);
    let Ok(LiveSource::Coming(reader)) = source else { return Ok(None) };
    let outgoing = Outgoing::begin(guest, Via::RelayB, &upload.path, upload.size);
    let (shared, progress) = (guest.shared, outgoing.progress());
    let end = Pieces::begin(guest, &upload.path)
        .and_then(|mut file| pump(&mut file, reader, shared, &progress).and_then(|end| file.end().map(|()| end)));
    outgoing.end(guest, end).map(|end| end.number)
}

/// A file on its way out, as messages of bytes.
struct Pieces<'a> {
    socket: &'a mut WebSocket,
    limit: u64,
    /// Bytes that may still be sent.
    left: u64,
}

impl<'a> Pieces<'a> {
    /// Says that a file of this name follows.
    fn begin(guest: &'a mut Guest<'_>, path: &RemotePath) -> Result<Self> {
        let limit = guest.max_size();
        let socket = &mut guest.socket;
        socket.send(MessageKind::Text, start_of_file(path.name()).as_bytes())?;
        Ok(Self { socket, limit, left: limit })
    }

    /// Says that the file is whole.
    fn end(self) -> Result<()> {
        self.socket.send(MessageKind::Text, END.as_bytes())
    }
}

impl Outlet for Pieces<'_> {
    fn send_file(&mut self, file: &File, offset: u64, count: u32) -> Result<Sent> {
        self.left = self.left.checked_sub(u64::from(count)).ok_or_else(|| too_large(self.limit))?;
        let mut done = 0_u32;
        while let left @ 1.. = count.saturating_sub(done) {
            let piece = left.min(MESSAGE);
            match self.socket.send_file(file, offset.saturating_add(u64::from(done)), piece)? {
                Sent::Whole => done = done.saturating_add(piece),
                Sent::Short(real) => return Ok(Sent::Short(u64::from(done).saturating_add(real))),
            }
        }
        Ok(Sent::Whole)
    }
}

impl LiveOutlet for Pieces<'_> {
    /// Every message has a fresh window.
    fn restart_pace(&mut self) {}

    /// Every message of bytes is sent at once.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn keep_waiting(&mut self) -> Result<()> {
        self.socket.keep_alive()
    }
}
