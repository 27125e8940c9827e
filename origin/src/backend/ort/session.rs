//! Opening a graph: with which options, on which device.

use std::path::{Path, PathBuf};

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::batch::{Memory, Reach};
use super::buffer::host;
use super::execution_providers::ExecutionProviderName;
use super::graph::GraphSizes;
use super::head::{Head, gather_wanted};
use super::runtime;
use crate::backend::BackendError;

/// Most bytes of a graph's file, without the weights that lie beside it: the most that the format can have.
const GRAPH_BYTES_MAX: u64 = 1 << 31;

/// How to open a model.
#[derive(Clone, Debug)]
pub struct OrtSettings {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The exported graph.
    pub model_file: PathBuf,
    /// In order of preference; the processor comes last, named or not.
    pub execution_providers: Vec<ExecutionProviderName>,
    /// Threads of one operator; 0 leaves it to ONNX Runtime.
    pub intra_op_threads: usize,
    /// Let idle threads spin: faster on a machine of one's own, far slower on a shared one.
    pub intra_op_spinning: bool,
    /// Most rows in a step.
    pub rows_max: usize,
    /// Positions in each row.
    pub context_tokens_max: usize,
    /// Most bytes of attention keys and values. None: enough for twice as many full rows as a step can have, beside those of
    /// the step itself.
    pub attention_bytes_max: Option<u64>,
    /// Sizes for a graph that leaves its own open.
    pub sizes: Option<GraphSizes>,
}

/// Opens the graph on one device.
pub(super) fn open_session(
    settings: &OrtSettings,
    provider: ExecutionProviderName,
) -> Result<(Session, Head), BackendError> {
    let path = &settings.model_file;
    let failed = |error: String| BackendError::new("opening the model", format!("{}: {error}", path.display()));
    let mut builder = builder(settings, provider).map_err(failed)?;
    let (model, head) = changed(path).map_err(|error| failed(error.to_string()))?;
    if head.takes_wanted {
        match from_memory(builder.clone(), path, &model) {
            Ok(session) => return Ok((session, head)),
            Err(error) => tracing::warn!(%error, "the graph's head cannot be changed: it works on all entries"),
        }
    }
    let session = builder.commit_from_file(path).map_err(|error| failed(error.to_string()))?;
    Ok((session, Head { takes_wanted: false, ..head }))
}

fn builder(settings: &OrtSettings, provider: ExecutionProviderName) -> Result<SessionBuilder, String> {
    let environment = runtime::environment(&settings.library).map_err(|error| error.to_string())?;
    let mut builder = Session::builder(&environment)
        .and_then(|builder| Ok(builder.with_intra_op_spinning(settings.intra_op_spinning)?))
        .map_err(|error| error.to_string())?;
    if settings.intra_op_threads > 0 {
        builder = builder.with_intra_threads(settings.intra_op_threads).map_err(|error| error.to_string())?;
    }
    provider.register(&mut builder)?;
    Ok(builder)
}

/// The graph's file with its head changed, or nothing of a file that is too large.
fn changed(path: &Path) -> std::io::Result<(Vec<u8>, Head)> {
    if std::fs::metadata(path)?.len() > GRAPH_BYTES_MAX {
        return Ok((Vec::new(), Head::default()));
    }
    let mut model = std::fs::read(path)?;
    let head = gather_wanted(&mut model);
    Ok((model, head))
}

fn from_memory(builder: SessionBuilder, path: &Path, model: &[u8]) -> ort::Result<Session> {
    let folder = path.parent().unwrap_or(Path::new("")).to_string_lossy();
    // Weights beside the graph are looked for there.
    let key = "session.model_external_initializers_file_folder_path";
    builder.with_config_entry(key, folder)?.commit_from_memory(model)
}

impl Memory {
    /// Where a session on that device keeps attention caches.
    pub(super) fn of(session: &Session, provider: ExecutionProviderName) -> ort::Result<Self> {
        match provider {
            ExecutionProviderName::Cpu => Ok(Self { allocator: host(), reach: Reach::Everything }),
            ExecutionProviderName::Cuda | ExecutionProviderName::TensorRt => {
                let info = MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Device, MemoryType::Default)?;
                Ok(Self { allocator: Allocator::new(session, info)?.into(), reach: Reach::Caches })
            }
            ExecutionProviderName::CoreMl | ExecutionProviderName::DirectMl => {
                Ok(Self { allocator: host(), reach: Reach::Nothing })
            }
        }
    }
}
