//! What can be done to the cache, as a body says it.

use lede_shared::api::CaptionRequest;
use lede_shared::cache_key::CacheKey;
use lede_shared::problem::{FieldError, FieldErrorCode, Problem};
use lede_shared::purge::PurgeScope;
use lede_shared::signature::Claims;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields::{fault, object, only, word};
use crate::cache::Tier;
use crate::captions::{Captions, WarmUp};
use crate::error::ApiError;

const ACTIONS: &str = "must be clear, purge, warm or invalidate";
const CACHE_TYPES: &str = "must be hot, warm, cold or all";
const SCOPES: &str = "must be all, tenant, model or policy";

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Manage {
    /// `{"action": "clear", "cache_type": "hot" | "warm" | "cold" | "all"}`.
    Clear(&'static str, &'static [Tier]),
    /// `{"action": "purge", "scope": "all"}` or another scope with a `name`.
    Purge(PurgeScope),
    /// `{"action": "warm"}`.
    Warm,
    /// `{"action": "invalidate", "key": "…"}`.
    InvalidateKey(CacheKey),
    /// `{"action": "invalidate", "request": {…}}`.
    InvalidateRequest(Box<lede_shared::api::ValidRequest>),
}

/// What came of an action. What belongs to other actions is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Managed {
    /// The action.
    pub action: &'static str,
    /// Which tier was cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<&'static str>,
    /// What was purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'static str>,
    /// Which one of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new epoch of what was purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Under which key the answer was that was invalidated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Were the other origins told? Where there are none, there is nobody to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others_are_told: Option<bool>,
    /// Popular answers that were in memory already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<usize>,
    /// Popular answers that were brought from the cold tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brought: Option<usize>,
    /// Popular answers that are to be made again when there is time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<usize>,
}

impl Manage {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 when it is not a JSON object, 422 with a pointer to each field at fault.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let fields = object(body)?;
        match word(&fields, "action", ACTIONS)? {
            "clear" => clear(&fields),
            "purge" => purge(&fields),
            "warm" => only(&fields, &["action"]).map(|()| Self::Warm),
            "invalidate" => invalidate(&fields),
            _ => Err(fault("/action", FieldErrorCode::UnknownValue, ACTIONS)),
        }
    }

    /// For the log.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Clear(..) => "cache clear",
            Self::Purge(_) => "cache purge",
            Self::Warm => "cache warm",
            Self::InvalidateKey(_) | Self::InvalidateRequest(_) => "cache invalidate",
        }
    }

    /// Does it. A request's answer is the one that a caller with `claims` gets.
    pub(super) async fn done(self, captions: &Captions, claims: &Claims) -> Result<Managed, ApiError> {
        match self {
            Self::Clear(cache_type, tiers) => {
                for tier in tiers {
                    captions.clear_tier(*tier).await;
                }
                Ok(Managed { action: "clear", cache_type: Some(cache_type), ..Managed::default() })
            }
            Self::Purge(scope) => purged(captions, &scope).await,
            Self::Warm => {
                let WarmUp { held, brought, queued } = captions.warm_up().await;
                let (held, brought, queued) = (Some(held), Some(brought), Some(queued));
                Ok(Managed { action: "warm", held, brought, queued, ..Managed::default() })
            }
            Self::InvalidateKey(key) => Ok(invalidated(captions, key).await),
            Self::InvalidateRequest(request) => Ok(invalidated(captions, captions.key_of(&request, claims)).await),
        }
    }
}

async fn purged(captions: &Captions, scope: &PurgeScope) -> Result<Managed, ApiError> {
    let purged = captions.purge(scope).await;
    if !purged.is_kept {
        tracing::warn!("a purge could not be written down: a restart would undo it here");
    }
    let (scope, name) = scope.named();
    Ok(Managed {
        action: "purge",
        scope: Some(scope),
        name: name.map(str::to_owned),
        epoch: Some(purged.epoch),
        others_are_told: Some(purged.is_told),
        ..Managed::default()
    })
}

async fn invalidated(captions: &Captions, key: CacheKey) -> Managed {
    let others_are_told = Some(captions.invalidate(key).await);
    Managed { action: "invalidate", key: Some(key.to_string()), others_are_told, ..Managed::default() }
}

fn clear(fields: &Map<String, Value>) -> Result<Manage, Problem> {
    only(fields, &["action", "cache_type"])?;
    match word(fields, "cache_type", CACHE_TYPES)? {
        "hot" => Ok(Manage::Clear("hot", &[Tier::Hot])),
        "warm" => Ok(Manage::Clear("warm", &[Tier::Warm])),
        "cold" => Ok(Manage::Clear("cold", &[Tier::Cold])),
        // From the slowest: what is cleared is not brought back from below.
        "all" => Ok(Manage::Clear("all", &[Tier::Cold, Tier::Warm, Tier::Hot])),
        _ => Err(fault("/cache_type", FieldErrorCode::UnknownValue, CACHE_TYPES)),
    }
}

