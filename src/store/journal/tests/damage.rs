//! What kills, power cuts, full disks and rot leave, and what the journal makes of it.

use super::*;
use crate::store::journal::record::{SEGMENT_HEADER, encode_arrival};
use crate::store::journal::tail::Active;
use crate::wire::ErrorCode;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;

/// Where each record of a segment begins, and the last one ends.
fn boundaries(journal: &Journal, first: u64) -> Vec<u64> {
    let index = journal.index();
    let segment = index.segments().iter().find(|segment| segment.first == first).unwrap();
    segment.offsets().chain([segment.end]).collect()
}

fn copy(state: &State) -> State {
    let copy = State::new();
    std::fs::create_dir(copy.0.path().join("journal")).unwrap();
    for entry in std::fs::read_dir(state.0.path().join("journal")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.0.path().join("journal").join(entry.file_name())).unwrap();
    }
    copy
}

fn flip(file: &std::path::Path, offset: u64, bits: u8) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ bits], offset).unwrap();
}

#[test]
fn a_cut_at_any_byte_loses_what_it_cut_and_says_so() {
    let state = State::new();
    let journal = state.open();
    (1..=5).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    let ends = boundaries(&journal, 1);
    drop(journal);
    for cut in ends[2]..=ends[5] {
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
        let torn = cut - ends[whole as usize];
        for is_acknowledged in [true, false] {
            let damaged = copy(&state);
            OpenOptions::new().write(true).open(damaged.segment(1)).unwrap().set_len(cut).unwrap();
            if !is_acknowledged {
                std::fs::remove_file(damaged.file("last")).unwrap();
            }
            let (journal, opened) = damaged.reopen();
            assert_eq!((opened.arrivals, opened.torn_bytes), (whole, torn), "cut at {cut}");
            // What was acknowledged is known to be lost; what never was is as if it had not been.
            let last = if is_acknowledged { 5 } else { whole };
            let lost = (whole < last).then_some(whole + 1..=last);
            assert_eq!((journal.last(), &opened.damaged), (last, &lost.iter().cloned().collect()), "cut at {cut}");
            assert_eq!(std::fs::metadata(damaged.segment(1)).unwrap().len(), ends[whole as usize]);
            assert_eq!(journal.append(vec![new(77)]).unwrap(), [last + 1]);
            let check = |journal: &Journal| {
                let (arrivals, holes) = walk(journal);
                let expected = (1..=whole).chain([77]);
                assert_eq!(arrivals.len() as u64, whole + 1);
                assert!(arrivals.iter().zip(expected).all(|(arrival, seed)| is_of(arrival, seed)));
                assert_eq!(holes, lost.iter().cloned().collect::<Vec<_>>());
            };
            check(&journal);
            drop(journal);
            let (journal, opened) = damaged.reopen();
            assert_eq!((opened.torn_bytes, opened.arrivals), (0, whole + 1));
            check(&journal);
        }
    }
}

#[test]
fn a_cut_header_is_a_segment_that_was_not_begun() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(32));
    (1..=4).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    drop(journal);
    for length in 0..SEGMENT_HEADER {
        let cut = copy(&state);
        std::fs::write(cut.segment(5), &std::fs::read(state.segment(1)).unwrap()[..length]).unwrap();
        let (journal, opened) = cut.reopen();
        assert_eq!((opened.unusable, opened.damaged.len(), journal.last()), (1, 0, 4), "{length}");
        assert_eq!(journal.append(vec![new(5)]).unwrap(), [5]);
        assert_eq!(walk(&journal).0.len(), 5);
    }
}

/// Reproducible numbers (<https://prng.di.unimi.it/splitmix64.c>).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The seed is printed; `JOURNAL_SEED` takes one again.
fn random() -> Random {
    let seed = std::env::var("JOURNAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("JOURNAL_SEED={seed}");
    Random(seed)
}

const ARRIVALS: u64 = 20;

#[test]
fn flipped_bits_lose_the_records_that_they_hit_and_no_other() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(64));
    (1..=ARRIVALS).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    let segments: Vec<(u64, Vec<u64>)> =
        state.segments().iter().map(|first| (*first, boundaries(&journal, *first))).collect();
    drop(journal);
    assert_eq!(segments.len(), 3);
    let mut random = random();
    for _ in 0..400 {
        let damaged = copy(&state);
        let mut untouched: Vec<bool> = vec![true; ARRIVALS as usize + 1];
        for _ in 0..=random.below(4) {
            let (first, ends) = &segments[random.below(3) as usize];
            let offset = random.below(*ends.last().unwrap());
            flip(&damaged.segment(*first), offset, 1 << random.below(8));
            if offset >= ends[0] {
                // A bit that is flipped twice is not flipped, but this is not worth a case.
                let record = ends.iter().filter(|end| **end <= offset).count() as u64 - 1;
                untouched[(first + record) as usize] = false;
            }
        }
        check_flipped(&damaged, &untouched);
    }
}

