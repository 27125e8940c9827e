//! ONNX Runtime as a backend, for decoders with an attention cache as inputs and outputs: onnxruntime-genai's export
//! (GroupQueryAttention, shared buffers, batched) and that of optimum and transformers.js (one sequence at a time).

mod attention_cache;
mod concatenating;
mod dense;
mod execution_providers;
mod graph;
mod lane;
mod open;
mod runtime;
mod session;

pub use execution_providers::{ExecutionProviderName, UnknownExecutionProvider};
pub use graph::GraphSizes;
pub use open::open;
pub use session::OrtSettings;

use crate::backend::{BackendError, BackendShape};

/// A prompt needs a free row and room for itself and one entry more.
fn check_prompt(shape: BackendShape, rows: usize, prompt_ids: &[u32]) -> Result<(), BackendError> {
    if rows == shape.rows_max {
        return Err(BackendError::new("prefill", "no row is free"));
    }
    if !(1..shape.context_tokens_max).contains(&prompt_ids.len()) {
        return Err(BackendError::new("prefill", "the prompt is empty or does not fit"));
    }
    Ok(())
}

/// A step needs an id and room in each row.
fn check_step(
    shape: BackendShape,
    mut lengths: impl ExactSizeIterator<Item = usize>,
    input_ids: &[u32],
) -> Result<(), BackendError> {
    if input_ids.len() != lengths.len() || input_ids.is_empty() {
        return Err(BackendError::new("decode", "there must be one id for each row"));
    }
    if lengths.any(|length| length >= shape.context_tokens_max) {
        return Err(BackendError::new("decode", "a row is full"));
    }
    Ok(())
}
