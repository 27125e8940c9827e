//! Near-duplicates.

mod articles;
mod contractions;
mod guards;
mod opening;
mod signature;
mod terms;
mod words;
#[cfg(test)]
mod pairs;

pub use signature::DescriptionSignature;
