//! Captions from a remote provider: a real HTTP server that follows a script, asked by the real origin.

use std::time::{Duration, Instant};

use lede_shared::problem::ProblemCode;
use lede_tests::{Origin, Provider, Reply, free_port, ok_json, post, problem_of};
use serde_json::{Value, json};

const GENERATE: &str = "/api/v14/generate";
const KEY: &str = "sk-suite-4f1c";
const CAPTION: &str = "Slow light over the quiet harbour.";
const STOP_WAIT: Duration = Duration::from_secs(20);
/// No model lies there.
const NO_MODEL: (&str, &str) = ("LEDE_MODEL_DIR", "/nonexistent/model");

fn harbour() -> Value {
    json!({ "content_description": "a quiet harbour in the morning", "hashtag_count": 2 })
}

fn good() -> Reply {
    Reply::captions(&[(CAPTION, &["Harbour", "#slow light"])])
}

async fn origin(provider: &Provider, mode: &str, settings: &[(&str, &str)]) -> Origin {
    let mut all = vec![
        ("LEDE_REMOTE_URL", provider.url.as_str()),
        ("LEDE_REMOTE_API_KEY", KEY),
        ("LEDE_REMOTE_MODEL", "writer-1"),
        ("LEDE_REMOTE_MODE", mode),
    ];
    all.extend_from_slice(settings);
    Origin::start_with(free_port(), &all).await
}

async fn generate(origin: &Origin, body: &Value) -> Value {
    ok_json(post(&origin.url, GENERATE, body)).await.1
}

async fn refused(origin: &Origin, body: &Value) -> lede_shared::problem::Problem {
    problem_of(post(&origin.url, GENERATE, body).send().await.unwrap()).await
}

fn warns_of_fallback(answer: &Value) -> bool {
    let warnings = answer["warnings"].as_array().unwrap();
    warnings.iter().any(|warning| warning["code"] == "answered_by_fallback")
}

#[tokio::test]
async fn a_primary_provider_writes_and_its_answer_is_kept_under_its_name() {
    let provider = Provider::start(vec![], good()).await;
    let origin = origin(&provider, "primary", &[]).await;
    let answer = generate(&origin, &harbour()).await;
    assert_eq!(answer["caption"], CAPTION);
    assert_eq!(answer["hashtags"], json!(["#harbour", "#slowlight"]));
    assert_eq!(answer["model"], "writer-1");
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 211, "completion_tokens": 34 }));
    assert_eq!(answer["warnings"], json!([]));
    let again = generate(&origin, &harbour()).await;
    assert_eq!(again["performance_metrics"]["cache_tier"], "hot");
    let asked = provider.asked();
    assert_eq!(asked.len(), 1, "the second answer is a hit");
    assert_eq!(asked[0].path, "/v1/chat/completions");
    assert_eq!(asked[0].authorization.as_deref(), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(asked[0].body["model"], "writer-1");
    assert_eq!(asked[0].body["response_format"]["json_schema"]["strict"], true);
    let conversation = asked[0].body["messages"].to_string();
    assert!(conversation.contains("a quiet harbour in the morning"), "{conversation}");
    let (_, info) = ok_json(lede_tests::client().get(format!("{}/api/v14/info", origin.url))).await;
    assert_eq!(info["model"], "writer-1");
}

