//! `docs/EVAL.md`, and the same as JSON.

use std::fmt::Write as _;

use lede_shared::api::{OptimizationLevel, Style};
use serde_json::{Value, json};

use super::judging::{Answered, mean_lengths};
use super::markdown::{escaped, quoted};
use super::measure::{Measure, Outcome, Reading};
use super::service::{HASHTAGS, VARIANTS};
use super::{fixture, verdicts};

/// Good captions shown below a number.
const GOOD_SHOWN: usize = 3;
/// Bad captions shown below a number that may be more than zero.
const BAD_SHOWN: usize = 10;
/// Captions that a person judges.
pub(super) const SAMPLES: usize = 50;

/// A finished evaluation.
pub(super) struct Evaluation<'run> {
    pub(super) level: OptimizationLevel,
    pub(super) answered: &'run [Answered<'run>],
    pub(super) measures: Vec<Measure>,
}

impl Evaluation<'_> {
    /// The whole file; `present` is what it was before, for the verdicts in it.
    pub(super) fn markdown(&self, present: &str) -> String {
        let samples = self.samples();
        let verdicts = verdicts::kept(present, &samples).unwrap_or_else(|| verdicts::blank(self.answered));
        [
            self.introduction(),
            self.table(),
            self.by_style(),
            self.lengths_and_warnings(),
            self.timing(),
            self.evidence(),
            samples,
            verdicts,
        ]
        .join("\n")
    }

    fn introduction(&self) -> String {
        format!(
            "# Evaluation\n\n\
             Written by `cargo xtask eval`, which overwrites everything but the verdicts at the end.\n\n\
             {} descriptions as people type them, none of them known to training (`{}`), each asked for with \
             {VARIANTS} variants and {HASHTAGS} hashtags at level `{}`, its line number as the seed. Model: `{}`. \
             Everything is counted over all variants, by rule; nothing is selected by hand.\n",
            self.answered.len(),
            fixture::PATH,
            self.level.as_str(),
            self.models().join("`, `"),
        )
    }

    fn models(&self) -> Vec<&str> {
        let answers = self.answered.iter().filter_map(|answered| answered.answer.as_ref().ok());
        let mut models: Vec<&str> = answers.map(|answer| answer.model.as_str()).collect();
        models.sort_unstable();
        models.dedup();
        models
    }

    /// Also shown at the end of a run.
    pub(super) fn table(&self) -> String {
        let mut table = "| measure | value | target | met |\n|---|---:|---:|---|\n".to_owned();
        for measure in &self.measures {
            let met = match measure.is_met() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            let _ = writeln!(
                table,
                "| {} | {} | {} | {met} |",
                measure.name,
                measure.shown(None),
                measure.target_shown()
            );
        }
        table
    }

    /// Only what is a share: the counts are small enough to be listed below.
    fn by_style(&self) -> String {
        let shares: Vec<&Measure> =
            self.measures.iter().filter(|measure| measure.reading != Reading::Failures).collect();
        let names: Vec<&str> = shares.iter().map(|measure| measure.name.trim_start_matches("— ")).collect();
        let mut table =
            format!("## By style\n\n| style | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(names.len()));
        for style in Style::ALL {
            let values: Vec<String> = shares.iter().map(|measure| measure.shown(Some(*style))).collect();
            let _ = writeln!(table, "| {} | {} |", style.as_str(), values.join(" | "));
        }
        table
    }

    fn lengths_and_warnings(&self) -> String {
        let (characters, words) = mean_lengths(self.answered);
        let mut text = format!(
            "## Lengths and warnings\n\nA caption without its hashtags has {characters:.1} characters (UTF-16 code \
             units) and {words:.1} words on average.\n\n"
        );
        let warnings = self.warnings();
        if warnings.is_empty() {
            text.push_str("No answer carries a warning.\n");
        }
        for (code, count) in warnings {
            let _ = writeln!(text, "- `{code}`: {count} answers");
        }
        text
    }

    /// Answers with a warning of each code, by code.
    fn warnings(&self) -> Vec<(String, usize)> {
        let answers = self.answered.iter().filter_map(|answered| answered.answer.as_ref().ok());
        let mut codes = Vec::new();
        for answer in answers {
            let mut of_answer: Vec<String> = answer
                .warnings
                .iter()
                .map(|warning| json!(warning.code).as_str().unwrap_or_default().to_owned())
                .collect();
            of_answer.sort_unstable();
            of_answer.dedup();
            codes.extend(of_answer);
        }
        codes.sort_unstable();
        codes.chunk_by(|left, right| left == right).map(|same| (same[0].clone(), same.len())).collect()
    }

    fn timing(&self) -> String {
        let timing = Timing::of(self.answered);
        format!(
            "## Timing\n\nThe only numbers here that change from run to run. One request at a time, each a miss of \
             {VARIANTS} captions.\n\n\
             | | |\n|---|---:|\n| milliseconds per miss, median | {:.1} |\n| milliseconds per miss, 95th percentile | \
             {:.1} |\n| tokens per second, mean | {:.0} |\n",
            timing.median_ms, timing.percentile_95_ms, timing.tokens_per_second
        )
    }

    fn evidence(&self) -> String {
        let mut text = "## Behind each number\n\nEvery sample begins with its line in the fixture. Good ones are the \
                        first caption that passes of the first three descriptions that have one, bad ones the first \
                        that does not of the first ten; what must not happen at all is listed without exception.\n"
            .to_owned();
        for measure in &self.measures {
            let (good, bad): (Vec<&Outcome>, Vec<&Outcome>) =
                measure.outcomes.iter().partition(|outcome| outcome.passed);
            let _ = write!(
                text,
                "\n### {}: {}\n\n{}\n\n{} good, {} bad.\n",
                measure.name.trim_start_matches("— of these, ").trim_start_matches("— "),
                measure.shown(None),
                measure.how,
                good.len(),
                bad.len()
            );
            list(&mut text, "Good", &first_of_each(&good, GOOD_SHOWN));
            if measure.reading == Reading::Failures {
                list(&mut text, "Bad", &bad);
            } else {
                list(&mut text, "Bad", &first_of_each(&bad, BAD_SHOWN));
            }
        }
        text
    }

    /// The first caption of consecutive descriptions; the fixture goes through the styles in turn.
    fn samples(&self) -> String {
        let mut text = format!(
            "## {SAMPLES} consecutive samples\n\nThe first {SAMPLES} descriptions of the fixture, which goes through \
             the styles in turn; always the first variant.\n\n"
        );
        for (number, answered) in (1..).zip(self.answered.iter().take(SAMPLES)) {
            let _ = write!(
                text,
                "{number}. *{}* · {}",
                answered.description.style.as_str(),
                quoted(&answered.description.text)
            );
            match answered.variants().first() {
                Some(variant) => {
                    let hashtags = escaped(&variant.hashtags.join(" "));
                    let _ = write!(text, "\\\n   {}\\\n   {hashtags}\n", escaped(&variant.caption));
                }
                None => text.push_str("\\\n   no answer\n"),
            }
        }
        text
    }

    /// Every number and every caption.
    pub(super) fn json(&self) -> Value {
        let measures: Vec<Value> = self.measures.iter().map(measure_json).collect();
        let captions: Vec<Value> = self.answered.iter().map(answered_json).collect();
        let (characters, words) = mean_lengths(self.answered);
        let timing = Timing::of(self.answered);
        json!({
            "models": self.models(),
            "level": self.level,
            "measures": measures,
            "mean_characters": characters,
            "mean_words": words,
            "warnings": self.warnings().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "timing": {
                "median_ms": timing.median_ms,
                "percentile_95_ms": timing.percentile_95_ms,
                "tokens_per_second": timing.tokens_per_second,
            },
            "captions": captions,
        })
    }
}

