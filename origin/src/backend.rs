//! What the engine asks of a device. A backend knows rows and logits; it knows no queue and no caption.

pub mod ort;
pub mod scripted;

/// The sizes of a loaded model on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendShape {
    /// Width of a row of logits.
    pub vocabulary_entries: usize,
    /// Most positions that one row can hold, prompt and completion together.
    pub context_tokens_max: usize,
    /// Most rows at once.
    pub rows_max: usize,
}

/// The device failed. For the log only.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {cause}")]
pub struct BackendError {
    context: &'static str,
    cause: String,
}

impl BackendError {
    /// What was attempted, and what the device said.
    pub fn new(context: &'static str, cause: impl ToString) -> Self {
        Self { context, cause: cause.to_string() }
    }
}

/// A model on a device. Only the engine loop's thread ever touches it.
///
/// Rows are dense: with `n` sequences they are rows `0..n`, each with its own attention cache.
pub trait Backend {
    /// Sizes that do not change.
    fn shape(&self) -> BackendShape;

    /// Reads a prompt into a new last row and returns the logits after its last entry, `[vocabulary_entries]`.
    ///
    /// # Errors
    /// When no row is free, the prompt does not fit or the device fails; no row is added then.
    fn prefill(&mut self, prompt_ids: &[u32]) -> Result<&[f32], BackendError>;

    /// Appends one entry to every row and returns the logits after it, `[rows, vocabulary_entries]`.
    ///
    /// # Errors
    /// When a row is full or the device fails. The rows' contents are undefined then; release them.
    fn decode(&mut self, input_ids: &[u32]) -> Result<&[f32], BackendError>;

    /// Frees a row. The last row takes its place.
    fn release(&mut self, row: usize);
}
