//! Judging what a model wrote, and choosing the variants among all candidates.

use std::collections::HashSet;

use lede_shared::api::text::{contains_folded_word, fold_case};
use lede_shared::policy::{POLICY, utf16_len};

use super::content::Content;
use super::rules::Demands;
use crate::engine::sequence::FinishedSequence;

/// The same words this many times in a row are a loop.
const REPEATS_MAX: usize = 3;
/// Longest group of words that is looked for in a loop.
const LOOP_WORDS_MAX: usize = 8;
/// One word, of any length, may be said this many times in a row ("no no no no").
const WORD_REPEATS_MAX: usize = 4;
/// A longer "word" is no word.
const WORD_CHARS_MAX: usize = 40;

/// Coverage of the description's content words below which a candidate is not good.
const COVERAGE_GOOD: f64 = 0.85;
/// Coverage below which every missing word weighs heavily.
const COVERAGE_WANTED: f64 = 0.9;
/// What is taken off a score, in about the steps of its likelihood (nats an entry). Forced and cut text weighs more
/// than anything that a model does wrong by itself.
const LACKS_REQUIRED: f64 = 40.0;
const FORCED: f64 = 20.0;
const CUT: f64 = 12.0;
const HASHTAGS_MISSING: f64 = 8.0;
const FACTS_MISSING: f64 = 8.0;
const REPEATED: f64 = 5.0;
const NAMES_MISSING: f64 = 6.0;
const NAME_INVENTED: f64 = 6.0;
const SMALL_BEGINNING: f64 = 2.0;
const CONTENT_MISSING: f64 = 12.0;
const SAID_ALREADY: f64 = 6.0;

/// How good a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Cannot be posted, or breaks a rule that the caller set.
    Unusable,
    /// Can be posted, but something is missing or it repeats itself.
    Poor,
    /// Everything that was asked for.
    Good,
}

/// A caption that could be an answer.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) verdict: Verdict,
    pub(super) caption: String,
    /// Each with its `#`.
    pub(super) hashtags: Vec<String>,
    pub(super) caption_was_cut: bool,
    pub(super) length_forced: bool,
    pub(super) hashtags_are_missing: bool,
    pub(super) facts_are_missing: bool,
    /// Higher is better; of captions alone, not of how they suit each other.
    pub(super) score: f64,
    folded: String,
    bigrams: HashSet<(String, String)>,
}

