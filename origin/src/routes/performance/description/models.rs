//! The routes about the models.

use lede_shared::api::OptimizationLevel;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{operation, with_body, written};
use crate::model_registry::{CanaryReport, ModelReport, ModelsReport};
use crate::routes::performance::MODELS_MANAGE_PATH;
use crate::routes::performance::models::ModelsManaged;

pub(super) fn routes() -> Map<String, Value> {
    let summary = "Load, unload, pin and unpin a model";
    let manage = operation(("models_manage", summary), "ModelsManaged", managed());
    let manage = with_body(manage, "ModelsManageRequest", load());
    [(MODELS_MANAGE_PATH.to_owned(), json!({ "post": manage }))].into_iter().collect()
}

pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    ModelsManaged::schemas(&mut schemas);
    schemas.push(("ModelsManaged".to_owned(), ModelsManaged::schema()));
    let mut written = written(schemas);
    written.insert("ModelsManageRequest".to_owned(), manage_request());
    written
}

fn manage_request() -> Value {
    json!({
        "type": "object",
        "description": "`load` and `unload` begin at once and take their time. What is in use or pinned is not unloaded, and \
            what does not fit is not loaded. An unloaded model comes back when somebody asks for its level.",
        "properties": {
            "action": { "type": "string", "enum": ["load", "unload", "pin", "unpin"] },
            "model": { "type": "string", "description": "Its name or its id" },
        },
        "required": ["action", "model"],
        "additionalProperties": false,
        "examples": [load(), { "action": "pin", "model": "smollm2-360m-instruct" }],
    })
}

fn load() -> Value {
    json!({ "action": "load", "model": "smollm2-360m-instruct" })
}

fn managed() -> Value {
    let model = ModelReport { state: "loading", ..quality() };
    json!(ModelsManaged { action: "load", model })
}

/// What the engine's summary says of the models.
pub(super) fn report() -> ModelsReport {
    let primary = ModelReport {
        name: "lede-nano".to_owned(),
        id: "lede-nano-2".to_owned(),
        levels: vec![OptimizationLevel::UltraFast, OptimizationLevel::Balanced],
        primary: true,
        bytes: 61_440_000,
        pinned: true,
        users: 2,
        ..quality()
    };
    ModelsReport {
        bytes_max: 8_589_934_592,
        bytes: primary.bytes + quality().bytes,
        bytes_over: 0,
        models: vec![primary, quality()],
    }
}

fn quality() -> ModelReport {
    ModelReport {
        name: "smollm2-360m-instruct".to_owned(),
        id: "smollm2-360m-instruct".to_owned(),
        levels: vec![OptimizationLevel::Quality],
        primary: false,
        state: "loaded",
        bytes: 412_876_800,
        bytes_measured: true,
        pinned: false,
        users: 0,
        last_used_ms: Some(81_204),
        loads: 1,
        unloads: 0,
        failures: 0,
        last_failure: None,
        retry_in_ms: None,
        last_canary: Some(CanaryReport { ok: true, failure: None, ago_ms: 21_003, took_ms: 19 }),
        canaries_failed: 0,
    }
}

#[cfg(test)]
pub(super) fn examples() -> [(Value, &'static str); 3] {
    [(managed(), "ModelsManaged"), (json!(report()), "ModelsReport"), (json!(quality()), "ModelReport")]
}
