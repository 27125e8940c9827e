//! A step as the device reads it: every row's next ids one after another, where their keys and values go, and whose logits
//! are wanted. Pure.

use super::kernels::Entry;
use super::kv_blocks::{BLOCK_TOKENS, KvBlocks};
use crate::backend::{BackendError, BackendShape, FailureKind, LogitsWanted, RowWork};

/// Logits that a step leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Which work of the step.
    pub(super) item: usize,
    /// After which of its ids.
    pub(super) offset: usize,
    /// Which entry of the step that is.
    pub(super) entry: usize,
}

/// What is uploaded for a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) entries: Vec<Entry>,
    /// `[works, table_blocks]`: each work's blocks, in the order of their positions.
    pub(super) tables: Vec<u32>,
    /// In the order of the rows of logits.
    pub(super) wanted: Vec<Wanted>,
}

/// What a step may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepLimits {
    pub(super) shape: BackendShape,
    /// Most rows of logits.
    pub(super) logits_rows_max: usize,
}

impl StepLimits {
    /// Blocks in a table: those of the longest row.
    pub(super) const fn table_blocks(&self) -> usize {
        self.shape.context_tokens_max.div_ceil(BLOCK_TOKENS)
    }

    /// Refuses what cannot be done, before anything is changed.
    pub(super) fn check(&self, work: &[RowWork<'_>], book: &KvBlocks) -> Result<(), BackendError> {
        let BackendShape { vocabulary_entries, context_tokens_max, rows_max } = self.shape;
        if !(1..=rows_max).contains(&work.len()) {
            return Err(refused("a step has at least one row and at most rows_max"));
        }
        let logits_rows: usize = work.iter().map(|item| offsets(item).len()).sum();
        if logits_rows > self.logits_rows_max {
            return Err(refused("more logits are wanted than there is room for"));
        }
        for item in work {
            let positions = book.positions(item.row).ok_or_else(|| refused("there is no such row"))?;
            if item.ids.is_empty() || item.ids.iter().any(|id| *id as usize >= vocabulary_entries) {
                return Err(refused("there is no id, or one that is not in the vocabulary"));
            }
            if positions + item.ids.len() > context_tokens_max {
                return Err(refused("the row is full"));
            }
        }
        Ok(())
    }
}

impl Step {
    /// Lays out work whose rows hold their new positions already.
    pub(super) fn of(work: &[RowWork<'_>], book: &KvBlocks, table_blocks: usize) -> Self {
        let mut step = Self::default();
        for (index, item) in work.iter().enumerate() {
            let blocks = book.blocks(item.row);
            let first = book.positions(item.row).unwrap_or_default().saturating_sub(item.ids.len());
            step.tables.extend(blocks);
            step.tables.resize((index + 1) * table_blocks, 0);
            let begin = step.entries.len();
            step.wanted.extend(offsets(item).map(|offset| Wanted { item: index, offset, entry: begin + offset }));
            step.entries.extend((first..).zip(item.ids).map(|(position, id)| Entry {
                id: *id,
                position: position as u32,
                table: index as u32,
                slot: blocks[position / BLOCK_TOKENS] * BLOCK_TOKENS as u32 + (position % BLOCK_TOKENS) as u32,
            }));
        }
        step
    }
}

fn offsets(item: &RowWork<'_>) -> std::ops::Range<usize> {
    match item.logits {
        LogitsWanted::None => 0..0,
        LogitsWanted::Last => item.ids.len().saturating_sub(1)..item.ids.len(),
        LogitsWanted::All => 0..item.ids.len(),
    }
}

fn refused(reason: &'static str) -> BackendError {
    BackendError::of_kind(FailureKind::Refused, "step", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Row;

    const SHAPE: BackendShape = BackendShape { vocabulary_entries: 9, context_tokens_max: 40, rows_max: 2 };

    fn item(row: Row, ids: &[u32], logits: LogitsWanted) -> RowWork<'_> {
        RowWork { row, ids, logits }
    }

    #[test]
    fn entries_say_where_their_keys_go_and_the_wanted_ones_are_found_again() {
        let mut book = KvBlocks::new(8, 4);
        let (first, second) = (book.open(None).unwrap(), book.open(None).unwrap());
        book.extend(&[(first, 15), (second, 1)]).unwrap();
        book.extend(&[(first, 2), (second, 2)]).unwrap();
        let work = [item(first, &[3, 4], LogitsWanted::Last), item(second, &[5, 6], LogitsWanted::All)];
        let step = Step::of(&work, &book, 3);
        let block = |row, index: usize| book.blocks(row)[index];
        assert_eq!(step.tables, [block(first, 0), block(first, 1), 0, block(second, 0), 0, 0]);
        let places: Vec<_> = step.entries.iter().map(|entry| (entry.id, entry.position, entry.table)).collect();
        assert_eq!(places, [(3, 15, 0), (4, 16, 0), (5, 1, 1), (6, 2, 1)]);
        let slots: Vec<u32> = step.entries.iter().map(|entry| entry.slot).collect();
        let (near, far, other) = (block(first, 0) * 16, block(first, 1) * 16, block(second, 0) * 16);
        assert_eq!(slots, [near + 15, far, other + 1, other + 2]);
        let wanted: Vec<_> = step.wanted.iter().map(|wanted| (wanted.item, wanted.offset, wanted.entry)).collect();
        assert_eq!(wanted, [(0, 1, 1), (1, 0, 2), (1, 1, 3)]);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let mut book = KvBlocks::new(8, 4);
        let row = book.open(None).unwrap();
        book.extend(&[(row, 39)]).unwrap();
        let limits = StepLimits { shape: SHAPE, logits_rows_max: 1 };
        let check = |work: &[RowWork<'_>]| limits.check(work, &book).map_err(|error| error.kind());
        assert_eq!(check(&[item(row, &[8], LogitsWanted::Last)]), Ok(()));
        let refused = Err(FailureKind::Refused);
        assert_eq!(check(&[]), refused);
        assert_eq!(check(&[item(row, &[], LogitsWanted::None)]), refused);
        assert_eq!(check(&[item(row, &[9], LogitsWanted::None)]), refused);
        assert_eq!(check(&[item(row, &[1, 1], LogitsWanted::None)]), refused);
        assert_eq!(check(&[item(row, &[1, 1], LogitsWanted::All)]), refused);
        assert_eq!(check(&[item(Row(77), &[1], LogitsWanted::None)]), refused);
    }
}
