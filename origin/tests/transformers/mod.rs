//! What transformers says of a model's folder, as `training/random_model.py` wrote it down.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; inside the library that is known of every test"
)]

use std::path::Path;

use serde::Deserialize;

/// transformers' logits after a prompt and after each of a few entries, `[1 + decoded, vocabulary]`.
#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) prompt_ids: Vec<u32>,
    pub(crate) decoded_ids: Vec<u32>,
    pub(crate) logits: Vec<Vec<f32>>,
}

/// All that is expected of the model in `folder`.
pub(crate) fn expected(folder: &Path) -> Vec<Expected> {
    serde_json::from_slice(&std::fs::read(folder.join("expected_logits.json")).unwrap()).unwrap()
}
