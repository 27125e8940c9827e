//! Who waits for the engine and who is on it, and ending them.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use futures_util::future::join_all;
use lede_shared::plan::Priority;
use lede_shared::problem::{FieldErrorCode, Problem, ProblemCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields::{fault, object, only, word};
use super::{Unkept, log, unkept};
use crate::admission::{AdmissionStats, ByPriority};
use crate::app::{App, AppState};
use crate::engine::EngineHandle;
use crate::engine::door::{Cancel, SequenceListing, SequenceState};
use crate::engine::scheduler::SequenceId;
use crate::engine::stats::Distribution;
use crate::error::ApiError;
use crate::extract::{AuthorizedBody, Principal};
use crate::middleware::RequestContext;

/// An action and whom it is about.
const BODY_BYTES_MAX: usize = 1_024;
/// Sequences that are told one by one, the oldest of them.
const SEQUENCES_TOLD_MAX: usize = 100;
/// The engine answers between steps; one that hangs does not.
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const ACTIONS: &str = "must be cancel";
const PRIORITIES: &str = "must be low, normal, high or critical";

/// Who is inside, with all loaded models together where nothing else is said, and how those fared who were.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TaskStats {
    /// Does every engine answer? The sequences of one that does not are not told.
    pub engine_answers: bool,
    /// Sequences that wait for a place on the device.
    pub waiting: ByPriority<usize>,
    /// Sequences on the device.
    pub running: ByPriority<usize>,
    /// Age of the oldest sequence, in milliseconds.
    pub oldest_ms: ByPriority<u64>,
    /// How long sequences of the primary model waited for a place on the device, in milliseconds.
    pub queue_wait_ms: ByPriority<Distribution>,
    /// Who was let in by the door before the primary model, and who was not.
    pub admission: AdmissionStats,
    /// The same of the other loaded models.
    pub others: Vec<ModelTasks>,
    /// The oldest sequences; at most 100.
    pub sequences: Vec<Task>,
}

/// How those fared who asked for a level's own model.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ModelTasks {
    /// Its name.
    pub model: String,
    /// How long sequences waited for a place on the device, in milliseconds.
    pub queue_wait_ms: ByPriority<Distribution>,
    /// Who was let in, and who was not.
    pub admission: AdmissionStats,
}

/// A sequence inside an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// Which model writes it.
    pub model: String,
    /// Its name there, by which it can be cancelled.
    pub id: u64,
    /// How urgent it is.
    #[schema(value_type = String)]
    pub priority: Priority,
    /// `waiting`, `resting` (preempted), `prefilling` or `decoding`.
    #[schema(value_type = String)]
    pub state: SequenceState,
    /// Since it was submitted.
    pub age_ms: u64,
    /// Length of its prompt.
    pub prompt_tokens: usize,
    /// What it has written.
    pub completion_tokens: usize,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TasksManaged {
    /// The action.
    pub action: &'static str,
    /// Sequences that were ended. Their callers are told 503.
    pub cancelled: usize,
}

/// `GET /performance/tasks/stats`.
pub async fn stats(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    principal: Principal,
) -> Result<Unkept<TaskStats>, ApiError> {
    app.admin_door.pass(&principal)?;
    log(&principal, &context, "tasks stats");
    let loaded = app.registry.loaded();
    let listing = loaded.iter().map(|(_, local)| async {
        tokio::time::timeout(ENGINE_ANSWERS_WITHIN, local.engine.door().list()).await.ok()
    });
    let listed = join_all(listing).await;
    let others = loaded.iter().skip(usize::from(app.registry.primary().is_some()));
    let others = others.map(|(name, local)| ModelTasks {
        model: name.clone(),
        queue_wait_ms: waits(&local.engine),
        admission: local.admission.stats(),
    });
    let inside = loaded.iter().map(|(name, _)| name.as_str()).zip(listed).collect();
    let primary = (waits(&app.engine), app.admission.stats());
    Ok(unkept(TaskStats { others: others.collect(), ..TaskStats::of(inside, primary) }))
}

fn waits(engine: &EngineHandle) -> ByPriority<Distribution> {
    ByPriority::in_order(engine.counters().stats(Instant::now()).queue_wait_ms)
}

/// `POST /performance/tasks/manage`.
pub async fn manage(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BODY_BYTES_MAX>,
) -> Result<Unkept<TasksManaged>, ApiError> {
    app.admin_door.pass(&authorized.principal)?;
    let (cancel, model) = read(&authorized.body)?;
    log(&authorized.principal, &context, "tasks cancel");
    let cancelling = engines(&app, &cancel, model.as_deref())?.into_iter().map(|engine| {
        let (door, cancel) = (engine.door(), cancel.clone());
        async move { tokio::time::timeout(ENGINE_ANSWERS_WITHIN, door.cancel(cancel)).await }
    });
    let hangs = |_| Problem::new(ProblemCode::NotReady, "an engine does not answer").retry_after(1);
    let cancelled: Result<Vec<usize>, Problem> =
        join_all(cancelling).await.into_iter().map(|cancelled| cancelled.map_err(hangs)).collect();
    Ok(unkept(TasksManaged { action: "cancel", cancelled: cancelled?.into_iter().sum() }))
}

