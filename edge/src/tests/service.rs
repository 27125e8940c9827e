//! Health, info, configuration, and what every answer carries.

use lede_shared::api::{GENERATE_PATH, INFO_PATH};
use lede_shared::headers::{CACHE_STATUS, SERVER_TIMING, TRACEPARENT, X_REQUEST_ID, traceparent_is_valid};
use lede_shared::problem::{Problem, ProblemCode};
use lede_shared::request_id::RequestId;

use super::deployment::{Deployment, binding, generate, json, problem, request, with};
use super::fixtures::{origin_down, problem_answer};
use crate::config::{Config, ConfigError};
use crate::http::{AUTHORIZATION, Method, Request};

fn without_key(path: &str) -> Request {
    with(request(Method::Get, path), AUTHORIZATION, "")
}

#[test]
fn the_edge_is_alive_without_a_key_and_without_an_origin() {
    let deployment = Deployment::with_origin(origin_down);
    for path in ["/health", "/health/live"] {
        assert_eq!(deployment.send(without_key(path)).status, 200, "{path}");
    }
    assert_eq!(deployment.origin_requests(), 0);
}

#[test]
fn the_edge_is_ready_when_the_origin_is() {
    assert_eq!(Deployment::new().send(without_key("/health/ready")).status, 200);
    let down = Deployment::with_origin(origin_down).send(without_key("/health/ready"));
    assert_eq!(problem(&down).code, ProblemCode::OriginUnavailable);
    let loading = Deployment::with_origin(|_| {
        Ok(problem_answer(&Problem::new(ProblemCode::NotReady, "the model is loading").retry_after(2)))
    });
    let response = loading.send(without_key("/health/ready"));
    assert_eq!(problem(&response).code, ProblemCode::NotReady);
}

#[test]
fn info_tells_the_model_and_the_limits_without_a_key() {
    let info = json(&Deployment::new().send(without_key(INFO_PATH)));
    assert_eq!(info["side"], "edge");
    assert_eq!(info["model"], "lede-nano-1");
    assert_eq!(info["limits"]["hashtag_count_max"], 30);
    assert_eq!(info["limits"]["banned_words_max"], 50);
    assert_eq!(info["emoji_levels"], serde_json::json!(["none", "light", "rich"]));
}

#[test]
fn every_answer_carries_its_names_its_timing_and_its_cache_status() {
    let deployment = Deployment::new();
    let requests = [
        request(Method::Get, "/nowhere"),
        without_key(GENERATE_PATH),
        generate("{}"),
        generate(r#"{"content_description": "Sunset"}"#),
        request(Method::Get, INFO_PATH),
        request(Method::Get, "/health"),
    ];
    for request in requests {
        let path = request.path.clone();
        let response = deployment.send(request);
        let header = |name| response.headers.get(name).unwrap_or_default();
        assert!(RequestId::parse(header(X_REQUEST_ID)).is_some(), "{path}");
        assert!(traceparent_is_valid(header(TRACEPARENT)), "{path}: {}", header(TRACEPARENT));
        assert!(header(SERVER_TIMING).starts_with("edge;dur="), "{path}");
        assert!(header(CACHE_STATUS).contains("lede-edge; "), "{path}");
    }
}

#[test]
fn server_timing_names_only_what_was_waited_for() {
    let deployment = Deployment::new();
    let timing = |request| deployment.send_and_finish(request).headers.get(SERVER_TIMING).map(str::to_owned);
    let sunset = || generate(r#"{"content_description": "Sunset"}"#);
    assert_eq!(timing(sunset()).as_deref(), Some("edge;dur=0, cache;dur=0, origin;dur=0"));
    assert_eq!(timing(sunset()).as_deref(), Some("edge;dur=0, cache;dur=0"));
    assert_eq!(timing(generate("{}")).as_deref(), Some("edge;dur=0"));
}

#[test]
fn a_caller_s_request_id_is_kept_unless_it_is_hostile() {
    let deployment = Deployment::new();
    let echoed = |id: &str| {
        let response = deployment.send(with(request(Method::Get, "/health"), X_REQUEST_ID, id));
        response.headers.get(X_REQUEST_ID).map(str::to_owned)
    };
    assert_eq!(echoed("caller-0001").as_deref(), Some("caller-0001"));
    assert_ne!(echoed("bad id\r\n").as_deref(), Some("bad id\r\n"));
}

#[test]
fn a_deployment_without_a_secret_says_which_one() {
    for missing in ["EDGE_SIGNING_KEY", "ORIGINS", "MODEL"] {
        let mut deployment = Deployment::new();
        let config = Config::read(|name| binding(name).filter(|_| name != missing));
        assert_eq!(config.as_ref().unwrap_err(), &ConfigError::Missing(missing));
        deployment.config = config.map(std::rc::Rc::new);
        let response = deployment.send(generate("{}"));
        let problem = problem(&response);
        assert_eq!(problem.code, ProblemCode::InternalError);
        assert!(problem.detail.contains(missing), "{}", problem.detail);
        assert!(deployment.log.has("not_configured"));
    }
}

#[test]
fn a_page_of_another_site_may_ask_and_read_every_answer_problems_too() {
    let deployment = Deployment::new();
    let preflight = deployment.send(request(Method::Options, GENERATE_PATH));
    assert_eq!(preflight.status, 204);
    assert!(preflight.headers.get("access-control-allow-headers").unwrap().contains("authorization"));
    assert!(preflight.headers.get("access-control-allow-methods").unwrap().contains("POST"));
    let answers = [
        preflight,
        deployment.send(generate(r#"{"content_description": "Sunset"}"#)),
        deployment.send(generate("{}")),
        deployment.send(without_key(GENERATE_PATH)),
        deployment.send(request(Method::Get, "/nowhere")),
    ];
    for answer in answers {
        assert_eq!(answer.headers.get("access-control-allow-origin"), Some("*"), "{}", answer.status);
        assert!(answer.headers.get("access-control-allow-credentials").is_none());
        let exposed = answer.headers.get("access-control-expose-headers").unwrap();
        for name in ["cache-status", "server-timing", "ratelimit", "retry-after", "etag", "x-request-id"] {
            assert!(exposed.contains(name), "{name}");
        }
    }
}
