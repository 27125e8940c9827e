//! These routes in the description of the API. They are the origin's alone, so they join the document here.

mod engine;
mod models;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::manage::Managed;
use super::summary::CacheSummary;
use super::{CACHE_MANAGE_PATH, CACHE_PATH, CACHE_STATS_PATH};
use crate::cache::CacheStats;

const TAG: &str = "performance";
/// Statuses of problems that each of these routes may have.
const PROBLEMS: [u16; 6] = [400, 401, 403, 405, 429, 500];
const WITH_A_BODY: [u16; 3] = [413, 415, 422];
/// Headers that these routes answer with.
const HEADERS: [&str; 3] = ["x-request-id", "Server-Timing", "Cache-Control"];

/// `document`, a description of the API, with these routes.
#[must_use]
pub fn added_to(document: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(document) else { return document.to_owned() };
    if let Some(paths) = document.pointer_mut("/paths").and_then(Value::as_object_mut) {
        paths.extend(routes());
        paths.extend(engine::routes());
        paths.extend(models::routes());
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.extend(all_schemas());
        schemas.extend(engine::schemas());
        schemas.extend(models::schemas());
    }
    if let Some(tags) = document.pointer_mut("/tags").and_then(Value::as_array_mut) {
        tags.push(json!({ "name": TAG, "description": "How the origin runs, for keys with the scope `admin`" }));
    }
    format!("{document:#}\n")
}

fn routes() -> Map<String, Value> {
    let summary =
        operation(("cache_summary", "What the response cache does, on one screen"), "CacheSummary", summary());
    let stats =
        operation(("cache_stats", "Everything that is counted of the response cache"), "CacheStats", stats());
    let manage = operation(("cache_manage", "Clear, purge, warm, invalidate"), "CacheManaged", managed());
    let manage = with_body(manage, "CacheManageRequest", cleared());
    let routes = [
        (CACHE_PATH, json!({ "get": summary })),
        (CACHE_STATS_PATH, json!({ "get": stats })),
        (CACHE_MANAGE_PATH, json!({ "post": manage })),
    ];
    routes.into_iter().map(|(path, item)| (path.to_owned(), item)).collect()
}

fn operation((id, summary): (&str, &str), schema: &str, example: Value) -> Value {
    let headers: Map<_, _> = HEADERS
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect();
    let answer = json!({
        "description": summary,
        "headers": headers,
        "content": { "application/json": { "schema": reference(schema), "example": example } },
    });
    let problems = PROBLEMS.iter().map(|status| (status.to_string(), problem(*status)));
    let responses: Map<_, _> = [("200".to_owned(), answer)].into_iter().chain(problems).collect();
    json!({
        "tags": [TAG],
        "summary": summary,
        "operationId": id,
        "security": [{ "api_key": [] }],
        "responses": responses,
    })
}

fn with_body(mut operation: Value, schema: &str, example: Value) -> Value {
    operation["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": reference(schema), "example": example } },
    });
    for status in WITH_A_BODY {
        operation["responses"][status.to_string()] = problem(status);
    }
    operation
}

fn problem(status: u16) -> Value {
    json!({ "$ref": format!("#/components/responses/problem_{status}") })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn all_schemas() -> Map<String, Value> {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    CacheSummary::schemas(&mut schemas);
    CacheStats::schemas(&mut schemas);
    schemas.push(("CacheSummary".to_owned(), CacheSummary::schema()));
    schemas.push(("CacheStats".to_owned(), CacheStats::schema()));
    schemas.push(("CacheManaged".to_owned(), Managed::schema()));
    let mut written = written(schemas);
    written.insert("CacheManageRequest".to_owned(), manage_request());
    written
}

fn written(schemas: Vec<(String, RefOr<Schema>)>) -> Map<String, Value> {
    let written =
        schemas.into_iter().filter_map(|(name, schema)| Some((name, serde_json::to_value(schema).ok()?)));
    written.collect()
}

/// What [`super::manage::Manage`] reads.
fn manage_request() -> Value {
    let of = |action: &str, more: &[(&str, Value)]| {
        let mut properties =
            Map::from_iter([("action".to_owned(), json!({ "type": "string", "enum": [action] }))]);
        properties.extend(more.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
        let required: Vec<_> = properties.keys().cloned().collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    };
    let word = |words: &[&str]| json!({ "type": "string", "enum": words });
    let named = |scope: &str, pattern: &str| {
        of("purge", &[("scope", word(&[scope])), ("name", json!({ "type": "string", "pattern": pattern }))])
    };
    json!({
        "description": "One action. `clear` empties a tier of this origin; `purge` makes all that was kept unreachable, \
            everywhere; `warm` brings popular answers back; `invalidate` forgets one answer.",
        "oneOf": [
            of("clear", &[("cache_type", word(&["hot", "warm", "cold", "all"]))]),
            of("purge", &[("scope", word(&["all"]))]),
            named("tenant", "^[a-z0-9_-]{1,64}$"),
            named("model", "^[!-~]{1,128}$"),
            named("policy", "^[!-~]{1,128}$"),
            of("warm", &[]),
            of("invalidate", &[("key", json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }))]),
            of("invalidate", &[("request", reference("CaptionRequest"))]),
        ],
        "examples": [cleared(), { "action": "purge", "scope": "model", "name": "lede-nano-2" }],
    })
}

