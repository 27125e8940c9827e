//! From a hash to what the key is good for, tier by tier.

use std::rc::Rc;

use lede_shared::api_key::ApiKeyHash;
use lede_shared::clock::UnixMillis;
use lede_shared::key_standing::{KeyLifetimes, Standing};
use lede_shared::problem::{Problem, ProblemCode};

use super::Verdict;
use super::known_keys::{KnownKey, KnownKeys};
use super::origin::{self, OriginAway};
use super::workers_kv::{self, Copy};
use crate::context::RequestContext;
use crate::error::Failure;
use crate::flood;
use crate::http::Headers;

/// How long a request waits for another one of its isolate that asks about the same key, before it asks itself.
const NEIGHBOUR_POLL_MS: u64 = 20;
const NEIGHBOUR_POLLS_MAX: u32 = 25;
const RETRY_AFTER_S: u32 = 5;

/// What the isolate can say at once. A record that is getting old is renewed behind the answer.
pub(super) fn remembered(context: &Rc<RequestContext>, hash: &ApiKeyHash) -> Option<Verdict> {
    let (keys, now) = (memory(context), context.now());
    let Some(key) = keys.known(hash) else {
        let refused_at = keys.refused_at(hash)?;
        return KeyLifetimes::still_refused(refused_at, now).then_some(None);
    };
    match context.config.key_lifetimes.standing(key.checked_at, now) {
        Standing::Fresh => {}
        Standing::Ageing => renew_behind(context, hash),
        Standing::Stale if keys.origin_is_away(now) => {
            context.warn("key_relied_on_in_outage", "the origin could not be asked just now");
        }
        Standing::Stale | Standing::Expired => return None,
    }
    Some(Some(key.record))
}

/// What can be learned elsewhere.
///
/// # Errors
/// 429 when too many strangers came from there; 503 when nothing is known of the key and the origin cannot be asked.
pub(super) async fn learned(
    context: &Rc<RequestContext>,
    headers: &Headers,
    hash: &ApiKeyHash,
) -> Result<Verdict, Failure> {
    if let Some(verdict) = from_neighbour(context, hash).await {
        return Ok(verdict);
    }
    let _asking = memory(context).ask(*hash, context.now());
    let known = memory(context).known(hash).map(Copy::from);
    if known.is_some() {
        return settle(context, hash, known).await;
    }
    let stored = workers_kv::read(context, hash).await;
    if let Some(copy) = &stored
        && let Some(verdict) = still_good(context, copy)
    {
        remember(context, hash, copy, Some(copy.checked_at));
        return Ok(verdict);
    }
    if stored.as_ref().is_none_or(|copy| copy.verdict.is_none()) {
        // Nobody knows them: what they may ask of the origin is counted under their address.
        flood::admit_stranger(context, headers).await?;
    }
    settle(context, hash, stored).await
}

/// Lets the origin decide, or, when it is away, what it said last.
async fn settle(
    context: &Rc<RequestContext>,
    hash: &ApiKeyHash,
    before: Option<Copy>,
) -> Result<Verdict, Failure> {
    match ask(context, hash, before.as_ref()).await {
        Ok(verdict) => Ok(verdict),
        Err(OriginAway) => last_word(context, hash, before).await.ok_or_else(cannot_be_checked),
    }
}

/// Asks the origin and sees to it that the answer is remembered here and, where it is news, in Workers KV.
async fn ask(
    context: &Rc<RequestContext>,
    hash: &ApiKeyHash,
    before: Option<&Copy>,
) -> Result<Verdict, OriginAway> {
    let keys = memory(context);
    let answer = origin::ask(context, hash).await.inspect_err(|_| keys.origin_failed(context.now()))?;
    keys.origin_answered();
    // Another request may have learned of the key meanwhile, so the memory is asked only now.
    let known = keys.known(hash);
    let was_known = known.is_some() || before.is_some_and(|copy| copy.verdict.is_some());
    let kept_at =
        known.filter(|known| Some(&known.record) == answer.verdict.as_ref()).and_then(|known| known.kept_at);
    remember(context, hash, &answer, kept_at);
    let is_news = match answer.verdict {
        Some(_) => workers_kv::is_due(kept_at, context.now()),
        // A stranger leaves no trace. Who was known must not come to life again when the origin is away.
        None => was_known,
    };
    if is_news {
        keep_behind(context, *hash, answer.clone());
    }
    Ok(answer.verdict)
}

