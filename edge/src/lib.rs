//! The edge of Lede: a Worker in the data centre next to the caller.
//!
//! It routes, authenticates, limits and answers from its caches; what it does not hold it asks of the pool of origins,
//! signed.
//! This file is events and wiring only: [`router`] has the route table, [`routes`] the way of each request,
//! and [`bindings`] is the only place that names what the platform gives. Everything between is plain Rust
//! and is tested natively with the bindings' in-memory twins.

mod auth;
mod bindings;
mod body;
mod config;
mod context;
mod cors;
mod error;
mod flood;
mod http;
mod isolate;
mod ndjson;
mod origin_client;
mod quota;
mod response_cache;
mod router;
mod routes;
#[cfg(test)]
mod tests;
mod warm;

use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

use crate::bindings::workers;

/// One request. Takes and returns the platform's own types: `worker`'s would be built anew for each request.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let bindings = workers::connect(&env, context);
    let config = workers::config(&env);
    let request = workers::read_request(request);
    #[cfg(feature = "panicking-route")]
    panic_when_asked(&request.path);
    let response = router::answer(config, bindings, request).await;
    workers::write_response(response)
}

/// The cron trigger of `wrangler.toml`. What it does is done before it ends: nobody waits for it.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, context: ScheduleContext) {
    let bindings = workers::connect_cron(&env, context);
    warm::warm(workers::config(&env), bindings).await;
}

#[cfg(feature = "panicking-route")]
#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_when_asked(path: &str) {
    if path == "/panic" {
        panic!("as asked");
    }
}
