//! What a store behind the cold tier does.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lede_shared::cache_key::CacheKey;

/// An entry to be kept.
#[derive(Clone, Debug)]
pub struct ColdWrite {
    /// Under which key.
    pub key: CacheKey,
    /// The entry, encoded.
    pub encoded: Bytes,
    /// After so long it is good for nothing.
    pub useful_for: Duration,
}

/// What a store holds, as far as it can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdSize {
    /// Entries.
    pub entries: Option<u64>,
    /// Bytes that they take.
    pub bytes: Option<u64>,
}

/// The store failed. For the log: no key's text, no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ColdError(pub String);

/// A store of encoded entries. Each call may take for ever; who calls does not wait that long, and may give up at any
/// point without harm.
pub trait ColdStore: Debug + Send + Sync + 'static {
    /// What is kept under `key`, if it is.
    ///
    /// # Errors
    /// When the store cannot say.
    fn get<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<Option<Bytes>, ColdError>>;

    /// Keeps all of `writes`.
    ///
    /// # Errors
    /// When any of them was not kept.
    fn put_many(&self, writes: Vec<ColdWrite>) -> BoxFuture<'_, Result<(), ColdError>>;

    /// Forgets what is kept under `key`.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove<'a>(&'a self, key: &'a CacheKey) -> BoxFuture<'a, Result<(), ColdError>>;

    /// Forgets everything.
    ///
    /// # Errors
    /// When something may still be there.
    fn clear(&self) -> BoxFuture<'_, Result<(), ColdError>>;

    /// How much is kept.
    ///
    /// # Errors
    /// When the store cannot say.
    fn size(&self) -> BoxFuture<'_, Result<ColdSize, ColdError>>;
}
