//! What a backend says of itself: what it runs on and how, and what it holds there.

use std::fmt::{self, Display};

use serde::Serialize;
use utoipa::ToSchema;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The processor, or a software adapter on it.
    Cpu,
    /// A GPU with memory of its own.
    DiscreteGpu,
    /// A GPU that shares the processor's memory.
    IntegratedGpu,
    /// A GPU as a virtual machine shows it.
    VirtualGpu,
    /// A GPU of which nobody says which kind it is.
    Gpu,
    /// Something else, or several of these.
    Other,
}

impl DeviceKind {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "processor",
            Self::DiscreteGpu => "discrete GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::Gpu => "GPU",
            Self::Other => "other device",
        }
    }
}

/// What a backend runs on and how. It does not change while the backend is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BackendDescription {
    /// `onnxruntime` or `wgpu`.
    pub backend: &'static str,
    /// The execution provider of ONNX Runtime, or the adapter's name.
    pub device: String,
    /// What that is.
    pub device_kind: DeviceKind,
    /// The adapter's interface and driver; none of an execution provider.
    pub driver: Option<String>,
    /// How most weights are kept: `f32`, `f16`, `int8` or `int4`.
    pub precision: &'static str,
    /// The file that was opened: a graph, safetensors or their index.
    pub file: String,
    /// Does one step work on several rows at once? Else one after the other.
    pub batched: bool,
    /// Do its kernels add up through subgroup operations?
    pub subgroups: bool,
    /// Do they multiply with cooperative matrices?
    pub cooperative_matrices: bool,
}

impl Display for BackendDescription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, device, device_kind, precision, file, .. } = self;
        write!(formatter, "{backend}, {device} ({}", device_kind.name())?;
        if let Some(driver) = &self.driver {
            write!(formatter, ", {driver}")?;
        }
        let rows = if self.batched { "batched" } else { "one sequence at a time" };
        write!(formatter, "), {precision}, {file}, {rows}")?;
        let with = [(self.subgroups, "subgroups"), (self.cooperative_matrices, "cooperative matrices")];
        with.iter().filter(|(is_used, _)| *is_used).try_for_each(|(_, name)| write!(formatter, ", {name}"))
    }
}

/// What a backend holds on its device at this moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceBytes {
    /// Weights: as they lie on the device, or, for ONNX Runtime, which does not say what it makes of them, as they lie in
    /// their files.
    pub weights_bytes: u64,
    /// Reserved for attention keys and values, in use or not.
    pub attention_bytes: u64,
    /// Everything else that is counted: what a step reads and writes in between, and its logits.
    pub scratch_bytes: u64,
}

impl DeviceBytes {
    /// All of it.
    #[must_use]
    pub const fn total_bytes(self) -> u64 {
        self.weights_bytes.saturating_add(self.attention_bytes).saturating_add(self.scratch_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_has_all_that_is_known_and_nothing_that_is_not_used() {
        let mut description = BackendDescription {
            backend: "wgpu",
            device: "Some Card".to_owned(),
            device_kind: DeviceKind::DiscreteGpu,
            driver: Some("Vulkan, some driver 1.2".to_owned()),
            precision: "f16",
            file: "model.safetensors".to_owned(),
            batched: true,
            subgroups: true,
            cooperative_matrices: false,
        };
        let line =
            "wgpu, Some Card (discrete GPU, Vulkan, some driver 1.2), f16, model.safetensors, batched, subgroups";
        assert_eq!(description.to_string(), line);
        description = BackendDescription {
            backend: "onnxruntime",
            device: "cpu".to_owned(),
            device_kind: DeviceKind::Cpu,
            driver: None,
            batched: false,
            subgroups: false,
            ..description
        };
        let line = "onnxruntime, cpu (processor), f16, model.safetensors, one sequence at a time";
        assert_eq!(description.to_string(), line);
    }
}
