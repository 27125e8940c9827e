//! One sequence's way through the stages.

use std::collections::VecDeque;
use std::sync::Arc;

use toktrie::SimpleVob;

use super::caption_stage::{CaptionStage, CaptionStep};
use super::hashtag_stage::{HashtagStage, HashtagStep, Hashtags};
use super::markup::Leave;
use super::written::WrittenCaption;
use super::{ConstraintError, PreparedConstraint, room};

/// What is being written.
#[derive(Clone, Debug)]
enum Stage {
    /// Entries that are fixed; then comes the next text.
    Fixed {
        queue: VecDeque<u32>,
        next: Text,
    },
    Caption,
    /// The caption is complete and has to be left.
    Leaving,
    Hashtag(Box<HashtagStage>),
    /// One of the entries that end the answer.
    End,
    Ended,
}

/// What comes after fixed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Caption,
    Hashtag,
    End,
}

/// What one sequence has written so far, and from it what it may write next.
#[derive(Clone, Debug)]
pub struct Constraint {
    prepared: Arc<PreparedConstraint>,
    stage: Stage,
    caption: CaptionStage,
    hashtags: Hashtags,
    /// Hashtags that were given up.
    given_up: usize,
    pieces: usize,
    mask: SimpleVob,
    /// May the present text be left? Else a quotation mark is part of it.
    may_leave: bool,
}

impl Constraint {
    /// Nothing written yet.
    #[must_use]
    pub fn new(prepared: Arc<PreparedConstraint>) -> Self {
        let queue = prepared.frame().opening.clone();
        let stage = if queue.is_empty() { Stage::Caption } else { Stage::Fixed { queue, next: Text::Caption } };
        let caption = CaptionStage::new(&prepared);
        let mask = prepared.trie().alloc_token_set();
        let hashtags = Hashtags::new(&prepared);
        Self { prepared, stage, caption, hashtags, given_up: 0, pieces: 0, mask, may_leave: false }
    }

    /// Was the end reached?
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// The caption as far as it has been written, in whole characters and without blanks around it.
    #[must_use]
    pub fn caption_so_far(&self) -> String {
        self.caption.read_so_far(self.prepared.frame().notation)
    }

    /// Is the caption complete, so that nothing of it changes any more?
    #[must_use]
    pub const fn has_left_caption(&self) -> bool {
        matches!(self.stage, Stage::Fixed { next: Text::Hashtag | Text::End, .. })
            || matches!(self.stage, Stage::Hashtag(_) | Stage::End | Stage::Ended)
    }

    /// What may come next, as [`Self::work_out`] has found. Until the end there is always something.
    #[must_use]
    pub const fn permitted(&self) -> &SimpleVob {
        &self.mask
    }

    /// The one entry that may come next, where that is known without anything being worked out.
    #[must_use]
    pub fn fixed(&self) -> Option<u32> {
        match &self.stage {
            Stage::Fixed { queue, .. } => queue.front().copied(),
            Stage::End => <[u32; 1]>::try_from(self.prepared.frame().ends.as_slice()).ok().map(|[id]| id),
            Stage::Caption | Stage::Leaving | Stage::Hashtag(_) | Stage::Ended => None,
        }
    }

