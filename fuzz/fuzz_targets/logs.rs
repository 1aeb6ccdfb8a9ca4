//! Reading logs back: no bytes make the parser panic, and what the formatter writes is read as it was meant.
#![no_main]

use hostdir::escape::harmless;
use hostdir::logging::logfmt::{Line, pairs, parse_line, settled};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use log::Level;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for line in text.split('\n') {
        let whole = parse_line(line);
        let one_by_one: Result<Vec<_>, _> = pairs(line).collect();
        assert_eq!(whole.is_ok(), one_by_one.is_ok());
    }

    let (key, value) = ("path", harmless(bytes));
    let mut line = Line::new(Timestamp::UNIX_EPOCH, Level::Info);
    line.pair(key, &value);
    let line = line.finish();
    assert_eq!(line.matches('\n').count(), 1, "one event is one line");
    let parsed = parse_line(line.trim_end_matches('\n')).expect("what was written can be read");
    let (_, found) = parsed.iter().find(|(name, _)| *name == key).expect("the value is there");
    if value.len() <= hostdir::logging::logfmt::MAX_VALUE {
        assert_eq!(found.as_ref(), settled(&value));
    }
});
