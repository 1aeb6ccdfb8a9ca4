//! Text laid out by the columns that it takes on a terminal.
//!
//! Owns padding and shortening. Works on clusters: a character together with the marks, joiners and selectors that
//! follow it, so that no accent and no emoji is cut in two. Expects text that [`crate::escape::harmless`] let through.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::charset::Charset;

/// Columns that `text` takes, at most: where terminals disagree about a sequence, the larger answer, so that a row
/// that fits by this measure never wraps.
#[must_use]
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    clusters(text).map(cluster_width).sum()
}

/// `text` cut at the end to fit `columns`, with the ellipsis when something was cut.
#[must_use]
pub fn truncate(text: &str, columns: usize, charset: Charset) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    match columns.checked_sub(1) {
        None => String::new(),
        Some(room) => format!("{}{}", start_of(text, room), charset.ellipsis()),
    }
}

/// `text` with its middle left out to fit `columns`: a little more than half of the room goes to the start, and the
/// end, with a file's extension, stays.
#[must_use]
pub fn elide_middle(text: &str, columns: usize, charset: Charset) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let end = end_of(text, room / 2);
    let start = start_of(text, room - width(end));
    format!("{start}{}{end}", charset.ellipsis())
}

/// `text` cut in its middle or padded with spaces on the right to exactly `columns`.
#[must_use]
pub fn fit_left(text: &str, columns: usize, charset: Charset) -> String {
    let mut fitted = elide_middle(text, columns, charset);
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// `text` cut at its end or padded with spaces on the left to exactly `columns`.
#[must_use]
pub fn fit_right(text: &str, columns: usize, charset: Charset) -> String {
    let fitted = truncate(text, columns, charset);
    let missing = columns.saturating_sub(width(&fitted));
    format!("{}{fitted}", " ".repeat(missing))
}

/// `parts` put side by side with `separator` between them, on as many lines as they need. A part that is wider than a
/// whole line is cut at its end.
#[must_use]
pub fn flow(parts: &[String], separator: &str, columns: usize, charset: Charset) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if width(line) + width(separator) + width(part) <= columns => {
                line.push_str(separator);
                line.push_str(part);
            }
            _ => lines.push(truncate(part, columns, charset)),
        }
    }
    lines
}

/// `text` on as many lines as it needs in `columns`: broken between its facts where it has several, else between words;
/// a word that is wider than a line is cut in pieces. What is set in is set in a little further where it goes on.
#[must_use]
pub fn fold(text: &str, columns: usize, charset: Charset) -> Vec<String> {
    if width(text) <= columns {
        return vec![text.to_owned()];
    }
    let bare = text.trim_start_matches(' ');
    let deep = (text.len() - bare.len()).min(columns / 4);
    let first = " ".repeat(deep);
    let next = if deep == 0 { String::new() } else { " ".repeat(deep + 2) };
    let room = columns.saturating_sub(next.len()).max(1);
    let mut lines: Vec<String> = Vec::new();
    for fact in bare.split(charset.separator()) {
        match lines.last_mut() {
            Some(line) if width(line) + width(charset.separator()) + width(fact) <= room => {
                line.push_str(charset.separator());
                line.push_str(fact);
            }
            _ => lines.extend(words(fact, room)),
        }
    }
    let indents = std::iter::once(&first).chain(std::iter::repeat(&next));
    lines.into_iter().zip(indents).map(|(line, indent)| format!("{indent}{line}")).collect()
}

/// `text` broken between words.
fn words(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.extend(pieces(word, columns)),
        }
    }
    lines
}

fn pieces(mut word: &str, columns: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    while width(word) > columns {
        let piece = match start_of(word, columns) {
            // Not even one character fits: it is shown all the same.
            "" => break,
            piece => piece,
        };
        pieces.push(piece.to_owned());
        word = &word[piece.len()..];
    }
    pieces.push(word.to_owned());
    pieces
}

/// `text` as a terminal of this charset can show it, in the same columns: in ASCII, a question mark for each column of
/// anything else. An 8-bit terminal would show several wrong characters in its place, and obey some of them.
#[must_use]
pub fn spelled(text: &str, charset: Charset) -> Cow<'_, str> {
    if charset == Charset::Unicode || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len());
    for cluster in clusters(text) {
        if cluster.is_ascii() {
            spelled.push_str(cluster);
        } else {
            spelled.extend(std::iter::repeat_n('?', cluster_width(cluster)));
        }
    }
    Cow::Owned(spelled)
}

fn start_of(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let mut end = 0;
    for cluster in clusters(text) {
        used += cluster_width(cluster);
        if used > columns {
            break;
        }
        end += cluster.len();
    }
    &text[..end]
}

fn end_of(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let mut start = text.len();
    for cluster in clusters(text).collect::<Vec<_>>().into_iter().rev() {
        used += cluster_width(cluster);
        if used > columns {
            break;
        }
        start -= cluster.len();
    }
    &text[start..]
}

fn cluster_width(cluster: &str) -> usize {
    let apart = cluster.chars().map(|character| character.width().unwrap_or(0)).sum();
    cluster.width().max(apart)
}

