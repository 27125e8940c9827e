//! Who writes: the local model, the remote provider, or one of them in place of the other.

use std::time::Instant;

use lede_shared::api::ValidRequest;
use lede_shared::cache_key::CacheKey;
use lede_shared::plan::Priority;
use lede_shared::served_models::ServedModels;

use super::candidate::Candidate;
use super::generation::{Generation, Generator};
use super::progress::Progress;
use super::rules::Demands;
use super::{CaptionError, plan, remote_writer};
use crate::admission::Endpoint;
use crate::config::RemoteRole;
use crate::model_registry::{LocalModel, ModelRegistry, Seat};
use crate::models::Dialect;
use crate::remote::Remote;

/// Share of the time that a primary provider leaves for the local model, as a divisor.
const TIME_FOR_LOCAL: u32 = 4;

/// Everybody who can write captions. At least one of them is there.
#[derive(Debug)]
pub struct CaptionSources {
    /// The models of this process, if it has any.
    pub registry: ModelRegistry,
    /// The remote provider and what it is for.
    pub remote: Option<(RemoteRole, Remote)>,
}

impl CaptionSources {
    /// Who should write: the names that stand in keys. Whoever stands in is named in the answer only.
    #[must_use]
    pub fn served(&self) -> ServedModels {
        match (&self.remote, self.registry.primary()) {
            (Some((RemoteRole::Primary, remote)), _) | (Some((RemoteRole::Fallback, remote)), None) => {
                ServedModels::one(remote.model())
            }
            (_, Some(_)) | (None, None) => self.registry.served().clone(),
        }
    }

    /// Can somebody write now?
    pub(super) fn is_ready(&self) -> bool {
        let remote = self.remote.as_ref().is_some_and(|(_, remote)| remote.is_usable());
        remote || self.registry.primary().is_some_and(LocalModel::is_ready)
    }

    /// Has the one that should write nothing else to do? What nobody waits for is begun only then.
    pub(super) fn is_idle(&self) -> bool {
        match (&self.remote, self.registry.primary()) {
            (Some((RemoteRole::Primary, remote)), _) | (Some((_, remote)), None) => remote.is_usable(),
            (_, Some(local)) => local.is_ready() && self.registry.is_idle(),
            (None, None) => false,
        }
    }

    /// Does every answer cost money? Then none is made on a guess.
    pub(super) fn is_paid_for(&self) -> bool {
        matches!((&self.remote, self.registry.primary()), (Some((RemoteRole::Primary, _)), _) | (Some(_), None))
    }

    /// Can an answer to `request` be expected before `deadline`, by anybody?
    pub(super) fn can_write_before(&self, deadline: Instant, request: &ValidRequest, priority: Priority) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let sequences = plan::sequences(request);
        let is_in_time = |local: LocalModel| {
            local.is_ready() && local.admission.expected_wait(sequences, priority).is_none_or(|wait| wait <= left)
        };
        let remote = self.remote.as_ref().is_some_and(|(_, remote)| remote.is_usable());
        remote || self.registry.writing_at(request.optimization_level()).is_some_and(is_in_time)
    }
}

/// What is to be written, and where to tell how it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assignment<'a> {
    pub(super) request: &'a ValidRequest,
    pub(super) key: &'a CacheKey,
    /// When nobody waits any more.
    pub(super) deadline: Instant,
    pub(super) progress: &'a Progress,
    /// How urgent it is, and how the request came.
    pub(super) priority: Priority,
    pub(super) endpoint: Endpoint,
    /// Is it for nobody who waits? Then it goes behind all others, and nobody stands in.
    pub(super) is_behind: bool,
}

/// Who wrote an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    /// The model's name.
    pub(super) model: String,
    /// Is it a model that knows the prompt's markers only: English, and no voice but the styles?
    pub(super) is_embedded: bool,
    /// Does it stand in for the one that should have written?
    pub(super) is_fallback: bool,
}

