//! The first steps of the shapes that will be used: what a device or its library prepares for a shape had better not be
//! prepared while a caller waits, and what it takes for it should be known before it is measured.

use super::{Backend, BackendError, FailureKind, LogitsWanted, Row, RowWork, Selected, Selection};

/// Reads a prompt of `prompt_tokens` (less where there is less room), decodes after it alone, and decodes in as many rows as
/// there may be. Leaves no row behind.
///
/// # Errors
/// When the device fails. That there is no room for all of it is no failure.
pub fn warm_up(backend: &mut dyn Backend, prompt_tokens: usize) -> Result<(), BackendError> {
    let mut rows = Vec::new();
    let outcome = take_steps(backend, prompt_tokens, &mut rows);
    rows.into_iter().for_each(|row| backend.close(row));
    match outcome {
        Err(error) if matches!(error.kind(), FailureKind::Refused | FailureKind::OutOfMemory) => {
            tracing::debug!(%error, "there is no room to try all shapes");
            Ok(())
        }
        outcome => outcome,
    }
}

fn take_steps(backend: &mut dyn Backend, prompt_tokens: usize, rows: &mut Vec<Row>) -> Result<(), BackendError> {
    let shape = backend.shape();
    // A row takes whole blocks, and one entry is decoded after the prompt.
    let room = shape.context_tokens_max.min(backend.positions_free()).saturating_sub(backend.block_tokens());
    let prompt_tokens = prompt_tokens.min(room).max(1);
    let entries = u32::try_from(shape.vocabulary_entries).unwrap_or(u32::MAX);
    let prompt: Vec<u32> = (0..).map(|id| id % entries).take(prompt_tokens).collect();
    let alone = backend.open(None)?;
    rows.push(alone);
    step(backend, rows, &prompt)?;
    step(backend, rows, &prompt[..1])?;
    backend.close(alone);
    rows.clear();
    for _ in 0..shape.rows_max {
        rows.push(backend.open(None)?);
    }
    step(backend, rows, &prompt[..1])
}

/// Every row reads `ids`, and the likeliest entry after them is picked.
fn step(backend: &mut dyn Backend, rows: &[Row], ids: &[u32]) -> Result<(), BackendError> {
    let work: Vec<_> = rows.iter().map(|row| RowWork { row: *row, ids, logits: LogitsWanted::Last }).collect();
    backend.submit(&work)?;
    let entries = backend.shape().vocabulary_entries;
    let mut permitted = vec![u32::MAX; entries / 32];
    if !entries.is_multiple_of(32) {
        permitted.push((1 << (entries % 32)) - 1);
    }
    let select = |item: usize| Selection { item, offset: ids.len() - 1, permitted: &permitted, count_max: 1 };
    let selections: Vec<_> = (0..rows.len()).map(select).collect();
    let mut selected: Vec<Selected> = Vec::new();
    backend.select(&selections, &mut selected)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::backend::BackendShape;
    use crate::backend::scripted::ScriptedBackend;

    fn scripted(positions: usize) -> (ScriptedBackend, Arc<Mutex<Vec<usize>>>) {
        let read = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&read);
        let shape = BackendShape { vocabulary_entries: 40, context_tokens_max: 64, rows_max: 3 };
        let script = Box::new(move |ids: &[u32], _: &mut [f32]| told.lock().unwrap().push(ids.len()));
        (ScriptedBackend::new(shape, Duration::ZERO, script).with_positions_max(positions), read)
    }

    #[test]
    fn a_prompt_is_read_then_one_row_decodes_and_then_all() {
        let (mut backend, read) = scripted(256);
        let free = backend.positions_free();
        warm_up(&mut backend, 32).unwrap();
        assert_eq!(*read.lock().unwrap(), [32, 33, 1, 1, 1]);
        assert_eq!(backend.positions_free(), free, "no row is left behind");
    }

    #[test]
    fn a_device_with_little_room_is_tried_with_what_fits() {
        let (mut backend, read) = scripted(32);
        let free = backend.positions_free();
        warm_up(&mut backend, 1_000).unwrap();
        assert_eq!(*read.lock().unwrap(), [16, 17], "three rows take three blocks, and there are two");
        assert_eq!(backend.positions_free(), free);
    }
}
