//! The journal as a whole, on a real disk.
// Clippy's exceptions for tests do not reach the functions that they share, and there is none for this.
#![allow(clippy::arithmetic_side_effects)]

mod damage;

use super::folder::nanoseconds;
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

fn keeping(arrivals: u64) -> Keep {
    Keep { arrivals, ..Keep::default() }
}

fn path(name: &str) -> RemotePath {
    RemotePath::parse(name.as_bytes()).unwrap()
}

const OVER_QUOTA: Removal = Removal::OverQuota { folder: 1, quota: 2 };

/// A file that is another for each seed.
fn new(seed: u64) -> NewArrival {
    NewArrival {
        path: path(&format!("topic/{seed}.bin")),
        size: seed,
        digest: Digest(*blake3::hash(&seed.to_le_bytes()).as_bytes()),
        modified: -5,
        time: nanoseconds(SystemTime::now()),
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

#[test]
fn threads_that_append_at_once_get_consecutive_numbers() {
    let state = State::new();
    let journal = state.open();
    let append = |thread: u64| {
        let shares = (0..40).map(|round: u64| {
            let seeds: Vec<u64> = (0..=round % 3).map(|part| thread * 1000 + round * 3 + part).collect();
            let numbers = journal.append(seeds.iter().copied().map(new).collect()).unwrap();
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            assert!(*numbers.last().unwrap() <= journal.last());
            numbers.into_iter().zip(seeds)
        });
        shares.flatten().collect::<Vec<_>>()
    };
    let mut all: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || append(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert!(all.iter().map(|(number, _)| *number).eq(1..=all.len() as u64));
    let check = |journal: &Journal| {
        let (arrivals, holes) = walk(journal);
        assert_eq!((arrivals.len(), holes.len()), (all.len(), 0));
        assert!(arrivals.iter().zip(&all).all(|(arrival, (_, seed))| is_of(arrival, *seed)));
    };
    check(&journal);
    drop(journal);
    check(&state.open());
}

#[test]
fn what_is_read_across_segments_is_in_order_and_what_is_asked_for() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(32));
    (1..=10).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    assert_eq!(state.segments(), [1, 5, 9]);
    for after in 0..10 {
        for most in [0, 1, 3, 100, usize::MAX] {
            let Span::Arrivals(arrivals) = journal.read(after, most).unwrap() else { panic!("{after} {most}") };
            assert!(arrivals.len() <= most.max(1));
            assert!(arrivals.iter().zip(after + 1..).all(|(arrival, seed)| is_of(arrival, seed)));
        }
    }
    assert_eq!(journal.read(10, 1).unwrap(), Span::End);
    assert_eq!(journal.read(u64::MAX, 1).unwrap(), Span::End);
    assert_eq!((journal.find_number(0).unwrap(), journal.find_number(11).unwrap()), (None, None));
    assert_eq!(walk(&journal).0.len(), 10);
}

#[test]
fn a_file_and_an_upload_are_found_by_what_they_are() {
    let state = State::new();
    let journal = state.open();
    journal.append((1..=5).map(new).collect()).unwrap();
    let check = |journal: &Journal| {
        let held = new(3);
        assert_eq!(journal.holds(&held.path, held.inode, held.size, held.modified), Some(3));
        assert_eq!(journal.holds(&held.path, held.inode, held.size, held.modified + 1), None);
        assert_eq!(journal.holds(&held.path, held.inode, held.size + 1, held.modified), None);
        assert_eq!(journal.holds(&held.path, held.inode + 1, held.size, held.modified), None);
        assert_eq!(journal.holds(&path("topic/4.bin"), held.inode, held.size, held.modified), None);
        assert_eq!((journal.find_live(live(3)), journal.find_live(live(2))), (Some(3), None));
    };
    check(&journal);
    drop(journal);
    let journal = state.open();
    check(&journal);
    journal.append(vec![new(3)]).unwrap();
    let held = new(3);
    assert_eq!(journal.holds(&held.path, held.inode, held.size, held.modified), Some(6));
    assert_eq!(journal.find_live(live(3)), Some(6));
    drop(journal);
    assert_eq!(state.open().find_live(live(3)), Some(6));
}

#[test]
fn only_so_many_uploads_are_remembered() {
    let state = State::new();
    let journal = state.open();
    journal.append((0..5000).map(|seed| new(2 * seed + 1)).collect()).unwrap();
    let check = |journal: &Journal| {
        assert_eq!(journal.find_live(live(9_999)), Some(5000));
        assert_eq!(journal.find_live(live(2 * 904 + 1)), Some(905));
        assert_eq!(journal.find_live(live(2 * 903 + 1)), None);
    };
    check(&journal);
    drop(journal);
    check(&state.open());
}

#[test]
fn trimming_drops_what_is_beyond_the_number_that_is_kept() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(32));
    (1..=50).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    assert_eq!(journal.trim(SystemTime::now()).unwrap(), 16);
    assert_eq!(journal.trim(SystemTime::now()).unwrap(), 0);
    let check = |journal: &Journal| {
        assert_eq!((journal.oldest(), journal.last()), (17, 50));
        assert_eq!(journal.read(0, 9).unwrap(), Span::Lost { up_to: 16, missed: 16 });
        assert_eq!(journal.read(10, 9).unwrap(), Span::Lost { up_to: 16, missed: 6 });
        assert_eq!(journal.find_number(16).unwrap(), None);
        assert!(is_of(&journal.find_number(17).unwrap().unwrap(), 17));
        let held = |seed| journal.holds(&new(seed).path, seed, seed, -5);
        assert_eq!((held(16), held(17)), (None, Some(17)));
        assert_eq!((journal.find_live(live(15)), journal.find_live(live(17))), (None, Some(17)));
    };
    check(&journal);
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!((opened.arrivals, opened.is_whole()), (34, true), "{opened}");
    check(&journal);
}

