//! Who reads how much in a step.

use std::cmp::Reverse;

use super::urgency::{SequenceId, Standing};

/// Prompt entries that a step reads at least when any are there to be read, however many rows decode.
const CHUNK_TOKENS_MIN: usize = 16;

/// What a running sequence has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// How much; 0 when it cannot read yet.
    pub ids: usize,
    /// A prompt may be read in parts; what follows a choice is read at once.
    pub is_prompt: bool,
}

/// How much each of `running` reads in a step of `tokens_max` entries: what follows a choice first and whole, then the most
/// urgent prompts as far as the rest goes.
#[must_use]
pub fn shares(
    running: &[Standing],
    tokens_max: usize,
    unread: impl Fn(SequenceId) -> Unread,
) -> Vec<(SequenceId, usize)> {
    let mut reading: Vec<(&Standing, Unread)> =
        running.iter().map(|standing| (standing, unread(standing.id))).collect();
    reading.retain(|(_, unread)| unread.ids > 0);
    reading.sort_unstable_by_key(|(standing, unread)| {
        (unread.is_prompt, Reverse((standing.is_overdue, standing.urgency(standing.waited))))
    });
    let decoded: usize =
        reading.iter().filter(|(_, unread)| !unread.is_prompt).map(|(_, unread)| unread.ids).sum();
    let mut left = tokens_max.saturating_sub(decoded).max(CHUNK_TOKENS_MIN);
    let mut share = |unread: Unread| {
        if !unread.is_prompt {
            return unread.ids;
        }
        let ids = unread.ids.min(left);
        left -= ids;
        ids
    };
    let shares = reading.into_iter().map(|(standing, unread)| (standing.id, share(unread)));
    shares.filter(|(_, ids)| *ids > 0).collect()
}
