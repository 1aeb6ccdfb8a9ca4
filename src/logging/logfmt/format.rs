//! Writing a line: keys, values, quoting and what keeps a value harmless.

use crate::escape;
use jiff::Timestamp;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use std::borrow::Cow;
use std::fmt::{Display, Write};

/// Longest value in a line, in bytes, escapes included. A longer one is cut and ends in `…`. The longest remote path
/// (1,024 bytes, each of them escaped) fits.
pub const MAX_VALUE: usize = 8 * 1024;

const CUT: &str = "…";

/// `record` as a line with its line end: `time`, `level`, `msg` when there is a message, then the record's key-values
/// in the order in which the caller wrote them. A value that is null (an `Option` that is `None`) is left out.
///
/// ```
/// use hostdir::logging::logfmt;
/// let time = "2026-11-20T14:03:21.482Z".parse().unwrap();
/// let record = log::Record::builder().level(log::Level::Info).args(format_args!("two words")).build();
/// assert_eq!(logfmt::record_line(time, &record), "time=2026-11-20T14:03:21.482Z level=info msg=\"two words\"\n");
/// ```
#[must_use]
pub fn record_line(time: Timestamp, record: &Record<'_>) -> String {
    let mut line = Line::new(time, record.level());
    match record.args().as_str() {
        Some("") => {}
        Some(message) => line.pair("msg", message),
        None => line.pair_unless_empty("msg", record.args()),
    }
    // Our visitor never fails, and a source of key-values that does has still given what came before.
    let _ = record.key_values().visit(&mut line);
    line.finish()
}

/// A line that is being put together.
#[derive(Debug)]
pub struct Line {
    text: String,
    /// Where a value is rendered before it is settled; kept to be used again.
    raw: String,
}

impl Line {
    /// A line that begins with `time`, in UTC with milliseconds, and `level`.
    #[must_use]
    pub fn new(time: Timestamp, level: Level) -> Self {
        let mut line = Self { text: String::with_capacity(256), raw: String::new() };
        append(&mut line.text, format_args!("time={time:.3} level={}", level_name(level)));
        line
    }

    /// Adds `key=value`. A character that no key may have becomes `_`.
    pub fn pair(&mut self, key: &str, value: impl Display) {
        self.render(&value);
        self.push_rendered(key);
    }

    /// The line, with its line end.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    fn pair_unless_empty(&mut self, key: &str, value: impl Display) {
        self.render(&value);
        if !self.raw.is_empty() {
            self.push_rendered(key);
        }
    }

    fn render(&mut self, value: &dyn Display) {
        self.raw.clear();
        append(&mut self.raw, format_args!("{value}"));
    }

    fn push_rendered(&mut self, key: &str) {
        self.text.push(' ');
        push_key(&mut self.text, key);
        self.text.push('=');
        push_value(&mut self.text, &self.raw);
    }
}

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        value.visit(PairOf { line: self, key: key.as_str() })
    }
}

struct PairOf<'a> {
    line: &'a mut Line,
    key: &'a str,
}

impl VisitValue<'_> for PairOf<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.line.pair(self.key, value);
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// `value` as it stands in a log and as it is read back: see [the module](super#what-happens-to-a-backslash).
///
/// ```
/// use hostdir::logging::logfmt::settled;
/// assert_eq!(settled("a\nb"), r"a\nb");
/// assert_eq!(settled(r"\xff\u{1b}"), r"\xff\u{1b}", "what was escaped before stays as it is");
/// assert_eq!(settled(r"C:\dir\"), r"C:\\dir\\");
/// ```
#[must_use]
pub fn settled(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    push_settled(value, &mut text, |text, unit| text.push_str(unit));
    text
}

fn push_key(text: &mut String, key: &str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !key.is_empty() && key.bytes().all(allowed) {
        return text.push_str(key);
    }
    text.extend(key.bytes().map(|byte| if allowed(byte) { char::from(byte) } else { '_' }));
    if key.is_empty() {
        text.push('_');
    }
}

fn push_value(text: &mut String, value: &str) {
    if !needs_quotes(value) {
        return push_settled(value, text, |text, unit| text.push_str(unit));
    }
    text.push('"');
    push_settled(value, text, |text, unit| match unit {
        "\"" => text.push_str("\\\""),
        unit => text.push_str(unit),
    });
    text.push('"');
}

fn needs_quotes(value: &str) -> bool {
    // A line end or tab becomes an escape, and is no white space any more.
    let space = |character: char| character.is_whitespace() && escape::is_harmless(character);
    value.is_empty() || value.chars().any(|character| matches!(character, '=' | '"') || space(character))
}

/// Passes the settled form of `value` to `push`, one character or one whole escape at a time, within [`MAX_VALUE`].
fn push_settled(value: &str, text: &mut String, push: impl Fn(&mut String, &str)) {
    let (mut length, mut cut_at) = (0, text.len());
    let mut rest = value;
    while !rest.is_empty() {
        let (unit, after) = next_unit(rest);
        length += unit.len();
        if length > MAX_VALUE {
            text.truncate(cut_at);
            return text.push_str(CUT);
        }
        push(text, &unit);
        if length <= MAX_VALUE - CUT.len() {
            cut_at = text.len();
        }
        rest = after;
    }
}

/// The settled form of the first character or escape of `rest`, and what follows it.
fn next_unit(rest: &str) -> (Cow<'_, str>, &str) {
    if let Some(length) = escape_length(rest.as_bytes()) {
        let (escape, after) = rest.split_at(length);
        return (Cow::Borrowed(escape), after);
    }
    let length = rest.chars().next().map_or(0, char::len_utf8);
    let (character, after) = rest.split_at(length);
    if character.chars().all(escape::is_harmless) {
        return (Cow::Borrowed(character), after);
    }
    (Cow::Owned(escape::harmless(character.as_bytes())), after)
}