/// Whose sequences are meant: those of `model`; without one all models' by priority, and the primary's by id, since each
/// engine counts for itself.
fn engines(app: &App, cancel: &Cancel, model: Option<&str>) -> Result<Vec<EngineHandle>, Problem> {
    let Some(model) = model else {
        return Ok(match cancel {
            Cancel::Ids(_) => vec![app.engine.clone()],
            Cancel::Priority(_) => app.registry.engines().collect(),
        });
    };
    let named = app.registry.name_of(model);
    let loaded = app.registry.loaded().into_iter().find(|(name, _)| Some(name.as_str()) == named);
    let engine = loaded.map(|(_, local)| local.engine);
    Ok(vec![engine.ok_or_else(|| fault("/model", FieldErrorCode::UnknownValue, "must name a loaded model"))?])
}

/// Reads `{"action": "cancel", "id": 7}` or `{"action": "cancel", "priority": "low"}`, with or without a `model`.
fn read(body: &[u8]) -> Result<(Cancel, Option<String>), Problem> {
    let fields = object(body)?;
    if word(&fields, "action", ACTIONS)? != "cancel" {
        return Err(fault("/action", FieldErrorCode::UnknownValue, ACTIONS));
    }
    only(&fields, &["action", "id", "priority", "model"])?;
    let model = fields.contains_key("model").then(|| word(&fields, "model", "must be a model's name"));
    let model = model.transpose()?.map(str::to_owned);
    let cancel = match (fields.get("id"), fields.contains_key("priority")) {
        (Some(_), true) => return Err(fault("/priority", FieldErrorCode::Conflict, "send it or id, not both")),
        (Some(id), false) => match id.as_u64() {
            Some(id) => Cancel::Ids(vec![SequenceId(id)]),
            None => return Err(fault("/id", FieldErrorCode::WrongType, "must be a whole number from 0")),
        },
        (None, true) => priority(&fields).map(Cancel::Priority)?,
        (None, false) => {
            return Err(fault("/id", FieldErrorCode::Missing, "is required where there is no priority"));
        }
    };
    Ok((cancel, model))
}

fn priority(fields: &Map<String, Value>) -> Result<Priority, Problem> {
    let named = word(fields, "priority", PRIORITIES)?.parse();
    named.map_err(|_| fault("/priority", FieldErrorCode::UnknownValue, PRIORITIES))
}

impl TaskStats {
    /// Of what each model's engine lists; nothing where it does not answer.
    fn of(
        inside: Vec<(&str, Option<Vec<SequenceListing>>)>,
        (queue_wait_ms, admission): (ByPriority<Distribution>, AdmissionStats),
    ) -> Self {
        let engine_answers = inside.iter().all(|(_, listed)| listed.is_some());
        let mut listed: Vec<(&str, SequenceListing)> = inside
            .into_iter()
            .flat_map(|(model, listed)| listed.into_iter().flatten().map(move |listing| (model, listing)))
            .collect();
        listed.sort_by_key(|(_, listing)| std::cmp::Reverse(listing.age));
        let (mut waiting, mut running, mut oldest_ms) = ([0; 4], [0; 4], [0; 4]);
        for (_, listing) in &listed {
            let priority = listing.priority as usize;
            let runs = matches!(listing.state, SequenceState::Prefilling | SequenceState::Decoding);
            *(if runs { &mut running[priority] } else { &mut waiting[priority] }) += 1;
            oldest_ms[priority] = oldest_ms[priority].max(milliseconds(listing.age));
        }
        Self {
            engine_answers,
            waiting: ByPriority::in_order(waiting),
            running: ByPriority::in_order(running),
            oldest_ms: ByPriority::in_order(oldest_ms),
            queue_wait_ms,
            admission,
            others: Vec::new(),
            sequences: listed.iter().take(SEQUENCES_TOLD_MAX).map(Task::of).collect(),
        }
    }
}

impl Task {
    fn of((model, listing): &(&str, SequenceListing)) -> Self {
        Self {
            model: (*model).to_owned(),
            id: listing.id.0,
            priority: listing.priority,
            state: listing.state,
            age_ms: milliseconds(listing.age),
            prompt_tokens: listing.prompt_tokens,
            completion_tokens: listing.completion_tokens,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_cancel_is_read_and_what_cannot_be_done_is_pointed_at() {
        let seventh = Cancel::Ids(vec![SequenceId(7)]);
        assert_eq!(read(br#"{"action": "cancel", "id": 7}"#).unwrap(), (seventh.clone(), None));
        let of_one = read(br#"{"action": "cancel", "id": 7, "model": "large"}"#).unwrap();
        assert_eq!(of_one, (seventh, Some("large".to_owned())));
        let low = read(br#"{"action": "cancel", "priority": "low"}"#).unwrap();
        assert_eq!(low, (Cancel::Priority(Priority::Low), None));
        for (body, pointer, code) in [
            ("[]", "", FieldErrorCode::WrongType),
            ("{}", "/action", FieldErrorCode::Missing),
            (r#"{"action": "pause"}"#, "/action", FieldErrorCode::UnknownValue),
            (r#"{"action": "cancel"}"#, "/id", FieldErrorCode::Missing),
            (r#"{"action": "cancel", "id": -1}"#, "/id", FieldErrorCode::WrongType),
            (r#"{"action": "cancel", "priority": "urgent"}"#, "/priority", FieldErrorCode::UnknownValue),
            (r#"{"action": "cancel", "priority": 3}"#, "/priority", FieldErrorCode::WrongType),
            (r#"{"action": "cancel", "id": 1, "priority": "low"}"#, "/priority", FieldErrorCode::Conflict),
            (r#"{"action": "cancel", "id": 1, "model": 2}"#, "/model", FieldErrorCode::WrongType),
            (r#"{"action": "cancel", "id": 1, "force": true}"#, "/force", FieldErrorCode::UnknownField),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!((problem.errors[0].pointer.as_str(), problem.errors[0].code), (pointer, code), "{body}");
        }
    }
}
