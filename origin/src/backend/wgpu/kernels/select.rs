//! Picking the likeliest permitted entries of rows of logits on the device, so that little comes back. It agrees with
//! [`crate::backend::select_on_host`]: the same entries in the same order, the same bits of their logits, and the logarithm of
//! the sum of exponentials to 1e-5.
//!
//! A row is cut into chunks, each of which a workgroup searches; then one workgroup searches what they found.

use std::time::Duration;

use super::{Call, Kernels, Source, Spread};
use crate::backend::{
    BackendError, FailureKind, Selected,
    wgpu::device::{Device, DeviceBuffer},
};

/// Most entries that can be picked from a row.
pub const PICKED_MAX: usize = 256;
/// Entries of the vocabulary that one workgroup searches; their keys fit its memory.
const CHUNK: usize = 2048;
/// Most entries of a vocabulary: ids are ordered by their lowest 24 bits.
const VOCABULARY_MAX: usize = 1 << 24;
/// Pairs of words in a result: a count and a logarithm, then logits and ids.
const RESULT_PAIRS: usize = PICKED_MAX + 1;

/// Sizes that do not change.
#[derive(Clone, Copy, Debug)]
pub struct SelectorShape {
    /// Width of a row of logits.
    pub vocabulary_entries: usize,
    /// Most requests at a time.
    pub requests_max: usize,
}

/// What to pick from one row.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which row of the logits.
    pub logits_row: usize,
    /// A bit for each entry of the vocabulary, the lowest id in the lowest bit of the first word. Those that it lacks may not
    /// be picked.
    pub permitted: &'a [u32],
    /// Most entries to pick; at most [`PICKED_MAX`].
    pub count_max: usize,
}

/// The kernels and buffers that pick.
pub struct Selector {
    shape: SelectorShape,
    chunks: Call,
    merge: Call,
    requests: DeviceBuffer,
    permitted: DeviceBuffer,
    results: DeviceBuffer,
    staging: DeviceBuffer,
    words: Vec<u32>,
}

impl Selector {
    /// Binds the kernels to `logits`, `[rows, vocabulary_entries]`, f32.
    ///
    /// # Errors
    /// When a kernel does not compile, there is no memory left or the vocabulary is beyond 2²⁴ entries.
    pub fn bind(kernels: &mut Kernels, logits: &DeviceBuffer, shape: SelectorShape) -> Result<Self, BackendError> {
        if shape.vocabulary_entries >= VOCABULARY_MAX {
            return Err(refused(format!("{} entries in the vocabulary", shape.vocabulary_entries)));
        }
        let device = kernels.device().clone();
        let chunk_count = shape.vocabulary_entries.div_ceil(CHUNK);
        let storage = |label, words: usize| device.storage(label, (shape.requests_max * words * 4) as u64);
        let requests = storage("requests", 2)?;
        let permitted = storage("permitted", shape.mask_words())?;
        let candidates = storage("candidates", chunk_count * PICKED_MAX * 2)?;
        let chunk_sums = storage("sums of chunks", chunk_count * 2)?;
        let results = storage("results", RESULT_PAIRS * 2)?;
        let source = |label, loader| {
            Source::new(label)
                .constant("VOCABULARY", shape.vocabulary_entries)
                .constant("MASK_WORDS", shape.mask_words())
                .constant("CHUNK", CHUNK)
                .constant("CHUNKS", chunk_count)
                .constant("PICKED_MAX", PICKED_MAX)
                .with(include_str!("select.wgsl"))
                .with(loader)
        };
        let chunk_source = source("candidates of a chunk", include_str!("select_chunk.wgsl"));
        let chunk_buffers = [&requests, &permitted, logits, &candidates, &chunk_sums].map(Some);
        let chunks =
            kernels.bind(&chunk_source, &chunk_buffers, Spread { workgroups: chunk_count, entries: 1 })?;
        let merge_source = source("likeliest of the candidates", include_str!("select_merge.wgsl"));
        let merge_buffers = [&requests, &candidates, &chunk_sums, &results].map(Some);
        let merge = kernels.bind(&merge_source, &merge_buffers, Spread { workgroups: 1, entries: 1 })?;
        let staging = device.staging("results", results.bytes())?;
        Ok(Self { shape, chunks, merge, requests, permitted, results, staging, words: Vec::new() })
    }

