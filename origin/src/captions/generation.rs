//! The leader's work: prompt → sequences → candidates → the variants.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lede_shared::api::stream::StreamStart;
use lede_shared::plan::Priority;

use super::candidate::{self, Candidate, Judge};
use super::plan::{Plan, ROUNDS_MAX};
use super::progress::Progress;
use super::prompt::{self, Prompt};
use super::rules::Demands;
use super::writers::Assignment;
use super::{CaptionError, compose};
use crate::admission::{Admission, Entrance, Permit};
use crate::engine::constraint::{Constraint, ConstraintError, PreparedConstraint};
use crate::engine::sequence::{FinishedSequence, SequenceError, SequenceRequest};
use crate::engine::{AwaitedSequence, EngineHandle, EngineStatus, SubmitError};
use crate::model_registry::OneTokenError;
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

/// What the sequences of one request share.
struct Shared {
    plan: Plan,
    prompt: Prompt,
    constraint: Arc<PreparedConstraint>,
    priority: Priority,
    deadline: Instant,
}

/// Candidates that are written side by side.
struct Round {
    /// Number of the first, through all rounds.
    first: usize,
    count: usize,
    /// Variants for which the first of them are told as they are written.
    drafted: Range<usize>,
}

/// Why a round came to nothing.
enum RoundError {
    /// With the engine, so it can be tried anew.
    EngineGone,
    Failed(CaptionError),
}

