//! The engine: what runs where, and how it does.

use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Unkept, log, unkept};
use crate::app::{App, AppState};
use crate::engine::{EngineCondition, EngineStats, EngineStatus};
use crate::error::ApiError;
use crate::extract::Principal;
use crate::middleware::RequestContext;
use crate::model_registry::ModelsReport;

/// The engine, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AiSummary {
    /// The model that should write.
    pub model: String,
    /// The engine's, whoever may write in its place: `loading`, `ready`, `stalled`, `rebuilding` or `failed`.
    pub state: String,
    /// What the present backend has room for; none while there is no backend.
    pub shape: Option<AiShape>,
    /// The backend in use, and how it has fared.
    pub condition: EngineCondition,
    /// What has been done, and how fast.
    pub engine: EngineStats,
    /// All models, and the room that they have.
    pub registry: ModelsReport,
}

/// Sizes of a loaded model on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AiShape {
    /// Entries of its vocabulary.
    pub vocabulary_entries: usize,
    /// Positions of a sequence, prompt and completion together.
    pub context_tokens_max: usize,
    /// Sequences of one step.
    pub rows_max: usize,
}

/// `GET /performance/ai`.
pub async fn summary(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    principal: Principal,
) -> Result<Unkept<AiSummary>, ApiError> {
    app.admin_door.pass(&principal)?;
    log(&principal, &context, "ai summary");
    Ok(unkept(AiSummary::of(&app)))
}

impl AiSummary {
    fn of(app: &App) -> Self {
        let shape = match app.engine.status() {
            EngineStatus::Ready(shape) => Some(AiShape {
                vocabulary_entries: shape.vocabulary_entries,
                context_tokens_max: shape.context_tokens_max,
                rows_max: shape.rows_max,
            }),
            _ => None,
        };
        Self {
            model: app.captions.model_id().to_owned(),
            state: app.engine.status().name().to_owned(),
            shape,
            condition: app.engine.condition(),
            engine: app.engine.counters().stats(Instant::now()),
            registry: app.registry.report(),
        }
    }
}