    /// Uploads the requests, submits the kernels, waits and appends one [`Selected`] for each request, in their order.
    ///
    /// # Errors
    /// When there are too many requests or they ask for too much, and when the device fails.
    pub fn select(
        &mut self,
        device: &Device,
        requests: &[Request<'_>],
        selected: &mut Vec<Selected>,
        timeout: Duration,
    ) -> Result<(), BackendError> {
        if requests.is_empty() {
            return Ok(());
        }
        self.upload(device, requests)?;
        let mut encoder = device.encoder();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.chunks.record(&mut pass, requests.len() as u32);
        self.merge.record(&mut pass, requests.len() as u32);
        drop(pass);
        let result_words = RESULT_PAIRS * 2;
        let bytes = (requests.len() * result_words * 4) as u64;
        encoder.copy_buffer_to_buffer(self.results.raw(), 0, self.staging.raw(), 0, bytes);
        device.submit(encoder)?;
        self.words.clear();
        self.words.resize(requests.len() * result_words, 0);
        device.read(&self.staging, &mut self.words, timeout)?;
        let results = self.words.chunks_exact(result_words).zip(requests);
        selected.extend(results.map(|(words, request)| selected_of(words, request.count_max)));
        Ok(())
    }

    fn upload(&mut self, device: &Device, requests: &[Request<'_>]) -> Result<(), BackendError> {
        let count_max = requests.iter().map(|request| request.count_max).max().unwrap_or(0);
        if requests.len() > self.shape.requests_max || count_max > PICKED_MAX {
            return Err(refused(format!("{} requests, of {count_max} entries", requests.len())));
        }
        let mask_words = self.shape.mask_words();
        self.words.clear();
        for request in requests {
            let end = self.words.len() + mask_words;
            self.words.extend(request.permitted.iter().take(mask_words));
            self.words.resize(end, 0);
        }
        device.write(&self.permitted, 0, &self.words);
        // The kernels pick one at least: what is not wanted is left out afterwards.
        let wanted = |request: &Request<'_>| [request.logits_row as u32, request.count_max.max(1) as u32];
        device.write(&self.requests, 0, &requests.iter().map(wanted).collect::<Vec<_>>());
        Ok(())
    }
}

impl SelectorShape {
    const fn mask_words(&self) -> usize {
        self.vocabulary_entries.div_ceil(32)
    }
}

fn selected_of(words: &[u32], count_max: usize) -> Selected {
    let count = count_max.min(words[0] as usize);
    let likeliest =
        words[2..].chunks_exact(2).take(count).map(|pair| (f32::from_bits(pair[0]), pair[1])).collect();
    Selected { likeliest, log_sum_exp: f32::from_bits(words[1]) }
}

fn refused(cause: String) -> BackendError {
    BackendError::of_kind(FailureKind::Refused, "picking the likeliest entries", cause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::{
        select_on_host,
        wgpu::reference::{WAIT, device, kernels, numbers, uploaded},
    };

    /// Picks on the device and holds it against the host, for each row of logits.
    fn check(logits: &[f32], vocabulary_entries: usize, permitted: &[Vec<u32>], counts: &[usize]) {
        let shape = SelectorShape { vocabulary_entries, requests_max: permitted.len() };
        let mut selector = Selector::bind(&mut kernels(), &uploaded(logits), shape).expect("it compiles");
        let rows = logits.len() / vocabulary_entries;
        let request = |(index, (permitted, count)): (usize, (&'_ Vec<u32>, &usize))| {
            (index % rows, permitted.clone(), *count)
        };
        let asked: Vec<_> = permitted.iter().zip(counts).enumerate().map(request).collect();
        let requests: Vec<_> = asked
            .iter()
            .map(|(logits_row, permitted, count_max)| Request {
                logits_row: *logits_row,
                permitted,
                count_max: *count_max,
            })
            .collect();
        let mut selected = Vec::new();
        selector.select(device(), &requests, &mut selected, WAIT).expect("the device does it");
        assert_eq!(selected.len(), requests.len());
        for (actual, request) in selected.iter().zip(&requests) {
            let mut expected = Selected::default();
            let row = &logits[request.logits_row * vocabulary_entries..][..vocabulary_entries];
            select_on_host(row, request.permitted, request.count_max, &mut expected);
            let bits = |selected: &Selected| -> Vec<_> {
                selected.likeliest.iter().map(|(logit, id)| (logit.to_bits(), *id)).collect()
            };
            assert_eq!(bits(actual), bits(&expected));
            let (actual, expected) = (actual.log_sum_exp, expected.log_sum_exp);
            let close = (actual - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(actual == expected || close, "{actual} instead of {expected}");
        }
    }

    fn mask(seed: u64, vocabulary: usize, kind: u8) -> Vec<u32> {
        let words = vocabulary.div_ceil(32);
        match kind {
            0 => vec![0; words],
            1 => vec![u32::MAX; words],
            2 => (0..words as u64).map(|word| 1 << ((seed ^ word) % 32)).collect(),
            _ => numbers(seed, words).iter().map(|number| number.to_bits().wrapping_mul(0x9e37_79b9)).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn it_picks_what_the_host_picks(
            vocabulary in prop_oneof![1usize..70, 2000usize..9000], seed in any::<u64>(), kinds in [0u8..4, 0u8..4, 0u8..4],
            counts in [0usize..257, 0usize..257, 1usize..9], coarse in any::<bool>(),
        ) {
            // Coarse logits are mostly equal to others.
            let step = if coarse { 4.0 } else { 1e6 };
            let logits: Vec<f32> =
                numbers(seed, vocabulary * 2).iter().map(|number| (number * step).round() / step * 20.0).collect();
            check(&logits, vocabulary, &kinds.map(|kind| mask(seed, vocabulary, kind)), &counts);
        }
    }

    #[test]
    fn what_is_not_finite_is_never_picked_and_zeros_of_both_signs_are_told_apart() {
        let logits =
            [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, f32::MIN_POSITIVE, -0.0, 0.0, -f32::NAN];
        check(&logits, 10, &[vec![u32::MAX], vec![0b11_1100], vec![0b11100]], &[256, 3, 1]);
    }

    #[test]
    fn equal_logits_are_picked_from_the_lowest_id_across_chunks() {
        let logits = vec![1.5f32; 3 * CHUNK + 17];
        let every = vec![u32::MAX; logits.len().div_ceil(32)];
        let late: Vec<u32> = (0..every.len()).map(|word| if word < 100 { 0 } else { 0x8000_0001 }).collect();
        check(&logits, logits.len(), &[every.clone(), every, late], &[1, 256, 200]);
    }

    #[test]
    fn more_than_it_was_made_for_is_refused() {
        let shape = SelectorShape { vocabulary_entries: 64, requests_max: 1 };
        let mut selector = Selector::bind(&mut kernels(), &uploaded(&[0.0f32; 64]), shape).expect("it compiles");
        let request = Request { logits_row: 0, permitted: &[u32::MAX; 2], count_max: 1 };
        let mut selected = Vec::new();
        for requests in [vec![request; 2], vec![Request { count_max: 257, ..request }]] {
            let error = selector.select(device(), &requests, &mut selected, WAIT).expect_err("too much");
            assert_eq!(error.kind(), FailureKind::Refused);
        }
        assert!(selected.is_empty());
    }
}
