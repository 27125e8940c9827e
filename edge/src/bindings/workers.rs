//! The bindings on the real platform: Cloudflare Workers, or workerd on a developer's machine.
//!
//! Requests and answers are the platform's own types, read and written field by field: only the headers that are
//! looked at are brought over, and a body crosses once.

mod colo;
mod exchange;
mod fetch;
mod limits;
mod panics;
mod quota_object;
mod stream;

use std::cell::OnceCell;
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lede_shared::clock::UnixMillis;
use wasm_bindgen::{JsCast, JsValue};
use worker::kv::KvStore;
use worker::{Context, Date, Delay, Env, ScheduleContext};

use super::{Background, BindingError, Bindings, Clock, Entropy, LogSink, WorkersKv};
use crate::config::{CAPTIONS, Config, ConfigError, KEYS};
use crate::isolate::Isolate;

use limits::{PlatformLimiter, QuotaNamespace};

pub(crate) use exchange::{read_request, write_response};

thread_local! {
    static ISOLATE: Rc<Isolate> = Rc::default();
    /// Vars and secrets do not change while an isolate lives. A value, never a future: what one request waits for
    /// is cancelled with it.
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
    /// Looked up in the environment once; the platform lets every request of the isolate use it.
    static NAMESPACE: OnceCell<Rc<Namespace>> = const { OnceCell::new() };
    /// The same for keys.
    static KEYS_NAMESPACE: OnceCell<Rc<Namespace>> = const { OnceCell::new() };
    static LIMITERS: OnceCell<Limiters> = const { OnceCell::new() };
}

/// Everything the platform gives to this request.
pub(crate) fn connect(env: &Env, context: Context) -> Bindings {
    connect_with(env, Rc::new(FetchEvent(context)))
}

/// The same for a cron event.
pub(crate) fn connect_cron(env: &Env, context: ScheduleContext) -> Bindings {
    connect_with(env, Rc::new(CronEvent(context)))
}

fn connect_with(env: &Env, background: Rc<dyn Background>) -> Bindings {
    panics::log_places_only();
    let limiters = LIMITERS.with(|kept| kept.get_or_init(|| Limiters::open(env)).clone());
    Bindings {
        isolate: ISOLATE.with(Rc::clone),
        captions: namespace(env, &NAMESPACE, CAPTIONS),
        keys: namespace(env, &KEYS_NAMESPACE, KEYS),
        quota_objects: limiters.quota_objects,
        flood_of_keys: limiters.flood_of_keys,
        flood_of_strangers: limiters.flood_of_strangers,
        colo: Rc::new(colo::DefaultCache),
        fetch: Rc::new(fetch::PlatformFetch),
        clock: Rc::new(PlatformClock),
        entropy: Rc::new(PlatformEntropy),
        background,
        log: Rc::new(Console),
    }
}

/// The deployment's settings, read once per isolate.
pub(crate) fn config(env: &Env) -> Result<Rc<Config>, ConfigError> {
    CONFIG.with(|kept| {
        if let Some(config) = kept.get() {
            return Ok(Rc::clone(config));
        }
        namespace(env, &NAMESPACE, CAPTIONS).0.as_ref().map_err(|_| ConfigError::Missing(CAPTIONS))?;
        namespace(env, &KEYS_NAMESPACE, KEYS).0.as_ref().map_err(|_| ConfigError::Missing(KEYS))?;
        let config = Rc::new(Config::read(|name| env.var(name).ok().map(|value| value.to_string()))?);
        Ok(Rc::clone(kept.get_or_init(|| config)))
    })
}

fn namespace(env: &Env, kept: &'static LocalKey<OnceCell<Rc<Namespace>>>, binding: &'static str) -> Rc<Namespace> {
    let open = || Rc::new(Namespace(env.kv(binding).map_err(|error| failed("opening Workers KV", &error))));
    kept.with(|kept| Rc::clone(kept.get_or_init(open)))
}

/// What limits callers, each binding looked up once.
#[derive(Clone)]
struct Limiters {
    quota_objects: Rc<QuotaNamespace>,
    flood_of_keys: Rc<PlatformLimiter>,
    flood_of_strangers: Rc<PlatformLimiter>,
}

impl Limiters {
    fn open(env: &Env) -> Self {
        Self {
            quota_objects: Rc::new(QuotaNamespace::open(env)),
            flood_of_keys: Rc::new(PlatformLimiter::open(env, "FLOOD_OF_KEYS")),
            flood_of_strangers: Rc::new(PlatformLimiter::open(env, "FLOOD_OF_STRANGERS")),
        }
    }
}

fn failed(operation: &'static str, cause: &dyn std::fmt::Display) -> BindingError {
    BindingError { operation, cause: cause.to_string() }
}

/// The same for what JavaScript throws.
fn thrown(operation: &'static str, thrown: &JsValue) -> BindingError {
    let message = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    BindingError { operation, cause: message.unwrap_or_else(|| format!("{thrown:?}")) }
}

/// The namespace, or why there is none.
struct Namespace(Result<KvStore, BindingError>);

impl WorkersKv for Namespace {
    fn read<'a>(
        &'a self,
        name: &'a str,
        cache_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, BindingError>> {
        async move {
            let store = self.0.as_ref().map_err(Clone::clone)?;
            let read = store.get(name).cache_ttl(cache_ttl_s).bytes().await;
            read.map_err(|error| failed("reading from Workers KV", &error))
        }
        .boxed_local()
    }

    fn write<'a>(
        &'a self,
        name: &'a str,
        value: &'a [u8],
        expiration_ttl_s: u64,
    ) -> LocalBoxFuture<'a, Result<(), BindingError>> {
        async move {
            let store = self.0.as_ref().map_err(Clone::clone)?;
            let describe = |error| failed("writing to Workers KV", &error);
            let options = store.put_bytes(name, value).map_err(describe)?;
            options.expiration_ttl(expiration_ttl_s).execute().await.map_err(describe)
        }
        .boxed_local()
    }
}

struct PlatformClock;

impl Clock for PlatformClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(Date::now().as_millis())
    }

    fn sleep(&self, duration_ms: u64) -> LocalBoxFuture<'static, ()> {
        Delay::from(Duration::from_millis(duration_ms)).boxed_local()
    }
}

struct PlatformEntropy;

impl Entropy for PlatformEntropy {
    fn bytes16(&self) -> Result<[u8; 16], BindingError> {
        let operation = "getting random bytes";
        let mut bytes = [0; 16];
        let scope: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
        let crypto = scope.crypto().map_err(|error| thrown(operation, &error))?;
        crypto.get_random_values_with_u8_array(&mut bytes).map_err(|error| thrown(operation, &error))?;
        Ok(bytes)
    }
}

struct FetchEvent(Context);

impl Background for FetchEvent {
    fn wait_until(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.wait_until(work);
    }
}

struct CronEvent(ScheduleContext);

impl Background for CronEvent {
    fn wait_until(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.wait_until(work);
    }
}

struct Console;

impl LogSink for Console {
    fn write(&self, line: &str) {
        worker::console_warn!("{line}");
    }
}
