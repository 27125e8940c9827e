//! RMSNorm: `y = x / √(mean(x²) + ε) × weight`, a workgroup for each entry.

use super::{Call, Kernels, Source, Spread};
use crate::backend::{BackendError, wgpu::device::DeviceBuffer};

/// Invocations in a workgroup: how many strands the squares are added up in.
const INVOCATIONS: usize = 64;

/// A norm and its buffers.
pub struct Norm<'a> {
    /// Numbers in an entry; a multiple of 4.
    pub width: usize,
    /// ε.
    pub epsilon: f32,
    /// `[entries, width]`, f32.
    pub x: &'a DeviceBuffer,
    /// `[width]`, f32.
    pub weight: &'a DeviceBuffer,
    /// `[entries, width]`, f32, written; not `x`.
    pub y: &'a DeviceBuffer,
}

impl Norm<'_> {
    /// Binds the norm.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(&self, kernels: &mut Kernels) -> Result<Call, BackendError> {
        let source = Source::new("norm")
            .constant("WIDTH4", self.width / 4)
            .constant("INVOCATIONS", INVOCATIONS)
            .number("EPSILON", self.epsilon)
            .with(include_str!("norm.wgsl"));
        let buffers = [self.x, self.weight, self.y].map(Some);
        kernels.bind(&source, &buffers, Spread { workgroups: 1, entries: 1 })
    }
}
