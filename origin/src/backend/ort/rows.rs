//! The rows that are open: how far each has read, and whether a step's work can be done.

use std::collections::BTreeMap;

use crate::backend::{BackendError, BackendShape, FailureKind, Prefix, Row, RowWork};

/// Positions in a block of attention memory.
pub(super) const BLOCK_TOKENS: usize = 16;

/// Open rows, each with what a backend keeps of it.
pub(super) struct Rows<T> {
    shape: BackendShape,
    /// Of all rows together, in whole blocks.
    positions_max: usize,
    opened: u32,
    rows: BTreeMap<Row, OpenRow<T>>,
}

/// How far a row has read.
pub(super) struct OpenRow<T> {
    pub(super) positions: usize,
    /// Where it is kept.
    pub(super) kept: T,
}

impl<T> Rows<T> {
    pub(super) const fn new(shape: BackendShape, positions_max: usize) -> Self {
        Self { shape, positions_max, opened: 0, rows: BTreeMap::new() }
    }

    /// Positions that are still to be had, in whole blocks.
    pub(super) fn positions_free(&self) -> usize {
        let taken: usize = self.rows.values().map(|row| in_blocks(row.positions)).sum();
        self.positions_max.saturating_sub(taken)
    }

    pub(super) fn get(&self, row: Row) -> Option<&OpenRow<T>> {
        self.rows.get(&row)
    }

    pub(super) fn get_mut(&mut self, row: Row) -> Option<&mut OpenRow<T>> {
        self.rows.get_mut(&row)
    }

    /// How far a row has read; 0 when there is no such row.
    pub(super) fn positions(&self, row: Row) -> usize {
        self.rows.get(&row).map_or(0, |row| row.positions)
    }

    /// What is kept of each.
    pub(super) fn kept(&self) -> impl Iterator<Item = &T> {
        self.rows.values().map(|row| &row.kept)
    }

    /// How far all of them have read, together.
    pub(super) fn positions_read(&self) -> usize {
        self.rows.values().map(|row| row.positions).sum()
    }

    pub(super) fn close(&mut self, row: Row) -> Option<OpenRow<T>> {
        self.rows.remove(&row)
    }

    /// Can a row begin with this?
    pub(super) fn check_prefix(&self, prefix: Prefix) -> Result<(), BackendError> {
        if prefix.positions == 0 || prefix.positions > self.positions(prefix.row) {
            return Err(BackendError::of_kind(FailureKind::Refused, "open", "there is no such prefix"));
        }
        if in_blocks(prefix.positions) > self.positions_free() {
            return Err(BackendError::of_kind(
                FailureKind::OutOfMemory,
                "open",
                "there is no room for the prefix",
            ));
        }
        Ok(())
    }

    /// A new row that is kept in a way.
    pub(super) fn open(&mut self, positions: usize, kept: T) -> Row {
        let row = Row(self.opened);
        self.opened = self.opened.wrapping_add(1);
        self.rows.insert(row, OpenRow { positions, kept });
        row
    }

    /// A row has read more.
    pub(super) fn advance(&mut self, row: Row, entries: usize) {
        if let Some(open) = self.rows.get_mut(&row) {
            open.positions += entries;
        }
    }

    /// Can the step be done?
    pub(super) fn check(&self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        let refused = |cause: &str| Err(BackendError::of_kind(FailureKind::Refused, "step", cause));
        if work.len() > self.shape.rows_max {
            return refused("more rows than a step can take");
        }
        let mut wanted = 0;
        for (index, item) in work.iter().enumerate() {
            let Some(row) = self.rows.get(&item.row) else { return refused("no such row") };
            let after = row.positions + item.ids.len();
            if item.ids.is_empty() || after > self.shape.context_tokens_max {
                return refused("there is nothing to read, or the row is full");
            }
            if work[..index].iter().any(|other| other.row == item.row) {
                return refused("a row is named twice");
            }
            wanted += in_blocks(after) - in_blocks(row.positions);
        }
        if wanted > self.positions_free() {
            return Err(BackendError::of_kind(FailureKind::OutOfMemory, "step", "no block is free"));
        }
        Ok(())
    }
}

/// `positions` up to the end of its last block.
pub(super) const fn in_blocks(positions: usize) -> usize {
    positions.next_multiple_of(BLOCK_TOKENS)
}
