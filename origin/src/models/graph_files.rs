//! Which of a folder's ONNX graphs is run: `onnx/model*.onnx` in the precisions that transformers.js names.

use std::fmt::{self, Display};
use std::str::FromStr;

/// Where graphs lie: transformers.js and optimum's hub exports have a folder, onnxruntime-genai's builder has none.
pub(super) const FOLDERS: [&str; 2] = ["onnx", ""];
/// File names before the precision; the second is the older form of the layout.
const STEMS: [&str; 2] = ["model", "decoder_model_merged"];

/// How weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
    /// 4-bit integers, the rest in 32-bit floats.
    Q4,
    /// 4-bit integers, the rest in 16-bit floats.
    Q4f16,
}

/// Which precision to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// The smallest that a processor computes with directly.
    #[default]
    Auto,
    /// This one.
    Only(Precision),
}

/// Smallest first, since reading the weights is what a decode step spends its time on; 16-bit floats last, since a
/// processor has to widen them first.
const AUTO: [Precision; 5] = [Precision::Q4, Precision::Int8, Precision::Fp32, Precision::Fp16, Precision::Q4f16];

impl Precision {
    /// Its name in settings and in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
            Self::Q4f16 => "q4f16",
        }
    }

    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Fp32 => &[""],
            Self::Fp16 => &["_fp16"],
            Self::Int8 => &["_int8", "_quantized"],
            Self::Q4 => &["_q4"],
            Self::Q4f16 => &["_q4f16"],
        }
    }
}

impl Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// No precision goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a precision; known are auto, fp32, fp16, int8, q4, q4f16")]
pub struct UnknownPrecision(String);

impl FromStr for PrecisionChoice {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let name = name.trim().to_ascii_lowercase();
        let named = AUTO.into_iter().find(|precision| precision.name() == name);
        match named {
            Some(precision) => Ok(Self::Only(precision)),
            None if name == "auto" => Ok(Self::Auto),
            None => Err(UnknownPrecision(name)),
        }
    }
}

/// A graph's path inside its folder, with `/`, and its precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphFile {
    /// `onnx/model_q4.onnx`
    pub path: String,
    /// What its name says.
    pub precision: Precision,
}

/// Chooses among `paths`, the files of a folder.
///
/// # Errors
/// When none fits; says which there are.
pub(super) fn choose(paths: &[String], choice: PrecisionChoice) -> Result<GraphFile, String> {
    let wanted: &[Precision] = match &choice {
        PrecisionChoice::Auto => &AUTO,
        PrecisionChoice::Only(precision) => std::slice::from_ref(precision),
    };
    let candidates = wanted.iter().flat_map(|precision| candidates(*precision));
    let mut present = candidates.filter(|file| paths.contains(&file.path));
    present.next().ok_or_else(|| {
        let graphs: Vec<&str> = paths.iter().map(String::as_str).filter(|path| path.ends_with(".onnx")).collect();
        let found = if graphs.is_empty() { "none".to_owned() } else { graphs.join(", ") };
        let wanted: Vec<&str> = wanted.iter().map(|precision| precision.name()).collect();
        format!("there is no onnx/model*.onnx in precision {}; ONNX files found: {found}", wanted.join(", "))
    })
}

fn candidates(precision: Precision) -> impl Iterator<Item = GraphFile> {
    let names = STEMS
        .iter()
        .flat_map(move |stem| precision.suffixes().iter().map(move |suffix| format!("{stem}{suffix}.onnx")));
    let names: Vec<String> = names.collect();
    FOLDERS
        .iter()
        .flat_map(move |folder| {
            let in_folder =
                |name: &String| if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            names.iter().map(in_folder).collect::<Vec<_>>()
        })
        .map(move |path| GraphFile { path, precision })
}

/// Does `path` hold weights of the graph at `graph`? They lie beside it under its name with an ending.
#[must_use]
pub(super) fn is_data_of(graph: &str, path: &str) -> bool {
    path.strip_prefix(graph).is_some_and(|ending| {
        let ending = ending.trim_start_matches(['_', '.']);
        let number = ending.strip_prefix("data").map(|number| number.trim_start_matches('_'));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], choice: &str) -> Result<String, String> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        choose(&paths, choice.parse().unwrap()).map(|graph| graph.path)
    }

    #[test]
    fn the_smallest_that_a_processor_computes_with_is_taken_unless_told_otherwise() {
        let all = ["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx", "onnx/model_q4.onnx"];
        assert_eq!(chosen(&all, "auto").unwrap(), "onnx/model_q4.onnx");
        assert_eq!(chosen(&all[..3], "auto").unwrap(), "onnx/model_quantized.onnx");
        assert_eq!(chosen(&all[..2], "auto").unwrap(), "onnx/model.onnx");
        assert_eq!(chosen(&all, "fp16").unwrap(), "onnx/model_fp16.onnx");
        assert_eq!(
            chosen(&["model.onnx", "onnx/decoder_model_merged.onnx"], "fp32").unwrap(),
            "onnx/decoder_model_merged.onnx"
        );
        assert_eq!(chosen(&["model.onnx"], "auto").unwrap(), "model.onnx");
    }

    #[test]
    fn a_missing_precision_is_named_with_what_there_is() {
        let error = chosen(&["onnx/model.onnx", "README.md"], "q4").unwrap_err();
        assert!(error.contains("q4") && error.contains("onnx/model.onnx") && !error.contains("README"), "{error}");
        assert!(chosen(&["onnx/encoder_model.onnx"], "auto").is_err());
        assert!("q5".parse::<PrecisionChoice>().is_err());
    }

    #[test]
    fn weights_beside_a_graph_belong_to_it_alone() {
        for path in ["onnx/model.onnx_data", "onnx/model.onnx.data", "onnx/model.onnx_data_1"] {
            assert!(is_data_of("onnx/model.onnx", path), "{path}");
        }
        for path in ["onnx/model.onnx", "onnx/model_q4.onnx_data", "onnx/model.onnx_database", "model.onnx_data"] {
            assert!(!is_data_of("onnx/model.onnx", path), "{path}");
        }
    }
}
