//! The leader's work: prompt → sequences → candidates → the best for each variant.

use std::time::{Duration, Instant};

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::CacheKey;

use super::CaptionError;
use super::candidate::{Candidate, Verdict};
use super::plan::{Plan, ROUNDS_MAX};
use super::prompt::{self, Prompt};
use crate::admission::Admission;
use crate::engine::grammar::{CaptionGrammar, GrammarLimits};
use crate::engine::sampler::{Sampling, StreamSeed};
use crate::engine::sequence::{FinishedSequence, SequenceError, SequenceRequest};
use crate::engine::{EngineHandle, EngineStatus, PendingSequence, SubmitError};
use crate::models::Model;

/// What a caller is told to wait while the model loads.
const RETRY_AFTER_LOADING_S: u32 = 2;

/// What a generation stands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generator<'a> {
    pub(super) model: &'a Model,
    pub(super) engine: &'a EngineHandle,
    pub(super) admission: &'a Admission,
}

/// What came out of it.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    /// One for each variant asked for, none of them unusable.
    pub(super) variants: Vec<Candidate>,
    pub(super) description_was_cut: bool,
    pub(super) cost: Cost,
}

/// What it cost, all sequences together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    /// Until the device first worked on it.
    pub(super) waited: Option<Duration>,
    /// From the first to the last entry.
    pub(super) ran: Option<(Instant, Instant)>,
}

impl Generator<'_> {
    /// Generates all variants of `request`.
    pub(super) async fn generate(
        &self,
        request: &ValidRequest,
        key: &CacheKey,
        deadline: Instant,
    ) -> Result<Generation, CaptionError> {
        self.check_ready()?;
        let plan = Plan::new(request, key, self.model.context_tokens_max());
        let prompt =
            prompt::write(self.model, request, plan.completion_tokens_reserved).map_err(CaptionError::Internal)?;
        let variants = usize::from(request.variants());
        let _permit = self
            .admission
            .enter(variants * plan.candidates)
            .map_err(|refused| CaptionError::Overloaded { retry_after_s: refused.retry_after_s })?;
        let mut chosen: Vec<Option<Candidate>> = vec![None; variants];
        let mut cost = Cost::default();
        for round in 0..ROUNDS_MAX {
            let wanting: Vec<usize> =
                (0..variants).filter(|variant| !is_good(chosen[*variant].as_ref())).collect();
            if wanting.is_empty() {
                break;
            }
            let written = self.write_round(&plan, &prompt, &wanting, (round, deadline)).await?;
            for (variant, finished) in &written {
                cost.add(&prompt, finished);
                let candidate = Candidate::judge(finished, plan.limits.hashtag_count);
                consider(&mut chosen, *variant, candidate);
            }
        }
        let variants: Option<Vec<Candidate>> = chosen.into_iter().collect();
        let variants = variants.ok_or(CaptionError::GenerationFailed)?;
        Ok(Generation { variants, description_was_cut: prompt.description_was_cut, cost })
    }

    /// The shortest generation there is.
    pub(super) async fn write_one_token(&self, deadline: Instant) -> Result<(), CaptionError> {
        let special = self.model.vocabulary().special();
        let sequence = self.engine.submit(SequenceRequest {
            prompt_ids: [special.begin].into(),
            grammar: CaptionGrammar::new(self.model.vocabulary().clone(), GrammarLimits::default()),
            sampling: Sampling::Greedy,
            stream_seed: StreamSeed::default(),
            completion_tokens_max: 1,
            deadline,
        });
        let outcome = sequence.map_err(not_submitted)?.await.map_err(|_| engine_stopped())?;
        outcome.map(|_| ()).map_err(not_finished)
    }

    fn check_ready(&self) -> Result<(), CaptionError> {
        match self.engine.status() {
            EngineStatus::Ready(_) => Ok(()),
            _ => Err(CaptionError::NotReady { retry_after_s: RETRY_AFTER_LOADING_S }),
        }
    }

    /// All candidates of one round, side by side on the device; in the order of variants and candidates.
    async fn write_round(
        &self,
        plan: &Plan,
        prompt: &Prompt,
        wanting: &[usize],
        (round, deadline): (usize, Instant),
    ) -> Result<Vec<(usize, FinishedSequence)>, CaptionError> {
        let mut pending: Vec<(usize, PendingSequence)> = Vec::new();
        for variant in wanting {
            for index in 0..plan.candidates {
                let candidate = round * plan.candidates + index;
                let sequence = self.engine.submit(SequenceRequest {
                    prompt_ids: prompt.ids.clone(),
                    grammar: CaptionGrammar::new(self.model.vocabulary().clone(), plan.limits),
                    sampling: plan.sampling(*variant, candidate),
                    stream_seed: plan.stream_seed(*variant, candidate),
                    completion_tokens_max: prompt.completion_tokens_max,
                    deadline,
                });
                pending.push((*variant, sequence.map_err(not_submitted)?));
            }
        }
        let mut written = Vec::with_capacity(pending.len());
        for (variant, sequence) in pending {
            let outcome = sequence.await.map_err(|_| engine_stopped())?;
            written.push((variant, outcome.map_err(not_finished)?));
        }
        Ok(written)
    }
}

impl Cost {
    fn add(&mut self, prompt: &Prompt, finished: &FinishedSequence) {
        self.prompt_tokens += prompt.ids.len();
        self.completion_tokens += finished.completion_ids.len();
        self.waited = Some(self.waited.map_or(finished.waited, |waited| waited.min(finished.waited)));
        let (started, ended) = finished.ran;
        let (first, last) = self.ran.unwrap_or(finished.ran);
        self.ran = Some((first.min(started), last.max(ended)));
    }

    /// Time from the first to the last entry.
    pub(super) fn device_time(&self) -> Duration {
        self.ran.map_or(Duration::ZERO, |(first, last)| last.duration_since(first))
    }
}

fn is_good(candidate: Option<&Candidate>) -> bool {
    candidate.is_some_and(|candidate| candidate.verdict == Verdict::Good)
}

/// Takes `candidate` for `variant` when it is better than what is there. A caption that another variant already has
/// counts as poor: variants are there to be different.
fn consider(chosen: &mut [Option<Candidate>], variant: usize, mut candidate: Candidate) {
    let others = chosen.iter().enumerate().filter(|(other, _)| *other != variant);
    let is_taken = others.filter_map(|(_, other)| other.as_ref()).any(|other| other.caption == candidate.caption);
    if is_taken {
        candidate.verdict = candidate.verdict.min(Verdict::Poor);
    }
    let is_better = chosen[variant].as_ref().is_none_or(|present| candidate.cmp(present).is_gt());
    if candidate.verdict > Verdict::Unusable && is_better {
        chosen[variant] = Some(candidate);
    }
}

/// The engine's thread has ended with the sequence in its hands.
fn engine_stopped() -> CaptionError {
    tracing::error!("the engine stopped while it was generating");
    CaptionError::NotReady { retry_after_s: RETRY_AFTER_LOADING_S }
}

fn not_submitted(error: SubmitError) -> CaptionError {
    match error {
        SubmitError::NotReady => CaptionError::NotReady { retry_after_s: RETRY_AFTER_LOADING_S },
        SubmitError::Full => CaptionError::Overloaded { retry_after_s: RETRY_AFTER_LOADING_S },
    }
}

fn not_finished(error: SequenceError) -> CaptionError {
    match error {
        SequenceError::DeadlineExceeded => CaptionError::DeadlineExceeded,
        SequenceError::BackendFailed | SequenceError::NothingToChoose => CaptionError::Internal(error.to_string()),
    }
}
