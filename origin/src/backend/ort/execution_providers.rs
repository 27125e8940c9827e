//! Which device ONNX Runtime computes on.

use std::fmt::{self, Display};
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider};
use ort::session::builder::SessionBuilder;

use crate::backend::DeviceKind;

/// An execution provider that can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionProviderName {
    /// The processor; always there.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs through TensorRT, and through CUDA where it has no operator.
    TensorRt,
    /// Apple's neural engine and GPUs.
    CoreMl,
    /// Windows GPUs.
    DirectMl,
}

/// What `auto` stands for. TensorRT has to be named: it has no GroupQueryAttention, builds engines for minutes, and is put
/// together with CUDA anyway.
const AUTO: [ExecutionProviderName; 4] = [
    ExecutionProviderName::Cuda,
    ExecutionProviderName::CoreMl,
    ExecutionProviderName::DirectMl,
    ExecutionProviderName::Cpu,
];

/// No execution provider goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an execution provider; known are auto, cpu, cuda, tensorrt, coreml, directml")]
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

impl Display for ExecutionProviderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
        })
    }
}

impl ExecutionProviderName {
    /// Names with commas between them, in order of preference, or `auto`.
    ///
    /// # Errors
    /// When one is unknown.
    pub fn list(names: &str) -> Result<Vec<Self>, UnknownExecutionProvider> {
        if names.trim().eq_ignore_ascii_case("auto") {
            return Ok(AUTO.to_vec());
        }
        names.split(',').map(str::parse).collect()
    }

    /// What it computes on.
    pub(super) const fn device_kind(self) -> DeviceKind {
        match self {
            Self::Cpu => DeviceKind::Cpu,
            Self::Cuda | Self::TensorRt | Self::DirectMl => DeviceKind::Gpu,
            // Core ML decides that for each part of the graph.
            Self::CoreMl => DeviceKind::Other,
        }
    }

    /// Is it for a GPU, and does this build of ONNX Runtime have it?
    pub(super) fn is_gpu_and_built_in(self) -> bool {
        self.device_kind() == DeviceKind::Gpu && self.is_built_in().unwrap_or(false)
    }

    fn is_built_in(self) -> ort::Result<bool> {
        match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::CoreMl => ep::CoreML::is_available(),
            Self::DirectMl => ep::DirectML::is_available(),
        }
    }

    pub(super) fn register(self, builder: &mut SessionBuilder) -> Result<(), String> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => try_register(&ep::CUDA::default(), builder),
            Self::TensorRt => {
                try_register(&ep::TensorRT::default(), builder)?;
                try_register(&ep::CUDA::default(), builder)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_ends_with_the_processor_and_a_list_is_taken_as_it_is() {
        assert_eq!(ExecutionProviderName::list(" Auto ").unwrap().last(), Some(&ExecutionProviderName::Cpu));
        let named = [ExecutionProviderName::TensorRt, ExecutionProviderName::Cpu];
        assert_eq!(ExecutionProviderName::list("tensorrt, cpu").unwrap(), named);
        for name in named.into_iter().chain(AUTO) {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert!(ExecutionProviderName::list("cpu,").is_err() && ExecutionProviderName::list("cpu,auto").is_err());
    }
}
