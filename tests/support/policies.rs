//! What other ways of choosing what to keep make of a trace: the yardsticks of the response cache.

use std::collections::BTreeSet;

use crate::traces::{Trace, TraceRequest};

/// How a trace fared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fared {
    /// Requests.
    pub requests: u64,
    /// Those that found their answer.
    pub hits: u64,
    /// Device time that all requests would take.
    pub device_ms: u64,
    /// Device time that the hits saved.
    pub saved_device_ms: u64,
}

impl Fared {
    /// Counts one request.
    pub fn count(&mut self, request: &TraceRequest, is_hit: bool) {
        self.requests += 1;
        self.device_ms += u64::from(request.device_ms);
        if is_hit {
            self.hits += 1;
            self.saved_device_ms += u64::from(request.device_ms);
        }
    }

    /// Hits among requests, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "traces have millions of requests")]
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / self.requests.max(1) as f64
    }

    /// Saved among all device time, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "traces have millions of requests")]
    pub fn saved_rate(&self) -> f64 {
        self.saved_device_ms as f64 / self.device_ms.max(1) as f64
    }
}

/// Asks `is_hit` for each request in order; it is to keep what it misses, if it likes.
pub fn replay(trace: &Trace, mut is_hit: impl FnMut(&TraceRequest) -> bool) -> Fared {
    let mut fared = Fared::default();
    for request in &trace.requests {
        fared.count(request, is_hit(request));
    }
    fared
}

/// What is kept, in the order in which it would be given up: the lowest worth first.
struct ByWorth {
    order: BTreeSet<(u64, u32)>,
    /// By key; none for what is not kept.
    worth: Vec<Option<u64>>,
    bytes: u64,
    bytes_max: u64,
}

impl ByWorth {
    fn new(trace: &Trace, bytes_max: u64) -> Self {
        Self { order: BTreeSet::new(), worth: vec![None; trace.keys()], bytes: 0, bytes_max }
    }

    fn holds(&self, key: u32) -> bool {
        self.worth[key as usize].is_some()
    }

    /// Keeps the request's answer at this worth, new or again.
    fn keep(&mut self, request: &TraceRequest, worth: u64) {
        let before = self.worth[request.key as usize].replace(worth);
        match before {
            Some(before) => {
                self.order.remove(&(before, request.key));
            }
            None => self.bytes += u64::from(request.bytes),
        }
        self.order.insert((worth, request.key));
    }

    /// Gives up the lowest until the rest fits; returns the worth of the last that went.
    fn shrink(&mut self, bytes_of: &[u32]) -> Option<u64> {
        let mut last = None;
        while self.bytes > self.bytes_max {
            let Some((worth, key)) = self.order.pop_first() else { break };
            self.worth[key as usize] = None;
            self.bytes -= u64::from(bytes_of[key as usize]);
            last = Some(worth);
        }
        last
    }
}

fn bytes_by_key(trace: &Trace) -> Vec<u32> {
    let mut bytes = vec![0; trace.keys()];
    for request in &trace.requests {
        bytes[request.key as usize] = request.bytes;
    }
    bytes
}

/// Gives up what was used longest ago.
#[must_use]
pub fn least_recently_used(trace: &Trace, bytes_max: u64) -> Fared {
    let bytes_of = bytes_by_key(trace);
    let mut kept = ByWorth::new(trace, bytes_max);
    let mut now = 0;
    replay(trace, |request| {
        now += 1;
        let is_hit = kept.holds(request.key);
        kept.keep(request, now);
        kept.shrink(&bytes_of);
        is_hit
    })
}

