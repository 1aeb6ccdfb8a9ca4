//! The picker's state and what each key does to it.
//!
//! Owns the rules of picking: what is in view, what the cursor is on, what a key marks. No terminal, no clock: keys in,
//! state out, and [`super::view`] draws it.

use super::filter::Filter;
use super::marks::{Marked, Marks};
use super::tree::{NodeId, Tree};

/// What the person ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The paths of what was marked, a folder where all of it was; or, with nothing marked, the entry under the cursor.
    Chosen(Vec<Vec<u8>>),
    /// Back to where they came from.
    Back,
    /// Out of the program (Ctrl-C).
    Quit,
}

/// A key, by what it means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// One screen up.
    PageUp,
    /// One screen down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// Into the folder under the cursor.
    Open,
    /// Up to the folder around this one.
    Leave,
    /// Mark or unmark the row under the cursor, and move on.
    Mark,
    /// Mark all that is in view, or unmark it when all of it is marked.
    MarkVisible,
    /// Accept the marks.
    Accept,
    /// Clear the filter, else go up, else go back.
    Escape,
    /// End the program.
    Quit,
    /// Take the filter's last character away.
    Backspace,
    /// Take the whole filter away.
    ClearFilter,
    /// A character for the filter; a space marks as long as the filter is empty.
    Text(char),
}

/// The picker's state.
#[derive(Debug)]
pub struct Model {
    tree: Tree,
    marks: Marks,
    folder: NodeId,
    typed: String,
    filter: Filter,
    rows: Vec<NodeId>,
    cursor: usize,
    top: usize,
    height: usize,
    hidden: usize,
}