#[test]
fn trimming_drops_what_is_too_old_and_numbers_go_on() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(32));
    (1..=10).for_each(|seed| drop(journal.append(vec![new(seed)]).unwrap()));
    let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60);
    assert_eq!(journal.trim(in_days(29)).unwrap(), 0);
    assert_eq!(journal.trim(in_days(31)).unwrap(), 10);
    assert_eq!(journal.trim(in_days(31)).unwrap(), 0);
    assert_eq!(state.segments(), [11]);
    assert_eq!((journal.oldest(), journal.last()), (11, 10));
    assert_eq!(journal.read(4, 9).unwrap(), Span::Lost { up_to: 10, missed: 6 });
    drop(journal);
    // The watermark is only a second opinion: the name of the segment says it too.
    std::fs::remove_file(state.file("last")).unwrap();
    let (journal, opened) = state.reopen();
    assert!(opened.is_whole(), "{opened}");
    assert_eq!((journal.last(), journal.append(vec![new(11)]).unwrap()), (10, vec![11]));
    assert_eq!(walk(&journal).1, [1..=10]);
}

#[test]
fn a_reader_meets_no_error_while_segments_are_dropped() {
    let state = State::new();
    let (journal, _) = state.open_keeping(keeping(8));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                walk(&journal);
            }
        });
        for seed in 1..=60 {
            journal.append(vec![new(seed)]).unwrap();
            journal.trim(SystemTime::now()).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!((journal.oldest(), journal.last()), (53, 60));
}

#[test]
fn a_removal_is_explained_until_something_arrives_there() {
    let state = State::new();
    let journal = state.open();
    let expired = Removal::Expired { after: Duration::from_secs(3600) };
    journal.append(vec![new(1), new(2)]).unwrap();
    journal.note_removed(&new(1).path, expired).unwrap();
    journal.note_removed(&new(2).path, OVER_QUOTA).unwrap();
    let why = |journal: &Journal, seed| journal.why_removed(&new(seed).path);
    assert_eq!((why(&journal, 1), why(&journal, 2), why(&journal, 3)), (Some(expired), Some(OVER_QUOTA), None));
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!((opened.removals, opened.is_whole()), (2, true));
    assert_eq!((why(&journal, 1), why(&journal, 2)), (Some(expired), Some(OVER_QUOTA)));
    journal.append(vec![new(1)]).unwrap();
    assert_eq!(why(&journal, 1), None);
    drop(journal);
    assert_eq!(why(&state.open(), 1), None);
    assert_eq!(why(&state.open(), 2), Some(OVER_QUOTA));
}

