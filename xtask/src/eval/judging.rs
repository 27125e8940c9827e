//! Puts every caption under every measure.

use std::path::Path;

use anyhow::Result;
use lede_shared::api::{CaptionResponse, Variant};
use lede_shared::policy::POLICY;

use super::facts::{FactKind, FactReader, is_kept};
use super::fixture::Description;
use super::hashtags::{Lexicon, Relevance};
use super::markdown::quoted;
use super::measure::{Measure, Outcome, Reading, Target};
use super::service::{HASHTAGS, VARIANTS};
use super::style::{Judge, hand_written, without_description};
use super::variety::{distinct_2, repeated_phrase, shared_captions};
use super::words::{WordReader, words};

/// A caption keeps enough of its description when it keeps this share of its content words.
const CONTENT_KEPT_MIN: f64 = 0.9;
const STYLE_RECOGNISED_MIN: f64 = 0.8;
const FACTS_KEPT_MIN: f64 = 0.95;
const HASHTAGS_RELEVANT_MIN: f64 = 0.9;
const DISTINCT_2_MIN: f64 = 0.6;

/// What the service made of a description.
pub(super) struct Answered<'fixture> {
    pub(super) description: &'fixture Description,
    /// Else why there is none.
    pub(super) answer: Result<CaptionResponse, String>,
}

impl Answered<'_> {
    pub(super) fn variants(&self) -> &[Variant] {
        self.answer.as_ref().map_or(&[], |answer| answer.variants.as_slice())
    }
}

/// Everything that judging needs to know beside the captions.
pub(super) struct Instruments {
    words: WordReader,
    facts: FactReader,
    lexicon: Lexicon,
    pub(super) judge: Judge,
}

impl Instruments {
    /// Reads the lexicon and the hand-written texts below the repository's root, and trains the style's judge.
    pub(super) fn prepare(root: &Path) -> Result<Self> {
        let words = WordReader::new();
        let lexicon = Lexicon::read(root, &words)?;
        Ok(Self { words, facts: FactReader::new()?, lexicon, judge: Judge::train(&hand_written(root)?) })
    }

    /// All measures, in the order of the report.
    pub(super) fn measures(&self, answered: &[Answered]) -> Vec<Measure> {
        let mut measures = vec![postable(answered), self.content_kept(answered)];
        measures.extend(self.facts_copied(answered));
        measures.push(self.facts_invented(answered));
        measures.extend(self.hashtags_relevant(answered));
        measures.extend(self.style_recognised(answered));
        measures.extend([
            distinct(answered),
            captions_shared(answered),
            phrases_repeated(answered),
            variants_alike(answered),
            hashtags_miscounted(answered),
            unanswered(answered),
        ]);
        measures
    }

    fn content_kept(&self, answered: &[Answered]) -> Measure {
        let outcomes = captions(answered).filter_map(|(description, variant)| {
            let wanted = self.words.content_words(&description.text);
            let present = self.words.stems(&variant.caption);
            let (kept, lost): (Vec<&String>, Vec<&String>) =
                wanted.iter().partition(|word| present.contains(&self.words.stem(word)));
            let share = kept.len() as f64 / wanted.len() as f64;
            let remark = listed("lost", &lost);
            (!wanted.is_empty()).then(|| Outcome {
                passed: share >= CONTENT_KEPT_MIN,
                ..outcome(description, &variant.caption, share, &remark)
            })
        });
        Measure {
            name: "content words kept",
            how: "Words of the description without stop words, words about the post itself and numbers, compared by \
                  their stem; the share of them in the caption, averaged over all captions. Good here means at least \
                  90 % in one caption."
                .to_owned(),
            reading: Reading::Percent,
            target: Target::AtLeast(CONTENT_KEPT_MIN),
            outcomes: outcomes.collect(),
        }
    }

