//! Which files of a folder on this machine make a model.

use std::path::Path;

use super::folder::ModelError;
use super::graph_files::FOLDERS;
use super::hub::TEXT_FILES;
use super::store::SourceFile;
use super::weight_files::{FilesWanted, WeightFiles};
use crate::backend::wgpu;

/// Texts and weights; all else in the folder stays where it is.
///
/// # Errors
/// When there is no such folder, or not what is wanted in it, or safetensors that wgpu could not run.
pub fn local_files(folder: &Path, wanted: FilesWanted) -> Result<Vec<SourceFile>, ModelError> {
    if !folder.is_dir() {
        return Err(ModelError::new(folder, "there is no such folder"));
    }
    let weights = WeightFiles::in_folder(folder, wanted.precision).taken(wanted);
    let weights = weights.map_err(|reason| ModelError::new(folder, reason))?;
    if weights.safetensors.is_some() {
        // Before anything is copied.
        wgpu::check(folder).map_err(|error| ModelError::new(folder, error))?;
    }
    let is_wanted = |path: &String| TEXT_FILES.contains(&path.as_str()) || weights.hold(path);
    let files = paths_in(folder).into_iter().filter(is_wanted);
    Ok(files.map(|path| SourceFile { from: folder.join(&path), path }).collect())
}

/// The files where a model's can lie, relative to `folder`, in order.
pub(super) fn paths_in(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for inner in FOLDERS {
        let Ok(entries) = std::fs::read_dir(folder.join(inner)) else { continue };
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        paths.extend(names.map(|name| if inner.is_empty() { name } else { format!("{inner}/{name}") }));
    }
    paths.sort_unstable();
    paths
}
