//! What the methods that were passed over have in common.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::pairs::Pair;

/// A short form of a text by which like texts are found.
pub(super) trait Sketch {
    /// How like two texts are, to 1.
    fn likeness(&self, pair: &Pair) -> f64;

    /// An index of `texts`; asked for a text, it counts how many entries it had to look at.
    fn index(&self, texts: &[String]) -> Box<dyn Fn(&str) -> usize>;

    /// What an entry of that index takes, without the overhead of its maps.
    fn entry_bytes(&self) -> usize;
}

/// Words in lower case, and each two neighbours, so that order counts.
pub(super) fn features(text: &str) -> Vec<u64> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).map(|pair| hashed(&(pair[0], pair[1])));
    words.iter().map(hashed).chain(pairs).collect()
}

pub(super) fn hashed<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
