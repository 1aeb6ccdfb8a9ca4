//! Remote paths: what parses obeys every rule of PROTOCOL.md, section 4, and can be taken apart and put together.
#![no_main]

use hostdir::wire::{RemoteFolder, RemotePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = RemoteFolder::parse(bytes);
    match RemotePath::parse(bytes) {
        Ok(path) => {
            assert_eq!(path.as_bytes(), bytes);
            assert_eq!(folder, Ok(RemoteFolder::from(path.clone())));
            check_rules(&path);
            check_parts(&path);
            check_portable(&path);
            check_shown(&path);
        }
        Err(error) => {
            assert_eq!(folder.is_ok(), bytes.is_empty());
            assert!(!error.to_string().is_empty());
            assert!(is_against_the_rules(bytes), "{bytes:?} was refused: {error}");
        }
    }
    check_joins(bytes);
});

/// The rules, written down a second time and in another way.
fn is_against_the_rules(bytes: &[u8]) -> bool {
    let names: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
    let forbidden = |name: &&[u8]| {
        matches!(name.len(), 0 | 256..) || [&b"."[..], b".."].contains(name) || name.to_ascii_lowercase() == b".hostdir"
    };
    bytes.is_empty()
        || bytes.len() > 1024
        || names.len() > 64
        || names.iter().any(forbidden)
        || bytes.contains(&0)
        || bytes.contains(&0x5c)
}

fn check_rules(path: &RemotePath) {
    assert!(!is_against_the_rules(path.as_bytes()));
    let joined: Vec<&[u8]> = path.components().collect();
    assert_eq!(joined.join(&b'/'), path.as_bytes());
}

fn check_parts(path: &RemotePath) {
    let parent = path.parent();
    assert_eq!(parent.join(path.name()).as_ref(), Ok(path));
    assert_eq!(path.with_name(path.name()).as_ref(), Ok(path));
    let depth = path.components().count();
    assert_eq!(parent.path().map_or(0, |parent| parent.components().count()), depth - 1);
    assert!(path.as_bytes().starts_with(parent.as_bytes()));
    assert_eq!(RemoteFolder::parse(parent.as_bytes()), Ok(parent));
}

fn check_portable(path: &RemotePath) {
    let each = path.components().all(|name| RemotePath::parse(name).expect("a component").check_portable().is_ok());
    assert_eq!(path.check_portable().is_ok(), each);
    if each {
        for name in path.components() {
            assert!(name.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f && *byte != b':'));
            assert!(!name.ends_with(b".") && !name.ends_with(b" "));
        }
    }
}

fn check_shown(path: &RemotePath) {
    let shown = path.to_string();
    assert!(shown.chars().all(|character| character == '\\' || hostdir::escape::is_harmless(character)));
}

/// Joining any two pieces gives a path that obeys the rules and lies in the folder, or nothing.
fn check_joins(bytes: &[u8]) {
    let (folder, name) = bytes.split_at(bytes.len() / 2);
    let Ok(folder) = RemoteFolder::parse(folder) else { return };
    if let Ok(path) = folder.join(name) {
        assert!(!is_against_the_rules(path.as_bytes()));
        if let Some(folder) = folder.path() {
            let within = path.as_bytes().strip_prefix(folder.as_bytes());
            assert_eq!(within.and_then(|within| within.strip_prefix(b"/")), Some(name));
        }
        assert!(RemotePath::parse(name).is_ok(), "a name that is no path by itself was joined");
    }
}
