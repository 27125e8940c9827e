//! A loop that is turned by hand, a device that fails on demand, and sequences that are asked of them.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use lede_shared::plan::Priority;
use proptest::prelude::*;

use super::super::EngineLoop;
use crate::backend::scripted::{Script, ScriptedBackend};
use crate::backend::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, FailureKind, Prefix, Row, RowWork,
    Selected, Selection,
};
use crate::engine::constraint::{CaptionRules, Constraint, ConstraintFactory, Markup};
use crate::engine::door::{Cancel, EngineDoor, Question, SequenceListing, door};
use crate::engine::sampler::Sampling;
use crate::engine::scheduler::SequenceId;
use crate::engine::sequence::{FinishedSequence, SequenceError, SequenceRequest};
use crate::engine::speculation::SpeculationMode;
use crate::engine::stats::EngineStats;
use crate::engine::vocabulary::{Piece, TextPiece, Vocabulary};
use crate::engine::{EngineCounters, EngineLimits, PendingSequence};

/// Bytes and an end.
const ENTRIES: usize = 257;
const END: u32 = 256;
const CONTEXT: usize = 448;
/// Far from the shortest interval of ageing.
pub(super) const TURN: Duration = Duration::from_millis(300);
/// No mix takes longer.
const TURNS_MAX: usize = 20_000;

static FACTORY: LazyLock<ConstraintFactory> = LazyLock::new(|| {
    let bytes = (0..=255u8).map(|byte| Piece::Text(TextPiece::new(&[byte])));
    let vocabulary = Arc::new(Vocabulary::new(bytes.chain([Piece::Special]).collect()));
    ConstraintFactory::new(vocabulary, &Markup::Json { ends: vec![END] }, None).unwrap()
});

/// A failure at a call of the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// At which submit.
    pub(super) at: usize,
    /// At its select instead.
    pub(super) at_select: bool,
    pub(super) kind: FailureKind,
}

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) rows: usize,
    pub(super) step_tokens_max: usize,
    pub(super) prefix_positions_max: usize,
    pub(super) speculation: SpeculationMode,
    /// Does the device take several entries as quickly as one?
    pub(super) takes_guesses: bool,
    /// Memory; without, as much as there could be use for.
    pub(super) positions: Option<usize>,
    pub(super) faults: Vec<Fault>,
}

impl Setup {
    pub(super) fn usual() -> Self {
        Self {
            rows: 4,
            step_tokens_max: 128,
            prefix_positions_max: 2_000,
            speculation: SpeculationMode::Always,
            takes_guesses: true,
            positions: None,
            faults: Vec::new(),
        }
    }

    fn limits(&self) -> EngineLimits {
        EngineLimits {
            waiting_sequences_max: 512,
            sequences_max: self.rows,
            step_tokens_max: self.step_tokens_max,
            // The clock on the wall has no say in what is counted in steps.
            prompt_step: Duration::MAX,
            prefix_positions_max: self.prefix_positions_max,
            speculation: self.speculation,
        }
    }

    fn backend(&self) -> Box<dyn Backend> {
        let shape = BackendShape { vocabulary_entries: ENTRIES, context_tokens_max: CONTEXT, rows_max: self.rows };
        let scripted = ScriptedBackend::new(shape, Duration::ZERO, script());
        let scripted = match self.positions {
            Some(positions) => scripted.with_positions_max(positions),
            None => scripted,
        };
        let (faults, takes_guesses) = (self.faults.clone(), self.takes_guesses);
        Box::new(FailingBackend { scripted, takes_guesses, faults, submits: 0, named: Vec::new() })
    }
}

/// Much follows from the latest entry, so that texts go in circles and can be guessed, and some from everything that was
/// read, so that one wrong id anywhere gives other logits.
fn script() -> Script {
    Box::new(|ids, logits| {
        let all = ids.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, id| mixed(hash ^ u64::from(*id)));
        let last = ids.last().map_or(0, |id| mixed(u64::from(*id % 8)));
        for (entry, logit) in (0u64..).zip(logits) {
            let share = |hash: u64| (mixed(hash ^ (entry << 17)) >> 40) as f32 / (1u64 << 24) as f32;
            *logit = 16.0 * share(last) + 1.5 * share(all);
        }
    })
}

fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Fails as it is told, and then spoils what it may spoil.
struct FailingBackend {
    scripted: ScriptedBackend,
    takes_guesses: bool,
    faults: Vec<Fault>,
    submits: usize,
    named: Vec<Row>,
}

