//! The caller's request, and the answer to it.

use wasm_bindgen::JsValue;

use super::stream::{self, Carrier, PlatformBody};
use crate::http::{Body, Headers, Method, Request, Response, path_and_query};

/// What the pipeline looks at, and the body unread.
pub(crate) fn read_request(request: web_sys::Request) -> Request {
    let url = request.url();
    let (path, query) = path_and_query(&url);
    Request {
        method: Method::parse(&request.method()),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: read_headers(&request.headers(), &Request::HEADERS_READ),
        body: PlatformBody::of(Carrier::Request(request)),
    }
}

/// Those of `names` that are there.
pub(super) fn read_headers(headers: &web_sys::Headers, names: &[&'static str]) -> Headers {
    let values = names.iter().map(|name| (*name, headers.get(name).ok().flatten()));
    Headers(values.filter_map(|(name, value)| Some((name, value?))).collect())
}

/// The platform's answer. A whole body is copied once, out of the module's memory; a stream is passed on as it comes.
pub(crate) fn write_response(response: Response) -> worker::Result<web_sys::Response> {
    let init = web_sys::ResponseInit::new();
    init.set_status(response.status);
    let headers = write_headers(&response.headers).map_err(worker::Error::from)?;
    init.set_headers(headers.as_ref());
    match response.body {
        Body::Whole(body) => {
            let body = (!body.is_empty()).then(|| js_sys::Uint8Array::from(body.as_slice()));
            let body: Option<&js_sys::Object> = body.as_ref().map(AsRef::as_ref);
            Ok(web_sys::Response::new_with_opt_buffer_source_and_init(body, &init)?)
        }
        Body::Streamed(source) => {
            let stream = stream::readable(source);
            Ok(web_sys::Response::new_with_opt_readable_stream_and_init(Some(&stream), &init)?)
        }
    }
}

pub(super) fn write_headers(headers: &Headers) -> Result<web_sys::Headers, JsValue> {
    let written = web_sys::Headers::new()?;
    for (name, value) in &headers.0 {
        written.set(name, value)?;
    }
    Ok(written)
}
