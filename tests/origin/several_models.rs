//! A model of its own for a level: who answers while it is being loaded, and who goes when there is not room for all.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lede_tests::{
    KeysFile, ModelStore, Origin, client, free_port, model_files, model_fixture, ok_json, path_from_environment,
    post, sunset,
};
use serde_json::{Value, json};

const ADMIN_KEY: &str = "lede_test_admin6789abcdef0123456789abcdef";
const WAIT: Duration = Duration::from_secs(30);
const GIB: u64 = 1 << 30;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn keys() -> KeysFile {
    KeysFile::new().key(ADMIN_KEY, "operations", "scopes = [\"admin\"]")
}

/// A request at a level. Random weights fill what they may.
fn at(level: &str, description: &str) -> Value {
    let mut request = sunset();
    request["content_description"] = description.into();
    request["optimization_level"] = level.into();
    request["max_length"] = json!(80);
    request
}

async fn answer(origin: &Origin, request: &Value) -> (reqwest::header::HeaderMap, Value) {
    ok_json(post(&origin.url, "/api/v14/generate", request)).await
}

fn is_fallback(answer: &Value) -> bool {
    let warnings = answer["warnings"].as_array().unwrap();
    warnings.iter().any(|warning| warning["code"] == "answered_by_fallback")
}