impl Generator<'_> {
    /// Generates all variants of the request.
    pub(super) async fn generate(&self, assignment: Assignment<'_>) -> Result<Generation, CaptionError> {
        self.check_ready()?;
        let Assignment { request, key, deadline, progress, priority, .. } = assignment;
        let plan = Plan::new(request, key, self.model);
        let variants = usize::from(request.variants());
        let _permit = self.enter(variants * plan.candidates, &assignment)?;
        let prompt =
            prompt::write(self.model, request, plan.completion_tokens_reserved).map_err(CaptionError::Internal)?;
        let mut demands = Demands::of(request);
        demands.rules.caption_pieces_max = plan.caption_tokens_max;
        demands.rules.completion_pieces_max = prompt.completion_tokens_max;
        let constraint = self.model.constraints().prepare(demands.rules.clone()).map_err(not_prepared)?;
        let shared = Shared { plan, prompt, constraint, priority, deadline };
        let judge = Judge::new(&demands, request.content_description());
        let (id, model) = (compose::id_of(key), self.model.id().to_owned());
        progress.begin(StreamStart { id, model, variants: request.variants() });
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut chosen = Vec::new();
        let mut cost = Cost::default();
        for _ in 0..ROUNDS_MAX {
            let wanting = variants - candidate::good_count(&candidates, &chosen);
            if wanting == 0 {
                break;
            }
            let began = Instant::now();
            let round = Round {
                first: candidates.len(),
                count: wanting * plan.candidates,
                drafted: variants - wanting..variants,
            };
            match self.write_round(&shared, &round, progress).await {
                Ok(written) => {
                    written.iter().for_each(|finished| cost.add(&shared.prompt, finished));
                    candidates.extend(written.iter().map(|finished| judge.judge(finished)));
                }
                // What is there already will do.
                Err(_) if chosen.len() == variants => break,
                Err(error) => return Err(error),
            }
            chosen = candidate::choose(&candidates, variants, plan.first_is_greedy.then_some(0));
            let is_late = Instant::now() + began.elapsed() > deadline;
            if is_late && chosen.len() == variants {
                break;
            }
        }
        if chosen.len() < variants {
            return Err(CaptionError::GenerationFailed);
        }
        let complete =
            |index: usize| candidates[index].with_hashtags_of(&candidates, usize::from(request.hashtag_count()));
        let variants = chosen.into_iter().map(complete).collect();
        Ok(Generation { variants, description_was_cut: shared.prompt.description_was_cut, cost })
    }

    pub(super) fn check_ready(&self) -> Result<(), CaptionError> {
        match self.engine.status() {
            EngineStatus::Ready(_) => Ok(()),
            _ => Err(not_ready()),
        }
    }

    /// A deadline that has passed is told as such, and not as a lack of places.
    fn enter(&self, sequences: usize, assignment: &Assignment<'_>) -> Result<Permit, CaptionError> {
        let Assignment { deadline, priority, endpoint, is_behind, .. } = *assignment;
        if Instant::now() >= deadline {
            return Err(CaptionError::DeadlineExceeded);
        }
        if is_behind {
            return Ok(self.admission.enter_behind());
        }
        let permit = self.admission.enter(Entrance { sequences, priority, endpoint, deadline });
        permit.map_err(|refused| CaptionError::Overloaded { retry_after_s: refused.retry_after_s })
    }

    /// The candidates of a round, side by side on the device. When the engine is lost with them, they are written once more
    /// on the one that takes its place: from the same seeds, so nothing is lost but time.
    async fn write_round(
        &self,
        shared: &Shared,
        round: &Round,
        progress: &Progress,
    ) -> Result<Vec<FinishedSequence>, CaptionError> {
        match self.try_round(shared, round, progress).await {
            Err(RoundError::EngineGone) => {
                tracing::warn!(sequences = round.count, "the engine was lost; they are written once more");
                let rebuilt = tokio::time::timeout_at(shared.deadline.into(), self.engine.is_rebuilt()).await;
                if !rebuilt.map_err(|_| CaptionError::DeadlineExceeded)? {
                    return Err(not_ready());
                }
                self.try_round(shared, round, progress).await
            }
            outcome => outcome,
        }
        .map_err(|error| match error {
            RoundError::EngineGone => engine_lost(),
            RoundError::Failed(error) => error,
        })
    }

    async fn try_round(
        &self,
        shared: &Shared,
        round: &Round,
        progress: &Progress,
    ) -> Result<Vec<FinishedSequence>, RoundError> {
        // Which candidate will be which variant is not known yet: the first of the round are taken for the variants that are
        // wanting, since they begin first.
        let mut listeners = round.drafted.clone().map(|variant| {
            progress.reset(variant);
            progress.drafting(variant)
        });
        let mut pending: Vec<AwaitedSequence> = Vec::with_capacity(round.count);
        for candidate in round.first..round.first + round.count {
            let sequence = self.engine.submit(SequenceRequest {
                prompt_ids: Arc::clone(&shared.prompt.ids),
                constraint: Constraint::new(Arc::clone(&shared.constraint)),
                sampling: shared.plan.sampling(candidate),
                stream_seed: shared.plan.stream_seed(candidate),
                completion_tokens_max: shared.prompt.completion_tokens_max,
                priority: shared.priority,
                deadline: shared.deadline,
                listener: listeners.next(),
            });
            pending.push(sequence.map_err(|error| RoundError::Failed(not_submitted(error)))?);
        }
        let mut written = Vec::with_capacity(round.count);
        for sequence in pending {
            let outcome = sequence.await.map_err(|_| RoundError::EngineGone)?;
            written.push(outcome.map_err(|error| RoundError::Failed(not_finished(error)))?);
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

/// There is no model, or not yet.
pub(super) fn not_ready() -> CaptionError {
    CaptionError::NotReady { retry_after_s: RETRY_AFTER_LOADING_S }
}

/// The engine has been lost with the sequence in its hands, and so has the one after it.
fn engine_lost() -> CaptionError {
    tracing::error!("the engine was lost while it was generating");
    CaptionError::NotReady { retry_after_s: RETRY_AFTER_LOADING_S }
}

impl From<OneTokenError> for CaptionError {
    fn from(error: OneTokenError) -> Self {
        match error {
            OneTokenError::NotPrepared(error) => not_prepared(error),
            OneTokenError::NotSubmitted(error) => not_submitted(error),
            OneTokenError::Lost(_) => engine_lost(),
            OneTokenError::NotFinished(error) => not_finished(error),
        }
    }
}

fn not_prepared(error: ConstraintError) -> CaptionError {
    CaptionError::Internal(error.to_string())
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
        SequenceError::Cancelled => CaptionError::Overloaded { retry_after_s: RETRY_AFTER_LOADING_S },
        // It is known, and being seen to.
        SequenceError::BackendLost => not_ready(),
        SequenceError::BackendFailed | SequenceError::NothingToChoose | SequenceError::ConstraintFailed => {
            CaptionError::Internal(error.to_string())
        }
    }
}
