//! Which entries are marked.
//!
//! Owns the marks and their totals. Only files and empty folders are marked; a folder's mark is the sum of what is in
//! it, so the two can never disagree. Knows nothing of filters or of what is in view.

use super::tree::{NodeId, Tree};

/// How much of an entry is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Nothing in it.
    None,
    /// Some of what is in it.
    Partly,
    /// All of it.
    Wholly,
}

/// The marks on one tree, kept whatever is shown of it.
#[derive(Debug)]
pub struct Marks {
    /// For every node, how many of its leaves are marked.
    leaves: Vec<usize>,
    /// Wider than a size, which may be anything: it must be possible to take one away again.
    bytes: u128,
}

impl Marks {
    /// No marks on `tree`.
    #[must_use]
    pub fn new(tree: &Tree) -> Self {
        Self { leaves: vec![0; tree.node_count()], bytes: 0 }
    }

    /// How many files and empty folders are marked.
    #[must_use]
    pub fn count(&self) -> usize {
        self.leaves_in(NodeId::ROOT)
    }

    /// The bytes of what is marked.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }

    /// How many marked leaves are in `node`.
    #[must_use]
    pub fn leaves_in(&self, node: NodeId) -> usize {
        self.leaves[node.0]
    }

    /// How much of `node` is marked.
    #[must_use]
    pub fn of(&self, tree: &Tree, node: NodeId) -> Marked {
        match self.leaves_in(node) {
            0 => Marked::None,
            marked if marked == tree.leaves(node) => Marked::Wholly,
            _ => Marked::Partly,
        }
    }

    /// Marks `node` and everything in it, or takes those marks away.
    pub fn set(&mut self, tree: &Tree, node: NodeId, marked: Marked) {
        let before = self.leaves_in(node);
        for at in std::iter::once(node).chain(tree.below(node)) {
            if tree.is_leaf(at) {
                self.bytes -= self.bytes_of_leaf(tree, at);
            }
            self.leaves[at.0] = if marked == Marked::None { 0 } else { tree.leaves(at) };
            if tree.is_leaf(at) {
                self.bytes += self.bytes_of_leaf(tree, at);
            }
        }
        let after = self.leaves_in(node);
        let mut above = node;
        while above != NodeId::ROOT {
            above = tree.parent(above);
            self.leaves[above.0] = self.leaves[above.0] - before + after;
        }
    }

    /// The smallest set of paths that names all marks: a folder where all of it is marked. The root itself has no
    /// name, so its entries stand for it.
    #[must_use]
    pub fn paths(&self, tree: &Tree) -> Vec<Vec<u8>> {
        let mut paths = Vec::new();
        let mut waiting = vec![NodeId::ROOT];
        while let Some(node) = waiting.pop() {
            match self.of(tree, node) {
                Marked::None => {}
                Marked::Wholly if node != NodeId::ROOT => paths.push(tree.path(node)),
                _ => {
                    let from = waiting.len();
                    waiting.extend(tree.children(node));
                    waiting[from..].reverse();
                }
            }
        }
        paths
    }

    fn bytes_of_leaf(&self, tree: &Tree, leaf: NodeId) -> u128 {
        if self.leaves_in(leaf) == 0 { 0 } else { u128::from(tree.bytes(leaf)) }
    }
}