fn purge(fields: &Map<String, Value>) -> Result<Manage, Problem> {
    only(fields, &["action", "scope", "name"])?;
    let scope = word(fields, "scope", SCOPES)?;
    let name = match fields.get("name") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(fault("/name", FieldErrorCode::WrongType, "must be a text")),
        None => None,
    };
    let named = match (scope, name) {
        ("all", None) => return Ok(Manage::Purge(PurgeScope::All)),
        ("all", Some(_)) => return Err(fault("/name", FieldErrorCode::Conflict, "all has no name")),
        ("tenant" | "model" | "policy", Some(name)) => format!("{scope}:{name}"),
        ("tenant" | "model" | "policy", None) => {
            return Err(fault("/name", FieldErrorCode::Missing, "says which one is purged"));
        }
        _ => return Err(fault("/scope", FieldErrorCode::UnknownValue, SCOPES)),
    };
    let unsound = |_| fault("/name", FieldErrorCode::InvalidFormat, "names none of this kind");
    named.parse().map(Manage::Purge).map_err(unsound)
}

fn invalidate(fields: &Map<String, Value>) -> Result<Manage, Problem> {
    only(fields, &["action", "key", "request"])?;
    match (fields.get("key"), fields.get("request")) {
        (Some(_), Some(_)) => Err(fault("/request", FieldErrorCode::Conflict, "send it or key, not both")),
        (None, None) => Err(fault("/request", FieldErrorCode::Missing, "is required where there is no key")),
        (Some(key), None) => {
            let mut bytes = [0; 32];
            let is_key =
                key.as_str().is_some_and(|key| is_lower_hex(key) && hex::decode_to_slice(key, &mut bytes).is_ok());
            if !is_key {
                return Err(fault("/key", FieldErrorCode::InvalidFormat, "must be 64 hex digits, in lower case"));
            }
            Ok(Manage::InvalidateKey(CacheKey(bytes)))
        }
        (None, Some(request)) => {
            let body = request.to_string();
            let request = CaptionRequest::from_json(body.as_bytes()).and_then(|request| request.validate());
            request.map(|request| Manage::InvalidateRequest(Box::new(request))).map_err(below_request)
        }
    }
}

/// As keys are shown.
fn is_lower_hex(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Pointers start at the whole body.
fn below_request(problem: Problem) -> Problem {
    let below = |error: FieldError| FieldError { pointer: format!("/request{}", error.pointer), ..error };
    Problem::invalid_fields(problem.errors.into_iter().map(below).collect())
}

#[cfg(test)]
mod tests {
    use lede_shared::problem::ProblemCode;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_action_is_read() {
        let key = "ab".repeat(32);
        for (body, expected) in [
            (r#"{"action": "clear", "cache_type": "warm"}"#.to_owned(), "cache clear"),
            (r#"{"action": "purge", "scope": "model", "name": "hub/lede-nano:2"}"#.to_owned(), "cache purge"),
            (r#"{"action": "warm"}"#.to_owned(), "cache warm"),
            (format!(r#"{{"action": "invalidate", "key": "{key}"}}"#), "cache invalidate"),
            (
                r#"{"action": "invalidate", "request": {"content_description": "Sunset"}}"#.to_owned(),
                "cache invalidate",
            ),
        ] {
            assert_eq!(Manage::from_json(body.as_bytes()).unwrap().name(), expected, "{body}");
        }
        let all = Manage::from_json(br#"{"action": "clear", "cache_type": "all"}"#).unwrap();
        assert!(matches!(all, Manage::Clear("all", [Tier::Cold, Tier::Warm, Tier::Hot])));
    }

    #[test]
    fn what_cannot_be_done_is_pointed_at() {
        for (body, pointer, code) in [
            ("[]", "", FieldErrorCode::WrongType),
            ("{}", "/action", FieldErrorCode::Missing),
            (r#"{"action": 3}"#, "/action", FieldErrorCode::WrongType),
            (r#"{"action": "explode"}"#, "/action", FieldErrorCode::UnknownValue),
            (r#"{"action": "clear"}"#, "/cache_type", FieldErrorCode::Missing),
            (r#"{"action": "clear", "cache_type": "lukewarm"}"#, "/cache_type", FieldErrorCode::UnknownValue),
            (r#"{"action": "warm", "a/b~": true}"#, "/a~1b~0", FieldErrorCode::UnknownField),
            (r#"{"action": "purge", "scope": "model"}"#, "/name", FieldErrorCode::Missing),
            (r#"{"action": "purge", "scope": "all", "name": "x"}"#, "/name", FieldErrorCode::Conflict),
            (r#"{"action": "purge", "scope": "tenant", "name": "ACME"}"#, "/name", FieldErrorCode::InvalidFormat),
            (r#"{"action": "purge", "scope": "some", "name": "x"}"#, "/scope", FieldErrorCode::UnknownValue),
            (r#"{"action": "invalidate"}"#, "/request", FieldErrorCode::Missing),
            (r#"{"action": "invalidate", "key": "ab"}"#, "/key", FieldErrorCode::InvalidFormat),
            (r#"{"action": "invalidate", "key": "ab", "request": {}}"#, "/request", FieldErrorCode::Conflict),
            (r#"{"action": "invalidate", "request": []}"#, "/request", FieldErrorCode::WrongType),
            (
                r#"{"action": "invalidate", "request": {"content_description": "a", "style": "x"}}"#,
                "/request/style",
                FieldErrorCode::UnknownValue,
            ),
        ] {
            let problem = Manage::from_json(body.as_bytes()).unwrap_err();
            assert_eq!((problem.errors[0].pointer.as_str(), problem.errors[0].code), (pointer, code), "{body}");
        }
        assert_eq!(Manage::from_json(b"{").unwrap_err().code, ProblemCode::MalformedRequest);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Manage::from_json(&body);
        }
    }
}
