//! What a model's files say of its size.

use std::path::Path;

use super::graph_files::PrecisionChoice;
use super::local::{local_files, paths_in};
use super::weight_files::FilesWanted;

/// Bytes of the files that are read to serve the model in `folder`: texts and one graph with its weights, or, where there is
/// no graph, safetensors. What cannot be read counts for nothing: opening it will say why.
#[must_use]
pub fn bytes_on_disk(folder: &Path, choice: PrecisionChoice) -> u64 {
    let wanted = FilesWanted { precision: choice, ..FilesWanted::default() };
    let paths: Vec<String> = match local_files(folder, wanted) {
        Ok(files) => files.into_iter().map(|file| file.path).collect(),
        Err(_) => paths_in(folder).into_iter().filter(|path| path.ends_with(".safetensors")).collect(),
    };
    let lengths = paths.iter().filter_map(|path| Some(std::fs::metadata(folder.join(path)).ok()?.len()));
    lengths.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_not_read_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let choice = PrecisionChoice::Auto;
        fs::write(folder.path().join("model.safetensors"), [0; 700]).unwrap();
        assert_eq!(bytes_on_disk(folder.path(), choice), 700);
        fs::create_dir(folder.path().join("onnx")).unwrap();
        for (file, bytes) in [
            ("config.json", 10),
            ("README.md", 1_000),
            ("onnx/model_q4.onnx", 200),
            ("onnx/model_q4.onnx_data", 3_000),
            ("onnx/model_fp16.onnx", 40_000),
        ] {
            fs::write(folder.path().join(file), vec![0; bytes]).unwrap();
        }
        assert_eq!(bytes_on_disk(folder.path(), choice), 3_210);
        assert_eq!(bytes_on_disk(&folder.path().join("nowhere"), choice), 0);
    }
}