    fn facts_copied(&self, answered: &[Answered]) -> [Measure; 3] {
        let measure = |name, how: &str, kind: Option<FactKind>, target| {
            let outcomes = captions(answered).filter_map(|(description, variant)| {
                let mut facts = self.facts.facts(&description.text);
                facts.retain(|fact| kind.is_none_or(|kind| fact.kind == kind));
                let lost: Vec<&String> =
                    facts.iter().filter(|fact| !is_kept(fact, &variant.caption)).map(|fact| &fact.text).collect();
                let gained = (facts.len() - lost.len()) as f64;
                let remark = listed("lost", &lost);
                (!facts.is_empty()).then(|| Outcome {
                    of: facts.len() as f64,
                    passed: lost.is_empty(),
                    ..outcome(description, &variant.caption, gained, &remark)
                })
            });
            let outcomes = outcomes.collect();
            Measure { name, how: how.to_owned(), reading: Reading::Percent, target, outcomes }
        };
        [
            measure(
                "exact facts copied",
                "Numbers with their unit, currency or percent sign, times, dates, months, weekdays, codes, and proper \
                 names, which are capitalised words not at the beginning of a sentence. Each has to stand in the \
                 caption letter for letter; only months, weekdays and units may change their capitals. Share of all \
                 facts of all captions.",
                None,
                Target::AtLeast(FACTS_KEPT_MIN),
            ),
            measure(
                "— of these, numbers and dates",
                "The facts with digits, months and weekdays.",
                Some(FactKind::Number),
                Target::None,
            ),
            measure("— of these, names", "The capitalised ones.", Some(FactKind::Name), Target::None),
        ]
    }

    fn facts_invented(&self, answered: &[Answered]) -> Measure {
        let outcomes = captions(answered).map(|(description, variant)| {
            let invented = self.facts.invented(&variant.caption, &description.text);
            let remark = listed("invented", &invented.iter().collect::<Vec<_>>());
            Outcome { passed: invented.is_empty(), ..outcome(description, &variant.caption, 0.0, &remark) }
        });
        Measure {
            name: "captions with an invented fact",
            how:
                "A run of digits, a capitalised word inside a sentence, a month or a weekday that the description \
                  lacks. All of them are listed."
                    .to_owned(),
            reading: Reading::Failures,
            target: Target::Zero,
            outcomes: outcomes.collect(),
        }
    }

    fn hashtags_relevant(&self, answered: &[Answered]) -> [Measure; 2] {
        let measure = |name, how: &str, with_style: bool, target| {
            let outcomes = captions(answered).map(|(description, variant)| {
                let relevance = Relevance::of(description, &self.lexicon, &self.words);
                let suits = |hashtag| with_style && self.lexicon.suits(description.style, hashtag);
                let tags = variant.hashtags.iter();
                let beside: Vec<&String> =
                    tags.filter(|hashtag| !relevance.holds(hashtag) && !suits(hashtag)).collect();
                let gained = (variant.hashtags.len() - beside.len()) as f64;
                let shown = format!("{} {}", variant.caption, variant.hashtags.join(" "));
                Outcome {
                    of: variant.hashtags.len() as f64,
                    passed: beside.is_empty(),
                    ..outcome(description, &shown, gained, &listed("beside the point", &beside))
                }
            });
            let outcomes = outcomes.collect();
            Measure { name, how: how.to_owned(), reading: Reading::Percent, target, outcomes }
        };
        [
            measure(
                "hashtags relevant",
                "A hashtag is relevant when it holds a stem of four letters or more, or a shorter whole word, of the \
                 description or of the topic words that stand beside it in the fixture, or when the lexicon of \
                 scenes relates it to a noun of the description. Share of all hashtags.",
                false,
                Target::AtLeast(HASHTAGS_RELEVANT_MIN),
            ),
            measure(
                "— or suiting the style",
                "The same, with the hashtags that `training/corpus/styles.txt` has for the style asked for.",
                true,
                Target::None,
            ),
        ]
    }

