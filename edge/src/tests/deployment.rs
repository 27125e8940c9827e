//! One edge with its twins, and requests to it.

use std::cell::RefCell;
use std::rc::Rc;

use lede_shared::api::{BATCH_PATH, GENERATE_PATH};
use lede_shared::api_key::ApiKeyHash;
use lede_shared::problem::Problem;
use serde_json::Value;

use super::fixtures::{self, MODEL, SIGNING_KEY};
use crate::bindings::in_memory::{
    BackgroundInMemory, ChunksInMemory, ClockInMemory, ColoCacheInMemory, EntropyInMemory, FetchInMemory,
    FloodLimiterInMemory, LogInMemory, QuotaObjectsInMemory, WorkersKvInMemory, settled,
};
use crate::bindings::{Bindings, FetchError, IncomingResponse, OutgoingRequest};
use crate::config::{Config, ConfigError};
use crate::context::{RequestContext, Trace};
use crate::http::{AUTHORIZATION, Body, CONTENT_LENGTH, CONTENT_TYPE, Headers, JSON, Method, Request, Response};
use crate::isolate::Isolate;
use crate::router;

pub(crate) const API_KEY: &str = "lede_test_key";
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
pub(crate) const FRESH_S: u64 = 100;
pub(crate) const STALE_WHILE_REVALIDATE_S: u64 = 50;
pub(crate) const STALE_IF_ERROR_S: u64 = 500;

/// An edge, its stores and an origin that can be exchanged.
pub(crate) struct Deployment {
    pub(crate) config: Result<Rc<Config>, ConfigError>,
    pub(crate) isolate: Rc<Isolate>,
    pub(crate) captions: Rc<WorkersKvInMemory>,
    pub(crate) keys: Rc<WorkersKvInMemory>,
    pub(crate) quota_objects: Rc<QuotaObjectsInMemory>,
    pub(crate) flood_of_keys: Rc<FloodLimiterInMemory>,
    pub(crate) flood_of_strangers: Rc<FloodLimiterInMemory>,
    pub(crate) colo: Rc<ColoCacheInMemory>,
    pub(crate) origin: Rc<FetchInMemory>,
    pub(crate) clock: Rc<ClockInMemory>,
    pub(crate) entropy: Rc<EntropyInMemory>,
    pub(crate) background: Rc<BackgroundInMemory>,
    pub(crate) log: Rc<LogInMemory>,
}

impl Deployment {
    /// With an origin that answers every sound question.
    pub(crate) fn new() -> Self {
        Self::with_origin(fixtures::sound_origin)
    }

    pub(crate) fn with_origin(
        answering: impl Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError> + 'static,
    ) -> Self {
        let answering = RefCell::new(Box::new(answering) as Box<_>);
        let clock = Rc::new(ClockInMemory::at(NOW_MS));
        Self {
            config: Config::read(binding).map(Rc::new),
            isolate: Rc::default(),
            captions: Rc::default(),
            keys: Rc::default(),
            quota_objects: Rc::new(QuotaObjectsInMemory::new(&clock)),
            flood_of_keys: Rc::default(),
            flood_of_strangers: Rc::default(),
            colo: Rc::default(),
            origin: Rc::new(FetchInMemory { answering, requests: RefCell::default(), silent: RefCell::default() }),
            clock,
            entropy: Rc::default(),
            background: Rc::default(),
            log: Rc::default(),
        }
    }

    /// With the given `ORIGINS`.
    pub(crate) fn with_origins(
        origins: &'static str,
        answering: impl Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError> + 'static,
    ) -> Self {
        let text = |name| if name == "ORIGINS" { Some(origins.to_owned()) } else { binding(name) };
        Self { config: Config::read(text).map(Rc::new), ..Self::with_origin(answering) }
    }

    /// With the given `MODEL`.
    pub(crate) fn with_models(models: &'static str) -> Self {
        let text = |name| if name == "MODEL" { Some(models.to_owned()) } else { binding(name) };
        Self { config: Config::read(text).map(Rc::new), ..Self::new() }
    }

    pub(crate) fn set_origin(
        &self,
        answering: impl Fn(&OutgoingRequest) -> Result<IncomingResponse, FetchError> + 'static,
    ) {
        *self.origin.answering.borrow_mut() = Box::new(answering);
    }

    /// Another isolate of the same deployment in the same data centre: it shares every store and remembers nothing.
    pub(crate) fn another_isolate(&self) -> Self {
        Self {
            config: self.config.clone(),
            isolate: Rc::default(),
            captions: self.captions.clone(),
            keys: self.keys.clone(),
            quota_objects: self.quota_objects.clone(),
            flood_of_keys: self.flood_of_keys.clone(),
            flood_of_strangers: self.flood_of_strangers.clone(),
            colo: self.colo.clone(),
            origin: self.origin.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            background: self.background.clone(),
            log: self.log.clone(),
        }
    }

