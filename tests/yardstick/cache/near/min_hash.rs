//! MinHash: of so many hash functions each keeps its smallest value; the share of equal ones estimates the share of
//! features that two texts have in common. Found by bands: entries with eight equal values in a row somewhere.

use std::collections::HashMap;

use super::pairs::Pair;
use super::sketch::{Sketch, features, hashed};

const VALUES: usize = 128;
const ROWS: usize = 8;

pub(super) struct MinHash;

type Values = [u32; VALUES];

fn values(text: &str) -> Values {
    let features = features(text);
    std::array::from_fn(|function| {
        let seed = (function as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mixed = |feature: &u64| {
            let product = (feature ^ seed).wrapping_mul(seed.rotate_left(29) | 1);
            (product ^ (product >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
        };
        features.iter().map(mixed).min().unwrap_or_default() as u32
    })
}

fn equal_share(one: &Values, other: &Values) -> f64 {
    one.iter().zip(other).filter(|(one, other)| one == other).count() as f64 / VALUES as f64
}

fn bands(values: &Values) -> impl Iterator<Item = u64> {
    values.chunks(ROWS).enumerate().map(|band| hashed(&band))
}

impl Sketch for MinHash {
    fn likeness(&self, pair: &Pair) -> f64 {
        let [one, other] = pair.texts.each_ref().map(|text| values(text));
        equal_share(&one, &other)
    }

    fn index(&self, texts: &[String]) -> Box<dyn Fn(&str) -> usize> {
        let all: Vec<Values> = texts.iter().map(|text| values(text)).collect();
        let mut by_band: HashMap<u64, Vec<u32>> = HashMap::new();
        for (number, values) in all.iter().enumerate() {
            bands(values).for_each(|band| by_band.entry(band).or_default().push(number as u32));
        }
        Box::new(move |text| {
            let wanted = values(text);
            let candidates = bands(&wanted).filter_map(|band| by_band.get(&band)).flatten();
            candidates.filter(|number| equal_share(&wanted, &all[**number as usize]) > 0.5).count()
        })
    }

    fn entry_bytes(&self) -> usize {
        size_of::<Values>() + VALUES / ROWS * (size_of::<u64>() + size_of::<u32>())
    }
}
