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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::wgpu::reference::{agree, fetched, kernels, numbers, ran, rms_norm, uploaded};

    fn on_device(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
        let (entries, width) = (x.len() / weight.len(), weight.len());
        let y = uploaded(&vec![9.0f32; x.len()]);
        let norm = Norm { width, epsilon, x: &uploaded(x), weight: &uploaded(weight), y: &y };
        let call = norm.bind(&mut kernels()).expect("it compiles");
        ran(|pass| call.record(pass, entries as u32));
        fetched(&y, x.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
        #[test]
        fn it_agrees_with_the_plain_one(
            entries in 1usize..9, vectors in 1usize..200, seed in any::<u64>(), large in any::<bool>(),
        ) {
            let size = if large { 1000.0 } else { 0.01 };
            let x: Vec<f32> = numbers(seed, entries * vectors * 4).iter().map(|number| number * size).collect();
            let weight = numbers(5, vectors * 4);
            agree(&on_device(&x, &weight, 1e-5), &rms_norm(&x, &weight, 1e-5), 2e-6);
        }
    }

    #[test]
    fn an_entry_is_normed_as_it_is_alone() {
        let (x, weight) = (numbers(1, 7 * 576), numbers(2, 576));
        let together = on_device(&x, &weight, 1e-5);
        for (alone, entry) in x.chunks_exact(576).zip(together.chunks_exact(576)) {
            assert_eq!(on_device(alone, &weight, 1e-5), entry);
        }
    }
}
