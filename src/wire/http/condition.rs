//! Conditions of a request: whether it is to be done, given what is there (RFC 9110, section 13).

use super::Fields;
use httpdate::HttpDate;

/// What tells one content of a file from another.
#[derive(Debug, Clone)]
pub struct Validators {
    /// The entity tag, strong, without its quotes.
    pub tag: String,
    /// `Last-Modified`, if it can be told.
    pub modified: Option<HttpDate>,
    /// Whether the content can have changed without that date: seconds are coarse (RFC 9110, section 8.8.2.2).
    pub is_date_weak: bool,
}

/// What conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request is to be done.
    Proceed,
    /// The client has what it would get: 304.
    NotModified,
    /// Not what the client assumed: 412.
    Failed,
}

/// Whether a request only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// GET and HEAD.
    Reads,
    /// Any other method.
    Writes,
}

/// What the conditions of a request come to, in the order of RFC 9110, section 13.2.2. `current` is what is there; `None` if
/// nothing is.
#[must_use]
pub fn evaluate(fields: &Fields, access: Access, current: Option<&Validators>) -> Verdict {
    if let Some(holds) = if_match(fields, current).or_else(|| if_unmodified_since(fields, current))
        && !holds
    {
        return Verdict::Failed;
    }
    let holds = if_none_match(fields, current);
    match (holds, access) {
        (Some(true), _) => Verdict::Proceed,
        (Some(false), Access::Reads) => Verdict::NotModified,
        (Some(false), Access::Writes) => Verdict::Failed,
        (None, Access::Reads) if if_modified_since(fields, current) == Some(false) => Verdict::NotModified,
        (None, _) => Verdict::Proceed,
    }
}

/// Whether `Range` counts: there is no `If-Range`, or it names exactly what is there.
#[must_use]
pub fn range_counts(fields: &Fields, current: &Validators) -> bool {
    let mut values = fields.all("if-range");
    let (value, another) = (values.next(), values.next());
    match (value, another) {
        (None, _) => true,
        (Some(_), Some(_)) => false,
        (Some(value), None) if value.starts_with(b"\"") => value == format!("\"{}\"", current.tag).as_bytes(),
        (Some(value), None) => {
            !current.is_date_weak && current.modified.is_some() && date(Some(value)) == current.modified
        }
    }
}

fn if_match(fields: &Fields, current: Option<&Validators>) -> Option<bool> {
    let tags = Tags::of(fields, "if-match")?;
    Some(current.is_some_and(|current| tags.any || tags.listed.iter().any(|tag| tag.is_strongly(&current.tag))))
}

fn if_none_match(fields: &Fields, current: Option<&Validators>) -> Option<bool> {
    let tags = Tags::of(fields, "if-none-match")?;
    Some(!current.is_some_and(|current| tags.any || tags.listed.iter().any(|tag| tag.opaque == current.tag.as_bytes())))
}

fn if_unmodified_since(fields: &Fields, current: Option<&Validators>) -> Option<bool> {
    let since = date(sole(fields, "if-unmodified-since"))?;
    // RFC 9110, section 13.1.4: without a date of what is there, the field does not count.
    Some(current?.modified? <= since)
}

fn if_modified_since(fields: &Fields, current: Option<&Validators>) -> Option<bool> {
    let since = date(sole(fields, "if-modified-since"))?;
    Some(current?.modified? > since)
}

fn sole<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a [u8]> {
    let mut values = fields.all(name);
    values.next().filter(|_| values.next().is_none())
}

fn date(value: Option<&[u8]>) -> Option<HttpDate> {
    str::from_utf8(value?).ok()?.parse().ok()
}

/// A list of entity tags.
#[derive(Debug, Default)]
struct Tags<'a> {
    /// `*`.
    any: bool,
    listed: Vec<Tag<'a>>,
}

#[derive(Debug)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

impl Tag<'_> {
    fn is_strongly(&self, tag: &str) -> bool {
        !self.is_weak && self.opaque == tag.as_bytes()
    }
}

impl<'a> Tags<'a> {
    /// Those of all fields of that name; `None` if there is none. What is no list of tags has no tag in it.
    fn of(fields: &'a Fields, name: &'a str) -> Option<Self> {
        let mut values = fields.all(name).peekable();
        values.peek()?;
        let mut tags = Self::default();
        for value in values {
            if value == b"*" {
                tags.any = true;
            }
            tags.add_listed(value);
        }
        Some(tags)
    }

