//! What an exported decoder says of its inputs and outputs: names are what it is bound by.
//!
//! Two layouts share these names. In onnxruntime-genai's, attention extends a buffer in place; in that of optimum and
//! transformers.js, `present` is `past` with the new positions appended.

use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;

use ort::memory::Allocator;
use ort::session::Session;
use ort::value::{DynTensor, DynValue, Outlet, TensorElementType, ValueType};

use super::execution_providers::ExecutionProviderName;
use super::head::{Head, WANTED};
use super::session::OrtSettings;
use crate::backend::{BackendDescription, BackendError};

const PAST: &str = "past_key_values.";
const PRESENT: &str = "present.";

/// Sizes out of `config.json`, for graphs that leave them open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphSizes {
    /// Heads that keys and values have.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// Width of a row of logits.
    pub vocabulary_entries: usize,
}

/// A decoder's signature.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) cache: Rc<CacheSignature>,
    /// Positions are given, `[rows, entries]`; otherwise the graph counts them itself.
    pub(super) takes_position_ids: bool,
    /// An older form of the layout: a flag says whether there is a past.
    pub(super) takes_cache_branch: bool,
    /// It is told which entries' logits are wanted, and computes no others.
    pub(super) takes_wanted: bool,
    /// Rows of a batch change each other's results.
    pub(super) scales_per_batch: bool,
    pub(super) vocabulary_entries: usize,
    pub(super) logits_type: TensorElementType,
    /// The lengths of past and present say that one is the other and more.
    says_concatenating: bool,
    /// What the session runs on and how; whether batched is its user's to say.
    pub(super) description: BackendDescription,
    /// Bytes of the graph's files, weights beside it included.
    pub(super) weights_bytes: u64,
}

/// Names, sizes and type of the attention cache.
#[derive(Clone, Debug)]
pub(super) struct CacheSignature {
    /// Past input and present output of each tensor, `[rows, heads, positions, head_size]`.
    pub(super) names: Vec<(String, String)>,
    pub(super) heads: usize,
    pub(super) head_size: usize,
    pub(super) element_type: TensorElementType,
}

impl Graph {
    /// Reads the signature off a session.
    pub(super) fn of(
        session: &Session,
        head: Head,
        (settings, provider): (&OrtSettings, ExecutionProviderName),
    ) -> Result<Self, BackendError> {
        let sizes = settings.sizes;
        let has_input = |name: &str| session.inputs().iter().any(|input| input.name() == name);
        for needed in ["input_ids", "attention_mask"] {
            if !has_input(needed) {
                return Err(unsupported(format!("it has no input {needed}")));
            }
        }
        if let Some(stranger) = session.inputs().iter().find(|input| !is_known(input.name())) {
            let name = stranger.name();
            return Err(unsupported(format!("nothing is known to give to its input {name:?}")));
        }
        let cache = CacheSignature::of(session, sizes)?;
        let logits = output(session, "logits").ok_or_else(|| unsupported("it has no output logits"))?;
        let (logits_type, width) = tensor(logits).ok_or_else(|| unsupported("its logits are no tensor"))?;
        let declared = width.last().copied().and_then(positive);
        let vocabulary_entries = declared.or(sizes.map(|sizes| sizes.vocabulary_entries));
        let mut graph = Self {
            says_concatenating: cache.names.iter().all(|(_, present)| says_sum(output(session, present))),
            cache: Rc::new(cache),
            description: describe(settings, provider, head),
            weights_bytes: files_bytes(&settings.model_file),
            takes_position_ids: has_input("position_ids"),
            takes_cache_branch: has_input("use_cache_branch"),
            takes_wanted: has_input(WANTED),
            scales_per_batch: head.scales_per_batch,
            vocabulary_entries: vocabulary_entries.ok_or_else(|| unsupported("its logits have no fixed width"))?,
            logits_type,
        };
        if head.weight_bits.is_none() && !graph.is_single() {
            graph.description.precision = "f16";
        }
        match graph.logits_type {
            TensorElementType::Float32 | TensorElementType::Float16 => Ok(graph),
            other => Err(unsupported(format!("its logits are {other}, not 32-bit or 16-bit floats"))),
        }
    }

    /// Are cache and logits 32-bit floats?
    pub(super) fn is_single(&self) -> bool {
        [self.cache.element_type, self.logits_type] == [TensorElementType::Float32; 2]
    }

    /// Could attention extend a shared buffer in place? Only a trial shows whether it does.
    pub(super) fn may_share_buffers(&self) -> bool {
        !self.takes_cache_branch && !self.says_concatenating
    }
}

