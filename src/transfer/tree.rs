//! A file's digest from the parts that it was received in.
//!
//! BLAKE3 is a tree over chunks of 1,024 bytes. What lies below one of its inner nodes can be hashed by itself, on whatever
//! connection it came, and the nodes are then merged into the digest of the whole (section 2.1 of the paper,
//! <https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf>). Owns where a file may be cut for that, and the
//! merging. Knows nothing of connections.

use crate::wire::Digest;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes of a segment, for all but very large files.
const LENGTH: u64 = 8 * 1024 * 1024;
/// Segments of a file at most; larger files have longer ones. A server remembers 4,096 transfers of a connection until their
/// receipts come, and those of segments come at the end.
const MOST: u64 = 1024;

/// How a file is cut: into pieces of one length, a power of two, and a last one of what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    size: u64,
    length: u64,
}

/// The hash of one segment: an inner node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(ChainingValue);

impl Segments {
    /// How a file of `size` bytes is cut; `None` if it is not, because it would be one piece.
    #[must_use]
    pub fn of(size: u64) -> Option<Self> {
        let length = size.div_ceil(MOST).checked_next_power_of_two()?.max(LENGTH);
        (size > length).then_some(Self { size, length })
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(self) -> u64 {
        self.size
    }

    /// How many there are: two at least.
    #[must_use]
    pub fn count(self) -> usize {
        usize::try_from(self.size.div_ceil(self.length)).unwrap_or(usize::MAX)
    }

    /// The first byte of a segment, and how many it has; none if there is no such segment.
    #[must_use]
    pub fn part(self, index: usize) -> (u64, u64) {
        let offset = (index as u64).saturating_mul(self.length).min(self.size);
        (offset, self.size.saturating_sub(offset).min(self.length))
    }

    /// A hasher for the bytes of one segment.
    #[must_use]
    pub fn hasher(self, index: usize) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(self.part(index).0);
        hasher
    }

    /// The digest of the file from the nodes of all its segments, in order; `None` if there are more or fewer.
    #[must_use]
    pub fn merge(self, nodes: &[Node]) -> Option<Digest> {
        if nodes.len() != self.count() {
            return None;
        }
        let (left, right) = nodes.split_at_checked(left_of(nodes.len()))?;
        Some(Digest(*merge_subtrees_root(&merged(left)?, &merged(right)?, Mode::Hash).as_bytes()))
    }
}

impl Node {
    /// Bytes of a node where it is written down.
    pub const LENGTH: usize = 32;

    /// The node of the bytes that a hasher of [`Segments::hasher`] was given; `None` if it was given none.
    #[must_use]
    pub fn of(hasher: &blake3::Hasher) -> Option<Self> {
        (hasher.count() > 0).then(|| Self(hasher.finalize_non_root()))
    }

    /// As it is written down.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// From where it was written down. It is a claim: whoever uses it hashes the bytes and compares.
    #[must_use]
    pub fn claimed(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }
}

fn merged(nodes: &[Node]) -> Option<ChainingValue> {
    match nodes {
        [] => None,
        [only] => Some(only.0),
        more => {
            let (left, right) = more.split_at_checked(left_of(more.len()))?;
            Some(merge_subtrees_non_root(&merged(left)?, &merged(right)?, Mode::Hash))
        }
    }
}

/// Of so many leaves, those below the left child: the largest power of two that leaves one for the right.
fn left_of(count: usize) -> usize {
    count.div_ceil(2).next_power_of_two()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "sizes of a test")]
mod tests {
    use super::*;
    use crate::transfer::digest_bytes;
    use proptest::prelude::*;

    fn bytes(size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn nodes(content: &[u8], segments: Segments) -> Vec<Node> {
        let node = |index| {
            let (offset, length) = segments.part(index);
            let mut hasher = segments.hasher(index);
            hasher.update(&content[offset as usize..][..length as usize]);
            Node::of(&hasher).unwrap()
        };
        (0..segments.count()).map(node).collect()
    }

    fn assert_merges(size: usize, length: u64) {
        let (content, segments) = (bytes(size), Segments { size: size as u64, length });
        assert_eq!(segments.merge(&nodes(&content, segments)), Some(digest_bytes(&content)), "{size} by {length}");
    }

    #[test]
    fn every_size_around_a_border_merges_to_the_digest_of_the_whole() {
        for length in [1024, 2048, 16_384] {
            for count in 1..=17 {
                let border = count * length;
                for size in [border - 1, border, border + 1, border + 1023, border + 1024, border + 1025] {
                    if size > length {
                        assert_merges(size as usize, length);
                    }
                }
            }
        }
        for size in [LENGTH + 1, 2 * LENGTH - 1, 2 * LENGTH, 2 * LENGTH + 1, 3 * LENGTH, 5 * LENGTH + 1024] {
            assert_merges(size as usize, LENGTH);
        }
    }

    #[test]
    fn only_files_of_two_segments_are_cut_and_into_no_more_than_a_server_remembers() {
        for size in [0, 1, 1023, 1024, 1025, LENGTH - 1, LENGTH] {
            assert_eq!(Segments::of(size), None, "{size}");
        }
        for size in [LENGTH + 1, 64 << 20, MOST * LENGTH - 1, MOST * LENGTH, MOST * LENGTH + 1, 1 << 40, 1 << 62] {
            let segments = Segments::of(size).unwrap();
            assert!((2..=MOST as usize).contains(&segments.count()), "{size}: {segments:?}");
            assert!(segments.length.is_power_of_two());
            let (offset, length) = segments.part(segments.count() - 1);
            assert_eq!(offset + length, size);
            assert_eq!(segments.part(segments.count()).1, 0);
        }
        let largest = Segments::of(u64::MAX);
        assert!(largest.is_none_or(|segments| segments.part(segments.count()).1 == 0));
    }

    #[test]
    fn a_part_that_is_missing_doubled_or_another_one_does_not_give_the_digest() {
        let (content, segments) = (bytes(10_000), Segments { size: 10_000, length: 1024 });
        let whole = nodes(&content, segments);
        assert_eq!(segments.merge(&whole[1..]), None);
        assert_eq!(segments.merge(&[]), None);
        let mut swapped = whole.clone();
        swapped.swap(3, 4);
        assert_ne!(segments.merge(&swapped), Some(digest_bytes(&content)));
        assert_eq!(Node::of(&segments.hasher(3)), None);
        assert_eq!(Node::claimed(*whole[2].as_bytes()), whole[2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_size_and_any_segment_merge_to_the_digest_of_the_whole(size in 1025_usize..400_000, power in 10_u32..16) {
            let length = 1 << power;
            prop_assume!(size as u64 > length);
            assert_merges(size, length);
        }
    }
}
