//! A backend whose logits come from a script, for tests that need no model.

use std::time::Duration;

use super::{Backend, BackendError, BackendShape};

/// Given everything a row has read, fills in the logits of what comes next.
pub type Script = Box<dyn FnMut(&[u32], &mut [f32]) + Send>;

/// Rows of ids and a script that reads them.
pub struct ScriptedBackend {
    shape: BackendShape,
    script: Script,
    step_time: Duration,
    rows: Vec<Vec<u32>>,
    logits: Vec<f32>,
}

impl ScriptedBackend {
    /// A backend that follows `script`; each step takes `step_time`.
    #[must_use]
    pub fn new(shape: BackendShape, step_time: Duration, script: Script) -> Self {
        Self { shape, script, step_time, rows: Vec::new(), logits: Vec::new() }
    }

    fn write_logits(&mut self, first_row: usize) -> &[f32] {
        std::thread::sleep(self.step_time);
        self.logits.clear();
        self.logits.resize((self.rows.len() - first_row) * self.shape.vocabulary_entries, 0.0);
        let rows_of_logits = self.logits.chunks_exact_mut(self.shape.vocabulary_entries);
        for (history, logits) in self.rows[first_row..].iter().zip(rows_of_logits) {
            (self.script)(history, logits);
        }
        &self.logits
    }
}

impl Backend for ScriptedBackend {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn prefill(&mut self, prompt_ids: &[u32]) -> Result<&[f32], BackendError> {
        if self.rows.len() == self.shape.rows_max || prompt_ids.len() > self.shape.context_tokens_max {
            return Err(BackendError::new("prefill", "no row is free or the prompt does not fit"));
        }
        self.rows.push(prompt_ids.to_vec());
        Ok(self.write_logits(self.rows.len() - 1))
    }

    fn decode(&mut self, input_ids: &[u32]) -> Result<&[f32], BackendError> {
        let full = self.rows.iter().any(|row| row.len() >= self.shape.context_tokens_max);
        if full || input_ids.len() != self.rows.len() {
            return Err(BackendError::new("decode", "a row is full or an id is missing"));
        }
        for (row, id) in self.rows.iter_mut().zip(input_ids) {
            row.push(*id);
        }
        Ok(self.write_logits(0))
    }

    fn release(&mut self, row: usize) {
        self.rows.swap_remove(row);
    }
}