/// Asks at `level` until `model` answers.
async fn until_by(origin: &Origin, level: &str, model: &str) -> Value {
    let until = Instant::now() + WAIT;
    loop {
        let (_, answer) = answer(origin, &at(level, "a lighthouse at dusk")).await;
        if answer["model"] == model {
            return answer;
        }
        assert!(is_fallback(&answer), "{answer}");
        assert!(Instant::now() < until, "{model} never answered:\n{}", origin.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the origin says of one model.
async fn report(origin: &Origin, name: &str) -> Value {
    let request = client().get(format!("{}/performance/ai", origin.url)).bearer_auth(ADMIN_KEY);
    let (_, ai) = ok_json(request).await;
    let models = ai["registry"]["models"].as_array().unwrap();
    models.iter().find(|model| model["name"] == name).unwrap_or_else(|| panic!("no {name} in {ai}")).clone()
}

async fn until_state(origin: &Origin, name: &str, state: &str) {
    let until = Instant::now() + WAIT;
    loop {
        let report = report(origin, name).await;
        if report["state"] == state {
            return;
        }
        assert!(Instant::now() < until, "{report}:\n{}", origin.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn manage(origin: &Origin, action: &str, model: &str) -> (u16, Value) {
    let request = client().post(format!("{}/performance/models/manage", origin.url)).bearer_auth(ADMIN_KEY);
    let answer = request.json(&json!({ "action": action, "model": model })).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A model of the store whose files say that it takes `bytes`: most of them are never read, nor on the disk.
fn stored(models: &Path, fixture: &str, name: &str, bytes: u64) {
    for (path, content) in model_files(fixture) {
        let target = models.join(name).join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    }
    let data = fs::File::create(models.join(name).join("onnx/model.onnx_data")).unwrap();
    data.set_len(bytes).unwrap();
}

/// The embedded model in the store under another name and id. Unlike random weights it writes what may be kept.
fn stored_embedded(models: &Path, name: &str) {
    let embedded = path_from_environment("LEDE_MODEL_DIR");
    let folder = models.join(name);
    fs::create_dir_all(folder.join("onnx")).unwrap();
    for inner in ["", "onnx"] {
        for file in fs::read_dir(embedded.join(inner)).unwrap().flatten().filter(|file| file.path().is_file()) {
            fs::copy(file.path(), folder.join(inner).join(file.file_name())).unwrap();
        }
    }
    let manifest = folder.join("lede.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    content["id"] = name.into();
    fs::write(&manifest, content.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_answers_until_the_levels_own_model_is_there_and_then_that_model_does() {
    let (store, file) = (ModelStore::new(), keys());
    store.run(&["add", text(&model_fixture("tiny-llama"))]).must_succeed();
    let (models, keys) = (store.path(), file.path());
    stored_embedded(&models, "good");
    let settings = [
        ("LEDE_MODEL", "tiny-llama"),
        ("LEDE_MODEL_QUALITY", "good"),
        ("LEDE_MODELS_DIR", text(&models)),
        ("LEDE_KEYS_FILE", keys.as_str()),
    ];
    let origin = Origin::start_with(free_port(), &settings).await;
    let (_, first) = answer(&origin, &at("quality", "a lighthouse at dusk")).await;
    assert!(is_fallback(&first) && first["model"] == "tiny-llama", "{first}");

    let own = until_by(&origin, "quality", "good").await;
    assert!(!is_fallback(&own), "{own}");
    let (headers, kept) = answer(&origin, &at("quality", "a lighthouse at dusk")).await;
    assert!(headers["cache-status"].to_str().unwrap().contains("hit"), "{headers:?}");
    assert_eq!((&kept["model"], &kept["caption"]), (&json!("good"), &own["caption"]));
    let (_, other) = answer(&origin, &at("balanced", "a lighthouse at dusk")).await;
    assert!(!is_fallback(&other) && other["model"] == "tiny-llama", "{other}");

    let report = report(&origin, "good").await;
    assert_eq!(
        (&report["levels"], &report["loads"], &report["users"]),
        (&json!(["quality"]), &json!(1), &json!(0))
    );
    assert!(report["bytes_measured"] == true && report["bytes"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_of_one_model_is_not_served_as_that_of_another() {
    let (store, cold) = (ModelStore::new(), tempfile::tempdir().unwrap());
    store.run(&["add", text(&model_fixture("tiny-llama"))]).must_succeed();
    let models = store.path();
    for name in ["one", "other"] {
        stored_embedded(&models, name);
    }
    for (model, is_kept) in [("one", false), ("other", false), ("other", true)] {
        let settings = [
            ("LEDE_MODEL", "tiny-llama"),
            ("LEDE_MODEL_QUALITY", model),
            ("LEDE_MODELS_DIR", text(&models)),
            ("LEDE_COLD", "disk"),
            ("LEDE_COLD_DIR", text(cold.path())),
        ];
        let mut origin = Origin::start_with(free_port(), &settings).await;
        let (headers, first) = answer(&origin, &at("quality", "a lighthouse at dusk")).await;
        let status = headers["cache-status"].to_str().unwrap();
        assert_eq!(status.contains("hit"), is_kept, "{model}: {status}");
        assert_eq!(first["model"] == model, is_kept, "{first}");
        until_by(&origin, "quality", model).await;
        // What is on its way to the disk gets there.
        origin.terminate();
        assert!(origin.wait(WAIT).is_some_and(|ended| ended.success()));
    }
}

/// An origin whose levels `ultra_fast` and `quality` have models of their own, `fast` and `good`, and room for one of them
/// beside the primary.
async fn with_room_for_one(folder: &Path, keys: &KeysFile) -> Origin {
    stored(folder, "tiny-llama", "fast", GIB);
    stored(folder, "tiny-qwen2", "good", GIB);
    let keys_file = keys.path();
    let settings = [
        ("LEDE_MODEL_ULTRA_FAST", "fast"),
        ("LEDE_MODEL_QUALITY", "good"),
        ("LEDE_MODELS_DIR", text(folder)),
        ("LEDE_MODELS_BYTES_MAX", "2147483648"),
        ("LEDE_KEYS_FILE", keys_file.as_str()),
    ];
    Origin::start_with(free_port(), &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_room_for_one_the_other_makes_way_unless_it_is_pinned() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), keys());
    let origin = with_room_for_one(folder.path(), &keys).await;
    until_by(&origin, "ultra_fast", "fast").await;
    let (status, pinned) = manage(&origin, "pin", "fast").await;
    assert_eq!((status, &pinned["model"]["pinned"]), (200, &json!(true)));
    let (_, stood_in) = answer(&origin, &at("quality", "a harbour")).await;
    assert!(is_fallback(&stood_in), "{stood_in}");
    let primary = stood_in["model"].as_str().unwrap().to_owned();
    let (status, no_room) = manage(&origin, "load", "good").await;
    assert_eq!((status, &no_room["errors"][0]["code"]), (422, &json!("conflict")), "{no_room}");
    assert_eq!(manage(&origin, "unload", "fast").await.0, 422, "it is pinned");
    assert!(report(&origin, "good").await["last_failure"].as_str().unwrap().contains("bytes"));

    assert_eq!(manage(&origin, "unpin", "fast").await.0, 200);
    until_by(&origin, "quality", "good").await;
    assert_eq!(report(&origin, "fast").await["state"], "absent");
    until_by(&origin, "ultra_fast", "fast").await;
    let good = report(&origin, "good").await;
    assert_eq!((&good["state"], &good["loads"], &good["unloads"]), (&json!("absent"), &json!(1), &json!(1)));

    assert_eq!(manage(&origin, "unload", "fast").await.0, 200);
    until_state(&origin, "fast", "absent").await;
    assert_eq!(manage(&origin, "load", "good").await.0, 200);
    until_state(&origin, "good", "loaded").await;
    for (action, model, code) in [
        ("unload", primary.as_str(), "conflict"),
        ("unpin", primary.as_str(), "conflict"),
        ("load", "nobody", "unknown_value"),
        ("unload", "fast", "conflict"),
    ] {
        let (status, problem) = manage(&origin, action, model).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!(code)), "{action} {model}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_two_levels_that_push_one_another_out_are_all_answered() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), keys());
    let origin = with_room_for_one(folder.path(), &keys).await;
    let call = |caller: usize| {
        let origin = &origin;
        async move {
            let (level, own) = if caller.is_multiple_of(2) { ("ultra_fast", "fast") } else { ("quality", "good") };
            for turn in 0..4 {
                let (_, answer) = answer(origin, &at(level, &format!("view {turn} of caller {caller}"))).await;
                assert_eq!(answer["model"] == own, !is_fallback(&answer), "{answer}");
            }
        }
    };
    join_all((0..4).map(call)).await;
    for name in ["fast", "good"] {
        let report = report(&origin, name).await;
        assert_eq!(report["users"], 0, "{report}");
        assert!(report["unloads"].as_u64() <= report["loads"].as_u64(), "{report}");
    }
}

#[tokio::test]
async fn a_levels_model_that_is_not_there_ends_the_start_with_one_clear_line() {
    let store = ModelStore::new();
    store.run(&["add", text(&model_fixture("tiny-llama"))]).must_succeed();
    let models = store.path();
    for (setting, name) in [
        ("LEDE_MODEL_QUALITY", "nobody"),
        ("LEDE_MODEL_BALANCED", "../tiny-llama"),
        ("LEDE_MODELS_PINNED", "tiny-llama"),
    ] {
        let settings = [(setting, name), ("LEDE_MODELS_DIR", text(&models)), ("LEDE_LOG", "off")];
        let mut origin = Origin::spawn(free_port(), &settings);
        let ended = origin.wait(WAIT).unwrap();
        let log = origin.log();
        let says = format!("lede-origin: {setting}: ");
        assert!(!ended.success() && log.starts_with(&says) && log.lines().count() == 1, "{setting}: {log}");
    }
}
