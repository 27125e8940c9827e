//! Who waits for the engine and who is on it, and ending them.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use lede_shared::plan::Priority;
use lede_shared::problem::{FieldErrorCode, Problem, ProblemCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields::{fault, object, only, word};
use super::{Unkept, log, unkept};
use crate::admission::{AdmissionStats, ByPriority};
use crate::app::AppState;
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

/// Who is inside, and how those fared who were.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TaskStats {
    /// Does the engine answer? If not, what follows of sequences is empty.
    pub engine_answers: bool,
    /// Sequences that wait for a place on the device.
    pub waiting: ByPriority<usize>,
    /// Sequences on the device.
    pub running: ByPriority<usize>,
    /// Age of the oldest sequence, in milliseconds.
    pub oldest_ms: ByPriority<u64>,
    /// How long sequences waited for a place on the device, in milliseconds.
    pub queue_wait_ms: ByPriority<Distribution>,
    /// Who was let in by the door before it, and who was not.
    pub admission: AdmissionStats,
    /// The oldest sequences; at most 100.
    pub sequences: Vec<Task>,
}

/// A sequence inside the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// Its name, by which it can be cancelled.
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
    let door = app.engine.door();
    let listed = tokio::time::timeout(ENGINE_ANSWERS_WITHIN, door.list()).await;
    let waits = app.engine.counters().stats(Instant::now()).queue_wait_ms;
    Ok(unkept(TaskStats::of(listed.ok(), ByPriority::in_order(waits), app.admission.stats())))
}

/// `POST /performance/tasks/manage`.
pub async fn manage(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BODY_BYTES_MAX>,
) -> Result<Unkept<TasksManaged>, ApiError> {
    app.admin_door.pass(&authorized.principal)?;
    let cancel = read(&authorized.body)?;
    log(&authorized.principal, &context, "tasks cancel");
    let door = app.engine.door();
    let cancelled = tokio::time::timeout(ENGINE_ANSWERS_WITHIN, door.cancel(cancel)).await;
    let hangs = |_| Problem::new(ProblemCode::NotReady, "the engine does not answer").retry_after(1);
    Ok(unkept(TasksManaged { action: "cancel", cancelled: cancelled.map_err(hangs)? }))
}

/// Reads `{"action": "cancel", "id": 7}` or `{"action": "cancel", "priority": "low"}`.
fn read(body: &[u8]) -> Result<Cancel, Problem> {
    let fields = object(body)?;
    if word(&fields, "action", ACTIONS)? != "cancel" {
        return Err(fault("/action", FieldErrorCode::UnknownValue, ACTIONS));
    }
    only(&fields, &["action", "id", "priority"])?;
    match (fields.get("id"), fields.contains_key("priority")) {
        (Some(_), true) => Err(fault("/priority", FieldErrorCode::Conflict, "send it or id, not both")),
        (Some(id), false) => match id.as_u64() {
            Some(id) => Ok(Cancel::Ids(vec![SequenceId(id)])),
            None => Err(fault("/id", FieldErrorCode::WrongType, "must be a whole number from 0")),
        },
        (None, true) => priority(&fields).map(Cancel::Priority),
        (None, false) => Err(fault("/id", FieldErrorCode::Missing, "is required where there is no priority")),
    }
}

fn priority(fields: &Map<String, Value>) -> Result<Priority, Problem> {
    let named = word(fields, "priority", PRIORITIES)?.parse();
    named.map_err(|_| fault("/priority", FieldErrorCode::UnknownValue, PRIORITIES))
}

impl TaskStats {
    fn of(
        listed: Option<Vec<SequenceListing>>,
        queue_wait_ms: ByPriority<Distribution>,
        admission: AdmissionStats,
    ) -> Self {
        let engine_answers = listed.is_some();
        let mut listed = listed.unwrap_or_default();
        listed.sort_by_key(|listing| std::cmp::Reverse(listing.age));
        let (mut waiting, mut running, mut oldest_ms) = ([0; 4], [0; 4], [0; 4]);
        for listing in &listed {
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
            sequences: listed.iter().take(SEQUENCES_TOLD_MAX).map(Task::of).collect(),
        }
    }
}

impl Task {
    fn of(listing: &SequenceListing) -> Self {
        Self {
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
        assert_eq!(read(br#"{"action": "cancel", "id": 7}"#).unwrap(), Cancel::Ids(vec![SequenceId(7)]));
        assert_eq!(read(br#"{"action": "cancel", "priority": "low"}"#).unwrap(), Cancel::Priority(Priority::Low));
        for (body, pointer, code) in [
            ("[]", "", FieldErrorCode::WrongType),
            ("{}", "/action", FieldErrorCode::Missing),
            (r#"{"action": "pause"}"#, "/action", FieldErrorCode::UnknownValue),
            (r#"{"action": "cancel"}"#, "/id", FieldErrorCode::Missing),
            (r#"{"action": "cancel", "id": -1}"#, "/id", FieldErrorCode::WrongType),
            (r#"{"action": "cancel", "priority": "urgent"}"#, "/priority", FieldErrorCode::UnknownValue),
            (r#"{"action": "cancel", "priority": 3}"#, "/priority", FieldErrorCode::WrongType),
            (r#"{"action": "cancel", "id": 1, "priority": "low"}"#, "/priority", FieldErrorCode::Conflict),
            (r#"{"action": "cancel", "id": 1, "force": true}"#, "/force", FieldErrorCode::UnknownField),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!((problem.errors[0].pointer.as_str(), problem.errors[0].code), (pointer, code), "{body}");
        }
    }
}
