//! Bring your own model: the store from the command line, and serving from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lede_tests::{ModelStore, Origin, free_port, model_files, model_fixture, ok_json, post, sunset};
use serde_json::json;

const STOP_WAIT: Duration = Duration::from_secs(30);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A copy of a fixture in which something can be broken.
fn copy_of(model: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("broken");
    for (path, content) in model_files(model) {
        let target = copy.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    }
    (folder, copy)
}

#[test]
fn a_model_is_added_listed_verified_and_removed() {
    let store = ModelStore::new();
    assert_eq!(store.run(&["list"]).must_succeed().lines().count(), 1, "only the header");
    for model in ["tiny-llama", "tiny-qwen2"] {
        store.run(&["add", text(&model_fixture(model))]).must_succeed();
    }
    let list = store.run(&["list"]).must_succeed().to_owned();
    assert!(list.contains("tiny-llama  llama") && list.contains("tiny-qwen2  qwen2"), "{list}");
    assert!(list.contains("onnx/model.onnx"), "{list}");
    assert!(!store.path().join("tiny-llama/expected_logits.json").exists(), "only what is needed is taken in");
    assert_eq!(store.run(&["verify"]).must_succeed().lines().count(), 2);

    let tokenizer = store.path().join("tiny-llama/tokenizer.json");
    let mut content = fs::read(&tokenizer).unwrap();
    content[100] ^= 1;
    fs::write(&tokenizer, content).unwrap();
    store.run(&["verify"]).must_fail_with("tiny-llama: tokenizer.json: has changed");
    store.run(&["verify", "tiny-qwen2"]).must_succeed();
    let list = store.run(&["list"]).must_succeed().to_owned();
    let verified = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap().contains("  no  ");
    assert!(verified("tiny-llama") && !verified("tiny-qwen2"), "{list}");

    let named = [("LEDE_MODEL", "tiny-llama")];
    store.run_with(&["remove", "tiny-llama"], &named).must_fail_with("--force");
    store.run_with(&["remove", "tiny-llama", "--force"], &named).must_succeed();
    store.run(&["remove", "tiny-llama"]).must_fail_with("there is no model");
    assert!(!store.run(&["list"]).must_succeed().contains("tiny-llama"));
}

#[test]
fn a_precision_can_be_chosen_and_a_name_given() {
    let store = ModelStore::new();
    let folder = model_fixture("tiny-qwen2");
    store.run(&["add", text(&folder), "--precision", "fp16", "--name", "half"]).must_succeed();
    let list = store.run(&["list"]).must_succeed().to_owned();
    assert!(list.contains("half  qwen2") && list.contains("onnx/decoder_model_merged_fp16.onnx"), "{list}");
    store.run(&["add", text(&folder), "--precision", "q4"]).must_fail_with("precision q4");
    store.run(&["add", text(&folder), "--name", "half"]).must_fail_with("already");
    store.run(&["add", text(&folder), "--name", "../half"]).must_fail_with("cannot be a model's name");
}

/// Spoils a copy of a model.
type Spoil = fn(&Path);

