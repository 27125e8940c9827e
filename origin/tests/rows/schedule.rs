//! Random schedules of rows: opened, forked, read in pieces, resting, cut back, closed. Whatever the others did meanwhile,
//! a row has the logits that the same pieces have alone, to the bit, and those of reading all at once, to rounding.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lede_origin::backend::{Backend, LogitsWanted, Prefix, Row, RowWork};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::largest_difference;

/// More than a step takes and than there are places.
const ROWS_OPEN_MAX: usize = 9;
/// Pieces of one entry have their own kernels, which sum in another order.
const ROUNDING_MAX: f32 = 1e-3;

#[derive(Clone, Debug)]
enum Act {
    Open,
    Fork {
        of: usize,
        share: usize,
    },
    /// For each row of the step: which, how many entries, and are all logits wanted.
    Step(Vec<(usize, usize, bool)>),
    Truncate {
        of: usize,
        share: usize,
    },
    Close(usize),
}

/// What a row has done since it was empty, and what it holds.
#[derive(Clone, Debug, Default)]
struct History {
    pieces: Vec<Piece>,
    ids: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Piece {
    Read(Vec<u32>),
    Truncate(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let index = 0..ROWS_OPEN_MAX;
    // Mostly one entry, as in decoding.
    let count = prop_oneof![3 => Just(1usize), 2 => 2usize..9, 1 => 9usize..30];
    let act = prop_oneof![
        2 => Just(Act::Open),
        1 => (index.clone(), 1usize..=8).prop_map(|(of, share)| Act::Fork { of, share }),
        6 => prop::collection::vec((index.clone(), count, any::<bool>()), 1..6).prop_map(Act::Step),
        1 => (index.clone(), 0usize..=8).prop_map(|(of, share)| Act::Truncate { of, share }),
        1 => index.prop_map(Act::Close),
    ];
    prop::collection::vec(act, 1..50)
}

/// Runs random schedules on `backend`, and what they are compared with on `alone`.
pub(crate) fn any_schedule_gives_what_each_row_gives_alone(
    cases: u32,
    backend: Box<dyn Backend>,
    alone: Box<dyn Backend>,
) {
    let backends = RefCell::new((backend, alone));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&acts(), |acts| {
        let (backend, alone) = &mut *backends.borrow_mut();
        let mut schedule = Schedule { backend: backend.as_mut(), alone: alone.as_mut(), rows: BTreeMap::new() };
        let free = schedule.backend.positions_free();
        let openings = std::iter::repeat_n(&Act::Open, ROWS_OPEN_MAX - 2);
        let outcome = openings.chain(&acts).try_for_each(|act| schedule.act(act));
        schedule.rows.keys().for_each(|row| schedule.backend.close(*row));
        prop_assert_eq!(schedule.backend.positions_free(), free);
        outcome
    });
    outcome.unwrap();
}

struct Schedule<'a> {
    backend: &'a mut dyn Backend,
    alone: &'a mut dyn Backend,
    rows: BTreeMap<Row, History>,
}

impl Schedule<'_> {
    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Open if self.rows.len() < ROWS_OPEN_MAX => {
                let row = self.backend.open(None).unwrap();
                prop_assert!(self.rows.insert(row, History::default()).is_none(), "{row:?} was open");
            }
            Act::Fork { of, share } if self.rows.len() < ROWS_OPEN_MAX => self.fork(*of, *share),
            Act::Step(members) => self.step(members)?,
            Act::Truncate { of, share } => {
                if let Some((row, history)) = self.rows.iter_mut().nth(*of) {
                    let positions = history.ids.len() * share / 8;
                    self.backend.truncate(*row, positions);
                    history.cut(positions);
                }
            }
            Act::Close(of) => {
                if let Some(row) = self.nth(*of) {
                    self.backend.close(row);
                    self.rows.remove(&row);
                }
            }
            Act::Open | Act::Fork { .. } => {}
        }
        Ok(())
    }

    fn nth(&self, index: usize) -> Option<Row> {
        self.rows.keys().nth(index).copied()
    }

    fn fork(&mut self, of: usize, share: usize) {
        let Some(row) = self.nth(of) else { return };
        let mut history = self.rows[&row].clone();
        let positions = history.ids.len() * share / 8;
        if positions > 0 {
            history.cut(positions);
            let fork = self.backend.open(Some(Prefix { row, positions })).unwrap();
            self.rows.insert(fork, history);
        }
    }

    fn step(&mut self, members: &[(usize, usize, bool)]) -> Result<(), TestCaseError> {
        let shape = self.backend.shape();
        let mut items: Vec<(Row, Vec<u32>, LogitsWanted)> = Vec::new();
        for (index, count, all) in members.iter().copied() {
            let Some(row) = self.nth(index) else { continue };
            let held = self.rows[&row].ids.len();
            let fits = held + count <= shape.context_tokens_max && items.len() < shape.rows_max;
            if fits && items.iter().all(|(other, ..)| *other != row) {
                // Any entries will do, and every row has others.
                let id = |at: usize| (at * 7 + row.0 as usize * 13 + count) % (shape.vocabulary_entries - 1) + 1;
                let ids = (held..held + count).map(|at| id(at) as u32).collect();
                items.push((row, ids, if all { LogitsWanted::All } else { LogitsWanted::Last }));
            }
        }
        let work: Vec<RowWork<'_>> =
            items.iter().map(|(row, ids, logits)| RowWork { row: *row, ids, logits: *logits }).collect();
        if work.is_empty() {
            return Ok(());
        }
        self.backend.submit(&work).unwrap();
        for (item, (row, ids, logits)) in items.iter().enumerate() {
            let history = self.rows.get_mut(row).unwrap();
            history.ids.extend(ids);
            history.pieces.push(Piece::Read(ids.clone()));
            let offsets = if *logits == LogitsWanted::All { 0..ids.len() } else { ids.len() - 1..ids.len() };
            let before = history.ids.len() - ids.len();
            let at_once = history.at_once(self.alone);
            for offset in offsets {
                let written = self.backend.logits(item, offset).unwrap();
                let difference = largest_difference(written, &at_once[before + offset]);
                prop_assert!(difference <= ROUNDING_MAX, "{difference} at {offset} of {ids:?}");
            }
            let last = self.backend.logits(item, ids.len() - 1).unwrap();
            prop_assert_eq!(largest_difference(last, &history.in_pieces(self.alone)), 0.0);
        }
        Ok(())
    }
}

impl History {
    fn cut(&mut self, positions: usize) {
        if positions < self.ids.len() {
            self.ids.truncate(positions);
            self.pieces.push(Piece::Truncate(positions));
        }
    }

    /// The logits after each entry, read in one go.
    fn at_once(&self, backend: &mut dyn Backend) -> Vec<Vec<f32>> {
        let row = backend.open(None).unwrap();
        backend.submit(&[RowWork { row, ids: &self.ids, logits: LogitsWanted::All }]).unwrap();
        let logits = (0..self.ids.len()).map(|offset| backend.logits(0, offset).unwrap().to_vec()).collect();
        backend.close(row);
        logits
    }

    /// The logits after the last entry, read as they were.
    fn in_pieces(&self, backend: &mut dyn Backend) -> Vec<f32> {
        let row = backend.open(None).unwrap();
        let mut logits = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Read(ids) => {
                    backend.submit(&[RowWork { row, ids, logits: LogitsWanted::Last }]).unwrap();
                    logits = backend.logits(0, ids.len() - 1).unwrap().to_vec();
                }
                Piece::Truncate(positions) => backend.truncate(row, *positions),
            }
        }
        backend.close(row);
        logits
    }
}
