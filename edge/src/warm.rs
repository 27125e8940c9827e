//! Warming: a cron event asks every origin for its most popular captions and writes to Workers KV those that it does not
//! hold fresh, so that data centres where nobody has asked yet have them. Each origin answers for its own part of the keys.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::{StreamExt, stream};
use lede_shared::api::{POPULAR_PATH, PopularCaption, PopularCaptions, ValidRequest};
use lede_shared::freshness::Cacheability;

use crate::bindings::Bindings;
use crate::config::{Config, ConfigError};
use crate::context::{RequestContext, Trace};
use crate::http::Headers;
use crate::origin_client;
use crate::response_cache::{self, Warmed};

/// Captions asked for are more than may be written: most of them lie in Workers KV already.
const CAPTIONS_PER_WRITE: u64 = 2;
/// So many captions with eight variants each would be more; those that are popular are not like that.
const ANSWER_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// The platform opens no more connections at once for one event.
const WORKERS_KV_CALLS_AT_ONCE: usize = 6;

/// What one cron event has done, for the log.
#[derive(Debug, Default)]
struct Counts {
    asked: Cell<u64>,
    written: Cell<u64>,
    fresh_already: Cell<u64>,
    not_storable: Cell<u64>,
    failed: Cell<u64>,
    over_budget: Cell<u64>,
}

/// Warms Workers KV. Whatever fails is a log line; the next event tries again.
pub(crate) async fn warm(config: Result<Rc<Config>, ConfigError>, bindings: Bindings) {
    let headers = Headers::default();
    let trace = Trace::of(&headers, &bindings);
    match config {
        Ok(config) => warm_within(&RequestContext::new(config, bindings, trace, &headers)).await,
        Err(error) => bindings.log.write(&not_configured(&error)),
    }
}

fn not_configured(error: &ConfigError) -> String {
    serde_json::json!({ "severity": "error", "event": "not_configured", "cause": error.to_string() }).to_string()
}

async fn warm_within(context: &Rc<RequestContext>) {
    let epoch = response_cache::shared_epoch(context).await;
    let origins_count = context.config.origins.len();
    let writes_max = context.config.warm_writes_max;
    let captions_max = (writes_max * CAPTIONS_PER_WRITE).div_ceil(origins_count as u64);
    // One budget for all: what one origin's captions leave of it is the next one's.
    let (counts, budget) = (Counts::default(), Cell::new(writes_max));
    let mut has_answer = false;
    for origin in 0..origins_count {
        let path = format!("{POPULAR_PATH}?limit={captions_max}&epoch={epoch}");
        // A failure is in the log already.
        let asked =
            origin_client::ask_internal_of::<PopularCaptions>(context, origin, path, ANSWER_BYTES_MAX).await;
        let Ok(answer) = asked else { continue };
        has_answer = true;
        let warm = |caption| warm_one(context, epoch, caption, (&counts, &budget));
        stream::iter(answer.content.captions).for_each_concurrent(WORKERS_KV_CALLS_AT_ONCE, warm).await;
    }
    if has_answer {
        context.info("warmed", &counts.to_string());
    }
}

async fn warm_one(
    context: &Rc<RequestContext>,
    epoch: u64,
    caption: PopularCaption,
    (counts, budget): (&Counts, &Cell<u64>),
) {
    count(&counts.asked);
    let storable = |request: &ValidRequest| {
        response_cache::storable(context, request, &caption.response) == Cacheability::Storable
    };
    let Some(request) = caption.request().validate().ok().filter(storable) else {
        return count(&counts.not_storable);
    };
    let key = response_cache::key_under(context, epoch, None, &request);
    let freshness = context.config.lifetimes.record(caption.created_ms);
    let outcome = response_cache::warm(context, &key, (freshness, &caption.response), budget).await;
    count(match outcome {
        Warmed::Written => &counts.written,
        Warmed::FreshAlready => &counts.fresh_already,
        Warmed::NotFresh => &counts.not_storable,
        Warmed::Failed => &counts.failed,
        Warmed::OverBudget => &counts.over_budget,
    });
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl std::fmt::Display for Counts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, written, fresh_already, not_storable, failed, over_budget } = self;
        let named = [
            ("captions", asked),
            ("written", written),
            ("fresh_already", fresh_already),
            ("not_storable", not_storable),
            ("failed", failed),
            ("over_budget", over_budget),
        ];
        for (index, (name, counter)) in named.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{name} {}", counter.get())?;
        }
        Ok(())
    }
}
