//! Rows whose attention cache is extended in place: all that take one entry go in one run, those that read more in a run
//! each, since with a past GroupQueryAttention takes several entries only in a batch of one.

use std::rc::Rc;

use half::f16;
use ort::session::Session;
use ort::value::TensorElementType;

use super::attention_cache::AttentionCache;
use super::batch::{Batch, Memory, Single};
use super::graph::Graph;
use super::places::{Move, Places};
use super::rows::{BLOCK_TOKENS, Rows, in_blocks};
use super::step_logits::{StepLogits, wanted};
use super::{failed, no_memory};
use crate::backend::{
    Backend, BackendDescription, BackendError, BackendShape, DeviceBytes, Prefix, Row, RowWork, Selected,
    Selection,
};

/// A session with its rows.
pub(super) struct SharedBuffers {
    session: Session,
    graph: Rc<Graph>,
    shape: BackendShape,
    memory: Memory,
    batch: Batch,
    places: Places,
    rows: Rows<Kept>,
    logits: StepLogits,
}

/// Where what a row holds is kept.
enum Kept {
    /// It holds nothing, or has a place in the batch.
    Batch,
    /// Aside, no more than it holds: its place was wanted by another.
    Shelf(AttentionCache),
}

impl SharedBuffers {
    /// A backend on an open session, whose graph is believed to extend shared buffers.
    pub(super) fn new(
        session: Session,
        graph: &Rc<Graph>,
        shape: BackendShape,
        memory: &Memory,
        positions_max: usize,
    ) -> Result<Self, BackendError> {
        let batch = Batch::new(graph, memory, shape).map_err(no_memory("preparing a batch"))?;
        let mut places = Places::default();
        places.grow(batch.cache.places());
        Ok(Self {
            session,
            graph: Rc::clone(graph),
            shape,
            memory: memory.clone(),
            batch,
            places,
            rows: Rows::new(shape, positions_max),
            logits: StepLogits::new(shape.vocabulary_entries),
        })
    }