/// By what candidates of one request are judged.
#[derive(Clone, Debug)]
pub(super) struct Judge<'a> {
    demands: &'a Demands,
    content: Content,
    /// The texts of the request, folded.
    sources: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(demands: &'a Demands, description: &str) -> Self {
        let sources = demands.rules.sources.iter().map(|text| fold_case(text)).collect();
        Self { demands, content: Content::of(description), sources }
    }

    /// Judges a finished sequence.
    pub(super) fn judge(&self, finished: &FinishedSequence) -> Candidate {
        let written = &finished.written;
        let rules = &self.demands.rules;
        let caption = written.caption.trim().to_owned();
        let folded = fold_case(&caption);
        let hashtags: Vec<String> = written.hashtags.iter().map(|name| format!("#{name}")).collect();
        let hashtags_are_missing = hashtags.len() < rules.hashtag_count;
        let is_missing = |fact: &&String| !contains_folded_word(&folded, &fold_case(fact));
        let facts_missing = self.demands.facts.iter().filter(is_missing).count();
        let facts_are_missing = self.demands.facts_were_omitted || facts_missing > 0;
        let coverage = self.content.coverage(&caption);
        let repeats = repeats_itself(&caption) || says_something_twice(&folded);
        let names_kept = self.content.names_kept(&caption);
        let invents_name = invents_name(&caption, &self.sources);
        let begins_small = a_sentence_begins_small(&caption);
        let weigh = |applies: bool, weight: f64| if applies { weight } else { 0.0 };
        let score = f64::from(finished.log_probability_mean)
            - weigh(written.lacks_required, LACKS_REQUIRED)
            - weigh(written.length_forced, FORCED)
            - weigh(written.caption_was_cut, CUT)
            - weigh(hashtags_are_missing, HASHTAGS_MISSING)
            - FACTS_MISSING * facts_missing as f64
            - weigh(repeats, REPEATED)
            - NAMES_MISSING * (1.0 - names_kept)
            - weigh(invents_name, NAME_INVENTED)
            - weigh(begins_small, SMALL_BEGINNING)
            - CONTENT_MISSING * (COVERAGE_WANTED - coverage).max(0.0)
            - (1.0 - coverage);
        let is_poor = written.lacks_required
            || written.length_forced
            || written.caption_was_cut
            || hashtags_are_missing
            || facts_missing > 0
            || repeats
            || names_kept < 1.0
            || invents_name
            || coverage < COVERAGE_GOOD;
        let verdict = match (self.is_usable(&caption, &folded, &hashtags), is_poor) {
            (false, _) => Verdict::Unusable,
            (true, true) => Verdict::Poor,
            (true, false) => Verdict::Good,
        };
        Candidate {
            verdict,
            hashtags,
            caption_was_cut: written.caption_was_cut,
            length_forced: written.length_forced,
            hashtags_are_missing,
            facts_are_missing,
            score,
            bigrams: bigrams(&folded),
            caption,
            folded,
        }
    }

    /// Can it be posted, and does it keep what only a broken constraint could break?
    fn is_usable(&self, caption: &str, folded: &str, hashtags: &[String]) -> bool {
        let rules = &self.demands.rules;
        let is_wanted = |text: &String| caption.contains(text.as_str());
        // A caller may want one, as may be.
        let holds_replacement = rules.sources.iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER));
        POLICY.is_postable(caption, &POLICY.post_text(caption, hashtags))
            && utf16_len(caption) <= rules.caption_utf16_max
            && !caption.contains('#')
            && (!caption.contains(char::REPLACEMENT_CHARACTER) || holds_replacement)
            && !rules.banned.iter().any(|word| contains_folded_word(folded, word))
            // Required besides what can also be told with a warning: the caller's own texts.
            && rules.required.iter().filter(|required| !required.any_case).all(|required| required.alternatives.iter().any(is_wanted))
    }
}

impl Candidate {
    /// The same, with hashtags of the others where its own are fewer than `count`: all keep the rules of one request.
    pub(super) fn with_hashtags_of(&self, others: &[Self], count: usize) -> Self {
        let mut candidate = self.clone();
        for hashtag in others.iter().flat_map(|other| &other.hashtags) {
            if candidate.hashtags.len() < count && !candidate.hashtags.contains(hashtag) {
                candidate.hashtags.push(hashtag.clone());
            }
        }
        candidate.hashtags_are_missing = candidate.hashtags.len() < count;
        candidate
    }

    /// A caption and its hashtags in which no rule is broken, by a judge who leaves nothing to choose.
    pub(super) fn of_provider(caption: String, names: &[String], facts_are_missing: bool) -> Self {
        let folded = fold_case(&caption);
        Self {
            verdict: Verdict::Good,
            hashtags: names.iter().map(|name| format!("#{name}")).collect(),
            caption_was_cut: false,
            length_forced: false,
            hashtags_are_missing: false,
            facts_are_missing,
            score: 0.0,
            bigrams: bigrams(&folded),
            caption,
            folded,
        }
    }
}

/// Chooses `variants` of the candidates, each time the best of those that are left, less what it repeats of those
/// chosen before. The same caption comes again only when there is no other. Indices into `candidates`; with `first`
/// that candidate comes first unless others have a better verdict.
pub(super) fn choose(candidates: &[Candidate], variants: usize, first: Option<usize>) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::with_capacity(variants);
    let mut said: HashSet<&(String, String)> = HashSet::new();
    let usable = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.verdict > Verdict::Unusable);
    let best_verdict = usable().map(|(_, candidate)| candidate.verdict).max();
    if let Some(first) = first.filter(|first| best_verdict == Some(candidates[*first].verdict)) {
        said.extend(&candidates[first].bigrams);
        chosen.push(first);
    }
    while chosen.len() < variants {
        let is_new =
            |index: usize| chosen.iter().all(|other| candidates[*other].folded != candidates[index].folded);
        let left = usable().filter(|(index, _)| !chosen.contains(index));
        let worth = |candidate: &Candidate| {
            let repeated = candidate.bigrams.iter().filter(|bigram| said.contains(bigram)).count();
            candidate.score - SAID_ALREADY * repeated as f64 / candidate.bigrams.len().max(1) as f64
        };
        let ranked = left.map(|(index, candidate)| (is_new(index), candidate.verdict, worth(candidate), index));
        // The earlier of two that are equally good.
        let best = ranked.max_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then(b.3.cmp(&a.3)));
        let Some((_, _, _, best)) = best else { break };
        said.extend(&candidates[best].bigrams);
        chosen.push(best);
    }
    chosen
}

