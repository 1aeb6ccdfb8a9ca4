//! Inodes that somebody is at, counted: one that was freed is given to another file while whoever had the first still has it
//! here.

use std::collections::HashMap;

/// The inodes, with how often each was added.
#[derive(Debug, Default)]
pub(super) struct Inodes(HashMap<u64, usize>);

impl Inodes {
    /// Adds one, once more if it is here.
    pub(super) fn add(&mut self, inode: u64) {
        let count = self.0.entry(inode).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes one back that was added.
    pub(super) fn remove(&mut self, inode: u64) {
        if let Some(count) = self.0.get_mut(&inode) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&inode);
            }
        }
    }

    /// Whether one is here.
    pub(super) fn contains(&self, inode: u64) -> bool {
        self.0.contains_key(&inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_here_until_everybody_has_taken_it_back() {
        let mut inodes = Inodes::default();
        inodes.add(5);
        inodes.add(5);
        inodes.remove(5);
        assert!(inodes.contains(5), "somebody is at it still");
        inodes.remove(5);
        inodes.remove(5);
        assert!(!inodes.contains(5) && inodes.0.is_empty());
    }
}
