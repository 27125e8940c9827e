//! Traces asked of the origin's own response cache, without a cold tier.

use std::time::Duration;

use bytes::Bytes;
use lede_origin::cache::{Entry, MemorySettings, TieredCache};
use lede_shared::cache_key::CacheKey;
use lede_shared::freshness::FreshnessRecord;
use lede_tests::policies::{Fared, replay};
use lede_tests::traces::{Trace, TraceRequest};
use sha2::{Digest, Sha256};

/// The default sizes, with idle times that no replay lasts for.
pub(crate) const DEFAULT_SIZE: MemorySettings = MemorySettings {
    hot_entries_max: 10_000,
    hot_idle: Duration::from_secs(24 * 3_600),
    warm_bytes_max: 64 * 1_024 * 1_024,
    warm_idle: Duration::from_secs(24 * 3_600),
};

/// What an entry of the warm tier takes besides what the trace says, at the least: the library's books and the key.
const OVERHEAD_BYTES: u32 = 128;

/// What the optimum may use where the cache has these bounds: the bytes of both tiers, as if none held a copy of what the
/// other has.
pub(crate) fn bytes_in_all(trace: &Trace, memory: &MemorySettings) -> u64 {
    memory.warm_bytes_max + memory.hot_entries_max * (trace.bytes() / trace.keys() as u64)
}

/// The trace with what each entry takes besides its bytes.
pub(crate) fn weighed(mut trace: Trace) -> Trace {
    for request in &mut trace.requests {
        request.bytes += OVERHEAD_BYTES;
    }
    trace
}

/// The trace as the cache sees it: keys are hashes, and what cannot be compressed any more is as long as the trace says.
#[derive(Debug)]
pub(crate) struct CachedTrace {
    keys: Vec<CacheKey>,
    noise: Bytes,
}

impl CachedTrace {
    /// Of a [`weighed`] trace.
    pub(crate) fn new(trace: &Trace) -> Self {
        let numbers = 0..u32::try_from(trace.keys()).unwrap();
        let keys = numbers.map(|number| CacheKey(Sha256::digest(number.to_be_bytes()).into())).collect();
        let noise = (0_u32..64).flat_map(|number| Sha256::digest(number.to_le_bytes())).collect();
        Self { keys, noise }
    }

    /// Asks for everything in turn and keeps what is missed.
    pub(crate) fn replayed(&self, trace: &Trace, cache: &TieredCache) -> Fared {
        replay(trace, |request| {
            let key = &self.keys[request.key as usize];
            let is_hit = cache.in_memory(key).is_some();
            if !is_hit {
                cache.put(*key, self.entry(request));
            }
            is_hit
        })
    }

    fn entry(&self, request: &TraceRequest) -> Entry {
        let freshness = FreshnessRecord {
            created_ms: lede_origin::clock::now(),
            fresh_for_ms: 24 * 3_600_000,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
        };
        // What the codec and the tier add is theirs to add.
        let body = self.noise.slice(..self.noise.len().min((request.bytes - OVERHEAD_BYTES) as usize));
        Entry { body, freshness, device_ms: request.device_ms }
    }
}
