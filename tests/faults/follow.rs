//! What the tests of topics share: following on a raw connection.

use crate::common::{Frame, RawClient};
use hostdir::wire::{Arrived, Gap, JournalId, RawBytes, Reply, Request, Subscribe, Subscribed};
use std::io;

/// Where to begin: after this number of this journal, with the oldest, or from now on.
#[derive(Debug, Clone, Copy)]
pub enum From {
    Now,
    Start,
    After(JournalId, u64),
}

/// A reply; anything else, and the end of the connection, is an error.
pub fn reply(client: &mut RawClient) -> io::Result<Reply> {
    match client.receive()? {
        Frame::Reply(reply) => Ok(reply),
        Frame::Data(_) => Err(io::Error::other("bytes that were not asked for")),
        Frame::Closed => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends SUBSCRIBE for a folder and takes SUBSCRIBED.
pub fn subscribe(client: &mut RawClient, folder: &str, from: From) -> io::Result<Subscribed> {
    client.send(asking(folder, from))?;
    subscribed(client)
}

fn asking(folder: &str, from: From) -> Request {
    let (after, journal) = match from {
        From::Now => (None, None),
        From::Start => (Some(0), None),
        From::After(journal, number) => (Some(number), Some(journal)),
    };
    Request::Subscribe(Subscribe { folders: vec![RawBytes(folder.into())], after, journal, subscriber: None })
}

fn subscribed(client: &mut RawClient) -> io::Result<Subscribed> {
    match reply(client)? {
        Reply::Subscribed(subscribed) => Ok(subscribed),
        other => Err(io::Error::other(format!("not SUBSCRIBED: {other:?}"))),
    }
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Arrived(Arrived),
    Gap(Gap),
}

/// Everything that is told of a folder until now, and the number up to which that is.
pub fn history(client: &mut RawClient, folder: &str, from: From) -> (Subscribed, Vec<Heard>, u64) {
    client.send_all(&[asking(folder, from), Request::Ping]).unwrap();
    let (subscribed, mut heard) = (subscribed(client).unwrap(), Vec::new());
    loop {
        match reply(client).unwrap() {
            Reply::Arrived(arrived) => heard.push(Heard::Arrived(arrived)),
            Reply::Gap(gap) => heard.push(Heard::Gap(gap)),
            Reply::Arriving(_) | Reply::Abandoned(_) | Reply::Position(_) => {}
            Reply::Paused(position) => {
                assert_eq!(reply(client).unwrap(), Reply::Pong);
                return (subscribed, heard, position.after);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Does something when it is dropped.
pub struct OnDrop<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
