//! The listing as a tree in one vector, in the order in which it is shown.
//!
//! Owns the index that makes a keystroke cheap: nodes stand in preorder, so that everything below a folder is one
//! range, and each carries its totals and its lowercase path. Knows nothing of marks, filters or keys.

use std::collections::HashMap;
use std::ops::Range;
use std::time::SystemTime;

use crate::escape;

/// One entry of a listing, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickerEntry {
    /// Its name below the root, `/`-separated. Empty components are ignored.
    pub path: Vec<u8>,
    /// A folder, which may also be known only from the paths below it.
    pub is_folder: bool,
    /// Bytes; of no meaning for a folder.
    pub size: u64,
    /// When it was last changed, where that is known.
    pub modified: Option<SystemTime>,
}

/// A node's place in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) usize);

impl NodeId {
    /// The folder that holds everything.
    pub const ROOT: Self = Self(0);
}

#[derive(Debug)]
struct Node {
    name: Box<[u8]>,
    parent: NodeId,
    /// One past the last node below it.
    end: usize,
    is_folder: bool,
    size: u64,
    modified: Option<SystemTime>,
    files: u64,
    bytes: u64,
    leaves: usize,
    search: Range<usize>,
}

/// All entries that can be picked. Folders come before files, then by name without regard to case.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The lowercase, harmless paths of all nodes, one after the other.
    search: String,
}

impl Tree {
    /// Builds the tree. Folders that only appear in the paths of others are added; of two entries with one path the
    /// later counts; a file that others stand below is a folder.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = PickerEntry>) -> Self {
        let mut drafts = Drafts::new();
        for entry in entries {
            drafts.add(entry);
        }
        let mut tree = drafts.into_preorder();
        tree.add_up();
        tree
    }

    /// Everything below a folder, at any depth; empty for a file.
    pub fn below(&self, node: NodeId) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (node.0 + 1..self.nodes[node.0].end).map(NodeId)
    }

    /// The entries right inside a folder.
    pub fn children(&self, folder: NodeId) -> impl Iterator<Item = NodeId> {
        let end = self.nodes[folder.0].end;
        let mut next = folder.0 + 1;
        std::iter::from_fn(move || {
            let child = (next < end).then_some(next)?;
            next = self.nodes[child].end;
            Some(NodeId(child))
        })
    }

    /// Whether `node` stands below `folder`, at any depth.
    #[must_use]
    pub fn is_below(&self, node: NodeId, folder: NodeId) -> bool {
        node > folder && node.0 < self.nodes[folder.0].end
    }

    /// The folder that it is in; the root's is the root.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> NodeId {
        self.nodes[node.0].parent
    }

    /// Whether it can be opened.
    #[must_use]
    pub fn is_folder(&self, node: NodeId) -> bool {
        self.nodes[node.0].is_folder
    }

    /// Whether it is marked by itself: a file or an empty folder. Every other folder is marked by what is in it.
    #[must_use]
    pub fn is_leaf(&self, node: NodeId) -> bool {
        self.nodes[node.0].end == node.0 + 1
    }

    /// When it was last changed.
    #[must_use]
    pub fn modified(&self, node: NodeId) -> Option<SystemTime> {
        self.nodes[node.0].modified
    }

    /// The files in it; 1 for a file.
    #[must_use]
    pub fn files(&self, node: NodeId) -> u64 {
        self.nodes[node.0].files
    }

    /// The bytes in it.
    #[must_use]
    pub fn bytes(&self, node: NodeId) -> u64 {
        self.nodes[node.0].bytes
    }

    /// The files and empty folders in it; 1 for one of those.
    #[must_use]
    pub fn leaves(&self, node: NodeId) -> usize {
        self.nodes[node.0].leaves
    }

    /// How many nodes there are, with the root.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Its path from the root, as bytes; empty for the root.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        self.names_from(NodeId::ROOT, node).join(&b'/')
    }

    /// Its path from `folder`, harmless to show, with a `/` after a folder.
    #[must_use]
    pub fn shown(&self, node: NodeId, folder: NodeId) -> String {
        let mut shown = escape::harmless(&self.names_from(folder, node).join(&b'/'));
        if self.is_folder(node) {
            shown.push('/');
        }
        shown
    }

    /// Its path from `folder` as filters see it: harmless, in lowercase, without a slash at the end.
    pub(super) fn searched(&self, node: NodeId, folder: NodeId) -> &str {
        let prefix = self.nodes[folder.0].search.len();
        let skipped = if folder == NodeId::ROOT { 0 } else { prefix + 1 };
        let search = &self.nodes[node.0].search;
        &self.search[search.start + skipped..search.end]
    }

    fn names_from(&self, folder: NodeId, node: NodeId) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut at = node;
        while at != folder && at != NodeId::ROOT {
            names.push(self.nodes[at.0].name.as_ref());
            at = self.parent(at);
        }
        names.reverse();
        names
    }

    /// Children stand after their parent, so one pass from the back adds everything up.
    fn add_up(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            let node = &mut self.nodes[at];
            if at + 1 == node.end {
                node.leaves = usize::from(at != 0);
                node.files = u64::from(!node.is_folder);
                node.bytes = if node.is_folder { 0 } else { node.size };
            }
            let Node { parent, end, files, bytes, leaves, .. } = *node;
            if at != 0 {
                let parent = &mut self.nodes[parent.0];
                parent.end = parent.end.max(end);
                parent.files += files;
                // Sizes come from the other side and may be anything.
                parent.bytes = parent.bytes.saturating_add(bytes);
                parent.leaves += leaves;
            }
        }
    }
}

/// Lowercase without the rules that look at neighbours, so that a piece of a lowered text is the lowered piece.
pub(super) fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

