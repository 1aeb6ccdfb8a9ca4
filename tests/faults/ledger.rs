//! What the server acknowledged, kept outside of it, and the comparison with what is on its disk.

use crate::common::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

const STAMP: usize = 24;
const MARK: &[u8; 8] = b"stamped\n";

/// Content that tells what it should be: a mark, its seed, its size, and bytes that follow from both.
pub fn stamped(seed: u64, size: usize) -> Vec<u8> {
    let size = size.max(STAMP);
    let mut bytes = [*MARK, seed.to_le_bytes(), (size as u64).to_le_bytes()].concat();
    bytes.extend(Random::new(seed).bytes(size - STAMP));
    bytes
}

/// The seed of content that is whole; `None` if anything of it is missing or wrong.
pub fn seed_of(bytes: &[u8]) -> Option<u64> {
    let word = |start: usize| Some(u64::from_le_bytes(bytes.get(start..start + 8)?.try_into().ok()?));
    let (seed, size) = (word(8)?, word(16)?);
    (size == bytes.len() as u64 && stamped(seed, bytes.len()) == bytes).then_some(seed)
}

/// What was acknowledged, by path.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The seeds that may stand under a path: the last one acknowledged, and those sent since.
    allowed: Mutex<BTreeMap<Vec<u8>, BTreeSet<u64>>>,
}

impl Ledger {
    /// STORED came: from here on this content is under that path.
    pub fn acknowledged(&self, path: &[u8], seed: u64) {
        self.allowed.lock().unwrap().insert(path.to_vec(), BTreeSet::from([seed]));
    }

    /// This content was sent to replace what is there: from here on either may be.
    pub fn sent_over(&self, path: &[u8], seed: u64) {
        self.allowed.lock().unwrap().entry(path.to_vec()).or_default().insert(seed);
    }

    pub fn forget(&self) {
        self.allowed.lock().unwrap().clear();
    }

    pub fn len(&self) -> usize {
        self.allowed.lock().unwrap().len()
    }

    /// What was acknowledged is there, and nobody sees anything that is not whole. Returns the seeds of all visible files.
    pub fn check(&self, dir: &Path, when: &str) -> Vec<u64> {
        let mut visible = BTreeMap::new();
        walk(dir, &mut Vec::new(), &mut visible);
        let allowed = self.allowed.lock().unwrap().clone();
        for (path, seeds) in &allowed {
            let shown = path.escape_ascii();
            let found = visible.get(path).unwrap_or_else(|| panic!("{when}: {shown} was acknowledged and is lost"));
            assert!(found.is_some_and(|seed| seeds.contains(&seed)), "{when}: {shown} was acknowledged and is wrong");
        }
        visible
            .into_iter()
            .map(|(path, seed)| seed.unwrap_or_else(|| panic!("{when}: {} is partial", path.escape_ascii())))
            .collect()
    }
}

fn walk(dir: &Path, path: &mut Vec<u8>, visible: &mut BTreeMap<Vec<u8>, Option<u64>>) {
    use std::os::unix::ffi::OsStrExt;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_name() == ".hostdir" || entry.file_name() == "lost+found" {
            continue;
        }
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), path, visible);
        } else {
            visible.insert(path.clone(), seed_of(&fs::read(entry.path()).unwrap()));
        }
        path.truncate(length);
    }
}

#[test]
fn the_ledger_sees_what_is_lost_wrong_or_partial() {
    let dir = tempfile::TempDir::new().unwrap();
    let ledger = Ledger::default();
    ledger.acknowledged(b"d/f", 7);
    let check = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.check(dir.path(), "test"))).is_ok();
    assert!(!check(), "lost");
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), stamped(7, 1000)).unwrap();
    assert!(check());
    fs::write(dir.path().join("d/f"), stamped(8, 1000)).unwrap();
    assert!(!check(), "wrong");
    ledger.sent_over(b"d/f", 8);
    assert!(check());
    fs::write(dir.path().join("d/g"), &stamped(9, 1000)[..999]).unwrap();
    assert!(!check(), "partial");
}
