//! What prompts begin with, read once and kept: the keys and values of the policies, tones and catalogues that many
//! prompts share.
//!
//! Prompts are cut into blocks of [`BLOCK`] tokens, counted from their beginning, and are read block by block whether
//! anything is kept or not. So what a block's keys and values are depends on the tokens up to its end alone, and a
//! prompt that finds its blocks here goes on exactly as one that does not. Cutting at the end of messages would keep
//! up to a block more of a prompt, but then the cuts, and with them the last digits, would depend on who asks.
//! 32 tokens are read at 95 % of the speed of any larger part, and are 16 tokens read in vain on average.
//!
//! A block is named by a digest of model, adapter and all tokens up to its end. The least recently used go first.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

/// Tokens that are read, and kept, together.
pub(crate) const BLOCK: usize = 32;

/// Names a block by all that its keys and values depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockName([u8; 16]);

/// The names of the whole blocks of a prompt, for a model with an adapter.
pub(crate) fn names(model: &str, adapter: Option<&str>, prompt: &[u32]) -> Vec<BlockName> {
    let mut digest = Sha256::new();
    digest.update(model);
    digest.update([0]);
    digest.update(adapter.unwrap_or_default());
    let chunks = prompt.as_chunks::<BLOCK>().0.iter();
    let name = |tokens: &[u32; BLOCK]| {
        tokens.iter().for_each(|token| digest.update(token.to_le_bytes()));
        let mut name = [0; 16];
        name.copy_from_slice(&digest.clone().finalize()[..16]);
        BlockName(name)
    };
    chunks.map(name).collect()
}

/// Blocks that were read, up to a number of bytes.
pub(crate) struct Prefixes {
    blocks: HashMap<BlockName, Block>,
    /// By when they were last used: the first goes first.
    by_use: BTreeMap<u64, BlockName>,
    clock: u64,
    bytes: usize,
    most_bytes: usize,
}

struct Block {
    numbers: Box<[f32]>,
    used: u64,
}

impl Prefixes {
    /// Keeps up to `most_bytes` of keys and values; 0 keeps none.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { blocks: HashMap::new(), by_use: BTreeMap::new(), clock: 0, bytes: 0, most_bytes }
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those of the blocks that are kept, from the first on: up to the first one that is not.
    pub(crate) fn find(&mut self, names: &[BlockName]) -> Vec<&[f32]> {
        let found = names.iter().take_while(|name| self.blocks.contains_key(name)).count();
        // The last first, so that of a prompt's blocks the last one is given up first: the others are of no use
        // without those before them.
        for name in names[..found].iter().rev() {
            self.clock += 1;
            if let Some(block) = self.blocks.get_mut(name) {
                self.by_use.remove(&block.used);
                block.used = self.clock;
                self.by_use.insert(block.used, *name);
            }
        }
        names[..found].iter().filter_map(|name| self.blocks.get(name)).map(|block| block.numbers.as_ref()).collect()
    }

    /// Whether it is worth taking a block out of a row to keep it.
    pub(crate) fn wants(&self, name: BlockName) -> bool {
        self.most_bytes > 0 && !self.blocks.contains_key(&name)
    }

    /// Keeps the last of `names`; the others are what it stands on, and count as used.
    pub(crate) fn keep(&mut self, names: &[BlockName], numbers: Box<[f32]>) {
        let Some((name, before)) = names.split_last() else { return };
        let size = size_of_val(numbers.as_ref());
        if !self.wants(*name) || size > self.most_bytes {
            return;
        }
        self.clock += 1;
        self.by_use.insert(self.clock, *name);
        self.blocks.insert(*name, Block { numbers, used: self.clock });
        self.bytes += size;
        self.find(before);
        while self.bytes > self.most_bytes {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(block) = self.blocks.remove(&oldest) {
                self.bytes -= size_of_val(block.numbers.as_ref());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_all_that_counts_apart() {
        let prompt: Vec<u32> = (0..100).collect();
        let plain = names("m", None, &prompt);
        assert_eq!(plain.len(), 3);
        assert_eq!(plain[..2], names("m", None, &prompt[..70])[..]);
        let mut other = prompt.clone();
        other[0] = 7;
        // A token before a block is part of its name.
        assert!(names("m", None, &other).iter().all(|name| !plain.contains(name)));
        assert!(names("m", Some("a"), &prompt).iter().all(|name| !plain.contains(name)));
        assert!(names("n", None, &prompt).iter().all(|name| !plain.contains(name)));
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_bytes_hold() {
        let (one, two) = (names("m", None, &[1; 96]), names("m", None, &[2; 96]));
        let block = |number: f32| vec![number; 10].into_boxed_slice();
        let mut kept = Prefixes::new(200);
        (0..3).for_each(|at| kept.keep(&one[..=at], block(at as f32)));
        assert_eq!((kept.bytes(), kept.find(&one).len()), (120, 3));
        (0..2).for_each(|at| kept.keep(&two[..=at], block(9.0)));
        assert_eq!((kept.bytes(), kept.find(&one).len()), (200, 3));
        // The end of what was used longest ago goes first.
        kept.keep(&two[..3], block(9.0));
        assert_eq!((kept.bytes(), kept.find(&one).len(), kept.find(&two).len()), (200, 2, 3));
        assert_eq!(kept.find(&one)[1], [1.0; 10]);
        // Nothing is found behind a gap, nothing is kept where nothing may be, nor what is too large.
        assert!(kept.find(&[names("m", None, &[3; 32])[0], one[0]]).is_empty());
        let mut none = Prefixes::new(0);
        none.keep(&one[..1], block(1.0));
        assert_eq!((none.bytes(), none.find(&one).len()), (0, 0));
        kept.keep(&names("m", None, &[5; 32]), vec![0.0; 100].into_boxed_slice());
        assert_eq!((kept.bytes(), kept.find(&two).len()), (200, 3));
    }
}