/// Greedy-Dual-Size-Frequency (Cherkasova 1998) with device time for the cost: worth is frequency × device milliseconds ÷
/// bytes on top of the worth of what was given up last, by which all that is kept ages. With `counts_cost` off, every
/// answer costs the same.
#[must_use]
pub fn greedy_dual(trace: &Trace, bytes_max: u64, counts_cost: bool) -> Fared {
    let bytes_of = bytes_by_key(trace);
    let mut kept = ByWorth::new(trace, bytes_max);
    let mut frequency = vec![0_u64; trace.keys()];
    let mut age = 0;
    replay(trace, |request| {
        let key = request.key as usize;
        let is_hit = kept.holds(request.key);
        frequency[key] = if is_hit { frequency[key] + 1 } else { 1 };
        let cost = if counts_cost { u64::from(request.device_ms) } else { 100 };
        kept.keep(request, age + frequency[key] * cost * 1_000_000 / u64::from(request.bytes));
        age = kept.shrink(&bytes_of).unwrap_or(age);
        is_hit
    })
}

/// Gives up what is asked for again latest (Belady 1966), bytes counted.
///
/// For answers of one size nothing can do better. With sizes that differ the best choice is a knapsack and cannot be had
/// for millions of requests; this one is what can be done with knowledge of the future, and [`bound`] says how little is
/// missing.
#[must_use]
pub fn optimum(trace: &Trace, bytes_max: u64) -> Fared {
    if trace.bytes() <= bytes_max {
        // Nothing is ever given up.
        let mut seen = vec![false; trace.keys()];
        return replay(trace, |request| std::mem::replace(&mut seen[request.key as usize], true));
    }
    let bytes_of = bytes_by_key(trace);
    let next = next_uses(trace);
    let mut kept = ByWorth::new(trace, bytes_max);
    let mut now = 0;
    replay(trace, |request| {
        let is_hit = kept.holds(request.key);
        // The later, the less it is worth; what never comes again is the first to go.
        kept.keep(request, u64::MAX - next[now]);
        kept.shrink(&bytes_of);
        now += 1;
        is_hit
    })
}

/// No choice gives more hits than this: a hit needs its bytes from the request before to this one, and the intervals that
/// need least are taken until the cache's bytes, over the whole of the trace, are used up, as if it might be overfull at
/// one time when it is not full at another (PFOO-U; Berger, Beckmann and Harchol-Balter 2018).
#[must_use]
pub fn bound(trace: &Trace, bytes_max: u64) -> Fared {
    fraction_bound(trace, bytes_max, |_| 1)
}

/// The same for saved device time instead of hits.
#[must_use]
pub fn saving_bound(trace: &Trace, bytes_max: u64) -> Fared {
    fraction_bound(trace, bytes_max, |request| request.device_ms.into())
}

#[expect(clippy::cast_precision_loss, reason = "an order of quotients, of numbers far below 2^52")]
fn fraction_bound(trace: &Trace, bytes_max: u64, gain: impl Fn(&TraceRequest) -> u64) -> Fared {
    let next = next_uses(trace);
    let need = |now: usize| (next[now] - now as u64) * u64::from(trace.requests[now].bytes);
    let mut again: Vec<usize> = (0..next.len()).filter(|now| next[*now] != NEVER).collect();
    let worth = |now: &usize| gain(&trace.requests[*now]) as f64 / need(*now) as f64;
    again.sort_by(|one, other| worth(other).total_cmp(&worth(one)));
    let mut room = bytes_max.saturating_mul(trace.requests.len() as u64);
    let mut is_hit = vec![false; next.len()];
    for now in again {
        if need(now) > room {
            break;
        }
        room -= need(now);
        is_hit[usize::try_from(next[now]).unwrap_or(0)] = true;
    }
    let mut is_hit = is_hit.into_iter();
    replay(trace, |_| is_hit.next().unwrap_or_default())
}

const NEVER: u64 = u64::MAX;

/// For each request, when its key is asked for next.
fn next_uses(trace: &Trace) -> Vec<u64> {
    let mut coming = vec![NEVER; trace.keys()];
    let mut next = vec![NEVER; trace.requests.len()];
    for (now, request) in trace.requests.iter().enumerate().rev() {
        next[now] = std::mem::replace(&mut coming[request.key as usize], now as u64);
    }
    next
}
