//! What is measured: every number with the captions behind it.

use lede_shared::api::Style;

/// How a measure's number comes from its outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// What was gained ÷ what there was to gain, between 0 and 1, shown in percent.
    Percent,
    /// The same, shown as it is.
    Ratio,
    /// Outcomes that did not pass.
    Failures,
}

/// What a number has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtLeast(f64),
    None,
    Zero,
}

/// One caption, or one description, under one measure.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// The description's.
    pub(super) line: u64,
    pub(super) style: Style,
    pub(super) gained: f64,
    pub(super) of: f64,
    pub(super) passed: bool,
    /// The text with what is good or bad about it, for a reader.
    pub(super) sample: String,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) name: &'static str,
    /// How it is measured, in a sentence or two.
    pub(super) how: String,
    pub(super) reading: Reading,
    pub(super) target: Target,
    pub(super) outcomes: Vec<Outcome>,
}

impl Measure {
    /// The number over everything, or over one style. `None` when nothing there can be judged.
    pub(super) fn value(&self, style: Option<Style>) -> Option<f64> {
        let mut outcomes =
            self.outcomes.iter().filter(|outcome| style.is_none_or(|style| outcome.style == style)).peekable();
        outcomes.peek()?;
        if self.reading == Reading::Failures {
            return Some(outcomes.filter(|outcome| !outcome.passed).count() as f64);
        }
        let (gained, of) =
            outcomes.fold((0.0, 0.0), |sums, outcome| (sums.0 + outcome.gained, sums.1 + outcome.of));
        (of > 0.0).then(|| gained / of)
    }

    /// `None` when there is no target, or nothing to judge.
    pub(super) fn is_met(&self) -> Option<bool> {
        let value = self.value(None)?;
        match self.target {
            Target::AtLeast(least) => Some(value >= least),
            Target::Zero => Some(value == 0.0),
            Target::None => None,
        }
    }

    /// The number as people read it.
    pub(super) fn shown(&self, style: Option<Style>) -> String {
        self.value(style).map_or_else(|| "–".to_owned(), |value| written(self.reading, value))
    }

    pub(super) fn target_shown(&self) -> String {
        match self.target {
            Target::AtLeast(least) if least >= 1.0 => written(self.reading, least),
            Target::AtLeast(least) => format!("≥ {}", written(self.reading, least).replace(".0 %", " %")),
            Target::Zero => "0".to_owned(),
            Target::None => String::new(),
        }
    }
}

/// Cut, not rounded up: a number that misses its target must not read as if it met it.
fn written(reading: Reading, value: f64) -> String {
    match reading {
        Reading::Percent => format!("{:.1} %", (value * 1000.0 + 1e-9).floor() / 10.0),
        Reading::Ratio => format!("{:.3}", (value * 1000.0 + 1e-9).floor() / 1000.0),
        Reading::Failures => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(style: Style, gained: f64, of: f64) -> Outcome {
        Outcome { line: 1, style, gained, of, passed: gained >= of, sample: String::new() }
    }

    fn measure(reading: Reading, target: Target) -> Measure {
        let outcomes = vec![outcome(Style::Bold, 1.0, 2.0), outcome(Style::Minimal, 1.0, 1.0)];
        Measure { name: "n", how: String::new(), reading, target, outcomes }
    }

    #[test]
    fn a_share_is_over_what_there_was_to_gain() {
        let measure = measure(Reading::Percent, Target::AtLeast(0.5));
        assert_eq!((measure.shown(None).as_str(), measure.is_met()), ("66.6 %", Some(true)));
        assert_eq!(measure.shown(Some(Style::Bold)), "50.0 %");
        assert_eq!(measure.shown(Some(Style::Luxury)), "–");
        assert_eq!(measure.target_shown(), "≥ 50 %");
    }

    #[test]
    fn what_must_not_happen_is_counted() {
        let measure = measure(Reading::Failures, Target::Zero);
        assert_eq!((measure.shown(None).as_str(), measure.is_met()), ("1", Some(false)));
        assert_eq!(measure.value(Some(Style::Minimal)), Some(0.0));
    }

    #[test]
    fn no_number_is_rounded_up_to_its_target() {
        let mut measure = measure(Reading::Percent, Target::AtLeast(0.9));
        measure.outcomes = vec![outcome(Style::Bold, 899.96, 1000.0)];
        assert_eq!((measure.shown(None).as_str(), measure.is_met()), ("89.9 %", Some(false)));
    }
}