fn check_flipped(damaged: &State, untouched: &[bool]) {
    let (journal, opened) = damaged.reopen();
    let found = |journal: &Journal| walk(journal).0;
    let arrivals = found(&journal);
    let numbers: Vec<u64> = arrivals.iter().map(|arrival| arrival.number).collect();
    let lost: Vec<u64> = opened.damaged.iter().cloned().flatten().collect();
    assert!(arrivals.iter().all(|arrival| is_of(arrival, arrival.number)));
    // Found or lost, each once; and what was not hit is found.
    let mut all: Vec<u64> = numbers.iter().chain(&lost).copied().collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq(1..=ARRIVALS), "{numbers:?} {opened:?}");
    assert!((1..=ARRIVALS).all(|number| !untouched[number as usize] || numbers.contains(&number)), "{opened:?}");
    let is_hit = lost.iter().all(|number| !untouched[*number as usize]);
    assert!(is_hit, "{opened:?}");
    assert_eq!(opened.is_whole(), lost.is_empty() && opened.damaged_headers == 0, "{opened:?}");
    assert_eq!(journal.append(vec![new(99)]).unwrap(), [ARRIVALS + 1]);
    assert_eq!(found(&journal).len(), numbers.len() + 1);
    drop(journal);
    let (journal, again) = damaged.reopen();
    assert_eq!((again.damaged, found(&journal).len()), (opened.damaged, numbers.len() + 1));
}

#[test]
fn the_id_is_restored_from_a_segment_and_records_without_header_are_found() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(32));
    (1..=10).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    let (id, secret) = (journal.id(), *journal.secret());
    drop(journal);
    flip(&state.segment(9), 30, 1);
    flip(&state.segment(5), 3, 1);
    flip(&state.file("id"), 20, 1);
    let (journal, opened) = state.reopen();
    assert!(opened.is_restored && !opened.is_whole());
    assert_eq!((journal.id(), opened.arrivals, opened.damaged.len()), (id, 10, 0));
    assert_ne!(*journal.secret(), secret);
    // Nothing is appended to a segment whose header is damaged.
    assert_eq!(journal.append(vec![new(11)]).unwrap(), [11]);
    assert_eq!(state.segments(), [1, 5, 9, 11]);
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!((opened.is_restored, walk(&journal).0.len()), (false, 11));
}

#[test]
fn without_any_id_a_journal_begins_anew() {
    let state = State::new();
    let journal = state.open();
    journal.append(vec![new(1), new(2)]).unwrap();
    let id = journal.id();
    drop(journal);
    std::fs::write(state.file("id"), b"").unwrap();
    flip(&state.segment(1), 0, 1);
    let (journal, opened) = state.reopen();
    assert!(opened.is_new && opened.unusable == 1 && !opened.is_whole());
    assert_ne!(journal.id(), id);
    assert_eq!((journal.last(), journal.append(vec![new(1)]).unwrap()), (0, vec![1]));
}

#[test]
fn a_segment_of_another_journal_is_left_alone() {
    let (state, other) = (State::new(), State::new());
    state.open().append(vec![new(1)]).unwrap();
    other.open().append(vec![new(7)]).unwrap();
    std::fs::copy(other.segment(1), state.segment(400)).unwrap();
    let (journal, opened) = state.reopen();
    assert_eq!((opened.foreign, opened.arrivals, journal.last()), (1, 1, 1));
    assert_eq!(journal.append(vec![new(2)]).unwrap(), [2]);
    assert!(state.segment(400).exists());
}

#[test]
fn a_journal_of_a_newer_format_is_not_touched() {
    let state = State::new();
    state.open().append(vec![new(1)]).unwrap();
    let mut bytes = std::fs::read(state.segment(1)).unwrap();
    bytes[11] = 2;
    let sum = record::check(&[&bytes[..SEGMENT_HEADER - 8]]);
    bytes[SEGMENT_HEADER - 8..SEGMENT_HEADER].copy_from_slice(&sum);
    std::fs::write(state.segment(1), &bytes).unwrap();
    let error = Journal::open(File::open(state.0.path()).unwrap().as_fd(), Keep::default()).unwrap_err();
    assert!(error.to_string().contains("a newer version"), "{error}");
    assert_eq!(std::fs::read(state.segment(1)).unwrap(), bytes);
}

#[test]
fn damage_that_comes_later_is_told_to_who_reads() {
    let state = State::new();
    let journal = state.open();
    journal.append((1..=5).map(new).collect()).unwrap();
    let ends = boundaries(&journal, 1);
    flip(&state.segment(1), ends[2] + 20, 4);
    let (arrivals, holes) = walk(&journal);
    assert_eq!((arrivals.len(), holes), (4, vec![3..=3]));
    assert_eq!(journal.find_number(3).unwrap(), None);
    std::fs::remove_file(state.segment(1)).unwrap();
    assert_eq!(journal.read(1, 9).unwrap(), Span::Lost { up_to: 5, missed: 4 });
}

