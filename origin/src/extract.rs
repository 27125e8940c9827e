//! What handlers take out of a request: who asks, the body, how the answer is wanted.

mod admin;
mod asking;
mod authenticator;
mod body;
mod principal;

pub use admin::AdminDoor;
pub use asking::asking;
pub use authenticator::Authenticator;
pub use body::AuthorizedBody;
pub use principal::{Principal, Via};
