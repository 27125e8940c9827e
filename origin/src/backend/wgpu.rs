//! wgpu as a backend: decoders of the Llama family from their `safetensors`, computed by shaders of our own on any Vulkan, Metal
//! or DX12 adapter.
//!
//! Attention keys and values lie in blocks of 16 positions ([`kv_blocks`]), so rows rest, fork and are cut back without a copy of
//! more than one block. A row's logits are bit for bit the same alone and among others, read whole or in pieces, on a forked
//! beginning or on its own: every kernel adds in an order that depends on the entry alone.

pub mod checkpoint;
pub mod device;
pub mod family;
mod forward;
#[cfg(test)]
mod host_forward;
pub mod kernels;
pub mod kv_blocks;
pub mod matrix;
#[cfg(test)]
mod reference;
mod rotary;
mod scratch;
mod sizing;
mod step;
mod weights;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use sizing::{PrecisionChoice, UnknownPrecision};

use self::checkpoint::Checkpoint;
use self::device::{Device, DeviceSettings, Without};
use self::family::Family;
use self::forward::{Forward, Loaded, Pool, head_shape};
use self::kernels::Kernels;
use self::kernels::linear::Way;
use self::kernels::select::{PICKED_MAX, Request, Selector, SelectorShape};
use self::kv_blocks::{BLOCK_TOKENS, KvBlocks};
use self::matrix::Precision;
use self::scratch::ScratchSizes;
use self::step::{Step, StepLimits, Wanted};
use self::weights::ModelWeights;
use super::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, FailureKind, Prefix, Row, RowWork,
    Selected, Selection, select_on_host,
};

/// How long the device may take for a step. Who runs the engine watches more closely; this is so that nobody waits for ever.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Most entries that the device works on at once: most workgroups of a dispatch.
const STEP_TOKENS_MOST: usize = 65_535;

/// How to open a model.
#[derive(Clone, Debug)]
pub struct WgpuSettings {
    /// A Hugging Face folder: `config.json`, and `model.safetensors` or several with an index.
    pub model_dir: PathBuf,
    /// Part of an adapter's name; without it the first of discrete GPU, virtual GPU, integrated GPU, software.
    pub adapter: Option<String>,
    /// How weights are kept.
    pub precision: PrecisionChoice,
    /// Most rows that one step works on.
    pub rows_max: usize,
    /// Most positions of a row; the model may have fewer.
    pub context_tokens_max: usize,
    /// Most memory for attention keys and values.
    pub attention_bytes_max: u64,
    /// Entries that the device works on at once; a longer step is cut into several submissions.
    pub step_tokens_max: usize,
}

/// Reads a model and readies a device for it.
///
/// # Errors
/// When there is no such adapter, the folder's model is not computed here or broken, or the device has not enough memory.
pub fn open(settings: &WgpuSettings) -> Result<Box<dyn Backend>, BackendError> {
    let begun = Instant::now();
    let family = Family::open(&settings.model_dir)?;
    sizing::check_sizes(&family)?;
    let checkpoint = Checkpoint::open(&settings.model_dir)?;
    let device = Device::open(&DeviceSettings { adapter: settings.adapter.clone(), without: Without::default() })?;
    let (precision, why) = settings.precision.on(device.capabilities());
    let backend = WgpuBackend::new(device, &family, checkpoint, (settings, precision))?;
    let capabilities = backend.device.capabilities();
    tracing::info!(
        adapter = capabilities.name,
        driver = capabilities.driver,
        software = capabilities.software,
        shader_f16 = capabilities.shader_f16,
        subgroup_size = capabilities.subgroup_size,
        cooperative_matrix = capabilities.cooperative_matrix,
        ?precision,
        why,
        model_bytes = backend.model_bytes,
        bytes = backend.device.bytes_in_use(),
        positions = backend.positions_free(),
        ms = begun.elapsed().as_millis() as u64,
        "the model is on the device"
    );
    Ok(Box::new(backend))
}

/// Could a folder's model run here, on some adapter? Reads no weights.
///
/// # Errors
/// When its family or its sizes are not computed here, or its files are missing or broken.
pub fn check(model_dir: &Path) -> Result<(), BackendError> {
    sizing::check_sizes(&Family::open(model_dir)?)?;
    Checkpoint::open(model_dir).map(drop)
}

/// Could a model with this `config.json`, whatever the file's name, run here?
///
/// # Errors
/// As [`check`].
pub fn check_config(path: &Path) -> Result<(), BackendError> {
    sizing::check_sizes(&Family::read(path)?)
}

/// A device with a model and its rows.
struct WgpuBackend {
    device: Device,
    limits: StepLimits,
    book: KvBlocks,
    forward: Forward,
    selector: Selector,
    /// Whose logits the latest step left behind, in their order.
    wanted: Vec<Wanted>,
    /// The row of logits that the host looks at.
    logits: Vec<f32>,
    precision: Precision,
    /// Bytes of the weights, as the device was given them.
    model_bytes: u64,
    /// The file that named them.
    file: &'static str,
    entries_computed: u64,
}

