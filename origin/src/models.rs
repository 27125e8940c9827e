//! Opening a model folder (Hugging Face layout with a `lede.json`) and checking that its parts fit together.

mod folder;
mod manifest;
mod tokenizer;

pub use folder::{Model, ModelError};
pub use manifest::Manifest;