    /// An isolate in another data centre.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { colo: Rc::default(), ..self.another_isolate() }
    }

    /// Neither the data centre nor Workers KV holds anything.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.colo.entries.borrow().is_empty() && self.captions.entries.borrow().is_empty()
    }

    pub(crate) fn bindings(&self) -> Bindings {
        Bindings {
            isolate: self.isolate.clone(),
            captions: self.captions.clone(),
            keys: self.keys.clone(),
            quota_objects: self.quota_objects.clone(),
            flood_of_keys: self.flood_of_keys.clone(),
            flood_of_strangers: self.flood_of_strangers.clone(),
            colo: self.colo.clone(),
            fetch: self.origin.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            background: self.background.clone(),
            log: self.log.clone(),
        }
    }

    /// What a request without headers would be answered in.
    pub(crate) fn context(&self) -> Rc<RequestContext> {
        let (bindings, headers) = (self.bindings(), Headers::default());
        let trace = Trace::of(&headers, &bindings);
        RequestContext::new(self.config.clone().expect("a sound configuration"), bindings, trace, &headers)
    }

    /// The answer, with the work behind it left undone.
    pub(crate) fn send(&self, request: Request) -> Response {
        settled(router::answer(self.config.clone(), self.bindings(), request)).expect("twins do not wait")
    }

    /// The answer, with the work behind it done.
    pub(crate) fn send_and_finish(&self, request: Request) -> Response {
        let response = self.send(request);
        self.background.finish();
        response
    }

    /// How many requests went to the addresses that begin with `url`.
    pub(crate) fn requests_to(&self, url: &str) -> usize {
        self.origin.requests.borrow().iter().filter(|request| request.url.starts_with(url)).count()
    }

    pub(crate) fn origin_requests(&self) -> usize {
        self.origin.requests.borrow().len()
    }
}

/// The vars and secrets of the test deployment.
pub(crate) fn binding(name: &'static str) -> Option<String> {
    match name {
        "ORIGINS" => Some("https://origin.example".to_owned()),
        "MODEL" => Some(MODEL.to_owned()),
        "API_KEY_HASHES" => Some(format!("acme={}", ApiKeyHash::of(API_KEY))),
        "EDGE_SIGNING_KEY" => Some(SIGNING_KEY.to_owned()),
        "CACHE_FRESH_S" => Some(FRESH_S.to_string()),
        "CACHE_STALE_WHILE_REVALIDATE_S" => Some(STALE_WHILE_REVALIDATE_S.to_string()),
        "CACHE_STALE_IF_ERROR_S" => Some(STALE_IF_ERROR_S.to_string()),
        _ => None,
    }
}

/// A request with a key and nothing else.
pub(crate) fn request(method: Method, path: &str) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let headers = Headers(vec![(AUTHORIZATION, format!("Bearer {API_KEY}"))]);
    Request { method, path: path.to_owned(), query: query.to_owned(), headers, body: None }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, body: &[u8]) -> Request {
    let mut request = request(Method::Post, path);
    request.headers.push(CONTENT_TYPE, JSON);
    request.headers.push(CONTENT_LENGTH, body.len().to_string());
    request.body = Some(Box::new(ChunksInMemory::new(&[body])));
    request
}

pub(crate) fn generate(body: &str) -> Request {
    post(GENERATE_PATH, body.as_bytes())
}

pub(crate) fn batch(body: &str) -> Request {
    post(BATCH_PATH, body.as_bytes())
}

/// The same request with another header.
pub(crate) fn with(mut request: Request, name: &'static str, value: &str) -> Request {
    request.headers.0.retain(|(known, _)| *known != name);
    request.headers.push(name, value);
    request
}

/// The body of an answer that has all of it.
pub(crate) fn whole(response: &Response) -> &[u8] {
    match &response.body {
        Body::Whole(body) => body,
        Body::Streamed(_) => panic!("the body is streamed"),
    }
}

pub(crate) fn json(response: &Response) -> Value {
    serde_json::from_slice(whole(response)).expect("a JSON body")
}

/// The problem document of an answer that must be one.
pub(crate) fn problem(response: &Response) -> Problem {
    assert_eq!(response.headers.get(CONTENT_TYPE), Some("application/problem+json"));
    let problem: Problem = serde_json::from_slice(whole(response)).expect("a problem document");
    assert_eq!(problem.status, response.status);
    assert_eq!(problem.request_id.as_deref(), response.headers.get("x-request-id"));
    problem
}
