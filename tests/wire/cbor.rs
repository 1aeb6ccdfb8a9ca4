//! Just enough CBOR (RFC 8949) to take a control body apart and to put it together differently.

use minicbor::Decoder;
use minicbor::data::Type;

/// One field of a control body, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its key.
    pub key: u8,
    /// Its value, encoded.
    pub value: Vec<u8>,
}

/// The fields of a control body, in its order. The body must be a well-formed map of definite length.
pub fn fields(body: &[u8]) -> Vec<Field> {
    let mut decoder = Decoder::new(body);
    let count = decoder.map().expect("a map").expect("of definite length");
    (0..count)
        .map(|_| {
            let key = decoder.u8().expect("a small key");
            let start = decoder.position();
            decoder.skip().expect("a value");
            Field { key, value: body[start..decoder.position()].to_vec() }
        })
        .collect()
}

/// A map of definite length.
pub fn map(fields: &[Field]) -> Vec<u8> {
    let count = u8::try_from(fields.len()).expect("few fields");
    assert!(count < 24, "the count stands in the first byte");
    let mut body = vec![0xa0 | count];
    body.extend(contents(fields));
    body
}

/// A map of indefinite length.
pub fn indefinite_map(fields: &[Field]) -> Vec<u8> {
    let mut body = vec![0xbf];
    body.extend(contents(fields));
    body.push(0xff);
    body
}

fn contents(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|field| key(field.key).into_iter().chain(field.value.iter().copied())).collect()
}

fn key(key: u8) -> Vec<u8> {
    if key < 24 { vec![key] } else { vec![0x18, key] }
}

/// What a value is, as far as a field's type in PROTOCOL.md tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An integer from 0.
    Unsigned,
    /// An integer below 0.
    Negative,
    /// A byte string.
    Bytes,
    /// A text string.
    Text,
    /// An array.
    Array,
    /// True or false.
    Bool,
    /// `null`.
    Null,
    /// Anything that no field has: maps, tags, floats, undefined, other simple values.
    Foreign,
}

/// The class of an encoded value.
pub fn class(value: &[u8]) -> Class {
    match Decoder::new(value).datatype().expect("a value") {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Class::Unsigned,
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => Class::Negative,
        Type::Bytes => Class::Bytes,
        Type::String => Class::Text,
        Type::Array | Type::ArrayIndef => Class::Array,
        Type::Bool => Class::Bool,
        Type::Null => Class::Null,
        _ => Class::Foreign,
    }
}

/// One value at least of every type of CBOR, definite and indefinite, in several widths.
pub const EVERY_TYPE: [&str; 33] = [
    "00",                 // 0
    "17",                 // 23
    "1818",               // 24
    "1903e8",             // 1000
    "1a000f4240",         // 1000000
    "1bffffffffffffffff", // 2^64 - 1
    "20",                 // -1
    "3bffffffffffffffff", // -2^64
    "40",                 // empty bytes
    "43010203",           // bytes
    "5f42010243030405ff", // bytes in chunks
    "5fff",               // bytes in no chunks
    "60",                 // empty text
    "63c3a961",           // text
    "7f62c3a96161ff",     // text in chunks
    "80",                 // empty array
    "83010203",           // array
    "8301820203820405",   // nested arrays
    "9fff",               // empty array of indefinite length
    "9f018202039f0405ffff",
    "a0",         // empty map
    "a201020304", // map
    "bf61610161629f0203ffff",
    "a26161a1616201616380",
    "c11a514b67b0",         // tagged integer
    "d8206461626364",       // tagged text
    "d9d9f7c1d90100820102", // tags in tags
    "f4",                   // false
    "f6",                   // null
    "f7",                   // undefined
    "f8ff",                 // a simple value
    "f97e00",               // a half float, not a number
    "fb3ff199999999999a",   // a double
];

/// The bytes of hexadecimal text; white space is ignored.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of digits: {text}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}
