//! Gathering: the entries whose logits are wanted, one after another.

use super::{Call, Kernels, Source, Spread};
use crate::backend::{BackendError, wgpu::device::DeviceBuffer};

/// Invocations in a workgroup, each for four numbers.
const INVOCATIONS: usize = 64;

/// A gathering and its buffers. Recorded for as many entries as are gathered.
pub struct Gather<'a> {
    /// Numbers in an entry; a multiple of 4.
    pub width: usize,
    /// `[gathered]`, u32: which entries of `x`.
    pub wanted: &'a DeviceBuffer,
    /// `[entries, width]`, f32.
    pub x: &'a DeviceBuffer,
    /// `[gathered, width]`, f32, written; not `x`.
    pub y: &'a DeviceBuffer,
}

impl Gather<'_> {
    /// Binds the gathering.
    ///
    /// # Errors
    /// When the kernel does not compile or there is no memory left.
    pub fn bind(&self, kernels: &mut Kernels) -> Result<Call, BackendError> {
        let source = Source::new("gather")
            .constant("WIDTH4", self.width / 4)
            .constant("INVOCATIONS", INVOCATIONS)
            .with(include_str!("gather.wgsl"));
        let buffers = [self.wanted, self.x, self.y].map(Some);
        let spread = Spread { workgroups: (self.width / 4).div_ceil(INVOCATIONS), entries: 1 };
        kernels.bind(&source, &buffers, spread)
    }
}
