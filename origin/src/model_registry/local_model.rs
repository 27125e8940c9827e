//! A model of this process: its text side, its device, and who may wait for it.

use std::time::Instant;

use lede_shared::plan::Priority;

use crate::admission::Admission;
use crate::engine::constraint::{CaptionRules, Constraint, ConstraintError};
use crate::engine::sampler::{Sampling, StreamSeed};
use crate::engine::sequence::{SequenceError, SequenceRequest};
use crate::engine::{EngineGone, EngineHandle, EngineStatus, SubmitError};
use crate::models::{Model, OpeningModel};

/// A model and the way to it. Clones share it.
#[derive(Clone, Debug)]
pub struct LocalModel {
    /// Its text side, which may still be read.
    pub model: OpeningModel,
    /// Its device.
    pub engine: EngineHandle,
    /// Who may wait for the device.
    pub admission: Admission,
}

/// Why not even one entry was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OneTokenError {
    /// The constraint could not be made.
    #[error(transparent)]
    NotPrepared(#[from] ConstraintError),
    /// The engine did not take it in.
    #[error(transparent)]
    NotSubmitted(#[from] SubmitError),
    /// The engine was lost with it.
    #[error(transparent)]
    Lost(#[from] EngineGone),
    /// The engine did not finish it.
    #[error(transparent)]
    NotFinished(#[from] SequenceError),
}

impl LocalModel {
    /// Can it write now?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.engine.status(), EngineStatus::Ready(_))
    }

    /// The shortest generation there is, to see that the device works.
    ///
    /// # Errors
    /// See [`OneTokenError`].
    pub async fn write_one_token(&self, deadline: Instant, priority: Priority) -> Result<(), OneTokenError> {
        // The text side is read before the engine is ready.
        let model: &Model = self.model.get().ok_or(SubmitError::NotReady)?;
        let rules = CaptionRules {
            caption_utf16_max: 1,
            caption_pieces_max: 1,
            completion_pieces_max: 1,
            ..CaptionRules::default()
        };
        let constraint = model.constraints().prepare(rules)?;
        let sequence = self.engine.submit(SequenceRequest {
            // Any entry will do.
            prompt_ids: [0].into(),
            constraint: Constraint::new(constraint),
            sampling: Sampling::Greedy,
            stream_seed: StreamSeed::default(),
            completion_tokens_max: 1,
            priority,
            deadline,
            listener: None,
        })?;
        sequence.await??;
        Ok(())
    }
}
