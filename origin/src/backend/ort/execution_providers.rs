//! Which device ONNX Runtime computes on.

use std::str::FromStr;

use ort::ep::{self, ExecutionProvider};
use ort::session::builder::SessionBuilder;

/// An execution provider that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionProviderName {
    /// The processor; always there.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs through TensorRT.
    TensorRt,
    /// Apple's neural engine and GPUs.
    CoreMl,
    /// Windows GPUs.
    DirectMl,
}

/// No execution provider goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an execution provider; known are cpu, cuda, tensorrt, coreml, directml")]
pub struct UnknownExecutionProvider(String);

impl FromStr for ExecutionProviderName {
    type Err = UnknownExecutionProvider;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.trim().to_ascii_lowercase().as_str() {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "tensorrt" => Ok(Self::TensorRt),
            "coreml" => Ok(Self::CoreMl),
            "directml" => Ok(Self::DirectMl),
            _ => Err(UnknownExecutionProvider(name.to_owned())),
        }
    }
}

impl ExecutionProviderName {
    fn register(self, builder: &mut SessionBuilder) -> Result<(), String> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => try_register(&ep::CUDA::default(), builder),
            Self::TensorRt => try_register(&ep::TensorRT::default(), builder),
            Self::CoreMl => try_register(&ep::CoreML::default(), builder),
            Self::DirectMl => try_register(&ep::DirectML::default(), builder),
        }
    }
}

fn try_register<P: ExecutionProvider>(provider: &P, builder: &mut SessionBuilder) -> Result<(), String> {
    match P::is_available() {
        Ok(true) => provider.register(builder).map_err(|error| error.to_string()),
        Ok(false) => Err("this build of ONNX Runtime does not have it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Registers the first of `wanted` that can be had and says in the log which one, and why not the ones before it.
pub(super) fn choose(wanted: &[ExecutionProviderName], builder: &mut SessionBuilder) -> ExecutionProviderName {
    for name in wanted {
        match name.register(builder) {
            Ok(()) => {
                tracing::info!(chosen = ?name, ?wanted, "execution provider chosen: the first in the list that can be had");
                return *name;
            }
            Err(reason) => tracing::warn!(refused = ?name, reason, "execution provider cannot be had"),
        }
    }
    tracing::warn!(?wanted, "none of the execution providers can be had; the processor computes");
    ExecutionProviderName::Cpu
}
