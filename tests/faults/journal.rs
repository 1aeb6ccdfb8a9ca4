//! The journal's files are cut and damaged while no server runs: the next one starts, serves, says what is lost, and
//! tells those who follow.

use crate::common::{Log, Random, Server, eventually, is_long, memory, scaled};
use crate::follow::{From, Heard, history};
use hostdir::wire::{Arrived, Gap, JournalId};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Arrivals in the journal; of those that are kept, a segment holds an eighth.
const ARRIVALS: u64 = 60;
const KEEP: &str = "80";
/// Bytes before the first record of a segment, as `store::journal` draws it.
const HEADER: usize = 52;

/// A journal as it was written, and what can be read in it.
struct Original {
    id: JournalId,
    arrivals: BTreeMap<u64, Arrived>,
    /// Each file, by name.
    files: BTreeMap<String, Vec<u8>>,
}

/// What is done to a file of the journal.
#[derive(Debug, Clone)]
enum Damage {
    Cut { file: String, length: usize },
    Flip { file: String, offset: usize, bits: u8 },
}

impl Original {
    fn make(host: &Path, random: &mut Random) -> Self {
        let server = Server::start(host, &["--keep-arrivals", KEEP]);
        let mut client = server.client();
        for number in 1..=ARRIVALS {
            let bytes = random.bytes(1 + random.clone().below(100) as usize);
            let stored = client.put(format!("chat/{number}"), &bytes).unwrap().unwrap();
            assert_eq!(stored.number, Some(number));
        }
        let (subscribed, heard, _) = history(&mut client, "", From::Start);
        server.kill();
        let arrived = heard.into_iter().map(|heard| match heard {
            Heard::Arrived(arrived) => (arrived.number, arrived),
            Heard::Gap(gap) => panic!("{gap:?}"),
        });
        let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        let files = fs::read_dir(folder(host)).unwrap().map(|entry| read(entry.unwrap())).collect();
        Self { id: subscribed.journal, arrivals: arrived.collect(), files }
    }

    fn segments(&self) -> Vec<&String> {
        self.files.keys().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
    }

    /// Where the records of a segment begin, and where the last one ends.
    fn records(&self, segment: &str) -> Vec<usize> {
        let bytes = &self.files[segment];
        let mut ends = vec![HEADER];
        while let Some(length) = bytes.get(ends[ends.len() - 1] + 4..).and_then(|rest| rest.first_chunk::<4>()) {
            ends.push(ends[ends.len() - 1] + 16 + u32::from_be_bytes(*length) as usize);
        }
        assert_eq!(ends[ends.len() - 1], bytes.len());
        ends
    }

    /// Every cut in the last three records, and so many flipped bits anywhere.
    fn damages(&self, random: &mut Random) -> Vec<Damage> {
        let segments = self.segments();
        let newest = segments[segments.len() - 1];
        let records = self.records(newest);
        let last = records[records.len().saturating_sub(4)]..self.files[newest].len();
        let mut damages: Vec<_> = last.map(|length| Damage::Cut { file: newest.clone(), length }).collect();
        if !is_long() {
            // The ends of records are the interesting ones; of the others a sample.
            let is_end = |damage: &Damage| matches!(damage, Damage::Cut { length, .. } if records.contains(length));
            damages.retain(|damage| is_end(damage) || random.below(20) == 0);
        }
        for _ in 0..scaled(24, 600) {
            let file = match random.below(12) {
                0 => "last".to_owned(),
                1 => "id".to_owned(),
                _ => segments[random.below(segments.len() as u64) as usize].clone(),
            };
            let offset = random.below(self.files[&file].len() as u64) as usize;
            damages.push(Damage::Flip { file, offset, bits: 1 << random.below(8) });
        }
        damages
    }

    /// Puts the journal back as it was, but for the damage.
    fn restore(&self, host: &Path, damage: &Damage) {
        fs::remove_dir_all(folder(host)).unwrap();
        fs::create_dir(folder(host)).unwrap();
        for (name, bytes) in &self.files {
            let mut bytes = bytes.clone();
            match damage {
                Damage::Cut { file, length } if file == name => bytes.truncate(*length),
                Damage::Flip { file, offset, bits } if file == name => bytes[*offset] ^= bits,
                _ => {}
            }
            fs::write(folder(host).join(name), bytes).unwrap();
        }
    }