    fn style_recognised(&self, answered: &[Answered]) -> [Measure; 2] {
        let measure = |name, how: String, first: usize, target| {
            let outcomes = captions(answered).map(|(description, variant)| {
                let left = without_description(&variant.caption, &description.text, &self.words);
                let ranked = self.judge.classifier.ranked(&left);
                let passed = ranked.iter().take(first).any(|style| *style == description.style);
                let taken: Vec<&str> = ranked.iter().take(first).map(|style| style.as_str()).collect();
                let remark = format!("taken for {}", taken.join(", then "));
                let gained = f64::from(u8::from(passed));
                Outcome { passed, ..outcome(description, &variant.caption, gained, &remark) }
            });
            let outcomes = outcomes.collect();
            Measure { name, how, reading: Reading::Percent, target, outcomes }
        };
        let judge = &self.judge;
        let how = format!(
            "Share of the captions, the description's own words taken out, for which the first choice of a classifier \
             is the style asked for. The classifier (naive Bayes over words and pairs of words) is trained on \
             {} hand-written texts of `training/corpus/frames`; on {} others, held out, it is right in {:.1} %.",
            judge.trained_on,
            judge.held_out,
            judge.held_out_accuracy * 100.0
        );
        [
            measure("style recognised", how, 1, Target::AtLeast(STYLE_RECOGNISED_MIN)),
            measure(
                "— among the first two",
                "The same, with the second choice allowed.".to_owned(),
                2,
                Target::None,
            ),
        ]
    }
}

fn postable(answered: &[Answered]) -> Measure {
    let mut outcomes = Vec::new();
    for answered in answered {
        outcomes.extend(answered.variants().iter().map(|variant| {
            let passed = POLICY.is_postable(&variant.caption, &variant.post_text);
            let gained = f64::from(u8::from(passed));
            Outcome { passed, ..outcome(answered.description, &variant.post_text, gained, "") }
        }));
        let missing = VARIANTS - answered.variants().len();
        outcomes.extend(
            (0..missing)
                .map(|_| Outcome { passed: false, ..outcome(answered.description, "", 0.0, "no caption") }),
        );
    }
    Measure {
        name: "postable",
        how: format!(
            "`post_text` under the policy table of {}: a caption that is not empty, at most {} UTF-16 code units and \
             {} hashtags. A request without an answer counts as {VARIANTS} captions that are not.",
            POLICY.version, POLICY.post_utf16_max, POLICY.hashtags_max
        ),
        reading: Reading::Percent,
        target: Target::AtLeast(1.0),
        outcomes,
    }
}

fn distinct(answered: &[Answered]) -> Measure {
    let outcomes = answered.iter().filter_map(|answered| {
        let texts: Vec<&str> = answered.variants().iter().map(|variant| variant.caption.as_str()).collect();
        let share = distinct_2(texts.iter().copied())?;
        let all = texts.join(" / ");
        let remark = format!("{share:.2}");
        Some(Outcome { passed: share >= DISTINCT_2_MIN, ..outcome(answered.description, &all, share, &remark) })
    });
    Measure {
        name: "distinct-2 over four variants",
        how: "Different pairs of neighbouring words ÷ all such pairs in the four captions of a description, averaged \
              over the descriptions. Every caption repeats the description's words, so 1 is out of reach."
            .to_owned(),
        reading: Reading::Ratio,
        target: Target::AtLeast(DISTINCT_2_MIN),
        outcomes: outcomes.collect(),
    }
}

fn captions_shared(answered: &[Answered]) -> Measure {
    let shared = shared_captions(captions(answered).map(|(of, variant)| (of.line, variant.caption.as_str())));
    counted(
        "captions repeated for different descriptions",
        "The same text, letter for letter, for two descriptions or more.",
        Target::Zero,
        captions(answered).map(|(description, variant)| {
            let lines = shared.get(variant.caption.as_str());
            let others = lines.map(|lines| lines.iter().filter(|line| **line != description.line));
            (description, variant, others.map(|lines| listed("also for line", &lines.collect::<Vec<_>>())))
        }),
    )
}

