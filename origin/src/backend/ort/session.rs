//! The backend itself: one prompt at a time, then all rows together, one entry each.

use std::path::PathBuf;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::attention_cache::{AttentionCache, CacheLayout};
use super::dense::DenseBackend;
use super::execution_providers::{self, ExecutionProviderName};
use super::graph::{Graph, GraphSizes};
use super::lane::{Lane, LaneSettings};
use super::runtime;
use crate::backend::{BackendError, BackendShape};

/// How to open a model.
#[derive(Clone, Debug)]
pub struct OrtSettings {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The exported graph.
    pub model_file: PathBuf,
    /// In order of preference.
    pub execution_providers: Vec<ExecutionProviderName>,
    /// Threads of one operator; 0 leaves it to ONNX Runtime.
    pub intra_op_threads: usize,
    /// Let idle threads spin: faster on a machine of one's own, far slower on a shared one.
    pub intra_op_spinning: bool,
    /// Most rows.
    pub rows_max: usize,
    /// Positions in each row.
    pub context_tokens_max: usize,
    /// Sizes for a graph that leaves its own open.
    pub sizes: Option<GraphSizes>,
}

/// A session with its rows.
///
/// Rows live in the narrowest lane (1, 2, 4, … rows) that holds them; a lane is made when it is first needed.
pub(super) struct OrtBackend {
    session: Session,
    shape: BackendShape,
    layout: CacheLayout,
    takes_position_ids: bool,
    on_host: bool,
    prompt: PromptLane,
    lanes: Vec<Lane>,
    /// The lane in use; there is always one.
    lane: usize,
    /// Positions in use, by row.
    lengths: Vec<usize>,
}

/// Where prompts are read: one row whose cache is then copied into a lane.
struct PromptLane {
    cache: AttentionCache,
    binding: IoBinding,
    takes_position_ids: bool,
    /// After the prompt's last entry.
    logits: Vec<f32>,
}

impl OrtBackend {
    /// A backend on an open session, whose graph is believed to extend shared buffers.
    pub(super) fn new(
        session: Session,
        graph: Graph,
        shape: BackendShape,
        chosen: ExecutionProviderName,
    ) -> Result<Self, BackendError> {
        let on_host = chosen == ExecutionProviderName::Cpu;
        let takes_position_ids = graph.takes_position_ids;
        let layout = CacheLayout::new(graph.cache, shape.context_tokens_max);
        let prompt = PromptLane {
            cache: AttentionCache::new(&layout, 1)?,
            binding: session.create_binding().map_err(|error| BackendError::new("preparing prompts", error))?,
            takes_position_ids,
            logits: Vec::new(),
        };
        let mut backend = Self {
            session,
            shape,
            layout,
            takes_position_ids,
            on_host,
            prompt,
            lanes: Vec::new(),
            lane: 0,
            lengths: Vec::new(),
        };
        backend.lane_for(1)?;
        Ok(backend)
    }

    /// The session, for another backend.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// The index of the narrowest lane for `rows` rows, made if need be.
    fn lane_for(&mut self, rows: usize) -> Result<usize, BackendError> {
        let index = rows.next_power_of_two().ilog2() as usize;
        while self.lanes.len() <= index {
            let width = (1 << self.lanes.len()).min(self.shape.rows_max);
            let settings = LaneSettings {
                width,
                takes_position_ids: self.takes_position_ids,
                binds_each_step: !self.on_host,
            };
            self.lanes.push(Lane::new(&self.session, &self.layout, self.shape, &settings)?);
        }
        Ok(index)
    }

    /// Moves all rows to the narrowest lane that holds `rows`, if they are not there.
    fn fit(&mut self, rows: usize) -> Result<(), BackendError> {
        let index = self.lane_for(rows)?;
        if index == self.lane {
            return Ok(());
        }
        let (left, right) = self.lanes.split_at_mut(index.max(self.lane));
        let (source, target) =
            if index > self.lane { (&left[self.lane], &mut right[0]) } else { (&right[0], &mut left[index]) };
        for (row, length) in self.lengths.iter().enumerate() {
            target.cache.copy_from(&source.cache, row, row, *length);
            target.set_visible(row, *length);
        }
        (self.lengths.len()..target.width).for_each(|row| target.set_visible(row, 1));
        self.lane = index;
        Ok(())
    }
}