#[test]
fn a_broken_model_gives_one_clear_error_and_leaves_the_store_as_it_was() {
    let store = ModelStore::new();
    store.run(&["add", text(&model_fixture("tiny-qwen2"))]).must_succeed();
    let before = store.content();
    let cases: [(&str, Spoil, &str); 11] = [
        ("no weights", |f| fs::remove_dir_all(f.join("onnx")).unwrap(), "there is no onnx/model*.onnx"),
        ("no tokenizer", |f| fs::remove_file(f.join("tokenizer.json")).unwrap(), "tokenizer.json"),
        ("no config", |f| fs::remove_file(f.join("config.json")).unwrap(), "config.json"),
        ("half a config", |f| cut(&f.join("config.json")), "config.json"),
        ("half a tokenizer", |f| cut(&f.join("tokenizer.json")), "tokenizer.json"),
        ("half a graph", |f| cut(&f.join("onnx/model.onnx")), "opening the model"),
        (
            "another family",
            |f| replace(&f.join("config.json"), "\"qwen2\"", "\"t5\""),
            "model_type \"t5\" is not supported",
        ),
        (
            "a smaller vocabulary",
            |f| replace(&f.join("config.json"), "\"vocab_size\": 320", "\"vocab_size\": 300"),
            "vocab_size",
        ),
        (
            "a larger vocabulary",
            |f| replace(&f.join("config.json"), "\"vocab_size\": 320", "\"vocab_size\": 400"),
            "400",
        ),
        (
            "a template that stops",
            |f| fs::write(f.join("chat_template.jinja"), "{{ raise_exception('no') }}").unwrap(),
            "chat template",
        ),
        (
            "no end",
            |f| {
                fs::write(f.join("generation_config.json"), "{}").unwrap();
                fs::write(f.join("tokenizer_config.json"), "{}").unwrap();
                replace(&f.join("config.json"), "\"eos_token_id\"", "\"other\"");
            },
            "ends an answer",
        ),
    ];
    for (what, spoil, reason) in cases {
        let (_folder, copy) = copy_of("tiny-qwen2");
        spoil(&copy);
        let outcome = store.run(&["add", text(&copy)]);
        assert!(!outcome.succeeded, "{what} was added");
        outcome.must_fail_with(reason);
        assert!(!outcome.complained.contains(".adding-"), "{what}: {}", outcome.complained);
        assert_eq!(store.content(), before, "{what} left something behind");
    }
    let large = store.run_with(&["add", text(&model_fixture("tiny-llama"))], &[("LEDE_MODEL_BYTES_MAX", "5000")]);
    large.must_fail_with("LEDE_MODEL_BYTES_MAX");
    store.run(&["add", "/nonexistent"]).must_fail_with("/nonexistent");
    assert_eq!(store.content(), before);
}

fn cut(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() / 2]).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let content = fs::read_to_string(path).unwrap();
    assert!(content.contains(from), "{from} is not in {content}");
    fs::write(path, content.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_the_store_is_served_and_the_command_line_leaves_it_running() {
    let store = ModelStore::new();
    for model in ["tiny-llama", "tiny-qwen2"] {
        store.run(&["add", text(&model_fixture(model))]).must_succeed();
    }
    for model in ["tiny-llama", "tiny-qwen2"] {
        let models = store.path();
        let settings = [("LEDE_MODEL", model), ("LEDE_MODELS_DIR", text(&models))];
        let origin = Origin::start_with(free_port(), &settings).await;
        for (style, hashtag_count) in [("bold", 0), ("minimal", 3), ("casual", 5)] {
            let mut request = sunset();
            request["style"] = style.into();
            request["hashtag_count"] = hashtag_count.into();
            request["max_length"] = json!(120);
            let (_, answer) = ok_json(post(&origin.url, "/api/v14/generate", &request)).await;
            assert_eq!(answer["model"], model);
            assert_eq!(answer["hashtags"].as_array().unwrap().len(), hashtag_count, "{answer}");
            assert!(!answer["caption"].as_str().unwrap().is_empty(), "{answer}");
        }
        let (_folder, broken) = copy_of(model);
        cut(&broken.join("onnx/model.onnx"));
        store.run(&["add", text(&broken)]).must_fail_with("opening the model");
        assert!(origin.is_ready().await, "a failed addition must not touch who serves");
    }
}

#[tokio::test]
async fn a_configured_model_that_is_broken_ends_the_start_with_one_clear_line() {
    let store = ModelStore::new();
    store.run(&["add", text(&model_fixture("tiny-llama"))]).must_succeed();
    cut(&store.path().join("tiny-llama/onnx/model.onnx"));
    let models = store.path();
    for (name, reason) in [("tiny-llama", "opening the model"), ("nobody", "nobody"), ("../x", "LEDE_MODEL: ")] {
        let settings = [("LEDE_MODEL", name), ("LEDE_MODELS_DIR", text(&models)), ("LEDE_LOG", "off")];
        let mut origin = Origin::spawn(free_port(), &settings);
        let ended = origin.wait(STOP_WAIT).unwrap();
        let log = origin.log();
        assert!(!ended.success() && log.contains(reason) && log.lines().count() == 1, "{name}: {log}");
    }
}
