//! Who holds which block of attention memory: a pure book, without a device.
//!
//! A row holds blocks in the order of its positions; the last one may be partly filled. Rows with a common beginning hold the
//! same blocks. A block is written by whoever holds it alone; who writes into a shared one gets a copy of its own first
//! (copy on write). The book says which copies the device has to make before it writes. Until then a block that one of them
//! reads is not given to anybody else, so the copies can be made all at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{BackendError, FailureKind, Prefix, Row};

/// Positions in a block.
pub const BLOCK_TOKENS: usize = 16;

/// One block's contents go to another, before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
    /// What is copied.
    pub from: u32,
    /// Where to.
    pub to: u32,
}

/// The book.
#[derive(Debug)]
pub struct KvBlocks {
    /// How many rows hold each block.
    holders: Vec<u32>,
    free: Vec<u32>,
    rows: BTreeMap<Row, Held>,
    opened: u32,
    rows_max: usize,
    /// Copies that the device has not been told of: at most one for each row.
    copies: Vec<BlockCopy>,
}

#[derive(Debug, Default)]
struct Held {
    blocks: Vec<u32>,
    positions: usize,
}

impl KvBlocks {
    /// A book of so many free blocks for at most so many rows.
    #[must_use]
    pub fn new(blocks: u32, rows_max: usize) -> Self {
        let free = (0..blocks).rev().collect();
        let holders = vec![0; blocks as usize];
        Self { holders, free, rows: BTreeMap::new(), opened: 0, rows_max, copies: Vec::new() }
    }

    /// Blocks that nobody holds.
    #[must_use]
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Positions that a row holds; `None` when there is no such row.
    #[must_use]
    pub fn positions(&self, row: Row) -> Option<usize> {
        self.rows.get(&row).map(|held| held.positions)
    }

    /// A row's blocks, in the order of its positions; empty when there is no such row.
    #[must_use]
    pub fn blocks(&self, row: Row) -> &[u32] {
        self.rows.get(&row).map_or(&[], |held| &held.blocks)
    }