impl Model {
    /// Starts at the root, with nothing marked.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        let mut model = Self {
            marks: Marks::new(&tree),
            tree,
            folder: NodeId::ROOT,
            typed: String::new(),
            filter: Filter::default(),
            rows: Vec::new(),
            cursor: 0,
            top: 0,
            height: 1,
            hidden: 0,
        };
        model.list();
        model
    }

    /// Does what `key` asks for; an outcome ends the picking.
    pub fn press(&mut self, key: Key) -> Option<Outcome> {
        match key {
            Key::Up => self.move_to(self.cursor.saturating_sub(1)),
            Key::Down => self.move_to(self.cursor + 1),
            Key::PageUp => self.move_to(self.cursor.saturating_sub(self.height)),
            Key::PageDown => self.move_to(self.cursor + self.height),
            Key::Home => self.move_to(0),
            Key::End => self.move_to(usize::MAX),
            Key::Open => self.open(),
            Key::Leave => self.leave(),
            Key::Mark => self.mark_and_move_on(),
            Key::Text(' ') if self.typed.is_empty() => self.mark_and_move_on(),
            Key::MarkVisible => self.mark_visible(),
            Key::Accept => return self.accept(),
            Key::Escape if self.typed.is_empty() && self.folder == NodeId::ROOT => return Some(Outcome::Back),
            Key::Escape if self.typed.is_empty() => self.leave(),
            Key::Escape | Key::ClearFilter => self.type_filter(String::clear),
            Key::Quit => return Some(Outcome::Quit),
            Key::Backspace => self.type_filter(|typed| typed.truncate(typed.len() - last_character(typed))),
            Key::Text(character) => self.type_filter(|typed| typed.push(character)),
        }
        None
    }

    /// Ends the picking with `nodes`, whatever was marked before.
    pub fn choose(&mut self, nodes: &[NodeId]) -> Outcome {
        self.marks = Marks::new(&self.tree);
        for node in nodes {
            self.marks.set(&self.tree, *node, Marked::Wholly);
        }
        self.count_hidden();
        Outcome::Chosen(self.marks.paths(&self.tree))
    }

    /// Says how many rows are shown at once, and scrolls so that the cursor is among them.
    pub fn fit(&mut self, height: usize) {
        self.height = height.max(1);
        let last_top = self.rows.len().saturating_sub(self.height);
        self.top = self.top.clamp((self.cursor + 1).saturating_sub(self.height), self.cursor).min(last_top);
    }

    /// The listing.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The marks.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The folder that is open.
    #[must_use]
    pub fn folder(&self) -> NodeId {
        self.folder
    }

    /// The open folder's path with a slash before it, harmless to show.
    #[must_use]
    pub fn shown_folder(&self) -> String {
        format!("/{}", self.tree.shown(self.folder, NodeId::ROOT).trim_end_matches('/'))
    }

    /// The filter as it was typed.
    #[must_use]
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// What is listed: the open folder's entries or, with a filter, whatever passes it at any depth below.
    #[must_use]
    pub fn rows(&self) -> &[NodeId] {
        &self.rows
    }

    /// The row under the cursor, counted from the first one listed.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The first row in sight.
    #[must_use]
    pub fn top(&self) -> usize {
        self.top
    }

    /// How many entries the open folder has, at any depth.
    #[must_use]
    pub fn total(&self) -> usize {
        self.tree.below(self.folder).len()
    }

    /// How many marks nothing in the list stands for: they are in other folders, or filtered out.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    fn move_to(&mut self, row: usize) {
        self.cursor = row.min(self.rows.len().saturating_sub(1));
    }

    fn under_cursor(&self) -> Option<NodeId> {
        self.rows.get(self.cursor).copied()
    }

    fn open(&mut self) {
        if let Some(node) = self.under_cursor().filter(|node| self.tree.is_folder(*node)) {
            self.go_to(node);
        }
    }

    fn leave(&mut self) {
        let left = self.folder;
        self.go_to(self.tree.parent(left));
        self.cursor = self.rows.iter().position(|row| *row == left).unwrap_or(0);
    }

    fn go_to(&mut self, folder: NodeId) {
        self.folder = folder;
        self.typed.clear();
        self.filter = Filter::default();
        self.list();
    }

    fn type_filter(&mut self, edit: impl FnOnce(&mut String)) {
        let before = self.typed.clone();
        edit(&mut self.typed);
        if self.typed != before {
            self.filter = Filter::new(&self.typed);
            self.list();
        }
    }

    fn list(&mut self) {
        let Self { tree, filter, folder, .. } = self;
        self.rows = if filter.is_empty() {
            tree.children(*folder).collect()
        } else {
            tree.below(*folder).filter(|node| filter.passes(tree.searched(*node, *folder))).collect()
        };
        self.cursor = 0;
        self.top = 0;
        self.count_hidden();
    }

    fn mark_and_move_on(&mut self) {
        let Some(node) = self.under_cursor() else { return };
        self.toggle(&[node]);
        self.move_to(self.cursor + 1);
    }

    /// A listed folder is marked whole only where its row stands for all of it: not while the filter lists some of
    /// what is in it, nor while it refuses a word that may be in it.
    fn mark_visible(&mut self) {
        let stands_for_itself = |(place, node): (usize, &NodeId)| {
            let opened_up = self.rows.get(place + 1).is_some_and(|next| self.tree.is_below(*next, *node));
            self.tree.is_leaf(*node) || !(opened_up || self.filter.refuses())
        };
        let rows: Vec<NodeId> =
            self.rows.iter().enumerate().filter(|row| stands_for_itself(*row)).map(|(_, node)| *node).collect();
        self.toggle(&rows);
    }

    fn toggle(&mut self, nodes: &[NodeId]) {
        let all_marked = nodes.iter().all(|node| self.marks.of(&self.tree, *node) == Marked::Wholly);
        let wanted = if all_marked { Marked::None } else { Marked::Wholly };
        for node in nodes {
            self.marks.set(&self.tree, *node, wanted);
        }
        self.count_hidden();
    }

    /// Without a filter, a row speaks for everything in it; with one, only if all of it is marked.
    fn count_hidden(&mut self) {
        let mut in_view = 0;
        let mut counted_up_to = NodeId::ROOT;
        for node in &self.rows {
            if self.tree.is_below(*node, counted_up_to) && counted_up_to != NodeId::ROOT {
                continue;
            }
            if self.filter.is_empty() || self.marks.of(&self.tree, *node) == Marked::Wholly {
                in_view += self.marks.leaves_in(*node);
                counted_up_to = *node;
            }
        }
        self.hidden = self.marks.count() - in_view;
    }

    fn accept(&self) -> Option<Outcome> {
        if self.marks.count() > 0 {
            return Some(Outcome::Chosen(self.marks.paths(&self.tree)));
        }
        self.under_cursor().map(|node| Outcome::Chosen(vec![self.tree.path(node)]))
    }
}

