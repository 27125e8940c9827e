//! Requests to other servers.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::super::{Fetch, FetchError, IncomingResponse, OutgoingRequest};
use super::exchange::{read_headers, write_headers};
use super::stream::{Carrier, PlatformBody};
use super::thrown;

pub(super) struct PlatformFetch;

impl Fetch for PlatformFetch {
    fn send(&self, request: OutgoingRequest) -> LocalBoxFuture<'_, Result<IncomingResponse, FetchError>> {
        async move {
            let (response, cancel) = send(&request).await.map_err(|error| fetch_error(&error))?;
            let headers = read_headers(&response.headers(), &IncomingResponse::HEADERS_READ);
            let status = response.status();
            Ok(IncomingResponse {
                status,
                headers,
                body: PlatformBody::of(Carrier::Response { response, _cancel: cancel }),
            })
        }
        .boxed_local()
    }
}

/// Ends a request that nobody waits for any more: a hedge that came second, or one whose caller has left.
pub(super) struct CancelOnDrop(web_sys::AbortController);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // After the end of the answer this does nothing.
        self.0.abort();
    }
}

async fn send(request: &OutgoingRequest) -> Result<(web_sys::Response, CancelOnDrop), JsValue> {
    let init = web_sys::RequestInit::new();
    init.set_method(request.method);
    init.set_headers(write_headers(&request.headers)?.as_ref());
    init.set_redirect(web_sys::RequestRedirect::Manual);
    if let Some(body) = &request.body {
        init.set_body(&js_sys::Uint8Array::from(body.as_slice()));
    }
    // The signal also ends the reading of a body that stops coming.
    let timeout_ms = u32::try_from(request.timeout_ms).unwrap_or(u32::MAX);
    let timeout = web_sys::AbortSignal::timeout_with_u32(timeout_ms);
    let cancel = CancelOnDrop(web_sys::AbortController::new()?);
    let signals = js_sys::Array::of2(&timeout, &cancel.0.signal());
    init.set_signal(Some(&web_sys::AbortSignal::any(&signals)));
    let scope: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let response = JsFuture::from(scope.fetch_with_str_and_init(&request.url, &init)).await?.dyn_into()?;
    Ok((response, cancel))
}

fn fetch_error(error: &JsValue) -> FetchError {
    let name = js_sys::Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string());
    match name.as_deref() {
        Some("TimeoutError" | "AbortError") => FetchError::TimedOut,
        _ => FetchError::NotConnected(thrown("fetching", error)),
    }
}
