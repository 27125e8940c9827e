//! The loop turn by turn on a scripted device: no thread, no clock, no sleep.

mod harness;
mod promptness;

use std::time::Duration;

use lede_shared::plan::Priority;
use proptest::prelude::*;

use self::harness::{Asked, Bench, Fault, Setup, alone, asked};
use super::*;
use crate::backend::FailureKind;
use crate::engine::door::Cancel;
use crate::engine::speculation::SpeculationMode;

fn cases(usual: u32) -> ProptestConfig {
    let more = std::env::var("LEDE_PROPTEST_TIMES").ok().and_then(|times| times.parse::<u32>().ok()).unwrap_or(1);
    ProptestConfig { cases: usual * more, failure_persistence: None, ..ProptestConfig::default() }
}

fn setup() -> impl Strategy<Value = Setup> {
    let faults = prop::collection::vec((0usize..120, any::<bool>(), 0usize..3), 0..4);
    let speculation = prop_oneof![Just(SpeculationMode::Off), Just(SpeculationMode::Always)];
    let speculation = (speculation, any::<bool>());
    (1usize..5, 16usize..90, prop_oneof![Just(0usize), Just(2_000)], speculation, 20usize..60, faults).prop_map(
        |(rows, step_tokens_max, prefix_positions_max, (speculation, takes_guesses), blocks, faults)| {
            // Of each kind that rows do not survive one: a second failure may end a sequence.
            let mut has_failed = false;
            let fault = |(at, at_select, kind): (usize, bool, usize)| {
                let kind = [FailureKind::Refused, FailureKind::OutOfMemory, FailureKind::Failed][kind];
                let fails_rows = kind == FailureKind::Failed || at_select;
                (!fails_rows || !std::mem::replace(&mut has_failed, true)).then_some(Fault { at, at_select, kind })
            };
            Setup {
                rows,
                step_tokens_max,
                prefix_positions_max,
                speculation,
                takes_guesses,
                positions: Some(blocks * 16),
                faults: faults.into_iter().filter_map(fault).collect(),
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn any_mix_of_sequences_gives_exactly_what_each_gives_alone(
        setup in setup(), all in prop::collection::vec(asked(), 1..14),
    ) {
        let mut bench = Bench::new(&setup);
        let pending = bench.run(&all);
        for (asked, outcome) in all.iter().zip(pending) {
            match outcome {
                None => prop_assert!(asked.leaves_at.is_some(), "only who left has no answer"),
                Some(outcome) => {
                    let finished = outcome.map_err(|error| TestCaseError::fail(format!("{error} {asked:?}")))?;
                    let alone = alone(asked);
                    prop_assert_eq!(&finished.completion_ids, &alone.completion_ids);
                    prop_assert_eq!(finished.log_probability_mean, alone.log_probability_mean);
                    prop_assert_eq!(finished.written, alone.written);
                }
            }
        }
        bench.assert_nothing_is_left();
    }
}

fn plain(seed: u8, priority: Priority) -> Asked {
    Asked { priority, seed, ..Asked::usual() }
}

#[test]
fn variants_of_one_prompt_cost_one_prefill() {
    let mut bench = Bench::new(&Setup { rows: 4, ..Setup::usual() });
    let variants: Vec<Asked> = (0..4).map(|seed| plain(seed, Priority::Normal)).collect();
    let finished = bench.run(&variants);
    assert!(finished.iter().all(|outcome| matches!(outcome, Some(Ok(_)))));
    let prompt_tokens = variants[0].prompt_ids().len() as u64;
    let stats = bench.stats();
    // Each of the others reads the last entry, after which it chooses, and the fixed opening of its answer.
    assert_eq!(stats.prefix_positions_saved, 3 * (prompt_tokens - 1));
    let alone = {
        let mut bench = Bench::new(&Setup::usual());
        bench.run(&variants[..1]);
        bench.stats().prefilled_tokens
    };
    assert_eq!(stats.prefilled_tokens, alone * 4 - 3 * (prompt_tokens - 1));
}

#[test]
fn what_was_read_is_shared_after_its_sequence_until_memory_is_wanted() {
    let mut bench = Bench::new(&Setup { positions: Some(30 * 16), ..Setup::usual() });
    bench.run(&[plain(1, Priority::Normal)]);
    bench.run(&[plain(2, Priority::Normal)]);
    assert_eq!(bench.stats().prefix_hits, 1);
    assert!(bench.stats().prefix_positions_kept > 0);
    // As long as the context: nothing can stay beside it.
    let outcome = bench.run(&[Asked { topic: 3, prompt_len: 400, ..plain(3, Priority::Normal) }]);
    assert!(matches!(outcome[0], Some(Ok(_))));
    assert_eq!(bench.stats().prefix_hits, 1);
}

#[test]
fn a_preempted_sequence_rests_and_reads_nothing_anew() {
    let mut bench = Bench::new(&Setup { rows: 1, prefix_positions_max: 0, ..Setup::usual() });
    let low = plain(1, Priority::Low);
    let critical = Asked { arrives_at: 12, topic: 2, ..plain(2, Priority::Critical) };
    let outcome = bench.run(&[low.clone(), critical.clone()]);
    assert!(outcome.iter().all(|outcome| matches!(outcome, Some(Ok(_)))));
    let stats = bench.stats();
    assert_eq!((stats.preemptions, stats.rows_given_up), (1, 0));
    let read_alone = |asked: &Asked| {
        let mut bench = Bench::new(&Setup::usual());
        bench.run(std::slice::from_ref(&Asked { arrives_at: 0, ..asked.clone() }));
        bench.stats().prefilled_tokens
    };
    assert_eq!(stats.prefilled_tokens, read_alone(&low) + read_alone(&critical));
}

#[test]
fn entries_without_an_alternative_are_not_waited_for() {
    let steps = |speculation| {
        let mut bench = Bench::new(&Setup { speculation, ..Setup::usual() });
        bench.run(&[Asked { is_greedy: true, ..plain(1, Priority::Normal) }]);
        bench.stats()
    };
    let (off, on) = (steps(SpeculationMode::Off), steps(SpeculationMode::Always));
    assert_eq!(off.written_tokens, on.written_tokens);
    assert_eq!((off.forced_tokens, off.guessed_tokens), (0, 0));
    assert!(on.forced_tokens > 20 && on.guessed_tokens_right > 0, "{on:?}");
    assert!(on.steps + on.forced_tokens / 2 < off.steps, "{} instead of {}", on.steps, off.steps);
}

#[test]
fn who_leaves_frees_the_device_at_the_next_turn() {
    let mut bench = Bench::new(&Setup { prefix_positions_max: 0, ..Setup::usual() });
    let pending = bench.submit(&plain(1, Priority::Normal));
    bench.turns(5);
    assert!(bench.stats().kv_blocks_used > 0);
    drop(pending);
    bench.turns(1);
    assert_eq!((bench.stats().kv_blocks_used, bench.stats().running), (0, 0));
    assert_eq!(bench.stats().sequences_dropped, 1);
}

#[test]
fn a_deadline_ends_who_waits_and_who_runs() {
    let mut bench = Bench::new(&Setup { rows: 1, ..Setup::usual() });
    let mut pending = Vec::new();
    for seed in 0..2 {
        pending.push(bench.submit(&Asked { deadline_s: 2, ..plain(seed, Priority::Normal) }));
    }
    bench.turns(2);
    bench.now += Duration::from_secs(2);
    bench.turns(1);
    for mut pending in pending {
        assert_eq!(pending.try_recv().unwrap(), Err(SequenceError::DeadlineExceeded));
    }
    bench.assert_nothing_is_left();
}

#[test]
fn an_operator_sees_who_is_inside_and_ends_them_by_name_or_priority() {
    let mut bench = Bench::new(&Setup { rows: 1, ..Setup::usual() });
    let mut low = bench.submit(&plain(1, Priority::Low));
    let mut normal = bench.submit(&plain(2, Priority::Normal));
    bench.turns(3);
    let listed = bench.list();
    let states: Vec<_> = listed.iter().map(|listing| (listing.priority, listing.state)).collect();
    assert!(states.contains(&(Priority::Normal, SequenceState::Decoding)), "{states:?}");
    assert!(states.contains(&(Priority::Low, SequenceState::Waiting)), "{states:?}");
    assert_eq!(bench.cancel(Cancel::Priority(Priority::Low)), 1);
    assert_eq!(low.try_recv().unwrap(), Err(SequenceError::Cancelled));
    assert_eq!(bench.cancel(Cancel::Ids(vec![listed[1].id])), 1);
    assert_eq!(normal.try_recv().unwrap(), Err(SequenceError::Cancelled));
    bench.assert_nothing_is_left();
}

#[test]
fn a_second_failure_ends_a_sequence_and_nobody_else() {
    let fault = |at| Fault { at, at_select: false, kind: FailureKind::Failed };
    let mut bench = Bench::new(&Setup { faults: vec![fault(3), fault(6)], rows: 2, ..Setup::usual() });
    let outcome = bench.run(&[plain(1, Priority::Normal), Asked { arrives_at: 30, ..plain(2, Priority::Normal) }]);
    assert_eq!(outcome[0], Some(Err(SequenceError::BackendFailed)));
    assert!(matches!(outcome[1], Some(Ok(_))));
    assert_eq!((bench.stats().sequences_retried, bench.stats().sequences_failed), (1, 1));
}

#[test]
fn what_was_read_in_a_step_that_failed_is_shared_with_nobody() {
    // All begin alike, and some come to their end without a choice: in a step that fails, too.
    let asked = |prompt_len, hashtag_count, arrives_at| Asked {
        prompt_len,
        hashtag_count,
        arrives_at,
        ..plain(0, Priority::Normal)
    };
    let all = [asked(20, 0, 4), asked(1, 1, 0), asked(1, 0, 0), asked(23, 1, 4), asked(1, 1, 4), asked(30, 1, 40)];
    let alone = all.each_ref().map(alone);
    for at in 0..80 {
        let faults = vec![Fault { at, at_select: true, kind: FailureKind::Failed }];
        let outcomes = Bench::new(&Setup { rows: 2, faults, ..Setup::usual() }).run(&all);
        for (outcome, alone) in outcomes.into_iter().zip(&alone) {
            let finished = outcome.unwrap().unwrap_or_else(|error| panic!("fault at {at}: {error}"));
            assert_eq!(finished.completion_ids, alone.completion_ids, "fault at {at}");
        }
    }
}

#[test]
fn a_prompt_that_fits_nowhere_fails_alone() {
    let mut bench = Bench::new(&Setup { positions: Some(16 * 16), ..Setup::usual() });
    let outcome =
        bench.run(&[Asked { prompt_len: 400, ..plain(1, Priority::Normal) }, plain(2, Priority::Normal)]);
    assert_eq!(outcome[0], Some(Err(SequenceError::BackendFailed)));
    assert!(matches!(outcome[1], Some(Ok(_))));
}

#[test]
fn a_lost_device_hands_everybody_back_and_another_goes_on_with_them() {
    let lost = Fault { at: 9, at_select: false, kind: FailureKind::Lost };
    let mut bench = Bench::new(&Setup { faults: vec![lost], rows: 2, ..Setup::usual() });
    let all: Vec<Asked> = (0..4).map(|seed| plain(seed, Priority::Normal)).collect();
    let mut pending: Vec<_> = all.iter().map(|asked| bench.submit(asked)).collect();
    let ids = loop {
        match bench.turn() {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), FailureKind::Lost);
                break bench.rebuild();
            }
        }
    };
    assert_eq!(ids.len(), 4, "nobody is lost with the device");
    bench.turns(400);
    for (asked, pending) in all.iter().zip(&mut pending) {
        assert_eq!(pending.try_recv().unwrap().unwrap().completion_ids, alone(asked).completion_ids);
    }
}
