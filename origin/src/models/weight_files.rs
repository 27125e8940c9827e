//! Which files of a folder, or of a repository, hold a model's weights: one ONNX graph, for ONNX Runtime, or safetensors, for
//! wgpu.

use std::path::Path;

use super::folder::is_chat;
use super::graph_files::{self, GraphFile, Precision, PrecisionChoice};
use super::local::paths_in;
use crate::backend::wgpu::checkpoint::{INDEX_FILE, SINGLE_FILE};

/// The embedded model's graph.
const EMBEDDED_GRAPH: &str = "onnx/model.onnx";
/// Digits of a number in the name of one of several files.
const SHARD_DIGITS: usize = 5;

/// Which of the two are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightsWanted {
    /// A graph, or safetensors where there is none. Who names a precision means a graph: then nothing takes its place.
    #[default]
    Either,
    /// A graph.
    Graph,
    /// Safetensors, which are rounded when they are loaded.
    Safetensors,
    /// A graph and safetensors.
    Both,
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesWanted {
    /// Which of several graphs.
    pub precision: PrecisionChoice,
    /// What the weights are to be read from.
    pub weights: WeightsWanted,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFiles {
    /// The graph that fits best, or why there is none.
    pub graph: Result<GraphFile, String>,
    /// The one file, or the index of several.
    pub safetensors: Option<&'static str>,
}

impl WeightFiles {
    /// Those among `paths`, the files of a folder.
    pub(super) fn among(paths: &[String], precision: PrecisionChoice) -> Self {
        let is_there = |file: &&str| paths.iter().any(|path| path == *file);
        Self {
            graph: graph_files::choose(paths, precision),
            // As they are read: where there is an index, it counts.
            safetensors: [INDEX_FILE, SINGLE_FILE].into_iter().find(is_there),
        }
    }

    /// Those in `folder`. The embedded model has one graph, whatever precision is asked for.
    #[must_use]
    pub fn in_folder(folder: &Path, precision: PrecisionChoice) -> Self {
        let paths = paths_in(folder);
        let found = Self::among(&paths, precision);
        if is_chat(folder) {
            return found;
        }
        let graph = GraphFile { path: EMBEDDED_GRAPH.to_owned(), precision: Precision::Fp32 };
        let is_there = paths.contains(&graph.path);
        Self { graph: if is_there { Ok(graph) } else { Err(format!("there is no {EMBEDDED_GRAPH}")) }, ..found }
    }

    /// Those that are taken of them.
    ///
    /// # Errors
    /// Says what is missing.
    pub(super) fn taken(self, wanted: FilesWanted) -> Result<Self, String> {
        let FilesWanted { precision, weights } = wanted;
        let Self { graph, safetensors } = self;
        let missing = || format!("there is no {SINGLE_FILE}, nor {INDEX_FILE}");
        match weights {
            WeightsWanted::Graph => Ok(Self { graph: Ok(graph?), safetensors: None }),
            WeightsWanted::Safetensors => {
                let graph = Err("it is not wanted".to_owned());
                Ok(Self { graph, safetensors: Some(safetensors.ok_or_else(missing)?) })
            }
            WeightsWanted::Both => {
                Ok(Self { graph: Ok(graph?), safetensors: Some(safetensors.ok_or_else(missing)?) })
            }
            WeightsWanted::Either => match graph {
                Ok(graph) => Ok(Self { graph: Ok(graph), safetensors: None }),
                Err(reason) if precision != PrecisionChoice::Auto => Err(reason),
                Err(reason) if safetensors.is_none() => Err(format!("{reason}; {}", missing())),
                Err(reason) => Ok(Self { graph: Err(reason), safetensors }),
            },
        }
    }

    /// Does one of these files lie at `path`?
    pub(super) fn hold(&self, path: &str) -> bool {
        let is_of_graph = |graph: &GraphFile| path == graph.path || graph_files::is_data_of(&graph.path, path);
        let is_one_of_several = self.safetensors == Some(INDEX_FILE) && is_shard(path);
        self.graph.as_ref().is_ok_and(is_of_graph) || self.safetensors == Some(path) || is_one_of_several
    }

    /// The path that tells the most about them: of the graph, else of the safetensors.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.graph.as_ref().ok().map(|graph| graph.path.as_str()).or(self.safetensors)
    }
}

