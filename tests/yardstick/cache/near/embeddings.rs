//! Static embeddings: the mean of the embedded model's input vectors, compared by their angle. They are what the
//! repository has of word vectors; all entries are looked at.

use std::collections::HashMap;
use std::rc::Rc;

use lede_tests::repository_root;
use serde_json::Value;

use super::pairs::Pair;
use super::sketch::Sketch;

/// Vectors of the pieces that words are made of.
#[derive(Clone)]
pub(super) struct Embeddings(Rc<HashMap<String, Vec<f32>>>);

impl Embeddings {
    pub(super) fn of_the_embedded_model() -> Self {
        let folder = repository_root().join("models/lede-nano");
        let weights = std::fs::read(folder.join("model.safetensors")).expect("the model's weights");
        let header_bytes = u64::from_le_bytes(weights[..8].try_into().expect("eight bytes")) as usize;
        let (header, data) = weights[8..].split_at(header_bytes);
        let header: Value = serde_json::from_slice(header).expect("a header of JSON");
        let matrix = &header["model.embed_tokens.weight"];
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        let (start, width) = (number(&matrix["data_offsets"][0]), number(&matrix["shape"][1]));
        let tokenizer = std::fs::read(folder.join("tokenizer.json")).expect("the tokenizer");
        let tokenizer: Value = serde_json::from_slice(&tokenizer).expect("a tokenizer of JSON");
        let pieces = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").iter();
        let vector = |row: usize| -> Vec<f32> {
            let row = &data[start + row * width * 2..][..width * 2];
            row.chunks(2).map(|half| from_half(u16::from_le_bytes([half[0], half[1]]))).collect()
        };
        Self(Rc::new(pieces.map(|(piece, row)| (piece.replace('Ġ', " "), vector(number(row)))).collect()))
    }

    /// The mean of the text's pieces, of length 1. Pieces are the longest that fit, from the left.
    fn of(&self, text: &str) -> Vec<f32> {
        let text = format!(" {}", text.to_lowercase());
        let mut sum: Vec<f32> = Vec::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let ends = rest.char_indices().map(|(at, character)| at + character.len_utf8()).take(16);
            let longest = ends.filter_map(|end| self.0.get(&rest[..end]).map(|vector| (end, vector))).last();
            let (end, vector) = longest.map_or((first.len_utf8(), None), |(end, vector)| (end, Some(vector)));
            if let Some(vector) = vector {
                sum.resize(vector.len(), 0.0);
                sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
            }
            rest = &rest[end..];
        }
        let length = dot(&sum, &sum).sqrt().max(f32::MIN_POSITIVE);
        sum.iter().map(|value| value / length).collect()
    }
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// Half precision to single; weights have neither infinities nor anything below the normal range that matters.
fn from_half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1f, bits & 0x3ff);
    let value = match exponent {
        0 => f32::from(fraction) * 2f32.powi(-24),
        _ => (1.0 + f32::from(fraction) / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -value } else { value }
}

impl Sketch for Embeddings {
    fn likeness(&self, pair: &Pair) -> f64 {
        let [one, other] = pair.texts.each_ref().map(|text| self.of(text));
        f64::from(dot(&one, &other))
    }

    fn index(&self, texts: &[String]) -> Box<dyn Fn(&str) -> usize> {
        let all: Vec<Vec<f32>> = texts.iter().map(|text| self.of(text)).collect();
        let embeddings = self.clone();
        Box::new(move |text| {
            let wanted = embeddings.of(text);
            all.iter().filter(|entry| dot(&wanted, entry) > 0.99).count()
        })
    }

    fn entry_bytes(&self) -> usize {
        self.0.values().next().map_or(0, |vector| vector.len() * size_of::<f32>())
    }
}