/// How many of `chosen` are good and unlike the others.
pub(super) fn good_count(candidates: &[Candidate], chosen: &[usize]) -> usize {
    let different: HashSet<&str> = chosen
        .iter()
        .map(|index| &candidates[*index])
        .filter(|candidate| candidate.verdict == Verdict::Good)
        .map(|candidate| candidate.folded.as_str())
        .collect();
    different.len()
}

/// Does a sentence begin with a small letter?
fn a_sentence_begins_small(caption: &str) -> bool {
    let begins_small = |sentence: &str| sentence.trim_start().starts_with(char::is_lowercase);
    caption
        .split_inclusive(". ")
        .flat_map(|part| part.split_inclusive("! "))
        .flat_map(|part| part.split_inclusive("? "))
        .any(begins_small)
}

/// Does the caption name somebody or something that the request, whose folded texts these are, does not?
fn invents_name(caption: &str, sources: &[String]) -> bool {
    let is_known = |name: &String| sources.iter().any(|source| contains_folded_word(source, name));
    !Content::of(caption).names().iter().all(is_known)
}

fn words(folded: &str) -> Vec<&str> {
    folded.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn bigrams(folded: &str) -> HashSet<(String, String)> {
    words(folded).windows(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// Does the same sentence, or the same three words, come twice?
fn says_something_twice(folded: &str) -> bool {
    let words = words(folded);
    let mut trigrams = HashSet::new();
    let mut sentences = HashSet::new();
    words.windows(3).any(|trigram| !trigrams.insert(trigram))
        || folded
            .split(['.', '!', '?', '\n'])
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .any(|text| !sentences.insert(text))
}

/// Does the caption say the same words over and over?
pub(super) fn repeats_itself(caption: &str) -> bool {
    let words: Vec<&str> = caption.split_whitespace().collect();
    if words.iter().any(|word| word.chars().count() > WORD_CHARS_MAX) {
        return true;
    }
    (1..=LOOP_WORDS_MAX).any(|period| {
        let repeats_max = if period == 1 { WORD_REPEATS_MAX } else { REPEATS_MAX };
        let mut same = 0;
        (period..words.len()).any(|index| {
            same = if words[index] == words[index - period] { same + 1 } else { 0 };
            same >= period * repeats_max
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use lede_shared::api::CaptionRequest;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::constraint::WrittenCaption;

    fn finished(written: WrittenCaption, log_probability_mean: f32) -> FinishedSequence {
        let now = Instant::now();
        FinishedSequence {
            written,
            completion_ids: vec![1],
            log_probability_mean,
            ran: (now, now),
            waited: Duration::ZERO,
        }
    }

    fn written(caption: &str, hashtags: &[&str]) -> WrittenCaption {
        let hashtags = hashtags.iter().map(|&name| name.to_owned()).collect();
        WrittenCaption { caption: caption.to_owned(), hashtags, is_complete: true, ..WrittenCaption::default() }
    }

    fn judged_for(body: Value, written: WrittenCaption) -> Candidate {
        let request = CaptionRequest::from_json(body.to_string().as_bytes()).unwrap().validate().unwrap();
        let demands = Demands::of(&request);
        Judge::new(&demands, request.content_description()).judge(&finished(written, -1.0))
    }

    fn judged(caption: &str, hashtags: &[&str]) -> Candidate {
        judged_for(json!({"content_description": "warm light", "hashtag_count": 2}), written(caption, hashtags))
    }

    #[test]
    fn what_was_asked_for_is_good() {
        let candidate = judged(" Slow mornings, warm light. ", &["sun", "sea"]);
        assert_eq!(candidate.verdict, Verdict::Good);
        assert_eq!(candidate.caption, "Slow mornings, warm light.");
        assert_eq!(candidate.hashtags, ["#sun", "#sea"]);
    }

    #[test]
    fn what_is_missing_cut_forced_or_repeated_is_poor() {
        for poor in [
            judged("Warm light.", &["sun"]),
            judged("Warm light, go on and on and on and on and on", &["sun", "sea"]),
            judged("Warm light is here. Warm light is here.", &["sun", "sea"]),
            judged("Something else.", &["sun", "sea"]),
        ] {
            assert_eq!(poor.verdict, Verdict::Poor, "{}", poor.caption);
        }
        let asked = || json!({"content_description": "warm light, 20%", "hashtag_count": 0});
        let plain = judged_for(asked(), written("Warm light, 20%.", &[]));
        let cut = judged_for(asked(), WrittenCaption { caption_was_cut: true, ..written("Warm light, 20%", &[]) });
        let forced =
            judged_for(asked(), WrittenCaption { length_forced: true, ..written("Warm light, 20%.", &[]) });
        let without_fact = judged_for(asked(), written("Warm light.", &[]));
        assert_eq!(
            (plain.verdict, without_fact.verdict, cut.verdict),
            (Verdict::Good, Verdict::Poor, Verdict::Poor)
        );
        assert!(plain.score > without_fact.score && without_fact.score > cut.score && cut.score > forced.score);
    }

    #[test]
    fn a_sentence_that_begins_small_ranks_behind_one_that_does_not() {
        let score = |caption| judged(caption, &["sun", "sea"]).score;
        let whole = score("Strike it. Warm light, here.");
        assert!(score("Strike it. warm light, here.") < whole && score("strike it. Warm light, here.") < whole);
        assert_eq!(score("Who knew? Warm light. @bay, 7:30 a.m."), whole);
    }

    #[test]
    fn what_cannot_be_posted_or_breaks_a_rule_of_the_caller_is_unusable() {
        for caption in ["", "  ", "a broken \u{fffd} character", "a #tag", &"long ".repeat(500)] {
            assert_eq!(judged(caption, &["sun", "sea"]).verdict, Verdict::Unusable, "{caption:.20}");
        }
        let body = json!({"content_description": "light", "must_include": ["Zoë"], "banned_words": ["cheap"], "hashtag_count": 0});
        for caption in ["Light.", "Light for zoë.", "Cheap light for Zoë."] {
            assert_eq!(judged_for(body.clone(), written(caption, &[])).verdict, Verdict::Unusable, "{caption}");
        }
        assert_eq!(judged_for(body, written("Light for Zoë.", &[])).verdict, Verdict::Good);
    }

    #[test]
    fn hashtags_that_are_missing_are_taken_from_other_candidates() {
        let candidates = [judged("Warm light.", &["sun"]), judged("Soft, warm light.", &["sun", "sea"])];
        let complete = candidates[0].with_hashtags_of(&candidates, 2);
        assert_eq!(
            (complete.hashtags.as_slice(), complete.hashtags_are_missing),
            (&["#sun".to_owned(), "#sea".to_owned()][..], false)
        );
        assert!(candidates[0].with_hashtags_of(&candidates[..1], 2).hashtags_are_missing);
    }

    #[test]
    fn variants_are_unlike_each_other_before_they_are_likely() {
        let mut candidates = vec![
            judged("Warm light over the quiet bay.", &["sun", "sea"]),
            judged("Warm light over the quiet bay!", &["sun", "sea"]),
            judged("Warm light over the quiet bay.", &["sun", "sky"]),
            judged("The light here stays warm.", &["sun", "sea"]),
        ];
        candidates[0].score += 1.0;
        candidates[3].score -= 2.0;
        assert_eq!(choose(&candidates, 2, None), [0, 3]);
        // The same caption only when there is no other left.
        assert_eq!(choose(&candidates, 4, None), [0, 3, 1, 2]);
        assert_eq!(good_count(&candidates, &[0, 2, 3]), 2);
        assert_eq!(choose(&candidates, 2, Some(3)), [3, 0]);
        assert_eq!(choose(&candidates, 9, None).len(), 4);
    }
}
