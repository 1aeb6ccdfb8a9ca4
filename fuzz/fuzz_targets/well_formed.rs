//! Whether bytes are one well-formed CBOR item (RFC 8949, appendix C), decided without the library that decodes them.

/// What some bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// Exactly one item.
    OneItem,
    /// A break code or a two-byte simple value below 32 where none may stand. The library steps over both in a field
    /// that it skips.
    Stray,
    /// Anything else: cut short, followed by more, or a reserved encoding.
    Malformed,
}

/// A container that is still open.
enum Open {
    /// This many items are missing.
    Definite(u64),
    /// It ends with a break, a map only after a value.
    Indefinite { is_map: bool, items: u64 },
    /// A string in chunks of this major type.
    Chunks(u8),
}

/// Decides without recursion, so that nesting costs no stack.
pub fn form(bytes: &[u8]) -> Form {
    let mut open = vec![Open::Definite(1)];
    let mut rest = bytes;
    while let Some(container) = open.last_mut() {
        match container {
            Open::Definite(0) => {
                open.pop();
                continue;
            }
            Open::Definite(missing) => *missing -= 1,
            Open::Indefinite { is_map, items } => {
                if let Some((0xff, after)) = rest.split_first() {
                    if *is_map && *items % 2 == 1 {
                        return Form::Stray;
                    }
                    rest = after;
                    open.pop();
                    continue;
                }
                *items += 1;
            }
            Open::Chunks(major) => match rest.first() {
                Some(0xff) => {
                    rest = &rest[1..];
                    open.pop();
                    continue;
                }
                Some(byte) if byte >> 5 == *major && byte & 0x1f != 31 => {}
                _ => return Form::Malformed,
            },
        }
        match item(rest) {
            Ok((opened, after)) => {
                open.extend(opened);
                rest = after;
            }
            Err(form) => return form,
        }
    }
    if rest.is_empty() { Form::OneItem } else { Form::Malformed }
}

/// Reads the head of an item, and its bytes if it is a string: what it opens, and what follows.
fn item(bytes: &[u8]) -> Result<(Option<Open>, &[u8]), Form> {
    let (head, rest) = bytes.split_first().ok_or(Form::Malformed)?;
    let (major, info) = (head >> 5, head & 0x1f);
    if *head == 0xff {
        return Err(Form::Stray);
    }
    let width = match info {
        0..24 => 0,
        24..28 => 1 << (info - 24),
        31 => {
            let opened = match major {
                2 | 3 => Open::Chunks(major),
                4 | 5 => Open::Indefinite { is_map: major == 5, items: 0 },
                _ => return Err(Form::Malformed),
            };
            return Ok((Some(opened), rest));
        }
        _ => return Err(Form::Malformed),
    };
    let (argument, rest) = rest.split_at_checked(width).ok_or(Form::Malformed)?;
    let argument = argument.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let argument = if width == 0 { u64::from(info) } else { argument };
    match major {
        2 | 3 => {
            let length = usize::try_from(argument).map_err(|_| Form::Malformed)?;
            Ok((None, rest.get(length..).ok_or(Form::Malformed)?))
        }
        4 => Ok((Some(Open::Definite(argument)), rest)),
        5 => Ok((Some(Open::Definite(argument.saturating_mul(2))), rest)),
        6 => Ok((Some(Open::Definite(1)), rest)),
        7 if info == 24 && argument < 32 => Err(Form::Stray),
        _ => Ok((None, rest)),
    }
}