fn last_character(text: &str) -> usize {
    text.chars().next_back().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::tree::PickerEntry;
    use super::*;

    const PATHS: [&str; 9] = [
        "photos/2026/beach.jpg",
        "photos/2026/raw/beach.dng",
        "photos/2026/raw/hill.dng",
        "photos/2026/thumbs/beach.jpg",
        "photos/empty/",
        "music/song.flac",
        "music/hill.flac",
        "notes.txt",
        "a.iso",
    ];

    fn model() -> Model {
        Model::new(Tree::new(PATHS.into_iter().zip(1..).map(|(path, size)| PickerEntry {
            path: path.into(),
            is_folder: path.ends_with('/'),
            size,
            modified: None,
        })))
    }

    fn press(model: &mut Model, keys: &[Key]) -> Option<Outcome> {
        keys.iter().fold(None, |_, key| model.press(*key))
    }

    fn write(model: &mut Model, text: &str) {
        for character in text.chars() {
            model.press(Key::Text(character));
        }
    }

    fn listed(model: &Model) -> Vec<String> {
        model.rows().iter().map(|node| model.tree().shown(*node, model.folder())).collect()
    }

    fn chosen(paths: &[&str]) -> Option<Outcome> {
        Some(Outcome::Chosen(paths.iter().map(|path| path.as_bytes().to_vec()).collect()))
    }

    #[test]
    fn a_filter_looks_at_every_depth_below_the_open_folder() {
        let mut model = model();
        assert_eq!(listed(&model), ["music/", "photos/", "a.iso", "notes.txt"]);
        write(&mut model, "beach !thumb");
        assert_eq!(listed(&model), ["photos/2026/raw/beach.dng", "photos/2026/beach.jpg"]);
        press(&mut model, &[Key::ClearFilter, Key::Down, Key::Open]);
        assert_eq!(listed(&model), ["2026/", "empty/"]);
        write(&mut model, "^raw$");
        assert_eq!(listed(&model), ["2026/raw/"]);
        press(&mut model, &[Key::Open]);
        assert_eq!((listed(&model), model.typed()), (vec!["beach.dng".to_owned(), "hill.dng".to_owned()], ""));
    }

    #[test]
    fn leaving_a_folder_puts_the_cursor_on_it() {
        let mut model = model();
        press(&mut model, &[Key::Down, Key::Open, Key::Open, Key::Leave]);
        assert_eq!(
            (listed(&model)[model.cursor()].as_str(), model.tree().path(model.folder())),
            ("2026/", b"photos".to_vec())
        );
        press(&mut model, &[Key::Leave, Key::Leave]);
        assert_eq!(model.cursor(), 0, "the root cannot be left");
    }

    #[test]
    fn marks_outlive_filters_and_folders_and_are_counted_when_hidden() {
        let mut model = model();
        write(&mut model, "flac");
        press(&mut model, &[Key::Mark, Key::Mark]);
        assert_eq!((model.marks().count(), model.hidden()), (2, 0));
        write(&mut model, " !hill");
        assert_eq!((model.marks().count(), model.hidden()), (2, 1));
        press(&mut model, &[Key::Escape]);
        assert_eq!((model.marks().count(), model.hidden()), (2, 0));
        press(&mut model, &[Key::Down, Key::Open]);
        assert_eq!((model.marks().count(), model.hidden()), (2, 2));
        assert_eq!(press(&mut model, &[Key::Accept]), chosen(&["music"]));
    }

    #[test]
    fn a_folder_is_marked_whole_and_unmarked_whole() {
        let mut model = model();
        press(&mut model, &[Key::Down, Key::Text(' ')]);
        assert_eq!((model.marks().count(), model.marks().bytes()), (5, 10));
        assert_eq!(press(&mut model, &[Key::Accept]), chosen(&["photos"]));
        press(&mut model, &[Key::Up, Key::Open, Key::Down, Key::Mark]);
        assert_eq!(press(&mut model, &[Key::Accept]), chosen(&["photos/2026"]));
        press(&mut model, &[Key::Leave, Key::Mark]);
        assert_eq!(model.marks().count(), 5, "marking what is marked in part completes it");
        press(&mut model, &[Key::Up, Key::Mark]);
        assert_eq!((model.marks().count(), model.marks().bytes()), (0, 0));
    }

    #[test]
    fn marking_what_is_visible_never_marks_what_the_filter_refused() {
        let mut model = model();
        write(&mut model, "!thumb");
        press(&mut model, &[Key::MarkVisible]);
        let Some(Outcome::Chosen(paths)) = press(&mut model, &[Key::Accept]) else { panic!("nothing chosen") };
        assert!(!paths.iter().any(|path| path.starts_with(b"photos/2026/thumbs") || path == b"photos/2026"));
        assert_eq!((model.marks().count(), model.hidden()), (8, 0));
        press(&mut model, &[Key::MarkVisible]);
        assert_eq!(model.marks().count(), 0);
        press(&mut model, &[Key::ClearFilter]);
        // Lists the folder of thumbs, and nothing of what is in it.
        write(&mut model, "^thumbs !jpg");
        press(&mut model, &[Key::MarkVisible]);
        assert_eq!((model.rows().len(), model.marks().count()), (1, 0));
        press(&mut model, &[Key::ClearFilter, Key::MarkVisible]);
        assert_eq!(model.marks().count(), PATHS.len());
    }

    #[test]
    fn enter_without_marks_chooses_what_is_under_the_cursor() {
        let mut model = model();
        assert_eq!(press(&mut model, &[Key::End, Key::Accept]), chosen(&["notes.txt"]));
        write(&mut model, "no such name");
        assert_eq!(press(&mut model, &[Key::Accept]), None);
        let mut nothing = Model::new(Tree::new([]));
        assert_eq!(press(&mut nothing, &[Key::Mark, Key::MarkVisible, Key::Open, Key::End, Key::Accept]), None);
    }

    #[test]
    fn escape_clears_then_goes_up_then_goes_back() {
        let mut model = model();
        press(&mut model, &[Key::Open, Key::Text('x'), Key::Escape]);
        assert_eq!((model.typed(), model.folder() == NodeId::ROOT), ("", false));
        assert_eq!(press(&mut model, &[Key::Escape]), None);
        assert_eq!(press(&mut model, &[Key::Escape]), Some(Outcome::Back));
        assert_eq!(press(&mut model, &[Key::Quit]), Some(Outcome::Quit));
    }

    #[test]
    fn the_cursor_stays_in_sight() {
        let mut model = Model::new(Tree::new((0..100).map(|number| PickerEntry {
            path: format!("{number:03}").into(),
            is_folder: false,
            size: 0,
            modified: None,
        })));
        model.fit(10);
        press(&mut model, &[Key::PageDown, Key::Down]);
        model.fit(10);
        assert_eq!((model.cursor(), model.top()), (11, 2));
        press(&mut model, &[Key::End]);
        model.fit(10);
        assert_eq!((model.cursor(), model.top()), (99, 90));
        model.fit(30);
        assert_eq!(model.top(), 70, "a taller window shows more, not blank lines");
        press(&mut model, &[Key::PageUp, Key::PageUp, Key::PageUp, Key::PageUp]);
        model.fit(30);
        assert_eq!((model.cursor(), model.top()), (0, 0));
    }

    /// A person notices an answer that takes longer. Of the unoptimised build, ten times as much is asked.
    #[test]
    fn a_key_is_answered_quickly_among_100_000_files() {
        let mut model = Model::new(Tree::new((0..100_000).map(|number| PickerEntry {
            path: format!("Photos {:03}/a folder with a name/IMG_{number:06}.jpg", number % 500).into(),
            is_folder: false,
            size: 1,
            modified: None,
        })));
        // A guard against a change of order, not a measurement: that is `cargo bench`.
        let limit = std::time::Duration::from_secs(20);
        let mut slowest = std::time::Duration::ZERO;
        let keys = "img 1 !7 .jpg$".chars().map(Key::Text).chain([Key::MarkVisible, Key::Mark, Key::ClearFilter]);
        for key in keys.chain([Key::MarkVisible, Key::Mark, Key::Open]) {
            let pressed = std::time::Instant::now();
            model.press(key);
            slowest = slowest.max(pressed.elapsed());
        }
        assert!(slowest < limit, "{slowest:?}");
    }

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            1 => Just(Key::Up),
            1 => Just(Key::Down),
            1 => Just(Key::PageDown),
            1 => Just(Key::Home),
            1 => Just(Key::End),
            3 => Just(Key::Open),
            1 => Just(Key::Leave),
            4 => Just(Key::Mark),
            2 => Just(Key::MarkVisible),
            1 => Just(Key::Escape),
            1 => Just(Key::Backspace),
            1 => Just(Key::ClearFilter),
            4 => proptest::sample::select(vec!['a', 'h', '.', ' ', '!', '$', '^', 'r', '/']).prop_map(Key::Text),
        ]
    }

    proptest! {
        /// The counts in the header, the marks on the rows and what is chosen in the end tell one story.
        #[test]
        fn counts_marks_and_choice_agree(keys in proptest::collection::vec(any_key(), 0..60)) {
            let mut model = model();
            for key in keys {
                model.press(key);
                model.fit(3);
                let tree = model.tree();
                let marked: Vec<NodeId> = tree
                    .below(NodeId::ROOT)
                    .filter(|node| tree.is_leaf(*node) && model.marks().leaves_in(*node) == 1)
                    .collect();
                prop_assert_eq!(model.marks().count(), marked.len());
                prop_assert_eq!(model.marks().bytes(), marked.iter().map(|node| tree.bytes(*node)).sum::<u64>());
                prop_assert!(model.hidden() <= model.marks().count());
                prop_assert!(model.cursor() < model.rows().len().max(1));
                prop_assert!(model.top() <= model.cursor() && model.cursor() < model.top() + 3);
                let paths: BTreeSet<Vec<u8>> = model.marks().paths(tree).into_iter().collect();
                let covered = tree.below(NodeId::ROOT).filter(|node| tree.is_leaf(*node)).filter(|leaf| {
                    let mut at = *leaf;
                    while at != NodeId::ROOT && !paths.contains(&tree.path(at)) {
                        at = tree.parent(at);
                    }
                    at != NodeId::ROOT
                });
                prop_assert_eq!(covered.collect::<Vec<_>>(), marked);
            }
        }
    }
}
