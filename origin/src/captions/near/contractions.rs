//! `it's` is `it is` and `can't` is `cannot`, where nothing else could be meant.

/// What has one long form whatever follows. Left out is what may be another word, as `wont`, `ill`
/// and `id`, or another thing: to let us go is not to go.
const ALWAYS: [(&str, &str, &str); 42] = [
    ("i'm", "i", "am"),
    ("im", "i", "am"),
    ("cannot", "can", "not"),
    ("can't", "can", "not"),
    ("cant", "can", "not"),
    ("won't", "will", "not"),
    ("don't", "do", "not"),
    ("dont", "do", "not"),
    ("doesn't", "does", "not"),
    ("doesnt", "does", "not"),
    ("didn't", "did", "not"),
    ("didnt", "did", "not"),
    ("isn't", "is", "not"),
    ("isnt", "is", "not"),
    ("aren't", "are", "not"),
    ("arent", "are", "not"),
    ("wasn't", "was", "not"),
    ("wasnt", "was", "not"),
    ("weren't", "were", "not"),
    ("hasn't", "has", "not"),
    ("haven't", "have", "not"),
    ("hadn't", "had", "not"),
    ("couldn't", "could", "not"),
    ("couldnt", "could", "not"),
    ("wouldn't", "would", "not"),
    ("wouldnt", "would", "not"),
    ("shouldn't", "should", "not"),
    ("mustn't", "must", "not"),
    ("we're", "we", "are"),
    ("you're", "you", "are"),
    ("they're", "they", "are"),
    ("i've", "i", "have"),
    ("we've", "we", "have"),
    ("you've", "you", "have"),
    ("they've", "they", "have"),
    ("i'll", "i", "will"),
    ("we'll", "we", "will"),
    ("you'll", "you", "will"),
    ("they'll", "they", "will"),
    ("he'll", "he", "will"),
    ("she'll", "she", "will"),
    ("it'll", "it", "will"),
];
/// Before a participle these may stand for `has`, otherwise for `is`. After any other word `'s` may be the owner's.
const WITH_IS: [(&str, &str); 10] = [
    ("it's", "it"),
    ("he's", "he"),
    ("she's", "she"),
    ("that's", "that"),
    ("there's", "there"),
    ("here's", "here"),
    ("what's", "what"),
    ("who's", "who"),
    ("where's", "where"),
    ("how's", "how"),
];
/// Participles that are not known by their ending.
const PARTICIPLES: [&str; 80] = [
    "beat", "become", "been", "begun", "bent", "bet", "bought", "bound", "brought", "built", "burnt", "burst",
    "cast", "caught", "clung", "come", "cost", "cut", "done", "drawn", "drunk", "dug", "felt", "fit", "flown",
    "fought", "found", "gone", "got", "grown", "had", "heard", "held", "hit", "hurt", "kept", "known", "laid",
    "learnt", "left", "lent", "let", "lit", "lost", "made", "met", "paid", "put", "quit", "read", "run", "said",
    "sat", "seen", "sent", "set", "shed", "shone", "shot", "shown", "shut", "slept", "slid", "sold", "spent",
    "split", "spread", "spun", "stood", "struck", "stuck", "swept", "swum", "taught", "told", "upset", "wept",
    "wet", "won", "wound",
];
/// How many words behind `'s` a participle may stand: `she's just left`.
const LOOK_AHEAD: usize = 2;

/// The two words that `word` stands for, in lower case; `after` are the words behind it, as typed.
pub(super) fn expanded<'a>(
    word: &str,
    mut after: impl Iterator<Item = &'a str>,
) -> Option<(&'static str, &'static str)> {
    if let Some((_, first, second)) = ALWAYS.iter().find(|(short, ..)| *short == word) {
        return Some((first, second));
    }
    let (_, first) = WITH_IS.iter().find(|(short, _)| *short == word)?;
    let is_clear = !after.by_ref().take(LOOK_AHEAD).any(may_be_participle);
    is_clear.then_some((first, "is"))
}

/// Is it one that may be written out, in lower case?
pub(super) fn is_known(word: &str) -> bool {
    ALWAYS.iter().any(|(short, ..)| *short == word) || WITH_IS.iter().any(|(short, _)| *short == word)
}

fn may_be_participle(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let by_ending = ["ed", "en", "wn", "ght", "elt", "ung", "unk", "orn", "ept"];
    by_ending.iter().any(|ending| letters.ends_with(ending)) || PARTICIPLES.contains(&letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<(&'static str, &'static str)> {
        let (word, after) = text.split_once(' ').unwrap_or((text, ""));
        expanded(word, after.split(' '))
    }

    #[test]
    fn a_contraction_with_one_meaning_is_written_out() {
        assert_eq!(of("can't stop"), Some(("can", "not")));
        assert_eq!(of("it's raining again"), Some(("it", "is")));
        assert_eq!(of("who's hungry"), Some(("who", "is")));
    }

    #[test]
    fn what_may_be_has_or_another_word_stays() {
        for text in
            ["she's left", "he's just won!", "it's been", "he'd go", "dog's dinner", "wont", "ill", "its", "were"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
