//! The first layer of limits: the platform's own limiter, cheap and rough, against floods. It keeps somebody's thousand
//! requests a second from our memory and from the tenant's Durable Object; the exact quota comes after it.

use lede_shared::api_key::ApiKeyHash;
use lede_shared::problem::{Problem, ProblemCode};

use crate::bindings::{FloodLimiter, within};
use crate::context::RequestContext;
use crate::error::Failure;
use crate::http::{CF_CONNECTING_IP, Headers};

/// The period of both limiters in `wrangler.toml`.
const PERIOD_S: u32 = 10;
/// How long a request waits for the limiter, which is part of the data centre.
const FLOOD_WAIT_MS: u64 = 250;
/// Where an address should be and is none: everybody without one counts together.
const NO_ADDRESS: &str = "none";

/// Counts a request under its API key.
///
/// # Errors
/// 429 when there were too many in this data centre.
pub(crate) async fn admit_key(context: &RequestContext, hash: &ApiKeyHash) -> Result<(), Failure> {
    admit(context, context.bindings.flood_of_keys.as_ref(), &hash.to_string(), "with this API key").await
}

/// Counts a request of somebody whose API key is missing or not known (yet) under the address it came from.
///
/// # Errors
/// 429 when there were too many in this data centre.
pub(crate) async fn admit_stranger(context: &RequestContext, headers: &Headers) -> Result<(), Failure> {
    let address = headers.get(CF_CONNECTING_IP).unwrap_or(NO_ADDRESS);
    let limiter = context.bindings.flood_of_strangers.as_ref();
    admit(context, limiter, address, "without a known API key from this address").await
}

/// A limiter that fails lets everybody through.
async fn admit(
    context: &RequestContext,
    limiter: &dyn FloodLimiter,
    name: &str,
    whose: &str,
) -> Result<(), Failure> {
    match within(context.bindings.clock.as_ref(), FLOOD_WAIT_MS, limiter.allows(name)).await {
        Some(Ok(true)) => Ok(()),
        Some(Ok(false)) => {
            let detail = format!("too many requests {whose}; try again in {PERIOD_S} s");
            Err(Problem::new(ProblemCode::RateLimited, detail).retry_after(PERIOD_S).into())
        }
        Some(Err(error)) => {
            context.warn("flood_limiter_failed", &error.to_string());
            Ok(())
        }
        None => {
            context.warn("flood_limiter_failed", "no answer in time");
            Ok(())
        }
    }
}