    /// The session, for another backend.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Lets every row of the step stand where it must, with room for what it reads.
    fn arrange(&mut self, work: &[RowWork<'_>], stepping: &[Row], reading: &[Row]) -> Result<(), BackendError> {
        let longest = work.iter().map(|item| self.rows.positions(item.row) + item.ids.len()).max();
        let newcomers = work.iter().filter(|item| self.places.of(item.row).is_none()).count();
        self.fit(self.places.taken() + newcomers, longest.unwrap_or_default())?;
        for change in self.places.arrange(stepping, reading) {
            self.make(change).map_err(no_memory("moving a row"))?;
        }
        Ok(())
    }

    /// Makes room for `places` rows, if so many can be in a step, of `positions` each.
    fn fit(&mut self, places: usize, positions: usize) -> Result<(), BackendError> {
        let places = places.next_power_of_two().min(self.shape.rows_max).max(self.places.count());
        let held = self.places.held().map(|(place, row)| (place, self.rows.positions(row)));
        self.batch.fit(places, positions, held).map_err(no_memory("enlarging the batch"))?;
        self.places.grow(places);
        Ok(())
    }

    fn make(&mut self, change: Move) -> ort::Result<()> {
        let Some(open) = self.rows.get_mut(change.row) else { return Ok(()) };
        let (cache, positions) = (&mut self.batch.cache, open.positions);
        match (&open.kept, self.places.of(change.row), change.to) {
            (Kept::Shelf(shelf), _, Some(to)) => cache.copy_from(shelf, 0, to, positions)?,
            (Kept::Batch, Some(from), Some(to)) => cache.copy_within(from, to, positions)?,
            (Kept::Batch, Some(from), None) => {
                let mut shelf = self.memory.shelf(&self.graph, positions)?;
                shelf.copy_from(cache, from, 0, positions)?;
                open.kept = Kept::Shelf(shelf);
            }
            (Kept::Batch, None, _) | (Kept::Shelf(_), _, None) => {}
        }
        if change.to.is_some() {
            open.kept = Kept::Batch;
        }
        self.places.apply(change);
        Ok(())
    }

    /// One entry for each of these works, all in one run.
    fn step(&mut self, work: &[RowWork<'_>], stepping: &[Row]) -> ort::Result<()> {
        if stepping.is_empty() {
            return Ok(());
        }
        let window = self.places.window(stepping);
        let mut entries = Vec::with_capacity(stepping.len());
        for (index, item) in work.iter().enumerate().filter(|(_, item)| stepping.contains(&item.row)) {
            let place = self.places.of(item.row).unwrap_or_default();
            entries.push((place, self.rows.positions(item.row), item.ids[0]));
            self.logits.place(index, place - window.start, wanted(item));
        }
        self.batch.step(&mut self.session, window, entries.into_iter())?;
        stepping.iter().for_each(|row| self.rows.advance(*row, 1));
        Ok(())
    }

    /// Several entries for one row.
    fn read(&mut self, index: usize, item: &RowWork<'_>) -> ort::Result<()> {
        let place = self.places.of(item.row).unwrap_or_default();
        let (past, wanted, row) = (self.rows.positions(item.row), wanted(item), self.logits.rows());
        self.batch.read(&mut self.session, Single { place, past, ids: item.ids, wanted }, row)?;
        self.logits.place(index, row, wanted);
        self.rows.advance(item.row, item.ids.len());
        Ok(())
    }

    fn run(&mut self, work: &[RowWork<'_>], stepping: &[Row]) -> ort::Result<()> {
        self.step(work, stepping)?;
        for (index, item) in work.iter().enumerate().filter(|(_, item)| !stepping.contains(&item.row)) {
            self.read(index, item)?;
        }
        if self.graph.logits_type == TensorElementType::Float16 {
            let width = self.graph.vocabulary_entries;
            let logits = &self.batch.logits().read::<f16>()?[..self.logits.rows() * width];
            let values = self.logits.values_mut();
            values.clear();
            values.extend(logits.iter().map(|logit| logit.to_f32()));
        }
        Ok(())
    }

    /// The logits where the graph wrote them, when they need not be converted.
    fn computed(&self) -> Option<&[f32]> {
        self.batch.logits().read::<f32>().ok()
    }
}

impl Backend for SharedBuffers {
    fn shape(&self) -> BackendShape {
        self.shape
    }

    fn description(&self) -> BackendDescription {
        BackendDescription { batched: !self.graph.scales_per_batch, ..self.graph.description.clone() }
    }

    fn device_bytes(&self) -> DeviceBytes {
        let shelves = self.rows.kept().map(|kept| match kept {
            Kept::Batch => 0,
            Kept::Shelf(shelf) => shelf.bytes(),
        });
        DeviceBytes {
            weights_bytes: self.graph.weights_bytes,
            attention_bytes: self.batch.cache.bytes() + shelves.sum::<u64>(),
            scratch_bytes: self.batch.logits().bytes(),
        }
    }

    fn entries_computed(&self) -> u64 {
        self.batch.entries_computed
    }

    fn takes_guesses(&self) -> bool {
        // A row with several entries has a run of its own.
        false
    }

    fn positions_free(&self) -> usize {
        self.rows.positions_free()
    }

    fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }

    fn open(&mut self, prefix: Option<Prefix>) -> Result<Row, BackendError> {
        let Some(Prefix { row: source, positions }) = prefix else { return Ok(self.rows.open(0, Kept::Batch)) };
        self.rows.check_prefix(Prefix { row: source, positions })?;
        let failed = no_memory("copying a prefix");
        let (from, free) = (self.places.of(source), self.places.free());
        let cache = &mut self.batch.cache;
        let kept = match (self.rows.get(source).map(|source| &source.kept), from, free) {
            (Some(Kept::Shelf(shelf)), _, Some(place)) => {
                cache.copy_from(shelf, 0, place, positions).map(|()| Kept::Batch)
            }
            (Some(Kept::Shelf(shelf)), _, None) => {
                self.memory.copied(&self.graph, shelf, 0, positions).map(Kept::Shelf)
            }
            (_, Some(from), Some(place)) => cache.copy_within(from, place, positions).map(|()| Kept::Batch),
            (_, from, _) => {
                self.memory.copied(&self.graph, cache, from.unwrap_or_default(), positions).map(Kept::Shelf)
            }
        };
        let kept = kept.map_err(failed)?;
        let to = free.filter(|_| matches!(kept, Kept::Batch));
        let row = self.rows.open(positions, kept);
        self.places.apply(Move { row, to });
        Ok(row)
    }

    fn submit(&mut self, work: &[RowWork<'_>]) -> Result<(), BackendError> {
        self.rows.check(work)?;
        // Without a past a row reads its first entry as a prompt.
        let steps = |item: &&RowWork<'_>| {
            item.ids.len() == 1 && self.rows.positions(item.row) > 0 && !self.graph.scales_per_batch
        };
        let (stepping, reading): (Vec<&RowWork<'_>>, Vec<&RowWork<'_>>) = work.iter().partition(steps);
        let rows = |items: Vec<&RowWork<'_>>| items.into_iter().map(|item| item.row).collect::<Vec<Row>>();
        let wanted = stepping.len() + reading.iter().map(|item| wanted(item)).sum::<usize>();
        let (stepping, reading) = (rows(stepping), rows(reading));
        self.logits.begin(work.len());
        self.batch.fit_logits(wanted).map_err(no_memory("making room for logits"))?;
        self.arrange(work, &stepping, &reading)?;
        self.run(work, &stepping).map_err(failed("step"))
    }

    fn select(&mut self, selections: &[Selection<'_>], selected: &mut Vec<Selected>) -> Result<(), BackendError> {
        self.logits.select(selections, self.computed(), selected)
    }

    fn logits(&mut self, item: usize, offset: usize) -> Result<&[f32], BackendError> {
        self.logits.of(item, offset, self.computed())
    }

    fn truncate(&mut self, row: Row, positions: usize) {
        if let Some(open) = self.rows.get_mut(row) {
            open.positions = open.positions.min(positions);
        }
    }

    fn close(&mut self, row: Row) {
        self.rows.close(row);
        self.places.leave(row);
    }
}

impl Memory {
    /// Room for one row of `positions`.
    fn shelf(&self, graph: &Graph, positions: usize) -> ort::Result<AttentionCache> {
        AttentionCache::new(&graph.cache, &self.allocator, 1, in_blocks(positions))
    }

    /// A row's first positions, by themselves.
    fn copied(
        &self,
        graph: &Graph,
        source: &AttentionCache,
        place: usize,
        positions: usize,
    ) -> ort::Result<AttentionCache> {
        let mut shelf = self.shelf(graph, positions)?;
        shelf.copy_from(source, place, 0, positions)?;
        Ok(shelf)
    }
}
