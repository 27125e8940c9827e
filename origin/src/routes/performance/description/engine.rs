//! The routes about the engine.

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{operation, problem, with_body, written};
use crate::backend::{BackendDescription, DeviceBytes, DeviceKind};
use crate::routes::performance::ai::AiSummary;
use crate::routes::performance::memory::MemoryCleaned;
use crate::routes::performance::tasks::{TaskStats, TasksManaged};
use crate::routes::performance::{AI_PATH, MEMORY_CLEANUP_PATH, TASKS_MANAGE_PATH, TASKS_STATS_PATH};

pub(super) fn routes() -> Map<String, Value> {
    let ai = operation(("ai_summary", "What the engine runs on, and how it does"), "AiSummary", ai());
    let stats = operation(("tasks_stats", "Who waits for the engine and who is on it"), "TaskStats", tasks());
    let manage = operation(("tasks_manage", "End sequences"), "TasksManaged", managed());
    let mut manage = with_body(manage, "TasksManageRequest", cancel());
    manage["responses"]["503"] = problem(503);
    let cleanup =
        operation(("memory_cleanup", "Give up memory that is kept for speed"), "MemoryCleaned", cleaned());
    let cleanup = with_body(cleanup, "MemoryCleanupRequest", json!({ "force": false }));
    let routes = [
        (AI_PATH, json!({ "get": ai })),
        (TASKS_STATS_PATH, json!({ "get": stats })),
        (TASKS_MANAGE_PATH, json!({ "post": manage })),
        (MEMORY_CLEANUP_PATH, json!({ "post": cleanup })),
    ];
    routes.into_iter().map(|(path, item)| (path.to_owned(), item)).collect()
}

pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    AiSummary::schemas(&mut schemas);
    TaskStats::schemas(&mut schemas);
    MemoryCleaned::schemas(&mut schemas);
    schemas.push(("AiSummary".to_owned(), AiSummary::schema()));
    schemas.push(("TaskStats".to_owned(), TaskStats::schema()));
    schemas.push(("TasksManaged".to_owned(), TasksManaged::schema()));
    schemas.push(("MemoryCleaned".to_owned(), MemoryCleaned::schema()));
    let mut written = written(schemas);
    written.insert("TasksManageRequest".to_owned(), manage_request());
    written.insert("MemoryCleanupRequest".to_owned(), cleanup_request());
    written
}

fn manage_request() -> Value {
    let action = json!({ "type": "string", "enum": ["cancel"] });
    let by = |name: &str, schema: Value| {
        json!({
            "type": "object",
            "properties": { "action": action, name: schema },
            "required": ["action", name],
            "additionalProperties": false,
        })
    };
    json!({
        "description": "`cancel` ends a sequence, or all of a priority, at the next step. Their callers are told 503.",
        "oneOf": [
            by("id", json!({ "type": "integer", "minimum": 0 })),
            by("priority", json!({ "type": "string", "enum": ["low", "normal", "high", "critical"] })),
        ],
        "examples": [cancel(), { "action": "cancel", "id": 4711 }],
    })
}

fn cleanup_request() -> Value {
    json!({
        "type": "object",
        "description": "Kept beginnings of prompts are given up; with `force` the hot tier of answers, too.",
        "properties": { "force": { "type": "boolean", "default": false } },
        "additionalProperties": false,
    })
}

fn cancel() -> Value {
    json!({ "action": "cancel", "priority": "low" })
}

fn managed() -> Value {
    json!(TasksManaged { action: "cancel", cancelled: 12 })
}

fn distribution() -> Value {
    json!({ "count": 1_204, "mean": 8.2, "p50": 7.9, "p95": 11.4, "p99": 14.0, "max": 31.7 })
}

fn ai() -> Value {
    let engine = crate::engine::EngineStats {
        computed_entries: 51_840,
        padding_entries: 0,
        device: DeviceBytes { weights_bytes: 10_482_688, attention_bytes: 6_291_456, scratch_bytes: 131_072 },
        ..crate::engine::EngineCounters::default().stats(std::time::Instant::now())
    };
    let description = BackendDescription {
        backend: "onnxruntime",
        device: "cpu".to_owned(),
        device_kind: DeviceKind::Cpu,
        driver: None,
        precision: "f32",
        file: "model.onnx".to_owned(),
        batched: true,
        subgroups: false,
        cooperative_matrices: false,
    };
    json!({
        "model": "lede-nano-2",
        "state": "ready",
        "shape": { "vocabulary_entries": 4_096, "context_tokens_max": 512, "rows_max": 8 },
        "condition": {
            "backend": "ort", "description": description, "backends": ["ort"],
            "restarts": 0, "failures": 0, "threads_abandoned": 0, "last_failure": null,
        },
        "engine": engine,
    })
}

fn tasks() -> Value {
    let each = |low: Value, normal: Value, none: Value| json!({ "low": low, "normal": normal, "high": none, "critical": none });
    let refused = |full: u64| json!({ "full": full, "endpoint_full": 0, "too_late": 0 });
    json!({
        "engine_answers": true,
        "waiting": each(json!(3), json!(1), json!(0)),
        "running": each(json!(0), json!(8), json!(0)),
        "oldest_ms": each(json!(2_104), json!(310), json!(0)),
        "queue_wait_ms": each(distribution(), distribution(), distribution()),
        "admission": {
            "sequences": each(json!(3), json!(9), json!(0)),
            "requests": { "generate": 6, "batch": 0, "stream": 1 },
            "admitted": each(json!(40), json!(1_204), json!(0)),
            "refused": each(refused(7), refused(0), refused(0)),
            "drain_rate_per_s": 41.5,
        },
        "sequences": [{
            "id": 4_711, "priority": "low", "state": "waiting", "age_ms": 2_104, "prompt_tokens": 38, "completion_tokens": 0,
        }],
    })
}

fn cleaned() -> Value {
    let state = |resident_bytes: u64, kept: u64| {
        json!({
            "resident_bytes": resident_bytes, "kv_blocks_used": kept / 16, "prefix_positions_kept": kept,
            "hot_entries": 120,
        })
    };
    json!({
        "force": false, "engine_answers": true, "before": state(161_480_704, 2_048), "after": state(160_432_128, 0),
    })
}

/// Examples and what they are of.
#[cfg(test)]
pub(super) fn examples() -> [(Value, &'static str); 4] {
    [(ai(), "AiSummary"), (tasks(), "TaskStats"), (managed(), "TasksManaged"), (cleaned(), "MemoryCleaned")]
}
