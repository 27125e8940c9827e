//! Who reads how much in a step.

use std::cmp::Reverse;
use std::time::Instant;

use lede_shared::plan::Priority;

use super::urgency::{OVERDUE_AFTER, SequenceId, Standing};

/// Prompt entries that a step reads at least when any are there to be read, however many rows decode.
pub const CHUNK_TOKENS_MIN: usize = 16;

/// What a running sequence has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// How much; 0 when it cannot read yet.
    pub ids: usize,
    /// A prompt may be read in parts; what follows a choice is read at once.
    pub is_prompt: bool,
}

/// How much a step may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRoom {
    /// Of everything.
    pub tokens_max: usize,
    /// Of prompts.
    pub chunk_tokens: usize,
    /// Of prompts of low priority, which take what others leave of it.
    pub low_chunk_tokens: usize,
}

/// Those of `running` that are so far below the most urgent that they would have to make room for it: where they slow it
/// down, they are left out of its steps. Whoever has the place of the overdue is not among them, and where nobody has it,
/// who has been here for longest, once that is as long.
#[must_use]
pub fn outranked(running: &[Standing], now: Instant) -> Vec<SequenceId> {
    let Some(highest) = running.iter().map(|standing| standing.priority).max() else { return Vec::new() };
    let longest = running.iter().max_by_key(|standing| (standing.waited_until(now), Reverse(standing.id)));
    let is_due = |standing: &&Standing| standing.waited_until(now) >= OVERDUE_AFTER;
    let has_overdue = running.iter().any(|standing| standing.is_overdue);
    let spared = longest.filter(is_due).filter(|_| !has_overdue).map(|standing| standing.id);
    let below = running.iter().filter(|standing| standing.yields_to(highest) && Some(standing.id) != spared);
    below.map(|standing| standing.id).collect()
}

/// How much each of `running` reads in a step: what follows a choice first and whole, then the most urgent prompts as far as
/// the rest of the room goes.
#[must_use]
pub fn shares(
    running: &[Standing],
    room: StepRoom,
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
    let rest = room.tokens_max.saturating_sub(decoded);
    let mut read = 0;
    let mut share = |standing: &Standing, unread: Unread| {
        if !unread.is_prompt {
            return unread.ids;
        }
        let is_low = standing.priority == Priority::Low;
        let chunk = if is_low { room.chunk_tokens.min(room.low_chunk_tokens) } else { room.chunk_tokens };
        let ids = unread.ids.min(rest.min(chunk).max(CHUNK_TOKENS_MIN).saturating_sub(read));
        read += ids;
        ids
    };
    let shares = reading.into_iter().map(|(standing, unread)| (standing.id, share(standing, unread)));
    shares.filter(|(_, ids)| *ids > 0).collect()
}
