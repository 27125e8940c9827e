use proptest::prelude::*;

use super::*;
use crate::backend::wgpu::{
    kernels::{count_buffer, write_count},
    matrix::{BlockFormat, Precision, interleaved},
    reference::{agree, device, fetched, kernels, linear, numbers, precisions, ran, uploaded},
};

/// All ways that the device can go.
fn ways() -> Vec<Way> {
    let subgroup = device().capabilities().subgroup_size.map(Way::Subgroup);
    [Way::Alone, Way::Workgroup].into_iter().chain(subgroup).collect()
}

/// One format of blocks for each.
fn plain_precisions() -> [Precision; 4] {
    let format = BlockFormat { zero_point: false, f16_scales: true };
    [Precision::F32, Precision::F16, Precision::Int8(format), Precision::Int4(format)]
}

/// A layer on the host.
struct Case {
    precision: Precision,
    outputs: usize,
    inputs: usize,
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    output: Output,
}

impl Case {
    fn new(precision: Precision, outputs: usize, inputs: usize) -> Self {
        let weights = numbers(7, outputs * inputs);
        Self { precision, outputs, inputs, weights, bias: None, output: Output::Store }
    }

    fn width(&self) -> usize {
        if self.output == Output::SwiGlu { self.outputs / 2 } else { self.outputs }
    }

    /// On the device, for all entries of `x` at once, on top of ones.
    fn on_device(&self, x: &[f32], way: Way) -> Vec<f32> {
        let entries = x.len() / self.inputs;
        let shape = (self.outputs, self.inputs);
        let matrix = Matrix::of(device(), self.precision, shape, &self.weights).expect("there is room");
        let (x, y) = (uploaded(x), uploaded(&vec![1.0f32; entries * self.width()]));
        let bias = self.bias.as_ref().map(|bias| uploaded(bias));
        let count = count_buffer(device()).expect("there is room");
        write_count(device(), &count, entries as u32);
        let layer =
            Linear { matrix: &matrix, bias: bias.as_ref(), x: &x, y: &y, count: &count, output: self.output };
        let call = LinearCall::bind_way(&mut kernels(), &layer, way).expect("it compiles");
        ran(|pass| call.record(pass, entries as u32));
        fetched(&y, entries * self.width())
    }

    fn on_host(&self, x: &[f32]) -> Vec<f32> {
        let rounded = self.precision.unpack(&self.precision.pack(&self.weights, self.inputs), self.inputs);
        let mut sums = linear(x, &rounded, self.inputs);
        for row in sums.chunks_mut(self.outputs) {
            row.iter_mut().zip(self.bias.iter().flatten()).for_each(|(sum, bias)| *sum += bias);
        }
        match self.output {
            Output::Store => sums,
            Output::Add => sums.into_iter().map(|sum| sum + 1.0).collect(),
            Output::SwiGlu => sums.chunks(2).map(|pair| pair[0] / (1.0 + (-pair[0]).exp()) * pair[1]).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn it_agrees_with_the_plain_sum_in_every_precision(
        outputs in 1usize..150, inputs4 in 1usize..60, entries in 1usize..20, seed in any::<u64>(),
    ) {
        let x = numbers(seed, entries * inputs4 * 4);
        for precision in precisions() {
            let case = Case::new(precision, outputs, inputs4 * 4);
            agree(&case.on_device(&x, Way::Alone), &case.on_host(&x), 2e-5);
        }
    }

    #[test]
    fn every_way_agrees_with_the_plain_sum(
        outputs in 1usize..150, inputs4 in 1usize..60, entries in 1usize..20, seed in any::<u64>(),
    ) {
        let x = numbers(seed, entries * inputs4 * 4);
        for precision in plain_precisions() {
            let case = Case::new(precision, outputs, inputs4 * 4);
            for way in ways() {
                agree(&case.on_device(&x, way), &case.on_host(&x), 2e-5);
            }
        }
    }
}

#[test]
fn bias_and_residual_and_swiglu_come_on_top() {
    let x = numbers(3, 5 * 64);
    for output in [Output::Store, Output::Add, Output::SwiGlu] {
        for bias in [None, Some(numbers(5, 70))] {
            let case = Case { output, bias, ..Case::new(Precision::F16, 70, 64) };
            for way in ways() {
                agree(&case.on_device(&x, way), &case.on_host(&x), 2e-5);
            }
        }
    }
}

#[test]
fn an_entry_gives_the_same_bits_alone_and_among_others() {
    for precision in plain_precisions() {
        let case = Case::new(precision, 70, 200);
        let x = numbers(11, 19 * 200);
        for way in ways() {
            let together = case.on_device(&x, way);
            for count in [1, 2, 4, 5, 9] {
                for (first, few) in x.chunks_exact(200 * count).enumerate() {
                    let apart = case.on_device(few, way);
                    assert_eq!(
                        apart,
                        together[first * count * 70..][..count * 70],
                        "{precision:?} {way:?} {count}"
                    );
                }
            }
        }
    }
}

#[test]
fn gate_and_up_lie_side_by_side() {
    assert_eq!(
        interleaved(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], 2),
        [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]
    );
}

#[test]
fn a_processor_adds_alone_and_a_gpu_in_subgroups_where_they_are_of_one_size() {
    let gpu = Capabilities { software: false, subgroup_size: Some(32), ..device().capabilities().clone() };
    assert_eq!(Way::of(&gpu), Way::Subgroup(32));
    assert_eq!(Way::of(&Capabilities { subgroup_size: None, ..gpu.clone() }), Way::Workgroup);
    assert_eq!(Way::of(&Capabilities { software: true, ..gpu }), Way::Alone);
}
