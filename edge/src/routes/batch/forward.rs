//! What is not known here, asked of the origins.
//!
//! Each origin is asked for its own keys in one request and answers line by line. What it has not answered when it fails
//! is asked of the next.

use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt, stream};
use lede_shared::api::{BatchItem, BatchOutcome, BatchRequest, CaptionResponse};
use lede_shared::clock::UnixMillis;
use lede_shared::freshness::Cacheability;
use lede_shared::headers::CACHE_STATUS;
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::signature::Claims;

use super::super::captions::store_behind;
use super::look_up::Pending;
use crate::bindings::within;
use crate::context::RequestContext;
use crate::ndjson::LineReader;
use crate::origin_client::{self, LINE_BYTES_MAX, OriginRequest, Sent};
use crate::quota::Cost;
use crate::response_cache;

/// The platform opens no more connections at once for one request.
const GROUPS_AT_ONCE_MAX: usize = 6;
/// How often what is left of a group is asked for.
const ROUNDS_MAX: u32 = 3;

/// The answer to one request of the batch.
pub(super) struct Forwarded {
    /// One for each item that asked for it.
    pub(super) items: Vec<BatchItem>,
    /// What it was worth: what was not generated for this batch costs what a hit costs.
    pub(super) cost: Cost,
    pub(super) is_stored: bool,
    /// What the origin's cache did for the batch that this came with.
    pub(super) cache_status: Option<String>,
}

/// The answers to `pending` as they come. Those that may be stored are stored behind the answer.
pub(super) fn forward(
    context: &Rc<RequestContext>,
    claims: &Claims,
    pending: Vec<Pending>,
) -> impl Stream<Item = Forwarded> + 'static {
    let deadline = context.origin_deadline();
    let groups = by_origin(context, pending).into_iter().map(|(turns, pending)| Group {
        context: Rc::clone(context),
        claims: claims.clone(),
        deadline,
        turns,
        pending: pending.into_iter().map(Some).collect(),
        opened: None,
        rounds_left: ROUNDS_MAX,
        given_up: None,
    });
    let groups: Vec<Group> = groups.collect();
    stream::iter(groups).flat_map_unordered(GROUPS_AT_ONCE_MAX, |group| {
        unfold(group, |mut group| async move { group.next().await.map(|forwarded| (forwarded, group)) })
            .boxed_local()
    })
}

/// Those that go to the same origin first, and whom to ask after it.
fn by_origin(context: &RequestContext, pending: Vec<Pending>) -> Vec<(VecDeque<usize>, Vec<Pending>)> {
    let mut groups: Vec<(VecDeque<usize>, Vec<Pending>)> = Vec::new();
    for pending in pending {
        let turns = origin_client::turns_of(context, &pending.wanted.key);
        match groups.iter_mut().find(|(known, _)| known.front() == turns.first()) {
            Some((_, group)) => group.push(pending),
            None => groups.push((turns.into(), vec![pending])),
        }
    }
    groups
}

/// The requests that go to one origin.
struct Group {
    context: Rc<RequestContext>,
    claims: Claims,
    deadline: UnixMillis,
    turns: VecDeque<usize>,
    /// `None` for what is answered.
    pending: Vec<Option<Pending>>,
    opened: Option<Opened>,
    rounds_left: u32,
    /// Nobody is asked any more: what the rest is told.
    given_up: Option<Problem>,
}

/// An answer that is being read.
struct Opened {
    lines: LineReader,
    origin: usize,
    created: UnixMillis,
    cache_status: Option<String>,
    /// Which of the group's requests each index of the answer stands for.
    asked: Vec<usize>,
}

impl Group {
    /// The next answer; `None` when all have theirs.
    async fn next(&mut self) -> Option<Forwarded> {
        loop {
            if self.pending.iter().all(Option::is_none) {
                return None;
            }
            if let Some(problem) = self.given_up.clone() {
                let pending = self.pending.iter_mut().find_map(Option::take)?;
                return Some(self.answered(&pending, BatchOutcome::Problem(problem)));
            }
            let Some(opened) = &mut self.opened else {
                self.open().await;
                continue;
            };
            // While another origin could answer, one that stalls gets half of the time that is left.
            let left_ms = self.deadline.since(self.context.now());
            let idle_ms = if self.turns.len() > 1 && self.rounds_left > 0 { left_ms / 2 } else { left_ms };
            let read = within(self.context.bindings.clock.as_ref(), idle_ms, opened.next()).await;
            match read.unwrap_or_else(|| Err("no line came in time".to_owned())) {
                Ok((place, outcome)) => {
                    if let Some(pending) = self.pending.get_mut(place).and_then(Option::take) {
                        return Some(self.answered(&pending, outcome));
                    }
                    self.left("an item was answered twice");
                }
                Err(cause) => self.left(&cause),
            }
        }
    }