#[tokio::test]
async fn several_variants_are_asked_for_in_one_call() {
    let three =
        [("One light.", &["sun", "sea"][..]), ("Two boats.", &["sun", "sea"]), ("Three gulls.", &["sun", "sea"])];
    let provider = Provider::start(vec![], Reply::captions(&three)).await;
    let origin = origin(&provider, "primary", &[NO_MODEL]).await;
    let answer =
        generate(&origin, &json!({ "content_description": "harbour", "variants": 3, "hashtag_count": 2 })).await;
    let captions: Vec<&Value> =
        answer["variants"].as_array().unwrap().iter().map(|variant| &variant["caption"]).collect();
    assert_eq!(captions, ["One light.", "Two boats.", "Three gulls."]);
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn what_breaks_a_rule_is_asked_for_again_and_never_leaves() {
    let wrote = |caption: &str| Reply::captions(&[(caption, &["harbour", "tea"])]);
    let body = json!({
        "content_description": "tea at the harbour", "hashtag_count": 2, "max_length": 60,
        "must_include": ["Zoë's"], "banned_words": ["cheap"],
    });
    let broken = [
        wrote("Zoë's cheap tea."),
        wrote("Zoë's tea. #tea"),
        wrote("Tea at the harbour."),
        wrote("Zoë's tea is 50% off."),
        wrote("Zoë's tea ✨"),
        wrote("Zoë's tea.\u{7}"),
        wrote(&format!("Zoë's tea {}.", "again and ".repeat(8))),
        Reply::captions(&[("Zoë's tea at the harbour.", &["cheaptea", "#"])]),
        Reply::Wrote("Sure! Here is your caption: Zoë's tea.".to_owned()),
        Reply::Wrote(json!({ "variants": [{ "caption": "Zoë's tea." }] }).to_string()),
    ];
    for reply in broken {
        let provider = Provider::start(vec![reply.clone()], wrote("Zoë's tea at the harbour.")).await;
        let origin = origin(&provider, "primary", &[NO_MODEL]).await;
        let answer = generate(&origin, &body).await;
        assert_eq!(answer["caption"], "Zoë's tea at the harbour.", "{reply:?}");
        assert_eq!(provider.asked().len(), 2, "{reply:?}");
        let stubborn = Provider::start(vec![], reply.clone()).await;
        let origin = self::origin(&stubborn, "primary", &[NO_MODEL]).await;
        assert_eq!(refused(&origin, &body).await.code, ProblemCode::GenerationFailed, "{reply:?}");
        assert!((2..=3).contains(&stubborn.asked().len()), "{reply:?}: a few times, not for ever");
    }
}

#[tokio::test]
async fn the_local_model_stands_in_for_a_provider_that_fails_and_says_so() {
    let failures = [
        Reply::Status(500, vec![]),
        Reply::Status(401, vec![]),
        Reply::Status(302, vec![("location", "/v1/elsewhere".to_owned())]),
        Reply::Status(429, vec![("retry-after", "3600".to_owned())]),
        Reply::Body("<html>not for you</html>".to_owned()),
        Reply::Body("x".repeat(1_000_000)),
        Reply::Wrote("no JSON".to_owned()),
        Reply::Cut,
    ];
    for failure in failures {
        let provider = Provider::start(vec![], failure.clone()).await;
        let origin = origin(&provider, "primary", &[("LEDE_REMOTE_FAILURES_TO_OPEN", "100")]).await;
        wait_for_the_local_model(&origin).await;
        let (headers, answer) = ok_json(post(&origin.url, GENERATE, &harbour())).await;
        assert!(warns_of_fallback(&answer), "{failure:?}: {answer}");
        assert!(answer["model"].as_str().unwrap().starts_with("lede-nano"), "{failure:?}: {answer}");
        assert!(!headers["cache-status"].to_str().unwrap().contains("stored"), "{headers:?}");
        assert!(provider.asked().iter().all(|asked| asked.path == "/v1/chat/completions"), "{failure:?}");
    }
}

#[tokio::test]
async fn once_the_provider_is_back_it_writes_again() {
    let provider = Provider::start(vec![Reply::Status(400, vec![])], good()).await;
    let origin = origin(&provider, "primary", &[]).await;
    wait_for_the_local_model(&origin).await;
    assert!(warns_of_fallback(&generate(&origin, &harbour()).await));
    let answer = generate(&origin, &harbour()).await;
    assert_eq!((answer["caption"].as_str(), answer["model"].as_str()), (Some(CAPTION), Some("writer-1")));
}

#[tokio::test]
async fn a_slow_provider_leaves_time_for_the_local_model_or_ends_at_the_deadline() {
    let provider = Provider::start(vec![], Reply::Late(Duration::from_secs(60), "{}".to_owned())).await;
    let timeout = ("LEDE_REQUEST_TIMEOUT_MS", "3000");
    let both = origin(&provider, "primary", &[timeout]).await;
    wait_for_the_local_model(&both).await;
    let started = Instant::now();
    assert!(warns_of_fallback(&generate(&both, &harbour()).await));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let alone = origin(&provider, "primary", &[timeout, NO_MODEL]).await;
    assert_eq!(refused(&alone, &harbour()).await.code, ProblemCode::DeadlineExceeded);
}

#[tokio::test]
async fn a_wait_that_the_provider_names_is_kept() {
    let busy = Reply::Status(429, vec![("retry-after", "1".to_owned())]);
    let provider = Provider::start(vec![busy], good()).await;
    let origin = origin(&provider, "primary", &[NO_MODEL]).await;
    let started = Instant::now();
    assert_eq!(generate(&origin, &harbour()).await["caption"], CAPTION);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_left_alone_and_without_a_local_model_the_origin_is_not_ready() {
    let provider = Provider::start(vec![Reply::Status(404, vec![]); 2], good()).await;
    let settings = [NO_MODEL, ("LEDE_REMOTE_FAILURES_TO_OPEN", "2"), ("LEDE_REMOTE_OPEN_MS", "1500")];
    let origin = origin(&provider, "primary", &settings).await;
    for _ in 0..3 {
        let problem = refused(&origin, &harbour()).await;
        assert_eq!(problem.code, ProblemCode::NotReady);
        assert!(problem.retry_after_s.is_some_and(|seconds| (1..=60).contains(&seconds)), "{problem:?}");
    }
    assert_eq!(provider.asked().len(), 2, "the third was not sent");
    assert!(!origin.is_ready().await);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert!(origin.is_ready().await);
    assert_eq!(generate(&origin, &harbour()).await["caption"], CAPTION);
}

#[tokio::test]
async fn a_fallback_provider_is_asked_only_while_the_local_model_is_full() {
    let names = ["sun"];
    let captions: Vec<(String, &[&str])> = ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight"]
        .map(|word| (format!("{word} light."), &names[..]))
        .into();
    let captions: Vec<(&str, &[&str])> =
        captions.iter().map(|(caption, names)| (caption.as_str(), *names)).collect();
    let provider = Provider::start(vec![], Reply::captions(&captions)).await;
    let origin = origin(&provider, "fallback", &[("LEDE_WAITING_SEQUENCES_MAX", "48")]).await;
    wait_for_the_local_model(&origin).await;
    let alone = generate(&origin, &harbour()).await;
    assert!(!warns_of_fallback(&alone) && alone["model"] != "writer-1" && provider.asked().is_empty());
    // Each of them fills the house alone.
    let large = |subject: &str| {
        json!({ "content_description": format!("{subject} at the harbour"), "variants": 8, "hashtag_count": 1,
            "optimization_level": "quality" })
    };
    let subjects = ["gulls", "boats", "nets", "ropes", "tides", "lamps"];
    let requests = subjects.map(|subject| tokio::spawn(post(&origin.url, GENERATE, &large(subject)).send()));
    let mut by_the_provider = 0;
    for request in requests {
        let response = request.await.unwrap().unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(warns_of_fallback(&answer), answer["model"] == "writer-1", "{answer}");
        by_the_provider += usize::from(warns_of_fallback(&answer));
    }
    assert!((1..subjects.len()).contains(&by_the_provider), "{by_the_provider}");
}

#[tokio::test]
async fn a_provider_that_cannot_be_trusted_with_descriptions_ends_the_process_with_one_clear_line() {
    let settings = |url: &'static str, model: &'static str| {
        [("LEDE_REMOTE_URL", url), ("LEDE_REMOTE_API_KEY", KEY), ("LEDE_REMOTE_MODEL", model)]
    };
    for (settings, named) in [
        (settings("http://api.example.com/v1", "writer-1"), "LEDE_REMOTE_URL"),
        (settings("https://name:word@api.example.com/v1", "writer-1"), "LEDE_REMOTE_URL"),
        (settings("https://api.example.com/v1", "two words"), "LEDE_REMOTE_MODEL"),
    ] {
        let mut origin = Origin::spawn(free_port(), &settings);
        let ended = origin.wait(STOP_WAIT).unwrap();
        assert!(!ended.success() && origin.log().contains(named), "{}", origin.log());
        assert!(!origin.log().contains(KEY) && !origin.log().contains("panicked"), "{}", origin.log());
    }
}

#[tokio::test]
async fn no_log_line_carries_the_key_the_description_or_what_the_provider_wrote() {
    let provider = Provider::start(vec![Reply::Wrote("Quillmarrow!".to_owned())], good()).await;
    let origin = origin(&provider, "primary", &[("LEDE_LOG", "trace,hyper=info,h2=info")]).await;
    let body = json!({ "content_description": "the Quillmarrow wedding pavilion", "hashtag_count": 2 });
    let answer = post(&origin.url, GENERATE, &body).send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let log = origin.log();
    let caption = answer["caption"].as_str().unwrap_or(CAPTION);
    for secret in ["Quillmarrow", CAPTION, caption, KEY] {
        assert!(!log.contains(secret), "{secret:?} stands in the log:\n{log}");
    }
    assert!(log.contains("completion_tokens"), "what it cost is logged:\n{log}");
}

/// The origin is ready as soon as the provider can be asked; these tests need both.
async fn wait_for_the_local_model(origin: &Origin) {
    let until = Instant::now() + Duration::from_secs(30);
    while !origin.log().contains("the model is loaded") {
        assert!(Instant::now() < until, "{}", origin.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
