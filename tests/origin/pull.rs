//! Fetching a model from a hub, on its good and on its bad days.

use std::collections::BTreeMap;

use axum::body::Bytes;
use lede_tests::{HUB_COMMIT, HUB_MODEL, HubFault, HubMirror, ModelStore, Outcome, model_files};

const GRAPH: &str = "onnx/model.onnx";
const HUB_KEY: &str = "hf_0123456789SecretOfTheSuite";

/// What a repository holds, of which most is not needed.
fn repository() -> BTreeMap<String, Bytes> {
    let mut files: BTreeMap<String, Bytes> =
        model_files("tiny-qwen2").into_iter().map(|(path, content)| (path, content.into())).collect();
    files.insert("model.safetensors".to_owned(), Bytes::from_static(b"weights that nobody asked for"));
    files.insert("onnx/model.onnx_data/../../escape".to_owned(), Bytes::from_static(b"x"));
    files
}

/// One that nobody has exported.
fn without_graph(mut files: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    files.retain(|path, _| !path.starts_with("onnx/"));
    files.insert(
        "model.safetensors".to_owned(),
        model_files("tiny-qwen2").remove("model.safetensors").unwrap().into(),
    );
    files
}

async fn pull(store: &std::sync::Arc<ModelStore>, hub: &HubMirror, key: Option<&'static str>) -> Outcome {
    pull_with(store, hub, key.map(|key| ("HF_TOKEN", key)).as_slice()).await
}

