//! What one isolate remembers between requests. The platform may forget all of it at any moment, and other isolates know
//! nothing of it: it may make an answer quicker or cheaper, never different.
//!
//! Values only. What one request waits for is cancelled with it, so nothing here is a future.

use crate::auth::KnownKeys;
use crate::origin_client::OriginPool;
use crate::quota::QuotaMemory;
use crate::response_cache;

/// The memory of one isolate. Each part belongs to one room and has a limit of its own.
#[derive(Debug, Default)]
pub(crate) struct Isolate {
    /// What is known of API keys.
    pub(crate) keys: KnownKeys,
    /// Leases of the tenants' quotas.
    pub(crate) quota: QuotaMemory,
    /// Captions, how popular they are, and which were purged.
    pub(crate) response_cache: response_cache::Memory,
    /// What is known of the origins; as many entries as there are origins.
    pub(crate) pool: OriginPool,
}
