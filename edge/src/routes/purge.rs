//! `POST /admin/v1/purge`: from now on no caption made before is served. For keys that are let in for administration.

use std::rc::Rc;

use lede_shared::api_key::TenantId;
use lede_shared::clock::UnixMillis;
use lede_shared::plan::Scope;
use lede_shared::problem::{FieldError, FieldErrorCode, Problem, ProblemCode};
use lede_shared::purge::{PURGE_NAME_BYTES_MAX as NAME_BYTES_MAX, PurgeScope};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::{authenticate, require};
use crate::body::receive_json;
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{CACHE_CONTROL, Request, Response, to_json};
use crate::response_cache::epochs::{HOLDS_EVERYWHERE_AFTER_MS, purge};

/// A scope and a name.
const BODY_BYTES_MAX: usize = 1_024;
/// The platform takes one write of a name per second.
const RETRY_AFTER_S: u32 = 1;

/// What was purged, and from when it holds.
#[derive(Serialize)]
struct Purged {
    scope: &'static str,
    name: Option<String>,
    /// The new epoch of what was purged: the time of the purge.
    epoch_ms: UnixMillis,
    /// In this isolate it holds already; from then on it holds in all of them.
    holds_everywhere_from_ms: UnixMillis,
}

/// Purges what the body names.
pub(crate) async fn from_body(context: &Rc<RequestContext>, request: Request) -> Result<Response, Failure> {
    let principal = authenticate(context, &request.headers).await?;
    require(&principal, Scope::Admin)?;
    let body = receive_json(context.bindings.clock.as_ref(), request, BODY_BYTES_MAX).await?;
    let scope = read_scope(&body)?;
    let epoch_ms = purge(context, &scope).await.map_err(|error| {
        context.warn("purge_failed", &error.to_string());
        let detail = "the purge could not be written and does not hold; try again";
        Problem::new(ProblemCode::InternalError, detail).retry_after(RETRY_AFTER_S)
    })?;
    let holds_everywhere_from_ms = context.now().plus(HOLDS_EVERYWHERE_AFTER_MS);
    let (scope, name) = scope.named();
    let name = name.map(str::to_owned);
    let purged = Purged { scope, name, epoch_ms, holds_everywhere_from_ms };
    Ok(Response::json(to_json(&purged)).with(CACHE_CONTROL, "no-store"))
}

/// Reads `{"scope": "all"}` or `{"scope": "tenant" | "model" | "policy", "name": "…"}`.
fn read_scope(body: &[u8]) -> Result<PurgeScope, Problem> {
    let malformed = |_| Problem::new(ProblemCode::MalformedRequest, "the body is not a JSON object");
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(malformed)?;
    if let Some(unknown) = fields.keys().find(|name| !matches!(name.as_str(), "scope" | "name")) {
        return Err(fault(&format!("/{unknown}"), FieldErrorCode::UnknownField, "there is no such field"));
    }
    let name = match fields.get("name") {
        None => None,
        Some(Value::String(name)) if name_is_sound(name) => Some(name.clone()),
        Some(_) => {
            let detail = format!("must be a text of 1 to {NAME_BYTES_MAX} letters, digits and . _ : / -");
            return Err(fault("/name", FieldErrorCode::InvalidFormat, &detail));
        }
    };
    let scope = fields.get("scope").and_then(Value::as_str);
    match (scope, name) {
        (Some("all"), None) => Ok(PurgeScope::All),
        (Some("all"), Some(_)) => Err(fault("/name", FieldErrorCode::Conflict, "all has no name")),
        (Some("tenant"), Some(name)) => {
            let detail = "is not a tenant's id";
            let tenant =
                TenantId::parse(&name).ok_or_else(|| fault("/name", FieldErrorCode::InvalidFormat, detail))?;
            Ok(PurgeScope::Tenant(tenant))
        }
        (Some("model"), Some(name)) => Ok(PurgeScope::Model(name)),
        (Some("policy"), Some(name)) => Ok(PurgeScope::Policy(name)),
        (Some("tenant" | "model" | "policy"), None) => {
            Err(fault("/name", FieldErrorCode::Missing, "says which one is purged"))
        }
        (None, _) => Err(fault("/scope", FieldErrorCode::Missing, "must be all, tenant, model or policy")),
        (Some(_), _) => Err(fault("/scope", FieldErrorCode::UnknownValue, "must be all, tenant, model or policy")),
    }
}

fn name_is_sound(name: &str) -> bool {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_sound)
}

fn fault(pointer: &str, code: FieldErrorCode, detail: &str) -> Problem {
    Problem::invalid_fields(vec![FieldError { pointer: pointer.to_owned(), code, detail: detail.to_owned() }])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_scope_is_read_with_its_name() {
        let tenant = TenantId::parse("acme").unwrap();
        for (body, expected) in [
            (r#"{"scope": "all"}"#, PurgeScope::All),
            (r#"{"scope": "tenant", "name": "acme"}"#, PurgeScope::Tenant(tenant)),
            (r#"{"scope": "model", "name": "hub/lede-nano:2"}"#, PurgeScope::Model("hub/lede-nano:2".to_owned())),
            (r#"{"scope": "policy", "name": "2025-12"}"#, PurgeScope::Policy("2025-12".to_owned())),
        ] {
            assert_eq!(read_scope(body.as_bytes()), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_purged_is_pointed_at() {
        for (body, pointer, code) in [
            ("{}", "/scope", FieldErrorCode::Missing),
            (r#"{"scope": "some"}"#, "/scope", FieldErrorCode::UnknownValue),
            (r#"{"scope": "model"}"#, "/name", FieldErrorCode::Missing),
            (r#"{"scope": "all", "name": "acme"}"#, "/name", FieldErrorCode::Conflict),
            (r#"{"scope": "tenant", "name": "ACME"}"#, "/name", FieldErrorCode::InvalidFormat),
            (r#"{"scope": "model", "name": "a b"}"#, "/name", FieldErrorCode::InvalidFormat),
            (r#"{"scope": "model", "name": 5}"#, "/name", FieldErrorCode::InvalidFormat),
            (r#"{"scope": "all", "force": true}"#, "/force", FieldErrorCode::UnknownField),
        ] {
            let problem = read_scope(body.as_bytes()).unwrap_err();
            assert_eq!((problem.errors[0].pointer.as_str(), problem.errors[0].code), (pointer, code), "{body}");
        }
        assert_eq!(read_scope(b"[]").unwrap_err().code, ProblemCode::MalformedRequest);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_scope(&body);
        }
    }
}