/// A simple reading of grapheme clusters (Unicode UAX #29): a character, whatever of no width follows it, and whatever
/// a zero-width joiner ties to it; two regional indicators make one flag.
fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = first_cluster(rest)?;
        let (cluster, after) = rest.split_at(length);
        rest = after;
        Some(cluster)
    })
}

fn first_cluster(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, mut previous) = characters.next()?;
    let mut may_pair = is_regional(previous);
    for (position, character) in characters {
        let paired = may_pair && is_regional(character);
        let joined = previous == '\u{200d}' || character.width().unwrap_or(0) == 0 || is_skin_tone(character);
        if !paired && !joined {
            return Some(position);
        }
        may_pair = false;
        previous = character;
    }
    Some(text.len())
}

fn is_regional(character: char) -> bool {
    matches!(character, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_skin_tone(character: char) -> bool {
    matches!(character, '\u{1f3fb}'..='\u{1f3ff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_middle_goes_and_the_extension_stays() {
        assert_eq!(elide_middle("a_rather_long_año nuevo.iso", 20, Charset::Unicode), "a_rather_l…nuevo.iso");
        assert_eq!(elide_middle("a_rather_long_año nuevo.iso", 20, Charset::Ascii), "a_rather_l~nuevo.iso");
        assert_eq!(elide_middle("short.txt", 20, Charset::Unicode), "short.txt");
        assert_eq!(elide_middle("abc", 1, Charset::Unicode), "…");
        assert_eq!(elide_middle("abc", 0, Charset::Unicode), "");
    }

    #[test]
    fn wide_characters_are_never_split() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(elide_middle("日本語日本語", 6, Charset::Unicode), "日…語");
        assert_eq!(fit_left("日本語日本語", 6, Charset::Unicode), "日…語 ");
        assert_eq!(truncate("日本語", 4, Charset::Unicode), "日…");
    }

    #[test]
    fn an_accent_stays_on_its_letter_and_a_family_together() {
        assert_eq!(truncate("ae\u{301}b", 3, Charset::Unicode), "ae\u{301}b");
        assert_eq!(truncate("ae\u{301}bc", 3, Charset::Unicode), "ae\u{301}…");
        let family = "👩\u{200d}👧";
        assert_eq!(clusters(family).count(), 1);
        assert_eq!(elide_middle(&format!("{family}{family}"), 5, Charset::Unicode), format!("{family}…"));
        assert_eq!(clusters("🇪🇸🇫🇷").count(), 2);
    }

    #[test]
    fn parts_flow_onto_the_lines_that_they_need() {
        let parts = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
        assert_eq!(flow(&parts, " · ", 9, Charset::Unicode), ["one · two", "three"]);
        assert_eq!(flow(&parts, " · ", 4, Charset::Unicode), ["one", "two", "thr…"]);
    }

    #[test]
    fn a_long_line_is_broken_between_facts_then_between_words() {
        let overview = "Connected to nas · 1,284 files, 91.5 GiB · saving to ./downloads (212 GiB free)";
        assert_eq!(fold(overview, 100, Charset::Unicode), [overview]);
        assert_eq!(
            fold(overview, 40, Charset::Unicode),
            ["Connected to nas · 1,284 files, 91.5 GiB", "saving to ./downloads (212 GiB free)"]
        );
        assert_eq!(
            fold(overview, 24, Charset::Unicode),
            ["Connected to nas", "1,284 files, 91.5 GiB", "saving to ./downloads", "(212 GiB free)"]
        );
        assert_eq!(
            fold(" ✗ big.iso   server went away", 16, Charset::Unicode),
            [" ✗ big.iso  ", "   server went", "   away"]
        );
        assert_eq!(fold("abcdefgh ij", 5, Charset::Ascii), ["abcde", "fgh", "ij"]);
    }

    #[test]
    fn what_an_ascii_terminal_cannot_show_keeps_its_columns() {
        assert_eq!(spelled("año 日本.jpg", Charset::Ascii), "a?o ????.jpg");
        assert_eq!(spelled("año", Charset::Unicode), "año");
    }

    proptest! {
        #[test]
        fn no_folded_line_is_too_wide_and_nothing_is_lost(text in "\\PC{0,60}", columns in 4_usize..50) {
            let lines = fold(&text, columns, Charset::Ascii);
            prop_assert!(lines.iter().all(|line| width(line) <= columns), "{:?}", lines);
            let bare = |text: &str| text.replace([' ', '-'], "");
            prop_assert_eq!(bare(&lines.concat()), bare(&text));
        }

        #[test]
        fn spelling_changes_no_width(text in "\\PC{0,40}") {
            let shown = spelled(&text, Charset::Ascii);
            prop_assert!(shown.is_ascii());
            prop_assert_eq!(width(&shown), width(&text));
        }

        #[test]
        fn a_fitted_text_takes_exactly_its_columns(text in "\\PC{0,40}", columns in 0_usize..50) {
            for charset in [Charset::Unicode, Charset::Ascii] {
                prop_assert_eq!(width(&fit_left(&text, columns, charset)), columns);
                prop_assert_eq!(width(&fit_right(&text, columns, charset)), columns);
                prop_assert!(width(&elide_middle(&text, columns, charset)) <= columns);
            }
        }
    }
}