/// The length of the escape at the start of `text`, when there is one that [`escape::harmless`] could have written.
fn escape_length(text: &[u8]) -> Option<usize> {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match text {
        [b'\\', b'\\' | b'n' | b'r' | b't', ..] => Some(2),
        [b'\\', b'x', high, low, ..] if hex(high) && hex(low) => Some(4),
        [b'\\', b'u', b'{', digits @ ..] => {
            let count = digits.iter().take_while(|byte| hex(byte)).count();
            ((1..=6).contains(&count) && digits.get(count) == Some(&b'}')).then_some(count + 4)
        }
        _ => None,
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail; a Display that fails by itself leaves what it wrote so far.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Timestamp {
        "2026-11-20T14:03:21.4829Z".parse().unwrap()
    }

    fn value(raw: &str) -> String {
        let mut text = String::new();
        push_value(&mut text, raw);
        text
    }

    #[test]
    fn a_transfer_is_the_line_that_the_manual_shows() {
        let path = "photos/año nuevo.jpg";
        let pairs: &[(&str, Value<'_>)] = &[
            ("event", Value::from("download")),
            ("id", Value::from("7f3a")),
            ("client", Value::from("192.168.1.34:51824")),
            ("via", Value::from("native")),
            ("path", Value::from_display(&path)),
            ("size", Value::from(8_388_608_u64)),
            ("status", Value::from("incomplete")),
            ("cause", Value::from("connection lost")),
        ];
        let record = Record::builder().level(Level::Warn).key_values(&pairs).build();
        assert_eq!(
            record_line(time(), &record),
            "time=2026-11-20T14:03:21.482Z level=warn event=download id=7f3a client=192.168.1.34:51824 via=native \
             path=\"photos/año nuevo.jpg\" size=8388608 status=incomplete cause=\"connection lost\"\n"
        );
    }

    #[test]
    fn a_message_stands_after_the_level_and_an_empty_one_is_left_out() {
        let pairs: &[(&str, u8)] = &[("n", 1)];
        let port = std::hint::black_box(4433);
        let with =
            Record::builder().args(format_args!("listening on {port}")).key_values(&pairs).build().to_owned_line();
        assert_eq!(with, "time=2026-11-20T14:03:21.482Z level=info msg=\"listening on 4433\" n=1\n");
        let nothing = std::hint::black_box("");
        let without = Record::builder().args(format_args!("{nothing}")).key_values(&pairs).build().to_owned_line();
        assert_eq!(without, "time=2026-11-20T14:03:21.482Z level=info n=1\n");
    }

    trait OwnedLine {
        fn to_owned_line(&self) -> String;
    }

    impl OwnedLine for Record<'_> {
        fn to_owned_line(&self) -> String {
            record_line(time(), self)
        }
    }

    #[test]
    fn a_value_that_is_none_is_left_out() {
        let pairs: &[(&str, Option<u8>)] = &[("a", None), ("b", Some(2))];
        let line = Record::builder().key_values(&pairs).build().to_owned_line();
        assert_eq!(line, "time=2026-11-20T14:03:21.482Z level=info b=2\n");
    }

    #[test]
    fn values_are_quoted_when_they_are_not_plain() {
        assert_eq!(value("año.jpg"), "año.jpg");
        assert_eq!(value(""), "\"\"");
        assert_eq!(value("a b"), "\"a b\"");
        assert_eq!(value("a=b"), "\"a=b\"");
        assert_eq!(value("a\"b"), r#""a\"b""#);
        assert_eq!(value("a\u{a0}b"), "\"a\u{a0}b\"");
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        assert_eq!(value("a\nstatus=ok"), r#""a\nstatus=ok""#);
        assert_eq!(value("\u{1b}]0;title\u{7}"), r"\u{1b}]0;title\u{7}");
        assert_eq!(value("\u{9b}31m"), r"\u{9b}31m");
        assert_eq!(value("gpj.\u{202e}exe"), r"gpj.\u{202e}exe");
        assert_eq!(value("a\u{85}b\u{2028}c"), r"a\u{85}b\u{2028}c");
        assert_eq!(value("nul\0"), r"nul\u{0}");
    }

    #[test]
    fn escapes_are_not_escaped_again_and_other_backslashes_are_doubled() {
        assert_eq!(value(&escape::harmless(b"\xff \x1b\\")), r#""\xff \u{1b}\\""#);
        assert_eq!(value(r"\d\xg1\u{}\u{1234567}\"), r"\\d\\xg1\\u{}\\u{1234567}\\");
        assert_eq!(value("end\\\" x=1"), r#""end\\\" x=1""#);
    }

    #[test]
    fn a_long_value_is_cut_between_escapes() {
        assert_eq!(settled(&"a".repeat(MAX_VALUE)).len(), MAX_VALUE);
        let cut = settled(&"\u{7}".repeat(MAX_VALUE));
        assert!(cut.len() <= MAX_VALUE && cut.ends_with("\\u{7}…"), "{} bytes", cut.len());
        assert_eq!(settled(&cut), cut);
        assert_eq!(escape::harmless(&[7; 1024]), settled(&escape::harmless(&[7; 1024])));
    }

    #[test]
    fn a_key_has_only_the_characters_of_a_key() {
        let mut line = Line::new(time(), Level::Info);
        line.pair("a b=\n\"ñ", 1);
        line.pair("", 2);
        assert_eq!(line.finish(), "time=2026-11-20T14:03:21.482Z level=info a_b_____=1 _=2\n");
    }
}
