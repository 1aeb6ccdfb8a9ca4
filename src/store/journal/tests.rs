//! The journal as a whole, on a real disk.

use super::*;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A state folder.
struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Journal {
        self.open_keeping(Keep::default()).0
    }

    fn open_keeping(&self, keep: Keep) -> (Journal, Opened) {
        Journal::open(File::open(self.0.path()).unwrap().as_fd(), keep).unwrap()
    }

    fn reopen(&self) -> (Journal, Opened) {
        self.open_keeping(Keep::default())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("journal").join(name)
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.file(&format!("{first:020}"))
    }

    fn segments(&self) -> Vec<u64> {
        let names = std::fs::read_dir(self.0.path().join("journal")).unwrap();
        let numbers = names.filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    }
}

fn path(name: &str) -> RemotePath {
    RemotePath::parse(name.as_bytes()).unwrap()
}

/// A file that is another for each seed.
fn new(seed: u64) -> NewArrival {
    NewArrival {
        path: path(&format!("topic/{seed}.bin")),
        size: seed,
        digest: Digest(*blake3::hash(&seed.to_le_bytes()).as_bytes()),
        modified: -5,
        inode: seed,
        live: (seed % 2 == 1).then(|| live(seed)),
        publisher: (seed % 3 == 1).then(|| "10.0.0.7".into()),
    }
}

fn live(seed: u64) -> LiveId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    LiveId(bytes)
}

fn is_of(arrival: &Arrival, seed: u64) -> bool {
    let new = new(seed);
    (&arrival.path, arrival.size, arrival.digest) == (&new.path, new.size, new.digest)
        && (arrival.modified, arrival.live, &arrival.publisher) == (new.modified, new.live, &new.publisher)
}

/// Everything that can be read, and the holes: as a reader finds them that starts at 0.
fn walk(journal: &Journal) -> (Vec<Arrival>, Vec<RangeInclusive<u64>>) {
    let (mut arrivals, mut holes, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        match journal.read(after, 100).unwrap() {
            Span::End => return (arrivals, holes),
            Span::Lost { up_to, missed } => {
                assert_eq!(up_to - after, missed);
                holes.push(after + 1..=up_to);
                after = up_to;
            }
            Span::Arrivals(more) => {
                assert!(more.iter().zip(after + 1..).all(|(arrival, number)| arrival.number == number));
                after += more.len() as u64;
                arrivals.extend(more);
            }
        }
    }
}

#[test]
fn arrivals_come_back_as_they_were_appended() {
    let state = State::new();
    let (journal, opened) = state.reopen();
    assert!(opened.is_new);
    assert_eq!((journal.last(), journal.oldest(), journal.read(0, 9).unwrap()), (0, 1, Span::End));
    assert_eq!(journal.append(vec![new(1), new(2)]).unwrap(), [1, 2]);
    assert!(journal.append(Vec::new()).unwrap().is_empty());
    assert_eq!(journal.append(vec![new(3)]).unwrap(), [3]);
    let (id, secret, before) = (journal.id(), *journal.secret(), walk(&journal));
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!((opened.arrivals, opened.segments, opened.is_new), (3, 1, false));
    assert_eq!((journal.id(), *journal.secret(), journal.last(), journal.oldest()), (id, secret, 3, 1));
    assert_eq!(walk(&journal), before);
    assert!(before.0.iter().zip(1..).all(|(arrival, seed)| is_of(arrival, seed) && arrival.time > 0));
    assert_eq!(journal.append(vec![new(4)]).unwrap(), [4]);
    assert_eq!(journal.read(3, 9).unwrap(), Span::Arrivals(journal.find_number(4).unwrap().into_iter().collect()));
}
