//! Asking the origin about a key: `GET /internal/keys/{hash}`.

use std::rc::Rc;

use lede_shared::api_key::ApiKeyHash;
use lede_shared::plan::KeyRecord;
use lede_shared::problem::ProblemCode;

use super::workers_kv::Copy;
use crate::bindings::within;
use crate::context::RequestContext;
use crate::origin_client::ask_internal;

/// A caller waits for this before it waits for anything else.
const ANSWER_TIMEOUT_MS: u64 = 2_000;
/// A record has about 300 bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;

/// The origin gave no answer that says anything of the key; the cause is in the log.
pub(super) struct OriginAway;

/// What the origin says, as of when it was asked: what changes while the answer travels may not be in it.
pub(super) async fn ask(context: &RequestContext, hash: &ApiKeyHash) -> Result<Copy, OriginAway> {
    let checked_at = context.now();
    let path = ["/internal/keys/", &hash.to_string()].concat();
    let asking = ask_internal::<KeyRecord>(context, path, ANSWER_BYTES_MAX);
    match within(context.bindings.clock.as_ref(), ANSWER_TIMEOUT_MS, asking).await {
        Some(Ok(answer)) => Ok(Copy { checked_at, verdict: Some(Rc::new(answer.content)) }),
        Some(Err(failure)) if failure.problem.code == ProblemCode::NotFound => {
            Ok(Copy { checked_at, verdict: None })
        }
        Some(Err(_)) => Err(OriginAway),
        None => {
            context.warn("key_question_timed_out", "the origin did not answer in time");
            Err(OriginAway)
        }
    }
}
