//! How an optimization level is carried out: how many candidates, sampled how, from which random streams.

use lede_shared::api::{OptimizationLevel, ValidRequest};
use lede_shared::cache_key::CacheKey;
use sha2::{Digest, Sha256};

use crate::engine::grammar::GrammarLimits;
use crate::engine::sampler::{Sampling, StreamSeed};

/// Most vocabulary entries in a caption.
const CAPTION_TOKENS_MAX: usize = 160;
/// Most vocabulary entries in the name of one hashtag.
const HASHTAG_TOKENS_MAX: usize = 16;
/// Room that the prompt leaves for each hashtag: a long description is cut to this, a short one leaves more.
const HASHTAG_TOKENS_RESERVED: usize = 7;
/// Hashtags that may be begun beyond those asked for before repeating one is forbidden.
const HASHTAGS_SPARE: usize = 6;
/// Share of the context that the prompt leaves at most, in quarters; the rest is for the description.
const RESERVED_CONTEXT_QUARTERS_MAX: usize = 3;
/// Candidates of each variant at level `quality`.
const QUALITY_CANDIDATES: usize = 4;
/// How often a variant without a good candidate is tried anew.
pub(super) const ROUNDS_MAX: usize = 3;

const SAMPLED: Sampling = Sampling::Nucleus { temperature: 0.8, top_p: 0.95 };

/// How a request is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) candidates: usize,
    pub(super) limits: GrammarLimits,
    /// Room in the context that the prompt leaves for the completion, at least.
    pub(super) completion_tokens_reserved: usize,
    level: OptimizationLevel,
    seed_material: [u8; 32],
}

impl Plan {
    /// The plan for `request`. Without a seed of the caller's, the key is the seed: equal requests, equal answers.
    pub(super) fn new(request: &ValidRequest, key: &CacheKey, context_tokens_max: usize) -> Self {
        let hashtag_count = usize::from(request.hashtag_count());
        let level = request.optimization_level();
        let seed_material = request.seed().map_or(key.0, |seed| Sha256::digest(seed.to_be_bytes()).into());
        let wanted_tokens = CAPTION_TOKENS_MAX + 1 + hashtag_count * HASHTAG_TOKENS_RESERVED;
        Self {
            candidates: if level == OptimizationLevel::Quality { QUALITY_CANDIDATES } else { 1 },
            limits: GrammarLimits {
                hashtag_count,
                caption_pieces_max: CAPTION_TOKENS_MAX,
                hashtag_pieces_max: HASHTAG_TOKENS_MAX,
                hashtags_begun_max: hashtag_count + HASHTAGS_SPARE,
            },
            completion_tokens_reserved: wanted_tokens.min(context_tokens_max * RESERVED_CONTEXT_QUARTERS_MAX / 4),
            level,
            seed_material,
        }
    }

    /// How candidate `candidate` (counted through all rounds) of variant `variant` is sampled.
    pub(super) fn sampling(&self, variant: usize, candidate: usize) -> Sampling {
        let greedy = self.level == OptimizationLevel::UltraFast && variant == 0 && candidate == 0;
        if greedy { Sampling::Greedy } else { SAMPLED }
    }

    /// Where its random stream starts. Depends on the seed and these two numbers only.
    pub(super) fn stream_seed(&self, variant: usize, candidate: usize) -> StreamSeed {
        let mut hash = Sha256::new();
        hash.update(b"lede-stream/1");
        hash.update(self.seed_material);
        hash.update((variant as u64).to_be_bytes());
        hash.update((candidate as u64).to_be_bytes());
        hash.finalize().into()
    }
}
