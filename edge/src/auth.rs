//! Who is asking.

use std::rc::Rc;

use lede_shared::api_key::{ApiKeyTable, bearer_credentials};
use lede_shared::plan::{KeyRecord, Plan};
use lede_shared::problem::ProblemCode;

use crate::context::RequestContext;
use crate::error::Failure;
use crate::flood;
use crate::http::{AUTHORIZATION, Headers};

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The key's record: tenant, scopes, plan.
    pub(crate) record: Rc<KeyRecord>,
}

/// Reads `Authorization: Bearer <API key>`.
///
/// # Errors
/// 401 when there is no key or it is not known; 429 when there were too many requests with this key, or without one
/// from this address.
pub(crate) async fn authenticate(context: &RequestContext, headers: &Headers) -> Result<Principal, Failure> {
    match find(&context.config.api_keys, &context.config.api_key_plan, headers) {
        Ok(principal) => {
            // Known from here on, also when the next step sends the caller away.
            let _ = context.caller.set(Rc::clone(&principal.record));
            flood::admit_key(context, headers).await?;
            Ok(principal)
        }
        Err(failure) => {
            flood::admit_stranger(context, headers).await?;
            Err(failure)
        }
    }
}

fn find(api_keys: &ApiKeyTable, plan: &Plan, headers: &Headers) -> Result<Principal, Failure> {
    let Some(api_key) = headers.get(AUTHORIZATION).and_then(bearer_credentials) else {
        let detail = "send the key as Authorization: Bearer <API key>";
        return Err(Failure::unauthorized(ProblemCode::MissingApiKey, detail, "Bearer"));
    };
    match api_keys.tenant_of(api_key) {
        Some(tenant) => {
            let record = KeyRecord { plan: plan.clone(), ..KeyRecord::standard(tenant.clone()) };
            Ok(Principal { record: Rc::new(record) })
        }
        None => {
            let challenge = r#"Bearer error="invalid_token""#;
            Err(Failure::unauthorized(ProblemCode::InvalidApiKey, "this API key is not known", challenge))
        }
    }
}

#[cfg(test)]
mod tests {
    use lede_shared::api_key::ApiKeyHash;

    use super::*;

    fn authenticate_as(authorization: Option<&str>) -> Result<Principal, ProblemCode> {
        let table = ApiKeyTable::parse(&format!("acme={}", ApiKeyHash::of("key-a"))).unwrap();
        let sent = authorization.map(|value| (AUTHORIZATION, value.to_owned()));
        find(&table, &Plan::default(), &Headers(sent.into_iter().collect()))
            .map_err(|failure| failure.problem.code)
    }

    #[test]
    fn a_known_key_names_its_tenant() {
        assert_eq!(authenticate_as(Some("Bearer key-a")).unwrap().record.tenant.as_str(), "acme");
    }

    #[test]
    fn no_key_and_a_wrong_key_are_told_apart() {
        for missing in [None, Some(""), Some("Basic key-a"), Some("Bearer ")] {
            assert_eq!(authenticate_as(missing), Err(ProblemCode::MissingApiKey), "{missing:?}");
        }
        assert_eq!(authenticate_as(Some("Bearer key-b")), Err(ProblemCode::InvalidApiKey));
    }
}
