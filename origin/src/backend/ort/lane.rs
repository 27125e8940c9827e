//! A batch of fixed width: its attention cache and the tensors that a decode step reads and writes, bound once.

use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::attention_cache::{AttentionCache, CacheLayout};
use crate::backend::{BackendError, BackendShape};

/// One decode step's tensors for `width` rows, of which the first few may be in use.
///
/// Rows are ragged: each has its own length, which the graph reads off the attention mask. Idle rows carry one
/// visible position so that attention has something to look at; what they compute is thrown away.
pub(super) struct Lane {
    pub(super) width: usize,
    pub(super) cache: AttentionCache,
    binding: IoBinding,
    /// `[width, 1]`
    input_ids: Tensor<i64>,
    /// `[width, context_tokens_max]`: ones over the positions that a row may look at.
    attention_mask: Tensor<i64>,
    /// `[width, 1]`, when the graph wants to be told.
    position_ids: Option<Tensor<i64>>,
    /// `[width, 1, vocabulary_entries]`
    logits: Tensor<f32>,
    context_tokens_max: usize,
    /// Tensors in host memory are shared with the graph. For another device, binding copies, so each step binds anew.
    binds_each_step: bool,
}

/// How a lane is made.
pub(super) struct LaneSettings {
    pub(super) width: usize,
    pub(super) takes_position_ids: bool,
    pub(super) binds_each_step: bool,
}

impl Lane {
    pub(super) fn new(
        session: &Session,
        layout: &CacheLayout,
        shape: BackendShape,
        settings: &LaneSettings,
    ) -> Result<Self, BackendError> {
        let failed = |error: ort::Error| BackendError::new("preparing a batch", error);
        let allocator = Allocator::default();
        let (width, context_tokens_max) = (settings.width, shape.context_tokens_max);
        let positions = settings.takes_position_ids.then(|| Tensor::new(&allocator, [width, 1]));
        let mut lane = Self {
            width,
            cache: AttentionCache::new(layout, width)?,
            binding: session.create_binding().map_err(failed)?,
            input_ids: Tensor::new(&allocator, [width, 1]).map_err(failed)?,
            attention_mask: Tensor::new(&allocator, [width, context_tokens_max]).map_err(failed)?,
            position_ids: positions.transpose().map_err(failed)?,
            logits: Tensor::new(&allocator, [width, 1, shape.vocabulary_entries]).map_err(failed)?,
            context_tokens_max,
            binds_each_step: settings.binds_each_step,
        };
        lane.input_ids.extract_tensor_mut().1.fill(0);
        lane.attention_mask.extract_tensor_mut().1.fill(0);
        lane.position_ids.iter_mut().for_each(|positions| positions.extract_tensor_mut().1.fill(0));
        (0..width).for_each(|row| lane.set_visible(row, 1));
        lane.bind().map_err(failed)?;
        Ok(lane)
    }

    fn bind(&mut self) -> ort::Result<()> {
        self.binding.bind_input("input_ids", &self.input_ids)?;
        self.binding.bind_input("attention_mask", &self.attention_mask)?;
        if let Some(position_ids) = &self.position_ids {
            self.binding.bind_input("position_ids", position_ids)?;
        }
        self.binding.bind_output("logits", &mut self.logits)?;
        self.cache.bind(&mut self.binding)
    }

    /// Lets `row` look at its first `positions` positions and no further.
    pub(super) fn set_visible(&mut self, row: usize, positions: usize) {
        let mask = self.attention_mask.extract_tensor_mut().1;
        let (visible, hidden) =
            mask[row * self.context_tokens_max..][..self.context_tokens_max].split_at_mut(positions);
        visible.fill(1);
        hidden.fill(0);
    }

    /// Appends `input_ids[row]` at position `lengths[row]` of each row in use and returns all rows' logits.
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        input_ids: &[u32],
        lengths: &[usize],
    ) -> ort::Result<&[f32]> {
        for (target, id) in self.input_ids.extract_tensor_mut().1.iter_mut().zip(input_ids) {
            *target = i64::from(*id);
        }
        let mask = self.attention_mask.extract_tensor_mut().1;
        for (row, length) in lengths.iter().enumerate() {
            mask[row * self.context_tokens_max + length] = 1;
        }
        if let Some(position_ids) = &mut self.position_ids {
            let positions = position_ids.extract_tensor_mut().1.iter_mut();
            positions.zip(lengths).for_each(|(position, length)| *position = *length as i64);
        }
        if self.binds_each_step {
            self.bind()?;
        }
        drop(session.run_binding(&self.binding)?);
        Ok(self.logits.extract_tensor().1)
    }
}