impl CacheSignature {
    fn of(session: &Session, sizes: Option<GraphSizes>) -> Result<Self, BackendError> {
        let mut names = Vec::new();
        let mut seen = None;
        for input in session.inputs() {
            let Some(part) = input.name().strip_prefix(PAST) else { continue };
            let present = format!("{PRESENT}{part}");
            if output(session, &present).is_none() {
                return Err(unsupported(format!("it has no output {present}")));
            }
            let Some((element_type, &[_, heads, _, head_size])) = tensor(input) else {
                return Err(unsupported("its attention cache does not have four dimensions"));
            };
            if *seen.get_or_insert((element_type, heads, head_size)) != (element_type, heads, head_size) {
                return Err(unsupported("its layers have attention caches of different sizes"));
            }
            names.push((input.name().to_owned(), present));
        }
        let Some((element_type, heads, head_size)) = seen else {
            return Err(unsupported("it has no attention cache (past_key_values); export it with one"));
        };
        if !matches!(element_type, TensorElementType::Float32 | TensorElementType::Float16) {
            return Err(unsupported(format!(
                "its attention cache holds {element_type}, not 32-bit or 16-bit floats"
            )));
        }
        let open = || unsupported("its attention cache has no fixed number of heads and head size");
        let heads = positive(heads).or(sizes.map(|sizes| sizes.key_value_heads)).ok_or_else(open)?;
        let head_size = positive(head_size).or(sizes.map(|sizes| sizes.head_size)).ok_or_else(open)?;
        Ok(Self { names, heads, head_size, element_type })
    }

    /// Bytes that one position of one row takes.
    pub(super) fn position_bytes(&self) -> usize {
        let elements = self.names.len() * self.heads * self.head_size;
        self.element_type.byte_size(elements).unwrap_or(elements)
    }

    /// The cache of a row that has read nothing: tensors of no positions.
    pub(super) fn empty(&self) -> ort::Result<Vec<DynValue>> {
        let shape = [1, self.heads, 0, self.head_size];
        let tensor = |_| Ok(DynTensor::new(&Allocator::default(), self.element_type, shape)?.into_dyn());
        self.names.iter().map(tensor).collect()
    }
}

/// A row at a time, until a trial shows that it can be otherwise.
fn describe(settings: &OrtSettings, provider: ExecutionProviderName, head: Head) -> BackendDescription {
    BackendDescription {
        backend: "onnxruntime",
        device: provider.to_string(),
        device_kind: provider.device_kind(),
        driver: None,
        precision: match head.weight_bits {
            None => "f32",
            Some(..=4) => "int4",
            Some(_) => "int8",
        },
        file: settings.model_file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        batched: false,
        subgroups: false,
        cooperative_matrices: false,
    }
}

/// Length of a graph and of the weights that lie beside it, under its name with an ending.
fn files_bytes(graph: &Path) -> u64 {
    let (Some(folder), Some(name)) = (graph.parent(), graph.file_name().and_then(OsStr::to_str)) else { return 0 };
    let is_part = |file: &OsStr| {
        let ending = file.to_str().and_then(|file| file.strip_prefix(name));
        ending
            .is_some_and(|ending| ending.is_empty() || ending.starts_with("_data") || ending.starts_with(".data"))
    };
    // Opening has found them; what cannot be looked at is not counted.
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let parts =
        files.filter(|file| is_part(&file.file_name())).filter_map(|file| std::fs::metadata(file.path()).ok());
    parts.map(|part| part.len()).sum()
}

fn is_known(name: &str) -> bool {
    let named = ["input_ids", "attention_mask", "position_ids", "use_cache_branch", WANTED];
    named.contains(&name) || name.starts_with(PAST)
}

fn output<'a>(session: &'a Session, name: &str) -> Option<&'a Outlet> {
    session.outputs().iter().find(|output| output.name() == name)
}

fn tensor(outlet: &Outlet) -> Option<(TensorElementType, &[i64])> {
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, shape)),
        _ => None,
    }
}

/// The third dimension's name is a sum, as exporters write it for a concatenation.
fn says_sum(outlet: Option<&Outlet>) -> bool {
    match outlet.map(Outlet::dtype) {
        Some(ValueType::Tensor { dimension_symbols, .. }) => {
            dimension_symbols.get(2).is_some_and(|symbol| symbol.contains('+'))
        }
        _ => false,
    }
}

fn positive(size: i64) -> Option<usize> {
    usize::try_from(size).ok().filter(|size| *size > 0)
}

pub(super) fn unsupported(reason: impl ToString) -> BackendError {
    BackendError::new("the graph is not a decoder that can be run", reason)
}
