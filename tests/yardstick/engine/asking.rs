//! The engine on the model that is served, and what it is asked for.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lede_origin::engine::constraint::{CaptionRules, Constraint};
use lede_origin::engine::draft::DraftListener;
use lede_origin::engine::sampler::Sampling;
use lede_origin::engine::sequence::SequenceRequest;
use lede_origin::engine::{EngineHandle, EngineLimits, EngineStatus};
use lede_origin::models::Model;
use lede_shared::plan::Priority;

use crate::device;

/// Longer than anything takes that is not measured by its deadline.
const PATIENCE: Duration = Duration::from_secs(300);

/// The model's text side: prompts mean nothing to random weights, but what may be written is worked out as always.
pub(crate) struct Asking {
    model: Model,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Says which prompt and which random stream.
    pub(crate) seed: u8,
    /// Entries of the prompt.
    pub(crate) prompt: usize,
    /// Entries of the answer, at most.
    pub(crate) pieces: usize,
    pub(crate) priority: Priority,
    pub(crate) patience: Duration,
}

impl Ask {
    /// A request of ordinary urgency that waits as long as it takes.
    pub(crate) const fn new(seed: u8, prompt: usize, pieces: usize) -> Self {
        Self { seed, prompt, pieces, priority: Priority::Normal, patience: PATIENCE }
    }
}

impl Asking {
    pub(crate) fn open() -> Self {
        let folder = device::models().join("model");
        Self { model: Model::open(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) }
    }

    /// A request. Prompts of other seeds differ from their first entry on.
    pub(crate) fn request(&self, ask: Ask) -> SequenceRequest {
        let prompt = device::prompt(ask.prompt).into_iter().map(|id| id + u32::from(ask.seed));
        self.request_for(ask, prompt.collect())
    }

    /// A request with a prompt of one's own.
    pub(crate) fn request_for(&self, ask: Ask, prompt_ids: Arc<[u32]>) -> SequenceRequest {
        let rules = CaptionRules {
            caption_utf16_max: 16 * ask.pieces,
            caption_pieces_max: 2 * ask.pieces,
            completion_pieces_max: 4 * ask.pieces + 64,
            ..CaptionRules::default()
        };
        let prepared = self.model.constraints().prepare(rules).expect("the rules can be followed");
        SequenceRequest {
            prompt_ids,
            constraint: Constraint::new(prepared),
            sampling: Sampling::Nucleus { temperature: 0.8, top_p: 0.95 },
            stream_seed: [ask.seed; 32],
            completion_tokens_max: ask.pieces,
            priority: ask.priority,
            deadline: Instant::now() + ask.patience,
            listener: None,
        }
    }
}

/// The engine on `graph`, loaded.
pub(crate) async fn engine(graph: &Path, rows: usize, limits: EngineLimits) -> EngineHandle {
    let graph = graph.to_owned();
    let limits = EngineLimits { sequences_max: rows, ..limits };
    let load = move || Ok::<_, std::io::Error>(device::open_with_rows(&graph, rows));
    let engine = EngineHandle::start(limits, load).expect("a thread can be started");
    let status = engine.loaded().await;
    assert!(matches!(status, EngineStatus::Ready(_)), "{status:?}");
    engine
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// Seconds until the first text that was chosen. What every answer begins with costs the device nothing and is not it.
    pub(crate) first_s: f64,
    /// Seconds until all of it.
    pub(crate) whole_s: f64,
    /// Entries written.
    pub(crate) pieces: usize,
}

/// Asks and waits.
pub(crate) async fn answered(engine: &EngineHandle, mut request: SequenceRequest) -> Answered {
    let first_at = Arc::new(OnceLock::new());
    let heard = Arc::clone(&first_at);
    request.listener = Some(DraftListener::new(move |_| {
        // Only the first is noted.
        let _ = heard.set(Instant::now());
    }));
    let begun = Instant::now();
    let pending = engine.submit(request).expect("there is room");
    let finished = pending.await.expect("the engine lives").expect("it is written");
    let whole_s = begun.elapsed().as_secs_f64();
    let first_s = first_at.get().map_or(whole_s, |at| at.duration_since(begun).as_secs_f64());
    Answered { first_s, whole_s, pieces: finished.completion_ids.len() }
}

/// A runtime for whoever asks; the engine has a thread of its own.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be started")
}

/// The value that `share` of all lie below; of none, no number.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}