impl FailingBackend {
    fn fault(&mut self, at_select: bool) -> Result<(), BackendError> {
        let due = |fault: &Fault| fault.at < self.submits && fault.at_select == at_select;
        let Some(index) = self.faults.iter().position(due) else { return Ok(()) };
        // What a lone row is refused, or has no memory for, is refused for good.
        let kind = self.faults[index].kind;
        let is_about_one = matches!(kind, FailureKind::Refused | FailureKind::OutOfMemory);
        if is_about_one && self.named.len() < 2 && !at_select {
            return Ok(());
        }
        self.faults.remove(index);
        if matches!(kind, FailureKind::Failed | FailureKind::Lost) || at_select {
            self.named.iter().for_each(|row| self.scripted.truncate(*row, 0));
        }
        Err(BackendError::of_kind(kind, "test", "as told"))
    }
}

impl Backend for FailingBackend {
    fn shape(&self) -> BackendShape {
        self.scripted.shape()
    }

    fn description(&self) -> BackendDescription {
        self.scripted.description()
    }

    fn device_bytes(&self) -> DeviceBytes {
        self.scripted.device_bytes()
    }

    fn entries_computed(&self) -> u64 {
        self.scripted.entries_computed()
    }

    fn takes_guesses(&self) -> bool {
        self.takes_guesses
    }

    fn positions_free(&self) -> usize {
        self.scripted.positions_free()
    }

    fn block_tokens(&self) -> usize {
        self.scripted.block_tokens()
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        self.scripted.open(prefix)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.submits += 1;
        self.named = work.iter().map(|item| item.row).collect();
        self.fault(false)?;
        let outcome = self.scripted.submit(work);
        let error = outcome.as_ref().err().map(BackendError::kind);
        assert_ne!(error, Some(FailureKind::Refused), "the loop asks for nothing that cannot be");
        outcome
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        self.fault(true)?;
        self.scripted.select(selections, selected)
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.scripted.logits(item, offset)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        self.scripted.truncate(row, positions);
    }

    fn close(&mut self, row: Row) {
        self.scripted.close(row);
    }
}

/// A sequence as a test asks for it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Prompts of a topic begin alike.
    pub(super) topic: u32,
    pub(super) prompt_len: usize,
    /// How many of the last entries of the prompt are its own.
    pub(super) own_len: usize,
    pub(super) seed: u8,
    pub(super) is_greedy: bool,
    pub(super) priority: Priority,
    pub(super) hashtag_count: usize,
    pub(super) deadline_s: u64,
    /// Turns.
    pub(super) arrives_at: usize,
    pub(super) leaves_at: Option<usize>,
}

impl Asked {
    pub(super) const fn usual() -> Self {
        Self {
            topic: 1,
            prompt_len: 60,
            own_len: 0,
            seed: 0,
            is_greedy: false,
            priority: Priority::Normal,
            hashtag_count: 2,
            deadline_s: 1 << 20,
            arrives_at: 0,
            leaves_at: None,
        }
    }

    pub(super) fn prompt_ids(&self) -> Vec<u32> {
        let entry = |salt: u64, index: usize| (mixed(salt ^ (index as u64) << 8) >> 50) as u32 % 256;
        let shared = self.prompt_len.saturating_sub(self.own_len);
        let own = (shared..self.prompt_len).map(|index| entry(u64::from(self.seed) + 99, index));
        (0..shared).map(|index| entry(u64::from(self.topic), index)).chain(own).collect()
    }

    fn request(&self, now: Instant) -> SequenceRequest {
        let rules = CaptionRules {
            caption_utf16_max: 30,
            caption_pieces_max: 30,
            completion_pieces_max: 40 + 45 * self.hashtag_count,
            hashtag_count: self.hashtag_count,
            ..CaptionRules::default()
        };
        let nucleus = Sampling::Nucleus { temperature: 0.7, top_p: 0.95 };
        SequenceRequest {
            prompt_ids: self.prompt_ids().into(),
            constraint: Constraint::new(FACTORY.prepare(rules).unwrap()),
            sampling: if self.is_greedy { Sampling::Greedy } else { nucleus },
            stream_seed: [self.seed; 32],
            completion_tokens_max: CONTEXT - self.prompt_len,
            priority: self.priority,
            deadline: now + Duration::from_secs(self.deadline_s),
            listener: None,
        }
    }
}

prop_compose! {
    pub(super) fn asked()(
        topic in 0u32..2, prompt_len in 1usize..120, own_len in 0usize..30, seed in any::<u8>(), is_greedy in any::<bool>(),
        priority in prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High, Priority::Critical]),
        hashtag_count in 0usize..3, arrives_at in 0usize..60, stays in prop::option::weighted(0.15, 0usize..40),
    ) -> Asked {
        let leaves_at = stays.map(|stays| arrives_at + stays);
        Asked { topic, prompt_len, own_len, seed, is_greedy, priority, hashtag_count, arrives_at, leaves_at, ..Asked::usual() }
    }
}

