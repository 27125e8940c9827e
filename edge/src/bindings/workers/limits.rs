//! Durable Objects and rate limiters as the isolates see them. Both are called as JavaScript calls them: `worker`'s own
//! types would bring their conversions along, and with them a twentieth of the module.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lede_shared::api_key::TenantId;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Env, ObjectNamespace, RateLimiter};

use super::super::{BindingError, FloodLimiter, QuotaObjects};
use super::{failed, thrown};

/// The namespace of the tenants' quotas in `wrangler.toml`.
const QUOTA: &str = "QUOTA";
/// An object is asked under some address; only its name matters.
const ADDRESS: &str = "https://quota/";
const ASKING_OBJECT: &str = "asking a Durable Object";
const ASKING_LIMITER: &str = "asking the rate limiter";

/// The objects' namespace, or why there is none.
pub(super) struct QuotaNamespace(Result<ObjectNamespace, BindingError>);

impl QuotaNamespace {
    pub(super) fn open(env: &Env) -> Self {
        Self(env.durable_object(QUOTA).map_err(|error| failed("opening the quota's namespace", &error)))
    }

    async fn send(&self, tenant: &TenantId, question: &str) -> Result<String, BindingError> {
        let namespace = self.0.as_ref().map_err(Clone::clone)?;
        let object = namespace.get_by_name(tenant.as_str()).map_err(|error| failed(ASKING_OBJECT, &error))?;
        let answered = fetch(&object.into_rpc(), question).await;
        answered.map_err(|error| thrown(ASKING_OBJECT, &error))
    }
}

async fn fetch(object: &JsValue, question: &str) -> Result<String, JsValue> {
    let init = web_sys::RequestInit::new();
    init.set_method("POST");
    init.set_body(&question.into());
    let response: web_sys::Response = call(object, "fetch", &[ADDRESS.into(), init.into()]).await?.dyn_into()?;
    let text = JsFuture::from(response.text()?).await?;
    let answer = text.as_string().filter(|_| response.ok());
    answer.ok_or_else(|| js_sys::Error::new("the object refused the question").into())
}

/// Calls the method `name` of a binding and waits for what it promises.
async fn call(binding: &JsValue, name: &str, arguments: &[JsValue]) -> Result<JsValue, JsValue> {
    let method: js_sys::Function = js_sys::Reflect::get(binding, &name.into())?.dyn_into()?;
    let promise = method.apply(binding, &arguments.iter().collect::<js_sys::Array>())?;
    JsFuture::from(js_sys::Promise::resolve(&promise)).await
}

impl QuotaObjects for QuotaNamespace {
    fn ask<'a>(
        &'a self,
        tenant: &'a TenantId,
        question: String,
    ) -> LocalBoxFuture<'a, Result<String, BindingError>> {
        async move { self.send(tenant, &question).await }.boxed_local()
    }
}

/// One of the rate limiters, or why there is none.
pub(super) struct PlatformLimiter(Result<JsValue, BindingError>);

impl PlatformLimiter {
    pub(super) fn open(env: &Env, binding: &'static str) -> Self {
        let limiter: worker::Result<RateLimiter> = env.rate_limiter(binding);
        Self(limiter.map(JsValue::from).map_err(|error| failed("opening a rate limiter", &error)))
    }
}

async fn limit(limiter: &JsValue, key: &str) -> Result<bool, JsValue> {
    let options = js_sys::Object::new();
    js_sys::Reflect::set(&options, &"key".into(), &key.into())?;
    let outcome = call(limiter, "limit", &[options.into()]).await?;
    Ok(js_sys::Reflect::get(&outcome, &"success".into())?.is_truthy())
}

impl FloodLimiter for PlatformLimiter {
    fn allows<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<bool, BindingError>> {
        async move {
            let limiter = self.0.as_ref().map_err(Clone::clone)?;
            limit(limiter, key).await.map_err(|error| thrown(ASKING_LIMITER, &error))
        }
        .boxed_local()
    }
}