/// The first outcome of each description, `descriptions_max` at most.
fn first_of_each<'run>(outcomes: &[&'run Outcome], descriptions_max: usize) -> Vec<&'run Outcome> {
    let of_one = outcomes.chunk_by(|left, right| left.line == right.line);
    of_one.filter_map(|same| same.first().copied()).take(descriptions_max).collect()
}

fn list(text: &mut String, title: &str, outcomes: &[&Outcome]) {
    if !outcomes.is_empty() {
        let lines: Vec<String> = outcomes.iter().map(|outcome| format!("- {}\n", outcome.sample)).collect();
        let _ = write!(text, "\n{title}:\n\n{}", lines.concat());
    }
}

fn measure_json(measure: &Measure) -> Value {
    let by_style = Style::ALL.iter().map(|style| (style.as_str().to_owned(), json!(measure.value(Some(*style)))));
    let bad = measure.outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| json!(outcome.sample));
    json!({
        "name": measure.name,
        "value": measure.value(None),
        "target": measure.target_shown(),
        "met": measure.is_met(),
        "by_style": by_style.collect::<serde_json::Map<_, _>>(),
        "bad": bad.collect::<Vec<_>>(),
    })
}

fn answered_json(answered: &Answered) -> Value {
    let description = answered.description;
    json!({
        "line": description.line,
        "style": description.style,
        "description": description.text,
        "variants": answered.variants(),
        "warnings": answered.answer.as_ref().map(|answer| json!(answer.warnings)).unwrap_or_default(),
        "refused": answered.answer.as_ref().err(),
    })
}

