//! What a person sees: one line per step, with what came of it and how long it took.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Runs one step and reports it in one line; `work` returns what came of it in a few words.
pub(crate) fn step(what: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
    let begun = Instant::now();
    let outcome = work().inspect_err(|_| line(&format!("✗ {what} ({})", seconds(begun.elapsed()))))?;
    line(&format!("✓ {what}: {outcome} ({})", seconds(begun.elapsed())));
    Ok(())
}

/// Says what is about to take a while.
pub(crate) fn note(what: &str) {
    line(&format!("• {what} …"));
}

/// A line as it is: child logs, summaries, what to paste.
///
/// Written at once, so that lines of several threads and of programs above us do not mix. Nobody is left to tell
/// when stderr is gone.
pub(crate) fn line(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// The last thing a failed command says: the causes, outermost first.
pub(crate) fn failure(error: &anyhow::Error) {
    line(&format!("error: {error:#}"));
}

/// A duration as people read it: `0.3 s`, `2 min 05 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 100 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_durations_are_told_in_minutes() {
        assert_eq!(seconds(Duration::from_millis(340)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
