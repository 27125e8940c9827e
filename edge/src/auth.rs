//! Who is asking, and what their key is good for.
//!
//! 1. The key's hash; the key itself goes no further.
//! 2. The deployment's own table, for keys that need no origin.
//! 3. What this isolate remembers of the key, while that is fresh.
//! 4. Workers KV, then the origin, which has the last word whenever it can be asked.

mod known_keys;
mod learning;
mod origin;
mod workers_kv;

use std::rc::Rc;

use lede_shared::api_key::{bearer_credentials, presented_hash};
use lede_shared::plan::{KeyRecord, Scope};
use lede_shared::problem::{Problem, ProblemCode};

use crate::context::RequestContext;
use crate::error::Failure;
use crate::flood;
use crate::http::{AUTHORIZATION, Headers};

pub(crate) use known_keys::KnownKeys;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The key's record: tenant, scopes, plan.
    pub(crate) record: Rc<KeyRecord>,
}

/// What is known of a key, which may be that it is not one, or not any more.
type Verdict = Option<Rc<KeyRecord>>;

/// Reads `Authorization: Bearer <API key>`.
///
/// # Errors
/// 401 when there is no key or it is not known; 429 when there were too many requests with this key, or without a known
/// one from this address; 503 when nothing is known of the key here and the origin cannot be asked.
pub(crate) async fn authenticate(context: &Rc<RequestContext>, headers: &Headers) -> Result<Principal, Failure> {
    let Some(api_key) = headers.get(AUTHORIZATION).and_then(bearer_credentials) else {
        return Err(stranger(context, headers, no_key()).await);
    };
    let Some(hash) = presented_hash(api_key) else {
        return Err(stranger(context, headers, not_known()).await);
    };
    let record = match context.config.api_keys.tenant_of(&hash) {
        Some(tenant) => {
            let plan = context.config.api_key_plan.clone();
            Rc::new(KeyRecord { plan, ..KeyRecord::standard(tenant.clone()) })
        }
        None => match learning::remembered(context, &hash) {
            Some(Some(record)) => record,
            Some(None) => return Err(stranger(context, headers, not_known()).await),
            None => {
                let learning = learning::learned(context, headers, &hash);
                context.timed(&context.spans.key_ms, learning).await?.ok_or_else(not_known)?
            }
        },
    };
    // Known from here on, also when the next step sends the caller away.
    let _ = context.caller.set(Rc::clone(&record));
    flood::admit_key(context, &hash).await?;
    Ok(Principal { record })
}

/// What somebody without a known key is told: that, or that there were too many of the kind.
async fn stranger(context: &RequestContext, headers: &Headers, failure: Failure) -> Failure {
    flood::admit_stranger(context, headers).await.err().unwrap_or(failure)
}

/// Is the caller let in for `scope`?
///
/// # Errors
/// 403 when the key is not.
pub(crate) fn require(principal: &Principal, scope: Scope) -> Result<(), Failure> {
    if principal.record.allows(scope) {
        return Ok(());
    }
    let scope: &str = scope.into();
    Err(Problem::new(ProblemCode::Forbidden, ["this takes a key with the scope ", scope].concat()).into())
}

fn no_key() -> Failure {
    Failure::unauthorized(ProblemCode::MissingApiKey, "send the key as Authorization: Bearer <API key>", "Bearer")
}

fn not_known() -> Failure {
    let challenge = r#"Bearer error="invalid_token""#;
    Failure::unauthorized(ProblemCode::InvalidApiKey, "this API key is not known", challenge)
}
