//! How the tiers in memory hash a key for their tables.
//!
//! A key is SHA-256 of a request already, so there is nothing left to mix well: foldhash multiplies and folds it in a
//! nanosecond or two, where SipHash, the standard, takes twenty. Callers choose requests and so can search for keys that have
//! bits in common, but which keys meet in a table depends on seeds drawn in this process and shown to nobody. Who met
//! them by luck would have long chains in a table whose entries are bounded, never another's answer: keys are compared whole.

use foldhash::fast::RandomState;

/// Builds the hashers of one table.
pub(super) type KeyHash = RandomState;