struct Draft {
    name: Box<[u8]>,
    lower: String,
    is_folder: bool,
    size: u64,
    modified: Option<SystemTime>,
    children: Vec<usize>,
}

/// The tree while it is put together, in the order of arrival.
struct Drafts {
    drafts: Vec<Draft>,
    by_name: HashMap<(usize, Box<[u8]>), usize>,
}

impl Drafts {
    fn new() -> Self {
        let root = Draft {
            name: Box::default(),
            lower: String::new(),
            is_folder: true,
            size: 0,
            modified: None,
            children: Vec::new(),
        };
        Self { drafts: vec![root], by_name: HashMap::new() }
    }

    fn add(&mut self, entry: PickerEntry) {
        let mut at = 0;
        for name in entry.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            self.drafts[at].is_folder = true;
            at = self.child(at, name);
        }
        if at == 0 {
            return;
        }
        let draft = &mut self.drafts[at];
        draft.is_folder = entry.is_folder || !draft.children.is_empty();
        draft.size = entry.size;
        draft.modified = entry.modified;
    }

    fn child(&mut self, parent: usize, name: &[u8]) -> usize {
        let next = self.drafts.len();
        let known = *self.by_name.entry((parent, name.into())).or_insert(next);
        if known == next {
            let lower = lowercase(&escape::harmless(name));
            let name = name.into();
            self.drafts.push(Draft { name, lower, is_folder: false, size: 0, modified: None, children: Vec::new() });
            self.drafts[parent].children.push(next);
        }
        known
    }

    fn into_preorder(mut self) -> Tree {
        drop(std::mem::take(&mut self.by_name));
        let mut tree = Tree { nodes: Vec::with_capacity(self.drafts.len()), search: String::new() };
        // A stack of our own: depth is decided by the other side.
        let mut waiting = vec![(0, NodeId::ROOT)];
        while let Some((at, parent)) = waiting.pop() {
            let id = NodeId(tree.nodes.len());
            let children = self.sorted_children(at);
            waiting.extend(children.into_iter().rev().map(|child| (child, id)));
            tree.push(&mut self.drafts[at], parent);
        }
        tree
    }

    fn sorted_children(&mut self, at: usize) -> Vec<usize> {
        let mut children = std::mem::take(&mut self.drafts[at].children);
        let key = |child: &usize| {
            let draft = &self.drafts[*child];
            (!draft.is_folder, draft.lower.as_str(), &draft.name)
        };
        children.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        children
    }
}

impl Tree {
    fn push(&mut self, draft: &mut Draft, parent: NodeId) {
        let start = self.search.len();
        if parent != NodeId::ROOT {
            let above = self.nodes[parent.0].search.clone();
            self.search.extend_from_within(above);
            self.search.push('/');
        }
        self.search.push_str(&draft.lower);
        self.nodes.push(Node {
            name: std::mem::take(&mut draft.name),
            parent,
            end: self.nodes.len() + 1,
            is_folder: draft.is_folder,
            size: draft.size,
            modified: draft.modified,
            files: 0,
            bytes: 0,
            leaves: 0,
            search: start..self.search.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> PickerEntry {
        PickerEntry { path: path.into(), is_folder: false, size, modified: None }
    }

    fn shown(tree: &Tree, folder: NodeId) -> Vec<String> {
        tree.children(folder).map(|node| tree.shown(node, folder)).collect()
    }

    #[test]
    fn folders_come_first_and_case_does_not_matter() {
        let empty = PickerEntry { path: b"zoo".into(), is_folder: true, size: 9, modified: None };
        let tree = Tree::new([file("b.txt", 1), file("A.txt", 2), file("photos/x/1", 4), file("photos/2", 8), empty]);
        assert_eq!(shown(&tree, NodeId::ROOT), ["photos/", "zoo/", "A.txt", "b.txt"]);
        let photos = tree.children(NodeId::ROOT).next().unwrap();
        assert_eq!(shown(&tree, photos), ["x/", "2"]);
        assert_eq!((tree.files(photos), tree.bytes(photos), tree.leaves(photos)), (2, 12, 2));
        assert_eq!((tree.files(NodeId::ROOT), tree.bytes(NodeId::ROOT), tree.leaves(NodeId::ROOT)), (4, 15, 5));
        assert_eq!(tree.path(tree.below(photos).nth(1).unwrap()), b"photos/x/1");
    }

    #[test]
    fn contradictions_in_a_listing_do_no_harm() {
        let tree =
            Tree::new([file("a", 1), file("a/b", 2), file("a", 3), file("//a//b", 5), file("", 7), file("/", 8)]);
        assert_eq!(shown(&tree, NodeId::ROOT), ["a/"]);
        assert_eq!(tree.bytes(NodeId::ROOT), 5);
        let huge = Tree::new([file("a", u64::MAX), file("b", u64::MAX)]);
        assert_eq!(huge.bytes(NodeId::ROOT), u64::MAX);
        assert_eq!(Tree::new([]).leaves(NodeId::ROOT), 0);
    }

    #[test]
    fn names_are_shown_harmlessly_and_searched_in_lowercase() {
        let tree = Tree::new([file("Dir/A\x1b[2J", 1)]);
        let folder = tree.children(NodeId::ROOT).next().unwrap();
        let node = tree.below(folder).next().unwrap();
        assert_eq!(tree.shown(node, NodeId::ROOT), r"Dir/A\u{1b}[2J");
        assert_eq!(tree.searched(node, NodeId::ROOT), r"dir/a\u{1b}[2j");
        assert_eq!(tree.searched(node, folder), r"a\u{1b}[2j");
    }
}
