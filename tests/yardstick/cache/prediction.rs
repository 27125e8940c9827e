//! What prediction brings on traces with habits, and what it costs without them.

#[path = "../../../origin/tests/prediction/simulation.rs"]
mod simulation;

use simulation::{DEFAULT, Kind, Outcome, Prefetch, play, trace};

/// With and without prediction on each kind of trace.
pub(crate) fn measure() -> String {
    let credulous = Prefetch { probability_min: 0.001, ..DEFAULT };
    let without_gate = |prefetch: Prefetch| Prefetch { used_share_min: 0.0, ..prefetch };
    let rows = [
        ("habits, 28 days", Kind::Habits, 28, vec![("off", None), ("on", Some(DEFAULT))]),
        (
            "habits that end after 21 of 42 days",
            Kind::HabitsThatEnd,
            42,
            vec![("off", None), ("on", Some(DEFAULT)), ("on, no gate", Some(without_gate(DEFAULT)))],
        ),
        (
            "noise, 28 days",
            Kind::Noise,
            28,
            vec![
                ("off", None),
                ("on", Some(DEFAULT)),
                ("on, believes everything", Some(credulous)),
                ("on, believes everything, no gate", Some(without_gate(credulous))),
            ],
        ),
    ];
    let mut table = String::from(
        "| trace | prefetching | look-ups | fresh hits | made | used | wasted | device s: callers + guesses (wasted) | closed in the end |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, kind, days, ways) in rows {
        let trace = trace(kind, days);
        for (way, prefetch) in ways {
            table.push_str(&row((name, way), &play(&trace, prefetch)));
        }
    }
    table
}

fn row((name, way): (&str, &str), outcome: &Outcome) -> String {
    let ((made, used, wasted), (callers, guesses, on_wasted)) = (outcome.guesses, outcome.device_ms);
    let used_percent = used * 100 / made.max(1);
    let closed: Vec<String> = outcome.closed.iter().map(|source| format!("{source:?}").to_lowercase()).collect();
    format!(
        "| {name} | {way} | {} | {:.1} % | {made} | {used} ({used_percent} %) | {wasted} | {} + {} ({}) | {} |\n",
        outcome.look_ups,
        outcome.hit_percent(),
        callers / 1_000,
        guesses / 1_000,
        on_wasted / 1_000,
        closed.join(", ")
    )
}
