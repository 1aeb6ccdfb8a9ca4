//! What an interrupted client, or somebody else, can leave in a download folder: a client opens it, resumes what is a
//! partial file by its name and nothing else, and neither reads nor changes what lies outside.
#![no_main]

use hostdir::client::folder::Folder;
use hostdir::wire::{FileHeader, RemotePath, TransferId, Version};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The files that leftovers are left of.
const PATHS: [&str; 2] = ["f", "a/b"];
const SECRET: &[u8] = b"nobody may read or change this";

fuzz_target!(|bytes: &[u8]| {
    let dir = scratch();
    let downloads = dir.join("downloads");
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("outside")).expect("a scratch folder");
    fs::create_dir(&downloads).expect("a download folder");
    fs::write(dir.join("secret"), SECRET).expect("it can be written");

    let (shape, records) = bytes.split_first().unwrap_or((&0, &[]));
    match shape % 16 {
        1..4 => misshapen(dir, &downloads, *shape),
        _ => leftovers(dir, &downloads, records),
    }

    assert_eq!(fs::read(dir.join("secret")).expect("it is there"), SECRET);
    assert_eq!(fs::read_dir(dir.join("outside")).expect("it is there").count(), 0);
});

fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        // In memory an input costs a thirtieth of what it costs on a disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        place.join(format!("hostdir-fuzz-folder-{}", std::process::id()))
    })
}

/// The state folder is no folder, or leads elsewhere: the client refuses it.
fn misshapen(dir: &Path, downloads: &Path, shape: u8) {
    let state = downloads.join(".hostdir");
    match shape % 16 {
        1 => fs::write(&state, b"a file").expect("it can be written"),
        2 => symlink(dir.join("outside"), &state).expect("a link"),
        _ => {
            fs::create_dir(&state).expect("a folder");
            symlink(dir.join("outside"), state.join("partial")).expect("a link");
        }
    }
    assert!(Folder::open(downloads).is_err(), "a state folder that is none is not used");
}

/// Entries of any names and kinds where partial files are kept.
fn leftovers(dir: &Path, downloads: &Path, records: &[u8]) {
    let partial = downloads.join(".hostdir/partial");
    fs::create_dir_all(&partial).expect("a folder");
    // Regular files whose names are text, by name: what can be a partial file at all.
    let mut files = BTreeMap::new();
    for record in records.split(|byte| *byte == 0).take(8) {
        let (&kind, rest) = record.split_first().unwrap_or((&1, &[]));
        let (&stem, rest) = rest.split_first().unwrap_or((&1, &[]));
        let name = name(stem, rest);
        let place = partial.join(OsStr::from_bytes(&name));
        if fs::symlink_metadata(&place).is_ok() {
            continue;
        }
        match kind % 8 {
            5 => fs::create_dir(&place).expect("a folder"),
            6 => symlink(dir.join("secret"), &place).expect("a link"),
            // A path that is too long for a socket leaves no entry, which is as good.
            7 => drop(UnixListener::bind(&place)),
            _ => {
                fs::write(&place, vec![kind; usize::from(kind)]).expect("a file");
                if let Ok(name) = String::from_utf8(name) {
                    files.insert(name, u64::from(kind));
                }
            }
        }
    }
    let (first, second) = (open(downloads), open(downloads));
    for path in PATHS {
        check(&first, &second, path, &files);
    }
    drop((first, second));
    let kept = |name: &String| partial.join(name).symlink_metadata().is_ok_and(|it| it.is_file());
    assert!(files.keys().all(kept), "what was left is kept for the next attempt");
}

fn open(downloads: &Path) -> Folder {
    Folder::open(downloads).expect("a download folder opens over any leftovers")
}

/// A component of any bytes, or one that begins as partial files of a path do.
fn name(stem: u8, rest: &[u8]) -> Vec<u8> {
    let stem = match stem % 8 {
        0 => String::new(),
        1 => "once-".into(),
        2 => prefix(PATHS[0]).to_uppercase(),
        3..6 => prefix(PATHS[0]),
        _ => prefix(PATHS[1]),
    };
    let mut name = stem.into_bytes();
    name.extend(rest.iter().take(120).map(|byte| if *byte == b'/' { b'_' } else { *byte }));
    if matches!(&name[..], b"" | b"." | b"..") { b"dots".to_vec() } else { name }
}

fn prefix(path: &str) -> String {
    format!("{:.32}-", blake3::hash(path.as_bytes()).to_hex().as_str())
}

fn check(first: &Folder, second: &Folder, path: &str, files: &BTreeMap<String, u64>) {
    let remote = RemotePath::parse(path.as_bytes()).expect("a path");
    let of_path = || files.iter().filter_map(|(name, length)| Some((name.strip_prefix(&prefix(path))?, *length)));
    assert_eq!(first.has_partial(&remote), of_path().count() > 0);
    let found = first.partial(&remote).expect("a leftover can be opened, or is none");
    match &found {
        Some(partial) => {
            let held = of_path().find(|(version, _)| hex(version).is_some_and(|it| it == partial.version.as_bytes()));
            let (_, length) = held.expect("a version out of nothing");
            assert!(of_path().any(|(version, _)| partial.staged.name() == prefix(path) + version));
            assert!(of_path().count() > 1 || partial.staged.length() == length);
            let theirs = second.partial(&remote).expect("a leftover can be opened");
            assert!(theirs.is_none_or(|it| it.staged.name() != partial.staged.name()), "two clients have one file");
        }
        None => assert!(of_path().count() != 1 || of_path().all(|(version, _)| hex(version).is_none()), "one is lost"),
    }
    let Some(partial) = found else { return begin(first, &remote, b"\x01") };
    let (version, length) = (partial.version.clone(), partial.staged.length());
    begin(first, &remote, version.as_bytes());
    first.leave(&remote, partial.staged);
    let again = first.partial(&remote).expect("it can be opened").expect("it was left a moment ago");
    assert_eq!((again.version, again.staged.length()), (version, length));
}

/// A download begins whatever was left, and empty.
fn begin(folder: &Folder, path: &RemotePath, version: &[u8]) {
    for size in [9, 64 * 1024 + 1] {
        let version = Version::new(version).expect("a version");
        let header = FileHeader { transfer: TransferId(1), size, modified: 0, version, offset: 0, length: size };
        let mut staged = folder.begin(path, &header).expect("a new file can be begun");
        assert_eq!((staged.length(), staged.file().metadata().expect("it is open").len()), (0, 0));
        staged.write(b"new").expect("it can be written");
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect::<Option<Vec<_>>>().filter(|bytes| (1..=Version::MAX).contains(&bytes.len()))
}
