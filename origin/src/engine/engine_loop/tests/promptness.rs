//! How soon somebody gets the first entry: counted in steps, not in time.

use std::time::Duration;

use lede_shared::plan::Priority;
use proptest::prelude::*;

use super::cases;
use super::harness::{Asked, Bench, Setup};
use crate::engine::PendingSequence;
use crate::engine::scheduler::{OVERDUE_AFTER, SequenceId};
use crate::engine::speculation::SpeculationMode;
use crate::engine::step_times::PromptsRead;

/// Guesses and shared prompts would only make it quicker.
fn plain_setup(rows: usize, step_tokens_max: usize) -> Setup {
    let speculation = SpeculationMode::Off;
    Setup { rows, step_tokens_max, prefix_positions_max: 0, speculation, ..Setup::usual() }
}

/// How many turns pass until one who comes now has written something.
fn turns_to_first(bench: &mut Bench, asked: &Asked) -> (usize, PendingSequence) {
    let pending = bench.submit(asked);
    bench.turn().unwrap();
    let id = *bench.engine.sequences.last_key_value().unwrap().0;
    let mut turns = 1;
    while !has_written(bench, id) {
        bench.turn().unwrap();
        turns += 1;
    }
    (turns, pending)
}

fn has_written(bench: &Bench, id: SequenceId) -> bool {
    bench.engine.sequences.get(&id).is_none_or(|sequence| sequence.written() > 0)
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn a_newcomer_among_32_clients_waits_for_two_steps_and_its_own_prompt(
        clients in prop::collection::vec((0usize..60, 1usize..200, any::<u8>()), 32),
    ) {
        const STEP_TOKENS: usize = 128;
        let mut bench = Bench::new(&plain_setup(32, STEP_TOKENS));
        let mut coming: Vec<(usize, Asked)> = clients.into_iter().map(|(arrives_at, prompt_len, seed)| {
            (arrives_at, Asked { prompt_len, seed, topic: u32::from(seed), ..Asked::usual() })
        }).collect();
        coming.sort_by_key(|(arrives_at, _)| *arrives_at);
        let mut pending = Vec::new();
        // Who waits for the first entry: since when, how long it may take.
        let mut waiting: Vec<(SequenceId, usize, usize)> = Vec::new();
        for turn in 0..400 {
            let known = bench.engine.sequences.keys().next_back().map_or(0, |id| id.0 + 1);
            let named = bench.stats().sequences_taken_in.max(known);
            let mut unread: usize = bench.engine.sequences.values().map(|sequence| sequence.unread())
                .filter(|unread| unread.is_prompt).map(|unread| unread.ids).sum();
            let arriving = coming.iter().filter(|(arrives_at, _)| *arrives_at == turn);
            for (name, (_, asked)) in (named..).zip(arriving) {
                pending.push(bench.submit(asked));
                unread += asked.prompt_len;
                // Rows that decode take at most one entry each out of a step.
                waiting.push((SequenceId(name), turn, 2 + unread.div_ceil(STEP_TOKENS - 32)));
            }
            bench.turn().unwrap();
            waiting.retain(|(id, _, _)| !has_written(&bench, *id));
            for (id, since, turns_max) in &waiting {
                prop_assert!(turn + 1 - since < *turns_max, "{id:?} has waited since {since} at {turn}");
            }
        }
        prop_assert!(waiting.is_empty());
    }

    #[test]
    fn a_flood_of_low_priority_delays_a_critical_one_by_no_more_than_a_step(
        rows in 1usize..5, lows in 10u8..60, turns in 1usize..150, prompt_len in 1usize..150,
    ) {
        const STEP_TOKENS: usize = 64;
        let mut bench = Bench::new(&plain_setup(rows, STEP_TOKENS));
        let low = |seed: u8| Asked { seed, priority: Priority::Low, topic: u32::from(seed), ..Asked::usual() };
        let mut flood: Vec<PendingSequence> = (0..lows).map(|seed| bench.submit(&low(seed))).collect();
        bench.turns(turns);
        let critical = Asked { priority: Priority::Critical, topic: 1_000, prompt_len, ..Asked::usual() };
        for _ in 0..3 {
            flood.push(bench.submit(&low(lows)));
            let own = prompt_len.div_ceil(STEP_TOKENS - rows);
            let (took, _pending) = turns_to_first(&mut bench, &critical);
            prop_assert!(took <= 1 + own, "{took} instead of {own}");
        }
    }
}

#[test]
fn a_critical_one_has_the_device_to_itself_where_others_slow_it_down_and_they_go_on_afterwards() {
    for (four_rows_ms, is_left_out) in [(30, true), (11, false)] {
        let mut bench = Bench::new(&plain_setup(4, 64));
        let low = |seed: u8| Asked { seed, priority: Priority::Low, topic: u32::from(seed), ..Asked::usual() };
        let mut lows: Vec<PendingSequence> = (0..3).map(|seed| bench.submit(&low(seed))).collect();
        bench.turns(8);
        for _ in 0..8 {
            bench.engine.times.note(1, PromptsRead::default(), Duration::from_millis(10));
            bench.engine.times.note(4, PromptsRead::default(), Duration::from_millis(four_rows_ms));
        }
        let written_by_lows = |bench: &Bench| -> usize {
            let lows = bench.engine.sequences.values().filter(|sequence| sequence.priority == Priority::Low);
            lows.map(|sequence| sequence.written()).sum()
        };
        let before = written_by_lows(&bench);
        let critical = Asked { priority: Priority::Critical, topic: 1_000, ..Asked::usual() };
        let (_, mut pending) = turns_to_first(&mut bench, &critical);
        bench.turns(3);
        assert_eq!(written_by_lows(&bench) == before, is_left_out, "four rows in {four_rows_ms} ms");
        assert_eq!(bench.stats().rows_held_back > 0, is_left_out);
        bench.turns(400);
        assert!(pending.try_recv().unwrap().is_ok());
        assert!(lows.iter_mut().all(|low| low.try_recv().unwrap().is_ok()));
    }
}

#[test]
fn an_endless_stream_of_critical_ones_starves_nobody() {
    let mut bench = Bench::new(&plain_setup(2, 64));
    let low = Asked { priority: Priority::Low, topic: 7, ..Asked::usual() };
    let mut low = bench.submit(&low);
    let mut stream = Vec::new();
    let began = bench.now;
    for seed in (0..=u8::MAX).cycle().take(2_000) {
        if bench.engine.scheduler.waiting().len() < 8 {
            stream.push(bench.submit(&Asked {
                seed,
                priority: Priority::Critical,
                topic: u32::from(seed),
                ..Asked::usual()
            }));
        }
        bench.turns(1);
        if let Ok(outcome) = low.try_recv() {
            assert!(outcome.is_ok());
            let waited = bench.now - began;
            assert!(waited >= OVERDUE_AFTER, "the critical ones went first: {waited:?}");
            return;
        }
    }
    panic!("it is still waiting");
}
