//! Judging what the model wrote. Nothing is added to it: blanks are trimmed and what cannot be posted is refused.

use lede_shared::policy::POLICY;

use crate::engine::sequence::FinishedSequence;

/// The same words this many times in a row are a loop.
const REPEATS_MAX: usize = 3;
/// Longest group of words that is looked for in a loop.
const LOOP_WORDS_MAX: usize = 8;
/// One word, of any length, may be said this many times in a row ("no no no no").
const WORD_REPEATS_MAX: usize = 4;
/// A longer "word" is no word.
const WORD_CHARS_MAX: usize = 40;

/// How good a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Cannot be posted.
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
    pub(super) hashtags_are_missing: bool,
    pub(super) log_probability_mean: f32,
}

impl Candidate {
    /// Judges a finished sequence that was asked for `hashtag_count` hashtags.
    pub(super) fn judge(finished: &FinishedSequence, hashtag_count: usize) -> Self {
        let written = &finished.written;
        let trimmed = written.caption.trim();
        let caption = if written.caption_was_cut { up_to_last_word(trimmed) } else { trimmed };
        let hashtags: Vec<String> = written.hashtags.iter().map(|name| format!("#{name}")).collect();
        let hashtags_are_missing = hashtags.len() < hashtag_count;
        let is_postable = POLICY.is_postable(caption, &POLICY.post_text(caption, &hashtags));
        let verdict = if !is_postable || caption.contains(char::REPLACEMENT_CHARACTER) {
            Verdict::Unusable
        } else if hashtags_are_missing || written.caption_was_cut || repeats_itself(caption) {
            Verdict::Poor
        } else {
            Verdict::Good
        };
        Self {
            verdict,
            caption: caption.to_owned(),
            hashtags,
            caption_was_cut: written.caption_was_cut,
            hashtags_are_missing,
            log_probability_mean: finished.log_probability_mean,
        }
    }

    /// The better of two comes last: first by verdict, then by how likely the model found it.
    pub(super) fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_verdict = self.verdict.cmp(&other.verdict);
        by_verdict.then(self.log_probability_mean.total_cmp(&other.log_probability_mean))
    }
}

/// Drops the last, perhaps unfinished, word.
fn up_to_last_word(caption: &str) -> &str {
    caption.rfind(char::is_whitespace).map_or(caption, |end| caption[..end].trim_end())
}

/// Does the caption say the same words over and over?
fn repeats_itself(caption: &str) -> bool {
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

    use super::*;
    use crate::engine::grammar::WrittenCaption;

    fn judged(caption: &str, hashtags: &[&str], caption_was_cut: bool) -> Candidate {
        let written = WrittenCaption {
            caption: caption.to_owned(),
            hashtags: hashtags.iter().map(|&name| name.to_owned()).collect(),
            caption_was_cut,
            is_complete: true,
        };
        let now = Instant::now();
        let finished = FinishedSequence {
            written,
            completion_ids: vec![1],
            log_probability_mean: -1.0,
            ran: (now, now),
            waited: Duration::ZERO,
        };
        Candidate::judge(&finished, 2)
    }

    #[test]
    fn what_was_asked_for_is_good() {
        let candidate = judged(" Slow mornings, warm light. ", &["sun", "sea"], false);
        assert_eq!(candidate.verdict, Verdict::Good);
        assert_eq!(candidate.caption, "Slow mornings, warm light.");
        assert_eq!(candidate.hashtags, ["#sun", "#sea"]);
    }

    #[test]
    fn missing_hashtags_a_cut_and_a_loop_are_poor() {
        assert_eq!(judged("Warm light.", &["sun"], false).verdict, Verdict::Poor);
        assert_eq!(judged("go on and on and on and on and on", &["sun", "sea"], false).verdict, Verdict::Poor);
        let cut = judged("Warm light over the wat", &["sun", "sea"], true);
        assert_eq!((cut.verdict, cut.caption.as_str()), (Verdict::Poor, "Warm light over the"));
        assert_eq!(judged("no no no, not yet", &["sun", "sea"], false).verdict, Verdict::Good);
    }

    #[test]
    fn what_cannot_be_posted_is_unusable() {
        for caption in ["", "  ", "a broken \u{fffd} character", &"long ".repeat(500)] {
            assert_eq!(judged(caption, &["sun", "sea"], false).verdict, Verdict::Unusable, "{caption:.20}");
        }
    }
}