#[test]
fn a_write_that_fails_refuses_its_batch_and_no_other() {
    let state = State::new();
    let journal = state.open();
    journal.append(vec![new(1)]).unwrap();
    // Writes to it find the disk full (full(4)).
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let kept = journal.tail().active.take().unwrap();
    journal.tail().active = Some(Active { file: full, ..kept });
    let error = journal.append(vec![new(2)]).unwrap_err();
    assert_eq!((error.code(), journal.last()), (ErrorCode::NoSpace, 1));
    assert_eq!(journal.holds(&new(2).path, 2, 2, -5), None);
    assert_eq!(journal.append(vec![new(3)]).unwrap(), [2]);
    assert_eq!(walk(&journal).0.len(), 2);
    drop(journal);
    assert!(state.reopen().1.is_whole());
}

#[test]
fn a_flush_that_fails_is_final_for_its_segment() {
    let state = State::new();
    let journal = state.open();
    let fail = |seed| {
        // It takes every write and cannot be flushed: EINVAL of fsync(2).
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        let kept = journal.tail().active.take().unwrap();
        journal.tail().active = Some(Active { file: null, ..kept });
        assert_eq!(journal.append(vec![new(seed)]).unwrap_err().code(), ErrorCode::Unavailable);
        assert!(journal.tail().active.is_none());
    };
    // A first batch, so that the next segment has the same first number.
    fail(8);
    assert_eq!(journal.append(vec![new(1)]).unwrap(), [1]);
    assert_eq!(state.segments(), [1]);
    fail(9);
    assert_eq!(journal.append(vec![new(2)]).unwrap(), [2]);
    assert_eq!(state.segments(), [1, 2]);
    // Only one of the two that were called 1 is there to be dropped.
    assert_eq!(journal.trim(SystemTime::now()).unwrap(), 0);
    assert_eq!(walk(&journal).0.len(), 2);
    drop(journal);
    assert!(state.reopen().1.is_whole());
}

#[test]
fn what_was_refused_is_ignored_when_its_number_was_given_again() {
    let state = State::new();
    let journal = state.open();
    journal.append((1..=3).map(new).collect()).unwrap();
    // The batch that was refused reached the file all the same, and could not be cut off.
    let refused = journal.find_number(3).unwrap().unwrap();
    let mut bytes = Vec::new();
    encode_arrival(journal.id(), &Arrival { number: 4, ..refused.clone() }, 3, &mut bytes);
    encode_arrival(journal.id(), &Arrival { number: 5, ..refused }, 3, &mut bytes);
    OpenOptions::new().append(true).open(state.segment(1)).unwrap().write_all(&bytes).unwrap();
    journal.tail().active = None;
    assert_eq!(journal.append(vec![new(40)]).unwrap(), [4]);
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!((opened.refused, opened.arrivals, opened.damaged.len()), (2, 4, 0));
    assert!(is_of(&journal.find_number(4).unwrap().unwrap(), 40));
    assert_eq!(journal.append(vec![new(5)]).unwrap(), [5]);
    assert_eq!(journal.holds(&new(3).path, 3, 3, -5), Some(3));
}

#[test]
fn a_record_that_nobody_was_told_of_counts_as_an_arrival() {
    let state = State::new();
    let journal = state.open();
    journal.append(vec![new(1)]).unwrap();
    let mut bytes = Vec::new();
    let unseen = Arrival { number: 2, ..journal.find_number(1).unwrap().unwrap() };
    encode_arrival(journal.id(), &unseen, 1, &mut bytes);
    drop(journal);
    OpenOptions::new().append(true).open(state.segment(1)).unwrap().write_all(&bytes).unwrap();
    let (journal, opened) = state.reopen();
    assert!(opened.is_whole());
    assert_eq!((journal.last(), journal.find_number(2).unwrap()), (2, Some(unseen)));
    assert_eq!(journal.append(vec![new(3)]).unwrap(), [3]);
}

#[test]
fn damaged_removals_are_forgotten() {
    let state = State::new();
    let journal = state.open();
    (1..=3).for_each(|seed| journal.note_removed(&new(seed).path, Removal::OverQuota).unwrap());
    drop(journal);
    flip(&state.file("removed"), 18, 1);
    let length = std::fs::metadata(state.file("removed")).unwrap().len();
    OpenOptions::new().write(true).open(state.file("removed")).unwrap().set_len(length - 1).unwrap();
    let (journal, opened) = state.reopen();
    assert_eq!((opened.removals, journal.why_removed(&new(2).path)), (1, Some(Removal::OverQuota)));
    assert_eq!((journal.why_removed(&new(1).path), journal.why_removed(&new(3).path)), (None, None));
}
