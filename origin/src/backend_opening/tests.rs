//! Who is in the chain, for settings and folders of every kind. No model is opened.

use std::fs;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use tempfile::TempDir;

use super::*;

const GRAPH: &str = "onnx/model.onnx";
const SAFETENSORS: &str = "model.safetensors";

/// A folder with these files, empty ones but for the configuration of a model.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("onnx")).unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    files.iter().for_each(|file| fs::write(folder.path().join(file), "").unwrap());
    folder
}

fn chain(folder: &Path, settings: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
    let library = folder.join("config.json");
    let mut source = Figment::new()
        .merge(Serialized::default("model_dir", folder))
        .merge(Serialized::default("ort_library", library))
        .merge(Serialized::default("cold", "off"));
    for (name, value) in settings {
        source = source.merge(Serialized::default(name, value));
    }
    let openings = BackendOpening::chain(&Config::read(&source).unwrap()).map_err(|error| error.to_string())?;
    Ok(openings.iter().map(BackendOpening::name).collect())
}

#[test]
fn a_folder_without_a_graph_runs_on_wgpu_unless_onnx_runtime_is_asked_for() {
    let folder = folder(&[SAFETENSORS]);
    let of = |settings: &[(&str, &str)]| chain(folder.path(), settings);
    assert_eq!(of(&[]).unwrap(), ["wgpu"], "nobody can stand in");
    assert_eq!(of(&[("backend", "wgpu")]).unwrap(), ["wgpu"]);
    for settings in [
        &[("backend", "ort")][..],
        &[("backend", "wgpu"), ("backend_fallback", "ort")],
        &[("model_precision", "q4")],
    ] {
        let error = of(settings).unwrap_err();
        assert!(error.starts_with("LEDE_BACKEND") && error.contains("there is no onnx/model*.onnx"), "{error}");
        assert!(error.contains("docs/MODELS.md") && error.contains("LEDE_BACKEND=wgpu"), "{error}");
    }
    assert_eq!(of(&[("backend", "wgpu"), ("model_precision", "q4")]).unwrap(), ["wgpu"], "it rounds for itself");
}

#[test]
fn a_folder_without_safetensors_runs_on_onnx_runtime_unless_wgpu_is_asked_for() {
    let folder = folder(&[GRAPH]);
    let of = |settings: &[(&str, &str)]| chain(folder.path(), settings);
    assert_eq!(of(&[]).unwrap(), ["ort"], "and is opened there once");
    assert_eq!(of(&[("backend_fallback", "wgpu")]).unwrap(), ["ort"], "nobody can stand in");
    for settings in [&[("backend", "wgpu")][..], &[("backend", "ort"), ("backend_fallback", "wgpu")]] {
        let error = of(settings).unwrap_err();
        assert!(error.contains("there is no model.safetensors"), "{error}");
    }
}

#[test]
fn whoever_is_asked_for_comes_first_and_nobody_stands_in_who_was_not_asked() {
    let folder = folder(&[GRAPH, SAFETENSORS]);
    let of = |backend, fallback| chain(folder.path(), &[("backend", backend), ("backend_fallback", fallback)]);
    assert_eq!(of("ort", "wgpu").unwrap(), ["ort", "wgpu"]);
    assert_eq!(of("wgpu", "ort").unwrap(), ["wgpu", "ort"]);
    assert_eq!(of("wgpu", "none").unwrap(), ["wgpu"]);
    assert_eq!(of("auto", "none").unwrap().len(), 1);
}

#[test]
fn a_folder_with_neither_is_refused_with_the_name_of_what_is_missing() {
    let folder = folder(&[]);
    for settings in [&[][..], &[("backend", "ort")], &[("backend", "wgpu")]] {
        let error = chain(folder.path(), settings).unwrap_err();
        assert!(error.contains("there is no") && error.contains("model"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