/// How long the answers took, by their own account.
struct Timing {
    median_ms: f64,
    percentile_95_ms: f64,
    tokens_per_second: f64,
}

impl Timing {
    /// Hits are left out.
    fn of(answered: &[Answered]) -> Self {
        let answers = answered.iter().filter_map(|answered| answered.answer.as_ref().ok());
        let misses = answers.map(|answer| &answer.performance_metrics).filter(|metrics| !metrics.cache_hit);
        let mut took_ms: Vec<f64> = misses.clone().map(|metrics| metrics.processing_time).collect();
        took_ms.sort_by(f64::total_cmp);
        let speeds: Vec<f64> = misses.filter_map(|metrics| metrics.tokens_per_second).collect();
        Self {
            median_ms: percentile(&took_ms, 50),
            percentile_95_ms: percentile(&took_ms, 95),
            tokens_per_second: speeds.iter().sum::<f64>() / speeds.len().max(1) as f64,
        }
    }
}

/// Of sorted values; 0 when there are none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::judging::tests::{answered, described, measures};
    use super::*;

    #[test]
    fn a_percentile_of_few_values_is_one_of_them() {
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 50), 2.0);
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 95), 3.0);
        assert_eq!(percentile(&[], 95), 0.0);
    }

    #[test]
    fn the_report_shows_numbers_and_samples_and_keeps_verdicts_of_the_same_samples() {
        let description = described(2, "my *dog*");
        let run = [answered(&description, ["A dog.", "Dog!", "My dog.", "The dog."], "#dog #a #b #c #d")];
        let evaluation =
            Evaluation { level: OptimizationLevel::Balanced, answered: &run, measures: measures(&run) };
        let report = evaluation.markdown("");
        for part in [
            "| postable | 100.0 % | 100.0 % | yes |",
            "`test-model`",
            "median | 20.0 |",
            "my \\*dog\\*",
            "| 1 | | |",
        ] {
            assert!(report.contains(part), "{part} is missing in\n{report}");
        }
        let judged = report.replace("| 1 | | |", "| 1 | yes | |");
        assert_eq!(evaluation.markdown(&judged), judged);
        let other = judged.replace("1. *casual*", "1. *bold*");
        assert_eq!(evaluation.markdown(&other), report);
        assert_eq!(evaluation.json()["captions"][0]["variants"][1]["caption"], "Dog!");
    }
}
