//! Any decoder with an attention cache, one sequence at a time: `present` is taken out and given back as `past`.
//!
//! Correct for every layout, because nothing is assumed of how the graph extends its cache. The price: no batching, and
//! the whole cache of a sequence is copied at each step.

use std::borrow::Cow;
use std::rc::Rc;

use half::f16;
use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType};

use super::batch::wanted_of;
use super::graph::Graph;
use super::head::WANTED;
use super::rows::{BLOCK_TOKENS, Rows};
use super::step_logits::{StepLogits, wanted};
use super::{failed, no_memory};
use crate::backend::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, Prefix, Row, RowWork, Selected,
    Selection,
};

/// A session with its sequences' caches.
pub(super) struct Concatenating {
    session: Session,
    graph: Rc<Graph>,
    shape: BackendShape,
    /// Each with its cache, in the order of the graph's names.
    rows: Rows<Vec<DynValue>>,
    logits: StepLogits,
    /// Those of all inputs that were run.
    entries_computed: u64,
}

impl Concatenating {
    pub(super) fn new(session: Session, graph: &Rc<Graph>, shape: BackendShape, positions_max: usize) -> Self {
        let (rows, logits) = (Rows::new(shape, positions_max), StepLogits::new(shape.vocabulary_entries));
        Self { session, graph: Rc::clone(graph), shape, rows, logits, entries_computed: 0 }
    }

    /// The session, for another backend.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Lets a row read, and puts the logits down that are wanted.
    fn read(&mut self, index: usize, item: &RowWork<'_>) -> ort::Result<()> {
        let Some(row) = self.rows.get(item.row) else { return Ok(()) };
        let wanted = wanted(item);
        let inputs = inputs(&self.graph, row.positions, &row.kept, item.ids, wanted)?;
        let mut outputs = self.session.run(inputs)?;
        self.entries_computed += item.ids.len() as u64;
        let first = self.logits.rows();
        append_last(self.logits.values_mut(), &outputs["logits"], wanted * self.shape.vocabulary_entries)?;
        self.logits.place(index, first, wanted);
        let present: Option<Vec<DynValue>> =
            self.graph.cache.names.iter().map(|(_, present)| outputs.remove(present)).collect();
        let present = present.ok_or_else(|| ort::Error::new("the graph gave no attention cache"))?;
        drop(outputs);
        if let Some(row) = self.rows.get_mut(item.row) {
            row.kept = present;
            row.positions += item.ids.len();
        }
        Ok(())
    }

    /// The first positions of each tensor of a cache.
    fn beginning(&self, cache: &[DynValue], positions: usize) -> ort::Result<Vec<DynValue>> {
        cache.iter().map(|tensor| beginning(tensor, self.graph.cache.head_size, positions)).collect()
    }
}

impl Backend for Concatenating {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn description(&self) -> BackendDescription {
        self.graph.description.clone()
    }

    fn device_bytes(&self) -> DeviceBytes {
        DeviceBytes {
            weights_bytes: self.graph.weights_bytes,
            attention_bytes: (self.rows.positions_read() * self.graph.cache.position_bytes()) as u64,
            scratch_bytes: self.logits.bytes(),
        }
    }

    fn entries_computed(&self) -> u64 {
        self.entries_computed
    }

    fn takes_guesses(&self) -> bool {
        false
    }

    fn positions_free(&self) -> usize {
        self.rows.positions_free()
    }

    fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        let (positions, cache) = match prefix {
            Some(prefix) => {
                self.rows.check_prefix(prefix)?;
                let cache = self.rows.get(prefix.row).map_or(&[][..], |row| &row.kept);
                (prefix.positions, self.beginning(cache, prefix.positions))
            }
            None => (0, self.graph.cache.empty()),
        };
        Ok(self.rows.open(positions, cache.map_err(no_memory("open"))?))
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.rows.check(work)?;
        self.logits.begin(work.len());
        self.logits.values_mut().clear();
        for (index, item) in work.iter().enumerate() {
            self.read(index, item).map_err(failed("step"))?;
        }
        Ok(())
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        self.logits.select(selections, None, selected)
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.logits.of(item, offset, None)
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        let Some(open) = self.rows.get(row).filter(|open| open.positions > positions) else { return };
        match self.beginning(&open.kept, positions) {
            Ok(kept) => {
                if let Some(open) = self.rows.get_mut(row) {
                    (open.kept, open.positions) = (kept, positions);
                }
            }
            // Then it can only be read anew: a row that is gone is refused at its next step.
            Err(error) => {
                tracing::error!(%error, "a row could not be cut back");
                self.close(row);
            }
        }
    }

    fn close(&mut self, row: Row) {
        self.rows.close(row);
    }
}

