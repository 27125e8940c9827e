//! ONNX Runtime as a backend: a decoder exported by onnxruntime-genai's builder (GroupQueryAttention, attention
//! cache as inputs and outputs, no position ids).

mod attention_cache;
mod execution_providers;
mod lane;
mod runtime;
mod session;

pub use execution_providers::{ExecutionProviderName, UnknownExecutionProvider};
pub use session::{OrtBackend, OrtSettings};