/// Does a file of that name hold weights? All others are texts, which are read into memory whole.
pub(super) fn is_weights(path: &str) -> bool {
    path.contains(".onnx") || path.ends_with(".safetensors")
}

/// `model-00001-of-00004.safetensors`, as transformers names them.
fn is_shard(path: &str) -> bool {
    let numbers = path.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number =
        |number: &str| number.len() == SHARD_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    let pair = numbers.and_then(|numbers| numbers.split_once("-of-"));
    pair.is_some_and(|(number, count)| is_number(number) && is_number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPH: &str = "onnx/model.onnx";

    /// What is taken of some files, or why nothing is.
    fn taken(files: &[&str], precision: &str, weights: WeightsWanted) -> Result<Vec<String>, String> {
        let paths: Vec<String> = files.iter().map(|path| (*path).to_owned()).collect();
        let precision: PrecisionChoice = precision.parse().unwrap();
        let found = WeightFiles::among(&paths, precision).taken(FilesWanted { precision, weights })?;
        Ok(paths.into_iter().filter(|path| found.hold(path)).collect())
    }

    #[test]
    fn a_graph_is_preferred_and_safetensors_take_its_place_unless_a_precision_is_named() {
        use WeightsWanted::{Both, Either, Graph, Safetensors};
        let both = [GRAPH, SINGLE_FILE];
        assert_eq!(taken(&both, "auto", Either).unwrap(), [GRAPH]);
        assert_eq!(taken(&both, "auto", Graph).unwrap(), [GRAPH]);
        assert_eq!(taken(&both, "auto", Safetensors).unwrap(), [SINGLE_FILE]);
        assert_eq!(taken(&both, "auto", Both).unwrap(), both);
        assert_eq!(taken(&[SINGLE_FILE], "auto", Either).unwrap(), [SINGLE_FILE]);
        for (files, precision, weights, missing) in [
            (&both[..], "q4", Either, "precision q4"),
            (&[SINGLE_FILE], "auto", Graph, "no onnx/model*.onnx"),
            (&[SINGLE_FILE], "auto", Both, "no onnx/model*.onnx"),
            (&[GRAPH], "auto", Both, "no model.safetensors"),
            (&[GRAPH], "auto", Safetensors, "no model.safetensors"),
            (&["README.md"], "auto", Either, "no model.safetensors"),
        ] {
            let error = taken(files, precision, weights).unwrap_err();
            assert!(error.contains(missing), "{error}");
        }
        assert_eq!(
            taken(&both, "q4", Safetensors).unwrap(),
            [SINGLE_FILE],
            "they are rounded when they are loaded"
        );
    }

    #[test]
    fn of_several_safetensors_those_are_taken_that_an_index_stands_for_and_no_others() {
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let others = [
            SINGLE_FILE,
            "consolidated.safetensors",
            "model-1-of-2.safetensors",
            "x/model-00001-of-00002.safetensors",
        ];
        let all = [&[INDEX_FILE][..], &shards, &others].concat();
        let expected = [&[INDEX_FILE][..], &shards].concat();
        assert_eq!(taken(&all, "auto", WeightsWanted::Safetensors).unwrap(), expected);
        let without_index = [&shards[..], &others].concat();
        assert_eq!(taken(&without_index, "auto", WeightsWanted::Safetensors).unwrap(), [SINGLE_FILE]);
        assert!(is_weights(shards[0]) && !is_weights(INDEX_FILE));
    }
}
