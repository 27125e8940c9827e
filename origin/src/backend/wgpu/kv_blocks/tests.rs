use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const BLOCKS: u32 = 24;
const ROWS_MAX: usize = 8;

/// What a device would hold: for each block, which row's history wrote each position. Rows are histories of numbers, so a
/// row that reads what another wrote is found out.
struct Simulated {
    book: KvBlocks,
    memory: Vec<[u64; BLOCK_TOKENS]>,
    rows: Vec<(Row, Vec<u64>)>,
    written: u64,
}

#[derive(Clone, Debug)]
enum Deed {
    Open,
    Fork { of: usize, share: f64 },
    Extend { counts: Vec<usize> },
    Truncate { row: usize, share: f64 },
    Close { row: usize },
}

impl Simulated {
    fn new() -> Self {
        let memory = vec![[0; BLOCK_TOKENS]; BLOCKS as usize];
        Self { book: KvBlocks::new(BLOCKS, ROWS_MAX), memory, rows: Vec::new(), written: 0 }
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Open => self.open(None),
            Deed::Fork { of, share } => {
                let Some((row, history)) = self.pick(*of).map(|at| self.rows[at].clone()) else { return };
                let positions = (history.len() as f64 * share).ceil() as usize;
                self.open(Some((Prefix { row, positions }, history[..positions].to_vec())));
            }
            Deed::Extend { counts } => self.extend(counts),
            Deed::Truncate { row, share } => {
                let Some(at) = self.pick(*row) else { return };
                let (row, history) = &mut self.rows[at];
                history.truncate((history.len() as f64 * share) as usize);
                self.book.truncate(*row, history.len());
            }
            Deed::Close { row } => {
                let Some(at) = self.pick(*row) else { return };
                let (row, _) = self.rows.swap_remove(at);
                self.book.close(row);
            }
        }
    }

    fn pick(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.rows.len())
    }

    fn open(&mut self, prefix: Option<(Prefix, Vec<u64>)>) {
        let free = self.book.free_blocks();
        match self.book.open(prefix.as_ref().map(|(prefix, _)| *prefix)) {
            Ok(row) => self.rows.push((row, prefix.map_or_else(Vec::new, |(_, history)| history))),
            Err(error) if error.kind() == FailureKind::OutOfMemory => assert_eq!(free, 0),
            Err(_) => {
                let is_empty_prefix = prefix.is_some_and(|(prefix, _)| prefix.positions == 0);
                assert!(is_empty_prefix || self.rows.len() == ROWS_MAX);
            }
        }
    }

    /// A step: each named row writes its next positions, after the copies.
    fn extend(&mut self, counts: &[usize]) {
        let rows: Vec<(Row, usize)> =
            self.rows.iter().zip(counts).map(|((row, _), count)| (*row, *count)).collect();
        if self.book.extend(&rows).is_err() {
            return;
        }
        self.copy();
        for ((row, history), count) in self.rows.iter_mut().zip(counts) {
            for _ in 0..*count {
                self.written += 1;
                let block = self.book.blocks(*row)[history.len() / BLOCK_TOKENS];
                self.memory[block as usize][history.len() % BLOCK_TOKENS] = self.written;
                history.push(self.written);
            }
        }
    }

    /// All at once, as a kernel does it.
    fn copy(&mut self) {
        let copies = self.book.take_copies();
        assert!(copies.len() <= self.rows.len());
        let written: BTreeSet<u32> = copies.iter().map(|copy| copy.to).collect();
        assert_eq!(written.len(), copies.len(), "a block is written twice");
        assert!(copies.iter().all(|copy| !written.contains(&copy.from)), "a block is read and written");
        for BlockCopy { from, to } in copies {
            self.memory[to as usize] = self.memory[from as usize];
        }
    }

    fn check(&self) {
        let mut holders = vec![0; BLOCKS as usize];
        for (row, history) in &self.rows {
            let blocks = self.book.blocks(*row);
            assert_eq!(self.book.positions(*row), Some(history.len()));
            assert_eq!(blocks.len(), history.len().div_ceil(BLOCK_TOKENS));
            assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), blocks.len(), "a block twice in a row");
            blocks.iter().for_each(|block| holders[*block as usize] += 1);
        }
        assert_eq!(holders, self.book.holders);
        let free: BTreeSet<u32> = self.book.free.iter().copied().collect();
        assert_eq!(free.len(), self.book.free.len(), "a block free twice");
        let is_read = |block: u32| self.book.copies.iter().any(|copy| copy.from == block);
        let unused = (0..BLOCKS).filter(|block| holders[*block as usize] == 0 && !is_read(*block)).collect();
        assert_eq!(free, unused, "a block is lost, or free and used");
    }

    /// What the device would see when it reads each row.
    fn check_memory(&mut self) {
        self.copy();
        for (row, history) in &self.rows {
            let blocks = self.book.blocks(*row);
            let held =
                (0..history.len()).map(|at| self.memory[blocks[at / BLOCK_TOKENS] as usize][at % BLOCK_TOKENS]);
            assert_eq!(&held.collect::<Vec<_>>(), history);
        }
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => Just(Deed::Open),
        3 => (any::<usize>(), 0.0..=1.0f64).prop_map(|(of, share)| Deed::Fork { of, share }),
        6 => prop::collection::vec(0usize..40, 1..=ROWS_MAX).prop_map(|counts| Deed::Extend { counts }),
        3 => (any::<usize>(), 0.0..=1.0f64).prop_map(|(row, share)| Deed::Truncate { row, share }),
        1 => any::<usize>().prop_map(|row| Deed::Close { row }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_row_reads_what_it_wrote_and_no_block_is_lost_or_held_by_two_writers(
        deeds in prop::collection::vec((deed(), any::<bool>()), 1..80),
    ) {
        let mut simulated = Simulated::new();
        for (deed, reads) in deeds {
            simulated.act(&deed);
            simulated.check();
            if reads {
                simulated.check_memory();
            }
        }
        let rows = std::mem::take(&mut simulated.rows);
        rows.iter().for_each(|(row, _)| simulated.book.close(*row));
        simulated.check();
        prop_assert_eq!(simulated.book.free_blocks(), BLOCKS as usize);
    }
}

#[test]
fn whole_blocks_of_a_prefix_are_shared_and_the_rest_is_copied() {
    let mut book = KvBlocks::new(8, 4);
    let first = book.open(None).unwrap();
    book.extend(&[(first, 40)]).unwrap();
    let second = book.open(Some(Prefix { row: first, positions: 33 })).unwrap();
    assert_eq!(book.blocks(first)[..2], book.blocks(second)[..2]);
    let copies = book.take_copies();
    assert_eq!(copies, [BlockCopy { from: book.blocks(first)[2], to: book.blocks(second)[2] }]);
    assert_eq!(book.free_blocks(), 4);
    let third = book.open(Some(Prefix { row: first, positions: 32 })).unwrap();
    assert!(book.take_copies().is_empty());
    assert_eq!((book.blocks(third).len(), book.free_blocks()), (2, 4));
}

#[test]
fn who_writes_into_a_shared_block_gets_its_own_and_the_last_holder_keeps_it() {
    let mut book = KvBlocks::new(3, 4);
    let first = book.open(None).unwrap();
    book.extend(&[(first, 16)]).unwrap();
    let second = book.open(Some(Prefix { row: first, positions: 16 })).unwrap();
    book.truncate(first, 3);
    book.truncate(second, 5);
    let shared = book.blocks(first)[0];
    book.extend(&[(first, 1), (second, 1)]).unwrap();
    assert_eq!(book.take_copies(), [BlockCopy { from: shared, to: book.blocks(first)[0] }]);
    assert_eq!(book.blocks(second), [shared]);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut book = KvBlocks::new(2, 2);
    let first = book.open(None).unwrap();
    book.extend(&[(first, 30)]).unwrap();
    let second = book.open(None).unwrap();
    let kind = |outcome: Result<(), BackendError>| outcome.unwrap_err().kind();
    assert_eq!(kind(book.extend(&[(first, 2), (second, 1)])), FailureKind::OutOfMemory);
    assert_eq!((book.positions(first), book.positions(second)), (Some(30), Some(0)));
    assert_eq!(kind(book.extend(&[(first, 1), (first, 1)])), FailureKind::Refused);
    assert_eq!(kind(book.extend(&[(Row(77), 1)])), FailureKind::Refused);
    assert_eq!(book.open(None).unwrap_err().kind(), FailureKind::Refused);
    book.close(second);
    let too_long = Prefix { row: first, positions: 31 };
    assert_eq!(book.open(Some(too_long)).unwrap_err().kind(), FailureKind::Refused);
}
