//! Which row begins like a new prompt. Pure: rows are names here, and what they hold is what one is told.
//!
//! Style and instructions are the same for thousands of requests, and the variants of one request share their whole prompt:
//! what a row has read already, another begins with. Of all texts that stand in order, those which share the longest
//! beginning with a new one are its neighbours, so a look-up is one descent of an ordered map and two comparisons.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::backend::{Prefix, Row};

/// A shorter beginning is not worth sharing: it is read as quickly.
pub const PREFIX_TOKENS_MIN: usize = 16;
/// Most rows that are kept after their sequence.
const KEPT_ROWS_MAX: usize = 64;

/// Prompts that rows have read, or are about to.
#[derive(Debug)]
pub struct PrefixIndex {
    read: Prompts,
    /// Prompts that are being read.
    coming: Prompts,
    /// The prompts of rows that are kept.
    kept_prompts: Prompts,
    kept: HashMap<Row, Kept>,
    kept_positions: usize,
    kept_positions_max: usize,
    /// Goes up with each use of a kept row.
    uses: u64,
}

/// A row whose sequence has ended.
#[derive(Debug)]
struct Kept {
    prompt_ids: Arc<[u32]>,
    used: u64,
}

/// What is known about the beginning of a new prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// No row begins like it.
    Unknown,
    /// A row has read it.
    Read(Prefix),
    /// A row is reading much more of it than any has read.
    Coming(Row),
}

impl PrefixIndex {
    /// No rows yet; kept ones may hold `kept_positions_max`. With 0 nothing is ever shared.
    #[must_use]
    pub fn new(kept_positions_max: usize) -> Self {
        let (read, coming, kept_prompts) = (Prompts::default(), Prompts::default(), Prompts::default());
        Self { read, coming, kept_prompts, kept: HashMap::new(), kept_positions: 0, kept_positions_max, uses: 0 }
    }

    /// Notes that a row is going to read a prompt.
    pub fn note_coming(&mut self, row: Row, prompt_ids: &Arc<[u32]>) {
        if self.is_worth_it(prompt_ids) {
            self.coming.insert(row, prompt_ids);
        }
    }

    /// Notes that a row holds a prompt, and will until it is kept, forgotten or given up.
    pub fn note_read(&mut self, row: Row, prompt_ids: &Arc<[u32]>) {
        self.coming.remove(row, prompt_ids);
        if self.is_worth_it(prompt_ids) {
            self.read.insert(row, prompt_ids);
        }
    }

    /// Notes that a row of a sequence is no longer to be counted on.
    pub fn forget(&mut self, row: Row, prompt_ids: &[u32]) {
        self.coming.remove(row, prompt_ids);
        self.read.remove(row, prompt_ids);
    }

    /// The longest beginning of a prompt that is to be had. At least one entry is left to be read, so that there are logits.
    #[must_use]
    pub fn find(&mut self, prompt_ids: &[u32]) -> Beginning {
        let Some((_, beginning)) = prompt_ids.split_last() else { return Beginning::Unknown };
        let (read, row) = self.read.longest(beginning).unwrap_or((0, Row(0)));
        let coming = self.coming.longest(beginning);
        if let Some((_, row)) = coming.filter(|(positions, _)| *positions >= read + PREFIX_TOKENS_MIN) {
            return Beginning::Coming(row);
        }
        if read < PREFIX_TOKENS_MIN {
            return Beginning::Unknown;
        }
        self.touch(row);
        Beginning::Read(Prefix { row, positions: read })
    }

    /// Keeps the row of a sequence that has ended, as far as its prompt goes, when that adds something to what is kept.
    /// Returns the rows to be closed: others that had to go, or this one.
    #[must_use]
    pub fn keep(&mut self, row: Row, prompt_ids: &Arc<[u32]>) -> Vec<Row> {
        self.forget(row, prompt_ids);
        let known = self.kept_prompts.longest(prompt_ids);
        let is_new = known.is_none_or(|(positions, _)| positions + PREFIX_TOKENS_MIN <= prompt_ids.len());
        if !self.is_worth_it(prompt_ids) || !is_new || prompt_ids.len() > self.kept_positions_max {
            known.into_iter().for_each(|(_, known)| self.touch(known));
            return vec![row];
        }
        self.uses += 1;
        self.kept_positions += prompt_ids.len();
        self.kept.insert(row, Kept { prompt_ids: Arc::clone(prompt_ids), used: self.uses });
        self.read.insert(row, prompt_ids);
        self.kept_prompts.insert(row, prompt_ids);
        let mut closed = Vec::new();
        while self.kept_positions > self.kept_positions_max || self.kept.len() > KEPT_ROWS_MAX {
            closed.extend(self.give_up());
        }
        closed
    }

    /// Gives up the kept row that was not used for longest.
    #[must_use]
    pub fn give_up(&mut self) -> Option<Row> {
        let row = *self.kept.iter().min_by_key(|(_, kept)| kept.used)?.0;
        let kept = self.kept.remove(&row)?;
        self.kept_positions -= kept.prompt_ids.len();
        self.read.remove(row, &kept.prompt_ids);
        self.kept_prompts.remove(row, &kept.prompt_ids);
        Some(row)
    }

    /// Positions that kept rows hold.
    #[must_use]
    pub const fn kept_positions(&self) -> usize {
        self.kept_positions
    }

    fn is_worth_it(&self, prompt_ids: &[u32]) -> bool {
        self.kept_positions_max > 0 && prompt_ids.len() >= PREFIX_TOKENS_MIN
    }

    fn touch(&mut self, row: Row) {
        if let Some(kept) = self.kept.get_mut(&row) {
            self.uses += 1;
            kept.used = self.uses;
        }
    }
}

/// Prompts in order, each with the rows that have it.
#[derive(Debug, Default)]
struct Prompts(BTreeMap<Arc<[u32]>, Vec<Row>>);

impl Prompts {
    fn insert(&mut self, row: Row, prompt_ids: &Arc<[u32]>) {
        self.0.entry(Arc::clone(prompt_ids)).or_default().push(row);
    }

    fn remove(&mut self, row: Row, prompt_ids: &[u32]) {
        if let Some(rows) = self.0.get_mut(prompt_ids) {
            rows.retain(|other| *other != row);
            if rows.is_empty() {
                self.0.remove(prompt_ids);
            }
        }
    }

    /// How much of `ids` is the beginning of a prompt, and a row that has it.
    fn longest(&self, ids: &[u32]) -> Option<(usize, Row)> {
        let before = self.0.range::<[u32], _>((Bound::Unbounded, Bound::Excluded(ids))).next_back();
        let after = self.0.range::<[u32], _>((Bound::Included(ids), Bound::Unbounded)).next();
        let shared = |(prompt_ids, rows): (&Arc<[u32]>, &Vec<Row>)| {
            rows.first().map(|row| (common_len(prompt_ids, ids), *row))
        };
        before.and_then(shared).max(after.and_then(shared))
    }
}

fn common_len(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
