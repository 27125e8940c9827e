//! How an optimization level is carried out: how many candidates, sampled how, from which random streams.

use lede_shared::api::{OptimizationLevel, ValidRequest};
use lede_shared::cache_key::CacheKey;
use sha2::{Digest, Sha256};

use crate::engine::sampler::{Sampling, StreamSeed};
use crate::models::{Dialect, Model};

/// Most vocabulary entries in a caption of the embedded model, and in one of a chat model.
const CAPTION_TOKENS_MAX: usize = 160;
const CHAT_CAPTION_TOKENS_MAX: usize = 400;
/// Room that the prompt leaves for each hashtag: a long description is cut to this, a short one leaves more.
const HASHTAG_TOKENS_RESERVED: usize = 8;
/// The same for a chat model, which writes quotation marks too.
const CHAT_HASHTAG_TOKENS_RESERVED: usize = 12;
/// Room for what stands around the texts.
const FRAME_TOKENS_RESERVED: usize = 32;
/// Share of the context that the prompt leaves at most, in quarters; the rest is for the description.
const RESERVED_CONTEXT_QUARTERS_MAX: usize = 3;
/// Candidates for each variant at level `balanced`.
const BALANCED_CANDIDATES: usize = 2;
/// Candidates for each variant at level `quality`.
const QUALITY_CANDIDATES: usize = 6;
/// How often a variant without a good candidate is tried anew.
pub(super) const ROUNDS_MAX: usize = 3;

const SAMPLED: Sampling = Sampling::Nucleus { temperature: 0.8, top_p: 0.95 };

/// How a request is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Candidates for each variant and round.
    pub(super) candidates: usize,
    /// Most vocabulary entries in a caption.
    pub(super) caption_tokens_max: usize,
    /// Room in the context that the prompt leaves for the completion, at least.
    pub(super) completion_tokens_reserved: usize,
    /// The first candidate is the likeliest caption, and the first variant.
    pub(super) first_is_greedy: bool,
    sampled: Sampling,
    seed_material: [u8; 32],
}

/// Sequences that `request` takes in its first round, which mostly is its only one.
pub(super) fn sequences(request: &ValidRequest) -> usize {
    usize::from(request.variants()) * candidates(request.optimization_level())
}

/// For each variant and round.
const fn candidates(level: OptimizationLevel) -> usize {
    match level {
        OptimizationLevel::UltraFast => 1,
        OptimizationLevel::Balanced => BALANCED_CANDIDATES,
        OptimizationLevel::Quality => QUALITY_CANDIDATES,
    }
}

impl Plan {
    /// The plan for `request`. Without a seed of the caller's, the key is the seed: equal requests, equal answers.
    pub(super) fn new(request: &ValidRequest, key: &CacheKey, model: &Model) -> Self {
        let (caption_tokens_max, hashtag_tokens, sampled) = match model.dialect() {
            Dialect::Markers(_) => (CAPTION_TOKENS_MAX, HASHTAG_TOKENS_RESERVED, SAMPLED),
            Dialect::Chat(chat) => {
                let suggested = chat.sampling().map_or(SAMPLED, |suggested| Sampling::Nucleus {
                    temperature: suggested.temperature,
                    top_p: suggested.top_p,
                });
                (CHAT_CAPTION_TOKENS_MAX, CHAT_HASHTAG_TOKENS_RESERVED, suggested)
            }
        };
        let hashtags = usize::from(request.hashtag_count()) * hashtag_tokens;
        let wanted_tokens = caption_tokens_max + hashtags + FRAME_TOKENS_RESERVED;
        let level = request.optimization_level();
        Self {
            candidates: candidates(level),
            caption_tokens_max,
            completion_tokens_reserved: wanted_tokens
                .min(model.context_tokens_max() * RESERVED_CONTEXT_QUARTERS_MAX / 4),
            first_is_greedy: level == OptimizationLevel::UltraFast,
            sampled,
            seed_material: request.seed().map_or(key.0, |seed| Sha256::digest(seed.to_be_bytes()).into()),
        }
    }

    /// How candidate `candidate` (counted through all variants and rounds) is sampled.
    pub(super) fn sampling(&self, candidate: usize) -> Sampling {
        if self.first_is_greedy && candidate == 0 { Sampling::Greedy } else { self.sampled }
    }

    /// Where its random stream starts. Depends on the seed and this number only.
    pub(super) fn stream_seed(&self, candidate: usize) -> StreamSeed {
        let mut hash = Sha256::new();
        hash.update(b"lede-stream/2");
        hash.update(self.seed_material);
        hash.update((candidate as u64).to_be_bytes());
        hash.finalize().into()
    }
}
