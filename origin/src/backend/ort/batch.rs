//! What the graph is run on: the attention cache of all places, and the tensors of a step, bound once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use ort::memory::Allocator;
use ort::session::Session;
use ort::value::{DynTensor, Tensor, TensorElementType};

use super::attention_cache::AttentionCache;
use super::buffer::{Bindings, Buffer, Part, host};
use super::graph::Graph;
use super::head::WANTED;
use crate::backend::BackendShape;

/// Positions that each place has at first; doubled as needed.
const POSITIONS_AT_FIRST: usize = 64;
/// Places at first; doubled as needed.
const PLACES_AT_FIRST: usize = 4;
/// Most windows whose bindings are kept.
const WINDOWS_MAX: usize = 64;

/// Buffers of all places and bindings of parts of them.
///
/// Rows are ragged: each has its own length, which the graph reads off the attention mask.
pub(super) struct Batch {
    graph: Rc<Graph>,
    memory: Memory,
    context_tokens_max: usize,
    pub(super) cache: AttentionCache,
    inputs: StepInputs,
    /// `[rows, vocabulary_entries]`
    logits: Buffer,
    /// One entry for each row in a window, by its first place and its length.
    windows: BTreeMap<(usize, usize), Bindings>,
    /// Several entries for the row in a place.
    singles: BTreeMap<usize, Bindings>,
    /// Entries of all tensors that were run, as they were bound.
    pub(super) entries_computed: u64,
}

/// Where attention caches lie.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) allocator: Rc<Allocator>,
    pub(super) reach: Reach,
}

/// What the device reads where it lies. Anything else is copied to it as it is bound, so it is bound anew at each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Host memory and the caches in it: the processor.
    Everything,
    /// The caches, which lie in its own memory.
    Caches,
    /// Nothing: caches are kept in host memory and travel.
    Nothing,
}

/// What a step of one entry for each row reads, by place.
struct StepInputs {
    /// `[places]`
    ids: Buffer,
    /// `[places, positions]`: ones over the positions that a row may look at.
    mask: Buffer,
    /// How many those are.
    visible: Vec<usize>,
    /// `[places]`
    positions: Buffer,
    /// `[places, 2]`: row and entry in a window, so the first alone of each row.
    wanted: Buffer,
}

impl Batch {
    pub(super) fn new(graph: &Rc<Graph>, memory: &Memory, shape: BackendShape) -> ort::Result<Self> {
        let places = PLACES_AT_FIRST.min(shape.rows_max);
        let positions = POSITIONS_AT_FIRST.min(shape.context_tokens_max);
        Ok(Self {
            graph: Rc::clone(graph),
            memory: memory.clone(),
            context_tokens_max: shape.context_tokens_max,
            cache: AttentionCache::new(&graph.cache, &memory.allocator, places, positions)?,
            inputs: StepInputs::new(places, positions)?,
            logits: Buffer::new(&host(), graph.logits_type, places * graph.vocabulary_entries)?,
            windows: BTreeMap::new(),
            singles: BTreeMap::new(),
            entries_computed: 0,
        })
    }

    /// All logits of the latest runs.
    pub(super) const fn logits(&self) -> &Buffer {
        &self.logits
    }

    /// Makes room for `places` rows of `positions`; `held` names the places in use and how far each is.
    pub(super) fn fit(
        &mut self,
        places: usize,
        positions: usize,
        held: impl Iterator<Item = (usize, usize)>,
    ) -> ort::Result<()> {
        if places <= self.cache.places() && positions <= self.cache.positions() {
            return Ok(());
        }
        let places = places.max(self.cache.places());
        let positions = positions.next_power_of_two().min(self.context_tokens_max).max(self.cache.positions());
        let mut cache = AttentionCache::new(&self.graph.cache, &self.memory.allocator, places, positions)?;
        let inputs = StepInputs::new(places, positions)?;
        for (place, length) in held {
            cache.copy_from(&self.cache, place, place, length)?;
        }
        (self.cache, self.inputs) = (cache, inputs);
        self.windows.clear();
        self.singles.clear();
        Ok(())
    }

    /// Makes room for so many rows of logits.
    pub(super) fn fit_logits(&mut self, rows: usize) -> ort::Result<()> {
        let elements = rows.next_power_of_two() * self.graph.vocabulary_entries;
        if elements > self.logits.elements() {
            self.logits = Buffer::new(&host(), self.graph.logits_type, elements)?;
            self.windows.clear();
        }
        Ok(())
    }