    /// Asks for all that is still unanswered.
    async fn open(&mut self) {
        self.rounds_left -= 1;
        let unanswered =
            self.pending.iter().enumerate().filter_map(|(place, pending)| Some((place, pending.as_ref()?)));
        let (asked, requests): (Vec<usize>, Vec<_>) =
            unanswered.map(|(place, pending)| (place, &pending.wanted.request)).unzip();
        let turns = self.turns.iter().copied().collect();
        let request = OriginRequest::batch(BatchRequest::to_json(requests), turns, self.deadline);
        match origin_client::send(&self.context, &self.claims, &request).await {
            Ok(Sent { response, origin, created }) => {
                let cache_status = response.headers.get(CACHE_STATUS).map(str::to_owned);
                let Some(body) = response.body else { return self.left("an answer without a body") };
                let lines = LineReader::new(body, LINE_BYTES_MAX);
                self.opened = Some(Opened { lines, origin, created, cache_status, asked });
            }
            Err(failure) => self.given_up = Some(failure.problem),
        }
    }

    /// The answer is of no more use: the rest is asked of another, if time and the retry budget are left.
    fn left(&mut self, cause: &str) {
        let is_over = self.context.now() >= self.deadline;
        let Some(Opened { origin, .. }) = self.opened.take() else { return };
        self.turns.retain(|turn| *turn != origin);
        self.turns.push_back(origin);
        let may_go_on = origin_client::leave_broken_off(&self.context, origin, cause) && self.rounds_left > 0;
        if is_over {
            let detail = "the origin did not answer in time";
            self.given_up = Some(Problem::new(ProblemCode::DeadlineExceeded, detail));
        } else if !may_go_on {
            self.given_up = Some(origin_client::unreadable(&self.context, "nobody else is asked").problem);
        }
    }

    fn answered(&self, pending: &Pending, outcome: BatchOutcome) -> Forwarded {
        let context = &self.context;
        let answer = match outcome {
            BatchOutcome::Response(response) => Ok(*response),
            BatchOutcome::Problem(problem) => Err(problem),
        };
        let cost = match &answer {
            Ok(response) if !response.performance_metrics.cache_hit => {
                Cost::GeneratedVariants(u32::from(pending.wanted.request.variants()))
            }
            _ => Cost::Hits(pending.count()),
        };
        let is_stored = answer.as_ref().is_ok_and(|response| self.store(pending, response));
        let answer = pending.or_stale(context, answer);
        let cache_status = self.opened.as_ref().and_then(|opened| opened.cache_status.clone());
        Forwarded { items: pending.items(&answer), cost, is_stored, cache_status }
    }

    fn store(&self, pending: &Pending, response: &CaptionResponse) -> bool {
        let context = &self.context;
        let Some(opened) = &self.opened else { return false };
        let verdict = response_cache::storable(context, &pending.wanted.request, response);
        let is_storable = verdict == Cacheability::Storable;
        if is_storable {
            let freshness = context.config.lifetimes.record(opened.created);
            response_cache::revalidated(context, &pending.wanted.key);
            store_behind(context, pending.wanted.key, freshness, response);
        }
        is_storable
    }
}

impl Opened {
    /// The place in the group of the item that was answered next, and its answer.
    async fn next(&mut self) -> Result<(usize, BatchOutcome), String> {
        let line = self.lines.next().await.map_err(|error| error.cause_chain())?;
        let line = line.ok_or("the answer ended before all items were answered")?;
        let item: BatchItem = serde_json::from_slice(&line).map_err(|error| {
            // The error's own words may quote a caption.
            format!("a line is not of the contract, column {}", error.column())
        })?;
        let place = self.asked.get(item.index).ok_or("an item was answered that nobody asked for")?;
        Ok((*place, item.outcome))
    }
}