    /// Works out what may come next. Once for each entry.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub fn work_out(&mut self) -> Result<(), ConstraintError> {
        let prepared = Arc::clone(&self.prepared);
        self.may_leave = false;
        match &mut self.stage {
            Stage::Caption => match self.caption.next(&prepared, &mut self.mask)? {
                CaptionStep::Free { may_leave: true } => self.permit_leave(),
                CaptionStep::Free { may_leave: false } => {}
                CaptionStep::Close => {
                    self.complete_caption(false)?;
                    self.permit_fixed();
                }
            },
            Stage::Hashtag(stage) => match stage.next(&prepared, &self.hashtags, &mut self.mask)? {
                HashtagStep::Free { may_leave: true } => self.permit_leave(),
                HashtagStep::Free { may_leave: false } => {}
                HashtagStep::Leave => {
                    self.mask.set_all(false);
                    self.permit_leave();
                }
            },
            Stage::Fixed { .. } | Stage::Leaving | Stage::End | Stage::Ended => self.permit_fixed(),
        }
        Ok(())
    }

    /// The entries that would leave the caption, when it may not be left only because something has to stand in it
    /// that does not yet.
    #[must_use]
    pub fn held_back(&self) -> Vec<u32> {
        let is_held_back = matches!(self.stage, Stage::Caption) && self.caption.is_held_back();
        if is_held_back { self.leaves().iter().map(|leave| leave.id).collect() } else { Vec::new() }
    }

    /// The model would rather leave a caption that lacks something. When it insists, what is missing is put there:
    /// true if so, and what is permitted has changed.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub fn refuse_leave(&mut self) -> Result<bool, ConstraintError> {
        let insists = self.caption.refuse_leave();
        if insists {
            self.complete_caption(true)?;
        }
        Ok(insists)
    }

    fn complete_caption(&mut self, was_left: bool) -> Result<(), ConstraintError> {
        self.stage = Stage::Leaving;
        self.caption.close(&self.prepared, was_left)
    }

    fn permit_fixed(&mut self) {
        self.mask.set_all(false);
        match &self.stage {
            Stage::Fixed { queue, .. } => {
                if let Some(id) = queue.front() {
                    self.mask.allow_token(*id);
                }
            }
            Stage::Leaving => self.permit_leave(),
            Stage::End => {
                for id in &self.prepared.frame().ends {
                    self.mask.allow_token(*id);
                }
            }
            Stage::Caption | Stage::Hashtag(_) | Stage::Ended => {}
        }
    }

    fn permit_leave(&mut self) {
        self.may_leave = true;
        let prepared = Arc::clone(&self.prepared);
        for leave in leaves_of(&prepared, self.next_text(), matches!(self.stage, Stage::Hashtag(_))) {
            self.mask.allow_token(leave.id);
        }
    }

    fn leaves(&self) -> &[Leave] {
        leaves_of(&self.prepared, self.next_text(), matches!(self.stage, Stage::Hashtag(_)))
    }

    /// What comes after the present text.
    fn next_text(&self) -> Text {
        let begun =
            self.hashtags.names.len() + self.given_up + usize::from(matches!(self.stage, Stage::Hashtag(_)));
        if begun < self.prepared.rules.hashtag_count { Text::Hashtag } else { Text::End }
    }

    /// Takes an entry, which must have been permitted.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        self.pieces += 1;
        let prepared = Arc::clone(&self.prepared);
        match &mut self.stage {
            Stage::Fixed { queue, .. } => {
                queue.pop_front();
                self.begin_next();
                Ok(())
            }
            Stage::End | Stage::Ended => {
                self.stage = Stage::Ended;
                Ok(())
            }
            Stage::Caption | Stage::Leaving | Stage::Hashtag(_) => {
                let leave = self.leaves().iter().find(|leave| self.may_leave && leave.id == id).cloned();
                if let Some(leave) = leave {
                    self.leave(leave);
                    return Ok(());
                }
                match &mut self.stage {
                    Stage::Caption => self.caption.accept(&prepared, id),
                    Stage::Hashtag(stage) => stage.accept(&prepared, &self.hashtags, id),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Ends the present text.
    fn leave(&mut self, leave: Leave) {
        let next = self.next_text();
        let present = std::mem::replace(&mut self.stage, Stage::Fixed { queue: leave.rest, next });
        if let Stage::Hashtag(stage) = present {
            match stage.into_name(&self.prepared, &self.hashtags) {
                Some(name) => self.hashtags.push(&self.prepared, name),
                None => self.given_up += 1,
            }
        }
        self.begin_next();
    }

    /// Begins the next text when nothing fixed is left before it.
    fn begin_next(&mut self) {
        let Stage::Fixed { queue, next } = &self.stage else { return };
        if !queue.is_empty() {
            return;
        }
        self.stage = match next {
            Text::Caption => Stage::Caption,
            Text::Hashtag => {
                let prepared = &self.prepared;
                let after = prepared.rules.hashtag_count - self.hashtags.names.len() - self.given_up - 1;
                let pieces_left = prepared.rules.completion_pieces_max.saturating_sub(self.pieces);
                let pieces = room::name_pieces(prepared.frame(), pieces_left, after);
                Stage::Hashtag(Box::new(HashtagStage::new(prepared, pieces)))
            }
            Text::End if self.prepared.frame().ends.is_empty() => Stage::Ended,
            Text::End => Stage::End,
        };
    }

    /// What was written; a hashtag that was being written when the sequence stopped is left out.
    #[must_use]
    pub fn into_written(self) -> WrittenCaption {
        let was_stopped = matches!(self.stage, Stage::Caption | Stage::Leaving);
        WrittenCaption {
            is_complete: self.has_ended() && self.hashtags.names.len() == self.prepared.rules.hashtag_count,
            caption: self.caption.read(self.prepared.frame().notation),
            caption_was_cut: self.caption.was_cut || was_stopped,
            length_forced: self.caption.length_forced,
            lacks_required: self.caption.lacks_required,
            hashtags: self.hashtags.names,
        }
    }
}

fn leaves_of(prepared: &PreparedConstraint, next: Text, has_hashtags: bool) -> &[Leave] {
    let frame = prepared.frame();
    match next {
        Text::Hashtag | Text::Caption => &frame.to_hashtag[usize::from(has_hashtags)],
        Text::End => &frame.to_end[usize::from(has_hashtags)],
    }
}
