//! Reading a file of records from its beginning to its end, whatever its bytes are.
//!
//! Good records are handed on; what lies between them is counted. Memory is bounded by a window, however long the file is.

use super::record::{Kind, MAX_RECORD, RECORD_HEADER, next_marker, payload};
use crate::wire::JournalId;
use rustix::io::{Errno, pread};
use std::fs::File;

/// Bytes read at a time.
const WINDOW: usize = 256 * 1024;

/// What a scan found besides the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scanned {
    /// Where the last good record ends.
    pub(super) end: u64,
    /// Bytes after that: a record that was not written to its end, or a damaged one.
    pub(super) torn: u64,
    /// Bytes before that which belong to no good record.
    pub(super) skipped: u64,
}

/// Hands each good record from offset `from` on to `found`, with its offset; one that is not taken counts as damaged.
pub(super) fn scan(
    file: &File,
    from: u64,
    id: JournalId,
    kind: Kind,
    found: &mut dyn FnMut(u64, &[u8]) -> bool,
) -> rustix::io::Result<Scanned> {
    let mut window = Window { file, start: from, bytes: Vec::new(), is_last: false };
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    let mut offset = from;
    loop {
        let bytes = window.from(offset, MAX_RECORD)?;
        if bytes.is_empty() {
            break;
        }
        if let Some(good) = payload(id, kind, bytes).filter(|payload| found(offset, payload)) {
            let after = advance(offset, RECORD_HEADER.saturating_add(good.len()));
            scanned.skipped = scanned.skipped.saturating_add(offset.saturating_sub(scanned.end));
            (scanned.end, offset) = (after, after);
            continue;
        }
        let rest = bytes.get(1..).unwrap_or_default();
        // A marker may begin in the last three bytes of what was read.
        let step = next_marker(kind, rest).unwrap_or_else(|| rest.len().saturating_sub(3));
        offset = advance(offset, step.saturating_add(1));
    }
    scanned.torn = offset.saturating_sub(scanned.end);
    Ok(scanned)
}

fn advance(offset: u64, count: usize) -> u64 {
    offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
}

/// A part of a file.
struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: Vec<u8>,
    /// Whether they reach to the end of the file.
    is_last: bool,
}

impl Window<'_> {
    /// The bytes from `offset` on: at least `least` of them, unless the file ends before.
    fn from(&mut self, offset: u64, least: usize) -> rustix::io::Result<&[u8]> {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        if !self.is_last && self.bytes.len().saturating_sub(skip) < least {
            self.bytes.drain(..skip.min(self.bytes.len()));
            self.start = offset;
            self.fill()?;
            return Ok(&self.bytes);
        }
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    fn fill(&mut self) -> rustix::io::Result<()> {
        while self.bytes.len() < WINDOW {
            let have = self.bytes.len();
            self.bytes.resize(WINDOW, 0);
            let place = self.bytes.get_mut(have..).unwrap_or_default();
            let count = read_at(self.file, place, advance(self.start, have));
            self.bytes.truncate(have.saturating_add(*count.as_ref().unwrap_or(&0)));
            if count? == 0 {
                self.is_last = true;
                break;
            }
        }
        Ok(())
    }
}

/// `pread(2)`, again if a signal came between.
pub(super) fn read_at(file: &File, place: &mut [u8], offset: u64) -> rustix::io::Result<usize> {
    loop {
        match pread(file, &mut *place, offset) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "Clippy has no exception for tests")]
mod tests {
    use super::*;
    use crate::store::journal::record::encode_removal;
    use crate::store::journal::{Removal, record::decode_removal};
    use crate::wire::RemotePath;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    const ID: JournalId = JournalId([7; 16]);

    fn record(number: u64) -> Vec<u8> {
        encode_removal(ID, number, &RemotePath::parse(b"a/b").unwrap(), Removal::OverQuota { folder: 1, quota: 2 })
    }

    fn numbers(bytes: &[u8]) -> (Vec<u64>, Scanned) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let mut numbers = Vec::new();
        let mut take = |_, payload: &[u8]| {
            numbers.extend(decode_removal(payload).map(|(_, _, number)| number));
            true
        };
        let scanned = scan(&file, 0, ID, Kind::Removal, &mut take).unwrap();
        (numbers, scanned)
    }

    #[derive(Debug, Clone)]
    enum Part {
        Record,
        Noise(Vec<u8>),
        /// The beginning of a record.
        Torn(usize),
        /// A record with other bits at one place.
        Flipped(usize, u8),
        Foreign,
    }

    fn part() -> impl Strategy<Value = Part> {
        let length = record(1).len();
        prop_oneof![
            3 => Just(Part::Record),
            1 => prop::collection::vec(any::<u8>(), 0..600).prop_map(Part::Noise),
            1 => (0..length).prop_map(Part::Torn),
            1 => (0..length, 1..=255_u8).prop_map(|(place, bits)| Part::Flipped(place, bits)),
            1 => Just(Part::Foreign),
        ]
    }

    proptest! {
        #[test]
        fn good_records_are_found_whatever_lies_between_them(parts in prop::collection::vec(part(), 0..30)) {
            let (mut bytes, mut expected, mut noise, mut end) = (Vec::new(), Vec::new(), 0, 0);
            for (number, part) in (0..24).zip(parts) {
                let mut record = record(number);
                match part {
                    Part::Record => {
                        bytes.extend(record);
                        expected.push(number);
                        end = bytes.len();
                        continue;
                    }
                    Part::Noise(other) => record = other,
                    Part::Torn(length) => {
                        // What comes next must not happen to be what is missing.
                        let other = !record[length];
                        record.truncate(length);
                        record.push(other);
                    }
                    Part::Flipped(place, bits) => record[place] ^= bits,
                    Part::Foreign => {
                        let path = RemotePath::parse(b"a/b").unwrap();
                        record = encode_removal(JournalId([8; 16]), number, &path, Removal::OverQuota { folder: 1, quota: 2 });
                    }
                }
                noise += record.len() as u64;
                bytes.extend(record);
            }
            let (found, scanned) = numbers(&bytes);
            prop_assert_eq!(found, expected);
            prop_assert_eq!((scanned.end, scanned.torn), (end as u64, (bytes.len() - end) as u64));
            prop_assert_eq!(scanned.skipped + scanned.torn, noise);
        }
    }

    #[test]
    fn records_are_found_across_the_edge_of_a_window() {
        for edge in [WINDOW, 2 * WINDOW] {
            for shift in [0, 1, 2, 3, 4, 17, MAX_RECORD - 1, MAX_RECORD, MAX_RECORD + 1] {
                let mut bytes = vec![0xa7; edge - shift];
                bytes.extend(record(5));
                bytes.extend(vec![0; 3 * WINDOW]);
                bytes.extend(record(6));
                let (found, scanned) = numbers(&bytes);
                assert_eq!((found, scanned.torn), (vec![5, 6], 0), "{edge} {shift}");
            }
        }
    }

    #[test]
    fn a_file_of_nothing_but_markers_is_no_trap() {
        let record = record(1);
        let bytes: Vec<u8> = record[..4].iter().chain(&[0, 0, 8, 0]).copied().cycle().take(1 << 20).collect();
        assert_eq!(numbers(&bytes), (Vec::new(), Scanned { end: 0, torn: 1 << 20, skipped: 0 }));
    }
}
