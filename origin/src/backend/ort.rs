//! ONNX Runtime as a backend, for decoders with an attention cache as inputs and outputs: onnxruntime-genai's export
//! (GroupQueryAttention, shared buffers, batched) and that of optimum and transformers.js (one sequence at a time).
//!
//! `submit` runs the graph and returns when it is done. `docs/decisions/0032-onnx-runtime-as-a-backend.md` says why.

mod attention_cache;
mod batch;
mod buffer;
mod concatenating;
mod execution_providers;
mod graph;
mod head;
mod open;
mod places;
mod rows;
mod runtime;
mod session;
mod shared_buffers;
mod step_logits;

pub use execution_providers::{ExecutionProviderName, UnknownExecutionProvider};
pub use graph::GraphSizes;
pub use open::open;
pub use session::OrtSettings;

use crate::backend::{BackendError, FailureKind};

/// What ONNX Runtime says when it has no memory, by the pieces of its messages.
const OUT_OF_MEMORY: [&str; 4] = ["Failed to allocate memory", "bad_alloc", "out of memory", "OUT_OF_MEMORY"];
/// What it says when a device is gone or can no longer be trusted, after which every further call fails.
const LOST: [&str; 3] = ["CUDA failure", "DEVICE_REMOVED", "DEVICE_HUNG"];

/// The device failed, or what is left of it.
fn failed(context: &'static str) -> impl Fn(ort::Error) -> BackendError {
    move |error| {
        let cause = error.to_string();
        let says = |pieces: &[&str]| pieces.iter().any(|piece| cause.contains(piece));
        let kind = if says(&OUT_OF_MEMORY) {
            FailureKind::OutOfMemory
        } else if says(&LOST) {
            FailureKind::Lost
        } else {
            FailureKind::Failed
        };
        BackendError::of_kind(kind, context, cause)
    }
}

/// There was no memory for it.
fn no_memory(context: &'static str) -> impl Fn(ort::Error) -> BackendError {
    move |error| BackendError::of_kind(FailureKind::OutOfMemory, context, error)
}

/// The first of `wanted` that is for a GPU and that `library` was built with; whether such a GPU is there only opening tells.
#[must_use]
pub fn gpu_provider(library: &std::path::Path, wanted: &[ExecutionProviderName]) -> Option<ExecutionProviderName> {
    runtime::environment(library).ok()?;
    wanted.iter().copied().find(|provider| provider.is_gpu_and_built_in())
}