    /// Tags hold anything but quotes, also commas.
    fn add_listed(&mut self, mut rest: &'a [u8]) {
        loop {
            while let [b' ' | b'\t' | b',', after @ ..] = rest {
                rest = after;
            }
            let (is_weak, quoted) = match rest {
                [b'W', b'/', b'"', after @ ..] => (true, after),
                [b'"', after @ ..] => (false, after),
                _ => return,
            };
            let Some(end) = quoted.iter().position(|byte| *byte == b'"') else { return };
            let (opaque, after) = quoted.split_at_checked(end).unwrap_or_default();
            self.listed.push(Tag { is_weak, opaque });
            rest = after.get(1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed, NotModified, Proceed};

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let headers: Vec<_> =
            pairs.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        Fields::of(&headers)
    }

    fn current() -> Validators {
        Validators { tag: "a".into(), modified: SAME.parse().ok(), is_date_weak: false }
    }

    /// What each condition alone comes to, if it holds and if it does not: RFC 9110, sections 13.1.1 to 13.1.4.
    #[test]
    fn each_condition_alone() {
        // Field, value, what it comes to for a reading request, a writing one, and a writing one where nothing is.
        let cases = [
            ("If-Match", "\"a\"", Proceed, Proceed, Failed),
            ("If-Match", "*", Proceed, Proceed, Failed),
            ("If-Match", "\"b\", \"a\"", Proceed, Proceed, Failed),
            ("If-Match", "W/\"a\"", Failed, Failed, Failed),
            ("If-Match", "\"b\"", Failed, Failed, Failed),
            ("If-Match", "a", Failed, Failed, Failed),
            ("If-Match", "", Failed, Failed, Failed),
            ("If-None-Match", "\"a\"", NotModified, Failed, Proceed),
            ("If-None-Match", "W/\"a\"", NotModified, Failed, Proceed),
            ("If-None-Match", "*", NotModified, Failed, Proceed),
            ("If-None-Match", "\"b,\",\"a\"", NotModified, Failed, Proceed),
            ("If-None-Match", "\"b\"", Proceed, Proceed, Proceed),
            ("If-None-Match", "\"a", Proceed, Proceed, Proceed),
            ("If-Unmodified-Since", OLD, Failed, Failed, Proceed),
            ("If-Unmodified-Since", SAME, Proceed, Proceed, Proceed),
            ("If-Unmodified-Since", NEW, Proceed, Proceed, Proceed),
            ("If-Unmodified-Since", "yesterday", Proceed, Proceed, Proceed),
            ("If-Modified-Since", OLD, Proceed, Proceed, Proceed),
            ("If-Modified-Since", SAME, NotModified, Proceed, Proceed),
            ("If-Modified-Since", NEW, NotModified, Proceed, Proceed),
            ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified, Proceed, Proceed),
            ("If-Modified-Since", "Sun Nov  6 08:49:37 1994", NotModified, Proceed, Proceed),
            ("If-Modified-Since", "yesterday", Proceed, Proceed, Proceed),
        ];
        for (name, value, reads, writes, nothing) in cases {
            let fields = fields(&[(name, value)]);
            assert_eq!(evaluate(&fields, Access::Reads, Some(&current())), reads, "{name}: {value}");
            assert_eq!(evaluate(&fields, Access::Writes, Some(&current())), writes, "{name}: {value} on a write");
            assert_eq!(evaluate(&fields, Access::Writes, None), nothing, "{name}: {value} of nothing");
        }
    }

    /// RFC 9110, section 13.2.2: which of two conditions counts.
    #[test]
    fn conditions_count_in_their_order() {
        let cases: [(&[(&str, &str)], Verdict); 8] = [
            (&[("If-Match", "\"a\""), ("If-Unmodified-Since", OLD)], Proceed),
            (&[("If-Match", "\"b\""), ("If-Unmodified-Since", NEW)], Failed),
            (&[("If-None-Match", "\"b\""), ("If-Modified-Since", NEW)], Proceed),
            (&[("If-None-Match", "\"a\""), ("If-Modified-Since", OLD)], NotModified),
            (&[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], Failed),
            (&[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")], NotModified),
            (&[("If-Unmodified-Since", OLD), ("If-None-Match", "\"a\"")], Failed),
            (&[("If-Unmodified-Since", SAME), ("If-Modified-Since", SAME)], NotModified),
        ];
        for (pairs, verdict) in cases {
            assert_eq!(evaluate(&fields(pairs), Access::Reads, Some(&current())), verdict, "{pairs:?}");
        }
        assert_eq!(evaluate(&fields(&[]), Access::Reads, Some(&current())), Proceed);
    }

    #[test]
    fn without_a_date_of_the_file_dates_do_not_count() {
        let undated = Validators { modified: None, ..current() };
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            assert_eq!(evaluate(&fields(&[(name, OLD)]), Access::Reads, Some(&undated)), Proceed, "{name}");
        }
        assert!(!range_counts(&fields(&[("If-Range", SAME)]), &undated));
    }

    #[test]
    fn if_range_wants_exactly_what_is_there() {
        let cases = [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"b\"", false),
            ("*", false),
            (SAME, true),
            (OLD, false),
            (NEW, false),
            ("", false),
        ];
        for (value, counts) in cases {
            assert_eq!(range_counts(&fields(&[("If-Range", value)]), &current()), counts, "{value}");
        }
        assert!(range_counts(&fields(&[]), &current()));
        assert!(!range_counts(&fields(&[("If-Range", "\"a\""), ("If-Range", "\"a\"")]), &current()));
        let fresh = Validators { is_date_weak: true, ..current() };
        assert!(!range_counts(&fields(&[("If-Range", SAME)]), &fresh));
        assert!(range_counts(&fields(&[("If-Range", "\"a\"")]), &fresh));
    }
}
