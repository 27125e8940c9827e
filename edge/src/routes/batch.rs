//! `POST /api/v14/batch`: each request is looked up here; only the misses go to the origins, each to its own.
//!
//! One JSON document has the results in the caller's order, each with its own caption or its own problem. For
//! `Accept: application/x-ndjson` there is a line for each result as soon as it is ready, with its `index`: first what is
//! known here, then what the origins write, in whichever order they do. Who leaves before the end has the rest given up.

mod forward;
mod look_up;

use std::rc::Rc;

use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use lede_shared::api::{BATCH_BODY_BYTES_MAX, BatchItem, BatchRequest, BatchResponse};
use lede_shared::headers::{CACHE_STATUS, NDJSON, accept_names};
use lede_shared::plan::Scope;
use lede_shared::signature::Claims;

use self::forward::{Forwarded, forward};
use self::look_up::{Pending, Sorted, look_up_all};
use super::captions::after_origin;
use crate::auth::{Principal, authenticate, require};
use crate::body::receive_json;
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{ACCEPT, Body, CACHE_CONTROL, CONTENT_TYPE, Headers, Request, Response, to_json};
use crate::ndjson::{Pieces, push_line};
use crate::origin_client;
use crate::quota::{self, Charge, Cost};

/// Answers a batch.
pub(crate) async fn batch(context: &Rc<RequestContext>, request: Request) -> Result<Response, Failure> {
    let principal = authenticate(context, &request.headers).await?;
    require(&principal, Scope::Captions)?;
    let wants_lines = request.headers.get(ACCEPT).is_some_and(|accept| accept_names(accept, NDJSON));
    let body = receive_json(context.bindings.clock.as_ref(), request, BATCH_BODY_BYTES_MAX).await?;
    let requests = BatchRequest::from_json(&body)?;
    principal.record.plan.takes_batch_of(requests.items.len())?;
    let looking_up = look_up_all(context, &principal, requests.items);
    let mut sorted = context.timed(&context.spans.cache_ms, looking_up).await;
    let bill = charge(context, &principal, &mut sorted).await?;
    let claims = origin_client::claims(context, &principal);
    revalidate_behind(context, &claims, std::mem::take(&mut sorted.stale));
    Ok(if wants_lines {
        as_lines(context, &claims, (sorted, bill))
    } else {
        as_document(context, &claims, (sorted, bill)).await
    })
}

/// One charge for all that was found and one for all that has to be generated. When only the second is refused, its items
/// are, each with the refusal.
async fn charge(
    context: &Rc<RequestContext>,
    principal: &Principal,
    sorted: &mut Sorted,
) -> Result<Bill, Failure> {
    if sorted.hits > 0 {
        quota::charge(context, principal, Cost::Hits(sorted.hits)).await?.spend();
    }
    if sorted.misses.is_empty() {
        return Ok(Bill::default());
    }
    match quota::charge(context, principal, Cost::GeneratedVariants(sorted.variants_missing())).await {
        Ok(charge) => Ok(Bill { charge: Some(charge), cells: 0 }),
        // Nothing to answer with but the refusal.
        Err(failure) if sorted.results.is_empty() && sorted.has_nothing_stale() => Err(failure),
        Err(failure) => {
            sorted.refuse_misses(context, &failure.problem);
            Ok(Bill::default())
        }
    }
}

/// What the misses were charged with, and what they turn out to be worth. Who leaves before the end pays all of it.
#[derive(Default)]
struct Bill {
    charge: Option<Charge>,
    cells: u64,
}

impl Bill {
    fn settle(self) {
        if let Some(charge) = self.charge {
            charge.settle(self.cells);
        }
    }
}

/// All results in the order of the requests.
async fn as_document(
    context: &Rc<RequestContext>,
    claims: &Claims,
    (mut sorted, mut bill): (Sorted, Bill),
) -> Response {
    let misses = std::mem::take(&mut sorted.misses);
    let mut results = std::mem::take(&mut sorted.results);
    let (mut is_stored, mut origins_status) = (false, None);
    if !misses.is_empty() {
        let forwarded = forward(context, claims, misses).for_each(|forwarded| {
            let Forwarded { items, cost, is_stored: one_is_stored, cache_status } = forwarded;
            results.extend(items);
            bill.cells += cost.cells();
            is_stored |= one_is_stored;
            origins_status = origins_status.take().or(cache_status);
            ready(())
        });
        context.timed(&context.spans.origin_ms, forwarded).await;
    }
    bill.settle();
    results.sort_by_key(|item| item.index);
    let response = Response::json(to_json(&BatchResponse { results })).with(CACHE_CONTROL, "no-store");
    let ours = sorted.cache_status(is_stored);
    with_cache_status(response, ours.map(|ours| after_origin(origins_status, ours)))
}

/// The results as they come.
fn as_lines(context: &Rc<RequestContext>, claims: &Claims, (mut sorted, bill): (Sorted, Bill)) -> Response {
    let cache_status = sorted.cache_status(false);
    let known = std::mem::take(&mut sorted.results);
    let forwarded = forward(context, claims, sorted.misses).map(Some).chain(stream::iter([None]));
    let billed = forwarded.scan(bill, |bill, forwarded| ready(billed_lines(bill, forwarded)));
    let pieces = stream::iter((!known.is_empty()).then(|| lines_of(&known))).chain(billed);
    let response = Response {
        status: 200,
        headers: Headers(vec![(CONTENT_TYPE, NDJSON.to_owned()), (CACHE_CONTROL, "no-store".to_owned())]),
        body: Body::Streamed(Box::new(Pieces(pieces.boxed_local()))),
    };
    with_cache_status(response, cache_status)
}

/// The lines of what came, put on the bill; the bill is settled when nothing more comes.
fn billed_lines(bill: &mut Bill, forwarded: Option<Forwarded>) -> Option<Vec<u8>> {
    let Some(Forwarded { items, cost, .. }) = forwarded else {
        std::mem::take(bill).settle();
        return None;
    };
    bill.cells += cost.cells();
    Some(lines_of(&items))
}

fn lines_of(items: &[BatchItem]) -> Vec<u8> {
    let mut lines = Vec::new();
    items.iter().for_each(|item| push_line(&mut lines, item));
    lines
}

fn with_cache_status(response: Response, cache_status: Option<String>) -> Response {
    match cache_status {
        Some(cache_status) => response.with(CACHE_STATUS, cache_status),
        None => response,
    }
}

/// The caller has answers already; failures here are in the log, and the next caller tries again.
fn revalidate_behind(context: &Rc<RequestContext>, claims: &Claims, stale: Vec<Pending>) {
    if !stale.is_empty() {
        context.behind(forward(context, claims, stale).for_each(|_| ready(())));
    }
}
