//! The tables: kinds, limits, fields and error codes, in both directions.

use crate::cbor::{Class, class, fields, map};
use crate::document::{FieldRow, TEXT, field_rows, table};
use crate::notation;
use crate::samples::samples;
use hostdir::wire::{ErrorCode, Kind, MAX_CONTROL, MAX_CONTROL_BEFORE_WELCOME, MAX_DATA, Reply, Request, Violation};
use std::collections::{HashMap, HashSet};

fn byte(cell: &str) -> u8 {
    let digits = cell.strip_prefix("0x").unwrap_or_else(|| panic!("{cell} is not a byte"));
    u8::from_str_radix(digits, 16).expect("a byte")
}

/// The rows of the table of kinds: bytes, name, sender, body.
fn kinds() -> Vec<(std::ops::RangeInclusive<u8>, &'static str, &'static str, &'static str)> {
    let table = table(&["Kind", "Name", "From", "Body", "Section"]);
    let range = |cell: &str| match cell.split_once('–') {
        Some((first, last)) => byte(first)..=byte(last),
        None => byte(cell)..=byte(cell),
    };
    table.rows.iter().map(|row| (range(row[0]), row[1], row[2], row[3])).collect()
}

#[test]
fn the_kinds_are_those_of_the_code() {
    let mut documented = HashMap::new();
    for (range, name, _, body) in kinds() {
        for byte in range {
            assert_eq!(documented.insert(byte, (name, body)), None, "{byte:#x} is given twice");
        }
    }
    for byte in 0..=u8::MAX {
        match (Kind::from_byte(byte), documented.get(&byte)) {
            (Ok(Kind::Ignorable(_)), None) => {}
            (Ok(kind), Some((name, body))) => {
                assert_eq!(&notation::name(kind), name);
                assert_ne!(*body, "reserved", "{name}");
            }
            (Err(_), None | Some((_, "reserved"))) => {}
            (code, document) => panic!("{byte:#x} is {code:?} in the code and {document:?} in the document"),
        }
    }
}

#[test]
fn each_kind_comes_from_the_side_that_the_table_says() {
    for (range, name, from, body) in kinds() {
        if body == "reserved" {
            continue;
        }
        let kind = Kind::from_byte(*range.start()).expect(name);
        let refused = Violation::Unexpected(kind);
        let client = Request::decode(kind, &[0xa0]) != Err(refused.clone());
        let server = Reply::decode(kind, &[0xa0]) != Err(refused);
        let expected = match from {
            "client" => (true, false),
            "server" => (false, true),
            // DATA is no message.
            "both" => (false, false),
            other => panic!("{name} comes from {other}"),
        };
        assert_eq!((client, server), expected, "{name}");
    }
}

#[test]
fn the_limits_of_frames_are_those_of_the_code() {
    let rows = table(&["Frames", "Largest body"]).rows;
    let number = |row: usize| -> u32 {
        let digits: String = rows[row][1].split(" bytes").next().unwrap_or_default().replace(',', "");
        digits.parse().unwrap_or_else(|_| panic!("{} is not a limit", rows[row][1]))
    };
    assert_eq!([number(0), number(1), number(2)], [MAX_CONTROL_BEFORE_WELCOME, MAX_CONTROL, MAX_DATA]);
    assert_eq!(rows.len(), 3);
}

#[test]
fn the_error_codes_are_those_of_the_code() {
    let rows = table(&["Code", "Name", "Meaning", "Session"]).rows;
    assert_eq!(rows.len(), ErrorCode::ALL.len());
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        assert_eq!((row[0], row[1]), (&*code.number().to_string(), code.name()));
        assert_eq!(row[3], if code.ends_session() { "closes" } else { "goes on" }, "{}", code.name());
    }
}

#[test]
fn errors_named_in_the_text_are_in_the_table() {
    let known: HashSet<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    let mut named = 0;
    for phrase in TEXT.split("ERROR `").skip(1).chain(TEXT.split("refuses with `").skip(1)) {
        let name = phrase.split('`').next().unwrap_or_default();
        assert!(known.contains(name), "{name}");
        named += 1;
    }
    for list in TEXT.split("\nErrors: ").skip(1).filter_map(|list| list.split("\n\n").next()) {
        for name in list.split('`').skip(1).step_by(2) {
            assert!(known.contains(name), "{name}");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} were found");
}

#[test]
fn every_message_has_the_fields_of_its_table_and_no_others() {
    let documented: HashSet<(String, u8)> = field_rows().iter().map(|row| (row.message.to_owned(), row.key)).collect();
    let mut seen = HashSet::new();
    for sample in samples() {
        let body = sample.message.body();
        let kind = sample.message.kind();
        seen.extend(fields(&body).into_iter().map(|field| (notation::name(kind), field.key)));
        assert_eq!(notation::from_tables(kind, &body), notation::from_code(&sample.message), "{}", sample.name);
    }
    assert_eq!(seen, documented);
}

#[test]
fn a_field_is_required_where_the_table_says_so() {
    let rows = field_rows();
    for sample in samples() {
        let known = fields(&sample.message.body());
        for at in 0..known.len() {
            let mut fewer = known.clone();
            let removed = fewer.remove(at);
            let row = row(&rows, sample.message.kind(), removed.key);
            let accepted = sample.message.decode_same_kind(&map(&fewer)).is_ok();
            assert_eq!(!accepted, row.kind.contains("required"), "{} without {}", sample.name, row.name);
        }
    }
}

#[test]
fn a_field_has_the_type_that_the_table_says() {
    let rows = field_rows();
    for sample in samples() {
        for field in fields(&sample.message.body()) {
            let row = row(&rows, sample.message.kind(), field.key);
            let name = row.kind.split([' ', ',']).next().unwrap_or_default();
            let fits = match class(&field.value) {
                Class::Unsigned => name == "uint" || name == "int",
                Class::Negative => name == "int",
                Class::Bytes => name == "bytes",
                Class::Text => name == "text",
                Class::Array => name == "array",
                Class::Bool => name == "bool",
                Class::Null | Class::Foreign => false,
            };
            assert!(fits, "{}: {} is {}, not {:x?}", sample.name, row.name, row.kind, field.value);
        }
    }
}

fn row(rows: &[FieldRow], kind: Kind, key: u8) -> FieldRow {
    let found = rows.iter().find(|row| row.message == notation::name(kind) && row.key == key);
    *found.unwrap_or_else(|| panic!("{kind:?} has no field {key} in the tables"))
}

#[test]
fn links_lead_to_headings() {
    let anchors: HashSet<String> = TEXT.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let links: Vec<&str> = TEXT.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() >= 15);
    for link in links {
        assert!(anchors.contains(link), "#{link} leads nowhere");
    }
}

/// The anchor that a heading gets on the usual sites.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
