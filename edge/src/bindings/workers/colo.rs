//! The cache of this data centre: the platform's Cache API.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::super::{BindingError, ColoCache};
use super::exchange::write_headers;
use super::thrown;
use crate::http::{CACHE_CONTROL, Headers};

/// `caches.default`.
pub(super) struct DefaultCache;

impl ColoCache for DefaultCache {
    fn read<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>> {
        async move { read(url).await.map_err(|error| thrown("reading from the colo cache", &error)) }.boxed_local()
    }

    fn write<'a>(
        &'a self,
        url: &'a str,
        value: &'a [u8],
        max_age_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>> {
        async move { write(url, value, max_age_s).await.map_err(|error| thrown("writing to the colo cache", &error)) }
            .boxed_local()
    }
}

fn default_cache() -> Result<web_sys::Cache, JsValue> {
    let scope: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let cache = js_sys::Reflect::get(scope.caches()?.as_ref(), &"default".into())?;
    // Not an instance of the browser's class, but of the same shape.
    Ok(cache.unchecked_into())
}

async fn read(url: &str) -> Result<Option<Vec<u8>>, JsValue> {
    let found = JsFuture::from(default_cache()?.match_with_str(url)).await?;
    if found.is_undefined() {
        return Ok(None);
    }
    let response: web_sys::Response = found.dyn_into()?;
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Some(js_sys::Uint8Array::new(&buffer).to_vec()))
}

async fn write(url: &str, value: &[u8], max_age_s: u64) -> Result<(), JsValue> {
    let init = web_sys::ResponseInit::new();
    let mut headers = Headers::default();
    headers.push(CACHE_CONTROL, format!("max-age={max_age_s}"));
    init.set_headers(write_headers(&headers)?.as_ref());
    let value = js_sys::Uint8Array::from(value);
    let response = web_sys::Response::new_with_opt_buffer_source_and_init(Some(value.as_ref()), &init)?;
    JsFuture::from(default_cache()?.put_with_str(url, &response)).await?;
    Ok(())
}