    /// A new row. Whole blocks of a prefix are shared; of a partly used last one it gets a copy.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] without such a prefix or place for a row, [`FailureKind::OutOfMemory`] without a block for
    /// the copy.
    pub fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        if self.rows.len() >= self.rows_max {
            return Err(refused("no place for another row is free"));
        }
        let held = match prefix {
            Some(prefix) => self.share(prefix)?,
            None => Held::default(),
        };
        while self.rows.contains_key(&Row(self.opened)) {
            self.opened = self.opened.wrapping_add(1);
        }
        let row = Row(self.opened);
        self.opened = self.opened.wrapping_add(1);
        self.rows.insert(row, held);
        Ok(row)
    }

    fn share(&mut self, prefix: Prefix) -> Result<Held, BackendError> {
        let Prefix { row, positions } = prefix;
        let source = self.rows.get(&row).filter(|held| (1..=held.positions).contains(&positions));
        let source = source.ok_or_else(|| refused("the prefix is longer than its row"))?;
        let mut blocks = source.blocks[..positions.div_ceil(BLOCK_TOKENS)].to_vec();
        if !positions.is_multiple_of(BLOCK_TOKENS)
            && let Some(last) = blocks.last_mut()
        {
            let to = self.free.pop().ok_or_else(out_of_memory)?;
            self.copies.push(BlockCopy { from: self.contents_of(*last), to });
            *last = to;
        }
        blocks.iter().for_each(|block| self.holders[*block as usize] += 1);
        Ok(Held { blocks, positions })
    }

    /// Makes room for each row's next positions, all rows or none, and counts them as held.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] for a row that is not there or is named twice, [`FailureKind::OutOfMemory`] without room.
    /// Then nothing has changed.
    pub fn extend(&mut self, rows: &[(Row, usize)]) -> Result<(), BackendError> {
        if self.blocks_needed(rows)? > self.free.len() {
            return Err(out_of_memory());
        }
        for (row, count) in rows {
            let Some(held) = self.rows.get_mut(row) else { continue };
            if !held.positions.is_multiple_of(BLOCK_TOKENS)
                && let Some(last) = held.blocks.last_mut()
                && self.holders[*last as usize] > 1
                && let Some(to) = self.free.pop()
            {
                self.holders[*last as usize] -= 1;
                self.holders[to as usize] = 1;
                self.copies.push(BlockCopy { from: *last, to });
                *last = to;
            }
            held.positions += count;
            let lacking = held.positions.div_ceil(BLOCK_TOKENS) - held.blocks.len();
            let taken = self.free.split_off(self.free.len() - lacking);
            taken.iter().for_each(|block| self.holders[*block as usize] = 1);
            held.blocks.extend(taken.iter().rev());
        }
        Ok(())
    }

    /// New blocks, and copies of shared ones: of a block that all its holders write to, the last one needs no copy.
    fn blocks_needed(&self, rows: &[(Row, usize)]) -> Result<usize, BackendError> {
        let mut writers: BTreeMap<u32, usize> = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut needed = 0;
        for (row, count) in rows {
            let held = self.rows.get(row).filter(|_| named.insert(*row));
            let held = held.ok_or_else(|| refused("there is no such row, or it is named twice"))?;
            needed += (held.positions + count).div_ceil(BLOCK_TOKENS) - held.blocks.len();
            if !held.positions.is_multiple_of(BLOCK_TOKENS)
                && let Some(last) = held.blocks.last()
            {
                *writers.entry(*last).or_default() += 1;
            }
        }
        let copies =
            writers.iter().map(|(block, writers)| (*writers).min(self.holders[*block as usize] as usize - 1));
        Ok(needed + copies.sum::<usize>())
    }

    /// Forgets all but the first positions. A block that is shared stays shared until somebody writes into it.
    pub fn truncate(&mut self, row: Row, positions: usize) {
        let Some(held) = self.rows.get_mut(&row).filter(|held| held.positions > positions) else { return };
        held.positions = positions;
        let dropped = held.blocks.split_off(positions.div_ceil(BLOCK_TOKENS));
        self.let_go(&dropped);
    }

    /// Forgets a row.
    pub fn close(&mut self, row: Row) {
        if let Some(held) = self.rows.remove(&row) {
            self.let_go(&held.blocks);
        }
    }

    /// Where that which a block is to contain stands now.
    fn contents_of(&self, block: u32) -> u32 {
        self.copies.iter().find(|copy| copy.to == block).map_or(block, |copy| copy.from)
    }

    fn let_go(&mut self, blocks: &[u32]) {
        for block in blocks {
            let holders = &mut self.holders[*block as usize];
            *holders -= 1;
            if *holders == 0 {
                self.free_if_unread(*block);
                if let Some(at) = self.copies.iter().position(|copy| copy.to == *block) {
                    let from = self.copies.swap_remove(at).from;
                    self.free_if_unread(from);
                }
            }
        }
    }

    fn free_if_unread(&mut self, block: u32) {
        if self.holders[block as usize] == 0 && self.copies.iter().all(|copy| copy.from != block) {
            self.free.push(block);
        }
    }

    /// What the device has to copy before it writes anything; given out once. No block is both read and written, nor written
    /// twice.
    pub fn take_copies(&mut self) -> Vec<BlockCopy> {
        let copies = std::mem::take(&mut self.copies);
        let unheld: BTreeSet<u32> =
            copies.iter().map(|copy| copy.from).filter(|from| self.holders[*from as usize] == 0).collect();
        self.free.extend(unheld);
        copies
    }
}

fn refused(reason: &'static str) -> BackendError {
    BackendError::of_kind(FailureKind::Refused, "attention memory", reason)
}

fn out_of_memory() -> BackendError {
    BackendError::of_kind(FailureKind::OutOfMemory, "attention memory", "no block is free")
}

#[cfg(test)]
#[path = "kv_blocks/tests.rs"]
mod tests;