/// What a sequence gives when there is nobody else, every prompt is read at once and every entry is chosen by itself.
pub(super) fn alone(asked: &Asked) -> FinishedSequence {
    let setup = Setup {
        rows: 1,
        step_tokens_max: 1_000,
        prefix_positions_max: 0,
        speculation: SpeculationMode::Off,
        takes_guesses: false,
        positions: None,
        faults: Vec::new(),
    };
    let asked = Asked { arrives_at: 0, leaves_at: None, ..asked.clone() };
    Bench::new(&setup).run(&[asked]).remove(0).unwrap().unwrap()
}

type Outcome = Option<Result<FinishedSequence, SequenceError>>;

/// A loop that is turned by hand.
pub(super) struct Bench {
    pub(super) engine: EngineLoop,
    door: EngineDoor,
    setup: Setup,
    counters: Arc<EngineCounters>,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(setup: &Setup) -> Self {
        let (door, inbox) = door(512);
        let counters = Arc::new(EngineCounters::default());
        let engine = EngineLoop::new(setup.backend(), inbox, setup.limits(), Arc::clone(&counters));
        Self { engine, door, setup: setup.clone(), counters, now: Instant::now() }
    }

    pub(super) fn submit(&self, asked: &Asked) -> PendingSequence {
        self.door.submit_at(self.now, asked.request(self.now)).unwrap()
    }

    pub(super) fn turn(&mut self) -> Result<(), BackendError> {
        self.engine.receive_more();
        self.now += TURN;
        self.engine.turn(self.now)
    }

    pub(super) fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| self.turn().unwrap());
    }

    /// Lets all come and go when they want and returns what they got.
    pub(super) fn run(&mut self, all: &[Asked]) -> Vec<Outcome> {
        let mut pending: Vec<Option<PendingSequence>> = all.iter().map(|_| None).collect();
        let mut outcomes: Vec<Outcome> = all.iter().map(|_| None).collect();
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "it does not end");
            for (asked, pending) in all.iter().zip(&mut pending) {
                if asked.arrives_at == turn {
                    *pending = Some(self.submit(asked));
                }
                if asked.leaves_at.is_some_and(|leaves_at| leaves_at <= turn) {
                    *pending = None;
                }
            }
            self.turn().unwrap();
            for (pending, outcome) in pending.iter_mut().zip(&mut outcomes) {
                if let Some(Ok(told)) = pending.as_mut().map(PendingSequence::try_recv) {
                    (*outcome, *pending) = (Some(told), None);
                }
            }
            let is_over = |asked: &Asked| asked.arrives_at <= turn;
            if all.iter().all(is_over) && pending.iter().all(Option::is_none) {
                self.turns(1);
                return outcomes;
            }
        }
        outcomes
    }

    /// The device is gone: what is left goes to another loop on another device. Returns who was handed over.
    pub(super) fn rebuild(&mut self) -> Vec<SequenceId> {
        let healthy = Setup { faults: Vec::new(), ..self.setup.clone() };
        let Self { engine, counters, .. } = self;
        let (_, nothing) = door(1);
        let empty = EngineLoop::new(healthy.backend(), nothing, healthy.limits(), Arc::clone(counters));
        let left = std::mem::replace(engine, empty).into_unfinished();
        let ids = left.unfinished.iter().map(|sequence| sequence.id).collect();
        *engine = EngineLoop::new(healthy.backend(), left, healthy.limits(), Arc::clone(counters));
        ids
    }

    pub(super) fn stats(&self) -> EngineStats {
        self.counters.stats(Instant::now())
    }

    pub(super) fn list(&mut self) -> Vec<SequenceListing> {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        self.engine.answer(Question::List(reply));
        answer.try_recv().unwrap()
    }

    pub(super) fn cancel(&mut self, cancel: Cancel) -> usize {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        self.engine.answer(Question::Cancel(cancel, reply));
        answer.try_recv().unwrap()
    }

    /// Nobody is inside, and all memory is free but what is kept.
    pub(super) fn assert_nothing_is_left(&mut self) {
        self.turns(1);
        assert!(self.engine.sequences.is_empty());
        while self.engine.rows.give_up_kept() {}
        self.engine.note_gauges();
        let stats = self.stats();
        assert_eq!((stats.kv_blocks_used, stats.running, stats.waiting, stats.resting), (0, 0, 0, 0));
        assert_eq!(stats.prefix_positions_kept, 0);
    }
}