/// In a thread of its own, because the hub answers in this one.
async fn pull_with(
    store: &std::sync::Arc<ModelStore>,
    hub: &HubMirror,
    settings: &[(&'static str, &'static str)],
) -> Outcome {
    let (store, url, settings) = (std::sync::Arc::clone(store), hub.url.clone(), settings.to_vec());
    let run =
        move || store.run_with(&["pull", HUB_MODEL], &[&[("HF_ENDPOINT", url.as_str())][..], &settings].concat());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The files that were asked for, without the lists of them.
fn fetched(hub: &HubMirror) -> Vec<String> {
    let requests = hub.requests().into_iter();
    let paths =
        requests.filter_map(|request| Some(request.path.split_once("/resolve/")?.1.split_once('/')?.1.to_owned()));
    paths.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_without_what_is_not_needed_and_never_twice() {
    let hub = HubMirror::start(repository(), Some(HUB_KEY)).await;
    let store = std::sync::Arc::new(ModelStore::new());
    pull(&store, &hub, Some(HUB_KEY)).await.must_succeed();
    let paths: Vec<String> = hub.requests().into_iter().map(|request| request.path).collect();
    assert!(paths.iter().any(|path| path.ends_with(GRAPH)), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("safetensors") || path.contains("escape")), "{paths:?}");
    let list = store.run(&["list"]).must_succeed().to_owned();
    assert!(list.contains("tiny_model  qwen2") && list.contains(&format!("{HUB_MODEL}@{HUB_COMMIT}")), "{list}");
    store.run(&["verify", "tiny_model"]).must_succeed();

    pull(&store, &hub, Some(HUB_KEY)).await.must_fail_with("already");
    store.run(&["remove", "tiny_model"]).must_succeed();
    hub.requests();
    pull(&store, &hub, Some(HUB_KEY)).await.must_succeed();
    assert_eq!(hub.requests().len(), 1, "the list alone is asked for; the files are in the cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_graph_is_fetched_as_safetensors_and_tried_on_wgpu() {
    let hub = HubMirror::start(without_graph(repository()), None).await;
    let store = std::sync::Arc::new(ModelStore::new());
    pull_with(&store, &hub, &[("LEDE_BACKEND", "ort")]).await.must_fail_with("there is no onnx/model*.onnx");
    pull_with(&store, &hub, &[("LEDE_MODEL_PRECISION", "q4")]).await.must_fail_with("precision q4");
    pull_with(&store, &hub, &[("LEDE_WGPU_ADAPTER", "of another machine")]).await.must_fail_with("none is named");
    assert_eq!(fetched(&hub), [""; 0]);
    pull(&store, &hub, None).await.must_succeed();
    let files = fetched(&hub);
    assert_eq!((files[0].as_str(), files.last().unwrap().as_str()), ("config.json", "model.safetensors"));
    let list = store.run(&["list"]).must_succeed().to_owned();
    assert!(list.contains("tiny_model  qwen2") && list.contains("  model.safetensors  "), "{list}");
    store.run(&["verify", "tiny_model"]).must_succeed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_configured_wgpu_gets_the_safetensors_though_there_is_a_graph() {
    let files: BTreeMap<String, Bytes> =
        model_files("tiny-qwen2").into_iter().map(|(path, content)| (path, content.into())).collect();
    let hub = HubMirror::start(files, None).await;
    let store = std::sync::Arc::new(ModelStore::new());
    pull_with(&store, &hub, &[("LEDE_BACKEND", "wgpu")]).await.must_succeed();
    let files = fetched(&hub);
    assert!(files.iter().any(|file| file == "model.safetensors"), "{files:?}");
    assert!(!files.iter().any(|file| file.contains("onnx")), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_model_that_cannot_be_run_nothing_but_its_configuration_is_fetched() {
    for (family, reason) in [("gemma2", "is not computed on wgpu; llama"), ("t5", "is not supported")] {
        let mut files = without_graph(repository());
        let config = String::from_utf8(files["config.json"].to_vec()).unwrap();
        files.insert("config.json".to_owned(), config.replace("\"qwen2\"", &format!("\"{family}\"")).into());
        let hub = HubMirror::start(files, None).await;
        let store = std::sync::Arc::new(ModelStore::new());
        let refused = pull(&store, &hub, None).await;
        refused.must_fail_with(reason);
        assert!(refused.complained.contains(": config.json: "), "{}", refused.complained);
        assert_eq!(fetched(&hub), ["config.json"]);
        assert_eq!(store.content(), BTreeMap::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_broke_off_goes_on_where_it_stopped() {
    let whole = repository()[GRAPH].len();
    for (fault, range) in [
        (HubFault::BreaksOffOnceAt(whole / 3), Some(format!("bytes={}-", whole / 3))),
        (HubFault::IgnoresRanges, None),
    ] {
        let hub = HubMirror::start(repository(), None).await;
        hub.spoil(GRAPH, fault);
        let store = std::sync::Arc::new(ModelStore::new());
        pull(&store, &hub, None).await.must_succeed();
        let of_graph: Vec<_> =
            hub.requests().into_iter().filter(|request| request.path.ends_with(GRAPH)).collect();
        assert!(of_graph.len() > 1, "{fault:?}: {of_graph:?}");
        if range.is_some() {
            assert_eq!(of_graph[1].range, range, "only what is missing is asked for");
        }
        store.run(&["verify"]).must_succeed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_spoils_is_refused_and_leaves_the_store_as_it_was() {
    for (fault, reason) in [
        (HubFault::WrongHash, "SHA-256"),
        (HubFault::Truncated, "broke off onnx/model.onnx"),
        (HubFault::Oversized, "sends more of onnx/model.onnx"),
    ] {
        let hub = HubMirror::start(repository(), None).await;
        hub.spoil(GRAPH, fault);
        let store = std::sync::Arc::new(ModelStore::new());
        pull(&store, &hub, None).await.must_fail_with(reason);
        assert_eq!(store.content(), BTreeMap::new(), "{fault:?}");
        assert_eq!(store.run(&["list"]).must_succeed().lines().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_needs_a_key_and_no_key_is_ever_shown() {
    let hub = HubMirror::start(repository(), Some(HUB_KEY)).await;
    let store = std::sync::Arc::new(ModelStore::new());
    pull(&store, &hub, None).await.must_fail_with("HF_TOKEN");
    let wrong = "hf_AnotherSecretOfTheSuite";
    let outcome = pull(&store, &hub, Some(wrong)).await;
    outcome.must_fail_with("HF_TOKEN");
    assert!(!outcome.complained.contains(wrong), "{}", outcome.complained);
    hub.spoil(GRAPH, HubFault::WrongHash);
    let outcome = pull(&store, &hub, Some(HUB_KEY)).await;
    outcome.must_fail_with("SHA-256");
    assert!(!outcome.complained.contains(HUB_KEY) && !outcome.said.contains(HUB_KEY), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_not_there_or_has_no_such_model_gives_one_line() {
    let store = ModelStore::new();
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    store.run_with(&["pull", HUB_MODEL], &nowhere).must_fail_with("cannot be reached");
    let hub = HubMirror::start(repository(), None).await;
    let url = hub.url.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        store
            .run_with(&["pull", "nobody/nothing"], &[("HF_ENDPOINT", url.as_str())])
            .must_fail_with("nobody/nothing");
        let small = [("HF_ENDPOINT", url.as_str()), ("LEDE_MODEL_BYTES_MAX", "1000")];
        store.run_with(&["pull", HUB_MODEL], &small).must_fail_with("LEDE_MODEL_BYTES_MAX");
        store.run_with(&["pull", "../nothing"], &[("HF_ENDPOINT", url.as_str())]).must_fail_with("OWNER/NAME");
        store.content()
    });
    assert!(outcome.await.unwrap().is_empty());
    assert!(hub.requests().iter().all(|request| request.path.starts_with("/api/")), "no file was asked for");
}
