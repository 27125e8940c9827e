//! Bring your own model: the store from the command line, and serving from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lede_tests::{ModelStore, Origin, free_port, model_files, model_fixture, ok_json, post, sunset};
use serde_json::{Map, Value, json};

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

fn without_graph(folder: &Path) {
    fs::remove_dir_all(folder.join("onnx")).unwrap();
}

/// Cuts `model.safetensors` in two, with an index, as large models come.
fn in_two_files(folder: &Path) {
    let whole = fs::read(folder.join("model.safetensors")).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let header_bytes = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let (header, data) = whole[8..].split_at(header_bytes);
    let mut tensors: Map<String, Value> = serde_json::from_slice(header).unwrap();
    tensors.remove("__metadata__");
    let mut weight_map = Map::new();
    let names: Vec<String> = tensors.keys().cloned().collect();
    for (number, names) in (1..).zip(names.chunks(names.len().div_ceil(2))) {
        let (file, mut own, mut bytes) =
            (format!("model-{number:05}-of-00002.safetensors"), Map::new(), Vec::new());
        for name in names {
            let mut tensor = tensors[name].clone();
            let offset = |index: usize| tensor["data_offsets"][index].as_u64().unwrap() as usize;
            let range = offset(0)..offset(1);
            tensor["data_offsets"] = json!([bytes.len(), bytes.len() + range.len()]);
            bytes.extend_from_slice(&data[range]);
            own.insert(name.clone(), tensor);
            weight_map.insert(name.clone(), json!(file));
        }
        let header = serde_json::to_vec(&own).unwrap();
        let content = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat();
        fs::write(folder.join(file), content).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": weight_map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_safetensors_is_a_model_like_any_other_and_runs_on_wgpu() {
    // Nothing of ONNX Runtime is needed for it.
    const NO_LIBRARY: (&str, &str) = ("LEDE_ORT_LIBRARY", "/nonexistent");
    let store = ModelStore::new();
    let models = store.path();
    for (name, model, in_two) in [("one", "tiny-llama", false), ("two", "tiny-qwen2", true)] {
        let (_folder, copy) = copy_of(model);
        without_graph(&copy);
        if in_two {
            in_two_files(&copy);
        }
        store.run_with(&["add", text(&copy), "--name", name], &[NO_LIBRARY]).must_succeed();
        let list = store.run(&["list"]).must_succeed().to_owned();
        let weights = if in_two { "  model.safetensors.index.json  " } else { "  model.safetensors  " };
        assert!(list.lines().any(|line| line.starts_with(name) && line.contains(weights)), "{list}");
        store.run(&["verify", name]).must_succeed();

        let settings = [("LEDE_MODEL", name), ("LEDE_MODELS_DIR", text(&models)), NO_LIBRARY];
        let origin = Origin::start_with(free_port(), &settings).await;
        let (_, answer) = ok_json(post(&origin.url, "/api/v14/generate", &sunset())).await;
        assert_eq!(answer["model"], name);
        assert!(!answer["caption"].as_str().unwrap().is_empty(), "{answer}");
        let log = origin.log();
        let chosen = log.lines().find(|line| line.contains("backend chosen")).unwrap();
        assert!(chosen.contains("wgpu") && chosen.contains("there is no onnx/model*.onnx"), "{chosen}");

        let settings = [("LEDE_MODEL", name), ("LEDE_MODELS_DIR", text(&models)), ("LEDE_BACKEND", "ort")];
        let mut origin = Origin::spawn(free_port(), &settings);
        let ended = origin.wait(STOP_WAIT).unwrap();
        let log = origin.log();
        assert!(!ended.success() && log.lines().count() == 1, "{log}");
        for said in ["LEDE_BACKEND: ", name, "there is no onnx/model*.onnx", "docs/MODELS.md", "LEDE_BACKEND=wgpu"]
        {
            assert!(log.contains(said), "{said}: {log}");
        }
    }
}

#[test]
fn what_is_taken_of_a_folder_is_what_the_configured_engine_reads() {
    let store = ModelStore::new();
    let folder = model_fixture("tiny-qwen2");
    let has = |name: &str, file: &str| store.path().join(name).join(file).exists();
    for (name, settings, graph, safetensors) in [
        ("either", &[][..], true, false),
        ("wgpu", &[("LEDE_BACKEND", "wgpu")], false, true),
        ("ort", &[("LEDE_BACKEND", "ort")], true, false),
        ("both", &[("LEDE_BACKEND", "ort"), ("LEDE_BACKEND_FALLBACK", "wgpu")], true, true),
    ] {
        store.run_with(&["add", text(&folder), "--name", name], settings).must_succeed();
        assert_eq!((has(name, "onnx/model.onnx"), has(name, "model.safetensors")), (graph, safetensors), "{name}");
    }
    let (_folder, copy) = copy_of("tiny-qwen2");
    without_graph(&copy);
    let before = store.content();
    let refused = store.run_with(&["add", text(&copy), "--name", "none"], &[("LEDE_BACKEND", "ort")]);
    refused.must_fail_with("there is no onnx/model*.onnx");
    assert_eq!(store.content(), before);
}

/// Spoils a copy of a model.
type Spoil = fn(&Path);

#[test]
fn a_broken_model_gives_one_clear_error_and_leaves_the_store_as_it_was() {
    let store = ModelStore::new();
    store.run(&["add", text(&model_fixture("tiny-qwen2"))]).must_succeed();
    let before = store.content();
    let cases: [(&str, Spoil, &str); 11] = [
        (
            "no weights",
            |f| {
                without_graph(f);
                fs::remove_file(f.join("model.safetensors")).unwrap();
            },
            "there is no onnx/model*.onnx",
        ),
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
        must_be_refused(&store, what, spoil, reason);
    }
    let large = store.run_with(&["add", text(&model_fixture("tiny-llama"))], &[("LEDE_MODEL_BYTES_MAX", "5000")]);
    large.must_fail_with("LEDE_MODEL_BYTES_MAX");
    store.run(&["add", "/nonexistent"]).must_fail_with("/nonexistent");
    assert_eq!(store.content(), before);
}

#[test]
fn a_broken_model_without_a_graph_gives_one_clear_error_too() {
    let store = ModelStore::new();
    let cases: [(&str, Spoil, &str); 2] = [
        (
            "half of the safetensors, alone",
            |f| {
                without_graph(f);
                cut(&f.join("model.safetensors"));
            },
            "shorter or longer than its header says",
        ),
        (
            "a family that only a graph could run",
            |f| {
                without_graph(f);
                replace(&f.join("config.json"), "\"qwen2\"", "\"gemma2\"");
            },
            "model_type \"gemma2\" is not computed on wgpu; llama, mistral, qwen2, qwen3, smollm3 are, others need",
        ),
    ];
    for (what, spoil, reason) in cases {
        must_be_refused(&store, what, spoil, reason);
    }
}

fn must_be_refused(store: &ModelStore, what: &str, spoil: Spoil, reason: &str) {
    let (before, (_folder, copy)) = (store.content(), copy_of("tiny-qwen2"));
    spoil(&copy);
    let outcome = store.run(&["add", text(&copy)]);
    assert!(!outcome.succeeded, "{what} was added");
    outcome.must_fail_with(reason);
    assert!(!outcome.complained.contains(".adding-"), "{what}: {}", outcome.complained);
    assert_eq!(store.content(), before, "{what} left something behind");
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
