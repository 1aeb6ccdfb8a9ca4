//! Whatever stands in the file of known servers: it is understood or refused, never half; and what is written is read.
#![no_main]

use hostdir::client::known_servers::find;
use hostdir::connection::Fingerprint;
use libfuzzer_sys::fuzz_target;

const SERVER: &str = "nas:9000";
const KEY: &str = "sha256//YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<Fingerprint>() {
        assert_eq!(key.to_string(), text, "there is one way to write a fingerprint");
    }
    let Ok(found) = find(text, SERVER) else { return };
    // A line more is understood too, unless it says something else of the server.
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let more = format!("{text}{separator}{SERVER} {KEY}\n");
    let key: Fingerprint = KEY.parse().expect("it is one");
    match find(&more, SERVER) {
        Ok(now) => assert!(now == Some(key) && found.is_none_or(|found| found == key), "{found:?} became {now:?}"),
        Err(_) => assert!(found.is_some_and(|found| found != key), "a good line was refused"),
    }
    // A line that is damaged is never passed over.
    assert!(find(&format!("{text}{separator}{SERVER} sha256//\n"), SERVER).is_err());
});
