//! The response cache: hot → warm → cold. It knows bytes and how long they are good for; it knows no request.

pub mod codec;
pub mod cold;
mod entry;
mod hot;
pub mod lease;
pub mod single_flight;
mod tiered;
mod warm;

pub use cold::{ColdChoice, ColdSettings};
pub use entry::{Entry, Found, Tier};
pub use hot::HotTier;
pub use tiered::{MemorySettings, TieredCache};
pub use warm::WarmTier;
