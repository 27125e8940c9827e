//! Opening a graph on the first device that can run it, and finding out, by running it, which of the two layouts it has.

use std::rc::Rc;

use super::batch::Memory;
use super::concatenating::Concatenating;
use super::execution_providers::ExecutionProviderName;
use super::graph::Graph;
use super::rows::BLOCK_TOKENS;
use super::runtime;
use super::session::{OrtSettings, open_session};
use super::shared_buffers::SharedBuffers;
use crate::backend::{Backend, BackendError, BackendShape, FailureKind, LogitsWanted, RowWork};

/// Most that logits of the two ways may differ, as a share of the largest logit: far above rounding, far below what a
/// misread cache does.
const DIFFERENCE_SHARE_MAX: f32 = 1e-3;
/// The same where the cache or the logits are 16-bit floats, which have eleven bits.
const DIFFERENCE_SHARE_MAX_FP16: f32 = 2e-2;

/// The trial's entries: a prompt of two, then two steps. Any entries will do.
const TRIAL_IDS_MAX: u32 = 4;
const TRIAL_PROMPT_TOKENS: usize = 2;

/// Opens a decoder in whichever supported layout it has, on the first of the execution providers that opens it and computes
/// finite numbers. The log says which one, and why not those before it.
///
/// A graph whose attention extends shared buffers in place is run batched; any other one sequence at a time. Graphs do not
/// say which kind they are, so both ways run on a few entries and must agree.
///
/// # Errors
/// When library or graph is missing, broken or not a decoder with an attention cache, or when its first steps fail.
pub fn open(settings: &OrtSettings) -> Result<Box<dyn Backend>, BackendError> {
    runtime::environment(&settings.library)?;
    let named = settings.execution_providers.iter().copied();
    let mut refused = Vec::new();
    for provider in named.filter(|name| *name != ExecutionProviderName::Cpu) {
        match open_on(settings, provider) {
            Ok(backend) => {
                tracing::info!(chosen = %provider, refused = refused.join("; "), "execution provider chosen");
                return Ok(backend);
            }
            Err(error) => refused.push(format!("{provider}: {error}")),
        }
    }
    let backend = open_on(settings, ExecutionProviderName::Cpu)?;
    tracing::info!(chosen = "cpu", refused = refused.join("; "), "execution provider chosen");
    Ok(backend)
}

fn open_on(settings: &OrtSettings, provider: ExecutionProviderName) -> Result<Box<dyn Backend>, BackendError> {
    let (session, head) = open_session(settings, provider)?;
    let graph = Rc::new(Graph::of(&session, head, (settings, provider))?);
    let (shape, positions_max) = sizes(settings, &graph);
    let memory =
        Memory::of(&session, provider).map_err(|error| BackendError::new("the device's memory", error))?;
    let mut one_by_one = Concatenating::new(session, &graph, shape, positions_max);
    let expected = trial(&mut one_by_one).map_err(|error| BackendError::new("the model's first steps", error))?;
    if expected.iter().any(|logit| !logit.is_finite()) {
        return Err(BackendError::new("the model's first steps", "it computes no finite logits"));
    }
    if graph.scales_per_batch {
        tracing::warn!(
            "the graph scales activations per batch: rows run alone, and how a prompt is cut changes its logits"
        );
    }
    if !graph.may_share_buffers() {
        tracing::info!(
            layout = "concatenating",
            "the graph copies its attention cache: sequences run one at a time"
        );
        return Ok(Box::new(one_by_one));
    }
    let session = one_by_one.into_session();
    let mut batched = SharedBuffers::new(session, &graph, shape, &memory, positions_max)?;
    match trial(&mut batched) {
        Ok(logits) if agree(&logits, &expected, &graph) => {
            tracing::info!(layout = "shared buffers", "the graph extends its attention cache in place: batched");
            Ok(Box::new(batched))
        }
        // That says nothing of the graph: opened again, it may well be batched.
        Err(error) if error.kind() == FailureKind::Lost => Err(error),
        outcome => {
            let reason = outcome.map_or_else(|error| error.to_string(), |_| "its logits differ".to_owned());
            tracing::info!(layout = "concatenating", reason, "the graph does not extend its cache in place");
            Ok(Box::new(Concatenating::new(batched.into_session(), &graph, shape, positions_max)))
        }
    }
}

/// How many rows and positions the memory for attention suffices for.
///
/// The batch is as long for each of its rows as for the longest, so full rows are set aside for it, at most half of the
/// memory. All rows that are open share the rest: what leaves the batch is kept no longer than it is.
fn sizes(settings: &OrtSettings, graph: &Graph) -> (BackendShape, usize) {
    let context_tokens_max = settings.context_tokens_max;
    let positions = settings.attention_bytes_max.map_or(3 * settings.rows_max * context_tokens_max, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX) / graph.cache.position_bytes()
    });
    let rows_max = (positions / 2 / context_tokens_max).clamp(1, settings.rows_max);
    if rows_max < settings.rows_max {
        tracing::warn!(rows_max, wanted = settings.rows_max, "the memory for attention is too small for all rows");
    }
    let aside = positions.saturating_sub(rows_max * context_tokens_max).max(context_tokens_max);
    let shape = BackendShape { vocabulary_entries: graph.vocabulary_entries, context_tokens_max, rows_max };
    (shape, aside.next_multiple_of(BLOCK_TOKENS))
}

/// The logits of a prompt and of two steps after it, and of the same entries read two at a time. Leaves no row behind.
fn trial(backend: &mut dyn Backend) -> Result<Vec<f32>, BackendError> {
    let entries = u32::try_from(backend.shape().vocabulary_entries).unwrap_or(u32::MAX);
    let ids: Vec<u32> = (1..=TRIAL_IDS_MAX).map(|id| id % entries).collect();
    let (prompt_ids, steps) = ids.split_at(TRIAL_PROMPT_TOKENS);
    let mut logits = Vec::new();
    let row = backend.open(None)?;
    for ids in std::iter::once(prompt_ids).chain(steps.chunks(1)) {
        backend.submit(&[RowWork { row, ids, logits: LogitsWanted::Last }])?;
        logits.extend_from_slice(backend.logits(0, ids.len() - 1)?);
    }
    backend.close(row);
    let row = backend.open(None)?;
    backend.submit(&[RowWork { row, ids: prompt_ids, logits: LogitsWanted::None }])?;
    backend.submit(&[RowWork { row, ids: steps, logits: LogitsWanted::All }])?;
    for offset in 0..steps.len() {
        logits.extend_from_slice(backend.logits(0, offset)?);
    }
    backend.close(row);
    Ok(logits)
}

fn agree(logits: &[f32], expected: &[f32], graph: &Graph) -> bool {
    let largest = expected.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
    let share = if graph.is_single() { DIFFERENCE_SHARE_MAX } else { DIFFERENCE_SHARE_MAX_FP16 };
    let pairs = logits.iter().zip(expected);
    // Written so that NaN disagrees.
    logits.len() == expected.len() && pairs.fold(true, |agree, (a, b)| agree && (a - b).abs() <= largest * share)
}
