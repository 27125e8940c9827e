//! Which row has which place of the batch. Pure: what is to be copied is told, not done.
//!
//! The rows that step together must stand side by side, in any order; those that read several entries anywhere else. A row
//! that rests keeps its place until it is wanted.

use std::ops::Range;

use crate::backend::Row;

/// Who holds which place.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    held: Vec<Option<Row>>,
}

/// One row's change of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) row: Row,
    /// None: it leaves the batch.
    pub(super) to: Option<usize>,
}

impl Places {
    /// How many there are, free ones included.
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    /// Places in use, each with its row.
    pub(super) fn held(&self) -> impl Iterator<Item = (usize, Row)> {
        self.held.iter().enumerate().filter_map(|(place, row)| Some((place, (*row)?)))
    }

    /// How many are in use.
    pub(super) fn taken(&self) -> usize {
        self.held().count()
    }

    /// The place of a row.
    pub(super) fn of(&self, row: Row) -> Option<usize> {
        self.held.iter().position(|held| *held == Some(row))
    }

    /// Frees the place of a row, if it has one.
    pub(super) fn leave(&mut self, row: Row) {
        self.apply(Move { row, to: None });
    }

    /// A place that nobody holds.
    pub(super) fn free(&self) -> Option<usize> {
        self.held.iter().position(Option::is_none)
    }

    /// Makes more places.
    pub(super) fn grow(&mut self, count: usize) {
        self.held.resize(self.held.len().max(count), None);
    }

    /// Does what a move says.
    pub(super) fn apply(&mut self, change: Move) {
        self.held.iter_mut().filter(|held| **held == Some(change.row)).for_each(|held| *held = None);
        if let Some(place) = change.to {
            self.held[place] = Some(change.row);
        }
    }

    /// Where the rows that step together are to stand: where they do, if side by side, otherwise at the beginning.
    pub(super) fn window(&self, stepping: &[Row]) -> Range<usize> {
        let held =
            |place: usize| self.held.get(place).copied().flatten().is_some_and(|row| stepping.contains(&row));
        let first = (0..self.held.len()).find(|place| held(*place)).unwrap_or_default();
        let together = (first..first + stepping.len()).all(held);
        if together { first..first + stepping.len() } else { 0..stepping.len() }
    }

    /// The moves, in order, after which `stepping` stand in their window and `reading` elsewhere. There must be as many
    /// places.
    pub(super) fn arrange(&self, stepping: &[Row], reading: &[Row]) -> Vec<Move> {
        let window = self.window(stepping);
        let inside = |place: Option<usize>| place.is_some_and(|place| window.contains(&place));
        let mut outsiders = stepping.iter().copied().filter(|row| !inside(self.of(*row)));
        let mut after = self.clone();
        let mut moves = Vec::new();
        for place in window.clone() {
            let holder = after.held[place];
            if holder.is_some_and(|row| stepping.contains(&row)) {
                continue;
            }
            if let Some(intruder) = holder {
                let to = after.free_outside(&window);
                after.make(Move { row: intruder, to }, &mut moves);
            }
            if let Some(row) = outsiders.next() {
                after.make(Move { row, to: Some(place) }, &mut moves);
            }
        }
        for row in reading {
            if after.of(*row).is_some() {
                continue;
            }
            let to = after.free_outside(&window).or_else(|| after.last_resting(&window, reading));
            if let Some(resting) = to.and_then(|place| after.held[place]) {
                after.make(Move { row: resting, to: None }, &mut moves);
            }
            after.make(Move { row: *row, to }, &mut moves);
        }
        moves
    }

    fn make(&mut self, change: Move, moves: &mut Vec<Move>) {
        self.apply(change);
        moves.push(change);
    }

    fn free_outside(&self, window: &Range<usize>) -> Option<usize> {
        (0..self.held.len()).find(|place| !window.contains(place) && self.held[*place].is_none())
    }

    /// The last place outside the window whose row has nothing to read.
    fn last_resting(&self, window: &Range<usize>, reading: &[Row]) -> Option<usize> {
        let rests = |place: usize| self.held[place].is_some_and(|row| !reading.contains(&row));
        (0..self.held.len()).rev().find(|place| !window.contains(place) && rests(*place))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACES: usize = 6;

    proptest! {
        #[test]
        fn every_row_of_a_step_stands_where_it_must_and_no_row_twice(
            steps in prop::collection::vec(prop::sample::subsequence((0..10).collect::<Vec<u32>>(), 0..=PLACES), 1..30),
            cuts in prop::collection::vec(0..=PLACES, 30),
        ) {
            let mut places = Places::default();
            places.grow(PLACES);
            for (rows, cut) in steps.iter().zip(cuts) {
                let rows: Vec<Row> = rows.iter().map(|row| Row(*row)).collect();
                let (stepping, reading) = rows.split_at(cut.min(rows.len()));
                let before = places.clone();
                let moves = places.arrange(stepping, reading);
                for change in &moves {
                    // What is moved onto another row's place would overwrite it.
                    prop_assert!(change.to.is_none_or(|place| places.held[place].is_none()));
                    places.apply(*change);
                }
                let window = places.window(stepping);
                prop_assert!(stepping.iter().all(|row| places.of(*row).is_some_and(|place| window.contains(&place))));
                prop_assert!(reading.iter().all(|row| places.of(*row).is_some_and(|place| !window.contains(&place))));
                for row in (0..10).map(Row) {
                    prop_assert!(places.held.iter().filter(|held| **held == Some(row)).count() <= 1);
                    // Nobody who rests is sent away while there is room for the step beside those who are there.
                    let gone = before.of(row).is_some() && places.of(row).is_none();
                    prop_assert!(!gone || before.taken() + rows.len() > PLACES);
                }
            }
        }
    }

    #[test]
    fn a_step_of_the_same_rows_moves_nothing() {
        let mut places = Places::default();
        places.grow(4);
        let rows = [Row(7), Row(1), Row(3)];
        places.arrange(&rows, &[]).into_iter().for_each(|change| places.apply(change));
        assert_eq!(places.arrange(&[Row(3), Row(7), Row(1)], &[]), []);
        // The first leaves: the others stand side by side still.
        let mut others = places.clone();
        others.leave(Row(7));
        assert_eq!(others.arrange(&[Row(1), Row(3)], &[]), []);
        // One in the middle leaves: one of the others takes its place, and nothing else is copied.
        places.leave(Row(1));
        assert_eq!(places.arrange(&[Row(7), Row(3)], &[]), [Move { row: Row(3), to: Some(1) }]);
    }
}
