//! Chooses the next vocabulary entry from a row of logits.
//!
//! A sequence's choices depend on its own random stream and its own logits only, never on its neighbours in the
//! batch. Nucleus sampling: Holtzman et al. 2020, <https://arxiv.org/abs/1904.09751>.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::backend::Selected;

/// Most candidates that nucleus sampling looks at.
const CANDIDATES_MAX: usize = 256;

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// The likeliest entry; the lowest id on a tie.
    Greedy,
    /// From the smallest set of entries whose probability reaches `top_p`, after `temperature`.
    Nucleus {
        /// Above 0; lower is bolder.
        temperature: f32,
        /// 0 to 1.
        top_p: f32,
    },
}

/// 256 bits from which a sequence's random stream starts.
pub type StreamSeed = [u8; 32];

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// The entry.
    pub id: u32,
    /// Its log-probability among what was allowed, before temperature.
    pub log_probability: f32,
}

/// One sequence's sampler.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    stream: ChaCha8Rng,
}

impl Sampler {
    /// A sampler whose stream starts at `seed`.
    #[must_use]
    pub fn new(sampling: Sampling, seed: StreamSeed) -> Self {
        Self { sampling, stream: ChaCha8Rng::from_seed(seed) }
    }

    /// How many of the likeliest entries it wants to see.
    #[must_use]
    pub const fn candidates_max(&self) -> usize {
        match self.sampling {
            Sampling::Greedy => 1,
            Sampling::Nucleus { .. } => CANDIDATES_MAX,
        }
    }

    /// Chooses among what was selected. `None` when that is nothing.
    pub fn choose(&mut self, selected: &Selected) -> Option<Sampled> {
        let likeliest = *selected.likeliest.first()?;
        let (logit, id) = match self.sampling {
            Sampling::Greedy => likeliest,
            Sampling::Nucleus { temperature, top_p } => self.draw(&selected.likeliest, temperature, top_p),
        };
        Some(Sampled { id, log_probability: logit - selected.log_sum_exp })
    }

    /// Takes what there is no alternative to. The stream goes on as if it had been chosen.
    pub fn choose_only(&mut self, id: u32) -> Sampled {
        if matches!(self.sampling, Sampling::Nucleus { .. }) {
            self.uniform();
        }
        Sampled { id, log_probability: 0.0 }
    }

    /// Draws from the nucleus of the candidates, of which there is at least one, the likeliest first.
    fn draw(&mut self, candidates: &[(f32, u32)], temperature: f32, top_p: f32) -> (f32, u32) {
        let likeliest = candidates[0].0;
        let weight = |logit: f32| f64::from((logit - likeliest) / temperature).exp();
        let total: f64 = candidates.iter().map(|(logit, _)| weight(*logit)).sum();
        let (mut nucleus_len, mut nucleus) = (0, 0.0);
        while nucleus_len < candidates.len() && (nucleus_len == 0 || nucleus < total * f64::from(top_p)) {
            nucleus += weight(candidates[nucleus_len].0);
            nucleus_len += 1;
        }
        let mut left = self.uniform() * nucleus;
        for candidate in &candidates[..nucleus_len] {
            left -= weight(candidate.0);
            if left < 0.0 {
                return *candidate;
            }
        }
        // Rounding left a crumb over: it belongs to the last of the nucleus.
        candidates[nucleus_len - 1]
    }

    /// Uniform in [0, 1), from the 53 high bits of the stream's next word.
    fn uniform(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.stream.next_u64() >> 11) as f64 * SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::select_on_host;

    impl Sampler {
        /// Chooses among all entries but those that are forbidden.
        fn sample(&mut self, logits: &[f32], forbidden: &[u32]) -> Option<Sampled> {
            let mut permitted = vec![u32::MAX; logits.len().div_ceil(32)];
            forbidden.iter().for_each(|id| permitted[*id as usize / 32] &= !(1 << (id % 32)));
            let mut selected = Selected::default();
            select_on_host(logits, &permitted, self.candidates_max(), &mut selected);
            self.choose(&selected)
        }
    }

    const NUCLEUS: Sampling = Sampling::Nucleus { temperature: 0.8, top_p: 0.95 };

    fn draws(seed: u8, count: usize) -> Vec<u32> {
        let logits: Vec<f32> = (0..1_000).map(|id| ((id * 37) % 101) as f32 / 20.0).collect();
        let mut sampler = Sampler::new(NUCLEUS, [seed; 32]);
        (0..count).map(|_| sampler.sample(&logits, &[]).unwrap().id).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_seed_differently() {
        assert_eq!(draws(1, 50), draws(1, 50));
        assert_ne!(draws(1, 50), draws(2, 50));
    }

    #[test]
    fn what_is_not_permitted_is_never_chosen_even_if_likeliest() {
        let logits = [9.0, 1.0, f32::NAN, 0.5];
        let mut greedy = Sampler::new(Sampling::Greedy, [0; 32]);
        assert_eq!(greedy.sample(&logits, &[0]).unwrap().id, 1);
        assert_eq!(greedy.sample(&logits, &[0, 1, 3]), None);
    }

    #[test]
    fn a_small_nucleus_holds_only_the_likeliest() {
        let logits = [10.0, 0.0, 0.0];
        let mut sampler = Sampler::new(Sampling::Nucleus { temperature: 1.0, top_p: 0.9 }, [3; 32]);
        for _ in 0..100 {
            assert_eq!(sampler.sample(&logits, &[]).unwrap().id, 0);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [2.0f32.ln(), 1.0f32.ln(), 1.0f32.ln()];
        let mut sampler = Sampler::new(Sampling::Nucleus { temperature: 1.0, top_p: 1.0 }, [4; 32]);
        let mut counts = [0u32; 3];
        for _ in 0..4_000 {
            counts[sampler.sample(&logits, &[]).unwrap().id as usize] += 1;
        }
        // Expected 2,000, 1,000 and 1,000; the standard deviations are about 32 and 27.
        assert!(counts[0].abs_diff(2_000) < 160 && counts[1].abs_diff(1_000) < 140, "{counts:?}");
    }

    #[test]
    fn a_log_probability_is_taken_among_what_is_allowed_before_temperature() {
        let mut greedy = Sampler::new(Sampling::Greedy, [0; 32]);
        let sampled = greedy.sample(&[5.0, 1.0, 1.0], &[0]).unwrap();
        assert!((sampled.log_probability - 0.5f32.ln()).abs() < 1e-6);
    }
}