fn phrases_repeated(answered: &[Answered]) -> Measure {
    counted(
        "captions with a repeated phrase",
        "Four words in a row that stand in one caption twice.",
        Target::None,
        captions(answered).map(|(description, variant)| {
            let phrase = repeated_phrase(&variant.caption);
            (description, variant, phrase.map(|phrase| format!("twice: {phrase}")))
        }),
    )
}

fn variants_alike(answered: &[Answered]) -> Measure {
    counted(
        "variants equal to an earlier one of the same request",
        "The same text, letter for letter.",
        Target::None,
        answered.iter().flat_map(|answered| {
            answered.variants().iter().enumerate().map(|(index, variant)| {
                let earlier = &answered.variants()[..index];
                let again = earlier.iter().any(|other| other.caption == variant.caption);
                (answered.description, variant, again.then(|| format!("variant {}", index + 1)))
            })
        }),
    )
}

fn hashtags_miscounted(answered: &[Answered]) -> Measure {
    counted(
        "captions with another number of hashtags than asked for",
        &format!("{HASHTAGS} are asked for."),
        Target::Zero,
        captions(answered).map(|(description, variant)| {
            let count = variant.hashtags.len();
            (description, variant, (count != HASHTAGS).then(|| format!("{count} hashtags")))
        }),
    )
}

fn unanswered(answered: &[Answered]) -> Measure {
    let outcomes = answered.iter().map(|answered| {
        let refusal = answered.answer.as_ref().err();
        let first = answered.variants().first().map_or("", |variant| variant.caption.as_str());
        let remark = refusal.cloned().unwrap_or_default();
        Outcome { passed: refusal.is_none(), ..outcome(answered.description, first, 0.0, &remark) }
    });
    Measure {
        name: "requests without an answer",
        how: "Refused, failed, or answered with something else than four captions.".to_owned(),
        reading: Reading::Failures,
        target: Target::Zero,
        outcomes: outcomes.collect(),
    }
}

/// A measure that counts the captions with a fault.
fn counted<'run>(
    name: &'static str,
    how: &str,
    target: Target,
    judged: impl Iterator<Item = (&'run Description, &'run Variant, Option<String>)>,
) -> Measure {
    let outcomes = judged.map(|(description, variant, fault)| {
        let remark = fault.as_deref().unwrap_or_default();
        Outcome { passed: fault.is_none(), ..outcome(description, &variant.caption, 0.0, remark) }
    });
    Measure { name, how: how.to_owned(), reading: Reading::Failures, target, outcomes: outcomes.collect() }
}

fn captions<'run>(answered: &'run [Answered]) -> impl Iterator<Item = (&'run Description, &'run Variant)> {
    answered.iter().flat_map(|answered| answered.variants().iter().map(|variant| (answered.description, variant)))
}

/// One that has passed, out of 1.
fn outcome(description: &Description, caption: &str, gained: f64, remark: &str) -> Outcome {
    let style = description.style;
    let mut sample = format!("{} · *{}* · {}", description.line, style.as_str(), quoted(&description.text));
    if !caption.is_empty() {
        sample.push_str(&format!(" → {}", quoted(caption)));
    }
    if !remark.is_empty() {
        sample.push_str(&format!(" — {}", super::markdown::escaped(remark)));
    }
    Outcome { line: description.line, style, gained, of: 1.0, passed: true, sample }
}

fn listed(what: &str, items: &[&impl ToString]) -> String {
    if items.is_empty() {
        return String::new();
    }
    format!("{what}: {}", items.iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", "))
}