/// What the origin said last, here or elsewhere. Also when the isolate knows the key: another one may have learned that
/// it is revoked.
async fn last_word(context: &RequestContext, hash: &ApiKeyHash, before: Option<Copy>) -> Option<Verdict> {
    let stored = workers_kv::read(context, hash).await;
    let latest = [before, stored].into_iter().flatten().max_by_key(|copy| copy.checked_at)?;
    if context.config.key_lifetimes.standing(latest.checked_at, context.now()) == Standing::Expired {
        return None;
    }
    context.warn("key_relied_on_in_outage", "the origin cannot be asked");
    remember(context, hash, &latest, None);
    Some(latest.verdict)
}

/// The next caller should not have to wait.
fn renew_behind(context: &Rc<RequestContext>, hash: &ApiKeyHash) {
    let (keys, now) = (memory(context), context.now());
    if keys.is_being_asked(hash, now) || keys.origin_is_away(now) {
        return;
    }
    let (behind, hash) = (Rc::clone(context), *hash);
    context.behind(async move {
        let _asking = memory(&behind).ask(hash, behind.now());
        // A failure is in the log, and what is known holds.
        let _ = ask(&behind, &hash, None).await;
    });
}

fn keep_behind(context: &Rc<RequestContext>, hash: ApiKeyHash, copy: Copy) {
    let behind = Rc::clone(context);
    context.behind(async move {
        if let Some(kept_at) = workers_kv::keep(&behind, &hash, &copy).await {
            memory(&behind).kept(&hash, kept_at);
        }
    });
}

/// While another request of this isolate asks about the same key, looks again and again whether it has an answer. Its
/// own future is not to be waited for: the platform cancels it with its request.
async fn from_neighbour(context: &Rc<RequestContext>, hash: &ApiKeyHash) -> Option<Verdict> {
    for _ in 0..NEIGHBOUR_POLLS_MAX {
        if !memory(context).is_being_asked(hash, context.now()) {
            break;
        }
        context.bindings.clock.sleep(NEIGHBOUR_POLL_MS).await;
        if let Some(verdict) = remembered(context, hash) {
            return Some(verdict);
        }
    }
    None
}

/// Is a copy from Workers KV as good as an answer of the origin?
fn still_good(context: &RequestContext, copy: &Copy) -> Option<Verdict> {
    let now = context.now();
    let good = match copy.verdict {
        Some(_) => {
            let standing = context.config.key_lifetimes.standing(copy.checked_at, now);
            matches!(standing, Standing::Fresh | Standing::Ageing)
        }
        None => KeyLifetimes::still_refused(copy.checked_at, now),
    };
    good.then(|| copy.verdict.clone())
}

fn remember(context: &RequestContext, hash: &ApiKeyHash, copy: &Copy, kept_at: Option<UnixMillis>) {
    match &copy.verdict {
        Some(record) => {
            let key = KnownKey { checked_at: copy.checked_at, record: Rc::clone(record), kept_at };
            memory(context).remember(*hash, key);
        }
        None => memory(context).refuse(*hash, copy.checked_at),
    }
}

fn memory(context: &RequestContext) -> &KnownKeys {
    &context.bindings.isolate.keys
}

fn cannot_be_checked() -> Failure {
    let detail = "the key cannot be checked at the moment; try again";
    Problem::new(ProblemCode::OriginUnavailable, detail).retry_after(RETRY_AFTER_S).into()
}

impl From<KnownKey> for Copy {
    fn from(key: KnownKey) -> Self {
        Self { checked_at: key.checked_at, verdict: Some(key.record) }
    }
}