    /// The arrivals that a reader of the damaged files must not miss, and whether something must be said in the log.
    fn expected(&self, damage: &Damage) -> (Vec<u64>, bool) {
        let (file, hit) = match damage {
            Damage::Cut { file, length } => (file, *length..usize::MAX),
            Damage::Flip { file, offset, .. } => (file, *offset..offset + 1),
        };
        let Ok(first) = file.parse::<u64>() else { return (self.arrivals.keys().copied().collect(), file == "id") };
        let records = self.records(file);
        let is_hit = |number: &u64| {
            let index = number.checked_sub(first).map(|index| index as usize);
            let record = index.and_then(|index| Some(*records.get(index)?..*records.get(index + 1)?));
            record.is_some_and(|record| record.start < hit.end && hit.start < record.end)
        };
        let left: Vec<_> = self.arrivals.keys().copied().filter(|number| !is_hit(number)).collect();
        let is_whole = matches!(damage, Damage::Cut { length, .. } if records.contains(length));
        // A cut between two records leaves nothing torn, but numbers that were told to somebody.
        let is_said = !is_whole || left.len() < self.arrivals.len();
        (left, is_said)
    }
}

fn folder(host: &Path) -> PathBuf {
    host.join(".hostdir/journal")
}

/// Checks that what was heard is the original's, in order and without an untold hole up to number `last`. Returns the
/// numbers of its arrivals.
fn check(original: &Original, heard: &[Heard], after: u64, last: u64, damage: &Damage) -> Vec<u64> {
    let (mut position, mut numbers) = (after, Vec::new());
    for heard in heard {
        match heard {
            Heard::Arrived(arrived) => {
                assert_eq!(arrived.number, position + 1, "{damage:?}: a hole that was not told");
                if arrived.number <= ARRIVALS {
                    assert_eq!(arrived, &original.arrivals[&arrived.number], "{damage:?}");
                    numbers.push(arrived.number);
                }
                position = arrived.number;
            }
            Heard::Gap(Gap { after, missed }) => {
                assert_eq!(*missed, Some(after - position), "{damage:?}: a gap after {position}");
                position = *after;
            }
        }
    }
    assert_eq!(position, last, "{damage:?}: the end was not told");
    numbers
}

#[test]
fn a_server_starts_on_any_damaged_journal_and_tells_what_is_lost() {
    let mut random = Random::announced("damaged journals");
    let (host, aside) = (memory(), memory());
    let original = Original::make(host.path(), &mut random);
    assert!(original.segments().len() > 4);
    let (damages, mut lost) = (original.damages(&mut random), 0);
    for damage in &damages {
        original.restore(host.path(), damage);
        // Files whose arrivals are lost arrive once more when the server sees them, which takes it a while.
        let are_there = random.below(16) == 0;
        if !are_there {
            fs::rename(host.path().join("chat"), aside.path().join("chat")).unwrap();
        }
        let server = Server::start(host.path(), &["--keep-arrivals", KEEP]);
        let (expected, is_said) = original.expected(damage);
        let found = server.logged(Log::Events, &["event=journal", "found="]);
        assert_eq!(found.contains("level=warn"), is_said, "{damage:?}: {found}");
        let missing = ARRIVALS - expected.len() as u64;
        let again = if are_there { missing } else { 0 };
        let mut client = server.client();
        let what = format!("{damage:?}: what is lost arrives again");
        let mut told = None;
        eventually(&what, || {
            let history = history(&mut client, "", From::Start);
            let is_all = history.2 >= ARRIVALS + again;
            told = Some(history);
            is_all
        });
        let (subscribed, heard, last) = told.unwrap();
        assert_eq!((subscribed.journal, subscribed.oldest), (original.id, expected[0]), "{damage:?}");
        assert_eq!(last, ARRIVALS + again, "{damage:?}: no number is given twice, none left out");
        // From the oldest that is known on.
        assert_eq!(check(&original, &heard, expected[0] - 1, last, damage), expected, "{damage:?}");
        // As one sees it who was there before: a cursor somewhere.
        let cursor = 1 + random.below(ARRIVALS);
        let (_, heard, last) = history(&mut client, "", From::After(original.id, cursor));
        let rest: Vec<_> = expected.iter().copied().filter(|number| *number > cursor).collect();
        assert_eq!(check(&original, &heard, cursor, last, damage), rest, "{damage:?}, after {cursor}");
        let stored = client.put("new", &random.bytes(10)).unwrap().unwrap();
        assert_eq!(stored.number, Some(last + 1), "{damage:?}");
        server.kill();
        fs::remove_file(host.path().join("new")).unwrap();
        if !are_there {
            fs::rename(aside.path().join("chat"), host.path().join("chat")).unwrap();
        }
        lost += missing;
    }
    eprintln!("{} starts, {lost} arrivals lost and told", damages.len());
    assert!(lost > 0);
}
