//! API keys: the origin's store is the truth about them, and the edge asks here.
//!
//! The store is a file of TOML that people may write in and that `lede-origin keys …` edits without touching the rest
//! of it. It holds hashes, never keys.

mod desk;
mod file;
mod rewriting;
mod store;

pub use desk::{KeyDesk, NewKey, Terms};
pub use file::{KeySet, PLAN_DEFAULT, StoredKey};
pub use store::KeyStore;

use std::io;
use std::path::Path;

/// Something about the store of keys. One line, for the operator; repeats no hash and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

impl KeysError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}
