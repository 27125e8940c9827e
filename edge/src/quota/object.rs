//! What the tenant's Durable Object does, without the platform: the same in a Worker and in the twin.

use std::cell::RefCell;

use lede_shared::clock::UnixMillis;
use lede_shared::quota::{LeaseQuestion, Ledger, WireError};

/// The name under which the ledger is stored.
pub(crate) const LEDGER: &str = "ledger";

/// The ledger of one tenant, kept in memory while the object lives.
///
/// An answer goes out only after what is returned for the store has been written. So what is stored is never less strict
/// than what somebody was told: a write that is lost takes its lease with it, and an object that is evicted between the
/// two knows of fewer cells given back, never of fewer granted.
#[derive(Debug, Default)]
pub(crate) struct QuotaKeeper(RefCell<Option<Ledger>>);

/// What came of a question.
pub(crate) struct Kept {
    /// For the isolate.
    pub(crate) answer: String,
    /// To be stored before the answer goes out.
    pub(crate) ledger: String,
    /// What was stored could not be read: a line in the log.
    pub(crate) was_lost: bool,
}

impl QuotaKeeper {
    /// Has the stored ledger been read?
    pub(crate) fn is_awake(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Answers a question. `stored` is looked at only while the keeper is not awake.
    ///
    /// # Errors
    /// When the question is not one.
    pub(crate) fn answer(&self, now: UnixMillis, stored: Option<&str>, question: &str) -> Result<Kept, WireError> {
        let question = LeaseQuestion::decode(question)?;
        let mut kept = self.0.borrow_mut();
        let read = stored.filter(|_| kept.is_none()).map(Ledger::decode);
        let was_lost = matches!(read, Some(Err(_)));
        let ledger = kept.get_or_insert_with(|| match read {
            None => Ledger::new(now),
            Some(read) => read.unwrap_or_else(|_| Ledger::after_loss(now, &question.limits)),
        });
        let answer = ledger.answer(now, &question).encode();
        Ok(Kept { answer, ledger: ledger.encode(), was_lost })
    }
}
