//! Rows as the engine knows them over rows that must all step together: a row that rests gives its place up and is read
//! anew when it goes on.

use std::collections::BTreeMap;

use crate::backend::{
    Backend, BackendError, BackendShape, FailureKind, LogitsWanted, Prefix, Row, RowWork, Selected, Selection,
    select_on_host,
};

/// Rows `0..n`, each of which takes one entry at each step.
pub(super) trait DenseBackend {
    fn shape(&self) -> BackendShape;
    /// Reads a prompt into a new last row; logits after its last entry, `[vocabulary_entries]`.
    fn prefill(&mut self, prompt_ids: &[u32]) -> Result<&[f32], BackendError>;
    /// Appends one entry to every row; `[rows, vocabulary_entries]`.
    fn decode(&mut self, input_ids: &[u32]) -> Result<&[f32], BackendError>;
    /// Frees a row. The last row takes its place.
    fn release(&mut self, row: usize);
}

/// See the module.
pub(super) struct DenseRows<B> {
    dense: B,
    opened: u32,
    rows: BTreeMap<Row, Vec<u32>>,
    /// Who has which dense row.
    places: Vec<Row>,
    /// For each work of the latest step.
    logits: Vec<Vec<f32>>,
}

impl<B: DenseBackend> DenseRows<B> {
    pub(super) fn new(dense: B) -> Self {
        Self { dense, opened: 0, rows: BTreeMap::new(), places: Vec::new(), logits: Vec::new() }
    }

    fn give_up_place(&mut self, row: Row) {
        if let Some(place) = self.places.iter().position(|held| *held == row) {
            self.places.swap_remove(place);
            self.dense.release(place);
        }
    }

    /// Reads the whole of a row that has no place.
    fn read(&mut self, item: &RowWork<'_>) -> Result<Vec<f32>, BackendError> {
        let ids = self.rows.get(&item.row).cloned().unwrap_or_default();
        if item.logits == LogitsWanted::None {
            return Ok(Vec::new());
        }
        let logits = self.dense.prefill(&ids)?.to_vec();
        self.places.push(item.row);
        Ok(logits)
    }
}

impl<B: DenseBackend> Backend for DenseRows<B> {
    fn shape(&self) -> BackendShape {
        self.dense.shape()
    }

    fn positions_free(&self) -> usize {
        let shape = self.shape();
        (2 * shape.rows_max).saturating_sub(self.rows.len()) * shape.context_tokens_max
    }

    fn block_tokens(&self) -> usize {
        self.shape().context_tokens_max
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        let held = prefix.and_then(|prefix| self.rows.get(&prefix.row)?.get(..prefix.positions));
        let ids = held.map(<[u32]>::to_vec).unwrap_or_default();
        let row = Row(self.opened);
        self.opened = self.opened.wrapping_add(1);
        self.rows.insert(row, ids);
        Ok(row)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        let named = |row: &Row| work.iter().any(|item| item.row == *row && item.ids.len() == 1);
        let resting: Vec<Row> = self.places.iter().copied().filter(|row| !named(row)).collect();
        resting.into_iter().for_each(|row| self.give_up_place(row));
        for item in work {
            let held = self.rows.get_mut(&item.row);
            held.ok_or_else(|| BackendError::of_kind(FailureKind::Refused, "step", "no such row"))?
                .extend(item.ids);
        }
        self.logits.clear();
        self.logits.resize(work.len(), Vec::new());
        let item_of = |row: Row| work.iter().position(|item| item.row == row);
        let items: Vec<usize> = self.places.iter().filter_map(|row| item_of(*row)).collect();
        if !items.is_empty() {
            let ids: Vec<u32> = items.iter().map(|item| work[*item].ids[0]).collect();
            let width = self.dense.shape().vocabulary_entries;
            let logits = self.dense.decode(&ids)?;
            for (item, row) in items.iter().zip(logits.chunks_exact(width)) {
                self.logits[*item] = row.to_vec();
            }
        }
        for (index, item) in work.iter().enumerate() {
            if !items.contains(&index) {
                self.logits[index] = self.read(item)?;
            }
        }
        Ok(())
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        selected.resize_with(selections.len(), Selected::default);
        for (selection, selected) in selections.iter().zip(selected) {
            let logits = self.logits(selection.item, selection.offset)?;
            select_on_host(logits, selection.permitted, selection.count_max, selected);
        }
        Ok(())
    }

    fn logits(&mut self, item: usize, _offset: usize) -> Result<&[f32], BackendError> {
        let logits = self.logits.get(item).filter(|logits| !logits.is_empty());
        let refused = || BackendError::of_kind(FailureKind::Refused, "logits", "they were not wanted");
        Ok(logits.ok_or_else(refused)?)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        self.give_up_place(row);
        if let Some(ids) = self.rows.get_mut(&row) {
            ids.truncate(positions);
        }
    }

    fn close(&mut self, row: Row) {
        self.give_up_place(row);
        self.rows.remove(&row);
    }
}
