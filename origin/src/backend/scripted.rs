//! A backend whose logits come from a script, for tests that need no model.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, DeviceKind, FailureKind, LogitsWanted,
    Prefix, Row, RowWork, Selected, Selection, select_each,
};

/// Positions in a block.
const BLOCK_TOKENS: usize = 16;

/// Given everything a row has read, fills in the logits of what comes next.
pub type Script = Box<dyn FnMut(&[u32], &mut [f32]) + Send>;

/// Rows of ids and a script that reads them.
pub struct ScriptedBackend {
    shape: BackendShape,
    script: Script,
    step_time: Duration,
    blocks_max: usize,
    /// Each step is padded to a multiple of so many entries.
    padded_to: usize,
    entries_computed: u64,
    opened: u32,
    rows: BTreeMap<Row, Vec<u32>>,
    /// Of the latest step: for each work the logits that were wanted, in order.
    logits: Vec<Vec<f32>>,
}

impl ScriptedBackend {
    /// A backend that follows `script`; each step takes `step_time`. It has memory for twice the rows of a step.
    #[must_use]
    pub fn new(shape: BackendShape, step_time: Duration, script: Script) -> Self {
        let blocks_max = 2 * shape.rows_max * shape.context_tokens_max.div_ceil(BLOCK_TOKENS);
        Self {
            shape,
            script,
            step_time,
            blocks_max,
            padded_to: 1,
            entries_computed: 0,
            opened: 0,
            rows: BTreeMap::new(),
            logits: Vec::new(),
        }
    }

    /// The same with memory for no more than `positions`, in whole blocks.
    #[must_use]
    pub fn with_positions_max(mut self, positions: usize) -> Self {
        self.blocks_max = positions / BLOCK_TOKENS;
        self
    }

    /// The same, computing a multiple of so many entries at each step, as devices do that work in tiles.
    #[must_use]
    pub const fn with_steps_padded_to(mut self, entries: usize) -> Self {
        self.padded_to = entries;
        self
    }

    fn blocks_free(&self) -> usize {
        let taken: usize = self.rows.values().map(|ids| ids.len().div_ceil(BLOCK_TOKENS)).sum();
        self.blocks_max.saturating_sub(taken)
    }

    fn logits_of(&self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        let width = self.shape.vocabulary_entries;
        let wanted = self.logits.get(item).map(Vec::as_slice).unwrap_or_default();
        let rows = wanted.chunks_exact(width);
        // Only the last were wanted: then it is the only one.
        let logits =
            if rows.len() == 1 { wanted.get(..width) } else { wanted.get(offset * width..(offset + 1) * width) };
        logits.ok_or_else(|| BackendError::of_kind(FailureKind::Refused, "logits", "they were not wanted"))
    }

    fn check(&self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        let refused = |cause: &str| Err(BackendError::of_kind(FailureKind::Refused, "step", cause));
        let mut blocks = 0;
        for (index, item) in work.iter().enumerate() {
            let Some(held) = self.rows.get(&item.row) else { return refused("no such row") };
            let after = held.len() + item.ids.len();
            if item.ids.is_empty() || after > self.shape.context_tokens_max {
                return refused("nothing to read, or a row is full");
            }
            if work[..index].iter().any(|other| other.row == item.row) {
                return refused("a row is named twice");
            }
            blocks += after.div_ceil(BLOCK_TOKENS) - held.len().div_ceil(BLOCK_TOKENS);
        }
        if work.len() > self.shape.rows_max {
            return refused("more rows than a step can take");
        }
        if blocks > self.blocks_free() {
            return Err(BackendError::of_kind(FailureKind::OutOfMemory, "step", "no block is free"));
        }
        Ok(())
    }
}

impl Backend for ScriptedBackend {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn description(&self) -> BackendDescription {
        BackendDescription {
            backend: "scripted",
            device: "none".to_owned(),
            device_kind: DeviceKind::Other,
            driver: None,
            precision: "f32",
            file: "script".to_owned(),
            batched: true,
            subgroups: false,
            cooperative_matrices: false,
        }
    }

    /// An id for each position, and the latest logits.
    fn device_bytes(&self) -> DeviceBytes {
        let positions = self.blocks_max * BLOCK_TOKENS;
        let logits: usize = self.logits.iter().map(Vec::len).sum();
        let bytes = |words: usize| 4 * words as u64;
        DeviceBytes { weights_bytes: 0, attention_bytes: bytes(positions), scratch_bytes: bytes(logits) }
    }

    fn entries_computed(&self) -> u64 {
        self.entries_computed
    }

    fn takes_guesses(&self) -> bool {
        true
    }

    fn positions_free(&self) -> usize {
        self.blocks_free() * BLOCK_TOKENS
    }

    fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        let ids = match prefix {
            Some(Prefix { row, positions }) => {
                let held = self.rows.get(&row).and_then(|ids| ids.get(..positions));
                held.ok_or_else(|| BackendError::of_kind(FailureKind::Refused, "open", "no such prefix"))?.to_vec()
            }
            None => Vec::new(),
        };
        if ids.len().div_ceil(BLOCK_TOKENS) > self.blocks_free() {
            return Err(BackendError::of_kind(FailureKind::OutOfMemory, "open", "no block is free"));
        }
        let row = Row(self.opened);
        self.opened = self.opened.wrapping_add(1);
        self.rows.insert(row, ids);
        Ok(row)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.check(work)?;
        std::thread::sleep(self.step_time);
        let entries: usize = work.iter().map(|item| item.ids.len()).sum();
        self.entries_computed += entries.next_multiple_of(self.padded_to) as u64;
        self.logits.clear();
        for item in work {
            let held = self.rows.entry(item.row).or_default();
            let mut logits = Vec::new();
            for (index, id) in item.ids.iter().enumerate() {
                held.push(*id);
                let wanted = match item.logits {
                    LogitsWanted::None => false,
                    LogitsWanted::Last => index + 1 == item.ids.len(),
                    LogitsWanted::All => true,
                };
                if wanted {
                    let start = logits.len();
                    logits.resize(start + self.shape.vocabulary_entries, 0.0);
                    (self.script)(held, &mut logits[start..]);
                }
            }
            self.logits.push(logits);
        }
        Ok(())
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        select_each(selections, selected, |item, offset| self.logits_of(item, offset))
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.logits_of(item, offset)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        if let Some(ids) = self.rows.get_mut(&row) {
            ids.truncate(positions);
        }
    }

    fn close(&mut self, row: Row) {
        self.rows.remove(&row);
    }
}
