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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::wgpu::reference::{fetched, kernels, numbers, ran, uploaded};

    #[test]
    fn the_wanted_entries_come_in_the_order_wanted() {
        for width in [4, 100, 576] {
            let (x, y) = (numbers(1, 9 * width), uploaded(&vec![9.0f32; 4 * width]));
            let wanted = [8u32, 0, 3, 3];
            let gather = Gather { width, wanted: &uploaded(&wanted), x: &uploaded(&x), y: &y };
            let call = gather.bind(&mut kernels()).expect("it compiles");
            ran(|pass| call.record(pass, 3));
            let expected = wanted[..3].iter().flat_map(|entry| &x[*entry as usize * width..][..width]);
            let expected: Vec<f32> = expected.copied().chain(vec![9.0; width]).collect();
            assert_eq!(fetched(&y, 4 * width), expected);
        }
    }
}
