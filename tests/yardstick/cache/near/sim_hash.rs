//! SimHash: each bit is what most features say; like texts differ in few bits. All entries are looked at, which is quick.

use super::pairs::Pair;
use super::sketch::{Sketch, features};

pub(super) struct SimHash;

fn bits(text: &str) -> u64 {
    let mut votes = [0i32; 64];
    for feature in features(text) {
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += if feature >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    votes.iter().enumerate().fold(0, |bits, (bit, vote)| bits | u64::from(*vote > 0) << bit)
}

impl Sketch for SimHash {
    fn likeness(&self, pair: &Pair) -> f64 {
        let [one, other] = pair.texts.each_ref().map(|text| bits(text));
        1.0 - f64::from((one ^ other).count_ones()) / 64.0
    }

    fn index(&self, texts: &[String]) -> Box<dyn Fn(&str) -> usize> {
        let all: Vec<u64> = texts.iter().map(|text| bits(text)).collect();
        Box::new(move |text| {
            let wanted = bits(text);
            all.iter().filter(|entry| (wanted ^ **entry).count_ones() < 4).count()
        })
    }

    fn entry_bytes(&self) -> usize {
        size_of::<u64>()
    }
}
