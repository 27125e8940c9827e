//! The response cache. It knows bytes and how long they are good for; it knows no request.

mod entry;
pub mod ghost;
mod hot;
pub mod single_flight;

pub use entry::Entry;
pub use hot::HotTier;