fn cleared() -> Value {
    json!({ "action": "clear", "cache_type": "warm" })
}

fn managed() -> Value {
    json!(Managed { action: "clear", cache_type: Some("warm"), ..Managed::default() })
}

fn summary() -> Value {
    json!({
        "look_ups": 1_204_330,
        "hit_rate": 0.9672,
        "by_tier": { "hot": 0.7897, "warm": 0.1775, "cold": 0.0 },
        "hot_entries": 10_000,
        "warm_bytes": 43_712_004,
        "hot_sizes": [{ "size_percent": 200, "points": 5.61 }],
        "warm_sizes": [{ "size_percent": 200, "points": 0.0 }],
        "advice": ["LEDE_HOT_ENTRIES_MAX=20000 would answer 5.6 % of all look-ups more from the hot tier"],
    })
}

fn stats() -> Value {
    let tier = |hits: u64, misses: u64, hit_rate: f64| {
        let ages = json!([{ "younger_than_s": 60, "count": 16 }, { "count": 0 }]);
        json!({ "hits": hits, "misses": misses, "hit_rate": hit_rate, "hit_ages": ages })
    };
    let with = |mut tier: Value, more: Value| {
        if let (Some(tier), Value::Object(more)) = (tier.as_object_mut(), more) {
            tier.extend(more);
        }
        tier
    };
    json!({
        "look_ups": 1_000,
        "hit_rate": 0.967,
        "hot": with(tier(790, 210, 0.79), json!({
            "entries": 120, "body_bytes": 118_320,
            "evictions": { "for_room": 3, "expired": 12, "removed": 1, "replaced": 5 },
            "evicted_ages": [{ "younger_than_s": 60, "count": 2 }, { "count": 0 }],
        })),
        "warm": with(tier(177, 33, 0.8429), json!({
            "entries": 130, "bytes": 57_980, "insertions": 140, "compression_ratio": 0.31,
            "evicted_for_room": 0, "expired": 10,
        })),
        "cold": with(tier(0, 33, 0.0), json!({
            "entries": 140, "bytes": null, "failures": 0, "is_left_alone": false, "writes_dropped": 0,
        })),
        "ghosts": {
            "hot": [{ "size_percent": 200, "points": 5.61 }],
            "warm": [{ "size_percent": 200, "points": 0.0 }],
            "bytes": 310_224,
        },
    })
}

#[cfg(test)]
mod tests {
    use lede_shared::openapi::{Side, document};

    use super::*;

    fn described() -> Value {
        serde_json::from_str(&added_to(&document(Side::Origin))).unwrap()
    }

    #[test]
    fn what_was_there_stays_and_every_reference_leads_somewhere() {
        let before: Value = serde_json::from_str(&document(Side::Origin)).unwrap();
        let after = described();
        for part in ["/paths", "/components/schemas", "/components/responses"] {
            for (name, value) in before.pointer(part).unwrap().as_object().unwrap() {
                assert_eq!(&after.pointer(part).unwrap()[name], value, "{name}");
            }
        }
        let text = after.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for reference in references {
            assert!(after.pointer(reference).is_some(), "{reference}");
        }
        assert!(after.pointer("/paths/~1performance~1cache~1manage/post").is_some());
    }

    #[test]
    fn examples_have_the_fields_that_are_told() {
        let fields = |value: &Value| {
            let mut fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            fields.sort();
            fields
        };
        let described = described();
        let properties = |name: &str| fields(&described["components"]["schemas"][name]["properties"]);
        assert_eq!(fields(&summary()), properties("CacheSummary"));
        assert_eq!(fields(&stats()), properties("CacheStats"));
        for (example, name) in engine::examples().into_iter().chain(models::examples()) {
            assert_eq!(fields(&example), properties(name), "{name}");
        }
    }
}
