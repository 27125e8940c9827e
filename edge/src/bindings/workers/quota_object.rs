//! The Durable Object of one tenant's quota.

use std::panic::RefUnwindSafe;

use lede_shared::clock::UnixMillis;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
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

impl QuotaObject {
    /// What is stored, unless it has been read already.
    async fn stored(&self) -> std::result::Result<Option<String>, JsValue> {
        if self.keeper.is_awake() {
            return Ok(None);
        }
        let stored = JsFuture::from(self.state.as_raw().storage()?.get(LEDGER)?).await?;
        // Something else than text is no ledger either, and must not be taken for a tenant's first question.
        Ok((!stored.is_undefined()).then(|| stored.as_string().unwrap_or_default()))
    }

    async fn answer(&self, request: &web_sys::Request) -> std::result::Result<web_sys::Response, JsValue> {
        let question = JsFuture::from(request.text()?).await?.as_string().unwrap_or_default();
        let stored = self.stored().await?;
        let now = UnixMillis(Date::now().as_millis());
        let kept = self.keeper.answer(now, stored.as_deref(), &question);
        let kept = kept.map_err(|error| js_sys::Error::new(&error.to_string()))?;
        if kept.was_lost {
            worker::console_error!(r#"{{"severity":"error","event":"quota_ledger_unreadable"}}"#);
        }
        let ledger = JsValue::from_str(&kept.ledger);
        JsFuture::from(self.state.as_raw().storage()?.put(LEDGER, ledger)?).await?;
        web_sys::Response::new_with_opt_str(Some(&kept.answer))
    }
}

impl DurableObject for QuotaObject {
    fn new(state: State, _env: Env) -> Self {
        Self { state, keeper: QuotaKeeper::default() }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        Ok(Response::from(self.answer(request.inner()).await?))
    }
}
