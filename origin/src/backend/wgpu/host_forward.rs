//! The whole model on the host, slowly and plainly: what the device is compared with. Written from the definition of the
//! families in transformers (`modeling_llama.py`, `modeling_qwen2.py`, `modeling_qwen3.py`, `modeling_smollm3.py`), without
//! cache, blocks or batches; sums in double precision.

#[path = "../../../tests/transformers/mod.rs"]
mod transformers;

use std::path::Path;

use super::checkpoint::Checkpoint;
use super::family::Family;
use super::weights::{HostLayer, has_tied_head, host_embedding, host_head, last_norm};

pub(super) struct HostModel {
    family: Family,
    embedding: Vec<f32>,
    head: Option<Vec<f32>>,
    layers: Vec<HostLayer>,
    last_norm: Vec<f32>,
}

impl HostModel {
    pub(super) fn open(model_dir: &Path) -> Self {
        let family = Family::open(model_dir).unwrap();
        let mut checkpoint = Checkpoint::open(model_dir).unwrap();
        let is_tied = has_tied_head(&checkpoint, &family);
        let embedding = host_embedding(&mut checkpoint, &family).unwrap();
        let head = host_head(&mut checkpoint, &family).unwrap();
        let last_norm = last_norm(&mut checkpoint, &family).unwrap();
        let layers =
            (0..family.layers).map(|index| HostLayer::take(&mut checkpoint, &family, index).unwrap()).collect();
        checkpoint.finish(is_tied).unwrap();
        Self { family, embedding, head, layers, last_norm }
    }

    /// Logits after each of the ids.
    pub(super) fn logits(&self, ids: &[u32]) -> Vec<Vec<f32>> {
        let hidden = self.family.hidden;
        let embed = |id: &u32| self.embedding[*id as usize * hidden..][..hidden].to_vec();
        let mut states: Vec<Vec<f32>> = ids.iter().map(embed).collect();
        for (index, layer) in self.layers.iter().enumerate() {
            self.attend(layer, self.family.unturned_layers[index], &mut states);
            states.iter_mut().for_each(|state| self.transform(layer, state));
        }
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let logits =
            |state: &Vec<f32>| linear(head, None, &norm(state, &self.last_norm, self.family.norm_epsilon));
        states.iter().map(logits).collect()
    }

    /// Adds what each position makes of those up to itself.
    fn attend(&self, layer: &HostLayer, is_unturned: bool, states: &mut [Vec<f32>]) {
        let family = &self.family;
        let (size, groups) = (family.head_size, family.query_heads / family.key_value_heads);
        let projected: Vec<Vec<f32>> = (0..)
            .zip(states.iter())
            .map(|(position, state)| self.project(layer, is_unturned, position, state))
            .collect();
        for (position, state) in states.iter_mut().enumerate() {
            let mut attended = Vec::new();
            for head in 0..family.query_heads {
                let key = family.query_heads + head / groups;
                let value = key + family.key_value_heads;
                let part = |at: usize, head: usize| &projected[at][head * size..][..size];
                let scores: Vec<f64> = (0..=position)
                    .map(|at| dot(part(position, head), part(at, key)) / (size as f64).sqrt())
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
                attended.extend((0..size).map(|index| {
                    let weighed =
                        |(at, score): (usize, &f64)| (score - largest).exp() * f64::from(part(at, value)[index]);
                    (scores.iter().enumerate().map(weighed).sum::<f64>() / total) as f32
                }));
            }
            add(state, &linear(&layer.output, layer.output_bias.as_deref(), &attended));
        }
    }

    /// Queries, keys and values of one position, normed and turned.
    fn project(&self, layer: &HostLayer, is_unturned: bool, position: u32, state: &[f32]) -> Vec<f32> {
        let family = &self.family;
        let normed = norm(state, &layer.attention_norm, family.norm_epsilon);
        let mut heads = linear(&layer.projections, layer.projections_bias.as_deref(), &normed);
        let size = family.head_size;
        for (number, head) in
            heads.chunks_exact_mut(size).enumerate().take(family.query_heads + family.key_value_heads)
        {
            if let Some(weights) = &layer.head_norms {
                let (queries, keys) = weights.split_at(size);
                let weight = if number < family.query_heads { queries } else { keys };
                head.copy_from_slice(&norm(head, weight, family.norm_epsilon));
            }
            if !is_unturned {
                self.turn(head, position);
            }
        }
        heads
    }

    fn turn(&self, head: &mut [f32], position: u32) {
        let (first, second) = head.split_at_mut(self.family.head_size / 2);
        for ((a, b), angle) in first.iter_mut().zip(second).zip(&self.family.rotary.angles) {
            let (sine, cosine) = (f64::from(position) * f64::from(*angle)).sin_cos();
            let (x, y) = (f64::from(*a), f64::from(*b));
            (*a, *b) = ((x * cosine - y * sine) as f32, (y * cosine + x * sine) as f32);
        }
    }

    fn transform(&self, layer: &HostLayer, state: &mut [f32]) {
        let normed = norm(state, &layer.inner_norm, self.family.norm_epsilon);
        let gate_up = linear(&layer.gate_up, layer.gate_up_bias.as_deref(), &normed);
        let inner: Vec<f32> =
            gate_up.as_chunks::<2>().0.iter().map(|[gate, up]| gate / (1.0 + (-gate).exp()) * up).collect();
        add(state, &linear(&layer.down, layer.down_bias.as_deref(), &inner));
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn linear(weights: &[f32], bias: Option<&[f32]>, x: &[f32]) -> Vec<f32> {
    let sums = weights.chunks_exact(x.len()).map(|row| dot(row, x));
    match bias {
        None => sums.map(|sum| sum as f32).collect(),
        Some(bias) => sums.zip(bias).map(|(sum, bias)| (sum + f64::from(*bias)) as f32).collect(),
    }
}

fn norm(x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let mean = dot(x, x) / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
    x.iter().zip(weight).map(|(x, weight)| (f64::from(*x) * scale) as f32 * weight).collect()
}

fn add(state: &mut [f32], more: &[f32]) {
    state.iter_mut().zip(more).for_each(|(state, more)| *state += more);
}

#[cfg(test)]
mod tests {
    use super::transformers::expected;
    use super::*;

    #[test]
    fn the_reference_gives_the_logits_of_transformers() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models");
        for model in ["tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-smollm3"] {
            let folder = fixtures.join(model);
            let reference = HostModel::open(&folder);
            for case in expected(&folder) {
                let ids = [case.prompt_ids, case.decoded_ids].concat();
                let logits = reference.logits(&ids);
                for (logits, expected) in logits[ids.len() - case.logits.len()..].iter().zip(&case.logits) {
                    let difference = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(difference <= 2e-4, "{model}: {difference}");
                }
            }
        }
    }
}
