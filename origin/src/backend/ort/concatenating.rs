//! Any decoder with an attention cache, one sequence at a time: `present` is taken out and given back as `past`.
//!
//! Correct for every layout, because nothing is assumed of how the graph extends its cache. The price: no batching, and
//! the whole cache of a sequence is copied at each step.

use std::borrow::Cow;

use half::f16;
use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType};

use super::dense::DenseBackend;
use super::graph::Graph;
use crate::backend::{BackendError, BackendShape};

/// A session with its sequences' caches.
pub(super) struct ConcatenatingBackend {
    session: Session,
    graph: Graph,
    shape: BackendShape,
    rows: Vec<Row>,
    /// `[rows, vocabulary_entries]`
    logits: Vec<f32>,
}

/// One sequence: its cache, in the order of the graph's names, and the positions in it.
struct Row {
    past: Vec<DynValue>,
    length: usize,
}

impl ConcatenatingBackend {
    pub(super) fn new(session: Session, graph: Graph, shape: BackendShape) -> Self {
        Self { session, graph, shape, rows: Vec::new(), logits: Vec::new() }
    }

    /// The session and what is known of its graph, for another backend.
    pub(super) fn into_parts(self) -> (Session, Graph) {
        (self.session, self.graph)
    }

    /// Appends `ids` to `row` and the logits after the last of them to `self.logits`.
    fn read(&mut self, row: &mut Row, ids: &[u32]) -> ort::Result<()> {
        let inputs = self.inputs(row, ids)?;
        let mut outputs = self.session.run(inputs)?;
        append_last_row(&mut self.logits, &outputs["logits"], self.shape.vocabulary_entries)?;
        let present: Option<Vec<DynValue>> =
            self.graph.cache.names.iter().map(|(_, present)| outputs.remove(present)).collect();
        row.past = present.ok_or_else(|| ort::Error::new("the graph gave no attention cache"))?;
        row.length += ids.len();
        Ok(())
    }

    fn inputs<'v>(
        &self,
        row: &'v Row,
        ids: &[u32],
    ) -> ort::Result<Vec<(Cow<'static, str>, SessionInputValue<'v>)>> {
        let (count, total) = (ids.len(), row.length + ids.len());
        let ids = ids.iter().map(|id| i64::from(*id)).collect();
        let mut inputs: Vec<(Cow<'static, str>, SessionInputValue<'v>)> = vec![
            ("input_ids".into(), row_of(ids)?.into()),
            ("attention_mask".into(), row_of(vec![1; total])?.into()),
        ];
        if self.graph.takes_position_ids {
            let positions = (0i64..).skip(row.length).take(count).collect();
            inputs.push(("position_ids".into(), row_of(positions)?.into()));
        }
        if self.graph.takes_cache_branch {
            let has_past = Tensor::from_array(([1], vec![row.length > 0]))?;
            inputs.push(("use_cache_branch".into(), has_past.into()));
        }
        for ((name, _), past) in self.graph.cache.names.iter().zip(&row.past) {
            inputs.push((name.clone().into(), past.into()));
        }
        Ok(inputs)
    }

    /// A sequence that has read nothing: tensors of no positions.
    fn empty_row(&self) -> ort::Result<Row> {
        let cache = &self.graph.cache;
        let shape = [1, cache.heads, 0, cache.head_size];
        let empty =
            || DynTensor::new(&Allocator::default(), cache.element_type, shape).map(|tensor| tensor.into_dyn());
        let past: ort::Result<_> = cache.names.iter().map(|_| empty()).collect();
        Ok(Row { past: past?, length: 0 })
    }
}

impl DenseBackend for ConcatenatingBackend {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn prefill(&mut self, prompt_ids: &[u32]) -> Result<&[f32], BackendError> {
        super::check_prompt(self.shape, self.rows.len(), prompt_ids)?;
        self.logits.clear();
        let failed = |error| BackendError::new("prefill", error);
        let mut row = self.empty_row().map_err(failed)?;
        self.read(&mut row, prompt_ids).map_err(failed)?;
        self.rows.push(row);
        Ok(&self.logits)
    }

    fn decode(&mut self, input_ids: &[u32]) -> Result<&[f32], BackendError> {
        super::check_step(self.shape, self.rows.iter().map(|row| row.length), input_ids)?;
        self.logits.clear();
        let mut rows = std::mem::take(&mut self.rows);
        let read: ort::Result<()> =
            rows.iter_mut().zip(input_ids).try_for_each(|(row, id)| self.read(row, std::slice::from_ref(id)));
        self.rows = rows;
        read.map_err(|error| BackendError::new("decode", error))?;
        Ok(&self.logits)
    }

    fn release(&mut self, row: usize) {
        if row < self.rows.len() {
            self.rows.swap_remove(row);
        }
    }
}

/// `[1, values]`
fn row_of(values: Vec<i64>) -> ort::Result<Tensor<i64>> {
    Tensor::from_array(([1, values.len()], values))
}

/// Appends the last `width` of `logits`, whose shape is `[1, entries, width]`, as 32-bit floats.
fn append_last_row(target: &mut Vec<f32>, logits: &DynValue, width: usize) -> ort::Result<()> {
    let last = |length: usize| {
        let start = length.checked_sub(width);
        start.ok_or_else(|| ort::Error::new("the logits are narrower than the vocabulary"))
    };
    if *logits.data_type() == TensorElementType::Float16 {
        let (_, logits) = logits.try_extract_tensor::<f16>()?;
        target.extend(logits[last(logits.len())?..].iter().map(|logit| logit.to_f32()));
    } else {
        let (_, logits) = logits.try_extract_tensor::<f32>()?;
        target.extend_from_slice(&logits[last(logits.len())?..]);
    }
    Ok(())
}
