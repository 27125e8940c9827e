//! The only place that asks what time it is for records and signatures. Durations use `Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

use lede_shared::clock::UnixMillis;

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[must_use]
pub fn now() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