impl WgpuBackend {
    fn new(
        device: Device,
        family: &Family,
        checkpoint: Checkpoint,
        (settings, precision): (&WgpuSettings, Precision),
    ) -> Result<Self, BackendError> {
        let shape = BackendShape {
            vocabulary_entries: family.vocabulary_entries,
            context_tokens_max: settings.context_tokens_max.min(family.positions_max),
            rows_max: settings.rows_max,
        };
        let limits = sizing::limits(shape, device.capabilities())?;
        let file = checkpoint.file();
        let weights = ModelWeights::load(&device, checkpoint, family, precision)?;
        let model_bytes = device.bytes_in_use();
        let heads = head_shape(family, precision != Precision::F32);
        let budget = (family.layers, settings.attention_bytes_max);
        let blocks = sizing::blocks(shape, heads, budget, device.capabilities())?;
        let pools: Result<Vec<_>, _> =
            (0..family.layers).map(|_| Pool::new(&device, heads, blocks as usize)).collect();
        let rows_open_max = (blocks as usize).clamp(shape.rows_max, sizing::ROWS_OPEN_MAX);
        let sizes = ScratchSizes {
            limits,
            step_tokens_max: settings.step_tokens_max.clamp(1, STEP_TOKENS_MOST),
            copies_max: rows_open_max,
        };
        let mut kernels = Kernels::new(&device);
        let loaded = Loaded { weights, pools: pools?, shape: heads };
        let forward = Forward::bind(&mut kernels, family, loaded, &sizes)?;
        let requests_max = limits.logits_rows_max.min(sizing::PICKED_ROWS_MAX);
        let selector_shape = SelectorShape { vocabulary_entries: shape.vocabulary_entries, requests_max };
        let selector = Selector::bind(&mut kernels, forward.logits(), selector_shape)?;
        let book = KvBlocks::new(blocks, rows_open_max);
        let logits = vec![0.0; shape.vocabulary_entries];
        Ok(Self {
            device,
            limits,
            book,
            forward,
            selector,
            wanted: Vec::new(),
            logits,
            precision,
            model_bytes,
            file,
            entries_computed: 0,
        })
    }

    fn logits_row(&self, item: usize, offset: usize) -> Result<usize, BackendError> {
        let found = self.wanted.iter().position(|wanted| (wanted.item, wanted.offset) == (item, offset));
        found.ok_or_else(|| refused("logits", "they were not asked for"))
    }

    /// Selections for which the device has no room or that ask for more than it picks.
    fn select_one_on_host(&mut self, selection: &Selection<'_>) -> Result<Selected, BackendError> {
        let mut selected = Selected::default();
        let logits = self.logits(selection.item, selection.offset)?;
        select_on_host(logits, selection.permitted, selection.count_max, &mut selected);
        Ok(selected)
    }
}

impl Backend for WgpuBackend {
    fn shape(&self) -> BackendShape {
        self.limits.shape
    }

    fn description(&self) -> BackendDescription {
        let capabilities = self.device.capabilities();
        BackendDescription {
            backend: "wgpu",
            device: capabilities.name.clone(),
            device_kind: capabilities.kind,
            driver: Some(capabilities.driver.clone()),
            precision: self.precision.name(),
            file: self.file.to_owned(),
            batched: true,
            subgroups: matches!(Way::of(capabilities), Way::Subgroup(_)),
            // An adapter may have them; no kernel of ours names them.
            cooperative_matrices: false,
        }
    }

    fn device_bytes(&self) -> DeviceBytes {
        let (weights_bytes, attention_bytes) = (self.model_bytes, self.forward.attention_bytes());
        let scratch_bytes = self.device.bytes_in_use().saturating_sub(weights_bytes + attention_bytes);
        DeviceBytes { weights_bytes, attention_bytes, scratch_bytes }
    }

    fn entries_computed(&self) -> u64 {
        self.entries_computed
    }

    fn takes_guesses(&self) -> bool {
        // What a GPU waits for at each step is the weights, and those are read once for all entries.
        !self.device.capabilities().software
    }

    fn positions_free(&self) -> usize {
        self.book.free_blocks() * BLOCK_TOKENS
    }

    fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        self.book.open(prefix)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.limits.check(work, &self.book)?;
        let rows: Vec<(Row, usize)> = work.iter().map(|item| (item.row, item.ids.len())).collect();
        self.book.extend(&rows)?;
        let step = Step::of(work, &self.book, self.limits.table_blocks());
        self.wanted.clear();
        let submitted = self.forward.submit(&self.device, &step, &self.book.take_copies());
        // From here on the rows are not as they were, whatever the device ran out of.
        self.entries_computed += submitted.map_err(|error| match error.kind() {
            FailureKind::Lost => error,
            _ => BackendError::new("step", error),
        })?;
        self.wanted = step.wanted;
        Ok(())
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        selected.clear();
        if selections.iter().any(|selection| selection.count_max > PICKED_MAX) {
            for selection in selections {
                selected.push(self.select_one_on_host(selection)?);
            }
            return Ok(());
        }
        for some in selections.chunks(sizing::PICKED_ROWS_MAX.min(self.limits.logits_rows_max)) {
            let requests: Result<Vec<_>, _> = some
                .iter()
                .map(|selection| {
                    let logits_row = self.logits_row(selection.item, selection.offset)?;
                    Ok(Request { logits_row, permitted: selection.permitted, count_max: selection.count_max })
                })
                .collect();
            self.selector.select(&self.device, &requests?, selected, STEP_MAX)?;
        }
        Ok(())
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        let bytes = 4 * self.logits.len() as u64;
        let row = self.logits_row(item, offset)? as u64;
        let staging = self.forward.logits_staging();
        let mut encoder = self.device.encoder();
        encoder.copy_buffer_to_buffer(self.forward.logits().raw(), row * bytes, staging.raw(), 0, bytes);
        self.device.submit(encoder)?;
        self.device.read(staging, &mut self.logits, STEP_MAX)?;
        Ok(&self.logits)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        self.book.truncate(row, positions);
    }

    fn close(&mut self, row: Row) {
        self.book.close(row);
    }
}

fn refused(context: &'static str, cause: &'static str) -> BackendError {
    BackendError::of_kind(FailureKind::Refused, context, cause)
}
