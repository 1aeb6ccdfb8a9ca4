//! What a typed filter means.
//!
//! Owns the little language: words apart by spaces, all of them required, without regard to case; `^` ties a word to
//! the start of a name (a file's or a folder's on the way to it), `$` to the end, `!` refuses it. Knows only text.

use super::tree::lowercase;

/// A filter, read once and asked for every entry.
#[derive(Debug, Default)]
pub struct Filter {
    words: Vec<Word>,
}

#[derive(Debug)]
struct Word {
    text: String,
    /// The text behind a slash: the start of a component that is not the first.
    behind_slash: String,
    place: Place,
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    Start,
    End,
    Whole,
}

impl Filter {
    /// Reads what was typed. A sign without a word, such as the `!` of a word yet to come, asks for nothing.
    #[must_use]
    pub fn new(typed: &str) -> Self {
        Self { words: typed.split_whitespace().filter_map(Word::new).collect() }
    }

    /// Whether every entry passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether some word is refused: then what passes says nothing about what is below it.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.words.iter().any(|word| word.refused)
    }

    /// Whether a path, given in lowercase, passes.
    #[must_use]
    pub fn passes(&self, path: &str) -> bool {
        self.words.iter().all(|word| word.is_in(path) != word.refused)
    }
}

impl Word {
    fn new(typed: &str) -> Option<Self> {
        let (refused, typed) = typed.strip_prefix('!').map_or((false, typed), |rest| (true, rest));
        let (starts, typed) = typed.strip_prefix('^').map_or((false, typed), |rest| (true, rest));
        let (ends, typed) = typed.strip_suffix('$').map_or((false, typed), |rest| (true, rest));
        let place = match (starts, ends) {
            (false, false) => Place::Anywhere,
            (true, false) => Place::Start,
            (false, true) => Place::End,
            (true, true) => Place::Whole,
        };
        let text = lowercase(typed);
        (!text.is_empty()).then(|| Self { behind_slash: format!("/{text}"), text, place, refused })
    }

    fn is_in(&self, path: &str) -> bool {
        match self.place {
            Place::Anywhere => path.contains(&self.text),
            Place::Start => path.starts_with(&self.text) || path.contains(&self.behind_slash),
            Place::End => path.ends_with(&self.text),
            Place::Whole => path == self.text || path.ends_with(&self.behind_slash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &str, path: &str) -> bool {
        Filter::new(filter).passes(path)
    }

    #[test]
    fn every_word_is_required_and_case_does_not_matter() {
        assert!(passes("BEACH jpg", "2026/beach.jpg"));
        assert!(!passes("beach png", "2026/beach.jpg"));
        assert!(passes("Ñ", "año"));
    }

    #[test]
    fn signs_tie_a_word_to_a_place_or_refuse_it() {
        assert!(passes("^beach", "2026/beach.jpg") && passes("^2026", "2026/beach.jpg"));
        assert!(!passes("^each", "2026/beach.jpg"));
        assert!(passes(".jpg$", "beach.jpg") && !passes(".jpg$", "beach.jpg.txt"));
        assert!(passes("^raw$", "2026/raw") && !passes("^raw$", "2026/draw") && !passes("^raw$", "raw/1"));
        assert!(passes(".jpg !thumb", "beach.jpg") && !passes(".jpg !thumb", "thumbs/beach.jpg"));
        assert!(!passes("!^beach", "beach.jpg") && passes("!^beach", "a_beach.jpg"));
    }

    #[test]
    fn a_sign_alone_asks_for_nothing() {
        for typed in ["", " ", "!", "^", "$", "! ^ $", "!^$"] {
            assert!(Filter::new(typed).is_empty(), "{typed:?}");
            assert!(passes(typed, "anything"));
        }
    }
}
