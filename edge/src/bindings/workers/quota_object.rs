//! The Durable Object of one tenant's quota.

use std::panic::RefUnwindSafe;

use lede_shared::clock::UnixMillis;
use worker::{Date, DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::quota::object::{LEDGER, QuotaKeeper};

/// The only one of its tenant in the world; its events come one after the other.
#[durable_object]
pub struct QuotaObject {
    state: State,
    keeper: QuotaKeeper,
}

/// A build that unwinds asks for this: after a panic the object goes on. What it keeps in its cell is a ledger of plain
/// numbers, none of which another relies on for memory safety, and no answer goes out before the store has it.
impl RefUnwindSafe for QuotaObject {}

impl DurableObject for QuotaObject {
    fn new(state: State, _env: Env) -> Self {
        Self { state, keeper: QuotaKeeper::default() }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let question = request.text().await?;
        let storage = self.state.storage();
        let stored: Option<String> = if self.keeper.is_awake() { None } else { storage.get(LEDGER).await? };
        let now = UnixMillis(Date::now().as_millis());
        let Ok(kept) = self.keeper.answer(now, stored.as_deref(), &question) else {
            return Response::error("not a question", 400);
        };
        if kept.was_lost {
            worker::console_error!(r#"{{"severity":"error","event":"quota_ledger_unreadable"}}"#);
        }
        storage.put(LEDGER, kept.ledger).await?;
        Response::ok(kept.answer)
    }
}