fn inputs<'v>(
    graph: &Graph,
    past_positions: usize,
    past: &'v [DynValue],
    ids: &[u32],
    wanted: usize,
) -> ort::Result<Vec<(Cow<'static, str>, SessionInputValue<'v>)>> {
    let (count, total) = (ids.len(), past_positions + ids.len());
    let ids = ids.iter().map(|id| i64::from(*id)).collect();
    let mut inputs: Vec<(Cow<'static, str>, SessionInputValue<'v>)> =
        vec![("input_ids".into(), row_of(ids)?.into()), ("attention_mask".into(), row_of(vec![1; total])?.into())];
    if graph.takes_position_ids {
        let positions = (0i64..).skip(past_positions).take(count).collect();
        inputs.push(("position_ids".into(), row_of(positions)?.into()));
    }
    if graph.takes_cache_branch {
        let has_past = Tensor::from_array(([1], vec![past_positions > 0]))?;
        inputs.push(("use_cache_branch".into(), has_past.into()));
    }
    if graph.takes_wanted {
        inputs.push((WANTED.into(), wanted_of(count - wanted..count)?.into()));
    }
    for ((name, _), past) in graph.cache.names.iter().zip(past) {
        inputs.push((name.clone().into(), past.into()));
    }
    Ok(inputs)
}

/// `[1, values]`
fn row_of(values: Vec<i64>) -> ort::Result<Tensor<i64>> {
    Tensor::from_array(([1, values.len()], values))
}

/// The first positions of a tensor `[1, heads, positions, head_size]`.
fn beginning(tensor: &DynValue, head_size: usize, positions: usize) -> ort::Result<DynValue> {
    let shape = tensor.shape();
    let (heads, held) = (shape[1] as usize, shape[2] as usize);
    let mut cut = DynTensor::new(&Allocator::default(), *tensor.data_type(), [1, heads, positions, head_size])?;
    let (from, to) = (held * head_size, positions * head_size);
    if *tensor.data_type() == TensorElementType::Float16 {
        copy_heads(tensor.try_extract_tensor::<f16>()?.1, cut.try_extract_tensor_mut::<f16>()?.1, from, to);
    } else {
        copy_heads(tensor.try_extract_tensor::<f32>()?.1, cut.try_extract_tensor_mut::<f32>()?.1, from, to);
    }
    Ok(cut.into_dyn())
}

/// Of each head the first `to` of `from` elements.
fn copy_heads<T: Copy>(source: &[T], target: &mut [T], from: usize, to: usize) {
    if to > 0 {
        for (target, source) in target.chunks_exact_mut(to).zip(source.chunks_exact(from)) {
            target.copy_from_slice(&source[..to]);
        }
    }
}

/// Appends the last `count` of `logits`, whose shape is `[1, entries, vocabulary_entries]`, as 32-bit floats.
fn append_last(target: &mut Vec<f32>, logits: &DynValue, count: usize) -> ort::Result<()> {
    let narrower = || ort::Error::new("the logits are narrower than the vocabulary");
    if *logits.data_type() == TensorElementType::Float16 {
        let (_, logits) = logits.try_extract_tensor::<f16>()?;
        let start = logits.len().checked_sub(count).ok_or_else(narrower)?;
        target.extend(logits[start..].iter().map(|logit| logit.to_f32()));
    } else {
        let (_, logits) = logits.try_extract_tensor::<f32>()?;
        let start = logits.len().checked_sub(count).ok_or_else(narrower)?;
        target.extend_from_slice(&logits[start..]);
    }
    Ok(())
}
