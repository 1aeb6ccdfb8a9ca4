//! The list of tokens: hostile content is damage, and what is read is written the same, so nothing can hide in it.
#![no_main]

use hostdir::access::{parse, write};
use hostdir::wire::RemotePath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokens) = parse(bytes) else { return };
    assert_eq!(write(&tokens).as_bytes(), bytes);
    for (_, grant) in tokens {
        assert!(!grant.rights.is_empty() && !grant.folders().is_empty());
        let paths = grant.folders().iter().filter_map(|folder| folder.path());
        paths.for_each(|path| assert_eq!(RemotePath::parse(path.as_bytes()).as_ref(), Ok(path)));
    }
});
