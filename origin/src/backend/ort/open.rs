//! Opening a graph and finding out, by running it, which of the two layouts it has.

use super::concatenating::ConcatenatingBackend;
use super::dense::{DenseBackend, DenseRows};
use super::graph::Graph;
use super::session::{OrtBackend, OrtSettings, open_session};
use crate::backend::{Backend, BackendError, BackendShape};

/// Most that logits of the two ways may differ, as a share of the largest logit: far above rounding, far below what a
/// misread cache does.
const DIFFERENCE_SHARE_MAX: f32 = 1e-3;

/// The trial's entries: a prompt of two, then two steps. Any entries will do.
const TRIAL_IDS_MAX: u32 = 4;
const TRIAL_PROMPT_TOKENS: usize = 2;

/// Opens a decoder in whichever supported layout it has.
///
/// A graph whose attention extends shared buffers in place is run batched; any other one sequence at a time. Graphs do not
/// say which kind they are, so both ways run on a few entries and must agree.
///
/// # Errors
/// When library or graph is missing, broken or not a decoder with an attention cache, or when its first steps fail.
pub fn open(settings: &OrtSettings) -> Result<Box<dyn Backend>, BackendError> {
    let (session, chosen) = open_session(settings)?;
    let graph = Graph::of(&session, settings.sizes)?;
    let shape = BackendShape {
        vocabulary_entries: graph.vocabulary_entries,
        context_tokens_max: settings.context_tokens_max,
        rows_max: settings.rows_max,
    };
    let shares = graph.may_share_buffers();
    let mut one_by_one = ConcatenatingBackend::new(session, graph, shape);
    let expected = trial(&mut one_by_one).map_err(|error| BackendError::new("the model's first steps", error))?;
    if expected.iter().any(|logit| !logit.is_finite()) {
        return Err(BackendError::new("the model's first steps", "it computes no finite logits"));
    }
    if !shares {
        tracing::info!(
            layout = "concatenating",
            "the graph copies its attention cache: sequences run one at a time"
        );
        return Ok(Box::new(DenseRows::new(one_by_one)));
    }
    let (session, graph) = one_by_one.into_parts();
    let mut batched = OrtBackend::new(session, graph.clone(), shape, chosen)?;
    match trial(&mut batched) {
        Ok(logits) if agree(&logits, &expected) => {
            tracing::info!(layout = "shared buffers", "the graph extends its attention cache in place: batched");
            Ok(Box::new(DenseRows::new(batched)))
        }
        outcome => {
            let reason = outcome.map_or_else(|error| error.to_string(), |_| "its logits differ".to_owned());
            tracing::info!(layout = "concatenating", reason, "the graph does not extend its cache in place");
            let session = batched.into_session();
            Ok(Box::new(DenseRows::new(ConcatenatingBackend::new(session, graph, shape))))
        }
    }
}

/// The logits of a prompt and of two steps after it. Leaves no row behind.
fn trial(backend: &mut dyn DenseBackend) -> Result<Vec<f32>, BackendError> {
    let entries = u32::try_from(backend.shape().vocabulary_entries).unwrap_or(u32::MAX);
    let ids: Vec<u32> = (1..=TRIAL_IDS_MAX).map(|id| id % entries).collect();
    let (prompt_ids, steps) = ids.split_at(TRIAL_PROMPT_TOKENS);
    let mut logits = backend.prefill(prompt_ids)?.to_vec();
    for id in steps {
        logits.extend_from_slice(backend.decode(&[*id])?);
    }
    backend.release(0);
    Ok(logits)
}

fn agree(logits: &[f32], expected: &[f32]) -> bool {
    let largest = expected.iter().fold(1.0f32, |largest, logit| largest.max(logit.abs()));
    let pairs = logits.iter().zip(expected);
    // Written so that NaN disagrees.
    logits.len() == expected.len()
        && pairs.fold(true, |agree, (a, b)| agree && (a - b).abs() <= largest * DIFFERENCE_SHARE_MAX)
}
