//! Rows of a backend, read and stepped by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod schedule;

use lede_origin::backend::{Backend, LogitsWanted, Row, RowWork};

pub(crate) use schedule::any_schedule_gives_what_each_row_gives_alone;

/// The largest difference between two rows of logits; NaN is larger than any.
pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // Written so that NaN is the largest.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(
        0.0,
        |largest, difference| {
            if difference <= largest { largest } else { difference }
        },
    )
}

/// A row that has read `ids`, and the logits after them.
pub(crate) fn opened(backend: &mut dyn Backend, ids: &[u32]) -> (Row, Vec<f32>) {
    let row = backend.open(None).unwrap();
    backend.submit(&[RowWork { row, ids, logits: LogitsWanted::Last }]).unwrap();
    (row, backend.logits(0, ids.len() - 1).unwrap().to_vec())
}

/// The logits of each row after one entry more.
pub(crate) fn stepped(backend: &mut dyn Backend, rows: &[Row], ids: &[u32]) -> Vec<Vec<f32>> {
    let pairs = rows.iter().zip(ids.chunks(1));
    let work: Vec<RowWork<'_>> =
        pairs.map(|(row, ids)| RowWork { row: *row, ids, logits: LogitsWanted::Last }).collect();
    backend.submit(&work).unwrap();
    (0..rows.len()).map(|item| backend.logits(item, 0).unwrap().to_vec()).collect()
}