/// Mean length of the captions: UTF-16 code units and words.
pub(super) fn mean_lengths(answered: &[Answered]) -> (f64, f64) {
    let all: Vec<&str> = captions(answered).map(|(_, variant)| variant.caption.as_str()).collect();
    let count = all.len().max(1) as f64;
    let characters: usize = all.iter().map(|caption| lede_shared::policy::utf16_len(caption)).sum();
    let words: usize = all.iter().map(|caption| words(caption).len()).sum();
    (characters as f64 / count, words as f64 / count)
}

#[cfg(test)]
pub(super) mod tests {
    use lede_shared::api::{Counts, PerformanceMetrics, Style, Usage};

    use super::*;

    pub(in crate::eval) fn described(line: u64, text: &str) -> Description {
        Description { line, style: Style::Casual, text: text.to_owned(), topics: vec!["pets".to_owned()] }
    }

    /// An answer with these captions, each with the same five hashtags.
    pub(in crate::eval) fn answered<'fixture>(
        description: &'fixture Description,
        captions: [&str; VARIANTS],
        hashtags: &str,
    ) -> Answered<'fixture> {
        let hashtags: Vec<String> = hashtags.split(' ').map(str::to_owned).collect();
        let variants = captions.map(|caption| Variant {
            caption: caption.to_owned(),
            hook: caption.to_owned(),
            hashtags: hashtags.clone(),
            post_text: POLICY.post_text(caption, &hashtags),
            counts: Counts { characters: 0, hashtags: hashtags.len() },
        });
        let performance_metrics = PerformanceMetrics {
            processing_time: 20.0,
            cache_hit: false,
            cache_tier: None,
            queue_time: 0.0,
            tokens_per_second: Some(500.0),
        };
        let answer = CaptionResponse {
            id: String::new(),
            caption: captions[0].to_owned(),
            hashtags,
            variants: variants.to_vec(),
            policy_version: POLICY.version.to_owned(),
            warnings: Vec::new(),
            model: "test-model".to_owned(),
            usage: Usage::default(),
            performance_metrics,
        };
        Answered { description, answer: Ok(answer) }
    }

    pub(in crate::eval) fn measures(answered: &[Answered]) -> Vec<Measure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Instruments::prepare(root).unwrap().measures(answered)
    }

    #[test]
    fn every_fault_is_seen_by_the_measure_that_is_meant_for_it() {
        let (dog, cat) = (described(2, "my dog Rex at 7 am"), described(3, "sleepy cat"));
        let same = "Sleepy cat, sleepy cat, sleepy cat in Rome.";
        let run = [
            answered(
                &dog,
                ["Rex the dog at 7 am.", "Dog at 7 am.", "Rex at 8.", same],
                "#dog #rex #pets #mydog #car",
            ),
            answered(&cat, ["Sleepy cat.", "Cat.", "Sleepy.", same], "#cat #sleepy #pets #catlife"),
            Answered { description: &cat, answer: Err("status 503".to_owned()) },
        ];
        let shown: Vec<(&str, String)> =
            measures(&run).iter().map(|measure| (measure.name, measure.shown(None))).collect();
        let value = |name: &str| shown.iter().find(|row| row.0 == name).map(|row| row.1.as_str()).unwrap();
        assert_eq!(value("postable"), "66.6 %");
        // Of dog, Rex and sleepy, cat: all, one, one, none; all, one, one, all.
        assert_eq!(value("content words kept"), "62.5 %");
        // Of Rex and 7 am: both, one, one, none.
        assert_eq!(value("exact facts copied"), "50.0 %");
        assert_eq!(value("captions with an invented fact"), "3");
        // All but #car, four times each.
        assert_eq!(value("hashtags relevant"), "88.8 %");
        assert_eq!(value("captions repeated for different descriptions"), "2");
        assert_eq!(value("captions with a repeated phrase"), "2");
        assert_eq!(value("variants equal to an earlier one of the same request"), "0");
        assert_eq!(value("captions with another number of hashtags than asked for"), "4");
        assert_eq!(value("requests without an answer"), "1");
    }
}