#[test]
fn removals_are_bounded_and_the_latest_are_known() {
    let state = State::new();
    let journal = state.open();
    for seed in 0..70_000 {
        journal.note_removed(&new(seed).path, OVER_QUOTA).unwrap();
    }
    drop(journal);
    let (journal, opened) = state.reopen();
    assert_eq!(opened.removals, 32_768 + 70_000 % 32_768);
    assert!((40_000..70_000).all(|seed| journal.why_removed(&new(seed).path).is_some()));
    assert_eq!(journal.why_removed(&new(0).path), None);
}

#[test]
fn only_what_changed_while_the_journal_was_there_may_be_lost() {
    let state = State::new();
    let before = SystemTime::now() - Duration::from_secs(1);
    let journal = state.open();
    std::fs::write(state.0.path().join("uploaded"), b"").unwrap();
    let changed = std::fs::metadata(state.0.path().join("uploaded")).unwrap().modified().unwrap();
    assert!(journal.may_have_lost(changed) && !journal.may_have_lost(before));
    journal.append(vec![new(1)]).unwrap();
    drop(journal);
    let (journal, _) = state.reopen();
    assert!(journal.may_have_lost(changed) && !journal.may_have_lost(before));
    // What is older than all that is kept would have been dropped by now.
    let later = SystemTime::now() + Duration::from_secs(60 * 24 * 60 * 60);
    assert_eq!(journal.trim(later).unwrap(), 1);
    assert!(!journal.may_have_lost(changed), "it may be one of those that were dropped");
    assert!(journal.may_have_lost(SystemTime::now() + Duration::from_secs(1)));
}

#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let state = State::new();
    state.open().append(vec![new(1)]).unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!((mode(state.file("id")), mode(state.segment(1)), mode(state.0.path().join("journal"))), (0, 0, 0));
}

#[test]
fn a_hundred_thousand_arrivals_are_open_at_once() {
    let state = State::new();
    let journal = state.open();
    for batch in 0..25 {
        journal.append((batch * 4000..(batch + 1) * 4000).map(new).collect()).unwrap();
    }
    drop(journal);
    let begun = std::time::Instant::now();
    let (journal, opened) = state.reopen();
    let took = begun.elapsed();
    println!("opened {opened} in {took:?}");
    assert_eq!((opened.arrivals, opened.is_whole()), (100_000, true));
    // Without optimisation, on a machine that has other work: an optimised build takes a tenth of it.
    assert!(took < Duration::from_secs(20), "{took:?}");
    let begun = std::time::Instant::now();
    assert_eq!(walk(&journal).0.len(), 100_000);
    println!("read all in {:?}", begun.elapsed());
}

/// A measurement: `HOSTDIR_LONG=1 cargo test --lib appends_a_second -- --nocapture`.
#[test]
fn appends_a_second() {
    let is_long = std::env::var_os("HOSTDIR_LONG").is_some_and(|value| value != "0");
    for threads in [1, 8, 64, 256] {
        let state = State::new();
        let journal = state.open();
        let begun = std::time::Instant::now();
        let rounds = if is_long { 200 } else { 2 };
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let journal = &journal;
                scope.spawn(move || {
                    (0..rounds).for_each(|round| drop(journal.append(vec![new(thread * rounds + round)]).unwrap()));
                });
            }
        });
        assert_eq!(journal.last(), threads * rounds);
        let rate = (threads * rounds) as f64 / begun.elapsed().as_secs_f64();
        println!("{threads} threads: {rate:.0} appends/s of one arrival each");
    }
}
