//! The fields of a head (RFC 9110, section 5).

use super::BadRequest;

/// The fields of a head, in their order. Names are compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Box<str>, Box<[u8]>)>);

impl Fields {
    /// Most fields of a head.
    pub const MAX: usize = 64;

    /// Those of a head that was parsed.
    #[must_use]
    pub(super) fn of(headers: &[httparse::Header<'_>]) -> Self {
        let field = |header: &httparse::Header<'_>| (header.name.into(), trimmed(header.value).into());
        Self(headers.iter().map(field).collect())
    }

    /// The values of all fields of that name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of a field that can be there once only, and is visible ASCII and blanks.
    ///
    /// # Errors
    /// 400 if it is there more than once, or has other bytes.
    pub fn sole(&self, name: &str) -> Result<Option<&str>, BadRequest> {
        let mut values = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(BadRequest::malformed("a field is there twice that can be there once"));
        }
        let text = str::from_utf8(value).ok().filter(|text| text.is_ascii());
        text.map(Some).ok_or_else(|| BadRequest::malformed("a field has bytes that are not ASCII"))
    }

    /// The members of all fields of that name that are lists without quoted strings.
    pub fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let members = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        members.map(trimmed).filter(|member| !member.is_empty())
    }

    /// Whether a list has a member, without regard to case.
    #[must_use]
    pub fn has_member(&self, name: &str, member: &str) -> bool {
        self.members(name).any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    }
}

/// Without blanks around it.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let headers: Vec<_> =
            pairs.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        Fields::of(&headers)
    }

    #[test]
    fn names_have_no_case_and_values_no_blanks_around() {
        let fields = fields(&[("Host", " x \t"), ("ACCEPT", "a"), ("accept", "b")]);
        assert_eq!(fields.first("hOST"), Some(&b"x"[..]));
        assert_eq!(fields.all("Accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.first("missing"), None);
    }

    #[test]
    fn a_sole_field_is_there_once() {
        let fields = fields(&[("a", "1"), ("b", "2"), ("B", "2"), ("c", "é")]);
        assert_eq!(fields.sole("a"), Ok(Some("1")));
        assert_eq!(fields.sole("d"), Ok(None));
        assert!(fields.sole("b").is_err() && fields.sole("c").is_err());
    }

    #[test]
    fn members_come_from_all_fields_of_the_name() {
        let fields = fields(&[("Connection", "keep-alive, ,Upgrade"), ("connection", "x")]);
        assert_eq!(fields.members("connection").collect::<Vec<_>>(), [&b"keep-alive"[..], b"Upgrade", b"x"]);
        assert!(fields.has_member("connection", "upgrade") && !fields.has_member("connection", "up"));
    }
}
