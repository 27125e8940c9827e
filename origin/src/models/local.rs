//! Which files of a folder on this machine make a model.

use std::path::Path;

use super::folder::ModelError;
use super::graph_files::{self, FOLDERS, GraphFile, PrecisionChoice};
use super::hub::TEXT_FILES;
use super::store::SourceFile;

/// Texts, and one graph with its weights; all else in the folder stays where it is.
///
/// # Errors
/// When there is no such folder or no graph in it.
pub fn local_files(folder: &Path, choice: PrecisionChoice) -> Result<Vec<SourceFile>, ModelError> {
    if !folder.is_dir() {
        return Err(ModelError::new(folder, "there is no such folder"));
    }
    let paths = paths_in(folder);
    let GraphFile { path: graph, .. } =
        graph_files::choose(&paths, choice).map_err(|reason| ModelError::new(folder, reason))?;
    let is_wanted = |path: &String| {
        TEXT_FILES.contains(&path.as_str()) || *path == graph || graph_files::is_data_of(&graph, path)
    };
    let wanted = paths.into_iter().filter(is_wanted);
    Ok(wanted.map(|path| SourceFile { from: folder.join(&path), path }).collect())
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
