//! What the kernels compute, slowly and plainly, and the device that their tests share.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use super::{
    device::{Device, DeviceBuffer, DeviceSettings},
    kernels::Kernels,
    matrix::{BlockFormat, Precision},
};

/// How long a test waits for the device.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// The adapter of this machine, opened once for all tests.
pub(super) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        Device::open(&DeviceSettings::default()).expect("no adapter: `cargo xtask test` provides a software one")
    })
}

/// Its kernels, compiled once for all tests of a process.
pub(super) fn kernels() -> MutexGuard<'static, Kernels> {
    static KERNELS: OnceLock<Mutex<Kernels>> = OnceLock::new();
    let shared = KERNELS.get_or_init(|| Mutex::new(Kernels::new(device())));
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer with these numbers.
pub(super) fn uploaded<T: bytemuck::NoUninit>(contents: &[T]) -> DeviceBuffer {
    device().storage_of("test", contents).expect("there is room")
}

/// Records kernels in one pass and waits for them.
pub(super) fn ran(record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
    let mut encoder = device().encoder();
    record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    device().submit(encoder).expect("the device takes it");
    device().wait(WAIT).expect("the device does it");
}

/// The first `count` numbers of a buffer.
pub(super) fn fetched(buffer: &DeviceBuffer, count: usize) -> Vec<f32> {
    let mut contents = vec![0.0f32; count];
    device().fetch(buffer, &mut contents, WAIT).expect("the device gives it");
    contents
}

/// Numbers in −1..1 that depend on the seed alone (xorshift).
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Fails unless all numbers agree to `tolerance`, as a share of the largest expected one where that is above 1.
pub(super) fn agree(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(1.0f32, |max, number| max.max(number.abs()));
    let differences = actual.iter().zip(expected).map(|(a, e)| (a - e).abs() / largest);
    let (place, worst) = differences.enumerate().fold((0, 0.0f32), |worst, (place, difference)| {
        if difference > worst.1 || difference.is_nan() { (place, difference) } else { worst }
    });
    assert!(worst <= tolerance, "{worst} at {place}: {} instead of {}", actual[place], expected[place]);
}

/// `[entries, outputs]` of `x Wᵀ`, summed in double precision.
pub(super) fn linear(x: &[f32], weights: &[f32], inputs: usize) -> Vec<f32> {
    let dot = |entry: &[f32], row: &[f32]| -> f64 {
        entry.iter().zip(row).map(|(number, weight)| f64::from(*number) * f64::from(*weight)).sum()
    };
    let outputs = |entry| weights.chunks_exact(inputs).map(move |row| dot(entry, row) as f32);
    x.chunks_exact(inputs).flat_map(outputs).collect()
}

/// `[entries, width]` of x / √(mean(x²) + ε) × weight.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let normed = |entry: &[f32]| {
        let squares: f64 = entry.iter().map(|number| f64::from(*number).powi(2)).sum();
        let factor = 1.0 / (squares / weight.len() as f64 + f64::from(epsilon)).sqrt();
        entry.iter().zip(weight).map(|(number, weight)| number * factor as f32 * weight).collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(normed).collect()
}

/// One head turned by the angles of a position: place `i` with place `i + width / 2` for the first `width` numbers.
pub(super) fn turned(head: &[f32], angles: &[[f32; 2]]) -> Vec<f32> {
    let half = angles.len();
    let mut turned = head.to_vec();
    for (place, [cosine, sine]) in angles.iter().enumerate() {
        turned[place] = head[place] * cosine - head[place + half] * sine;
        turned[place + half] = head[place + half] * cosine + head[place] * sine;
    }
    turned
}

/// One head's attention over keys and values of as many positions as there are, in double precision.
pub(super) fn attention(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f32) -> Vec<f32> {
    let dot = |key: &Vec<f32>| query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
    let scores: Vec<f64> = keys.iter().map(|key| dot(key) * f64::from(scale)).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let attended = |place: usize| {
        weights.iter().zip(values).map(|(weight, value)| weight / total * f64::from(value[place])).sum::<f64>()
    };
    (0..query.len()).map(|place| attended(place) as f32).collect()
}

/// As 16-bit floats round it.
pub(super) fn rounded_f16(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|number| half::f16::from_f32(*number).to_f32()).collect()
}

/// The first `count` numbers of a pool of keys or values.
pub(super) fn fetched_pool(pool: &DeviceBuffer, count: usize, f16: bool) -> Vec<f32> {
    if !f16 {
        return fetched(pool, count);
    }
    let mut contents = vec![0u16; count];
    device().fetch(pool, &mut contents, WAIT).expect("the device gives it");
    contents.into_iter().map(|bits| half::f16::from_bits(bits).to_f32()).collect()
}

/// A pool of keys or values with these numbers.
pub(super) fn uploaded_pool(numbers: &[f32], f16: bool) -> DeviceBuffer {
    match f16 {
        true => {
            uploaded(&numbers.iter().map(|number| half::f16::from_f32(*number).to_bits()).collect::<Vec<u16>>())
        }
        false => uploaded(numbers),
    }
}

/// All precisions, with all formats of blocks.
pub(super) fn precisions() -> Vec<Precision> {
    let formats = [(false, false), (false, true), (true, false), (true, true)]
        .map(|(zero_point, f16_scales)| BlockFormat { zero_point, f16_scales });
    let mut all = vec![Precision::F32, Precision::F16];
    all.extend(formats.map(Precision::Int8));
    all.extend(formats.map(Precision::Int4));
    all
}