impl DenseBackend for OrtBackend {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn prefill(&mut self, prompt_ids: &[u32]) -> Result<&[f32], BackendError> {
        let row = self.lengths.len();
        super::check_prompt(self.shape, row, prompt_ids)?;
        self.fit(row + 1)?;
        let read = self.prompt.read(&mut self.session, prompt_ids, self.shape.vocabulary_entries);
        read.map_err(|error| BackendError::new("prefill", error))?;
        let lane = &mut self.lanes[self.lane];
        lane.cache.copy_from(&self.prompt.cache, 0, row, prompt_ids.len());
        lane.set_visible(row, prompt_ids.len());
        self.lengths.push(prompt_ids.len());
        Ok(&self.prompt.logits)
    }

    fn decode(&mut self, input_ids: &[u32]) -> Result<&[f32], BackendError> {
        let rows = self.lengths.len();
        super::check_step(self.shape, self.lengths.iter().copied(), input_ids)?;
        self.fit(rows)?;
        let logits = self.lanes[self.lane].step(&mut self.session, input_ids, &self.lengths);
        let logits = logits.map_err(|error| BackendError::new("decode", error))?;
        self.lengths.iter_mut().for_each(|length| *length += 1);
        Ok(&logits[..rows * self.shape.vocabulary_entries])
    }

    fn release(&mut self, row: usize) {
        if row >= self.lengths.len() {
            return;
        }
        self.lengths.swap_remove(row);
        let last = self.lengths.len();
        let lane = &mut self.lanes[self.lane];
        if let Some(length) = self.lengths.get(row) {
            lane.cache.copy_within(last, row, *length);
            lane.set_visible(row, *length);
        }
        lane.set_visible(last, 1);
    }
}

impl PromptLane {
    /// Reads a prompt from an empty cache. One prompt at a time: with a past, GroupQueryAttention takes several
    /// new entries only in a batch of one.
    fn read(&mut self, session: &mut Session, prompt_ids: &[u32], width: usize) -> ort::Result<()> {
        let length = prompt_ids.len();
        let ids: Vec<i64> = prompt_ids.iter().map(|id| i64::from(*id)).collect();
        let on_host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        self.binding.bind_input("input_ids", &Tensor::from_array(([1, length], ids))?)?;
        self.binding.bind_input("attention_mask", &Tensor::from_array(([1, length], vec![1i64; length]))?)?;
        if self.takes_position_ids {
            let positions: Vec<i64> = (0i64..).take(length).collect();
            self.binding.bind_input("position_ids", &Tensor::from_array(([1, length], positions))?)?;
        }
        self.binding.bind_output_to_device("logits", &on_host)?;
        self.cache.bind(&mut self.binding)?;
        let outputs = session.run_binding(&self.binding)?;
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
        self.logits.clear();
        self.logits.extend_from_slice(&logits[logits.len().saturating_sub(width)..]);
        Ok(())
    }
}

pub(super) fn open_session(settings: &OrtSettings) -> Result<(Session, ExecutionProviderName), BackendError> {
    let path = settings.model_file.display();
    let failed = |error: ort::Error| BackendError::new("opening the model", format!("{path}: {error}"));
    let environment = runtime::environment(&settings.library)?;
    let mut builder = Session::builder(&environment).map_err(failed)?;
    builder = builder.with_intra_op_spinning(settings.intra_op_spinning).map_err(|error| failed(error.into()))?;
    if settings.intra_op_threads > 0 {
        builder = builder.with_intra_threads(settings.intra_op_threads).map_err(|error| failed(error.into()))?;
    }
    let chosen = execution_providers::choose(&settings.execution_providers, &mut builder);
    let session = builder.commit_from_file(&settings.model_file).map_err(failed)?;
    Ok((session, chosen))
}