    /// Appends to each row of a window, of which `entries` gives place, position and id, in any order. Logits lie in the
    /// order of the places.
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        window: Range<usize>,
        entries: impl Iterator<Item = (usize, usize, u32)>,
    ) -> ort::Result<()> {
        for (place, position, id) in entries {
            self.inputs.set(place, position, id)?;
        }
        let key = (window.start, window.len());
        let entries = window.len() as u64;
        let known = self.windows.remove(&key);
        let fresh = known.is_none();
        let mut bindings = known.map_or_else(|| Bindings::new(session), Ok)?;
        if fresh {
            self.cache.bind(&mut bindings, window.start, window.len())?;
            let shape = [window.len(), 1, self.graph.vocabulary_entries];
            let gathered = [1, window.len(), self.graph.vocabulary_entries];
            let shape = if self.graph.takes_wanted { &gathered } else { &shape };
            bindings.output("logits", Part { buffer: &self.logits, first: 0, shape })?;
        }
        if fresh || self.memory.reach != Reach::Everything {
            self.inputs.bind(&mut bindings, &self.graph, window, self.cache.positions())?;
        }
        bindings.run(session)?;
        self.entries_computed += entries;
        if self.windows.len() >= WINDOWS_MAX {
            self.windows.clear();
        }
        if self.memory.reach != Reach::Nothing {
            self.windows.insert(key, bindings);
        }
        Ok(())
    }

    /// Appends several entries to the row in a place, which has `past` positions. The logits of the last `wanted` of them go
    /// to `row` and those after it.
    pub(super) fn read(&mut self, session: &mut Session, single: Single<'_>, row: usize) -> ort::Result<()> {
        let Single { place, past, ids, wanted } = single;
        let (count, width) = (ids.len(), self.graph.vocabulary_entries);
        let known = self.singles.remove(&place);
        let fresh = known.is_none();
        let mut bindings = known.map_or_else(|| Bindings::new(session), Ok)?;
        if fresh {
            self.cache.bind(&mut bindings, place, 1)?;
        }
        let numbers: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        bindings.value("input_ids", &Tensor::from_array(([1, count], numbers))?)?;
        bindings.value("attention_mask", &Tensor::from_array(([1, past + count], vec![1i64; past + count]))?)?;
        if self.graph.takes_position_ids {
            let positions: Vec<i64> = (0i64..).skip(past).take(count).collect();
            bindings.value("position_ids", &Tensor::from_array(([1, count], positions))?)?;
        }
        if self.graph.takes_wanted {
            bindings.value(WANTED, &wanted_of(count - wanted..count)?)?;
            let shape = [1, wanted, width];
            bindings.output("logits", Part { buffer: &self.logits, first: row * width, shape: &shape })?;
            bindings.run(session)?;
        } else {
            let whole = Buffer::new(&host(), self.graph.logits_type, count * width)?;
            bindings.output("logits", Part { buffer: &whole, first: 0, shape: &[1, count, width] })?;
            bindings.run(session)?;
            self.logits.copy_from(&whole, (count - wanted) * width..count * width, row * width)?;
        }
        self.entries_computed += count as u64;
        if self.memory.reach != Reach::Nothing {
            self.singles.insert(place, bindings);
        }
        Ok(())
    }
}

/// What one row reads in a run of its own.
#[derive(Clone, Copy)]
pub(super) struct Single<'a> {
    pub(super) place: usize,
    pub(super) past: usize,
    pub(super) ids: &'a [u32],
    /// How many of the last entries have their logits looked at.
    pub(super) wanted: usize,
}

/// `[1, entries, 2]`: these entries of the first row.
pub(super) fn wanted_of(entries: Range<usize>) -> ort::Result<DynTensor> {
    let shape = [1, entries.len(), 2];
    let mut wanted = Tensor::<i64>::new(&Allocator::default(), shape)?;
    for (pair, entry) in wanted.extract_tensor_mut().1.chunks_exact_mut(2).zip(entries) {
        pair[1] = entry as i64;
    }
    Ok(wanted.upcast())
}

impl StepInputs {
    fn new(places: usize, positions: usize) -> ort::Result<Self> {
        let buffer = |elements| Buffer::new(&host(), TensorElementType::Int64, elements);
        let mut inputs = Self {
            ids: buffer(places)?,
            mask: buffer(places * positions)?,
            visible: vec![0; places],
            positions: buffer(places)?,
            wanted: buffer(2 * places)?,
        };
        for (row, pair) in inputs.wanted.write::<i64>()?.chunks_exact_mut(2).enumerate() {
            pair[0] = row as i64;
        }
        Ok(inputs)
    }

    /// The row in `place` reads `id` at `position` and looks at all positions up to it.
    fn set(&mut self, place: usize, position: usize, id: u32) -> ort::Result<()> {
        self.ids.write::<i64>()?[place] = i64::from(id);
        self.positions.write::<i64>()?[place] = position as i64;
        let (before, after) = (self.visible[place], position + 1);
        let start = place * (self.mask.elements() / self.visible.len());
        let mask = self.mask.write::<i64>()?;
        if after > before {
            mask[start + before..start + after].fill(1);
        } else {
            mask[start + after..start + before].fill(0);
        }
        self.visible[place] = after;
        Ok(())
    }

    fn bind(
        &self,
        bindings: &mut Bindings,
        graph: &Graph,
        window: Range<usize>,
        positions: usize,
    ) -> ort::Result<()> {
        let (first, count) = (window.start, window.len());
        bindings.input("input_ids", Part { buffer: &self.ids, first, shape: &[count, 1] })?;
        let mask = Part { buffer: &self.mask, first: first * positions, shape: &[count, positions] };
        bindings.input("attention_mask", mask)?;
        if graph.takes_position_ids {
            bindings.input("position_ids", Part { buffer: &self.positions, first, shape: &[count, 1] })?;
        }
        if graph.takes_wanted {
            bindings.input(WANTED, Part { buffer: &self.wanted, first: 0, shape: &[1, count, 2] })?;
        }
        Ok(())
    }
}
