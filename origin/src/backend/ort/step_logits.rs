//! The logits of a step, as they were wanted.

use crate::backend::{BackendError, FailureKind, LogitsWanted, RowWork, Selected, Selection, select_each};

/// Which logits of a step lie where: rows of `[vocabulary_entries]`, one behind the other.
#[derive(Debug, Default)]
pub(super) struct StepLogits {
    vocabulary_entries: usize,
    /// For each work of the step its first row of logits and how many it has.
    items: Vec<(usize, usize)>,
    rows: usize,
    values: Vec<f32>,
}

/// How many logits an item wants.
pub(super) const fn wanted(item: &RowWork<'_>) -> usize {
    match item.logits {
        LogitsWanted::None => 0,
        LogitsWanted::Last => 1,
        LogitsWanted::All => item.ids.len(),
    }
}

impl StepLogits {
    pub(super) const fn new(vocabulary_entries: usize) -> Self {
        Self { vocabulary_entries, items: Vec::new(), rows: 0, values: Vec::new() }
    }

    /// Forgets the last step's; `items` works will follow.
    pub(super) fn begin(&mut self, items: usize) {
        self.items.clear();
        self.items.resize(items, (0, 0));
        self.rows = 0;
    }

    /// Says where the logits of an item lie.
    pub(super) fn place(&mut self, index: usize, first: usize, count: usize) {
        self.items[index] = (first, count);
        self.rows = self.rows.max(first + count);
    }

    /// The first row behind all that are placed.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// What it takes to put values down here.
    pub(super) const fn bytes(&self) -> u64 {
        (self.values.capacity() * size_of::<f32>()) as u64
    }

    /// Where values that are not 32-bit floats already are put down.
    pub(super) const fn values_mut(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }

    /// Those after entry `offset` of the `item`th work. `computed`: where they lie, when they are floats already.
    pub(super) fn of<'a>(
        &'a self,
        item: usize,
        offset: usize,
        computed: Option<&'a [f32]>,
    ) -> Result<&'a [f32], BackendError> {
        let (first, count) = self.items.get(item).copied().unwrap_or_default();
        // Where only the last were wanted, there are no others that could be meant.
        let row = first + if count == 1 { 0 } else { offset };
        let width = self.vocabulary_entries;
        let values = computed.unwrap_or(&self.values);
        let logits = (row < first + count).then(|| values.get(row * width..(row + 1) * width)).flatten();
        logits.ok_or_else(|| BackendError::of_kind(FailureKind::Refused, "logits", "they were not wanted"))
    }

    /// [`crate::backend::Backend::select`] on these logits.
    pub(super) fn select(
        &self,
        selections: &[Selection<'_>],
        computed: Option<&[f32]>,
        selected: &mut Vec<Selected>,
    ) -> Result<(), BackendError> {
        select_each(selections, selected, |item, offset| self.of(item, offset, computed))
    }
}