impl CaptionSources {
    /// All variants of the request, and who wrote them.
    ///
    /// # Errors
    /// Those of the one that should have written, when nobody stands in for it.
    pub(super) async fn write(&self, assignment: Assignment<'_>) -> Result<(Generation, Author), CaptionError> {
        let Some((role, remote)) = &self.remote else { return self.locally(assignment, false).await };
        let Assignment { request, deadline, is_behind, .. } = assignment;
        match role {
            RemoteRole::Primary => {
                let is_local_ready = self.registry.primary().is_some_and(LocalModel::is_ready);
                let has_stand_in = !is_behind && is_local_ready;
                let until = if has_stand_in { leaving_time(deadline) } else { deadline };
                match remotely(remote, request, until, false).await {
                    Err(error) if has_stand_in => {
                        tracing::warn!(%error, "the local model stands in for the provider");
                        self.locally(assignment, true).await.map_err(|second| neither(error, &second))
                    }
                    outcome => outcome,
                }
            }
            RemoteRole::Fallback => match self.locally(assignment, false).await {
                Err(error) if !is_behind && lets_another_stand_in(&error) && remote.is_usable() => {
                    tracing::warn!(%error, "the provider stands in for the local model");
                    remotely(remote, request, deadline, true).await.map_err(|second| neither(error, &second))
                }
                outcome => outcome,
            },
        }
    }

    /// By the level's own model, or the primary in its place: nobody waits for a model to be loaded.
    async fn locally(
        &self,
        assignment: Assignment<'_>,
        is_fallback: bool,
    ) -> Result<(Generation, Author), CaptionError> {
        let Assignment { request, is_behind, .. } = assignment;
        let lease = match self.registry.seat(request.optimization_level(), is_behind) {
            Seat::Primary => return self.by_primary(assignment, is_fallback).await,
            Seat::Own(lease) => lease,
            // It would be made in vain: nobody keeps what another model wrote.
            Seat::Away if is_behind => return Err(super::generation::not_ready()),
            Seat::Away => return self.by_primary(assignment, true).await,
        };
        match by(lease.local(), assignment, is_fallback).await {
            Err(error) if !is_behind && lets_primary_stand_in(&error) => {
                tracing::warn!(%error, "the primary model stands in for a level's own");
                self.by_primary(assignment, true).await.map_err(|second| neither(error, &second))
            }
            outcome => outcome,
        }
    }

    async fn by_primary(
        &self,
        assignment: Assignment<'_>,
        is_fallback: bool,
    ) -> Result<(Generation, Author), CaptionError> {
        let local = self.registry.primary().ok_or_else(super::generation::not_ready)?;
        let _in_use = self.registry.use_primary();
        by(local, assignment, is_fallback).await
    }
}

async fn by(
    local: &LocalModel,
    assignment: Assignment<'_>,
    is_fallback: bool,
) -> Result<(Generation, Author), CaptionError> {
    // The text side is read before the engine is ready.
    let model = local.model.get().ok_or_else(super::generation::not_ready)?;
    let generator = Generator { model, engine: &local.engine, admission: &local.admission };
    let generation = generator.generate(assignment).await?;
    let is_embedded = matches!(model.dialect(), Dialect::Markers(_));
    Ok((generation, Author { model: model.id().to_owned(), is_embedded, is_fallback }))
}

async fn remotely(
    remote: &Remote,
    request: &ValidRequest,
    deadline: Instant,
    is_fallback: bool,
) -> Result<(Generation, Author), CaptionError> {
    let demands = Demands::of(request);
    let (variants, cost) = remote_writer::write(remote, request, &demands.rules, deadline).await?;
    let candidate = |(caption, names): (String, Vec<String>)| {
        Candidate::of_provider(caption, &names, demands.facts_were_omitted)
    };
    let variants = variants.into_iter().map(candidate).collect();
    let generation = Generation { variants, description_was_cut: false, cost };
    Ok((generation, Author { model: remote.model().to_owned(), is_embedded: false, is_fallback }))
}

/// The caller is told why the one that should have written did not; the log has both.
fn neither(error: CaptionError, second: &CaptionError) -> CaptionError {
    tracing::warn!(error = %second, "who stands in could not write either");
    error
}

/// The point before `deadline` from which the local model would still have time to answer.
fn leaving_time(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline.checked_sub(left / TIME_FOR_LOCAL).unwrap_or(deadline)
}

/// Is the local model full, down or out of its depth? A deadline that has passed helps nobody else either.
const fn lets_another_stand_in(error: &CaptionError) -> bool {
    matches!(
        error,
        CaptionError::NotReady { .. }
            | CaptionError::Overloaded { .. }
            | CaptionError::GenerationFailed
            | CaptionError::Internal(_)
    )
}

/// Is a level's own model down or out of its depth? One that is full shares its device with the primary: more work there
/// would help nobody.
const fn lets_primary_stand_in(error: &CaptionError) -> bool {
    matches!(error, CaptionError::NotReady { .. } | CaptionError::GenerationFailed | CaptionError::Internal(_))
}
