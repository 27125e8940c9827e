//! `/api/v14/generate`: one request, one answer.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lede_shared::api::{CaptionRequest, GENERATE_BODY_BYTES_MAX};
use lede_shared::cache_status::CacheStatus;
use lede_shared::freshness::FreshnessRecord;
use lede_shared::headers::SERVER_TIMING;
use lede_shared::plan::Scope;

use super::stream;
use crate::admission::Endpoint;
use crate::app::AppState;
use crate::captions::Answer;
use crate::clock;
use crate::error::ApiError;
use crate::extract::{AuthorizedBody, Principal, asking};
use crate::middleware::{HEADERS_TYPICAL, RequestContext, in_milliseconds};

static SERVER_TIMING_NAME: HeaderName = HeaderName::from_static(SERVER_TIMING);

/// How this cache names itself in `Cache-Status`.
pub(super) const CACHE_NAME: &str = "lede-origin";

/// `POST`: the request is the body.
pub async fn post(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<GENERATE_BODY_BYTES_MAX>,
) -> Result<Response, ApiError> {
    authorized.principal.require(Scope::Captions)?;
    let request = CaptionRequest::from_json(&authorized.body)?.validate()?;
    let key = app.captions.key_of(&request, &authorized.principal.claims);
    let came = (&authorized.principal.claims, endpoint_of(&authorized.headers));
    let asking = asking(&authorized.headers, &context, app.config.server.request_timeout(), came);
    let asking = app.captions.with_near(asking, &authorized.principal.claims);
    app.captions.count(&request, key, (&authorized.principal.claims, &asking));
    if asking.endpoint == Endpoint::Stream {
        return Box::pin(stream::answer(&app, request, key, (asking, &context))).await;
    }
    let answer = app.captions.answer(&request, key, asking).await?;
    Ok(respond(answer))
}

/// `GET`: the request is the query, the answer may be kept by any cache on the way.
pub async fn get(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    principal: Principal,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    principal.require(Scope::Captions)?;
    let request = CaptionRequest::from_query(query.as_deref().unwrap_or_default())?.validate()?;
    let key = app.captions.key_of(&request, &principal.claims);
    let came = (&principal.claims, endpoint_of(&headers));
    let asking = asking(&headers, &context, app.config.server.request_timeout(), came);
    let asking = app.captions.with_near(asking, &principal.claims);
    app.captions.count(&request, key, (&principal.claims, &asking));
    if asking.endpoint == Endpoint::Stream {
        return Box::pin(stream::answer(&app, request, key, (asking, &context))).await;
    }
    let mut sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if sent.any(|if_none_match| key.is_named_by(if_none_match)) {
        // Equal keys have equal answers, so what the caller holds is still right, whoever keeps it here.
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, key.etag())]).into_response());
    }
    let answer = app.captions.answer(&request, key, asking).await?;
    let (freshness, was_kept) = (answer.freshness, answer.was_kept());
    let mut response = respond(answer);
    // The same address has a stream for those who ask for one.
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    if was_kept {
        add_freshness(response.headers_mut(), &freshness);
    } else {
        // What is not kept here must not be kept on the way either.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn endpoint_of(headers: &HeaderMap) -> Endpoint {
    if stream::is_wanted(headers) { Endpoint::Stream } else { Endpoint::Generate }
}

fn respond(answer: Answer) -> Response {
    let status = CacheStatus { cache: CACHE_NAME, outcome: answer.cache, detail: answer.cache_detail };
    let mut response = Response::new(Body::from(answer.body));
    let headers = response.headers_mut();
    headers.reserve(HEADERS_TYPICAL);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    insert(headers, header::CACHE_STATUS, &status.to_string());
    headers.insert(&SERVER_TIMING_NAME, timing(answer.queue_time, answer.device_time));
    insert(headers, header::ETAG, &answer.key.etag());
    // The edge, too, counts the time that an answer has already lain here.
    headers.insert(header::AGE, (answer.freshness.age_ms(clock::now()) / 1_000).into());
    response
}

/// Where the time went besides the handling itself. A hit waits for nothing.
fn timing(queue_time: Duration, device_time: Duration) -> HeaderValue {
    let of_hit = HeaderValue::from_static("queue;dur=0.000, device;dur=0.000");
    if queue_time.is_zero() && device_time.is_zero() {
        return of_hit;
    }
    let timing = format!("queue;dur={}, device;dur={}", in_milliseconds(queue_time), in_milliseconds(device_time));
    HeaderValue::from_str(&timing).unwrap_or(of_hit)
}

/// What caches on the way may do with the answer; `Age` says how much of the freshness is used up.
fn add_freshness(headers: &mut HeaderMap, freshness: &FreshnessRecord) {
    let seconds = |milliseconds: u64| milliseconds / 1_000;
    let cache_control = format!(
        "public, s-maxage={}, stale-while-revalidate={}, stale-if-error={}",
        seconds(freshness.fresh_for_ms),
        seconds(freshness.stale_while_revalidate_ms),
        seconds(freshness.stale_if_error_ms)
    );
    insert(headers, header::CACHE_CONTROL, &cache_control);
}

/// Header values made here are ASCII; one that is not is left out rather than failing an answer.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
