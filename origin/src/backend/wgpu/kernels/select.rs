//! Picking the likeliest permitted entries of rows of logits on the device, so that little comes back; agrees with
//! [`crate::backend::select_on_host`].

use std::time::Duration;

use crate::backend::{BackendError, Selected, wgpu::device::{Device, DeviceBuffer}};
use super::{Call, Kernels};

/// Most entries that can be picked from a row.
pub const PICKED_MAX: usize = 256;

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
    /// A bit for each entry of the vocabulary, the lowest id in the lowest bit of the first word.
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
    /// When a kernel does not compile or there is no memory left.
    pub fn bind(kernels: &mut Kernels, logits: &DeviceBuffer, shape: SelectorShape) -> Result<Self, BackendError>;

    /// Uploads the requests, submits the kernels, waits and appends one [`Selected`] for each request, in their order.
    ///
    /// # Errors
    /// When there are too many requests or they ask for too much, and when the device fails.
    pub fn select(
        &mut self, device: &Device, requests: &[Request<'_>], selected: &mut Vec<Selected>, timeout: Duration,
    ) -> Result<(), BackendError>;
}
