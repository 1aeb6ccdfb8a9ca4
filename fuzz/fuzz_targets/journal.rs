//! Files of a journal with any bytes: it opens, what it shows is consistent, and it goes on.
//!
//! The first byte says what is done to a good journal of twelve arrivals in three segments: the rest of the input replaces a
//! file of it, is put into one at a place, or is appended to one. So the search for good records is reached, not only the
//! refusal of bad headers.
#![no_main]

use hostdir::store::{Journal, Keep, NewArrival, Removal, Span};
use hostdir::wire::{Digest, LiveId, RemotePath};
use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

const ARRIVALS: u64 = 12;
const KEEP: u64 = 32;

fuzz_target!(|input: &[u8]| {
    let Some((how, rest)) = input.split_first() else { return };
    let (scratch, good) = good();
    let folder = scratch.join("journal");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a scratch folder");
    let chosen = usize::from(how >> 2) % good.len();
    for (position, (name, bytes)) in good.iter().enumerate() {
        let bytes = if position == chosen { damage(*how, bytes, rest) } else { bytes.clone() };
        fs::write(folder.join(name), bytes).expect("it can be written");
    }
    check(scratch);
});

/// A scratch folder, and the files of a good journal.
fn good() -> &'static (PathBuf, Vec<(String, Vec<u8>)>) {
    static GOOD: OnceLock<(PathBuf, Vec<(String, Vec<u8>)>)> = OnceLock::new();
    GOOD.get_or_init(|| {
        let scratch = std::env::temp_dir().join(format!("hostdir-fuzz-journal-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).expect("a scratch folder");
        let journal = open(&scratch);
        (1..=ARRIVALS).for_each(|number| drop(journal.append(vec![arrival(number)]).expect("it is appended")));
        let over = Removal::OverQuota { folder: 1, quota: 2 };
        (1..=3).for_each(|number| journal.note_removed(&arrival(number).path, over).expect("it is noted"));
        let mut files: Vec<_> = fs::read_dir(scratch.join("journal"))
            .expect("it is there")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("bytes")))
            .collect();
        files.sort();
        (scratch, files)
    })
}

fn damage(how: u8, bytes: &[u8], input: &[u8]) -> Vec<u8> {
    let at = |place: u8| usize::from(place) * bytes.len() / 256;
    match (how & 3, input.split_first()) {
        (0, _) => input.to_vec(),
        (1, Some((place, input))) => [&bytes[..at(*place)], input, &bytes[at(*place)..]].concat(),
        (2, Some((place, input))) => {
            let after = (at(*place) + input.len()).min(bytes.len());
            [&bytes[..at(*place)], input, &bytes[after..]].concat()
        }
        (_, Some((place, input))) => [&bytes[..at(*place)], input].concat(),
        _ => Vec::new(),
    }
}

fn open(scratch: &Path) -> Journal {
    let state = File::open(scratch).expect("it was made");
    let keep = Keep { arrivals: KEEP, ..Keep::default() };
    Journal::open(state.as_fd(), keep).expect("any bytes can be opened").0
}

fn arrival(number: u64) -> NewArrival {
    let path = RemotePath::parse(format!("topic/{number}").as_bytes()).expect("a path");
    let (digest, live) = (Digest([7; 32]), Some(LiveId([number as u8; 16])));
    // Now: those that are too old would be trimmed.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let time = i64::try_from(since.as_nanos()).expect("before 2262");
    NewArrival { path, size: number, digest, modified: 0, time, inode: number, live, publisher: None }
}

/// Every number is either read or told to be lost, and what is read was appended.
fn check(scratch: &Path) {
    let journal = open(scratch);
    let known = walk(&journal);
    assert!(journal.last() <= ARRIVALS && known.iter().all(|number| *number <= ARRIVALS));
    let last = journal.last();
    let numbers = journal.append(vec![arrival(77)]).expect("it goes on");
    assert_eq!(numbers, [last + 1]);
    journal.trim(SystemTime::now()).expect("it is trimmed");
    drop(journal);
    let journal = open(scratch);
    assert_eq!(journal.last(), last + 1);
    let again = walk(&journal);
    assert_eq!(again.len(), known.len() + 1);
    let found = journal.holds(&arrival(77).path, 77, 77, 0);
    assert_eq!(found, Some(last + 1));
}

fn walk(journal: &Journal) -> Vec<u64> {
    let (mut known, mut after) = (Vec::new(), 0);
    loop {
        match journal.read(after, 5).expect("it can be read") {
            Span::End => break,
            Span::Lost { up_to, missed } => {
                assert!(missed > 0 && up_to == after + missed);
                after = up_to;
            }
            Span::Arrivals(arrivals) => {
                for found in arrivals {
                    after += 1;
                    assert!(found.number == after && found.path == arrival(found.size).path);
                    known.push(found.number);
                }
            }
        }
    }
    assert_eq!(after, journal.last());
    known
}
