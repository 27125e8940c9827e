//! The response cache. It knows bytes and how long they are good for; it knows no request.

mod entry;
mod hot;
pub mod lease;
pub mod single_flight;

pub use entry::Entry;
pub use hot::HotTier;
