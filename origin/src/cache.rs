//! The response cache: hot → warm → cold. It knows bytes and how long they are good for; it knows no request.

pub mod codec;
pub mod cold;
mod entry;
pub mod ghost;
mod hot;
mod key_hash;
pub mod lease;
mod leb128;
pub mod single_flight;
pub mod stats;
mod tiered;
mod warm;
pub mod worth;

pub use cold::{ColdChoice, ColdSettings};
pub use entry::{Entry, Found, Tier};
pub use hot::HotTier;
pub use stats::CacheStats;
pub use tiered::{MemorySettings, TieredCache};
pub use warm::{Encoded, WarmStats, WarmTier};
