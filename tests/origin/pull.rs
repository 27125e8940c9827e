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

/// In a thread of its own, because the hub answers in this one.
async fn pull(store: &std::sync::Arc<ModelStore>, hub: &HubMirror, key: Option<&'static str>) -> Outcome {
    let (store, url) = (std::sync::Arc::clone(store), hub.url.clone());
    let run = move || {
        let mut settings = vec![("HF_ENDPOINT", url.as_str())];
        settings.extend(key.map(|key| ("HF_TOKEN", key)));
        store.run_with(&["pull", HUB_MODEL], &settings)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
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
