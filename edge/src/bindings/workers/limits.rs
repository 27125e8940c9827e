//! Durable Objects and rate limiters as the isolates see them.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lede_shared::api_key::TenantId;
use wasm_bindgen::JsValue;
use worker::{Env, Method, ObjectNamespace, RateLimiter, Request, RequestInit};

use super::super::{BindingError, FloodLimiter, QuotaObjects};
use super::failed;

/// The namespace of the tenants' quotas in `wrangler.toml`.
const QUOTA: &str = "QUOTA";
/// An object is asked under some address; only its name matters.
const ADDRESS: &str = "https://quota/";

/// The objects' namespace, or why there is none.
pub(super) struct QuotaNamespace(Result<ObjectNamespace, BindingError>);

impl QuotaNamespace {
    pub(super) fn open(env: &Env) -> Self {
        Self(env.durable_object(QUOTA).map_err(|error| failed("opening the quota's namespace", &error)))
    }

    async fn send(&self, tenant: &TenantId, question: String) -> Result<String, BindingError> {
        let describe = |error: worker::Error| failed("asking a Durable Object", &error);
        let namespace = self.0.as_ref().map_err(Clone::clone)?;
        let object = namespace.get_by_name(tenant.as_str()).map_err(describe)?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(JsValue::from_str(&question)));
        let request = Request::new_with_init(ADDRESS, &init).map_err(describe)?;
        let mut response = object.fetch_with_request(request).await.map_err(describe)?;
        let text = response.text().await.map_err(describe)?;
        if response.status_code() == 200 {
            Ok(text)
        } else {
            let cause = format!("status {}", response.status_code());
            Err(BindingError { operation: "asking a Durable Object", cause })
        }
    }
}

impl QuotaObjects for QuotaNamespace {
    fn ask<'a>(
        &'a self,
        tenant: &'a TenantId,
        question: String,
    ) -> LocalBoxFuture<'a, Result<String, BindingError>> {
        self.send(tenant, question).boxed_local()
    }
}

/// One of the rate limiters, or why there is none.
pub(super) struct PlatformLimiter(Result<RateLimiter, BindingError>);

impl PlatformLimiter {
    pub(super) fn open(env: &Env, binding: &'static str) -> Self {
        Self(env.rate_limiter(binding).map_err(|error| failed("opening a rate limiter", &error)))
    }
}

impl FloodLimiter for PlatformLimiter {
    fn allows<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<bool, BindingError>> {
        async move {
            let limiter = self.0.as_ref().map_err(Clone::clone)?;
            let outcome = limiter.limit(key.to_owned()).await;
            outcome.map(|outcome| outcome.success).map_err(|error| failed("asking the rate limiter", &error))
        }
        .boxed_local()
    }
}
